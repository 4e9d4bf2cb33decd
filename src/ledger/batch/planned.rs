//! What a transaction is to write.

use crate::domain::{Account, Amount, Applied, Balances, CurrencyId, NewEntry, Recorded, UserId};
use crate::ledger::EntryOutcome;

use super::Loaded;

/// An entry to be written.
#[derive(Debug)]
pub struct PlannedEntry<'a> {
    /// What was sent.
    pub entry: &'a NewEntry,
    /// The version it makes.
    pub version: i64,
    /// All balances after it.
    pub balances: Balances,
    /// What it changes.
    pub applied: Applied,
}

impl PlannedEntry<'_> {
    /// What the tables will say of it.
    pub fn recorded(&self, committed_at_us: i64) -> Recorded {
        Recorded::of(self.entry, &self.applied, self.version, committed_at_us)
    }
}

/// An account to be made or updated.
#[derive(Debug)]
pub struct PlannedAccount {
    /// Its user.
    pub user_id: UserId,
    /// Its state after the batch; `exists` tells whether it existed before.
    pub account: Account,
    /// Its version before the batch.
    pub version_before: i64,
}

/// A balance to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedBalance {
    /// Its user.
    pub user_id: UserId,
    /// Its currency.
    pub currency: CurrencyId,
    /// What it is after the batch.
    pub amount: Amount,
    /// Whether the tables have a row of it.
    pub row: BalanceRow,
}

/// What was loaded says of a balance's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalanceRow {
    /// Its user had no account, so there is none.
    Missing,
    /// The balance was above zero, so it is there.
    There,
    /// The balance was zero: there may be a row that says so, or none.
    Unknown,
}

/// A refused entry to be kept for an administrator.
#[derive(Debug)]
pub struct PlannedConflict<'a> {
    /// The entry that is in the ledger.
    pub first: Recorded,
    /// The entry that was refused.
    pub second: &'a NewEntry,
}

/// What one transaction writes, and what it answers.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Outcomes per group and entry.
    pub outcomes: Vec<Vec<EntryOutcome>>,
    /// Entries to insert, in order.
    pub entries: Vec<PlannedEntry<'a>>,
    /// Accounts to make or to update, in ascending order of user.
    pub accounts: Vec<PlannedAccount>,
    /// Balances to store, each once.
    pub balances: Vec<PlannedBalance>,
    /// Refused entries to keep.
    pub conflicts: Vec<PlannedConflict<'a>>,
    /// The commit time that every entry of the batch gets.
    pub committed_at_us: i64,
}

impl Plan<'_> {
    /// Whether there is nothing to commit.
    pub fn writes_nothing(&self) -> bool {
        self.entries.is_empty() && self.conflicts.is_empty()
    }

    /// Whether every entry is to be written.
    pub fn accepts_all(&self) -> bool {
        self.entries.len() == self.outcomes.iter().map(Vec::len).sum::<usize>()
    }

    /// Whether the tables hold all that this plan wanted to write: each entry, with its version and commit time. One of
    /// them proves nothing, because another process may have committed the same event, sent again, in the same
    /// microsecond. When all are there, the plan's outcomes are true, because versions fix the order of a user's entries.
    pub fn is_committed(&self, loaded: &Loaded) -> bool {
        let is_there = |planned: &PlannedEntry<'_>| {
            let written = planned.recorded(self.committed_at_us);
            loaded.events.get(&planned.entry.event_id) == Some(&written)
        };
        !self.entries.is_empty() && self.entries.iter().all(is_there)
    }
}
