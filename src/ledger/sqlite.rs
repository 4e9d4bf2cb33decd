//! Writing to SQLite: one connection, WAL with `synchronous=FULL`, cached single-row statements.

mod checkpoints;
pub(super) mod file;
mod prepared;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::checkpoints::{Checkpoints, LOG_PAGES_MAX};
use self::file::{Identity, LedgerFile, beside};
use self::prepared::{SetBalance, SetVersion};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::domain::{Account, Currencies, EventId, Recorded, TxHash, UserId};

use super::admin_log::{self, AdminAction};
use super::batch::{Keys, Loaded, Plan, PlannedAccount};
use super::connection::AnyConnection;
use super::link::Link;
use super::reads;
use super::rows::{NewConflictRow, NewEntryRow, RecordedRow};
use super::schema::{accounts, conflicts, entries};
use super::store::{Basis, Store, StoreError, StoreOptions, refused};
use super::users::{self, PutUser, PutUserOutcome};

/// The pages of a new file; a file that is there keeps its own. Most pages of a commit are those where its random event ids
/// belong in their index, one each: pages half as long as SQLite's default are half as much log.
const PAGE_BYTES: u32 = 2048;

/// A write connection to an SQLite file.
pub(super) struct SqliteStore {
    link: Link,
    currencies: Currencies,
    checkpoints: Checkpoints,
    /// Of the running service; none in tests of the store alone.
    file: Option<Arc<LedgerFile>>,
    log: PathBuf,
    /// Of the write-ahead log, once this connection has committed. The log exists for as long as a connection is open.
    log_identity: Option<Identity>,
}

/// Opens an existing file with the settings that all connections have.
pub(super) fn connect(
    path: &Path,
    timeout_ms: u64,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    open(path, "rw", timeout_ms)
}

/// Opens a file with the same settings and creates it if it does not exist. Only migrations do that.
pub(super) fn create(
    path: &Path,
    timeout_ms: u64,
) -> Result<SqliteConnection, diesel::ConnectionError> {
    open(path, "rwc", timeout_ms)
}

fn open(
    path: &Path,
    mode: &str,
    timeout_ms: u64,
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
            "PRAGMA page_size = {PAGE_BYTES}; PRAGMA busy_timeout = {timeout_ms};"
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
             PRAGMA wal_autocheckpoint = {LOG_PAGES_MAX};"
        ))
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// The answer to the pragma: the mode that is in use now.
#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = diesel::sql_types::Text)]
    journal_mode: String,
}

impl SqliteStore {
    pub(super) fn new(path: PathBuf, file: Option<Arc<LedgerFile>>, options: StoreOptions) -> Self {
        let log = beside(&path, "-wal");
        let checkpoints = Checkpoints::start(path.clone());
        let timeout_ms = options.lock_timeout_ms.min(options.timeout_ms);
        let link = Link::new(move || connect(&path, timeout_ms).map(AnyConnection::Sqlite));
        Self {
            link,
            currencies: options.currencies,
            checkpoints,
            file,
            log,
            log_identity: None,
        }
    }

    fn check_file(&self) -> Result<(), StoreError> {
        let check = self.file.as_ref().map_or(Ok(()), |file| file.check());
        check.map_err(StoreError::Lost)
    }

    /// Whether what this connection has committed is in the files that a later start will find.
    fn check_files(&mut self) -> Result<(), StoreError> {
        self.check_file()?;
        let Some(file) = &self.file else {
            return Ok(());
        };
        match (Identity::of(&self.log), self.log_identity) {
            (Ok(identity), None) => self.log_identity = Some(identity),
            (Ok(identity), Some(known)) if identity == known => {}
            _ => {
                let what = format!(
                    "{} was removed or replaced while it was written",
                    self.log.display()
                );
                return Err(StoreError::Lost(file.lose(&what)));
            }
        }
        Ok(())
    }
}

fn find_event(
    connection: &mut SqliteConnection,
    event: &EventId,
    currencies: &Currencies,
) -> Result<Option<Recorded>, StoreError> {
    let row: Option<RecordedRow> = entries::table
        .filter(entries::event_id.eq(event.as_str()))
        .select(RecordedRow::as_select())
        .get_result(connection)
        .optional()?;
    row.map(|row| row.recorded(currencies).map_err(refused))
        .transpose()
}

fn find_hash(
    connection: &mut SqliteConnection,
    hash: &TxHash,
    currencies: &Currencies,
) -> Result<Option<Recorded>, StoreError> {
    let row: Option<RecordedRow> = entries::table
        .filter(entries::tx_hash.eq(hash.as_bytes().as_slice()))
        .select(RecordedRow::as_select())
        .get_result(connection)
        .optional()?;
    row.map(|row| row.recorded(currencies).map_err(refused))
        .transpose()
}

impl Store for SqliteStore {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        self.check_file()?;
        let Self {
            link, currencies, ..
        } = self;
        let connection = link.begin("BEGIN IMMEDIATE")?;
        let mut loaded = Loaded::default();
        for user in &keys.users {
            loaded
                .accounts
                .insert(*user, reads::account(connection, *user, currencies)?);
        }
        if basis == Basis::Expected {
            return Ok(loaded);
        }
        let connection = connection.sqlite()?;
        for event in &keys.events {
            if let Some(found) = find_event(connection, event, currencies)? {
                loaded.events.insert((*event).clone(), found);
            }
        }
        for hash in &keys.hashes {
            if let Some(found) = find_hash(connection, hash, currencies)? {
                loaded.hashes.insert(*hash, found);
            }
        }
        Ok(loaded)
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        let Self {
            link, currencies, ..
        } = self;
        let connection = link.transaction()?.sqlite()?;
        for planned in &plan.entries {
            let row = NewEntryRow::new(planned, plan.committed_at_us, currencies);
            diesel::insert_into(entries::table)
                .values(&row)
                .execute(connection)?;
        }
        for PlannedAccount {
            user_id, account, ..
        } in &plan.accounts
        {
            write_account(connection, *user_id, account, plan.committed_at_us)?;
        }
        for (user, currency, amount) in &plan.balances {
            let currency = &currencies.get(*currency).code;
            SetBalance {
                user_id: user.get(),
                currency,
                amount: amount.minor(),
            }
            .execute(connection)?;
        }
        for planned in &plan.conflicts {
            let row = NewConflictRow::new(planned, plan.committed_at_us, currencies);
            diesel::insert_into(conflicts::table)
                .values(&row)
                .on_conflict_do_nothing()
                .execute(connection)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.link.commit()?;
        self.check_files()?;
        self.checkpoints.committed();
        Ok(())
    }

    fn rollback(&mut self) {
        self.link.rollback();
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        let outcome = self.link.in_transaction("BEGIN IMMEDIATE", |connection| {
            Ok(users::put(connection, user)?)
        })?;
        self.check_files()?;
        Ok(outcome)
    }

    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError> {
        admin_log::add(self.link.connection()?, action)?;
        self.check_files()
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        self.check_file()?;
        self.log_identity = None;
        self.link.reconnect()
    }
}

fn write_account(
    connection: &mut SqliteConnection,
    user: UserId,
    account: &Account,
    now_us: i64,
) -> Result<(), StoreError> {
    if account.exists {
        SetVersion {
            user_id: user.get(),
            version: account.version,
            now_us,
        }
        .execute(connection)?;
    } else {
        diesel::insert_into(accounts::table)
            .values((
                accounts::user_id.eq(user.get()),
                accounts::version.eq(account.version),
                accounts::created_at_us.eq(now_us),
                accounts::updated_at_us.eq(now_us),
            ))
            .execute(connection)?;
    }
    Ok(())
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
    fn only_a_migration_makes_a_file_whatever_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["plain.db", "a?mode=memory", "b%23#c", "d e.db\u{e9}"] {
            let path = dir.path().join(name);
            assert!(connect(&path, 1000).is_err(), "{name}");
            assert!(!path.exists(), "{name}");
            create(&path, 1000).expect("made");
            assert!(path.exists(), "{name}");
            connect(&path, 1000).expect("there");
        }
    }

    #[test]
    fn a_database_that_cannot_have_a_log_is_refused() {
        assert!(create(Path::new(":memory:"), 1000).is_err());
    }

    #[test]
    fn a_new_file_has_short_pages_and_one_that_is_there_keeps_its_own() {
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
