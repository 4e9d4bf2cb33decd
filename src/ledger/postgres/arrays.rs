//! The statement that writes a plan, over arrays. Each of its shapes has one text and is prepared once per connection.
//! (Diesel prepares an `sql_query` anew each time, which costs another round trip and another plan.)
//!
//! Everything that a transaction writes goes in one statement, since a round trip costs more than a few rows. Its parts
//! touch different rows, so their order does not matter. `UNNEST` in a `SELECT` list unrolls arrays side by side without
//! storing them first, as it would in a `FROM`.

use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, BigInt, Binary, HasSqlType, Nullable, Text};

use crate::domain::Currencies;
use crate::ledger::batch::{BalanceRow, Plan, PlannedAccount, PlannedBalance};
use crate::ledger::rows::NewEntryRow;
use crate::ledger::store::Basis;

/// Inserts the entries of a plan, and inserts or updates their accounts and balances. Returns how many accounts and
/// balances it has updated: an account that no longer has the version that the plan began with is left alone.
///
/// A balance is inserted or updated where it is known which of the two it takes: `ON CONFLICT` costs more than either.
pub(super) struct Write<'a> {
    now_us: i64,
    entries: Entries<'a>,
    made: Versions,
    moved: Versions,
    missing: Balances<'a>,
    there: Balances<'a>,
    unknown: Balances<'a>,
}

impl<'a> Write<'a> {
    /// With [`Basis::Read`] nothing is taken for granted of a new user's balances: a person may have made rows for them.
    pub(super) fn of(plan: &'a Plan<'_>, basis: Basis, currencies: &'a Currencies) -> Self {
        let now_us = plan.committed_at_us;
        let rows = |wanted: BalanceRow| {
            let row = |planned: &PlannedBalance| match (planned.row, basis) {
                (BalanceRow::Missing, Basis::Read) => BalanceRow::Unknown,
                (row, _) => row,
            };
            let all = plan.balances.iter();
            Balances::of(all.filter(|planned| row(planned) == wanted), currencies)
        };
        let (moved, made): (Vec<_>, Vec<_>) = plan
            .accounts
            .iter()
            .partition(|planned| planned.account.exists);
        Self {
            now_us,
            entries: Entries::of(plan, currencies),
            made: Versions::of(&made),
            moved: Versions::of(&moved),
            missing: rows(BalanceRow::Missing),
            there: rows(BalanceRow::There),
            unknown: rows(BalanceRow::Unknown),
        }
    }

    /// How many accounts and balances are there to be updated.
    pub(super) fn updated(&self) -> usize {
        self.moved.users.len() + self.there.users.len()
    }
}

// No static id: the shapes differ, and Diesel caches each statement by its text.
impl QueryId for Write<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Write<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH posted AS (INSERT INTO entries (");
        self.entries.push(&mut out)?;
        out.push_bind_param::<BigInt, _>(&self.now_us)?;
        if !self.made.users.is_empty() {
            out.push_sql("), made AS (INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) SELECT ");
            self.made.push(&mut out)?;
            out.push_bind_param::<BigInt, _>(&self.now_us)?;
            out.push_sql(", ");
            out.push_bind_param::<BigInt, _>(&self.now_us)?;
        }
        if !self.moved.users.is_empty() {
            out.push_sql("), moved AS (UPDATE accounts SET version = new.v, updated_at_us = new.now FROM (SELECT ");
            self.moved.push(&mut out)?;
            unnest::<Array<BigInt>, _>(&mut out, &self.moved.versions_before)?;
            out.push_bind_param::<BigInt, _>(&self.now_us)?;
            out.push_sql(
                ") AS new (u, v, old, now) WHERE accounts.user_id = new.u AND accounts.version = new.old RETURNING 1",
            );
        }
        if !self.missing.users.is_empty() {
            out.push_sql("), opened AS (INSERT INTO balances (user_id, amount, currency) SELECT ");
            self.missing.push(&mut out)?;
        }
        if !self.there.users.is_empty() {
            out.push_sql("), changed AS (UPDATE balances SET amount = new.a FROM (SELECT ");
            self.there.push(&mut out)?;
            out.push_sql(") AS new (u, a, c) WHERE balances.user_id = new.u AND balances.currency = new.c RETURNING 1");
        }
        if !self.unknown.users.is_empty() {
            out.push_sql("), stored AS (INSERT INTO balances (user_id, amount, currency) SELECT ");
            self.unknown.push(&mut out)?;
            out.push_sql(" ON CONFLICT (user_id, currency) DO UPDATE SET amount = EXCLUDED.amount");
        }
        // PostgreSQL runs the parts that are selected before the others, so accounts are locked first, in the order of users.
        out.push_sql(") SELECT ");
        if !self.moved.users.is_empty() {
            out.push_sql("(SELECT COUNT(*) FROM moved) + ");
        }
        if !self.there.users.is_empty() {
            out.push_sql("(SELECT COUNT(*) FROM changed) + ");
        }
        out.push_sql("0::BIGINT");
        Ok(())
    }
}

impl Query for Write<'_> {
    type SqlType = BigInt;
}

impl RunQueryDsl<PgConnection> for Write<'_> {}

/// Columns of new entries. Columns that few entries use are left out when none uses them: an empty column costs as much as
/// a full one.
#[derive(Default)]
struct Entries<'a> {
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
    reverses: Vec<Option<&'a str>>,
    left_after: Vec<Option<i64>>,
    other_balances: Vec<Option<String>>,
    has_transactions: bool,
    has_remarks: bool,
    has_reversals: bool,
    has_other_balances: bool,
}

impl<'a> Entries<'a> {
    fn of(plan: &'a Plan<'_>, currencies: &'a Currencies) -> Self {
        let mut all = Self {
            has_reversals: plan.entries.iter().any(|p| p.applied.reversed.is_some()),
            ..Self::default()
        };
        for planned in &plan.entries {
            let row = NewEntryRow::new(planned, plan.committed_at_us, currencies);
            if all.has_reversals {
                let reversed = planned.applied.reversed.as_ref();
                all.reverses.push(reversed.map(|r| r.event_id.as_str()));
                all.left_after.push(reversed.map(|r| r.left_after.minor()));
            }
            all.has_transactions |=
                row.tx_hash.is_some() || row.tx_lt.is_some() || row.tx_account.is_some();
            all.has_remarks |=
                row.reason.is_some() || row.metadata.is_some() || row.occurred_at_us.is_some();
            all.has_other_balances |= row.other_balances.is_some();
            all.other_balances.push(row.other_balances);
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

    /// The caller adds the commit time.
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("user_id, version, kind, source, currency, amount, balance_after, event_id, ");
        if self.has_transactions {
            out.push_sql("tx_hash, tx_lt, tx_account, ");
        }
        if self.has_remarks {
            out.push_sql("reason, metadata, occurred_at_us, ");
        }
        if self.has_reversals {
            out.push_sql("reverses, left_after, ");
        }
        out.push_sql("other_balances, committed_at_us) SELECT ");
        unnest::<Array<BigInt>, _>(out, &self.user_id)?;
        unnest::<Array<BigInt>, _>(out, &self.version)?;
        unnest::<Array<Text>, _>(out, &self.kind)?;
        unnest::<Array<Text>, _>(out, &self.source)?;
        unnest::<Array<Text>, _>(out, &self.currency)?;
        unnest::<Array<BigInt>, _>(out, &self.amount)?;
        unnest::<Array<BigInt>, _>(out, &self.balance_after)?;
        unnest::<Array<Text>, _>(out, &self.event_id)?;
        if self.has_transactions {
            unnest::<Array<Nullable<Binary>>, _>(out, &self.tx_hash)?;
            unnest::<Array<Nullable<Text>>, _>(out, &self.tx_lt)?;
            unnest::<Array<Nullable<Text>>, _>(out, &self.tx_account)?;
        }
        if self.has_remarks {
            unnest::<Array<Nullable<Text>>, _>(out, &self.reason)?;
            unnest::<Array<Nullable<Text>>, _>(out, &self.metadata)?;
            unnest::<Array<Nullable<BigInt>>, _>(out, &self.occurred_at_us)?;
        }
        if self.has_reversals {
            unnest::<Array<Nullable<Text>>, _>(out, &self.reverses)?;
            unnest::<Array<Nullable<BigInt>>, _>(out, &self.left_after)?;
        }
        if self.has_other_balances {
            unnest::<Array<Nullable<Text>>, _>(out, &self.other_balances)?;
        } else {
            // A column that is left out gets its default, which says that the balances are not known.
            out.push_sql("NULL::TEXT, ");
        }
        Ok(())
    }
}

/// Users, their new versions and their old ones.
struct Versions {
    users: Vec<i64>,
    versions: Vec<i64>,
    versions_before: Vec<i64>,
}

impl Versions {
    fn of(accounts: &[&PlannedAccount]) -> Self {
        Self {
            users: accounts
                .iter()
                .map(|planned| planned.user_id.get())
                .collect(),
            versions: accounts
                .iter()
                .map(|planned| planned.account.version)
                .collect(),
            versions_before: accounts
                .iter()
                .map(|planned| planned.version_before)
                .collect(),
        }
    }

    /// Users and new versions; the caller adds at least one column.
    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        unnest::<Array<BigInt>, _>(out, &self.users)?;
        unnest::<Array<BigInt>, _>(out, &self.versions)
    }
}

/// Users and their new balances.
#[derive(Default)]
struct Balances<'a> {
    users: Vec<i64>,
    amounts: Vec<i64>,
    currencies: Vec<&'a str>,
}

impl<'a> Balances<'a> {
    fn of<'p>(
        planned: impl Iterator<Item = &'p PlannedBalance>,
        currencies: &'a Currencies,
    ) -> Self {
        let mut all = Self::default();
        for planned in planned {
            all.users.push(planned.user_id.get());
            all.amounts.push(planned.amount.minor());
            all.currencies
                .push(currencies.get(planned.currency).code.as_str());
        }
        all
    }

    fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        unnest::<Array<BigInt>, _>(out, &self.users)?;
        unnest::<Array<BigInt>, _>(out, &self.amounts)?;
        out.push_sql("UNNEST(");
        out.push_bind_param::<Array<Text>, _>(&self.currencies)?;
        out.push_sql(")");
        Ok(())
    }
}

/// A column of a `SELECT`, but not the last one.
pub(super) fn unnest<'b, ST, V>(out: &mut AstPass<'_, 'b, Pg>, values: &'b V) -> QueryResult<()>
where
    Pg: HasSqlType<ST>,
    V: ToSql<ST, Pg>,
{
    out.push_sql("UNNEST(");
    out.push_bind_param::<ST, V>(values)?;
    out.push_sql("), ");
    Ok(())
}
