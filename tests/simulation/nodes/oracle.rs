//! What has to be true of all nodes together.
//!
//! It sees every commit, every answer and every frame, and knows which faults there were. Nothing of the service is used
//! to judge it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use balance_coordinator::clock::Clock;
use balance_coordinator::domain::{Balances, Currencies, Kind, NewEntry};
use serde_json::Value;

use super::NODES;
use crate::books::shown;

/// The intervals of the policy: a deposit is shown at once, and a reward so late that a deposit that was taken for one
/// shows.
pub const DEBOUNCE_US: u64 = 500_000;
pub const DIRECT_INTERVAL_US: u64 = 100_000;
pub const MIN_INTERVAL_US: u64 = 8_000_000;

/// The net: `cluster.check_s`.
pub const CHECK_US: u64 = 12_000_000;

/// A message that was lost is healed within it.
pub const LOST_US: u64 = 500_000;

/// Any other fault of the bus or of a node is: `cluster.silence_ms` until it shows, or twice that where beats were held
/// up, and a round.
pub const HEALED_US: u64 = 3_000_000;

/// What reading, the steps of the driver and the ways between take.
const SLACK_US: u64 = 300_000;

/// What a commit is shown behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing was wrong.
    None,
    /// Messages with commits were lost, but no beat.
    Lost,
    /// The bus or a node had something else.
    Any,
}

impl Fault {
    const fn bound_us(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Lost => LOST_US,
            Self::Any => HEALED_US,
        }
    }
}

#[derive(Debug)]
struct Commit {
    version: i64,
    kind: Kind,
    /// None: by hand.
    by: Option<usize>,
    at_us: u64,
    balances: [String; 2],
}

/// A session, from its opening.
#[derive(Debug)]
struct Session {
    user: i64,
    node: usize,
    /// The newest version that had been answered anywhere when it was opened.
    least: i64,
    version: Option<i64>,
    opened_us: u64,
    is_open: bool,
}

#[derive(Debug, Default)]
struct Inner {
    commits: BTreeMap<i64, Vec<Commit>>,
    answered: BTreeMap<i64, i64>,
    sessions: Vec<Session>,
    /// What is wrong now, and until when which fault was.
    fault: Option<Fault>,
    faults: BTreeMap<Fault, u64>,
    /// Since when each node has stood, reached PostgreSQL and had its actors; `None`: it does not.
    well_since: [Option<u64>; NODES],
    late: BTreeSet<(usize, i64)>,
    violations: Vec<String>,
    log: String,
    frames: u64,
    has_had_faults: bool,
}

/// Shared by all that watches.
#[derive(Clone)]
pub struct NodesOracle {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

impl NodesOracle {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            inner: Arc::default(),
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

    /// Log, violations, commits and frames.
    pub fn conclude(&self) -> (String, Vec<String>, u64, u64) {
        let inner = self.lock();
        let commits = inner.commits.values().map(|of_user| of_user.len() as u64);
        (
            inner.log.clone(),
            inner.violations.clone(),
            commits.sum(),
            inner.frames,
        )
    }

    pub fn committed(
        &self,
        entry: &NewEntry,
        version: i64,
        balances: &Balances,
        by: Option<usize>,
        at_us: u64,
    ) {
        let user = entry.user_id.get();
        self.note(&format!(
            "commit {} by {by:?}: user {user} version {version}",
            entry.event_id.as_str()
        ));
        let currencies = Currencies::default();
        let shown = ["TON", "UNI"].map(|code| {
            let id = currencies.find(code).expect("a default");
            shown(balances.get(id).minor())
        });
        let commit = Commit {
            version,
            kind: entry.kind,
            by,
            at_us,
            balances: shown,
        };
        self.lock().commits.entry(user).or_default().push(commit);
    }

    /// A fault begins, or another one takes its place; with `None` the last one ends.
    pub fn weather(&self, fault: Option<Fault>) {
        let now_us = self.now_us();
        self.note(&format!("the bus: {fault:?}"));
        let inner = &mut *self.lock();
        inner.has_had_faults |= fault.is_some();
        if let Some(ended) = std::mem::replace(&mut inner.fault, fault) {
            inner.faults.insert(ended, now_us);
        }
    }

    /// A fault of a moment, such as the end of a node.
    pub fn fault_now(&self, fault: Fault) {
        let now_us = self.now_us();
        self.lock().faults.insert(fault, now_us);
    }

    /// A node is well from now on, or is not.
    pub fn well(&self, node: usize, is_well: bool) {
        let now_us = self.now_us();
        self.note(&format!("node {node} is well: {is_well}"));
        self.lock().well_since[node] = is_well.then_some(now_us);
        self.fault_now(Fault::Any);
    }

    /// Whether anything was wrong since the nodes began.
    pub fn has_had_faults(&self) -> bool {
        self.lock().has_had_faults
    }

    /// The newest version of a user that was answered anywhere.
    pub fn answered_version(&self, user: i64) -> i64 {
        self.lock().answered.get(&user).copied().unwrap_or(0)
    }

    /// An answer with a version: of a sender, or of a reader that asked when `least` had been answered.
    pub fn answer(&self, user: i64, version: i64, least: i64, what: &str) {
        self.note(&format!("{what}: user {user} version {version}"));
        if version < least {
            self.violation(&format!(
                "{what}: version {version} of user {user}, and {least} had been answered"
            ));
        }
        let answered = &mut self.lock().answered;
        let known = answered.entry(user).or_default();
        *known = version.max(*known);
    }

    pub fn opened(&self, user: i64, node: usize) -> usize {
        let (least, opened_us) = (self.answered_version(user), self.now_us());
        let sessions = &mut self.lock().sessions;
        sessions.push(Session {
            user,
            node,
            least,
            version: None,
            opened_us,
            is_open: true,
        });
        sessions.len() - 1
    }

    pub fn closed(&self, index: usize) {
        self.note(&format!("session {index} is over"));
        self.lock().sessions[index].is_open = false;
    }

    /// A session has received a frame.
    pub fn frame(&self, index: usize, frame: &Value) {
        self.note(&format!("session {index} <- {frame}"));
        let mut wrong = None;
        let mut seen = None;
        {
            let inner = &mut *self.lock();
            inner.frames += 1;
            let session = &mut inner.sessions[index];
            let is_balance = frame["type"] == "balance" || frame["type"] == "balance_update";
            if let (true, Some(version)) = (is_balance, frame["version"].as_i64()) {
                let is_stale = frame["stale"] == true;
                let commits = inner
                    .commits
                    .get(&session.user)
                    .map_or(&[][..], Vec::as_slice);
                let state = commits.iter().find(|commit| commit.version == version);
                let is_true = state.map_or(version == 0, |commit| {
                    frame["balances"]["TON"] == commit.balances[0]
                        && frame["balances"]["UNI"] == commit.balances[1]
                });
                if !is_true {
                    wrong = Some("not what the ledger has at this version");
                } else if session.version.is_some_and(|known| known > version) {
                    wrong = Some("older than what this session was sent");
                } else if session.version.is_none() && version < session.least && !is_stale {
                    wrong = Some("a first frame older than what had been answered");
                }
                session.version = session.version.max(Some(version));
                seen = Some((session.user, version));
            }
        }
        if let Some(what) = wrong {
            let least = self.lock().sessions[index].least;
            self.violation(&format!("session {index} ({least}): {what}: {frame}"));
        }
        if let Some((user, version)) = seen {
            let answered = &mut self.lock().answered;
            let known = answered.entry(user).or_default();
            *known = version.max(*known);
        }
    }

    /// Whether every open session has been shown in time what it has to be.
    pub fn check_bounds(&self) {
        let now_us = self.now_us();
        let mut found = Vec::new();
        {
            let inner = &mut *self.lock();
            for (index, session) in inner.sessions.iter().enumerate() {
                let (Some(version), Some(well_us), true) = (
                    session.version,
                    inner.well_since[session.node],
                    session.is_open,
                ) else {
                    continue;
                };
                let Some(commits) = inner.commits.get(&session.user) else {
                    continue;
                };
                for commit in commits.iter().filter(|commit| commit.version > version) {
                    let began_us = commit.at_us.max(well_us).max(session.opened_us);
                    let due_us = due_us(inner, commit, began_us, well_us);
                    if now_us > due_us && inner.late.insert((index, commit.version)) {
                        found.push(format!(
                            "session {index} of user {} at node {} has version {version}, and {commit:?} was due at \
                             {due_us} us",
                            session.user, session.node
                        ));
                    }
                }
            }
        }
        found.iter().for_each(|what| self.violation(what));
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
        found.iter().for_each(|what| self.violation(what));
    }
}

fn due_us(inner: &Inner, commit: &Commit, began_us: u64, well_us: u64) -> u64 {
    // A fault that went on when it was committed, or began within its time.
    let is_met = |fault: &Fault| {
        inner.fault >= Some(*fault)
            || inner
                .faults
                .iter()
                .any(|(ended, until_us)| ended >= fault && until_us + HEALED_US >= commit.at_us)
    };
    let fault = match [Fault::Any, Fault::Lost].iter().find(|fault| is_met(fault)) {
        // A node that was not well catches up as after any fault.
        None if well_us > commit.at_us => Fault::Any,
        None => Fault::None,
        Some(fault) => *fault,
    };
    let bound_us = match commit.by {
        Some(_) => fault.bound_us(),
        None => CHECK_US + HEALED_US,
    };
    let paced_us = match commit.kind {
        Kind::Deposit => DIRECT_INTERVAL_US,
        _ => MIN_INTERVAL_US + DEBOUNCE_US,
    };
    began_us + bound_us + paced_us + SLACK_US
}
