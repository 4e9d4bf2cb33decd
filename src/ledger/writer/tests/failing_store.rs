//! A store whose N-th step fails: it wraps a real one and counts and records every step of input or output.

use std::sync::{Arc, Condvar, Mutex};

use crate::ledger::AdminAction;
use crate::ledger::batch::{Keys, Loaded, Plan};
use crate::ledger::errors::StoreError;
use crate::ledger::store::{Basis, Store};
use crate::ledger::{PutUser, PutUserOutcome};

/// What the writer does with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Begin,
    Write,
    Commit,
    Rollback,
    Reconnect,
}

/// Whether the step that fails was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    /// It was not, and never will be.
    No,
    /// It was; only the answer is lost.
    Out,
    /// A COMMIT that is carried out after its answer was given up: when the same keys are written again.
    Later,
}

/// What the error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Lost,
    Away,
    Failed,
    Raced,
    TimedOut,
    Refused,
}

impl Says {
    /// What a step can fail with.
    const fn each(step: Step) -> &'static [Self] {
        match step {
            Step::Begin => &[Self::Lost, Self::Away, Self::Failed, Self::Raced],
            Step::Write => &[
                Self::Lost,
                Self::Failed,
                Self::Raced,
                Self::TimedOut,
                Self::Refused,
            ],
            Step::Commit => &[Self::Lost, Self::Failed, Self::Refused],
            Step::Rollback | Step::Reconnect => &[Self::Lost],
        }
    }

    fn error(self) -> StoreError {
        let reason = "planned".to_owned();
        match self {
            Self::Lost => StoreError::Lost(reason),
            Self::Away => StoreError::Away(reason),
            Self::Failed => StoreError::Failed(reason),
            Self::TimedOut => StoreError::TimedOut(reason),
            Self::Raced => StoreError::Raced(reason),
            Self::Refused => StoreError::Refused(reason),
        }
    }
}

/// A failure of the `at`-th step, counted from 0, which has to be a `step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub at: usize,
    pub step: Step,
    pub carried: Carried,
    pub says: Says,
}

impl Failure {
    /// Every way in which this step can fail. Only a database at the other end of a connection commits later.
    pub(super) fn every(at: usize, step: Step, can_commit_later: bool) -> Vec<Self> {
        let carried: &[Carried] = match step {
            Step::Commit if can_commit_later => &[Carried::No, Carried::Out, Carried::Later],
            // It answers nothing: a store that can't roll back throws its connection away.
            Step::Rollback => &[Carried::No],
            _ => &[Carried::No, Carried::Out],
        };
        let ways = carried
            .iter()
            .flat_map(|carried| Says::each(step).iter().map(|says| (*carried, *says)));
        ways.map(|(carried, says)| Self {
            at,
            step,
            carried,
            says,
        })
        .collect()
    }
}

/// What the test and the writer's thread share.
#[derive(Debug, Default)]
struct Shared {
    steps: Mutex<Vec<Step>>,
    gate: Mutex<Gate>,
    turned: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    /// The next `begin` waits.
    is_closed: bool,
    /// One does so now.
    has_arrived: bool,
    /// The store is gone, and the writer's thread with it: no `begin` will come.
    is_left: bool,
}

/// The test's end of a [`FailingStore`].
#[derive(Debug, Clone)]
pub(super) struct Steps(Arc<Shared>);

impl Steps {
    /// The next `begin` waits for [`Steps::open`].
    pub(super) fn close(&self) {
        let mut gate = self.0.gate.lock().expect("no panic holds it");
        (gate.is_closed, gate.has_arrived) = (true, false);
    }

    /// Waits until a `begin` waits. Without a time-out: the machine may stall meanwhile.
    pub(super) fn await_arrival(&self) {
        let gate = self.0.gate.lock().expect("no panic holds it");
        let waited = self
            .0
            .turned
            .wait_while(gate, |gate| !gate.has_arrived && !gate.is_left);
        let has_arrived = waited.expect("no panic holds it").has_arrived;
        assert!(has_arrived, "the writer has ended: did it panic?");
    }

    /// Lets it go on.
    pub(super) fn open(&self) {
        self.0.gate.lock().expect("no panic holds it").is_closed = false;
        self.0.turned.notify_all();
    }

    /// Every step so far.
    pub(super) fn so_far(&self) -> Vec<Step> {
        self.0.steps.lock().expect("no panic holds it").clone()
    }
}

/// A store that fails as planned.
pub(super) struct FailingStore {
    inner: Box<dyn Store>,
    plan: Vec<Failure>,
    shared: Arc<Shared>,
    /// Makes the next COMMIT of `inner` one that is carried out later.
    commit_later: Box<dyn Fn() + Send>,
    /// A lost connection: until the writer reconnects, nothing works.
    is_gone: bool,
}

impl FailingStore {
    pub(super) fn new(
        inner: Box<dyn Store>,
        plan: Vec<Failure>,
        commit_later: impl Fn() + Send + 'static,
    ) -> (Self, Steps) {
        let shared = Arc::<Shared>::default();
        let steps = Steps(shared.clone());
        (
            Self {
                inner,
                plan,
                shared,
                commit_later: Box::new(commit_later),
                is_gone: false,
            },
            steps,
        )
    }

    /// Counts a step, and says how it has to fail.
    fn count(&self, step: Step) -> Option<Failure> {
        let mut steps = self.shared.steps.lock().expect("no panic holds it");
        let failure = self
            .plan
            .iter()
            .find(|failure| failure.at == steps.len())
            .copied();
        steps.push(step);
        if let Some(failure) = failure {
            assert_eq!(
                failure.step, step,
                "the same scenario takes the same steps: {:?}",
                self.plan
            );
        }
        failure
    }

    /// A step that answers: carried out or not, and failing or not.
    fn step<T>(
        &mut self,
        step: Step,
        carry_out: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let failure = self.count(step);
        if self.is_gone {
            return Err(StoreError::Lost("the writer has not reconnected".into()));
        }
        let Some(Failure { carried, says, .. }) = failure else {
            return carry_out(&mut *self.inner);
        };
        if carried == Carried::Later {
            (self.commit_later)();
        }
        if carried != Carried::No {
            let answer = carry_out(&mut *self.inner);
            assert!(
                answer.is_ok() || carried == Carried::Later || step == Step::Write,
                "{step:?} works by itself"
            );
        }
        self.is_gone = says == Says::Lost;
        Err(says.error())
    }

    fn wait_at_the_gate(&self) {
        let mut gate = self.shared.gate.lock().expect("no panic holds it");
        gate.has_arrived = true;
        self.shared.turned.notify_all();
        drop(
            self.shared
                .turned
                .wait_while(gate, |gate| gate.is_closed)
                .expect("no panic holds it"),
        );
    }
}

impl Drop for FailingStore {
    fn drop(&mut self) {
        self.shared.gate.lock().expect("no panic holds it").is_left = true;
        self.shared.turned.notify_all();
    }
}

impl Store for FailingStore {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        self.wait_at_the_gate();
        self.step(Step::Begin, |store| store.begin(keys, basis))
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        self.step(Step::Write, |store| store.write(plan))
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.step(Step::Commit, |store| store.commit())
    }

    fn rollback(&mut self) {
        if self.count(Step::Rollback).is_some() {
            self.inner
                .reconnect()
                .expect("a connection is there to be had");
        } else {
            self.inner.rollback();
        }
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        self.inner.put_user(user)
    }

    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError> {
        self.inner.log_action(action)
    }

    fn try_out(&mut self, is_durable: bool) -> Result<(), StoreError> {
        if self.is_gone {
            return Err(StoreError::Lost("the writer has not reconnected".into()));
        }
        self.inner.try_out(is_durable)
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        let failure = self.count(Step::Reconnect);
        if failure.is_none_or(|failure| failure.carried != Carried::No) {
            self.inner.reconnect()?;
        }
        self.is_gone = failure.is_some();
        failure.map_or(Ok(()), |failure| Err(failure.says.error()))
    }
}
