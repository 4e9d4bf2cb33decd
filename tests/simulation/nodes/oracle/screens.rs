//! What sessions are shown: the ledger's states, none older than before, and each in time.

use std::collections::BTreeSet;

use balance_coordinator::domain::Kind;
use serde_json::Value;

use super::faults::{Fault, ROUND_US};
use super::{
    Commit, DEBOUNCE_US, DIRECT_INTERVAL_US, Inner, MIN_INTERVAL_US, NodesOracle, TABLE_US,
};

/// What the statements and the ways between them take.
const SLACK_US: u64 = 200_000;

/// A session has its first balance within it, once its node is well and reaches PostgreSQL.
const FIRST_US: u64 = 2_000_000;

/// A session, from its opening.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: i64,
    node: usize,
    /// What its first balance may not be older than.
    least: i64,
    pub(super) version: Option<i64>,
    opened_us: u64,
    pub(super) is_open: bool,
    /// Versions that were found to be late.
    late: BTreeSet<i64>,
}

impl NodesOracle {
    pub fn opened(&self, user: i64, node: usize) -> usize {
        let (opened_us, least) = (self.now_us(), self.least(user, node));
        let sessions = &mut self.lock().sessions;
        sessions.push(Session {
            user,
            node,
            least,
            version: None,
            opened_us,
            is_open: true,
            late: BTreeSet::new(),
        });
        sessions.len() - 1
    }

    pub fn closed(&self, session: usize) {
        self.note(&format!("session {session} is closed"));
        self.lock().sessions[session].is_open = false;
    }

    /// Open sessions at a node.
    pub fn open_at(&self, node: usize) -> u64 {
        let inner = self.lock();
        let open = inner.sessions.iter();
        let open = open.filter(|session| session.is_open && session.node == node);
        open.count() as u64
    }

    /// A session has been sent a frame.
    pub fn frame(&self, index: usize, frame: &Value) {
        self.note(&format!("session {index} <- {frame}"));
        self.count("frames");
        let is_balance = frame["type"] == "balance" || frame["type"] == "balance_update";
        let (true, Some(version)) = (is_balance, frame["version"].as_i64()) else {
            return;
        };
        // What was due before it came is late.
        self.check_session(index);
        let mut wrong = None;
        {
            let inner = &mut *self.lock();
            let session = &mut inner.sessions[index];
            let commits = inner
                .commits
                .get(&session.user)
                .map_or(&[][..], Vec::as_slice);
            let state = commits.iter().find(|commit| commit.version == version);
            let is_true = state.map_or(version == 0, |commit| {
                frame["balances"]["TON"] == commit.balances[0]
                    && frame["balances"]["UNI"] == commit.balances[1]
            });
            let is_stale = frame["stale"] == true;
            if !is_true {
                wrong = Some("not what the ledger has at this version".to_owned());
            } else if session.version.is_some_and(|known| known > version) {
                wrong = Some("older than what this session was sent".to_owned());
            } else if session.version.is_none() && version < session.least && !is_stale {
                let least = session.least;
                wrong = Some(format!("the first balance, and version {least} was known"));
            }
            session.version = session.version.max(Some(version));
            let (user, node) = (session.user, session.node);
            inner.answered(user, node, version);
        }
        if let Some(what) = wrong {
            self.violation(&format!("session {index}: {what}: {frame}"));
        }
    }

    /// Whether every open session has been shown in time what it has to be.
    pub fn check_screens(&self) {
        let count = self.lock().sessions.len();
        (0..count).for_each(|index| self.check_session(index));
    }

    fn check_session(&self, index: usize) {
        let found = self.find_late(&mut self.lock(), index);
        self.violations(&found);
    }

    fn find_late(&self, inner: &mut Inner, index: usize) -> Vec<String> {
        let now_us = self.now_us();
        let session = &inner.sessions[index];
        let (true, Some(well_us)) = (session.is_open, inner.well_since[session.node]) else {
            return Vec::new();
        };
        let since_us = session.opened_us.max(well_us);
        let commits = inner.commits.get(&session.user).into_iter().flatten();
        let (late, found): (Vec<i64>, Vec<String>) = match session.version {
            None => {
                let store_us = inner.store_since[session.node];
                let is_late = store_us.is_some_and(|us| since_us.max(us) + FIRST_US < now_us);
                let late = (is_late && !session.late.contains(&0)).then_some(0);
                let found = late.map(|_| format!("session {index} has no balance yet"));
                (late.into_iter().collect(), found.into_iter().collect())
            }
            Some(version) => {
                let unseen = commits.rev().take_while(|commit| commit.version > version);
                let unsaid = unseen.filter(|commit| !session.late.contains(&commit.version));
                let late = unsaid.filter_map(|commit| {
                    let due_us = self.due_us(inner, commit, session.node, since_us)?;
                    let node = session.node;
                    let what = || {
                        format!(
                            "session {index} of node {node} has version {version}, and {commit:?} was due at {due_us} us"
                        )
                    };
                    (due_us < now_us).then(|| (commit.version, what()))
                });
                late.unzip()
            }
        };
        inner.sessions[index].late.extend(late);
        found
    }

    /// When a session at a node has to be shown a commit at the latest; `None` while that is open. `since_us`: since when
    /// the session and the node have been there.
    fn due_us(&self, inner: &Inner, commit: &Commit, node: usize, since_us: u64) -> Option<u64> {
        let begin_us = commit.at_us.max(since_us);
        let paced_us = match commit.kind {
            Kind::Deposit => DIRECT_INTERVAL_US,
            _ => MIN_INTERVAL_US + DEBOUNCE_US,
        };
        let mut bound_us = match commit.by {
            Some(_) => 0,
            None => self.plan.check_us + ROUND_US,
        };
        // Of a node that is silent before the others have read its row, they learn by that.
        let is_new = commit.by.as_ref().is_some_and(|by| !by.is_known);
        let bound_of = |fault: Fault| {
            let unread_us = if is_new && fault == Fault::Silent {
                TABLE_US
            } else {
                0
            };
            fault.bound_us() + unread_us
        };
        // A fault that goes on, or whose damage may not be healed yet, or that began before it was due.
        loop {
            let due_us = begin_us + bound_us + paced_us + SLACK_US;
            let met = inner.faults.iter().filter(|period| {
                let healed_us = period.until_us.map(|us| us + bound_of(period.fault));
                period.from_us <= due_us && healed_us.is_none_or(|us| us >= commit.at_us)
            });
            let met_us = met.map(|period| bound_of(period.fault)).max().unwrap_or(0);
            if met_us <= bound_us {
                break;
            }
            bound_us = met_us;
        }
        if bound_us == 0 {
            return Some(begin_us + paced_us + SLACK_US);
        }
        // What is missing is asked for at PostgreSQL.
        let store_us = inner.store_since[node]?;
        let begin_us = begin_us.max(store_us);
        Some(begin_us + bound_us + paced_us + SLACK_US)
    }
}
