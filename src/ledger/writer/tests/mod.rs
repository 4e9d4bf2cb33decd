//! How transactions fail, and what the senders are told: single cases here, a failure of each step in turn in
//! [`every_step`], what is told of entries and of ledgers at fault in [`narrowing`], users and administrators' orders in
//! [`orders`].

mod every_step;
mod failing_store;
mod narrowing;
mod orders;
mod scenario;
mod tables;

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::domain::{EventId, Outcome, UserId};
use crate::ledger::memory::faulty_store::{Fault, MemoryStore, entry};
use crate::ledger::store::Basis;
use crate::ledger::{Admission, EntryOutcome, Orphan, Permit, UserCommit};
use crate::limits::{BULK_BEFORE_SINGLES, BULK_BESIDE_SINGLES, READS_AFTER_SURPRISE};
use crate::telemetry::counters::Counters;

struct Rig {
    writer: Writer,
    store: MemoryStore,
    clock: Clock,
    counters: Arc<Counters>,
    orphans: mpsc::Receiver<Orphan>,
}

/// A writer that begins with the first posting sent while it is held by a closed gate: see [`Rig::hold`].
fn rig(faults: &[Fault]) -> Rig {
    rig_at(Clock::system(), faults)
}

fn rig_at(clock: Clock, faults: &[Fault]) -> Rig {
    let store = MemoryStore::default();
    store.tables.lock().expect("free").faults.extend(faults);
    rig_of(clock, store)
}

fn rig_of(clock: Clock, store: MemoryStore) -> Rig {
    rig_that_tells(clock, store, None)
}

fn rig_that_tells(clock: Clock, store: MemoryStore, feed: Option<Arc<dyn Feed>>) -> Rig {
    let (orphans, unheard) = mpsc::channel(16);
    let rules = Rules { auto_create: true };
    let counters = Arc::<Counters>::default();
    let options = WriterOptions {
        clock,
        rules,
        counts: Arc::new(LedgerCounts::new(counters.clone())),
        standing: Arc::default(),
        orphans,
        feed,
    };
    let writer = Writer::start("test".into(), Box::new(store.clone()), options).expect("a thread");
    Rig {
        writer,
        store,
        clock,
        counters,
        orphans: unheard,
    }
}

fn permit() -> Permit {
    Admission::new(10_000)
        .try_acquire(Lane::Single, 1)
        .expect("room")
}

impl Rig {
    fn post(&self, lane: Lane, events: &[&str], wait: Duration) -> oneshot::Receiver<Posted> {
        let (reply, answer) = oneshot::channel();
        let entries = events.iter().map(|event| entry(1, event, 5)).collect();
        let deadline = self.clock.deadline(wait);
        let posting = Posting {
            entries,
            is_atomic: false,
            lane,
            deadline,
            permit: permit(),
            reply,
        };
        self.writer.send(Command::Post(posting));
        answer
    }

    fn single(&self, event: &str) -> oneshot::Receiver<Posted> {
        self.post(Lane::Single, &[event], Duration::from_secs(60))
    }

    /// Keeps the writer from its next transaction while the guard lives, so that what is sent meanwhile queues.
    fn hold(&self) -> std::sync::MutexGuard<'_, crate::ledger::memory::faulty_store::Shared> {
        self.store.tables.lock().expect("free")
    }
}

fn outcomes(answer: oneshot::Receiver<Posted>) -> Vec<Result<i64, PostError>> {
    let one = |outcome| match outcome {
        EntryOutcome::Decided {
            outcome: Outcome::Accepted { version, .. },
            ..
        } => Ok(version),
        EntryOutcome::Failed(error) => Err(error),
        other => panic!("not accepted: {other:?}"),
    };
    answer
        .blocking_recv()
        .expect("every posting is answered")
        .outcomes
        .into_iter()
        .map(one)
        .collect()
}

fn version(answer: oneshot::Receiver<Posted>) -> Result<i64, PostError> {
    outcomes(answer)[0]
}

#[test]
fn a_clock_that_was_wrong_once_does_not_stay_in_the_entries() {
    static WALL_US: AtomicI64 = AtomicI64::new(0);
    const DAY_US: i64 = 86_400_000_000;
    let rig = rig_at(Clock::set_by(&WALL_US), &[]);
    let committed_at = |event: &str, wall_us| {
        WALL_US.store(wall_us, Ordering::Relaxed);
        let posted = rig.single(event).blocking_recv().expect("answered");
        match posted.outcomes[..] {
            [
                EntryOutcome::Decided {
                    committed_at_us, ..
                },
            ] => committed_at_us,
            ref other => panic!("not decided: {other:?}"),
        }
    };
    let now = 20_000 * DAY_US;
    for (event, wall_us, expected) in [
        ("right", now, now),
        ("a day ahead", now + DAY_US, now + DAY_US),
        ("right again", now + 1, now + 1),
        ("a second back", now - 1_000_000, now + 1),
    ] {
        assert_eq!(committed_at(event, wall_us), expected, "{event}");
    }
    rig.writer.stop();
}

/// What a feed is told, in order.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<Note>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    Begins(Mono),
    Committed(usize),
    Doubtful,
    Told(Mono),
}

impl Notes {
    fn note(&self, note: Note) {
        self.0.lock().expect("no panic holds it").push(note);
    }
}

impl Feed for Notes {
    fn begins(&self, at: Mono) {
        self.note(Note::Begins(at));
    }

    fn told(&self, since: Mono) {
        self.note(Note::Told(since));
    }

    fn committed(&self, commits: Vec<UserCommit>) {
        self.note(Note::Committed(commits.len()));
    }

    fn doubtful(&self, _: Vec<UserId>) {
        self.note(Note::Doubtful);
    }
}

/// Others may see a commit as soon as its COMMIT begins, whatever becomes of its answer.
#[test]
fn from_the_first_commit_on_until_it_is_told_a_feed_knows_that_something_may_be_untold() {
    for faults in [
        &[][..],
        &[Fault::LostAfterCommit],
        &[Fault::LostBeforeCommit, Fault::LostAfterCommit],
        &[Fault::LostWhileCommitting, Fault::LostAtBegin],
    ] {
        let (store, notes) = (MemoryStore::default(), Arc::<Notes>::default());
        store.tables.lock().expect("free").faults.extend(faults);
        let rig = rig_that_tells(Clock::system(), store, Some(notes.clone()));
        assert_eq!(version(rig.single("e")), Ok(1));
        assert!(rig.writer.stop());
        let notes = notes.0.lock().expect("no panic holds it").clone();
        let [Note::Begins(at), Note::Committed(1), Note::Told(since)] = notes[..] else {
            panic!("{faults:?}: {notes:?}");
        };
        assert_eq!(at, since);
    }
}

#[test]
fn postings_that_queue_during_a_transaction_go_together_single_ones_first() {
    let rig = rig(&[]);
    let held = rig.hold();
    let first = rig.single("first");
    let bulk = rig.post(Lane::Bulk, &["b1", "b2"], Duration::from_secs(60));
    let singles = [rig.single("s1"), rig.single("s2")];
    drop(held);
    assert_eq!(version(first), Ok(1));
    singles
        .into_iter()
        .chain([bulk])
        .for_each(|answer| assert!(version(answer).is_ok()));
    rig.writer.stop();
    let log = rig.store.tables.lock().expect("free").log.concat();
    let place = |event: &str| log.iter().position(|logged| logged == event).expect(event);
    assert!(
        place("s1") < place("s2") && place("s2") < place("b1") && place("b1") < place("b2"),
        "{log:?}"
    );
    assert!(
        rig.store.tables.lock().expect("free").commits <= 2,
        "group commit"
    );
}

#[test]
fn few_entries_of_batches_go_beside_a_single_one() {
    let rig = rig(&[]);
    let held = rig.hold();
    let first = rig.single("first");
    let names: Vec<String> = (0..200).map(|n| format!("b{n}")).collect();
    let bulk: Vec<_> = names
        .iter()
        .map(|name| rig.post(Lane::Bulk, &[name], Duration::from_secs(60)))
        .collect();
    let single = rig.single("single");
    drop(held);
    [first, single]
        .into_iter()
        .chain(bulk)
        .for_each(|answer| assert!(version(answer).is_ok()));
    rig.writer.stop();
    let log = rig.store.tables.lock().expect("free").log.clone();
    let beside = log
        .iter()
        .find(|commit| commit.iter().any(|event| event == "single"))
        .expect("it is committed");
    let of_batches = beside.iter().filter(|event| event.starts_with('b')).count();
    assert_eq!(of_batches, BULK_BESIDE_SINGLES.0, "{log:?}");
}

#[test]
fn single_entries_have_transactions_of_their_own_where_the_store_wants_it() {
    let rig = rig_of(Clock::system(), MemoryStore::keeping_singles_apart());
    let held = rig.hold();
    let mut answers = vec![rig.single("s0")];
    for n in 1..50 {
        let bulk = format!("b{n}");
        answers.push(rig.post(Lane::Bulk, &[&bulk], Duration::from_secs(60)));
        answers.push(rig.single(&format!("s{n}")));
    }
    drop(held);
    answers
        .into_iter()
        .for_each(|answer| assert!(version(answer).is_ok()));
    rig.writer.stop();
    let log = rig.store.tables.lock().expect("free").log.clone();
    for commit in &log {
        let singles = commit.iter().filter(|event| event.starts_with('s')).count();
        assert!(singles == 0 || singles == commit.len(), "{log:?}");
    }
    assert_eq!(log.concat().len(), 99, "{log:?}");
}

#[test]
fn as_many_entries_of_batches_go_beside_single_ones_within_bounds() {
    let store = MemoryStore::default();
    let (min, max) = BULK_BESIDE_SINGLES;
    assert_eq!(
        [1, min + 1, max + 1].map(|singles| store.bulk_beside(singles)),
        [min, min + 1, max]
    );
}

#[test]
fn few_entries_of_batches_go_together_while_single_ones_are_expected() {
    // On a machine that stalls in between, singles are no longer expected; then it is tried again.
    for _ in 0..50 {
        let rig = rig(&[]);
        let held = rig.hold();
        let begun = rig.clock.mono();
        let single = rig.single("single");
        let names: Vec<String> = (0..200).map(|n| format!("b{n}")).collect();
        let bulk: Vec<_> = names
            .iter()
            .map(|name| rig.post(Lane::Bulk, &[name], Duration::from_secs(60)))
            .collect();
        drop(held);
        [single]
            .into_iter()
            .chain(bulk)
            .for_each(|answer| assert!(version(answer).is_ok()));
        let took_us = rig.clock.mono().us_since(begun);
        rig.writer.stop();
        if took_us < SINGLES_LATELY_MS * 1000 {
            let log = rig.store.tables.lock().expect("free").log.clone();
            let largest = log
                .iter()
                .filter(|commit| commit.iter().all(|event| event != "single"))
                .map(Vec::len)
                .max();
            assert_eq!(largest, Some(BULK_BEFORE_SINGLES), "{log:?}");
            return;
        }
    }
    panic!("fifty times it took too long");
}

#[test]
fn senders_are_not_told_of_failures_that_pass() {
    for fault in [
        Fault::LostAtBegin,
        Fault::FailedAtWrite,
        Fault::RacedAtWrite,
        Fault::LostBeforeCommit,
    ] {
        let rig = rig(&[fault, fault]);
        assert_eq!(version(rig.single("e")), Ok(1), "{fault:?}");
        assert_eq!(
            rig.store.tables.lock().expect("free").commits,
            1,
            "{fault:?}"
        );
        rig.writer.stop();
    }
}

#[test]
fn a_commit_whose_answer_was_lost_is_accepted_once_and_is_no_duplicate() {
    let rig = rig(&[Fault::LostAfterCommit, Fault::LostAtBegin]);
    assert_eq!(version(rig.single("e")), Ok(1));
    assert_eq!(rig.store.tables.lock().expect("free").commits, 1);
    rig.writer.stop();
}

#[test]
fn a_commit_that_is_carried_out_late_is_recognised() {
    // A new user has no row to lock, so the first look-up finds nothing.
    let rig = rig(&[Fault::LostWhileCommitting]);
    assert_eq!(version(rig.single("e")), Ok(1));
    assert_eq!(rig.store.tables.lock().expect("free").commits, 1);
    rig.writer.stop();
}

#[test]
fn a_refused_entry_fails_alone_and_the_order_is_kept() {
    let rig = rig(&[]);
    rig.store.tables.lock().expect("free").poisoned = EventId::parse("e5").ok();
    let held = rig.hold();
    let answers: Vec<_> = (0..10).map(|n| rig.single(&format!("e{n}"))).collect();
    drop(held);
    let told: Vec<_> = answers.into_iter().map(version).collect();
    let expected: Vec<_> = (0..10)
        .map(|n| {
            if n == 5 {
                Err(PostError::Refused)
            } else {
                Ok(n + 1 - i64::from(n > 5))
            }
        })
        .collect();
    assert_eq!(told, expected);
    rig.writer.stop();
}

#[test]
fn a_refused_entry_fails_alone_inside_its_posting() {
    let rig = rig(&[]);
    rig.store.tables.lock().expect("free").poisoned = EventId::parse("b").ok();
    let held = rig.hold();
    let other = rig.single("x");
    let several = rig.post(Lane::Single, &["a", "b", "c", "d"], Duration::from_secs(60));
    drop(held);
    assert_eq!(version(other), Ok(1));
    assert_eq!(
        outcomes(several),
        [Ok(2), Err(PostError::Refused), Ok(3), Ok(4)]
    );
    rig.writer.stop();
}

#[test]
fn a_posting_past_its_deadline_is_given_up_and_never_runs() {
    let rig = rig(&[Fault::LostAtBegin; 40]);
    let answer = rig.post(Lane::Single, &["late"], Duration::ZERO);
    assert_eq!(version(answer), Err(PostError::Unavailable));
    let trying = rig.post(Lane::Single, &["tried"], Duration::from_millis(50));
    assert_eq!(version(trying), Err(PostError::Unavailable));
    rig.writer.stop();
    assert_eq!(rig.store.tables.lock().expect("free").commits, 0);
}

#[test]
fn a_commit_without_a_receiver_becomes_an_orphan() {
    let mut rig = rig(&[]);
    drop(rig.single("e"));
    let orphan = rig.orphans.blocking_recv().expect("told");
    assert_eq!(orphan.entries[0].event_id.as_str(), "e");
    assert!(matches!(orphan.outcomes[0], EntryOutcome::Decided { .. }));
    rig.writer.stop();
}

#[test]
fn stopping_finishes_what_is_queued_and_refuses_what_comes_later() {
    let rig = rig(&[]);
    let held = rig.hold();
    let answers: Vec<_> = (0..20).map(|n| rig.single(&format!("e{n}"))).collect();
    drop(held);
    rig.writer.stop();
    answers
        .into_iter()
        .for_each(|answer| assert!(version(answer).is_ok()));
    assert_eq!(version(rig.single("later")), Err(PostError::ShuttingDown));
}

#[test]
fn aborting_gives_up_a_database_that_stays_away() {
    let rig = rig(&[Fault::LostAtBegin; 1000]);
    let answer = rig.single("e");
    rig.writer.abort();
    rig.writer.stop();
    assert_eq!(version(answer), Err(PostError::Unavailable));
}

#[test]
fn a_posting_longer_than_the_room_beside_singles_goes_alone_and_undivided() {
    let batch = |count: usize, is_atomic: bool| {
        let (reply, _) = oneshot::channel();
        let entries = (0..count).map(|n| entry(1, &format!("e{n}"), 1)).collect();
        let deadline = Clock::system().deadline(Duration::from_secs(60));
        Posting {
            entries,
            is_atomic,
            lane: Lane::Bulk,
            deadline,
            permit: permit(),
            reply,
        }
    };
    for (length, is_atomic) in [(3000, true), (256, false)] {
        let mut lane = VecDeque::from([batch(length, is_atomic), batch(10, false)]);
        let (mut taken, mut count) = (Vec::new(), 100);
        fill(&mut taken, &mut count, &mut lane, 164);
        assert_eq!((taken.len(), count, lane.len()), (1, 100 + length, 1));
    }
}

#[test]
fn everything_is_looked_up_for_a_while_after_a_known_event_id() {
    let rig = rig(&[]);
    let bases = |from: usize| rig.hold().bases[from..].to_vec();
    assert_eq!(version(rig.single("a")), Ok(1));
    assert_eq!(version(rig.single("b")), Ok(2));
    assert_eq!(bases(0), [Basis::Expected; 2]);
    let again = rig.single("a").blocking_recv().expect("answered").outcomes;
    assert!(
        matches!(&again[..], [EntryOutcome::Decided { outcome: Outcome::Duplicate(first), .. }] if first.version == 1)
    );
    assert_eq!(bases(2), [Basis::Expected, Basis::Read]);
    for number in 1..READS_AFTER_SURPRISE {
        assert_eq!(
            version(rig.single(&format!("c{number}"))),
            Ok(2 + i64::from(number))
        );
    }
    assert!(bases(4).iter().all(|basis| *basis == Basis::Read));
    assert!(version(rig.single("d")).is_ok());
    assert_eq!(rig.hold().bases.last(), Some(&Basis::Expected));
}

#[test]
fn a_known_entry_is_a_duplicate_even_when_the_database_would_refuse_it_now() {
    let rig = rig(&[]);
    assert_eq!(version(rig.single("a")), Ok(1));
    rig.hold().poisoned = Some(EventId::parse("a").expect("an id"));
    let again = rig.single("a").blocking_recv().expect("answered").outcomes;
    assert!(
        matches!(&again[..], [EntryOutcome::Decided { outcome: Outcome::Duplicate(first), .. }] if first.version == 1),
        "{again:?}"
    );
    assert_eq!(
        rig.hold().bases,
        [Basis::Expected, Basis::Expected, Basis::Read]
    );
    assert_eq!(version(rig.single("b")), Ok(2));
    assert_eq!(
        rig.hold().bases.last(),
        Some(&Basis::Expected),
        "the next transaction looks nothing up again"
    );
}

#[test]
fn a_refusal_is_decided_on_what_was_read() {
    let rig = rig(&[]);
    let withdraw = |event: &str, minor| {
        let (reply, answer) = oneshot::channel();
        let (entries, deadline) = (
            vec![entry(1, event, minor)],
            rig.clock.deadline(Duration::from_secs(60)),
        );
        let posting = Posting {
            entries,
            is_atomic: false,
            lane: Lane::Single,
            deadline,
            permit: permit(),
            reply,
        };
        rig.writer.send(Command::Post(posting));
        answer.blocking_recv().expect("answered").outcomes.remove(0)
    };
    assert_eq!(version(rig.single("a")), Ok(1));
    let decided = |outcome| match outcome {
        EntryOutcome::Decided { outcome, .. } => outcome,
        other => panic!("not decided: {other:?}"),
    };
    assert!(matches!(
        decided(withdraw("w", -5)),
        Outcome::Accepted { version: 2, .. }
    ));
    // By its account alone it would be refused.
    assert!(matches!(decided(withdraw("w", -5)), Outcome::Duplicate(first) if first.version == 2));
    assert!(matches!(
        decided(withdraw("x", -5)),
        Outcome::InsufficientFunds { .. }
    ));
}
