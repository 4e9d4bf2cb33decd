//! `entries.event_digest`, on SQLite alone: the first 16 bytes of the SHA-256 of an event id. Its unique index keeps event ids
//! from repeating.
//!
//! An entry is found by digest **and** text: a digest alone never makes two event ids the same. A second event id with the
//! digest of another one would be refused by the index; 2^64 event ids have to be tried to find one.
//!
//! A row that was written by hand has no digest until [`complete`] gives it one.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use sha2::{Digest as _, Sha256};

use crate::ledger::schema::entries;

mod sql {
    diesel::define_sql_function! {
        /// [`super::of`] for statements.
        fn event_digest(event_id: diesel::sql_types::Text) -> diesel::sql_types::Binary;
    }
}

/// The digest of an event id.
pub(in crate::ledger) fn of(event_id: &str) -> [u8; 16] {
    let whole: [u8; 32] = Sha256::digest(event_id).into();
    let mut first = [0; 16];
    first.copy_from_slice(&whole[..16]);
    first
}

/// Makes `event_digest(text)` known to a connection.
pub(in crate::ledger) fn register(connection: &mut SqliteConnection) -> QueryResult<()> {
    sql::event_digest_utils::register_impl(connection, |event_id: String| of(&event_id).to_vec())
}

/// Adds the digests of at most so many rows that were written by hand and have an id above `after`. Returns the last id that
/// it looked at; `None`: no row is left. What they don't say of other balances becomes unknown. A row whose event id is
/// there already stays as it is; the audit tells of it.
pub(in crate::ledger) fn complete(
    connection: &mut SqliteConnection,
    after: i64,
    rows_max: i64,
) -> QueryResult<Option<i64>> {
    const COMPLETE: &str = "UPDATE OR IGNORE entries SET event_digest = event_digest(event_id), \
         other_balances = COALESCE(other_balances, '?') \
         WHERE id IN (SELECT value FROM json_each($1))";
    let by_hand = entries::table
        .filter(entries::event_digest.is_null())
        .filter(entries::id.gt(after));
    if !diesel::select(exists(by_hand.select(entries::id))).get_result(connection)? {
        return Ok(None);
    }
    let ids: Vec<i64> = by_hand
        .select(entries::id)
        .order(entries::id)
        .limit(rows_max)
        .load(connection)?;
    diesel::sql_query(COMPLETE)
        .bind::<diesel::sql_types::Text, _>(serde_json::json!(ids).to_string())
        .execute(connection)?;
    Ok(ids.last().copied())
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;

    use super::*;

    #[test]
    fn rows_behind_those_that_can_never_be_completed_are_completed() {
        let mut connection = SqliteConnection::establish(":memory:").expect("opened");
        register(&mut connection).expect("registered");
        connection
            .batch_execute(
                "CREATE TABLE entries (id INTEGER PRIMARY KEY, event_id TEXT, event_digest BLOB UNIQUE, other_balances TEXT); \
                 INSERT INTO entries (event_id) VALUES ('a'), ('a'), ('a'), ('a'), ('b'), ('a'), ('c');",
            )
            .expect("written");
        let (mut at, mut steps) = (i64::MIN, 0);
        while let Some(last) = complete(&mut connection, at, 2).expect("completed") {
            assert!(last > at, "it goes on");
            (at, steps) = (last, steps + 1);
        }
        assert_eq!((at, steps), (7, 4));
        let left: Vec<i64> = entries::table
            .filter(entries::event_digest.is_null())
            .select(entries::id)
            .order(entries::id)
            .load(&mut connection)
            .expect("read");
        assert_eq!(left, [2, 3, 4, 6]);
    }

    #[test]
    fn the_digest_is_the_beginning_of_the_sha_256() {
        let known = "ba7816bf8f01cfea414140de5dae2223";
        assert_eq!(hex::encode(of("abc")), known);
        let mut connection = SqliteConnection::establish(":memory:").expect("opened");
        register(&mut connection).expect("registered");
        let found: Vec<u8> = diesel::select(sql::event_digest("abc"))
            .get_result(&mut connection)
            .expect("called");
        assert_eq!(hex::encode(found), known);
    }
}
