//! The statements that write: each one text, prepared once per connection, over arrays. (What is given to Diesel's
//! `sql_query` is prepared anew each time, which is another round trip and another plan.)

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, BigInt, Binary, HasSqlType, Nullable, Text};

use crate::ledger::rows::NewEntryRow;

/// Inserts entries: an array for each column, without the columns that none of them has. A column costs about as much as
/// it does when it is empty, and most entries have few.
#[derive(Default)]
pub(super) struct InsertEntries<'a> {
    committed_at_us: i64,
    user_id: Vec<i64>,
    version: Vec<i64>,
    kind: Vec<&'a str>,
    source: Vec<&'a str>,
    currency: Vec<&'a str>,
    amount: Vec<i64>,
    balance_after: Vec<i64>,
    event_id: Vec<&'a str>,
    tx_hash: Vec<Option<Vec<u8>>>,
    tx_lt: Vec<Option<&'a str>>,
    tx_account: Vec<Option<String>>,
    reason: Vec<Option<&'a str>>,
    metadata: Vec<Option<&'a str>>,
    occurred_at_us: Vec<Option<i64>>,
}

impl<'a> InsertEntries<'a> {
    /// Of rows that have one commit time.
    pub(super) fn new(rows: impl ExactSizeIterator<Item = NewEntryRow<'a>>, committed_at_us: i64) -> Self {
        let mut all = Self { committed_at_us, ..Self::default() };
        for row in rows {
            all.user_id.push(row.user_id);
            all.version.push(row.version);
            all.kind.push(row.kind);
            all.source.push(row.source);
            all.currency.push(row.currency);
            all.amount.push(row.amount);
            all.balance_after.push(row.balance_after);
            all.event_id.push(row.event_id);
            all.tx_hash.push(row.tx_hash);
            all.tx_lt.push(row.tx_lt);
            all.tx_account.push(row.tx_account);
            all.reason.push(row.reason);
            all.metadata.push(row.metadata);
            all.occurred_at_us.push(row.occurred_at_us);
        }
        all
    }
}

// No static id: the text depends on the columns, and is what the statement is kept under.
impl QueryId for InsertEntries<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for InsertEntries<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "INSERT INTO entries (committed_at_us, user_id, version, kind, source, currency, amount, balance_after, event_id",
        );
        let rare = [
            (", tx_hash", self.tx_hash.iter().any(Option::is_some)),
            (", tx_lt", self.tx_lt.iter().any(Option::is_some)),
            (", tx_account", self.tx_account.iter().any(Option::is_some)),
            (", reason", self.reason.iter().any(Option::is_some)),
            (", metadata", self.metadata.iter().any(Option::is_some)),
            (", occurred_at_us", self.occurred_at_us.iter().any(Option::is_some)),
        ];
        rare.iter().filter(|(_, is_there)| *is_there).for_each(|(name, _)| out.push_sql(name));
        out.push_sql(") SELECT ");
        out.push_bind_param::<BigInt, _>(&self.committed_at_us)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.user_id)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.version)?;
        unnest::<Array<Text>, _>(&mut out, &self.kind)?;
        unnest::<Array<Text>, _>(&mut out, &self.source)?;
        unnest::<Array<Text>, _>(&mut out, &self.currency)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.amount)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.balance_after)?;
        unnest::<Array<Text>, _>(&mut out, &self.event_id)?;
        let [tx_hash, tx_lt, tx_account, reason, metadata, occurred_at_us] = rare.map(|(_, is_there)| is_there);
        if tx_hash {
            unnest::<Array<Nullable<Binary>>, _>(&mut out, &self.tx_hash)?;
        }
        if tx_lt {
            unnest::<Array<Nullable<Text>>, _>(&mut out, &self.tx_lt)?;
        }
        if tx_account {
            unnest::<Array<Nullable<Text>>, _>(&mut out, &self.tx_account)?;
        }
        if reason {
            unnest::<Array<Nullable<Text>>, _>(&mut out, &self.reason)?;
        }
        if metadata {
            unnest::<Array<Nullable<Text>>, _>(&mut out, &self.metadata)?;
        }
        if occurred_at_us {
            unnest::<Array<Nullable<BigInt>>, _>(&mut out, &self.occurred_at_us)?;
        }
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for InsertEntries<'_> {}

/// Another column of a `SELECT`. All arrays of one are unrolled in step: unlike in a `FROM`, nothing is stored meanwhile.
fn unnest<'b, ST, V>(out: &mut AstPass<'_, 'b, Pg>, values: &'b V) -> QueryResult<()>
where
    Pg: HasSqlType<ST>,
    V: ToSql<ST, Pg>,
{
    out.push_sql(", UNNEST(");
    out.push_bind_param::<ST, V>(values)?;
    out.push_sql(")");
    Ok(())
}

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
        unnest::<Array<BigInt>, _>(&mut out, &self.users)?;
        unnest::<Array<BigInt>, _>(&mut out, &self.versions)?;
        out.push_sql(") AS new (now, u, v)");
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
        out.push_sql("INSERT INTO balances (amount, user_id, currency) SELECT UNNEST(");
        out.push_bind_param::<Array<BigInt>, _>(&self.amounts)?;
        out.push_sql(")");
        unnest::<Array<BigInt>, _>(&mut out, &self.users)?;
        unnest::<Array<Text>, _>(&mut out, &self.currencies)?;
        out.push_sql(" ON CONFLICT (user_id, currency) DO UPDATE SET amount = EXCLUDED.amount");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for SetBalances<'_> {}
