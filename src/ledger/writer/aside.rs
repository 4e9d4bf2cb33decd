//! Postings that somebody else holds up: another session has locked rows that they need.
//!
//! They wait here, so that the others of their writer go on. Each is tried again after a pause that grows, hardly waiting
//! for the lock, until it is committed or past its deadline. What comes in for a user whose earlier postings wait here
//! joins them, so the user's order is kept, and nobody pays for the same lock twice.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::clock::{Clock, Deadline};
use crate::domain::UserId;
use crate::ledger::Posting;
use crate::ledger::store::Patience;
use crate::limits::{HELD_USERS_MAX, RETRY_MS, TRANSACTION_ENTRIES_MAX};

use super::{State, fill};

/// The postings set aside, and the users that are taken for held.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) postings: VecDeque<Posting>,
    /// Users with postings here, and those whose last ones were given up here.
    users: HashSet<UserId>,
    retry_at: Deadline,
    wait_ms: u64,
}

/// Whose posting it is; an atomic batch belongs to nobody, and keeps nobody else waiting.
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
            users: HashSet::new(),
            retry_at,
            wait_ms: RETRY_MS.0,
        }
    }

    /// Whether a posting has to wait here, too.
    pub(super) fn takes(&self, posting: &Posting) -> bool {
        !self.users.is_empty() && owner(posting).is_some_and(|user| self.users.contains(&user))
    }

    /// Sets a posting aside.
    pub(super) fn hold(&mut self, posting: Posting) {
        self.users.extend(owner(&posting));
        self.postings.push_back(posting);
    }

    /// How long until the next attempt; `None` when nothing waits.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        (!self.postings.is_empty()).then(|| self.retry_at.remaining())
    }

    /// The users whose postings wait.
    pub(super) fn waiting(&self) -> HashSet<UserId> {
        self.postings.iter().filter_map(owner).collect()
    }

    /// After an attempt with the postings of these users: who does not wait again is free, and the next attempt comes
    /// later when somebody does.
    pub(super) fn tried(&mut self, users: &HashSet<UserId>, clock: Clock) {
        let waiting = self.waiting();
        let is_full = self.users.len() > HELD_USERS_MAX;
        self.users
            .retain(|user| waiting.contains(user) || !(is_full || users.contains(user)));
        self.wait_ms = if self.postings.is_empty() {
            RETRY_MS.0
        } else {
            (self.wait_ms * 2).min(RETRY_MS.1)
        };
        self.retry_at = clock.deadline(Duration::from_millis(if self.postings.is_empty() {
            0
        } else {
            self.wait_ms
        }));
    }
}

impl State {
    /// Tries what was set aside again when it is due. The pieces are as large as other transactions; a user whose earlier
    /// postings are still held keeps waiting.
    pub(super) fn retry_aside(&mut self) {
        if self.aside.retry_in().is_none_or(|wait| !wait.is_zero()) {
            return;
        }
        self.answer_late();
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
            self.settle(batch, Patience::Brief);
        }
        self.aside.tried(&tried, self.options.clock);
    }

    /// Sets postings aside, and what else waits for their users.
    pub(super) fn set_aside(&mut self, held: Vec<Posting>) {
        if held.is_empty() {
            return;
        }
        held.into_iter()
            .for_each(|posting| self.aside.hold(posting));
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
