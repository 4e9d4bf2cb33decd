//! Rows that were written by hand, or by another program, are completed before anything is decided.

use crate::ledger::connection::link::Link;
use crate::ledger::connection::sqlite_file::data_version;
use crate::ledger::errors::StoreError;
use crate::ledger::rows::event_digest;
use crate::limits::FILLED_ENTRIES_MAX;

/// What one connection knows of them.
#[derive(Debug, Default)]
pub(super) struct ByHand {
    /// When all were completed last. Only other connections write such rows, and each of their commits changes it.
    data_version: Option<i64>,
}

impl ByHand {
    /// Completes all that are there, as far as that is possible; leaves a transaction open as it was.
    pub(super) fn complete(&mut self, link: &mut Link) -> Result<(), StoreError> {
        loop {
            let data_version = Some(data_version(link.transaction()?.sqlite()?)?);
            if self.data_version == data_version {
                return Ok(());
            }
            let mut done = i64::MIN;
            while let Some(last) =
                event_digest::complete(link.transaction()?.sqlite()?, done, FILLED_ENTRIES_MAX)?
            {
                // In transactions of their own: what follows may be rolled back.
                link.commit()?;
                link.begin("BEGIN IMMEDIATE")?;
                done = last;
            }
            self.data_version = data_version;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use diesel::connection::SimpleConnection as _;
    use diesel::prelude::*;

    use crate::clock::Clock;
    use crate::config::{DatabaseUrl, Schema};
    use crate::domain::Currencies;
    use crate::ledger::batch::Keys;
    use crate::ledger::connection::{Access, Source};
    use crate::ledger::migrations::apply_missing;
    use crate::ledger::migrations::progress::Progress;
    use crate::ledger::schema::entries;
    use crate::ledger::sqlite::SqliteStore;
    use crate::ledger::store::{Basis, Store as _, StoreOptions};

    #[test]
    fn rows_are_completed_also_by_a_connection_that_was_made_after_them() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ledger.db");
        let source = Source::new(&DatabaseUrl::Sqlite(path.clone()), &Schema::default());
        let progress = Progress::start(Clock::system());
        apply_missing(&source, false, &progress).expect("migrated");
        let options = StoreOptions {
            currencies: Currencies::default(),
            timeout_ms: 5000,
            lock_timeout_ms: 5000,
            conflicts_max: 10,
            counts: Arc::default(),
        };
        let mut store = SqliteStore::new(path, None, options);
        let keys = Keys::of(&[]);
        for n in 1..=4 {
            let mut other = source.connect(5000, "", Access::Write).expect("connected");
            let other = other.connection.sqlite().expect("a file");
            let row = format!(
                "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, \
                 committed_at_us) VALUES (1, {n}, 'reward', 's', 'TON', 1, {n}, 'e{n}', 1)"
            );
            other.batch_execute(&row).expect("written");
            if n % 2 == 0 {
                store.reconnect().expect("connected again");
            }
            store.begin(&keys, Basis::Expected).expect("begun");
            store.rollback();
            let left = entries::table.filter(entries::event_digest.is_null());
            let left: i64 = left.count().get_result(other).expect("counted");
            assert_eq!(left, 0, "row {n}");
        }
    }
}
