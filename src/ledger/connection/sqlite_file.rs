//! Connections to an SQLite file, and their settings.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

/// The length of a new file's pages; an existing file keeps its own. Most pages of a commit are index pages, one for each
/// random event id, so pages of half of SQLite's default make the log about half as long.
const PAGE_BYTES: u32 = 2048;

/// The length of the log at which a commit copies what is left of it, in pages: 256 MiB in pages of 2 KiB.
const LOG_PAGES_MAX: u32 = 131_072;

/// Opens the file with the settings of every connection.
pub(in crate::ledger) fn connect(
    path: &Path,
    timeout_ms: u64,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    let text = path
        .to_str()
        .ok_or_else(|| diesel::ConnectionError::InvalidConnectionUrl("not UTF-8".into()))?;
    let mut connection = SqliteConnection::establish(text)?;
    connection
        .batch_execute(&format!(
            "PRAGMA page_size = {PAGE_BYTES}; PRAGMA busy_timeout = {timeout_ms}; PRAGMA journal_mode = WAL; \
             PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = {LOG_PAGES_MAX};"
        ))
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_bytes(path: &Path) -> i64 {
        let mut connection = connect(path, 1000).expect("a file");
        connection
            .batch_execute("CREATE TABLE IF NOT EXISTS t (i INTEGER);")
            .expect("written");
        let pages =
            diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT page_size FROM pragma_page_size");
        pages.get_result(&mut connection).expect("told")
    }

    #[test]
    fn a_new_file_has_short_pages_and_an_existing_one_keeps_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(
            page_bytes(&dir.path().join("new.db")),
            i64::from(PAGE_BYTES)
        );
        let path = dir.path().join("older.db");
        let mut older =
            SqliteConnection::establish(path.to_str().expect("UTF-8")).expect("a new file");
        older
            .batch_execute("PRAGMA page_size = 4096; CREATE TABLE older (i INTEGER);")
            .expect("written");
        drop(older);
        assert_eq!(page_bytes(&path), 4096);
    }
}
