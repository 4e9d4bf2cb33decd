//! What has to be true of all nodes together.
//!
//! It sees every commit, answer and frame, what each node takes out of its box, and knows which faults there were. What
//! sessions are shown, and when, is in [`screens`]; what a node may say of itself in [`coverage`]; what it counts in
//! [`counting`]. Nothing of the service is used to judge it.

mod counting;
mod coverage;
mod faults;
mod screens;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use balance_coordinator::clock::Clock;
use balance_coordinator::domain::{Balances, Currencies, Kind, NewEntry};

use super::NODES;
use super::plan::Plan;
use crate::books::shown;
use crate::harness::{Counts, Report};
use coverage::Run;
pub use faults::Fault;
use faults::Period;
use screens::Session;

/// The intervals of the policy: a deposit is shown at once, and a reward so late that a deposit that was taken for one
/// shows.
pub const DEBOUNCE_US: u64 = 500_000;
pub const DIRECT_INTERVAL_US: u64 = 100_000;
pub const MIN_INTERVAL_US: u64 = 8_000_000;

/// `cluster.silence_ms`: a node that was not heard for so long is silent.
pub const SILENCE_US: u64 = 1_000_000;

/// A node that is covered has read the table of nodes within it.
pub const TABLE_US: u64 = 5_000_000;

/// What a node that is covered does not know of another node, that one has committed within it.
pub const UNKNOWN_US: u64 = 2 * SILENCE_US;

/// Which run of which node has committed.
#[derive(Debug, Clone)]
pub struct By {
    pub boot: String,
    /// Every node that is covered has read the table with its row.
    pub is_known: bool,
}

#[derive(Debug)]
struct Commit {
    user: i64,
    version: i64,
    kind: Kind,
    /// None: by hand.
    by: Option<By>,
    at_us: u64,
    balances: [String; 2],
}

impl Commit {
    /// When every node that trusts its memory knows of it; `None`: that is not promised.
    fn known_by_us(&self) -> Option<u64> {
        let by = self.by.as_ref()?;
        let unread_us = if by.is_known { 0 } else { TABLE_US };
        Some(self.at_us + UNKNOWN_US + unread_us)
    }
}

#[derive(Debug, Default)]
struct Inner {
    commits: BTreeMap<i64, Vec<Arc<Commit>>>,
    /// The newest version that was answered anywhere, and by the present run of each node.
    answered: BTreeMap<i64, i64>,
    answered_at: [BTreeMap<i64, i64>; NODES],
    sessions: Vec<Session>,
    faults: Vec<Period>,
    /// Since when each node has run and not stood still; `None`: it does not.
    well_since: [Option<u64>; NODES],
    /// The same of its way to PostgreSQL.
    store_since: [Option<u64>; NODES],
    runs: [Option<Run>; NODES],
    violations: Vec<String>,
    log: String,
    counts: Counts,
}

/// Shared by all that watches.
#[derive(Clone)]
pub struct NodesOracle {
    clock: Clock,
    plan: Arc<Plan>,
    inner: Arc<Mutex<Inner>>,
}

impl NodesOracle {
    pub fn new(clock: Clock, plan: Plan) -> Self {
        let inner = Inner {
            store_since: [Some(0); NODES],
            ..Inner::default()
        };
        Self {
            clock,
            plan: Arc::new(plan),
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    pub const fn clock(&self) -> Clock {
        self.clock
    }

    pub fn now_us(&self) -> u64 {
        self.clock.mono().us()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("one thread, no panic inside")
    }

    pub fn note(&self, line: &str) {
        let now_us = self.now_us();
        let _ = writeln!(self.lock().log, "{now_us:>12} {line}");
    }

    pub fn violation(&self, what: &str) {
        self.note(&format!("VIOLATION {what}"));
        let now_us = self.now_us();
        self.lock()
            .violations
            .push(format!("at {now_us} us: {what}"));
    }

    fn violations(&self, found: &[String]) {
        found.iter().for_each(|what| self.violation(what));
    }

    fn count(&self, name: &'static str) {
        *self.lock().counts.entry(name).or_default() += 1;
    }

    pub fn conclude(&self) -> Report {
        let inner = self.lock();
        Report {
            log: inner.log.clone(),
            violations: inner.violations.clone(),
            counts: inner.counts.clone(),
        }
    }

    pub fn committed(&self, entry: &NewEntry, version: i64, balances: &Balances, by: Option<By>) {
        let user = entry.user_id.get();
        let at_us = self.now_us();
        let boot = by.as_ref().map(|by| &by.boot);
        self.note(&format!(
            "commit {} by {boot:?}: user {user} version {version}, {:?}",
            entry.event_id.as_str(),
            entry.kind
        ));
        let currencies = Currencies::default();
        let shown = ["TON", "UNI"].map(|code| {
            let id = currencies.find(code).expect("a default");
            shown(balances.get(id).minor())
        });
        let commit = Arc::new(Commit {
            user,
            version,
            kind: entry.kind,
            by,
            at_us,
            balances: shown,
        });
        self.count("commits");
        let inner = &mut *self.lock();
        for run in inner.runs.iter_mut().flatten() {
            run.watch(&commit);
        }
        inner.commits.entry(user).or_default().push(commit);
    }

    /// The least version that a question about a user at a node, asked now, may be answered with.
    pub fn least(&self, user: i64, node: usize) -> i64 {
        let now_us = self.now_us();
        let inner = self.lock();
        let answered = |by_user: &BTreeMap<i64, i64>| by_user.get(&user).copied().unwrap_or(0);
        if !self.plan.reads_memory {
            return answered(&inner.answered);
        }
        let commits = inner.commits.get(&user).into_iter().flatten();
        let known = commits.filter(|commit| commit.known_by_us().is_some_and(|at| at < now_us));
        let known = known.map(|commit| commit.version).max().unwrap_or(0);
        known.max(answered(&inner.answered_at[node]))
    }

    /// A node has answered a sender or a reader.
    pub fn answer(&self, user: i64, node: usize, (version, least): (i64, i64), what: &str) {
        self.note(&format!(
            "{what} of node {node}: user {user} has version {version}"
        ));
        if version < least {
            self.violation(&format!(
                "{what} of node {node}: version {version} of user {user}, and {least} was known before"
            ));
        }
        self.lock().answered(user, node, version);
    }

    /// After calm every open session shows what the ledger has.
    pub fn check_newest(&self, version: impl Fn(i64) -> i64) {
        let mut found = Vec::new();
        for (index, session) in self.lock().sessions.iter().enumerate() {
            let newest = version(session.user);
            if session.is_open && session.version != Some(newest) {
                found.push(format!(
                    "session {index} after calm: {session:?}, not {newest}"
                ));
            }
        }
        self.violations(&found);
    }
}

impl Inner {
    fn answered(&mut self, user: i64, node: usize, version: i64) {
        for known in [&mut self.answered, &mut self.answered_at[node]] {
            let known = known.entry(user).or_default();
            *known = version.max(*known);
        }
    }
}
