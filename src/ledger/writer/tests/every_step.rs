//! Every step of a writer's input and output fails in turn, in every way it can, alone and with every later one; over
//! the store in memory and over SQLite.
//!
//! After each stage of a [`Scenario`] every posting must have got one answer, and the tables must hold exactly what was
//! answered *accepted*: once, with the version and the balances of the answer. What got no final answer is sent
//! again. In the end everything is sent once more, which must change nothing, and the tables must hold what the
//! scenario leaves behind.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::failing_store::{Failure, Step, Steps};
use super::scenario::{self, Scenario, Sending};
use super::tables::{Stored, Tables};
use super::*;
use crate::domain::NewEntry;
use crate::ledger::Orphan;

/// Runs at once: they mostly wait for a writer that waits before it tries again.
const RUNS_AT_ONCE: usize = 16;
/// How often a posting without a final answer is sent again; each time takes a failure.
const RESENDINGS_MAX: usize = 4;
/// When a posting is given up: never, or the steps would depend on how long the machine stands still.
const DEADLINE: Duration = Duration::from_secs(365 * 86_400);

#[test]
fn one_failure_at_any_step_loses_doubles_and_invents_nothing_in_memory() {
    exhaust(Tables::in_memory, &scenario::everything(), 1);
}

#[test]
fn one_failure_at_any_step_loses_doubles_and_invents_nothing_on_sqlite() {
    exhaust(Tables::on_sqlite, &scenario::everything(), 1);
}

#[test]
fn two_failures_at_any_steps_lose_double_and_invent_nothing_in_memory() {
    exhaust(Tables::in_memory, &scenario::the_least(), 2);
}

#[test]
fn two_failures_at_any_steps_lose_double_and_invent_nothing_on_sqlite() {
    exhaust(Tables::on_sqlite, &scenario::the_least(), 2);
}

/// Runs a scenario with every plan of up to so many failures. A run tells its steps, and a further failure may meet any
/// of those that follow the last one.
fn exhaust(tables: fn() -> Tables, scenario: &Scenario, failures_max: usize) {
    let mut plans: Vec<Vec<Failure>> = vec![Vec::new()];
    for failures in 0..=failures_max {
        let traces = each_at_once(&plans, |plan| Run::of(tables(), plan.clone()).all(scenario));
        println!("{} runs with {failures} failures, all sound", plans.len());
        let can_commit_later = matches!(tables(), Tables::Memory(_));
        plans = plans
            .iter()
            .zip(traces)
            .flat_map(|(plan, trace)| one_more(plan, &trace, can_commit_later))
            .collect();
        assert!(plans.len() > 50, "the steps are counted");
    }
}

fn one_more(plan: &[Failure], trace: &[Step], can_commit_later: bool) -> Vec<Vec<Failure>> {
    let first = plan.last().map_or(0, |last| last.at + 1);
    let steps = trace.iter().enumerate().skip(first);
    let failures = steps.flat_map(|(at, step)| Failure::every(at, *step, can_commit_later));
    failures
        .map(|failure| [plan, &[failure]].concat())
        .collect()
}

fn each_at_once<T: Sync, R: Send>(items: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..RUNS_AT_ONCE {
            scope.spawn(|| {
                while let index = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(item) = items.get(index)
                {
                    let result = run(item);
                    results
                        .lock()
                        .expect("no panic holds it")
                        .insert(index, result);
                }
            });
        }
    });
    results
        .into_inner()
        .expect("no panic holds it")
        .into_values()
        .collect()
}

/// One run of a scenario with planned failures.
struct Run {
    tables: Tables,
    plan: Vec<Failure>,
    steps: Steps,
    writer: Writer,
    clock: Clock,
    orphans: mpsc::Receiver<Orphan>,
    /// What was answered *accepted* so far: the version and the balance after it, by event id.
    accepted: BTreeMap<String, (i64, i64)>,
}

impl Run {
    fn of(tables: Tables, plan: Vec<Failure>) -> Self {
        let (store, steps) = tables.failing(plan.clone());
        let (orphans, unheard) = mpsc::channel(16);
        let clock = Clock::system();
        let rules = Rules { auto_create: true };
        let options = WriterOptions {
            clock,
            rules,
            counts: Default::default(),
            standing: Arc::default(),
            orphans,
            feed: None,
        };
        let writer = Writer::start("test".into(), Box::new(store), options).expect("a thread");
        Self {
            tables,
            plan,
            steps,
            writer,
            clock,
            orphans: unheard,
            accepted: BTreeMap::new(),
        }
    }

    /// Sends every stage until it is settled, then everything once more. Answers the steps that it took.
    fn all(mut self, scenario: &Scenario) -> Vec<Step> {
        for stage in &scenario.stages {
            let mut open = stage.clone();
            for _ in 0..=RESENDINGS_MAX {
                open = self.send(&open);
                if open.is_empty() {
                    break;
                }
            }
            assert!(open.is_empty(), "{:?}: never settled: {open:?}", self.plan);
        }
        let trace = self.steps.so_far();
        let planned = self.plan.last().map_or(0, |last| last.at + 1);
        assert!(
            planned <= trace.len(),
            "{:?}: not every failure was met",
            self.plan
        );
        self.assert_ends_as_expected(scenario);
        let before = self.tables.stored();
        for stage in &scenario.stages {
            assert_eq!(self.send(stage).len(), 0, "{:?}", self.plan);
        }
        assert_eq!(
            self.tables.stored(),
            before,
            "{:?}: sending again changes nothing",
            self.plan
        );
        self.writer.stop();
        assert!(
            self.orphans.try_recv().is_err(),
            "{:?}: every answer had a receiver",
            self.plan
        );
        trace
    }

    /// Sends these, the first one ahead of the others, and checks the answers. Answers those that need sending again.
    fn send(&mut self, sendings: &[Sending]) -> Vec<Sending> {
        self.steps.close();
        let mut answers = Vec::new();
        for (index, sending) in sendings.iter().enumerate() {
            let deadline = self.clock.deadline(DEADLINE);
            let (posting, answer) = sending.posting(deadline, permit());
            self.writer.send(Command::Post(posting));
            answers.push(answer);
            if index == 0 {
                self.steps.await_arrival();
            }
        }
        self.steps.open();
        let answers: Vec<Posted> = answers
            .into_iter()
            .map(|answer| answer.blocking_recv().expect("every posting is answered"))
            .collect();
        let stored = self.tables.stored();
        for posted in &answers {
            self.note_accepted(posted);
        }
        answers
            .iter()
            .for_each(|posted| self.check(posted, &stored));
        self.assert_sound(&stored);
        let is_open = |posted: &Posted| {
            posted
                .outcomes
                .iter()
                .any(|o| matches!(o, EntryOutcome::Failed(_)))
        };
        sendings
            .iter()
            .zip(answers)
            .filter(|(_, posted)| is_open(posted))
            .map(|(sent, _)| sent.clone())
            .collect()
    }

    fn note_accepted(&mut self, posted: &Posted) {
        assert_eq!(
            posted.entries.len(),
            posted.outcomes.len(),
            "{:?}",
            self.plan
        );
        for (entry, outcome) in posted.entries.iter().zip(&posted.outcomes) {
            if let EntryOutcome::Decided {
                outcome:
                    Outcome::Accepted {
                        version,
                        balances,
                        applied,
                    },
                ..
            } = outcome
            {
                let told = (*version, balances.get(applied.currency).minor());
                let earlier = self.accepted.insert(entry.event_id.to_string(), told);
                assert_eq!(
                    earlier, None,
                    "{:?}: {} was accepted twice",
                    self.plan, entry.event_id
                );
            }
        }
    }

    /// An answer says what is stored.
    fn check(&self, posted: &Posted, stored: &BTreeMap<String, Stored>) {
        for (entry, outcome) in posted.entries.iter().zip(&posted.outcomes) {
            let found = stored.get(entry.event_id.as_str());
            let EntryOutcome::Decided { outcome, .. } = outcome else {
                continue;
            };
            let holds = match outcome {
                Outcome::Accepted { version, .. } => {
                    found.is_some_and(|found| is_same(found, entry, *version))
                }
                Outcome::Duplicate(first) => stored
                    .values()
                    .any(|found| is_same(found, entry, first.version)),
                Outcome::Conflict(_) => found.is_some_and(|found| found.minor != minor(entry)),
                Outcome::InsufficientFunds { available, .. } => {
                    found.is_none() && available.minor() + minor(entry) < 0
                }
                _ => false,
            };
            assert!(
                holds,
                "{:?}: {} was answered {outcome:?}, stored is {found:?}",
                self.plan, entry.event_id
            );
        }
    }

    /// Exactly what was accepted is stored (so nothing refused is), and each user's versions and balances add up.
    fn assert_sound(&self, stored: &BTreeMap<String, Stored>) {
        let told: Vec<_> = self
            .accepted
            .iter()
            .map(|(event, (version, _))| (event, *version))
            .collect();
        let kept: Vec<_> = stored
            .iter()
            .map(|(event, found)| (event, found.version))
            .collect();
        assert_eq!(
            kept, told,
            "{:?}: stored and accepted are the same",
            self.plan
        );
        for user in scenario::users() {
            let mut of_user: Vec<_> = stored
                .iter()
                .filter(|(_, found)| found.user == user.get())
                .collect();
            of_user.sort_by_key(|(_, found)| found.version);
            let mut sum = 0;
            for (number, (event, found)) in (1..).zip(of_user) {
                sum += found.minor;
                let (version, balance) = self.accepted[event];
                assert_eq!(
                    (version, balance),
                    (number, sum),
                    "{:?}: {event} of user {user}",
                    self.plan
                );
            }
            let kept = self.tables.kept_balance(user);
            assert!(
                kept.is_none_or(|kept| kept == sum),
                "{:?}: user {user} has {kept:?}, not {sum}",
                self.plan
            );
        }
    }

    fn assert_ends_as_expected(&self, scenario: &Scenario) {
        let stored = self.tables.stored();
        let amounts: BTreeMap<String, i64> = stored
            .iter()
            .map(|(event, found)| (event.clone(), found.minor))
            .collect();
        assert_eq!(amounts, scenario.stored, "{:?}", self.plan);
        for (user, expected) in &scenario.balances {
            let sum: i64 = stored
                .values()
                .filter(|found| found.user == *user)
                .map(|found| found.minor)
                .sum();
            assert_eq!(sum, *expected, "{:?}: user {user}", self.plan);
        }
        assert_eq!(
            self.tables.audited(),
            Vec::<String>::new(),
            "{:?}",
            self.plan
        );
    }
}

fn is_same(found: &Stored, entry: &NewEntry, version: i64) -> bool {
    *found
        == Stored {
            user: entry.user_id.get(),
            version,
            minor: minor(entry),
        }
}

fn minor(entry: &NewEntry) -> i64 {
    let (_, amount) = entry.change.plain().expect("no reversal");
    amount.minor()
}
