//! Every read, written once for both databases.

mod at_version;
pub mod look_ups;
mod missed;

use std::collections::HashMap;

use diesel::prelude::*;
use serde::Serialize;

use crate::clock;
use crate::domain::{Account, Amount, Currencies, TelegramId, UserId};

use super::LedgerError;
use super::connection::AnyConnection;
use super::errors::{StoreError, unfit};
use super::rows::conflicts::{ConflictRecord, ConflictRow};
use super::rows::{EntryRecord, EntryRow, currency};
use super::schema::{accounts, admin_log, balances, conflicts, entries, ledger_info};

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Database(StoreError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<diesel::result::Error> for ReadError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<ReadError> for LedgerError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) => Self::Unavailable(error.to_string()),
            ReadError::Ledger(error) => error,
        }
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(error) => error,
            ReadError::Ledger(error) => unfit(error),
        }
    }
}

pub(super) use at_version::balances_at;
pub(super) use missed::{missed_entries, versions};

type Read<T> = Result<T, ReadError>;

/// A page of a user's history.
#[derive(Debug, Clone, Copy)]
pub struct HistoryPage {
    /// At most so many entries, newest first.
    pub limit: i64,
    /// Only entries older than this version.
    pub before_version: Option<i64>,
}

pub(super) fn epoch(connection: &mut AnyConnection) -> Read<String> {
    Ok(ledger_info::table
        .select(ledger_info::epoch)
        .get_result(connection)?)
}

/// Version and balances of one state: a single statement reads both.
pub(super) fn account(
    connection: &mut AnyConnection,
    user: UserId,
    currencies: &Currencies,
) -> Read<Account> {
    let rows: Vec<AccountRow> = accounts::table
        .left_join(balances::table.on(balances::user_id.eq(accounts::user_id)))
        .filter(accounts::user_id.eq(user.get()))
        .select((
            accounts::version,
            balances::currency.nullable(),
            balances::amount.nullable(),
        ))
        .load(connection)?;
    let mut account = Account::unknown(currencies.count());
    for row in rows {
        add_row(&mut account, row, currencies)?;
    }
    Ok(account)
}

/// A row of an account: its version, and the balance of one currency, if it has any.
type AccountRow = (i64, Option<String>, Option<i64>);

fn add_row(
    account: &mut Account,
    (version, code, minor): AccountRow,
    currencies: &Currencies,
) -> Result<(), LedgerError> {
    account.exists = true;
    account.version = version;
    if let (Some(code), Some(minor)) = (code, minor) {
        let currency = currency(currencies, &code)?;
        account.balances.set(currency, Amount::from_minor(minor));
    }
    Ok(())
}

/// The same of several users, in their order: one statement on PostgreSQL. What can't be read of one fails for that one.
pub(super) fn accounts(
    connection: &mut AnyConnection,
    users: &[UserId],
    currencies: &Currencies,
) -> Read<Vec<Result<Account, LedgerError>>> {
    if users.len() == 1 || matches!(connection, AnyConnection::Sqlite(_)) {
        let read = |user: &UserId| match account(connection, *user, currencies) {
            Ok(account) => Ok(Ok(account)),
            Err(ReadError::Ledger(error)) => Ok(Err(error)),
            Err(error) => Err(error),
        };
        return users.iter().map(read).collect();
    }
    let ids: Vec<i64> = users.iter().map(|user| user.get()).collect();
    let rows: Vec<(i64, i64, Option<String>, Option<i64>)> = accounts::table
        .left_join(balances::table.on(balances::user_id.eq(accounts::user_id)))
        .filter(accounts::user_id.eq_any(ids))
        .select((
            accounts::user_id,
            accounts::version,
            balances::currency.nullable(),
            balances::amount.nullable(),
        ))
        .load(connection)?;
    let mut found: HashMap<i64, Result<Account, LedgerError>> = HashMap::new();
    for (user, version, code, minor) in rows {
        let read = found
            .entry(user)
            .or_insert_with(|| Ok(Account::unknown(currencies.count())));
        if let Ok(account) = read
            && let Err(error) = add_row(account, (version, code, minor), currencies)
        {
            *read = Err(error);
        }
    }
    let of = |user: &UserId| {
        // A user may be asked for twice.
        let found = found.get(&user.get()).cloned();
        found.unwrap_or_else(|| Ok(Account::unknown(currencies.count())))
    };
    Ok(users.iter().map(of).collect())
}

pub(super) fn history(
    connection: &mut AnyConnection,
    user: UserId,
    page: HistoryPage,
    currencies: &Currencies,
) -> Read<Vec<EntryRecord>> {
    let rows: Vec<EntryRow> = entries::table
        .filter(entries::user_id.eq(user.get()))
        .filter(entries::version.lt(page.before_version.unwrap_or(i64::MAX)))
        .order(entries::version.desc())
        .limit(page.limit)
        .select(EntryRow::as_select())
        .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|row| row.record(currencies))
        .collect::<Result<_, _>>()?)
}

pub(super) fn user_exists(connection: &mut AnyConnection, user: UserId) -> Read<bool> {
    let found: Option<i64> = accounts::table
        .find(user.get())
        .select(accounts::user_id)
        .get_result(connection)
        .optional()?;
    Ok(found.is_some())
}

pub(super) fn user_of_telegram(
    connection: &mut AnyConnection,
    telegram_id: TelegramId,
) -> Read<Option<UserId>> {
    let found: Option<i64> = accounts::table
        .filter(accounts::telegram_id.eq(telegram_id.get()))
        .select(accounts::user_id)
        .get_result(connection)
        .optional()?;
    let unfit = |_| LedgerError::Unfit("a Telegram id is linked to an invalid user id".into());
    Ok(found.map(UserId::new).transpose().map_err(unfit)?)
}

pub(super) fn latest_conflicts(
    connection: &mut AnyConnection,
    limit: i64,
    currencies: &Currencies,
) -> Read<Vec<ConflictRecord>> {
    let is_first = entries::user_id
        .eq(conflicts::first_user_id)
        .and(entries::version.eq(conflicts::first_version));
    let rows: Vec<(ConflictRow, Option<EntryRow>)> = conflicts::table
        .left_join(entries::table.on(is_first))
        .order((conflicts::seen_at_us.desc(), conflicts::id.desc()))
        .limit(limit)
        .select((ConflictRow::as_select(), Option::<EntryRow>::as_select()))
        .load(connection)?;
    shown_conflicts(rows, currencies)
}

fn shown_conflicts(
    rows: Vec<(ConflictRow, Option<EntryRow>)>,
    currencies: &Currencies,
) -> Read<Vec<ConflictRecord>> {
    Ok(rows
        .into_iter()
        .map(|(conflict, first)| conflict.record(first, currencies))
        .collect::<Result<_, _>>()?)
}

/// A row of the log, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdminRecord {
    /// Time, RFC 3339.
    pub at: String,
    /// The administrator.
    pub admin: String,
    /// The order.
    pub action: String,
    /// The user that it concerns.
    pub user_id: i64,
}

/// The latest rows, newest first.
pub(super) fn latest_actions(
    connection: &mut AnyConnection,
    limit: i64,
) -> Result<Vec<AdminRecord>, ReadError> {
    let rows: Vec<(i64, String, String, i64)> = admin_log::table
        .order(admin_log::id.desc())
        .limit(limit)
        .select((
            admin_log::at_us,
            admin_log::admin,
            admin_log::action,
            admin_log::user_id,
        ))
        .load(connection)?;
    let shown = |(at_us, admin, action, user_id)| AdminRecord {
        at: clock::rfc3339(at_us),
        admin,
        action,
        user_id,
    };
    Ok(rows.into_iter().map(shown).collect())
}

#[cfg(test)]
mod tests;
