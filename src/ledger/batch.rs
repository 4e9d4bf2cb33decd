//! Decides a whole batch: it takes what the tables say and gives what is to be written. Pure; no SQL, no clock.
//!
//! Entries are decided one after another against a working copy of the accounts. So several entries of one user, and
//! duplicates inside one batch, get the same outcomes as if each had a transaction of its own.

mod planned;
mod reversibles;

use std::collections::{HashMap, HashSet};

use crate::domain::{
    Account, Applied, CurrencyId, EventId, Found, NewEntry, Outcome, Recorded, Rules, TxHash,
    UserId, post,
};

use crate::planted::{Plant, is_planted};

use self::reversibles::Wanted;
use super::EntryOutcome;

pub use self::planned::{
    BalanceRow, Plan, PlannedAccount, PlannedBalance, PlannedConflict, PlannedEntry,
};
pub use self::reversibles::Reversibles;

/// The entries of one posting.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// In the order in which they apply.
    pub entries: &'a [NewEntry],
    /// All or nothing.
    pub is_atomic: bool,
}

/// What has to be looked up to decide a batch. Users are in ascending order, the order in which rows are locked.
#[derive(Debug)]
pub struct Keys<'a> {
    /// Every user, once.
    pub users: Vec<UserId>,
    /// Every event id, once.
    pub events: Vec<&'a EventId>,
    /// Every transaction hash, once.
    pub hashes: Vec<TxHash>,
    /// The names that reversals give of the entries that they take back, each once. They are looked up on any
    /// [`super::store::Basis`].
    pub reversed: Vec<&'a EventId>,
    /// Whether an event id occurs more than once.
    pub has_repeats: bool,
}

impl<'a> Keys<'a> {
    /// Collects the keys of all groups.
    pub fn of(groups: &[Group<'a>]) -> Self {
        let entries = || groups.iter().flat_map(|group| group.entries);
        let mut users: Vec<UserId> = entries().map(|entry| entry.user_id).collect();
        users.sort_unstable();
        users.dedup();
        let mut events: Vec<&EventId> = entries().map(|entry| &entry.event_id).collect();
        let count = events.len();
        events.sort_unstable();
        events.dedup();
        let has_repeats = events.len() < count;
        let hashes: HashSet<TxHash> = entries().filter_map(NewEntry::key_hash).collect();
        let mut reversed: Vec<&EventId> = entries()
            .filter_map(|entry| Some(&entry.reversal()?.reverses))
            .collect();
        reversed.sort_unstable();
        reversed.dedup();
        Self {
            users,
            events,
            hashes: hashes.into_iter().collect(),
            reversed,
            has_repeats,
        }
    }
}

/// What the tables say about [`Keys`], read inside the transaction that will write.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Every user asked for; unknown ones with `exists: false`.
    pub accounts: HashMap<UserId, Account>,
    /// The entries that have one of the event ids.
    pub events: HashMap<EventId, Recorded>,
    /// The entries that have one of the hashes.
    pub hashes: HashMap<TxHash, Recorded>,
    /// The entries that reversals name.
    pub reversibles: Reversibles,
}

impl Loaded {
    /// Whether there is an entry of a user without an account. Accounts are locked before entries are read, but an account
    /// that did not exist could not be locked, and another transaction may have made it in between.
    pub fn is_torn(&self) -> bool {
        let has_no_account = |recorded: &Recorded| {
            self.accounts
                .get(&recorded.user_id)
                .is_some_and(|account| !account.exists)
        };
        self.events
            .values()
            .chain(self.hashes.values())
            .chain(self.reversibles.entries())
            .any(has_no_account)
    }
}

/// Decides all groups in order. `keys` are the keys of these groups.
pub fn plan<'a>(
    groups: &[Group<'a>],
    keys: &Keys<'_>,
    loaded: Loaded,
    rules: Rules,
    committed_at_us: i64,
) -> Plan<'a> {
    let count = groups.iter().map(|group| group.entries.len()).sum();
    let mut books = Books {
        loaded,
        has_repeats: keys.has_repeats,
        wanted: Wanted::of(&keys.reversed),
        rules,
        committed_at_us,
        entries: Vec::with_capacity(count),
        conflicts: Vec::new(),
        touched: Vec::with_capacity(count),
    };
    let outcomes = groups
        .iter()
        .map(|group| {
            if group.is_atomic {
                books.apply_atomic(group.entries)
            } else {
                books.apply_each(group.entries)
            }
        })
        .collect();
    let Books {
        mut loaded,
        entries,
        conflicts,
        mut touched,
        ..
    } = books;
    touched.sort_unstable();
    let (mut accounts, mut balances) = (
        Vec::with_capacity(touched.len()),
        Vec::with_capacity(touched.len()),
    );
    for of_one_user in touched.chunk_by(|one, next| one.user_id == next.user_id) {
        let Some((user_id, account)) = loaded.accounts.remove_entry(&of_one_user[0].user_id) else {
            continue;
        };
        for of_one_currency in of_one_user.chunk_by(|one, next| one.currency == next.currency) {
            let currency = of_one_currency[0].currency;
            let row = if !account.exists {
                BalanceRow::Missing
            } else if of_one_currency.iter().all(|touched| touched.was_held) {
                BalanceRow::There
            } else {
                BalanceRow::Unknown
            };
            balances.push(PlannedBalance {
                user_id,
                currency,
                amount: account.balances.get(currency),
                row,
            });
        }
        // The account was touched once for each entry, and each entry made one version.
        let entries = i64::try_from(of_one_user.len()).unwrap_or(i64::MAX);
        let version_before = account.version - entries;
        accounts.push(PlannedAccount {
            user_id,
            account,
            version_before,
        });
    }
    Plan {
        outcomes,
        entries,
        accounts,
        balances,
        conflicts,
        committed_at_us,
    }
}

/// The working copy. `exists` of an account stays as it was loaded, so that the store knows which rows to insert.
struct Books<'a, 'k> {
    loaded: Loaded,
    has_repeats: bool,
    wanted: Wanted<'k>,
    rules: Rules,
    committed_at_us: i64,
    entries: Vec<PlannedEntry<'a>>,
    conflicts: Vec<PlannedConflict<'a>>,
    touched: Vec<Touched>,
}

/// One for each accepted entry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Touched {
    user_id: UserId,
    currency: CurrencyId,
    /// Whether the balance was above zero before the entry.
    was_held: bool,
}

impl<'a> Books<'a, '_> {
    fn apply_each(&mut self, entries: &'a [NewEntry]) -> Vec<EntryOutcome> {
        let committed_at_us = self.committed_at_us;
        entries
            .iter()
            .map(|entry| EntryOutcome::Decided {
                outcome: self.apply(entry),
                committed_at_us,
            })
            .collect()
    }

    fn apply_atomic(&mut self, entries: &'a [NewEntry]) -> Vec<EntryOutcome> {
        let (written, touched, refused) =
            (self.entries.len(), self.touched.len(), self.conflicts.len());
        let users: HashSet<UserId> = entries.iter().map(|entry| entry.user_id).collect();
        let before: Vec<_> = users
            .iter()
            .filter_map(|user| Some((*user, self.loaded.accounts.get(user)?.clone())))
            .collect();
        let outcomes = self.apply_each(entries);
        if !outcomes.iter().any(EntryOutcome::is_rejected) {
            return outcomes;
        }
        for undone in self.entries.drain(written..).rev() {
            self.loaded.events.remove(&undone.entry.event_id);
            if !self.wanted.is_empty() {
                self.loaded.reversibles.restored(&undone);
                self.loaded.reversibles.undone(undone.entry);
            }
            if let Some(hash) = undone.entry.key_hash() {
                self.loaded.hashes.remove(&hash);
            }
        }
        // A conflict with an entry of this group that was undone is no conflict.
        let undone = |first: &Recorded| {
            before
                .iter()
                .any(|(user, a)| *user == first.user_id && first.version > a.version)
        };
        let own = self.conflicts.split_off(refused);
        self.conflicts
            .extend(own.into_iter().filter(|conflict| !undone(&conflict.first)));
        self.loaded.accounts.extend(before);
        self.touched.truncate(touched);
        outcomes
            .into_iter()
            .map(|o| {
                if o.is_rejected() {
                    o
                } else {
                    EntryOutcome::NotApplied
                }
            })
            .collect()
    }

    fn apply(&mut self, entry: &'a NewEntry) -> Outcome {
        let hash = entry.key_hash();
        let account = self
            .loaded
            .accounts
            .get_mut(&entry.user_id)
            .expect("every user of the batch was loaded");
        let by_event = self
            .loaded
            .events
            .get(&entry.event_id)
            .filter(|_| !is_planted(Plant::DuplicateApplied));
        let found = Found {
            by_event,
            by_hash: hash.as_ref().and_then(|hash| self.loaded.hashes.get(hash)),
            reversible: entry
                .reversal()
                .and_then(|reversal| self.loaded.reversibles.find(&reversal.reverses)),
        };
        // An account made earlier in this batch exists for the entries that follow it.
        let made = (!account.exists && account.version > 0).then(|| Account {
            exists: true,
            ..account.clone()
        });
        let outcome = post(made.as_ref().unwrap_or(account), found, entry, self.rules);
        match &outcome {
            Outcome::Accepted {
                version,
                balances,
                applied,
            } => {
                self.touched.push(Touched {
                    user_id: entry.user_id,
                    currency: applied.currency,
                    was_held: account.balances.get(applied.currency).minor() > 0,
                });
                account.version = *version;
                account.balances = balances.clone();
                self.entries.push(PlannedEntry {
                    entry,
                    version: *version,
                    balances: balances.clone(),
                    applied: applied.clone(),
                });
                self.remember(entry, applied, *version);
            }
            Outcome::Conflict(first) => self.conflicts.push(PlannedConflict {
                first: first.clone(),
                second: entry,
            }),
            _ => {}
        }
        outcome
    }

    /// Notes an accepted entry for the entries that follow it.
    fn remember(&mut self, entry: &NewEntry, applied: &Applied, version: i64) {
        let recorded = || Recorded::of(entry, applied, version, self.committed_at_us);
        // Without repeats in the batch, no later entry asks for this event id.
        if self.has_repeats {
            let event_id = entry.event_id.clone();
            self.loaded.events.insert(event_id, recorded());
        }
        if let Some(hash) = entry.key_hash() {
            self.loaded.hashes.insert(hash, recorded());
        }
        if !self.wanted.is_empty() {
            let reversibles = &mut self.loaded.reversibles;
            reversibles.accepted(&self.wanted, entry, recorded());
            if let Some(reversed) = &applied.reversed {
                reversibles.reversed(reversed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
