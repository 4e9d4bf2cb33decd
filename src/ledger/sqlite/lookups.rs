//! Reads what a transaction is decided on.

use diesel::dsl::min;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::domain::{Account, Amount, Currencies, EventId, Reversible, TxHash, UserId};
use crate::ledger::errors::{StoreError, unfit};
use crate::ledger::rows::{RecordedRow, currency, event_digest};
use crate::ledger::schema::{accounts, balances, entries};

/// As [`crate::ledger::reads::account`], but not through [`crate::ledger::connection::AnyConnection`], whose statements cost half as many instructions again
/// for each entry: see the guard's row `sqlite`.
pub(super) fn load_account(
    connection: &mut SqliteConnection,
    user: UserId,
    currencies: &Currencies,
) -> Result<Account, StoreError> {
    let rows: Vec<(i64, Option<String>, Option<i64>)> = accounts::table
        .left_join(balances::table.on(balances::user_id.eq(accounts::user_id)))
        .filter(accounts::user_id.eq(user.get()))
        .select((
            accounts::version,
            balances::currency.nullable(),
            balances::amount.nullable(),
        ))
        .load(connection)?;
    let mut account = Account::unknown(currencies.count());
    for (version, code, minor) in rows {
        account.exists = true;
        account.version = version;
        if let (Some(code), Some(minor)) = (code, minor) {
            let currency = currency(currencies, &code).map_err(unfit)?;
            account.balances.set(currency, Amount::from_minor(minor));
        }
    }
    Ok(account)
}

pub(super) fn find_event(
    connection: &mut SqliteConnection,
    event: &EventId,
) -> Result<Option<RecordedRow>, StoreError> {
    Ok(entries::table
        .filter(entries::event_digest.eq(&event_digest::of(event.as_str())[..]))
        .filter(entries::event_id.eq(event.as_str()))
        .select(RecordedRow::as_select())
        .get_result(connection)
        .optional()?)
}

pub(super) fn find_hash(
    connection: &mut SqliteConnection,
    hash: &TxHash,
) -> Result<Option<RecordedRow>, StoreError> {
    Ok(entries::table
        .filter(entries::tx_hash.eq(hash.as_bytes().as_slice()))
        .select(RecordedRow::as_select())
        .get_result(connection)
        .optional()?)
}

pub(super) fn find_reversible(
    connection: &mut SqliteConnection,
    name: &EventId,
    currencies: &Currencies,
) -> Result<Option<Reversible>, StoreError> {
    let found = match (find_event(connection, name)?, TxHash::of_event_id(name)) {
        (None, Some(hash)) => find_hash(connection, &hash)?,
        (found, _) => found,
    };
    let Some(row) = found else {
        return Ok(None);
    };
    let left: Option<i64> = entries::table
        .filter(entries::reverses.eq(&row.event_id))
        .select(min(entries::left_after))
        .get_result(connection)?;
    Ok(Some(row.reversible(left, currencies).map_err(unfit)?))
}
