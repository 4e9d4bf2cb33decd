//! Event ids are there once. On PostgreSQL a unique index has them; on SQLite it has their digests, so each digest has to be
//! that of its event id.

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::SqliteConnection;

use crate::ledger::connection::AnyConnection;
use crate::ledger::schema::entries;
use crate::limits::AUDIT_PAGE_ENTRIES;

use super::Audit;
use super::pages::Row;

/// Entries without the right digest. The table is read from its beginning to its end.
const OFF: &str = "SELECT user_id, version, event_id, event_digest IS NULL AS by_hand, FALSE AS is_repeat FROM entries \
     WHERE event_digest IS NOT event_digest(event_id) LIMIT $1";

/// The same of one user between two versions, and whether another entry has the event id, which only the index can tell in time.
const OFF_OF_A_USER: &str = "SELECT user_id, version, event_id, event_digest IS NULL AS by_hand, \
     EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'entries_event_id') \
     AND EXISTS (SELECT 1 FROM entries AS other WHERE other.event_digest = event_digest(entries.event_id) \
     AND other.event_id = entries.event_id AND other.id <> entries.id) AS is_repeat FROM entries \
     WHERE user_id = $1 AND version >= $2 AND version <= $3 AND event_digest IS NOT event_digest(event_id)";

/// Event ids that share a digest, read from the index alone.
const SAME_DIGEST: &str = "SELECT DISTINCT event_id FROM entries WHERE event_digest IN \
     (SELECT event_digest FROM entries WHERE event_digest IS NOT NULL GROUP BY event_digest HAVING COUNT(*) > 1 LIMIT $1)";

/// Those of a list of event ids that are there more than once.
const REPEATED: &str = "SELECT event_id, COUNT(*) AS entries FROM entries WHERE event_id IN (SELECT value FROM json_each($1)) \
     GROUP BY event_id HAVING COUNT(*) > 1";

/// An entry whose digest is missing or wrong.
#[derive(Debug, QueryableByName)]
struct Off {
    #[diesel(sql_type = BigInt)]
    user_id: i64,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    event_id: String,
    /// Written by hand, and not completed yet.
    #[diesel(sql_type = Bool)]
    by_hand: bool,
    /// Another entry has its event id. Not looked up where all event ids are compared anyway.
    #[diesel(sql_type = Bool)]
    is_repeat: bool,
}

#[derive(Debug, QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    event_id: String,
}

#[derive(Debug, QueryableByName)]
struct Repeated {
    #[diesel(sql_type = Text)]
    event_id: String,
    #[diesel(sql_type = BigInt)]
    entries: i64,
}

impl Audit<'_> {
    /// What they don't say of other balances is not known. At most as many as a page has; the index finds them.
    pub(super) fn load_by_hand(&mut self, connection: &mut AnyConnection) -> QueryResult<()> {
        if let AnyConnection::Sqlite(sqlite) = connection {
            let ids: Vec<i64> = entries::table
                .filter(entries::event_digest.is_null())
                .limit(AUDIT_PAGE_ENTRIES)
                .select(entries::id)
                .load(sqlite)?;
            self.by_hand.extend(ids);
        }
        Ok(())
    }

    pub(super) fn find_repeated_events(
        &mut self,
        connection: &mut AnyConnection,
    ) -> QueryResult<()> {
        let repeated = match connection {
            AnyConnection::Postgres(_) => entries::table
                .group_by(entries::event_id)
                .having(count_star().gt(1))
                .select((entries::event_id, count_star()))
                .load(connection)?,
            AnyConnection::Sqlite(sqlite) => self.repeated_on_sqlite(sqlite)?,
        };
        for (event, count) in repeated {
            self.violation(format!("event id {event}: {count} entries"));
        }
        Ok(())
    }

    fn repeated_on_sqlite(
        &mut self,
        connection: &mut SqliteConnection,
    ) -> QueryResult<Vec<(String, i64)>> {
        let off: Vec<Off> = sql_query(OFF)
            .bind::<BigInt, _>(AUDIT_PAGE_ENTRIES)
            .load(connection)?;
        let same: Vec<Named> = sql_query(SAME_DIGEST)
            .bind::<BigInt, _>(AUDIT_PAGE_ENTRIES)
            .load(connection)?;
        self.tell_off(&off);
        let suspects: Vec<String> = off
            .into_iter()
            .map(|off| off.event_id)
            .chain(same.into_iter().map(|named| named.event_id))
            .collect();
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let repeated: Vec<Repeated> = sql_query(REPEATED)
            .bind::<Text, _>(serde_json::json!(suspects).to_string())
            .load(connection)?;
        let pair = |repeated: Repeated| (repeated.event_id, repeated.entries);
        Ok(repeated.into_iter().map(pair).collect())
    }

    /// Of a page of one user.
    pub(super) fn check_digests(
        &mut self,
        connection: &mut AnyConnection,
        page: &[Row],
    ) -> QueryResult<()> {
        let (AnyConnection::Sqlite(sqlite), [first, ..], [.., last]) = (connection, page, page)
        else {
            return Ok(());
        };
        let off: Vec<Off> = sql_query(OFF_OF_A_USER)
            .bind::<BigInt, _>(first.user_id)
            .bind::<BigInt, _>(first.version)
            .bind::<BigInt, _>(last.version)
            .load(sqlite)?;
        self.tell_off(&off);
        Ok(())
    }

    fn tell_off(&mut self, off: &[Off]) {
        for Off {
            user_id: user,
            version,
            event_id,
            by_hand,
            is_repeat,
        } in off
        {
            if !by_hand {
                self.violation(format!(
                    "user {user}: version {version} has not the digest of its event id {event_id}"
                ));
            }
            if *is_repeat {
                self.violation(format!(
                    "user {user}: version {version} repeats the event id {event_id}"
                ));
            }
        }
    }
}
