//! The file itself: how it is opened, and its tables.

use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

/// How long a command waits for another one's transaction, in milliseconds.
const BUSY_TIMEOUT_MS: u32 = 5_000;

/// The tables, version after version. Each step keeps its version in the file.
const STEPS: [&str; 2] = [
    "
    CREATE TABLE places (
        account TEXT PRIMARY KEY,
        lt INTEGER NOT NULL CHECK (lt >= 0),
        hash BLOB CHECK (length(hash) = 32)
    ) STRICT;
    CREATE TABLE unmatched (
        hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
        account TEXT NOT NULL,
        lt INTEGER NOT NULL,
        at_s INTEGER NOT NULL,
        currency TEXT NOT NULL,
        decimals INTEGER NOT NULL,
        units TEXT NOT NULL,
        sender TEXT,
        comment TEXT,
        reason TEXT NOT NULL,
        seen_at_s INTEGER NOT NULL,
        assigned_user INTEGER
    ) STRICT;
    PRAGMA user_version = 1;
",
    "
    CREATE TABLE up_to_date (
        account TEXT PRIMARY KEY,
        at_s INTEGER NOT NULL
    ) STRICT;
    PRAGMA user_version = 2;
",
];

#[derive(QueryableByName)]
struct FileVersion {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    user_version: i32,
}

/// Opens the file, and brings its tables up to this program's version; `create` makes it where it does not exist.
///
/// # Errors
/// Why not, in words.
pub(super) fn open(path: &Path, create: bool) -> Result<SqliteConnection, String> {
    let text = path.to_str().ok_or("its name is not UTF-8")?;
    if !create && !path.exists() {
        return Err("does not exist".into());
    }
    // As a URI, with what has a meaning there escaped (<https://www.sqlite.org/uri.html>).
    let escaped = text
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    let root = if path.is_absolute() { "//" } else { "" };
    let mode = if create { "rwc" } else { "rw" };
    establish(&format!("file:{root}{escaped}?mode={mode}"))
}

/// A database that ends with its connection.
///
/// # Errors
/// Why not, in words.
pub(super) fn open_in_memory() -> Result<SqliteConnection, String> {
    establish(":memory:")
}

fn establish(url: &str) -> Result<SqliteConnection, String> {
    let mut connection = SqliteConnection::establish(url).map_err(|error| error.to_string())?;
    prepare(&mut connection).map_err(|error| error.to_string())?;
    let version = version(&mut connection).map_err(|error| error.to_string())?;
    if version == STEPS.len() {
        Ok(connection)
    } else {
        let known = STEPS.len();
        Err(format!(
            "has tables of version {version}, and this program knows {known}"
        ))
    }
}

fn prepare(connection: &mut SqliteConnection) -> QueryResult<()> {
    connection.batch_execute(&format!(
        "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    ))?;
    connection.immediate_transaction(|connection| {
        let done = version(connection)?;
        for step in STEPS.iter().skip(done) {
            connection.batch_execute(step)?;
        }
        Ok(())
    })
}

fn version(connection: &mut SqliteConnection) -> QueryResult<usize> {
    let found: FileVersion = diesel::sql_query("PRAGMA user_version").get_result(connection)?;
    Ok(usize::try_from(found.user_version).unwrap_or(usize::MAX))
}
