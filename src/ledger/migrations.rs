//! Preparing a database: migrations (embedded), the epoch, and the scale of the currencies.
//!
//! On PostgreSQL all missing migrations are one transaction, which has a lock for as long as it lasts: nothing of it stays
//! in the session. A ledger that is up to date is only read.
//!
//! On SQLite each migration is a transaction. Before some of them, entries of earlier versions are filled in ([`filling`],
//! [`digesting`]), which may take long: until it is done, such a migration is missing, and the ledger is not served.

mod digesting;
mod filling;
pub mod progress;
mod turns;

use std::path::Path;

use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use rand::Rng;

use crate::clock::Clock;
use crate::config::{DatabaseUrl, Schema};
use crate::domain::Currencies;
use crate::limits::{FILLED_ENTRIES_MAX, MIGRATION_WAIT_S};

use self::progress::{Progress, Step};
use self::turns::in_turn;
use super::LedgerError;
use super::connection::ledger_file::FileLock;
use super::connection::placement::{MIGRATIONS, Place, Tables};
use super::connection::postgres_server::PostgresServer;
use super::connection::{Access, AnyConnection, ConnectError, Source, sqlite_file};
use super::rows::event_digest;
use super::schema::{__diesel_schema_migrations as applied_migrations, currencies, ledger_info};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The migration that needs the other balances of all entries, and the one that needs their digests.
const NEEDS_OTHER_BALANCES: &str = "20261130010000";
const NEEDS_DIGESTS: &str = "20261130030000";

/// A row of `currencies` on SQLite, which no currency can be named like. Programs before 0.2 refuse a ledger with a
/// currency that they don't know, and say this name: they would not see which event ids are there.
pub(super) const NEEDS_THIS_VERSION: &str = "(needs version 0.2 of the program, or later)";

/// The tables that migrations change on PostgreSQL, and that of the epoch.
const CHANGED: [&str; 5] = [
    "accounts",
    "balances",
    "entries",
    "conflicts",
    "ledger_info",
];

/// The longest a migration's statement waits, in milliseconds.
const TIMEOUT_MS: u64 = 600_000;

/// Applies the migrations that are missing and returns their names. A new ledger gets an epoch; with `new_epoch` an
/// existing one gets another, so that clients start over (after a restore from an older copy).
///
/// # Errors
/// [`LedgerError::Unavailable`] when the database does not answer, [`LedgerError::Unfit`] when it has no place for a ledger
/// or a migration fails.
pub fn migrate(
    url: &DatabaseUrl,
    schema: &Schema,
    new_epoch: bool,
    progress: &Progress,
) -> Result<Vec<String>, LedgerError> {
    let source = Source::new(url, schema);
    // A service of an earlier version would go on to write while its entries are filled in.
    let _lock = match url {
        DatabaseUrl::Sqlite(path) if path.exists() && !is_current(&source)? => {
            Some(FileLock::take(path)?)
        }
        _ => None,
    };
    apply_missing(&source, new_epoch, progress)
}

/// Whether a file has all migrations.
fn is_current(source: &Source) -> Result<bool, LedgerError> {
    let mut connected = source.connect_to_migrate(TIMEOUT_MS)?;
    let connection = &mut connected.connection;
    let tables = tables_of_file(connection)?;
    Ok(missing(connection, &tables)?.is_empty())
}

/// The tables of an SQLite file, unless another program's are in it and no ledger.
fn tables_of_file(connection: &mut AnyConnection) -> Result<Tables, LedgerError> {
    let tables = Tables::of_file(connection.sqlite().map_err(unavailable)?);
    let tables = tables.map_err(unavailable)?;
    tables.check_file()?;
    Ok(tables)
}

/// The same by a source of connections.
pub(super) fn apply_missing(
    source: &Source,
    new_epoch: bool,
    progress: &Progress,
) -> Result<Vec<String>, LedgerError> {
    progress.at(Step::Connecting);
    let mut connected = source.connect_to_migrate(TIMEOUT_MS)?;
    match source {
        Source::Sqlite(path) => {
            let tables = tables_of_file(&mut connected.connection)?;
            let is_current = missing(&mut connected.connection, &tables)?.is_empty();
            if !is_current && tables.has_ledger() {
                // A service of an earlier version knows nothing of our lock file, and would go on to write.
                drop(connected);
                connected = take(path)?.into();
                // Before anything is changed that they don't know of.
                keep_earlier_programs_off(&mut connected.connection).map_err(unavailable)?;
            }
            let connection = &mut connected.connection;
            progress.at(Step::Migrating);
            let applied = apply(connection, progress)?;
            let sqlite = connection.sqlite().map_err(unavailable)?;
            let mut done = i64::MIN;
            while let Some(last) =
                event_digest::complete(sqlite, done, FILLED_ENTRIES_MAX).map_err(unavailable)?
            {
                done = last;
            }
            ensure_epoch(connection, new_epoch).map_err(unavailable)?;
            Ok(applied)
        }
        Source::Postgres(server) => {
            let connection = &mut connected.connection;
            let place = place(connection, server)?;
            place.check(server.schema())?;
            let is_current = missing(connection, &place.tables)?.is_empty();
            if is_current && !new_epoch && has_epoch(connection).map_err(unavailable)? {
                return Ok(Vec::new());
            }
            let changed = |connection: &mut AnyConnection| {
                let tables = self::place(connection, server)?.tables;
                let is_current = missing(connection, &tables)?.is_empty();
                let changed = CHANGED.into_iter();
                Ok(changed
                    .filter(|table| !is_current && tables.has(table))
                    .collect())
            };
            in_turn(
                connection,
                progress,
                MIGRATION_WAIT_S,
                changed,
                |connection| {
                    if !place.is_there {
                        let create = format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", server.schema());
                        sql_query(create).execute(connection)?;
                    }
                    let applied = apply(connection, progress)?;
                    ensure_epoch(connection, new_epoch)?;
                    Ok(applied)
                },
            )
        }
    }
}

/// A file for this program alone.
fn take(path: &Path) -> Result<SqliteConnection, LedgerError> {
    sqlite_file::take(path, TIMEOUT_MS).map_err(|error| match ConnectError::from(error) {
        ConnectError::Away(reason) if reason.contains("locked") => LedgerError::Unfit(format!(
            "{} can't be migrated while another program has it open ({reason}): stop the service, and close other programs",
            path.display()
        )),
        error => error.into(),
    })
}

fn keep_earlier_programs_off(connection: &mut AnyConnection) -> QueryResult<()> {
    diesel::insert_into(currencies::table)
        .values((
            currencies::code.eq(NEEDS_THIS_VERSION),
            currencies::decimals.eq(0),
        ))
        .execute(connection)
        .map(|_| ())
        .or_else(ignore_duplicate)
}

/// Refuses a database with missing migrations. Only reads.
pub(super) fn check_applied(
    source: &Source,
    timeout_ms: u64,
    access: Access,
) -> Result<(), LedgerError> {
    let mut connected = source.connect(timeout_ms, "", access)?;
    let connection = &mut connected.connection;
    let tables = match source {
        Source::Sqlite(_) => tables_of_file(connection)?,
        Source::Postgres(server) => place(connection, server)?.tables,
    };
    let missing = missing(connection, &tables)?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(LedgerError::Unfit(format!(
        "migrations are missing ({}); run `balance-coordinator migrate`",
        missing.join(", ")
    )))
}

fn place(connection: &mut AnyConnection, server: &PostgresServer) -> Result<Place, LedgerError> {
    let connection = connection.postgres().map_err(unavailable)?;
    Place::of(connection, server.schema()).map_err(unavailable)
}

/// The versions of migrations that were not applied. (Diesel's own question makes a table first, which a role may not be
/// allowed to.)
///
/// On SQLite a ledger that a later version of this program has migrated is refused: what keeps an event from being booked
/// twice may be elsewhere by now. On PostgreSQL nodes of an earlier version may go on beside newer ones.
fn missing(connection: &mut AnyConnection, tables: &Tables) -> Result<Vec<String>, LedgerError> {
    let wanted = match connection {
        AnyConnection::Postgres(_) => in_order(MigrationSource::<Pg>::migrations(&POSTGRES)),
        AnyConnection::Sqlite(_) => in_order(MigrationSource::<Sqlite>::migrations(&SQLITE)),
    }?;
    let applied: Vec<String> = if tables.has(MIGRATIONS) {
        applied_migrations::table
            .select(applied_migrations::version)
            .load(connection)
            .map_err(unavailable)?
    } else {
        Vec::new()
    };
    if let AnyConnection::Sqlite(_) = connection
        && let Some(unknown) = applied.iter().find(|version| !wanted.contains(version))
    {
        return Err(LedgerError::Unfit(format!(
            "a later version of this program has migrated it (migration {unknown}): start that version, or restore a copy \
             from before. (Another program's list of migrations in the same file looks like that, too.)"
        )));
    }
    Ok(wanted
        .into_iter()
        .filter(|version| !applied.contains(version))
        .collect())
}

/// Records new currencies, and refuses settings under which stored amounts would mean something else.
pub(super) fn check_currencies(
    connection: &mut AnyConnection,
    configured: &Currencies,
) -> Result<(), LedgerError> {
    let stored: Vec<(String, i64)> = currencies::table
        .filter(currencies::code.ne(NEEDS_THIS_VERSION))
        .select((currencies::code, currencies::decimals))
        .load(connection)
        .map_err(unavailable)?;
    for (code, decimals) in &stored {
        let found = configured.find(code).map(|id| configured.get(id).decimals);
        if found.map(i64::from) != Some(*decimals) {
            return Err(LedgerError::Unfit(format!(
                "its currency {code} has {decimals} decimals; currencies.{code}.decimals must say the same"
            )));
        }
    }
    for (_, currency) in configured
        .iter()
        .filter(|(_, c)| !stored.iter().any(|(code, _)| *code == c.code))
    {
        let row = (
            currencies::code.eq(&currency.code),
            currencies::decimals.eq(i64::from(currency.decimals)),
        );
        let inserted = diesel::insert_into(currencies::table)
            .values(row)
            .execute(connection);
        // Another node may have been faster; the next start compares what that node wrote.
        inserted
            .map(|_| ())
            .or_else(ignore_duplicate)
            .map_err(unavailable)?;
    }
    Ok(())
}

/// Applies the migrations that are missing, and returns their versions.
fn apply(connection: &mut AnyConnection, progress: &Progress) -> Result<Vec<String>, LedgerError> {
    let pending = match connection {
        AnyConnection::Postgres(postgres) => in_order(postgres.pending_migrations(POSTGRES)),
        AnyConnection::Sqlite(sqlite) => in_order(sqlite.pending_migrations(SQLITE)),
    }?;
    for version in &pending {
        fill_in(connection, version, progress).map_err(unavailable)?;
        progress.at(Step::Migrating);
        match connection {
            AnyConnection::Postgres(postgres) => postgres.run_next_migration(POSTGRES),
            AnyConnection::Sqlite(sqlite) => sqlite.run_next_migration(SQLITE),
        }
        .map_err(unfit)?;
    }
    Ok(pending)
}

/// Fills in what entries of earlier versions lack for this migration.
fn fill_in(connection: &mut AnyConnection, version: &str, progress: &Progress) -> QueryResult<()> {
    match (version, connection) {
        (NEEDS_OTHER_BALANCES, connection) => filling::run(connection, progress),
        (NEEDS_DIGESTS, AnyConnection::Sqlite(sqlite)) => digesting::run(sqlite, progress),
        _ => Ok(()),
    }
}

/// The versions of migrations, oldest first.
fn in_order<DB: Backend>(
    migrations: diesel::migration::Result<Vec<Box<dyn Migration<DB>>>>,
) -> Result<Vec<String>, LedgerError> {
    let migrations = migrations.map_err(unfit)?;
    Ok(migrations
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect())
}

fn has_epoch(connection: &mut AnyConnection) -> QueryResult<bool> {
    let epoch: Option<String> = ledger_info::table
        .select(ledger_info::epoch)
        .get_result(connection)
        .optional()?;
    Ok(epoch.is_some())
}

fn ensure_epoch(connection: &mut AnyConnection, new_epoch: bool) -> QueryResult<()> {
    let epoch = fresh_epoch();
    let done = match has_epoch(connection)? {
        true if !new_epoch => return Ok(()),
        true => diesel::update(ledger_info::table.find(1))
            .set(ledger_info::epoch.eq(epoch))
            .execute(connection),
        false => diesel::insert_into(ledger_info::table)
            .values((
                ledger_info::id.eq(1),
                ledger_info::epoch.eq(epoch),
                ledger_info::created_at_us.eq(Clock::system().wall().us()),
            ))
            .execute(connection),
    };
    done.map(|_| ())
}

/// The name of an epoch that never was.
pub(super) fn fresh_epoch() -> String {
    format!("{:016x}", rand::rng().random::<u64>())
}

fn ignore_duplicate(error: diesel::result::Error) -> QueryResult<()> {
    use diesel::result::{DatabaseErrorKind, Error};
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => Ok(()),
        error => Err(error),
    }
}

fn unavailable(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

fn unfit(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Unfit(error.to_string())
}
