//! Postings set aside: another session has locked rows that they need, they take too long to share a transaction, or they
//! fail though the ledger seems well.
//!
//! They wait here, so that the writer's other postings go on. They are tried again after pauses that grow, each time with
//! a short wait for a lock, and slow ones alone, until they are committed or past their deadline. New postings of a user with postings here
//! wait here as well. So the user's order is kept, and other users' postings wait for the same lock only once.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::clock::{Clock, Deadline};
use crate::domain::UserId;
use crate::ledger::Posting;
use crate::ledger::store::Patience;
use crate::limits::{HELD_USERS_MAX, RETRY_MS, TRANSACTION_ENTRIES_MAX};

use super::{State, fill};

/// Why a posting is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Another session holds rows that it needs.
    Locked,
    /// It takes too long to share a transaction.
    Slow,
    /// It fails, and nothing else was there to compare it with; the ledger itself seems well.
    Failing,
}

/// The postings set aside, and their users.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) postings: VecDeque<Posting>,
    /// Each to be tried alone.
    pub(super) slow: VecDeque<Posting>,
    /// Users with postings here, and users whose last postings here were given up.
    users: HashSet<UserId>,
    retry_at: Deadline,
    wait_ms: u64,
    /// The writer's commits when they were last tried: after more of them, what fails again is itself at fault.
    commits: u64,
}

/// The user of a posting. An atomic batch has none, so it never makes other postings wait.
pub(super) fn owner(posting: &Posting) -> Option<UserId> {
    posting
        .entries
        .first()
        .filter(|_| !posting.is_atomic)
        .map(|entry| entry.user_id)
}

impl Aside {
    pub(super) fn new(clock: Clock) -> Self {
        let retry_at = clock.deadline(Duration::ZERO);
        Self {
            postings: VecDeque::new(),
            slow: VecDeque::new(),
            users: HashSet::new(),
            retry_at,
            wait_ms: RETRY_MS.0,
            commits: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.postings.is_empty() && self.slow.is_empty()
    }

    pub(super) fn has_slow(&self) -> bool {
        !self.slow.is_empty()
    }

    /// Whether new postings of this user have to wait here.
    pub(super) fn knows(&self, user: UserId) -> bool {
        self.users.contains(&user)
    }

    /// Whether a new posting has to wait here.
    pub(super) fn takes(&self, posting: &Posting) -> bool {
        !self.users.is_empty() && owner(posting).is_some_and(|user| self.users.contains(&user))
    }

    /// Sets a posting aside.
    pub(super) fn hold(&mut self, posting: Posting) {
        self.users.extend(owner(&posting));
        self.postings.push_back(posting);
    }

    /// Sets a posting aside that is to be tried alone.
    fn hold_slow(&mut self, posting: Posting) {
        self.users.extend(owner(&posting));
        self.slow.push_back(posting);
    }

    /// How long until the next attempt; `None` when nothing waits.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        if !self.slow.is_empty() {
            return Some(Duration::ZERO);
        }
        (!self.postings.is_empty()).then(|| self.retry_at.remaining())
    }

    /// The users with postings here.
    pub(super) fn waiting(&self) -> HashSet<UserId> {
        let all = self.postings.iter().chain(&self.slow);
        all.filter_map(owner).collect()
    }

    /// New postings of those of these users without postings here no longer have to wait here.
    fn release(&mut self, users: &HashSet<UserId>) {
        let waiting = self.waiting();
        let is_full = self.users.len() > HELD_USERS_MAX;
        self.users
            .retain(|user| waiting.contains(user) || !(is_full || users.contains(user)));
    }

    /// To be called after an attempt with the postings of these users: those without postings here are no longer taken to be
    /// locked, and the next attempt comes later when any postings are left.
    pub(super) fn tried(&mut self, users: &HashSet<UserId>, clock: Clock) {
        self.release(users);
        self.wait_ms = if self.is_empty() {
            RETRY_MS.0
        } else {
            (self.wait_ms * 2).min(RETRY_MS.1)
        };
        self.retry_at = clock.deadline(Duration::from_millis(if self.is_empty() {
            0
        } else {
            self.wait_ms
        }));
    }
}

impl State {
    /// Tries the postings that were set aside again when they are due, in transactions of the usual size. A user whose
    /// earlier postings are still locked keeps waiting.
    pub(super) fn retry_aside(&mut self) {
        if self.aside.postings.is_empty() || !self.aside.retry_at.has_passed() {
            return;
        }
        self.answer_late();
        let has_evidence = self.commits > self.aside.commits;
        let mut rest = std::mem::take(&mut self.aside.postings);
        let mut tried = HashSet::new();
        while !rest.is_empty() {
            let (mut batch, mut count) = (Vec::new(), 0);
            fill(&mut batch, &mut count, &mut rest, TRANSACTION_ENTRIES_MAX);
            let waiting = self.aside.waiting();
            let must_wait =
                |posting: &Posting| owner(posting).is_some_and(|user| waiting.contains(&user));
            let (again, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(must_wait);
            tried.extend(batch.iter().filter_map(owner));
            self.aside.postings.extend(again);
            self.settle(batch, Patience::Brief, has_evidence);
        }
        self.aside.commits = self.commits;
        self.aside.tried(&tried, self.options.clock);
    }

    /// Tries one posting that is too slow to share a transaction, if there is one.
    pub(super) fn try_slow(&mut self) -> bool {
        let Some(posting) = self.aside.slow.pop_front() else {
            return false;
        };
        let tried = owner(&posting).into_iter().collect();
        self.settle(vec![posting], Patience::Usual, false);
        self.aside.release(&tried);
        true
    }

    /// Sets postings aside, and the queued postings of their users as well.
    pub(super) fn set_aside(&mut self, held: Vec<(Posting, Wait)>) {
        if held.is_empty() {
            return;
        }
        for (posting, wait) in held {
            match wait {
                Wait::Slow => self.aside.hold_slow(posting),
                Wait::Locked => self.aside.hold(posting),
                Wait::Failing => {
                    self.aside.hold(posting);
                    self.aside.commits = self.commits;
                }
            }
        }
        for lane in [&mut self.single, &mut self.bulk] {
            let (held, free) = std::mem::take(lane)
                .into_iter()
                .partition(|posting| self.aside.takes(posting));
            *lane = free;
            let held: VecDeque<Posting> = held;
            self.aside.postings.extend(held);
        }
    }
}

#[cfg(test)]
mod tests;
