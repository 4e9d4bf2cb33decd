//! Fills in the digests of the event ids of entries of earlier versions (`entries.event_digest`), on SQLite.
//!
//! In pages, in the order of the table; each is a transaction. An interrupted filling goes on with the first entry without a
//! digest.

use diesel::dsl::{max, min};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel::sqlite::SqliteConnection;

use super::progress::Progress;
use crate::ledger::schema::entries;
use crate::limits::FILLED_ENTRIES_MAX;

const FILL: &str =
    "UPDATE entries SET event_digest = event_digest(event_id) WHERE id >= $1 AND id < $2";

/// Fills in all that is left.
pub(super) fn run(connection: &mut SqliteConnection, progress: &Progress) -> QueryResult<()> {
    let last: Option<i64> = entries::table
        .select(max(entries::id))
        .get_result(connection)?;
    let mut first: Option<i64> = entries::table
        .filter(entries::event_digest.is_null())
        .select(min(entries::id))
        .get_result(connection)?;
    while let Some(at) = first {
        progress.filled(at, last.unwrap_or(at));
        first = page(connection, at, FILLED_ENTRIES_MAX)?;
    }
    Ok(())
}

/// Fills in one page. Where the next one begins.
fn page(
    connection: &mut SqliteConnection,
    first: i64,
    page_entries: i64,
) -> QueryResult<Option<i64>> {
    let next: Option<i64> = entries::table
        .filter(entries::id.ge(first))
        .order(entries::id)
        .limit(1)
        .offset(page_entries)
        .select(entries::id)
        .get_result(connection)
        .optional()?;
    sql_query(FILL)
        .bind::<BigInt, _>(first)
        .bind::<BigInt, _>(next.unwrap_or(i64::MAX))
        .execute(connection)?;
    Ok(next)
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;
    use diesel_migrations::MigrationHarness as _;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{DatabaseUrl, Schema};
    use crate::ledger::connection::{Access, Source};
    use crate::ledger::migrations::{SQLITE, apply_missing, check_applied};
    use crate::ledger::rows::event_digest;

    fn without_digest(connection: &mut SqliteConnection) -> i64 {
        let without = entries::table.filter(entries::event_digest.is_null());
        without.count().get_result(connection).expect("counted")
    }

    #[test]
    fn digests_are_filled_in_after_any_interruption_and_nothing_is_served_before() {
        for (page_entries, pages) in [(1, 1), (4, 3), (7, 1), (1000, 1)] {
            let dir = tempfile::tempdir().expect("a folder");
            let url = DatabaseUrl::Sqlite(dir.path().join("ledger.db"));
            let source = Source::new(&url, &Schema::default());
            let progress = || Progress::start(Clock::system());
            apply_missing(&source, false, &progress()).expect("migrated");
            let mut connected = source.connect(1000, "", Access::Write).expect("connected");
            let sqlite = connected.connection.sqlite().expect("a file");
            for _ in 0..2 {
                sqlite.revert_last_migration(SQLITE).expect("taken back");
            }
            for n in 1..=40 {
                // With gaps, up to the largest id that there can be.
                let id = if n == 40 { i64::MAX - 1 } else { n * n };
                let row = format!(
                    "INSERT INTO entries (id, user_id, version, kind, source, currency, amount, balance_after, event_id, \
                     committed_at_us) VALUES ({id}, 1, {n}, 'deposit', 's', 'TON', 1, {n}, 'event {n} ö', 1)"
                );
                sqlite.batch_execute(&row).expect("written");
            }
            let mut first = Some(0);
            for _ in 0..pages {
                first = first.and_then(|at| page(sqlite, at, page_entries).expect("filled in"));
            }
            assert_eq!(without_digest(sqlite), (40 - page_entries * pages).max(0));
            let refused = check_applied(&source, 1000, Access::Read).expect_err("not complete");
            assert!(refused.to_string().contains("20261130030000"), "{refused}");
            drop(connected);
            apply_missing(&source, false, &progress()).expect("migrated");
            let mut connected = source.connect(1000, "", Access::Write).expect("connected");
            let sqlite = connected.connection.sqlite().expect("a file");
            let rows: Vec<(String, Option<Vec<u8>>)> = entries::table
                .select((entries::event_id, entries::event_digest))
                .load(sqlite)
                .expect("read");
            assert_eq!(rows.len(), 40);
            for (event_id, digest) in rows {
                assert_eq!(
                    digest,
                    Some(event_digest::of(&event_id).to_vec()),
                    "{event_id}"
                );
            }
        }
    }
}
