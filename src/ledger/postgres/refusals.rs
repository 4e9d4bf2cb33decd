//! The two statements that keep refused entries, over arrays: as many for ten thousand as for one.
//!
//! Rows that exist are counted up first, by their keys alone, so a retry sends no body. (And an `INSERT … ON CONFLICT` takes
//! an id even where it inserts nothing, while pruning relies on ids without such gaps.) What is left is inserted.

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Text};

use crate::ledger::rows::conflicts::{NewConflictRow, Refusals};

use super::arrays::unnest;

/// Keys of rows, column by column.
#[derive(Default)]
struct Keys<'a> {
    event_id: Vec<&'a str>,
    user_id: Vec<i64>,
    kind: Vec<&'a str>,
    currency: Vec<&'a str>,
    amount: Vec<i64>,
}

impl<'a> Keys<'a> {
    fn push(
        &mut self,
        event_id: &'a str,
        user_id: i64,
        kind: &'a str,
        currency: &'a str,
        amount: i64,
    ) {
        self.event_id.push(event_id);
        self.user_id.push(user_id);
        self.kind.push(kind);
        self.currency.push(currency);
        self.amount.push(amount);
    }

    /// The caller adds at least one column.
    fn write<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        unnest::<Array<Text>, _>(out, &self.event_id)?;
        unnest::<Array<BigInt>, _>(out, &self.user_id)?;
        unnest::<Array<Text>, _>(out, &self.kind)?;
        unnest::<Array<Text>, _>(out, &self.currency)?;
        unnest::<Array<BigInt>, _>(out, &self.amount)
    }
}

/// Counts refusals up in the rows that have their keys; gives the places of those refusals, from 0.
pub(super) struct CountRefusals<'a> {
    now_us: i64,
    keys: Keys<'a>,
    counts: Vec<i64>,
    places: Vec<i64>,
}

impl<'a> CountRefusals<'a> {
    pub(super) fn of(all: &[Refusals<'a>], now_us: i64) -> Self {
        let mut keys = Keys::default();
        for Refusals { key, .. } in all {
            keys.push(
                key.event_id,
                key.user_id,
                key.kind,
                key.currency,
                key.amount,
            );
        }
        Self {
            now_us,
            keys,
            counts: all.iter().map(|refusals| refusals.count).collect(),
            places: (0..).take(all.len()).collect(),
        }
    }
}

impl QueryId for CountRefusals<'_> {
    type QueryId = CountRefusals<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for CountRefusals<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "UPDATE conflicts SET count = conflicts.count + new.n, seen_at_us = GREATEST(conflicts.seen_at_us, new.now) \
             FROM (SELECT ",
        );
        self.keys.write(&mut out)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.counts)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.places)?;
        out.push_bind_param::<BigInt, _>(&self.now_us)?;
        out.push_sql(
            ") AS new (e, u, k, c, a, n, place, now) WHERE conflicts.event_id = new.e AND conflicts.user_id = new.u \
             AND conflicts.kind = new.k AND conflicts.currency = new.c AND conflicts.amount = new.a RETURNING new.place",
        );
        Ok(())
    }
}

impl Query for CountRefusals<'_> {
    type SqlType = BigInt;
}

impl RunQueryDsl<PgConnection> for CountRefusals<'_> {}

/// Inserts rows. One that another session has inserted meanwhile is counted up.
pub(super) struct InsertConflicts<'a> {
    now_us: i64,
    keys: Keys<'a>,
    counts: Vec<i64>,
    first_user_id: Vec<i64>,
    first_version: Vec<i64>,
    second: Vec<String>,
}

impl<'a> InsertConflicts<'a> {
    pub(super) fn of(rows: impl Iterator<Item = NewConflictRow<'a>>, now_us: i64) -> Self {
        let mut all = Self {
            now_us,
            keys: Keys::default(),
            counts: Vec::new(),
            first_user_id: Vec::new(),
            first_version: Vec::new(),
            second: Vec::new(),
        };
        for row in rows {
            all.keys.push(
                row.event_id,
                row.user_id,
                row.kind,
                row.currency,
                row.amount,
            );
            all.counts.push(row.count);
            all.first_user_id.push(row.first_user_id);
            all.first_version.push(row.first_version);
            all.second.push(row.second);
        }
        all
    }
}

impl QueryId for InsertConflicts<'_> {
    type QueryId = InsertConflicts<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for InsertConflicts<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO conflicts (event_id, user_id, kind, currency, amount, count, first_user_id, first_version, second, \
             first_seen_at_us, seen_at_us) SELECT ",
        );
        self.keys.write(&mut out)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.counts)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.first_user_id)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.first_version)?;
        unnest::<Array<Text>, _>(&mut out, &self.second)?;
        out.push_bind_param::<BigInt, _>(&self.now_us)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.now_us)?;
        out.push_sql(
            " ON CONFLICT (event_id, user_id, kind, currency, amount) DO UPDATE SET count = conflicts.count + EXCLUDED.count, \
             seen_at_us = GREATEST(conflicts.seen_at_us, EXCLUDED.seen_at_us)",
        );
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for InsertConflicts<'_> {}
