use proptest::prelude::*;

use super::*;
use crate::clock::Wall;
use crate::domain::{Balances, Kind};

fn at(us: u64) -> Moment {
    Moment {
        mono: Mono::from_us(us),
        wall: Wall::from_us(0).plus_us(us),
    }
}

fn state(version: i64) -> Account {
    Account {
        exists: true,
        version,
        balances: Balances::zero(2),
    }
}

/// One change, as the model keeps it.
#[derive(Debug, Clone)]
struct Change {
    version: i64,
    at: Moment,
    mode: Mode,
    source: Source,
}

/// What the rule says, worked out from a list of all changes and what each session was sent.
#[derive(Debug, Default)]
struct Model {
    base: i64,
    version: i64,
    seen: Vec<i64>,
    changes: Vec<Change>,
}

impl Model {
    fn settle(&mut self) {
        if let Some(least) = self.seen.iter().min() {
            self.base = self.base.max(*least);
        }
    }

    fn pending(&self) -> impl Iterator<Item = &Change> {
        self.changes
            .iter()
            .filter(|change| change.version > self.base)
    }

    fn waiting(&self) -> Option<Waiting> {
        self.pending()
            .map(|change| Waiting::of(change.at, change.mode))
            .reduce(Waiting::and)
    }

    fn sources(&self) -> Vec<Source> {
        let mut sources: Vec<Source> = Vec::new();
        for change in self.pending() {
            if !sources.contains(&change.source) {
                sources.push(change.source.clone());
            }
        }
        sources
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit {
        is_direct: bool,
        kind: usize,
    },
    /// A `balance` for one session.
    Show(usize),
    Attach,
    Leave(usize),
    Push,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<bool>(), 0..Kind::ALL.len()).prop_map(|(is_direct, kind)| Step::Commit { is_direct, kind }),
        3 => (0usize..4).prop_map(Step::Show),
        1 => Just(Step::Attach),
        1 => (0usize..4).prop_map(Step::Leave),
        1 => Just(Step::Push),
    ];
    prop::collection::vec(step, 1..80)
}

/// Does a step to both; gives what a push summed up.
fn take(step: &Step, now: Moment, model: &mut Model, pending: &mut Pending) -> Option<Sum> {
    match step {
        Step::Commit { is_direct, kind } => {
            model.version += 1;
            let mode = if *is_direct {
                Mode::Direct
            } else {
                Mode::Paced
            };
            let source = Source::from(Kind::ALL[*kind]);
            pending.note(model.version, mode, now, &source);
            model.changes.push(Change {
                version: model.version,
                at: now,
                mode,
                source,
            });
        }
        Step::Show(index) => {
            if let Some(seen) = model.seen.get_mut(*index) {
                *seen = model.version;
            }
        }
        Step::Attach => model.seen.push(model.version),
        Step::Leave(index) if *index < model.seen.len() => _ = model.seen.remove(*index),
        Step::Leave(_) => {}
        Step::Push => {
            let sum = pending.pushed(&state(model.version), now.mono);
            model.seen.fill(model.version);
            return sum;
        }
    }
    pending.settle(&state(model.version), &model.seen);
    None
}

proptest! {
    /// Whatever the sessions are shown, what waits and what a push sums up are the changes behind the newest state that
    /// every session has been sent, and no more is kept than a stretch for each session.
    #[test]
    fn what_every_session_has_been_sent_is_not_pending(steps in steps()) {
        let mut pending = Pending::since(None);
        pending.ensure_base(&state(0));
        let mut model = Model::default();
        for (second, step) in (1..).zip(&steps) {
            let before = (model.base, model.waiting(), model.sources());
            let sum = take(step, at(second * 1_000_000), &mut model, &mut pending);
            if matches!(step, Step::Push) {
                let expected = before.1.map(|waiting| Sum {
                    before: state(before.0),
                    waiting,
                    sources: before.2.into_iter().collect(),
                });
                prop_assert_eq!(sum, expected);
                model.base = model.version;
            }
            model.settle();
            prop_assert_eq!(pending.waiting(), model.waiting());
            prop_assert_eq!(pending.entries(model.version), model.version - model.base);
            prop_assert!(pending.stretches.len() <= model.seen.len());
        }
    }
}

#[test]
fn a_change_that_is_heard_of_late_belongs_to_the_state_that_was_shown() {
    let mut pending = Pending::since(None);
    pending.ensure_base(&state(0));
    // A read finds versions 1 and 2; one of two sessions is shown them before the commit of 1 is heard of.
    pending.note_read(2, at(10), at(12));
    pending.settle(&state(2), &[2, 0]);
    pending.note(1, Mode::Direct, at(5), &Source::from(Kind::Deposit));
    assert_eq!(
        pending.waiting().and_then(|all| all.first_direct),
        Some(at(5))
    );
    pending.settle(&state(2), &[2, 2]);
    pending.note(2, Mode::Direct, at(6), &Source::from(Kind::Deposit));
    assert_eq!(pending.waiting(), None);
}

#[test]
fn the_requests_of_a_push_are_those_of_what_it_tells() {
    let id = |number: i64| RequestId::parse(&format!("{number:032x}"));
    let ids = |pending: &Pending| pending.requests();
    let note = |pending: &mut Pending, version| {
        pending.note(version, Mode::Paced, at(1), &Kind::Reward.into());
        pending.note_request(version, id(version));
    };
    let mut pending = Pending::since(None);
    pending.ensure_base(&state(1));
    for version in 1..=3 {
        note(&mut pending, version);
    }
    pending.note_request(3, None);
    assert_eq!(ids(&pending), [id(2), id(3)].map(|id| id.expect("an id")));
    // One session has been sent version 2 by a read, the other one follows.
    pending.settle(&state(2), &[2, 1]);
    pending.settle(&state(3), &[2, 2]);
    assert_eq!(ids(&pending), [id(3).expect("an id")]);
    pending.pushed(&state(3), at(2).mono);
    assert_eq!(ids(&pending), []);
    for version in 4..=100 {
        note(&mut pending, version);
    }
    assert_eq!(ids(&pending).len(), REQUESTS_MAX);
    pending.settle(&state(100), &[100]);
    assert_eq!(ids(&pending), []);
}
