//! Refused entries as the table `conflicts` keeps them, and how many it keeps.
//!
//! Each event id has one row for each content that was refused under it: user, kind, currency and amount. A retry counts
//! up in its row, however its other fields are spelled. The body that is kept is the one that was refused first.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock;
use crate::domain::{Amount, CONFLICT_CODE, Change, Currencies, CurrencyId, Details};
use crate::ledger::LedgerError;
use crate::ledger::batch::PlannedConflict;
use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::conflicts;
use crate::limits::{CONFLICTS_GROUPED_MAX, CONFLICTS_PRUNED_MIN};

use super::{EntryRecord, EntryRow};

/// What identifies a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ledger) struct ConflictKey<'a> {
    pub event_id: &'a str,
    pub user_id: i64,
    pub kind: &'static str,
    pub currency: &'a str,
    pub amount: i64,
}

/// The refused entries of one plan that share a key.
#[derive(Debug)]
pub(in crate::ledger) struct Refusals<'a> {
    pub key: ConflictKey<'a>,
    /// How many they are.
    pub count: i64,
    /// The first of them.
    planned: &'a PlannedConflict<'a>,
}

/// The refused entries of a plan by their keys, in ascending order: the order in which rows are locked.
pub(in crate::ledger) fn by_key<'a>(
    planned: &'a [PlannedConflict<'a>],
    currencies: &'a Currencies,
) -> Vec<Refusals<'a>> {
    let mut all: BTreeMap<ConflictKey<'a>, Refusals<'a>> = BTreeMap::new();
    for planned in planned {
        let entry = planned.second;
        let (currency, amount) = content(planned);
        let key = ConflictKey {
            event_id: entry.event_id.as_str(),
            user_id: entry.user_id.get(),
            kind: entry.kind.as_str(),
            currency: currency.map_or("", |currency| &currencies.get(currency).code),
            amount: amount.map_or(0, Amount::minor),
        };
        let same = all.entry(key).or_insert(Refusals {
            key,
            count: 0,
            planned,
        });
        same.count += 1;
    }
    all.into_values().collect()
}

/// What a refused entry says of its currency and amount. A reversal may say nothing; its amount is read as one of the
/// currency of the entry in the ledger.
fn content(planned: &PlannedConflict<'_>) -> (Option<CurrencyId>, Option<Amount>) {
    match &planned.second.change {
        Change::Plain { currency, amount } => (Some(*currency), Some(*amount)),
        Change::Reversal(reversal) => {
            let currency = reversal.currency.unwrap_or(planned.first.currency);
            let given = reversal.amount.as_ref();
            let amount = given.and_then(|text| Amount::parse(text, currency.decimals()).ok());
            (reversal.currency, amount)
        }
    }
}

/// A new row of `conflicts`.
#[derive(Debug, Insertable)]
#[diesel(table_name = conflicts)]
pub(in crate::ledger) struct NewConflictRow<'a> {
    pub event_id: &'a str,
    pub user_id: i64,
    pub kind: &'a str,
    pub currency: &'a str,
    pub amount: i64,
    pub count: i64,
    pub first_user_id: i64,
    pub first_version: i64,
    pub second: String,
    pub first_seen_at_us: i64,
    pub seen_at_us: i64,
}

impl<'a> Refusals<'a> {
    pub(in crate::ledger) fn row(
        &self,
        seen_at_us: i64,
        currencies: &Currencies,
    ) -> NewConflictRow<'a> {
        let first = &self.planned.first;
        NewConflictRow {
            event_id: self.key.event_id,
            user_id: self.key.user_id,
            kind: self.key.kind,
            currency: self.key.currency,
            amount: self.key.amount,
            count: self.count,
            first_user_id: first.user_id.get(),
            first_version: first.version,
            second: body(self.planned, currencies),
            first_seen_at_us: seen_at_us,
            seen_at_us,
        }
    }
}

/// Deletes rows beyond the newest `rows_max`, after so many were added: a few more than that, and never many at once,
/// since entries wait for it. Rows get their ids in the order in which they are added, so no row has to be counted.
pub(in crate::ledger) fn prune(
    connection: &mut AnyConnection,
    added: usize,
    rows_max: i64,
) -> QueryResult<()> {
    if added == 0 {
        return Ok(());
    }
    // Rows that another writer deletes or counts up are left to a later transaction.
    let unlocked = match connection {
        AnyConnection::Postgres(_) => "FOR UPDATE SKIP LOCKED",
        AnyConnection::Sqlite(_) => "",
    };
    let pruned_max = i64::try_from(added.saturating_mul(2)).unwrap_or(i64::MAX);
    sql_query(format!(
        "DELETE FROM conflicts WHERE id IN (SELECT id FROM conflicts \
         WHERE id <= (SELECT MAX(id) FROM conflicts) - $1 ORDER BY id LIMIT $2 {unlocked})"
    ))
    .bind::<BigInt, _>(rows_max)
    .bind::<BigInt, _>(pruned_max.max(CONFLICTS_PRUNED_MIN))
    .execute(connection)
    .map(|_| ())
}

/// A row of `conflicts`, without what identifies it.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = conflicts)]
pub(in crate::ledger) struct ConflictRow {
    event_id: String,
    count: i64,
    second: String,
    first_seen_at_us: i64,
    seen_at_us: i64,
}

impl ConflictRow {
    pub(in crate::ledger) fn record(
        self,
        first: Option<EntryRow>,
        currencies: &Currencies,
    ) -> Result<ConflictRecord, LedgerError> {
        let event_id = self.event_id;
        let second = RawValue::from_string(self.second)
            .map_err(|_| LedgerError::Unfit(format!("the conflict of {event_id} is no JSON")))?;
        Ok(ConflictRecord {
            event_id,
            first: first.map(|row| row.record(currencies)).transpose()?,
            second,
            count: self.count,
            first_seen_at: clock::rfc3339(self.first_seen_at_us),
            seen_at: clock::rfc3339(self.seen_at_us),
        })
    }
}

/// A refused entry beside the one that was there first.
#[derive(Debug, Serialize)]
pub struct ConflictRecord {
    /// The refused entry's event id.
    pub event_id: String,
    /// The entry in the ledger.
    pub first: Option<EntryRecord>,
    /// What was refused, as it was sent first.
    pub second: Box<RawValue>,
    /// How many times it was refused.
    pub count: i64,
    /// When it was refused first, RFC 3339.
    pub first_seen_at: String,
    /// When it was refused last, RFC 3339.
    pub seen_at: String,
}

/// Refused entries of a kind, together.
#[derive(Debug, Serialize)]
pub struct ConflictGroup {
    /// The kind of the refused entries.
    pub kind: String,
    /// The code with which they were refused.
    pub code: &'static str,
    /// How many conflicts they are.
    pub conflicts: i64,
    /// How many times one of them was refused.
    pub count: i64,
    /// How many users they name.
    pub users: i64,
    /// When one of them was refused first, RFC 3339.
    pub first_seen_at: String,
    /// When one of them was refused last, RFC 3339.
    pub seen_at: String,
}

#[derive(Debug, QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    conflicts: i64,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = BigInt)]
    users: i64,
    #[diesel(sql_type = BigInt)]
    first_seen_at_us: i64,
    #[diesel(sql_type = BigInt)]
    seen_at_us: i64,
}

/// The refused entries that are kept.
#[derive(Debug, Serialize)]
pub struct Conflicts {
    /// The latest, newest first.
    pub conflicts: Vec<ConflictRecord>,
    /// How many are kept.
    pub total: i64,
    /// The latest `limits::CONFLICTS_GROUPED_MAX` by their kind, the most first.
    pub groups: Vec<ConflictGroup>,
}

pub(in crate::ledger) fn total(connection: &mut AnyConnection) -> QueryResult<i64> {
    conflicts::table.count().get_result(connection)
}

/// Only the latest: reading a row costs as much as its body is long.
pub(in crate::ledger) fn groups(connection: &mut AnyConnection) -> QueryResult<Vec<ConflictGroup>> {
    let rows: Vec<GroupRow> = sql_query(
        "SELECT kind, COUNT(*) AS conflicts, CAST(SUM(count) AS BIGINT) AS count, COUNT(DISTINCT user_id) AS users, \
         MIN(first_seen_at_us) AS first_seen_at_us, MAX(seen_at_us) AS seen_at_us \
         FROM (SELECT kind, count, user_id, first_seen_at_us, seen_at_us FROM conflicts \
         ORDER BY seen_at_us DESC, id DESC LIMIT $1) AS latest GROUP BY kind ORDER BY 3 DESC, 1",
    )
    .bind::<BigInt, _>(CONFLICTS_GROUPED_MAX)
    .load(connection)?;
    let group = |row: GroupRow| ConflictGroup {
        kind: row.kind,
        code: CONFLICT_CODE,
        conflicts: row.conflicts,
        count: row.count,
        users: row.users,
        first_seen_at: clock::rfc3339(row.first_seen_at_us),
        seen_at: clock::rfc3339(row.seen_at_us),
    };
    Ok(rows.into_iter().map(group).collect())
}

fn body(planned: &PlannedConflict<'_>, currencies: &Currencies) -> String {
    let entry = planned.second;
    let Details {
        reason,
        occurred_at_us,
        metadata,
        tx_lt,
        tx_account,
        request: _,
    } = entry.details.as_deref().cloned().unwrap_or_default();
    let (currency, amount) = content(planned);
    let reversal = entry.reversal();
    let amount = match reversal {
        Some(reversal) => reversal.amount.as_deref().map(str::to_owned),
        None => currency.zip(amount).map(|(currency, amount)| {
            let shown = amount.display(currency.decimals());
            shown.to_string()
        }),
    };
    let record = EntryRecord {
        event_id: entry.event_id.to_string(),
        user_id: entry.user_id.get(),
        version: None,
        kind: entry.kind.to_string(),
        reverses: reversal.map(|reversal| reversal.reverses.to_string()),
        currency: currency.map(|currency| currencies.get(currency).code.clone()),
        amount,
        balance_after: None,
        source: entry.source.as_str().to_owned(),
        reason,
        occurred_at: occurred_at_us.map(clock::rfc3339),
        metadata: metadata.and_then(|json| RawValue::from_string(json).ok()),
        tx_hash: entry.tx_hash.map(|hash| hash.to_string()),
        lt: tx_lt,
        account: tx_account.map(|account| account.to_string()),
        committed_at: None,
    };
    serde_json::to_string(&record).expect("strings and checked JSON always serialise")
}
