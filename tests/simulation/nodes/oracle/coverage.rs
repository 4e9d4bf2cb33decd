//! Whether a node that says that it is covered has heard of everything: checked by what it took out of its box, and not
//! by what its sessions were shown, because rounds of checks heal what is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use balance_coordinator::clock::Mono;

use super::{Commit, NodesOracle, SILENCE_US, TABLE_US, UNKNOWN_US};
use crate::nodes::bus::{Content, Sent};
use crate::nodes::node::Seen;
use crate::nodes::plan::partition_of;
use crate::nodes::store::Row;

/// A run of a node, and what it has heard.
pub(super) struct Run {
    pub(super) seen: Seen,
    pub(super) started_us: u64,
    /// Of each run of another node, when its latest beat was heard, and when that was sent.
    beats: BTreeMap<String, (u64, u64)>,
    left: BTreeSet<String>,
    /// When the latest own beat was sent that came back.
    echo_us: Option<u64>,
    /// Users and versions that were heard of, or that it committed itself and had an answer.
    known: BTreeSet<(i64, i64)>,
    /// Commits that it has not been seen to know of, or to distrust its memory for.
    unsettled: Vec<Arc<Commit>>,
    checked_us: u64,
    was_covered: bool,
    pub(super) uncovered_us: u64,
    /// How often it was no longer covered.
    pub(super) uncovers: u64,
    /// Questions of sessions and readers.
    pub(super) questions: u64,
    /// Own entries whose fate it does not know.
    pub(super) doubts: u64,
    has_failed: bool,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.seen.boot)
    }
}

impl Run {
    fn new(seen: Seen, now_us: u64) -> Self {
        Self {
            seen,
            started_us: now_us,
            beats: BTreeMap::new(),
            left: BTreeSet::new(),
            echo_us: None,
            known: BTreeSet::new(),
            unsettled: Vec::new(),
            checked_us: now_us,
            was_covered: false,
            uncovered_us: 0,
            uncovers: 0,
            questions: 0,
            doubts: 0,
            has_failed: false,
        }
    }

    pub(super) fn watch(&mut self, commit: &Arc<Commit>) {
        self.unsettled.push(commit.clone());
    }

    fn hear(&mut self, sent: &Sent, now_us: u64) {
        let is_own = sent.boot == self.seen.boot;
        match &sent.content {
            Content::Commits(users) if !is_own => {
                for (user, from, to) in users {
                    self.known
                        .extend((from + 1..=*to).map(|version| (*user, version)));
                }
            }
            Content::Beat { .. } if is_own => self.echo_us = self.echo_us.max(Some(sent.at_us)),
            Content::Beat { is_leaving } => {
                let latest = self.beats.entry(sent.boot.clone()).or_default();
                if sent.at_us > latest.1 {
                    *latest = (now_us, sent.at_us);
                }
                if *is_leaving {
                    self.left.insert(sent.boot.clone());
                }
            }
            Content::Commits(_) | Content::Order => {}
        }
    }

    /// Why it may not say that it is covered.
    fn why_not_covered(&mut self, rows: &[(String, Row)], now_us: u64) -> Option<String> {
        let since_us = |us: u64| now_us.saturating_sub(us);
        if self.echo_us.is_none_or(|us| since_us(us) > SILENCE_US) {
            return Some("its own beats do not come back".to_owned());
        }
        let own = rows.iter().find(|(boot, _)| *boot == self.seen.boot);
        let own = own.filter(|(_, row)| since_us(row.renewed_us) <= TABLE_US);
        let Some((_, own)) = own else {
            return Some("it has not read the table of nodes".to_owned());
        };
        for (boot, row) in rows {
            // It need not be known before.
            let known_us = since_us(row.since_us.max(own.since_us)).saturating_sub(TABLE_US);
            let (heard_us, sent_us) = self.beats.get(boot).copied().unwrap_or_default();
            let is_silent = since_us(heard_us).min(known_us) > SILENCE_US;
            let is_late = since_us(sent_us).min(known_us) > UNKNOWN_US;
            let is_other = *boot != self.seen.boot && !self.left.contains(boot);
            if is_other && (is_silent || is_late) {
                return Some(format!(
                    "{boot} was heard at {heard_us} us last, by a beat of {sent_us} us"
                ));
            }
        }
        let (seen, known) = (&self.seen, &self.known);
        self.unsettled.retain(|commit| {
            let distrusted = seen.coverage.distrusted_at(partition_of(commit.user));
            commit.by.is_some()
                && !known.contains(&(commit.user, commit.version))
                && distrusted < Mono::from_us(commit.at_us)
        });
        let is_due = |commit: &&Arc<Commit>| commit.known_by_us().is_some_and(|us| us < now_us);
        let missed = self.unsettled.iter().find(is_due)?;
        Some(format!("it neither knows of {missed:?}, nor distrusts it"))
    }
}

impl NodesOracle {
    /// A run of a node begins.
    pub fn starts(&self, node: usize, seen: Seen) {
        self.note(&format!("{} starts", seen.boot));
        let now_us = self.now_us();
        let inner = &mut *self.lock();
        inner.answered_at[node].clear();
        inner.runs[node] = Some(Run::new(seen, now_us));
    }

    /// A run of a node has ended: it says nothing any more.
    pub fn is_over(&self, node: usize) {
        self.lock().runs[node] = None;
    }

    fn with_run(&self, node: usize, change: impl FnOnce(&mut Run)) {
        if let Some(run) = &mut self.lock().runs[node] {
            change(run);
        }
    }

    /// A node takes a message out of its box.
    pub fn heard(&self, node: usize, sent: &Sent) {
        let now_us = self.now_us();
        self.with_run(node, |run| run.hear(sent, now_us));
    }

    /// A node has an answer of PostgreSQL to a commit of its own.
    pub fn knows(&self, node: usize, user: i64, version: i64) {
        self.with_run(node, |run| {
            run.known.insert((user, version));
        });
    }

    /// A node has no answer.
    pub fn doubts(&self, node: usize) {
        self.with_run(node, |run| run.doubts += 1);
    }

    /// A session or a reader asks a node for a balance.
    pub fn asks(&self, node: usize) {
        self.with_run(node, |run| run.questions += 1);
    }

    /// Whether each node that says that it is covered may say so. `rows`: the table of nodes.
    pub fn check_coverage(&self, rows: &[(String, Row)]) {
        let now = self.clock.mono();
        let now_us = now.us();
        let mut found = Vec::new();
        for run in self.lock().runs.iter_mut().flatten() {
            let is_covered = run.seen.coverage.is_covered(now);
            if !is_covered {
                run.uncovered_us += now_us - run.checked_us;
                run.uncovers += u64::from(run.was_covered);
            }
            (run.checked_us, run.was_covered) = (now_us, is_covered);
            if is_covered
                && !run.has_failed
                && let Some(why) = run.why_not_covered(rows, now_us)
            {
                run.has_failed = true;
                found.push(format!(
                    "{} says that it is covered, and {why}",
                    run.seen.boot
                ));
            }
        }
        self.violations(&found);
    }
}
