//! The statements of the feed.

use diesel::dsl::max;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};

use crate::domain::Currencies;
use crate::ledger::connection::AnyConnection;
use crate::ledger::reads::{self, ReadError};
use crate::ledger::rows::{EntryRecord, EntryRow};
use crate::ledger::schema::entries;
use crate::ledger::{LedgerError, Standing};

use super::Outbox;
use super::horizon::{Look, ready};

/// A page of the feed.
#[derive(Debug)]
pub struct FeedPage {
    /// The epoch that the ledger had after the entries were read.
    pub epoch: String,
    /// Oldest first.
    pub entries: Vec<EntryRecord>,
    /// The id behind which the next page begins.
    pub next: i64,
    /// There are more entries, but one before them may still appear.
    pub is_held: bool,
    /// The ledger has no entry with this id, nor a later one: it is not the ledger that gave the id.
    pub is_ahead: bool,
}

/// Reads the entries behind an id.
pub(in crate::ledger) fn read(
    connection: &mut AnyConnection,
    outbox: &Outbox,
    standing: &Standing,
    (after, limit): (i64, i64),
    currencies: &Currencies,
) -> Result<FeedPage, ReadError> {
    // Before the rows: what is settled is so for statements that begin later.
    let settled = outbox.horizon().settled(standing.epoch_number());
    let mut rows = behind(connection, after, limit)?;
    let mut count = ready(rows.iter().map(|(id, _)| *id), after, settled);
    if count < rows.len() {
        let last = count.checked_sub(1).map_or(after, |index| rows[index].0);
        let seen = outbox.look(connection, standing)?;
        if seen.settled > last {
            rows = behind(connection, after, limit)?;
            count = ready(rows.iter().map(|(id, _)| *id), after, seen.settled);
        }
    }
    let is_ahead = rows.is_empty() && after > newest(connection)?;
    let is_held = count < rows.len();
    rows.truncate(count);
    let next = rows.last().map_or(after, |(id, _)| *id);
    let records = rows.into_iter().map(|(_, row)| row.record(currencies));
    let entries = records.collect::<Result<_, LedgerError>>()?;
    Ok(FeedPage {
        epoch: reads::epoch(connection)?,
        entries,
        next,
        is_held,
        is_ahead,
    })
}

fn behind(
    connection: &mut AnyConnection,
    after: i64,
    limit: i64,
) -> QueryResult<Vec<(i64, EntryRow)>> {
    entries::table
        .filter(entries::id.gt(after))
        .order(entries::id)
        .limit(limit)
        .select((entries::id, EntryRow::as_select()))
        .load(connection)
}

fn newest(connection: &mut AnyConnection) -> QueryResult<i64> {
    let newest: Option<i64> = entries::table
        .select(max(entries::id))
        .get_result(connection)?;
    Ok(newest.unwrap_or(0))
}

/// One statement: its snapshot is made before it asks for locks. The modes are those in which rows can be inserted.
const LOOK: &str = "SELECT COALESCE((SELECT MAX(id) FROM entries), 0) AS newest, \
     ARRAY(SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND relation = 'entries'::regclass AND mode IN \
     ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')) AS writers";

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = BigInt)]
    newest: i64,
    #[diesel(sql_type = Array<Text>)]
    writers: Vec<String>,
}

/// Looks at the newest entry and at the transactions that write entries. On SQLite one writes at a time, and its ids are
/// visible when the next one begins.
pub(super) fn look(connection: &mut AnyConnection) -> Result<Look, ReadError> {
    let AnyConnection::Postgres(postgres) = connection else {
        return Ok(Look {
            newest: newest(connection)?,
            writers: Vec::new(),
        });
    };
    let Found { newest, writers } = sql_query(LOOK).get_result(postgres)?;
    Ok(Look { newest, writers })
}
