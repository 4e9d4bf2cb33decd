//! Connections to an SQLite file, and their settings.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::ledger::rows::event_digest;

/// The length of a new file's pages; an existing file keeps its own. Most pages of a commit are index pages, one for each
/// random event id, so pages of half of SQLite's default make the log about half as long.
const PAGE_BYTES: u32 = 2048;

/// The length of the log at which a commit copies what is left of it, in pages: nothing else has helped.
const LOG_PAGES_MAX: u32 = 524_288;

/// The same while a file is migrated.
const MIGRATION_LOG_PAGES_MAX: u32 = 32_768;

/// What a log keeps of its length, in bytes, when it begins anew: twice what it usually has. A log that has grown beside a
/// forgotten reader gives the rest back.
const LOG_KEPT_BYTES: u64 = 512 << 20;

/// The most memory for pages that a writing connection keeps, in KiB. SQLite's default of 2,000 does not hold the pages that
/// one large transaction changes: it writes them to the log early, and reads them from there again.
const WRITER_CACHE_KIB: u32 = 65_536;

/// Opens an existing file with the settings of the connection that writes entries.
pub(in crate::ledger) fn connect_to_write(
    path: &Path,
    timeout_ms: u64,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    let mut connection = connect(path, timeout_ms)?;
    connection
        .batch_execute(&format!("PRAGMA cache_size = -{WRITER_CACHE_KIB}"))
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// How long a program that has the file open may take to close it, in milliseconds.
const TAKEN_IN_MS: u64 = 2000;

/// Opens an existing file with the settings of every connection.
pub(in crate::ledger) fn connect(
    path: &Path,
    timeout_ms: u64,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    open(path, "rw", timeout_ms, "")
}

/// Opens a file to migrate it, and creates it if it does not exist. Only migrations do that. What is sorted for a new index is
/// kept in files, and the log is copied every 64 MB, because no other thread does it.
pub(in crate::ledger) fn create(
    path: &Path,
    timeout_ms: u64,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    let connection = open(path, "rwc", timeout_ms, "")?;
    to_migrate(connection, timeout_ms)
}

/// The same for an existing file, for this connection alone: fails while any other program has the file open, and none can
/// open it before this is closed.
pub(in crate::ledger) fn take(
    path: &Path,
    timeout_ms: u64,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    // Before the first statement that reads: in WAL mode each open connection has a lock, which rules this one out.
    let connection = open(path, "rw", TAKEN_IN_MS, "PRAGMA locking_mode = EXCLUSIVE;")?;
    to_migrate(connection, timeout_ms)
}

fn to_migrate(
    mut connection: SqliteConnection,
    timeout_ms: u64,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    connection
        .batch_execute(&format!(
            "PRAGMA busy_timeout = {timeout_ms}; PRAGMA temp_store = FILE; \
             PRAGMA wal_autocheckpoint = {MIGRATION_LOG_PAGES_MAX};"
        ))
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

fn open(
    path: &Path,
    mode: &str,
    timeout_ms: u64,
    first: &str,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    let invalid = |why: &str| diesel::ConnectionError::InvalidConnectionUrl(why.into());
    let text = path.to_str().ok_or_else(|| invalid("not UTF-8"))?;
    // These characters have a meaning in a URI (<https://www.sqlite.org/uri.html>).
    let escaped = text
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    let root = if path.is_absolute() { "//" } else { "" };
    let mut connection = SqliteConnection::establish(&format!("file:{root}{escaped}?mode={mode}"))?;
    connection
        .batch_execute(&format!(
            "PRAGMA page_size = {PAGE_BYTES}; PRAGMA busy_timeout = {timeout_ms}; {first}"
        ))
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    let journal: JournalMode = diesel::sql_query("PRAGMA journal_mode = WAL")
        .get_result(&mut connection)
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    if journal.journal_mode != "wal" {
        let mode = journal.journal_mode;
        return Err(diesel::ConnectionError::BadConnection(format!(
            "SQLite keeps {text} in journal mode {mode}, not WAL: is it on a network file system?"
        )));
    }
    connection
        .batch_execute(&format!(
            "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; \
             PRAGMA wal_autocheckpoint = {LOG_PAGES_MAX}; PRAGMA journal_size_limit = {LOG_KEPT_BYTES};"
        ))
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    event_digest::register(&mut connection)
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// A number that changes when another connection has committed. Numbers of two connections can't be compared.
pub(in crate::ledger) fn data_version(connection: &mut SqliteConnection) -> QueryResult<i64> {
    diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT data_version FROM pragma_data_version")
        .get_result(connection)
}

/// The answer to the pragma: the mode that is in use now.
#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = diesel::sql_types::Text)]
    journal_mode: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_bytes(path: &Path) -> i64 {
        let mut connection = create(path, 1000).expect("a file");
        connection
            .batch_execute("CREATE TABLE IF NOT EXISTS t (i INTEGER);")
            .expect("written");
        let pages =
            diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT page_size FROM pragma_page_size");
        pages.get_result(&mut connection).expect("told")
    }

    #[test]
    fn only_a_migration_creates_a_file_whatever_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["plain.db", "a?mode=memory", "b%23#c", "d e.db\u{e9}"] {
            let path = dir.path().join(name);
            assert!(connect(&path, 1000).is_err(), "{name}");
            assert!(!path.exists(), "{name}");
            create(&path, 1000).expect("created");
            assert!(path.exists(), "{name}");
            connect(&path, 1000).expect("there");
        }
    }

    #[test]
    fn a_database_that_cannot_have_a_log_is_refused() {
        assert!(create(Path::new(":memory:"), 1000).is_err());
    }

    #[test]
    fn a_log_gives_back_what_it_has_grown_when_it_begins_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, log) = (dir.path().join("l.db"), dir.path().join("l.db-wal"));
        let mut writer = create(&path, 1000).expect("a file");
        let limit = diesel::dsl::sql::<diesel::sql_types::BigInt>(
            "SELECT journal_size_limit FROM pragma_journal_size_limit",
        );
        assert_eq!(limit.get_result(&mut writer), Ok(512_i64 << 20));
        let length = || std::fs::metadata(&log).expect("a log").len();
        writer
            .batch_execute("CREATE TABLE t (b BLOB); INSERT INTO t VALUES (zeroblob(4 << 20));")
            .expect("written");
        // As if it had grown beside a reader; it is sparse.
        let grown = std::fs::File::options()
            .write(true)
            .open(&log)
            .expect("a log");
        grown.set_len(LOG_KEPT_BYTES * 2).expect("longer");
        writer
            .batch_execute("PRAGMA wal_checkpoint(PASSIVE); INSERT INTO t VALUES (1);")
            .expect("written");
        assert_eq!(length(), LOG_KEPT_BYTES);
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
