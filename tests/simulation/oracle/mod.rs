//! The oracle: what has to be true of every commit, answer and frame, worked out apart from the service.
//!
//! It sees only what the outside sees: the ledger's commits ([`super::books`]), the answers to senders and readers
//! ([`answers`]), the frames of each session ([`frames`]); and what was done to the service. What has to be true over
//! time, of sessions ([`sessions`]) and of pushes ([`pushes`]), is checked when the run is over.

mod answers;
mod frames;
mod losses;
mod pushes;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};

pub use answers::Item;
pub use sessions::SessionRecord;

use super::books::Books;
use losses::Losses;
use pushes::Push;

/// Noise of virtual timers, which tick in milliseconds.
pub const SLACK_US: u64 = 5_000;

/// The pacing of every run, as the defaults of the settings.
pub const DEBOUNCE_US: u64 = 1_500_000;
pub const MIN_INTERVAL_US: u64 = 5_000_000;
pub const DIRECT_INTERVAL_US: u64 = 100_000;

/// How long a cached balance is trusted, and how often that is looked after.
pub const TTL_US: u64 = 30_000_000;
pub const SWEEP_US: u64 = 10_000_000;

/// Everything is answered within it.
pub const TIMEOUT_US: u64 = super::ledger::TIMEOUT_MS * 1000;

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Oracle {
    pub books: Books,
    pub violations: Vec<String>,
    pub sessions: Vec<SessionRecord>,
    pub frames: u64,
    pub reads: u64,
    sent: BTreeMap<String, Item>,
    accepted: BTreeSet<String>,
    pushes: BTreeMap<(i64, u64), Push>,
    deaths: BTreeMap<i64, Vec<u64>>,
    restarts: Vec<u64>,
    /// How many processes there were.
    processes: u64,
    unwell: Vec<(u64, Option<u64>)>,
    old_reads: BTreeMap<i64, Vec<u64>>,
    /// When a process last had an answer of the ledger about a user.
    contacts: BTreeMap<(u64, i64), u64>,
    known_away_since_us: Option<u64>,
    losses: Losses,
}

impl Oracle {
    /// From now on the ledger is (not) as it should be.
    pub fn weather(&mut self, is_well: bool, now_us: u64) {
        match (self.unwell.last_mut(), is_well) {
            (Some((_, end @ None)), true) => *end = Some(now_us),
            (Some((_, None)), false) | (None | Some((_, Some(_))), true) => {}
            (_, false) => self.unwell.push((now_us, None)),
        }
    }

    /// Whether the ledger was as it should be all the time between two times.
    fn was_well(&self, from_us: u64, to_us: u64) -> bool {
        !self.losses.is_unsettled(from_us, to_us)
            && !self
                .unwell
                .iter()
                .any(|(begin, end)| *begin <= to_us && end.is_none_or(|end| end >= from_us))
    }

    /// The actor of a user was made to die.
    pub fn died(&mut self, user: i64, now_us: u64) {
        self.deaths.entry(user).or_default().push(now_us);
    }

    /// A read or a commit of the running process has failed because the ledger is away, or has succeeded.
    pub fn known_away(&mut self, is_away: bool, now_us: u64) {
        if is_away {
            self.known_away_since_us.get_or_insert(now_us);
        } else {
            self.known_away_since_us = None;
        }
    }

    /// Whether the service knew before now that the ledger is away.
    fn knows_of_outage(&self, now_us: u64) -> bool {
        self.known_away_since_us
            .is_some_and(|since_us| since_us < now_us)
    }

    /// All actors are gone.
    pub fn restarted(&mut self, now_us: u64) {
        self.known_away_since_us = None;
        self.processes += 1;
        self.restarts.push(now_us);
    }

    /// Whether the user's actor may have been replaced between two times.
    fn was_replaced(&self, user: i64, from_us: u64, to_us: u64) -> bool {
        let within = |times: &[u64]| times.iter().any(|at_us| (from_us..=to_us).contains(at_us));
        within(&self.restarts) || self.deaths.get(&user).is_some_and(|times| within(times))
    }

    /// When the user's actor was made to die before a time.
    fn deaths(&self, user: i64, before_us: u64) -> impl Iterator<Item = u64> {
        let deaths = self.deaths.get(&user).into_iter().flatten();
        deaths.copied().filter(move |at_us| *at_us <= before_us)
    }

    /// The ledger served an old state of a user.
    pub fn old_read(&mut self, user: i64, now_us: u64) {
        self.old_reads.entry(user).or_default().push(now_us);
    }

    /// Whether an old state of a user may still be in memory: it is trusted for its time to live.
    fn may_remember_old(&self, user: i64, since_us: u64) -> bool {
        let memory_us = TTL_US + SWEEP_US + 2 * TIMEOUT_US;
        self.old_reads
            .get(&user)
            .is_some_and(|times| times.iter().any(|at_us| at_us + memory_us >= since_us))
    }

    /// A process had an answer of the ledger about a user.
    pub fn contacted(&mut self, process: u64, user: i64, now_us: u64) {
        self.contacts.insert((process, user), now_us);
    }

    /// The number of the running process.
    fn process(&self) -> u64 {
        self.processes
    }

    /// What has to be true of the whole run.
    pub fn finish(&mut self, now_us: u64) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(self.check_obligations(now_us));
        found.extend(self.check_pushes());
        found.extend(self.check_convergence());
        found.extend(self.check_epochs());
        found
    }
}
