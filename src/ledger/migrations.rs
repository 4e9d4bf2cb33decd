//! Preparing a database: migrations (embedded), the epoch, and the scale of the currencies.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use rand::Rng;

use crate::clock::Clock;
use crate::config::DatabaseUrl;
use crate::domain::Currencies;

use super::LedgerError;
use super::connection::{self, AnyConnection};
use super::schema::{currencies, ledger_info};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Nodes that start together take turns with this lock: any number, the same for all nodes.
const ADVISORY_LOCK: i64 = 0x0062_616c_616e_6365;

/// The longest a migration's statement waits, in milliseconds.
const TIMEOUT_MS: u64 = 600_000;

/// Applies the migrations that are missing and returns their names. A new ledger gets an epoch; with `new_epoch` an
/// existing one gets another, so that clients start over (after a restore from an older copy).
///
/// # Errors
/// [`LedgerError::Unavailable`] when the database does not answer, [`LedgerError::Unfit`] when a migration fails.
pub fn migrate(url: &DatabaseUrl, new_epoch: bool) -> Result<Vec<String>, LedgerError> {
    let mut connection = connection::connect_to_migrate(url, TIMEOUT_MS).map_err(unavailable)?;
    let applied = match &mut connection {
        AnyConnection::Postgres(postgres) => {
            postgres
                .batch_execute(&format!("SELECT pg_advisory_lock({ADVISORY_LOCK})"))
                .map_err(unavailable)?;
            apply(postgres, POSTGRES)?
        }
        AnyConnection::Sqlite(sqlite) => apply(sqlite, SQLITE)?,
    };
    ensure_epoch(&mut connection, new_epoch)?;
    Ok(applied)
}

/// Refuses a database with missing migrations.
pub(super) fn check_applied(url: &DatabaseUrl, timeout_ms: u64) -> Result<(), LedgerError> {
    let mut connection = connection::connect(url, timeout_ms).map_err(unavailable)?;
    let is_missing = match &mut connection {
        AnyConnection::Postgres(postgres) => postgres.has_pending_migration(POSTGRES),
        AnyConnection::Sqlite(sqlite) => sqlite.has_pending_migration(SQLITE),
    }
    .map_err(|error| LedgerError::Unfit(error.to_string()))?;
    if is_missing {
        return Err(LedgerError::Unfit(
            "migrations are missing; run `balance-coordinator migrate`".into(),
        ));
    }
    Ok(())
}

/// Records new currencies, and refuses settings under which stored amounts would mean something else.
pub(super) fn check_currencies(
    connection: &mut AnyConnection,
    configured: &Currencies,
) -> Result<(), LedgerError> {
    let stored: Vec<(String, i64)> = currencies::table
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

fn apply<DB, C>(
    connection: &mut C,
    migrations: EmbeddedMigrations,
) -> Result<Vec<String>, LedgerError>
where
    DB: diesel::backend::Backend,
    C: MigrationHarness<DB>,
{
    let applied = connection
        .run_pending_migrations(migrations)
        .map_err(|error| LedgerError::Unfit(error.to_string()))?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

fn ensure_epoch(connection: &mut AnyConnection, new_epoch: bool) -> Result<(), LedgerError> {
    let existing: Option<String> = ledger_info::table
        .select(ledger_info::epoch)
        .get_result(connection)
        .optional()
        .map_err(unavailable)?;
    let epoch = fresh_epoch();
    let done = match existing {
        Some(_) if !new_epoch => return Ok(()),
        Some(_) => diesel::update(ledger_info::table.find(1))
            .set(ledger_info::epoch.eq(epoch))
            .execute(connection),
        None => diesel::insert_into(ledger_info::table)
            .values((
                ledger_info::id.eq(1),
                ledger_info::epoch.eq(epoch),
                ledger_info::created_at_us.eq(Clock::system().wall().us()),
            ))
            .execute(connection),
    };
    done.map(|_| ())
        .or_else(ignore_duplicate)
        .map_err(unavailable)
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
