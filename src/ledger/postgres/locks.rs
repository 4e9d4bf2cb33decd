//! Which users other sessions hold locked.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt};

/// Without waiting for a lock.
const FIND_LOCKED: &str = "WITH free AS MATERIALIZED \
     (SELECT user_id FROM accounts WHERE user_id = ANY($1) FOR UPDATE SKIP LOCKED) \
     SELECT user_id FROM accounts WHERE user_id = ANY($1) AND user_id NOT IN (SELECT user_id FROM free)";

#[derive(QueryableByName)]
struct LockedRow {
    #[diesel(sql_type = BigInt)]
    user_id: i64,
}

/// Those of `users` that another session holds locked. Takes the locks of the others.
pub(super) fn held(connection: &mut PgConnection, users: &[i64]) -> QueryResult<Vec<i64>> {
    let query = sql_query(FIND_LOCKED).bind::<Array<BigInt>, _>(users);
    let rows: Vec<LockedRow> = query.load(connection)?;
    Ok(rows.into_iter().map(|row| row.user_id).collect())
}
