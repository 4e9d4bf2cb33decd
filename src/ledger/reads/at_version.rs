//! The balances as they were after one of a user's entries: one statement for all currencies, each found by the index on
//! user, currency and version.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::{currencies, entries};

/// A code and the balance of that currency; none without an entry.
type Found = (String, Option<i64>);

/// Entries never change, so no snapshot is needed.
pub(super) fn balances(
    connection: &mut AnyConnection,
    user_id: i64,
    version: i64,
) -> QueryResult<Vec<Found>> {
    match connection {
        AnyConnection::Postgres(postgres) => ByRows { user_id, version }.load(postgres),
        AnyConnection::Sqlite(sqlite) => {
            let after = entries::table
                .filter(entries::user_id.eq(user_id))
                .filter(entries::currency.eq(currencies::code))
                .filter(entries::version.le(version))
                .order(entries::version.desc())
                .select(entries::balance_after)
                .single_value();
            currencies::table
                .select((currencies::code, after))
                .load(sqlite)
        }
    }
}

/// The same for PostgreSQL, in terms of rows. Asked for the newest entry of a user and a currency, PostgreSQL may take the
/// index on user and version and go down the whole history: it does not know that the currency is a rare one. Only the
/// right index has the order that is asked for here.
#[derive(QueryId)]
struct ByRows {
    user_id: i64,
    version: i64,
}

impl QueryFragment<Pg> for ByRows {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT currencies.code, (SELECT balance_after FROM entries WHERE user_id = ");
        out.push_bind_param::<BigInt, _>(&self.user_id)?;
        out.push_sql(" AND (currency, version) <= (currencies.code, ");
        out.push_bind_param::<BigInt, _>(&self.version)?;
        out.push_sql(
            ") AND currency >= currencies.code ORDER BY currency DESC, version DESC LIMIT 1) FROM currencies",
        );
        Ok(())
    }
}

impl Query for ByRows {
    type SqlType = (Text, Nullable<BigInt>);
}

impl RunQueryDsl<PgConnection> for ByRows {}
