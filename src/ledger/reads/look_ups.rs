//! Single entries by their keys, and all accounts page by page.

use diesel::dsl::min;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use serde::Serialize;

use crate::domain::{Account, Amount, Currencies, EventId, Kind, TxHash, UserId};
use crate::ledger::connection::AnyConnection;
use crate::ledger::rows::conflicts::{ConflictRecord, ConflictRow};
use crate::ledger::rows::{EntryRecord, EntryRow, currency, event_digest, user_id};
use crate::ledger::schema::{conflicts, entries};

use super::{Read, shown_conflicts};

/// What an entry is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKey {
    /// Its event id; of a deposit also `ton:<hash>`.
    Event(EventId),
    /// The hash of its transaction.
    Hash(TxHash),
}

impl EntryKey {
    fn hash(&self) -> Option<TxHash> {
        match self {
            Self::Event(event_id) => TxHash::of_event_id(event_id),
            Self::Hash(hash) => Some(*hash),
        }
    }
}

/// An entry as in a history, and what is left of it.
#[derive(Debug, Serialize)]
pub struct FoundEntry {
    /// The entry.
    #[serde(flatten)]
    pub entry: EntryRecord,
    /// How much of it can still be reversed; none for a reversal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
}

pub(in crate::ledger) fn entry(
    connection: &mut AnyConnection,
    key: &EntryKey,
    currencies: &Currencies,
) -> Read<Option<FoundEntry>> {
    let mut row: Option<EntryRow> = None;
    if let EntryKey::Event(event_id) = key {
        row = by_event(connection, event_id.as_str())?;
    }
    if let (None, Some(hash)) = (&row, key.hash()) {
        row = entries::table
            .filter(entries::tx_hash.eq(hash.as_bytes().as_slice()))
            .select(EntryRow::as_select())
            .get_result(connection)
            .optional()?;
    }
    let Some(row) = row else {
        return Ok(None);
    };
    let left = if row.kind == Kind::Reversal.as_str() {
        None
    } else {
        let least: Option<i64> = entries::table
            .filter(entries::reverses.eq(&row.event_id))
            .select(min(entries::left_after))
            .get_result(connection)?;
        let whole = Amount::from_minor(row.amount).checked_abs();
        let decimals = currency(currencies, &row.currency)?.decimals();
        let left = least.map(Amount::from_minor).or(whole);
        left.map(|left| left.display(decimals).to_string())
    };
    let entry = row.record(currencies)?;
    Ok(Some(FoundEntry { entry, left }))
}

fn by_event(connection: &mut AnyConnection, event_id: &str) -> QueryResult<Option<EntryRow>> {
    let of_event = entries::table.filter(entries::event_id.eq(event_id));
    let sqlite = match connection {
        AnyConnection::Postgres(_) => {
            return of_event
                .select(EntryRow::as_select())
                .get_result(connection)
                .optional();
        }
        AnyConnection::Sqlite(sqlite) => sqlite,
    };
    let found = of_event
        .filter(entries::event_digest.eq(&event_digest::of(event_id)[..]))
        .select(EntryRow::as_select())
        .get_result(sqlite)
        .optional()?;
    if found.is_some() {
        return Ok(found);
    }
    // Written by hand since the last transaction.
    of_event
        .filter(entries::event_digest.is_null())
        .select(EntryRow::as_select())
        .get_result(sqlite)
        .optional()
}

/// Refused entries with a key, newest first. Their transaction hash is only in the body that is kept, so all that are kept
/// are looked through for it.
pub(in crate::ledger) fn conflicts(
    connection: &mut AnyConnection,
    key: &EntryKey,
    limit: i64,
    currencies: &Currencies,
) -> Read<Vec<ConflictRecord>> {
    let event_id = match (key, key.hash()) {
        (EntryKey::Event(event_id), _) => event_id.as_str().to_owned(),
        (_, Some(hash)) => hash.event_id().to_string(),
        (EntryKey::Hash(_), None) => return Ok(Vec::new()),
    };
    let is_first = entries::user_id
        .eq(conflicts::first_user_id)
        .and(entries::version.eq(conflicts::first_version));
    let all = conflicts::table.left_join(entries::table.on(is_first));
    let columns = (ConflictRow::as_select(), Option::<EntryRow>::as_select());
    let newest = (conflicts::seen_at_us.desc(), conflicts::id.desc());
    let rows: Vec<(ConflictRow, Option<EntryRow>)> = match key.hash() {
        None => all
            .filter(conflicts::event_id.eq(event_id))
            .order(newest)
            .limit(limit)
            .select(columns)
            .load(connection)?,
        Some(hash) => all
            .filter(
                conflicts::event_id
                    .eq(event_id)
                    .or(conflicts::second.like(format!("%\"tx_hash\":\"{hash}\"%"))),
            )
            .order(newest)
            .limit(limit)
            .select(columns)
            .load(connection)?,
    };
    shown_conflicts(rows, currencies)
}

/// A user's account.
#[derive(Debug, Clone)]
pub struct AccountRecord {
    /// Whose it is.
    pub user_id: UserId,
    /// Version and balances of one state.
    pub account: Account,
}

/// One statement: each user's version and balances are of one state.
const ACCOUNTS: &str = "SELECT page.user_id, page.version, balances.currency, balances.amount FROM \
     (SELECT user_id, version FROM accounts WHERE user_id > $1 ORDER BY user_id LIMIT $2) AS page \
     LEFT JOIN balances ON balances.user_id = page.user_id ORDER BY page.user_id";

#[derive(QueryableByName)]
struct AccountRow {
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    amount: Option<i64>,
}

pub(in crate::ledger) fn accounts(
    connection: &mut AnyConnection,
    after: i64,
    limit: i64,
    currencies: &Currencies,
) -> Read<Vec<AccountRecord>> {
    let rows: Vec<AccountRow> = sql_query(ACCOUNTS)
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(limit)
        .load(connection)?;
    let mut all: Vec<AccountRecord> = Vec::new();
    for row in rows {
        let user_id = user_id(row.user_id)?;
        if all.last().is_none_or(|last| last.user_id != user_id) {
            let mut account = Account::unknown(currencies.count());
            (account.exists, account.version) = (true, row.version);
            all.push(AccountRecord { user_id, account });
        }
        if let (Some(last), Some(code), Some(minor)) = (all.last_mut(), row.currency, row.amount) {
            let currency = currency(currencies, &code)?;
            last.account
                .balances
                .set(currency, Amount::from_minor(minor));
        }
    }
    Ok(all)
}
