//! Statements that run once per row, prepared once per connection. Preparing costs several times as much as running, and
//! Diesel prepares its `UPDATE`s and upserts anew each time; these have one text each. (For the same reason a row with a
//! unique key is selected without Diesel's `first`: SQLite plans a statement anew for each value of a `LIMIT`.)

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;

use crate::ledger::rows::conflicts::Refusals;

/// Sets the version of an account that exists.
#[derive(QueryId)]
pub(super) struct SetVersion {
    pub user_id: i64,
    pub version: i64,
    pub now_us: i64,
}

impl QueryFragment<Sqlite> for SetVersion {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE accounts SET version = ");
        out.push_bind_param::<BigInt, _>(&self.version)?;
        out.push_sql(", updated_at_us = ");
        out.push_bind_param::<BigInt, _>(&self.now_us)?;
        out.push_sql(" WHERE user_id = ");
        out.push_bind_param::<BigInt, _>(&self.user_id)
    }
}

impl RunQueryDsl<SqliteConnection> for SetVersion {}

/// Sets a balance, whether it exists or not.
pub(super) struct SetBalance<'a> {
    pub user_id: i64,
    pub currency: &'a str,
    pub amount: i64,
}

impl QueryId for SetBalance<'_> {
    type QueryId = SetBalance<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Sqlite> for SetBalance<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("INSERT INTO balances (user_id, currency, amount) VALUES (");
        out.push_bind_param::<BigInt, _>(&self.user_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(self.currency)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&self.amount)?;
        out.push_sql(") ON CONFLICT (user_id, currency) DO UPDATE SET amount = excluded.amount");
        Ok(())
    }
}

impl RunQueryDsl<SqliteConnection> for SetBalance<'_> {}

/// Counts refusals up in the row that has their key, if there is one.
pub(super) struct CountRefusals<'a> {
    pub refusals: &'a Refusals<'a>,
    pub now_us: i64,
}

impl QueryId for CountRefusals<'_> {
    type QueryId = CountRefusals<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Sqlite> for CountRefusals<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let Refusals { key, count, .. } = self.refusals;
        out.push_sql("UPDATE conflicts SET count = count + ");
        out.push_bind_param::<BigInt, _>(count)?;
        out.push_sql(", seen_at_us = max(seen_at_us, ");
        out.push_bind_param::<BigInt, _>(&self.now_us)?;
        out.push_sql(") WHERE event_id = ");
        out.push_bind_param::<Text, _>(key.event_id)?;
        out.push_sql(" AND user_id = ");
        out.push_bind_param::<BigInt, _>(&key.user_id)?;
        out.push_sql(" AND kind = ");
        out.push_bind_param::<Text, _>(key.kind)?;
        out.push_sql(" AND currency = ");
        out.push_bind_param::<Text, _>(key.currency)?;
        out.push_sql(" AND amount = ");
        out.push_bind_param::<BigInt, _>(&key.amount)
    }
}

impl RunQueryDsl<SqliteConnection> for CountRefusals<'_> {}
