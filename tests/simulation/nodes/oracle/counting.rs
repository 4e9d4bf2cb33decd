//! What nodes count and show to administrators, and how often they ask PostgreSQL, against what was done to them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use balance_coordinator::clock::Wall;
use balance_coordinator::cluster::view::ClusterView;
use balance_coordinator::telemetry::cluster::GAP_REASONS;

use super::coverage::Run;
use super::faults::ROUND_US;
use super::{NodesOracle, SILENCE_US};
use crate::nodes::NODES;
use crate::nodes::plan::{Theme, partition_of};

/// After a start, each node has heard of the others, and is covered.
const START_US: u64 = 4_000_000;

impl NodesOracle {
    /// After calm: what each node has counted. `dropped`: messages with commits that were lost on their way to each.
    pub fn check_counts(&self, dropped: [u64; NODES]) {
        let sessions: [u64; NODES] = std::array::from_fn(|node| self.open_at(node));
        let now = self.clock.now();
        let mut found = Vec::new();
        {
            let inner = &mut *self.lock();
            let boots = inner.runs.iter().flatten();
            let boots: Vec<String> = boots.map(|run| run.seen.boot.clone()).collect();
            for (node, run) in inner.runs.iter().enumerate() {
                let Some(run) = run else {
                    found.push(format!("node {node} does not run after calm"));
                    continue;
                };
                let mut check = |holds: bool, what: &str| {
                    if !holds {
                        found.push(format!("{}: {what}", run.seen.boot));
                    }
                };
                self.check_statements(run, &mut check);
                self.check_gaps(run, dropped[node], &mut check);
                check_view(run, now.wall, &mut check);
                let view = run.seen.view.borrow().clone();
                check_others(&view, &boots, &sessions, (node, now.wall), &mut check);
                let hits = run.seen.counters.cache_hits.get();
                *inner.counts.entry("answers from memory").or_default() += hits;
                let healed = run.seen.counters.cluster.healed.get();
                *inner.counts.entry("healed").or_default() += healed;
            }
        }
        self.violations(&found);
    }

    /// No storm: a node compares versions when something is missing, or a round is due.
    fn check_statements(&self, run: &Run, check: &mut impl FnMut(bool, &str)) {
        let statements = &run.seen.statements;
        let versions = statements.versions.load(Ordering::Relaxed);
        let missed = statements.missed.load(Ordering::Relaxed);
        let accounts = statements.accounts.load(Ordering::Relaxed);
        let partitions = self
            .plan
            .users
            .iter()
            .map(|user| partition_of(*user).index());
        let partitions = partitions.collect::<BTreeSet<_>>().len() as u64;
        let lived_us = self.now_us() - run.started_us;
        let rounds = run.uncovered_us / ROUND_US + lived_us / self.plan.check_us + 2;
        let gaps: u64 = GAP_REASONS.iter().map(|reason| gaps(run, reason)).sum();
        let most = partitions * (rounds + run.uncovers) + gaps + run.doubts;
        check(
            versions <= most,
            &format!("{versions} comparisons of versions, at most {most} are due"),
        );
        let has_faults = self.plan.theme != Theme::None;
        check(
            has_faults || run.seen.counters.cluster.healed.get() == 0,
            "something was healed, and nothing was wrong",
        );
        // A read may be faster than the message of what it finds.
        check(
            has_faults || missed <= run.questions,
            &format!(
                "{missed} looks for what was missed, {} questions",
                run.questions
            ),
        );
        check(
            has_faults || accounts <= run.questions,
            &format!("{accounts} reads for {} questions", run.questions),
        );
    }

    fn check_gaps(&self, run: &Run, dropped: u64, check: &mut impl FnMut(bool, &str)) {
        let theme = self.plan.theme;
        let missing = gaps(run, "sequence") + gaps(run, "beat");
        let reasons = GAP_REASONS.map(|reason| (reason, gaps(run, reason)));
        let all: u64 = reasons.iter().map(|(_, count)| count).sum();
        // What a node commits before it is connected for the first time is missing at the others.
        let of_new_runs = match theme {
            Theme::Leaves => missing + gaps(run, "new_boot"),
            _ => 0,
        };
        check(
            !theme.loses_nothing() || all == 1 + of_new_runs,
            &format!("gaps: {reasons:?}, and nothing was missing"),
        );
        check(
            theme != Theme::Lost || missing <= dropped && (missing > 0) == (dropped > 0),
            &format!("{missing} gaps, and {dropped} messages were lost"),
        );
        check(
            !theme.keeps_covered() || run.uncovers == 0,
            &format!("{} times not covered, and all beats came", run.uncovers),
        );
        check(
            run.started_us > 0 || !theme.keeps_covered() || run.uncovered_us < START_US,
            &format!("not covered for {} us", run.uncovered_us),
        );
    }
}

fn gaps(run: &Run, reason: &str) -> u64 {
    let gaps = &run.seen.counters.cluster.gaps;
    gaps.with_label_values(&[reason]).get()
}

fn check_view(run: &Run, now: Wall, check: &mut impl FnMut(bool, &str)) {
    let shown = &run.seen.counters.cluster;
    let gauges = (
        shown.covered.get(),
        shown.connected.get(),
        shown.nodes.get(),
    );
    let is_well = gauges == (1, 1, NODES as i64);
    check(
        is_well,
        &format!("covered, connected, nodes after calm: {gauges:?} at {now:?}"),
    );
}

/// What administrators see of the other nodes.
fn check_others(
    view: &ClusterView,
    boots: &[String],
    sessions: &[u64; NODES],
    (node, now): (usize, Wall),
    check: &mut impl FnMut(bool, &str),
) {
    let mut others: Vec<_> = boots.iter().zip(sessions).collect();
    if others.len() == NODES {
        others.remove(node);
    }
    let shown = view.nodes.iter();
    let shown: Vec<_> = shown
        .map(|other| (other.boot.as_str().to_owned(), other.sessions))
        .collect();
    let expected = others
        .iter()
        .map(|(boot, count)| ((*boot).clone(), **count));
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    check(
        view.is_covered && view.is_connected && shown == expected,
        &format!("{view:?} is shown, and the others and their sessions are {expected:?}"),
    );
    let is_heard = view.nodes.iter().all(|other| {
        let heard_us = other.heard_at.map(|at| now.us_since(at));
        other.has_bus && heard_us.is_some_and(|us| us < SILENCE_US)
    });
    check(
        is_heard,
        &format!("{view:?} is shown, and all others are heard"),
    );
}
