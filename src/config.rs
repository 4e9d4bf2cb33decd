//! stub
use std::path::PathBuf;
/// stub
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// s
    Sqlite(PathBuf),
    /// p
    Postgres(String),
}
