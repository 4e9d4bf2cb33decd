//! Another session holds users locked: other users go on, and those users lose nothing but time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::domain::{Outcome, Rules};
use crate::ledger::batch::{Keys, Loaded, Plan};
use crate::ledger::errors::StoreError;
use crate::ledger::memory::faulty_store::{MemoryStore, entry};
use crate::ledger::store::{Basis, Patience, Store};
use crate::ledger::writer::{Command, Writer, WriterOptions};
use crate::ledger::{AdminAction, Admission, EntryOutcome, Lane, PostError, Posted, Posting};
use crate::ledger::{PutUser, PutUserOutcome};

/// What another session does.
#[derive(Debug, Default)]
struct Others {
    locked: BTreeSet<i64>,
    /// Whether the database can say which users are locked.
    is_told: bool,
    /// Attempts that waited the usual time for a lock.
    usual_waits: usize,
}

/// A store on whose accounts another session may hold locks.
#[derive(Debug, Clone)]
struct LockedStore {
    inner: MemoryStore,
    others: Arc<Mutex<Others>>,
    patience: Patience,
}

impl Store for LockedStore {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        let mut others = self.others.lock().expect("free");
        let users: Vec<_> = keys
            .users
            .iter()
            .copied()
            .filter(|user| others.locked.contains(&user.get()))
            .collect();
        if users.is_empty() {
            return self.inner.begin(keys, basis);
        }
        others.usual_waits += usize::from(self.patience == Patience::Usual);
        let users = if others.is_told { users } else { Vec::new() };
        Err(StoreError::Locked {
            users,
            reason: "planned".into(),
        })
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        self.inner.write(plan)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.inner.commit()
    }

    fn rollback(&mut self) {
        self.inner.rollback();
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        self.inner.put_user(user)
    }

    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError> {
        self.inner.log_action(action)
    }

    fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    fn try_out(&mut self, is_durable: bool) -> Result<(), StoreError> {
        self.inner.try_out(is_durable)
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        self.inner.reconnect()
    }
}

struct Rig {
    writer: Writer,
    store: LockedStore,
}

fn rig(locked: &[i64], is_told: bool) -> Rig {
    let others = Others {
        locked: locked.iter().copied().collect(),
        is_told,
        usual_waits: 0,
    };
    let inner = MemoryStore::default();
    let store = LockedStore {
        inner,
        others: Arc::new(Mutex::new(others)),
        patience: Patience::Usual,
    };
    let (orphans, _) = mpsc::channel(1);
    let options = WriterOptions {
        clock: Clock::system(),
        rules: Rules { auto_create: true },
        counts: Default::default(),
        standing: Arc::default(),
        orphans,
        feed: None,
    };
    let writer = Writer::start("test".into(), Box::new(store.clone()), options).expect("a thread");
    Rig { writer, store }
}

type Answer = oneshot::Receiver<Posted>;

impl Rig {
    fn post(&self, events: &[(i64, &str)], is_atomic: bool, wait: Duration) -> Answer {
        let (reply, answer) = oneshot::channel();
        let entries = events
            .iter()
            .map(|(user, event)| entry(*user, event, 5))
            .collect();
        let deadline = Clock::system().deadline(wait);
        let permit = Admission::new(10)
            .try_acquire(Lane::Single, 1)
            .expect("room");
        let lane = if is_atomic { Lane::Bulk } else { Lane::Single };
        self.writer.send(Command::Post(Posting {
            entries,
            is_atomic,
            lane,
            deadline,
            permit,
            reply,
        }));
        answer
    }

    fn single(&self, user: i64, event: &str) -> Answer {
        self.post(&[(user, event)], false, Duration::from_secs(60))
    }

    fn release(&self) {
        self.store.others.lock().expect("free").locked.clear();
    }
}

fn versions(answer: Answer) -> Vec<Result<i64, PostError>> {
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

#[test]
fn others_go_on_while_a_user_is_locked_and_wait_for_its_lock_once() {
    for is_told in [true, false] {
        let rig = rig(&[2], is_told);
        let held = rig.store.inner.tables.lock().expect("free");
        let first = rig.single(9, "first");
        let own: Vec<_> = (0..3).map(|n| rig.single(2, &format!("own{n}"))).collect();
        let others: Vec<_> = (10..40)
            .map(|user| rig.single(user, &format!("e{user}")))
            .collect();
        drop(held);
        assert_eq!(versions(first), [Ok(1)]);
        others
            .into_iter()
            .for_each(|answer| assert_eq!(versions(answer), [Ok(1)], "told: {is_told}"));
        // More of the same user, and of others, long after the lock was met.
        for n in 0..20 {
            let later = rig.single(2, &format!("later{n}"));
            assert_eq!(versions(rig.single(50 + n, &format!("other{n}"))), [Ok(1)]);
            drop(later);
        }
        assert!(
            rig.store.others.lock().expect("free").usual_waits <= 2,
            "it is paid again and again"
        );
        rig.release();
        let own: Vec<_> = own.into_iter().flat_map(versions).collect();
        assert_eq!(
            own,
            [Ok(1), Ok(2), Ok(3)],
            "in the order in which they came"
        );
        assert_eq!(versions(rig.single(2, "last")), [Ok(24)]);
        rig.writer.stop();
    }
}

#[test]
fn a_locked_posting_is_given_up_at_its_deadline_and_the_next_one_does_not_wait_for_the_lock() {
    let rig = rig(&[2], true);
    let given_up = rig.post(&[(2, "late")], false, Duration::from_millis(50));
    assert_eq!(versions(given_up), [Err(PostError::Unavailable)]);
    let again = rig.post(&[(2, "late")], false, Duration::from_millis(50));
    assert_eq!(versions(again), [Err(PostError::Unavailable)]);
    assert_eq!(rig.store.others.lock().expect("free").usual_waits, 1);
    rig.release();
    assert_eq!(versions(rig.single(2, "late")), [Ok(1)]);
    rig.writer.stop();
}

#[test]
fn an_atomic_batch_with_a_locked_user_makes_no_other_posting_wait() {
    for is_told in [true, false] {
        let rig = rig(&[2], is_told);
        let batch = rig.post(
            &[(1, "a"), (2, "b"), (3, "c")],
            true,
            Duration::from_secs(60),
        );
        assert_eq!(versions(rig.single(1, "alone")), [Ok(1)], "told: {is_told}");
        rig.release();
        assert_eq!(versions(batch), [Ok(2), Ok(1), Ok(1)]);
        rig.writer.stop();
    }
}

#[test]
fn all_postings_are_committed_after_every_user_was_locked() {
    let all_users: Vec<i64> = (1..=600).collect();
    let rig = rig(&all_users, false);
    let answers: Vec<_> = all_users
        .iter()
        .map(|user| rig.single(*user, &format!("e{user}")))
        .collect();
    rig.release();
    answers
        .into_iter()
        .for_each(|answer| assert_eq!(versions(answer), [Ok(1)]));
    rig.writer.stop();
}

#[test]
fn stopping_waits_for_locked_postings_and_aborting_gives_them_up() {
    let rig = rig(&[2], true);
    let answer = rig.single(2, "held");
    let begin = Instant::now();
    rig.writer.abort();
    rig.writer.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "before its deadline"
    );
    assert_eq!(versions(answer), [Err(PostError::Unavailable)]);
}
