//! Reads for systems that follow the ledger, and for administrators: single entries, conflicts, all balances, and the feed.

use crate::ledger::outbox::{self, FeedPage, Outbox, Seen};
use crate::ledger::reads;
use crate::ledger::reads::look_ups::{self, AccountRecord, EntryKey, FoundEntry};
use crate::ledger::rows::conflicts::{self, ConflictRecord, Conflicts};
use crate::ledger::{Pending, SqlLedger};

impl SqlLedger {
    /// The entry of a key, and how much of it is left.
    pub fn entry(&self, key: EntryKey) -> Pending<Option<FoundEntry>> {
        let currencies = self.currencies.clone();
        self.readers
            .read(move |connection| look_ups::entry(connection, &key, &currencies))
    }

    /// The latest refused entries, newest first.
    pub fn latest_conflicts(&self, limit: i64) -> Pending<Vec<ConflictRecord>> {
        let currencies = self.currencies.clone();
        self.readers
            .read(move |connection| reads::latest_conflicts(connection, limit, &currencies))
    }

    /// The latest refused entries, how many are kept, and their kinds.
    pub fn conflicts(&self, limit: i64) -> Pending<Conflicts> {
        let currencies = self.currencies.clone();
        self.readers.read(move |connection| {
            Ok(Conflicts {
                conflicts: reads::latest_conflicts(connection, limit, &currencies)?,
                total: conflicts::total(connection)?,
                groups: conflicts::groups(connection)?,
            })
        })
    }

    /// Refused entries with a key, newest first.
    pub fn conflicts_of(&self, key: EntryKey, limit: i64) -> Pending<Vec<ConflictRecord>> {
        let currencies = self.currencies.clone();
        self.readers
            .read(move |connection| look_ups::conflicts(connection, &key, limit, &currencies))
    }

    /// At most `limit` users with an id greater than `after`, in the order of ids.
    pub fn accounts(&self, after: i64, limit: i64) -> Pending<Vec<AccountRecord>> {
        let currencies = self.currencies.clone();
        self.readers
            .read(move |connection| look_ups::accounts(connection, after, limit, &currencies))
    }

    /// At most `limit` entries behind an id of the feed.
    pub fn feed_page(&self, after: i64, limit: i64) -> Pending<FeedPage> {
        let (currencies, outbox) = (self.currencies.clone(), self.outbox.clone());
        let standing = self.standing.clone();
        self.readers.read(move |connection| {
            outbox::read(connection, &outbox, &standing, (after, limit), &currencies)
        })
    }

    /// Looks how far the feed is.
    pub fn look_at_feed(&self) -> Pending<Seen> {
        let (outbox, standing) = (self.outbox.clone(), self.standing.clone());
        self.readers
            .read(move |connection| outbox.look(connection, &standing))
    }

    /// What the readers of the feed share.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}
