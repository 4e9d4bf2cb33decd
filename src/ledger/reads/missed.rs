//! What a process finds out that did not hear of every commit: the versions of many users, and the entries behind those
//! that it knows.
//!
//! The versions of a user have no gap, so a range of them is a number of entries.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt};

use super::{Read, ReadError};
use crate::domain::{Amount, Currencies, EventId, Source, UserId};
use crate::ledger::connection::AnyConnection;
use crate::ledger::rows::{currency, kind, user_id};
use crate::ledger::schema::{accounts, entries};
use crate::ledger::{LedgerError, MissedEntry};
use crate::limits::MISSED_ENTRIES_MAX;

const ON_POSTGRES: &str = "SELECT entries.user_id, entries.version, entries.event_id, entries.kind, entries.source, entries.currency, \
     entries.amount, entries.balance_after, entries.committed_at_us \
     FROM unnest($1, $2) AS known (user_id, version) \
     JOIN entries ON entries.user_id = known.user_id \
     AND entries.version > known.version AND entries.version <= known.version + $3 \
     ORDER BY entries.user_id, entries.version";

/// The columns of a [`MissedEntry`].
#[derive(Debug, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = entries)]
struct MissedRow {
    user_id: i64,
    version: i64,
    event_id: String,
    kind: String,
    source: String,
    currency: String,
    amount: i64,
    balance_after: i64,
    committed_at_us: i64,
}

impl MissedRow {
    fn entry(self, currencies: &Currencies) -> Result<MissedEntry, LedgerError> {
        let source = Source::parse(&self.source)
            .ok_or_else(|| LedgerError::Unfit("an entry has an invalid source".into()))?;
        let event_id = EventId::parse(&self.event_id)
            .map_err(|_| LedgerError::Unfit("an entry has an invalid event id".into()))?;
        Ok(MissedEntry {
            user_id: user_id(self.user_id)?,
            version: self.version,
            event_id,
            kind: kind(&self.kind)?,
            source,
            currency: currency(currencies, &self.currency)?,
            amount: Amount::from_minor(self.amount),
            balance_after: Amount::from_minor(self.balance_after),
            committed_at_us: self.committed_at_us,
        })
    }
}

/// The version of each of these users that the ledger has.
pub(in crate::ledger) fn versions(
    connection: &mut AnyConnection,
    users: &[UserId],
) -> Read<Vec<(UserId, i64)>> {
    let ids: Vec<i64> = users.iter().map(|user| user.get()).collect();
    let rows: Vec<(i64, i64)> = accounts::table
        .filter(accounts::user_id.eq_any(ids))
        .select((accounts::user_id, accounts::version))
        .load(connection)?;
    let row = |(user, version)| Ok((user_id(user)?, version));
    Ok(rows
        .into_iter()
        .map(row)
        .collect::<Result<_, LedgerError>>()?)
}

/// The next entries behind a known version of each of these users, at most [`MISSED_ENTRIES_MAX`] of one, ordered by user
/// and version.
pub(in crate::ledger) fn missed_entries(
    connection: &mut AnyConnection,
    known: &[(UserId, i64)],
    currencies: &Currencies,
) -> Read<Vec<MissedEntry>> {
    let rows: Vec<MissedRow> = match connection {
        AnyConnection::Postgres(postgres) => {
            let (users, versions): (Vec<i64>, Vec<i64>) = known
                .iter()
                .map(|(user, version)| (user.get(), version))
                .unzip();
            sql_query(ON_POSTGRES)
                .bind::<Array<BigInt>, _>(users)
                .bind::<Array<BigInt>, _>(versions)
                .bind::<BigInt, _>(MISSED_ENTRIES_MAX)
                .load(postgres)?
        }
        AnyConnection::Sqlite(sqlite) => {
            let mut rows = Vec::new();
            for (user, version) in known {
                let found: Vec<MissedRow> = entries::table
                    .filter(entries::user_id.eq(user.get()))
                    .filter(entries::version.gt(version))
                    .filter(entries::version.le(version.saturating_add(MISSED_ENTRIES_MAX)))
                    .order(entries::version)
                    .select(MissedRow::as_select())
                    .load(sqlite)?;
                rows.extend(found);
            }
            rows
        }
    };
    let entries = rows.into_iter().map(|row| row.entry(currencies));
    entries.collect::<Result<_, _>>().map_err(ReadError::Ledger)
}
