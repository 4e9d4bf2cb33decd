//! The statements that write: each one text, prepared once per connection, over arrays. (What is given to Diesel's
//! `sql_query` is prepared anew each time, which is another round trip and another plan.)

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Text};

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
