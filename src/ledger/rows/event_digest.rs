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

/// Adds the digests of at most so many rows that were written by hand, and returns of how many. What they don't say of other
/// balances becomes unknown. A row whose event id is there already stays as it is; the audit tells of it.
pub(in crate::ledger) fn complete(
    connection: &mut SqliteConnection,
    rows_max: i64,
) -> QueryResult<usize> {
    const COMPLETE: &str = "UPDATE OR IGNORE entries SET event_digest = event_digest(event_id), \
         other_balances = COALESCE(other_balances, '?') \
         WHERE id IN (SELECT id FROM entries WHERE event_digest IS NULL LIMIT $1)";
    let by_hand = entries::table.filter(entries::event_digest.is_null());
    if diesel::select(exists(by_hand.select(entries::id))).get_result(connection)? {
        return diesel::sql_query(COMPLETE)
            .bind::<diesel::sql_types::BigInt, _>(rows_max)
            .execute(connection);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
