//! The statements that write: each one text, prepared once per connection, over arrays. (What is given to Diesel's
//! `sql_query` is prepared anew each time, which is another round trip and another plan.)

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};

/// Inserts entries: an array for each column.
#[derive(Default)]
pub(super) struct InsertEntries<'a> {
    pub user_id: Vec<i64>,
    pub version: Vec<i64>,
    pub kind: Vec<&'a str>,
    pub source: Vec<&'a str>,
    pub currency: Vec<&'a str>,
    pub amount: Vec<i64>,
    pub balance_after: Vec<i64>,
    pub event_id: Vec<&'a str>,
    pub tx_hash: Vec<Option<Vec<u8>>>,
    pub tx_lt: Vec<Option<&'a str>>,
    pub tx_account: Vec<Option<String>>,
    pub reason: Vec<Option<&'a str>>,
    pub metadata: Vec<Option<&'a str>>,
    pub occurred_at_us: Vec<Option<i64>>,
    /// Of all.
    pub committed_at_us: i64,
}

impl QueryId for InsertEntries<'_> {
    type QueryId = InsertEntries<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for InsertEntries<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, tx_hash, \
             tx_lt, tx_account, reason, metadata, occurred_at_us, committed_at_us) SELECT *, ",
        );
        out.push_bind_param::<BigInt, _>(&self.committed_at_us)?;
        out.push_sql(" FROM UNNEST(");
        out.push_bind_param::<Array<BigInt>, _>(&self.user_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.version)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.kind)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.source)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.currency)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.amount)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.balance_after)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.event_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Binary>>, _>(&self.tx_hash)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.tx_lt)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.tx_account)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.reason)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.metadata)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<BigInt>>, _>(&self.occurred_at_us)?;
        out.push_sql(")");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for InsertEntries<'_> {}

/// Sets the versions of accounts, which are made by it when `ARE_NEW`.
#[derive(QueryId)]
pub(super) struct SetVersions<const ARE_NEW: bool> {
    pub users: Vec<i64>,
    pub versions: Vec<i64>,
    pub now_us: i64,
}

impl<const ARE_NEW: bool> QueryFragment<Pg> for SetVersions<ARE_NEW> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(if ARE_NEW {
            "INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) SELECT u, v, now, now FROM (SELECT "
        } else {
            "UPDATE accounts SET version = new.v, updated_at_us = new.now FROM (SELECT "
        });
        out.push_bind_param::<BigInt, _>(&self.now_us)?;
        out.push_sql(" AS now, u, v FROM UNNEST(");
        out.push_bind_param::<Array<BigInt>, _>(&self.users)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.versions)?;
        out.push_sql(") AS given (u, v)) AS new");
        if !ARE_NEW {
            out.push_sql(" WHERE accounts.user_id = new.u");
        }
        Ok(())
    }
}

impl<const ARE_NEW: bool> RunQueryDsl<PgConnection> for SetVersions<ARE_NEW> {}

/// Sets balances, whether they exist or not.
pub(super) struct SetBalances<'a> {
    pub users: Vec<i64>,
    pub currencies: Vec<&'a str>,
    pub amounts: Vec<i64>,
}

impl QueryId for SetBalances<'_> {
    type QueryId = SetBalances<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for SetBalances<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO balances (user_id, currency, amount) SELECT * FROM UNNEST(");
        out.push_bind_param::<Array<BigInt>, _>(&self.users)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.currencies)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.amounts)?;
        out.push_sql(") ON CONFLICT (user_id, currency) DO UPDATE SET amount = EXCLUDED.amount");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for SetBalances<'_> {}
