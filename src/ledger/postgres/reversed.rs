//! Loads the entries that reversals name: as many statements for ten thousand as for one.

use std::collections::HashMap;

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Text};

use crate::domain::{Currencies, EventId, TxHash};
use crate::ledger::batch::Loaded;
use crate::ledger::errors::{StoreError, unfit};
use crate::ledger::rows::RecordedRow;
use crate::ledger::schema::entries;

pub(super) fn load(
    connection: &mut PgConnection,
    names: &[&EventId],
    currencies: &Currencies,
    loaded: &mut Loaded,
) -> Result<(), StoreError> {
    let texts: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let mut rows: Vec<RecordedRow> = entries::table
        .filter(entries::event_id.eq_any(&texts))
        .select(RecordedRow::as_select())
        .load(connection)?;
    let hashes: Vec<TxHash> = names
        .iter()
        .filter_map(|name| TxHash::of_event_id(name))
        .collect();
    if !hashes.is_empty() {
        let hashes: Vec<&[u8]> = hashes.iter().map(|hash| &hash.as_bytes()[..]).collect();
        let by_hash: Vec<RecordedRow> = entries::table
            .filter(entries::tx_hash.eq_any(hashes))
            .select(RecordedRow::as_select())
            .load(connection)?;
        rows.extend(by_hash);
    }
    let events: Vec<&str> = rows.iter().map(|row| row.event_id.as_str()).collect();
    let left: Vec<(String, i64)> = Left { events }.load(connection)?;
    let left: HashMap<String, i64> = left.into_iter().collect();
    for row in rows {
        let left = left.get(&row.event_id).copied();
        let reversible = row.reversible(left, currencies).map_err(unfit)?;
        loaded.reversibles.insert(reversible);
    }
    Ok(())
}

/// What the last reversals of entries left of them; nothing of those without. The least is the last one's, and the first
/// in the index, however many there are.
struct Left<'a> {
    events: Vec<&'a str>,
}

impl QueryId for Left<'_> {
    type QueryId = Left<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for Left<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT event, left_after FROM (SELECT event, (SELECT MIN(left_after) FROM entries WHERE reverses = event) \
             AS left_after FROM UNNEST(",
        );
        out.push_bind_param::<Array<Text>, _>(&self.events)?;
        out.push_sql(") AS named (event)) AS found WHERE left_after IS NOT NULL");
        Ok(())
    }
}

impl Query for Left<'_> {
    type SqlType = (Text, BigInt);
}

impl RunQueryDsl<PgConnection> for Left<'_> {}
