//! What a writer does now and since when, for those who watch it from other threads: a COMMIT has no bound of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Mono};
use crate::ledger::admin_log::AdminAction;
use crate::ledger::batch::{Keys, Loaded, Plan};
use crate::ledger::errors::StoreError;
use crate::ledger::store::{Basis, Patience, Store};
use crate::ledger::{PutUser, PutUserOutcome};

/// What a writer waits for the database to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open a connection.
    Connect,
    /// Begin a transaction and read what it is to be decided on.
    Begin,
    /// Write what was decided.
    Write,
    /// Commit.
    Commit,
    /// Roll back.
    Rollback,
    /// Make a user, or log an administrator's order.
    Order,
    /// Try whether entries could be written.
    Trial,
}

impl Step {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Begin,
        Self::Write,
        Self::Commit,
        Self::Rollback,
        Self::Order,
        Self::Trial,
    ];

    /// Its name in the metrics and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Begin => "begin",
            Self::Write => "write",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::Order => "order",
            Self::Trial => "trial",
        }
    }
}

/// The step of one writer. Its thread writes it, others read it.
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    /// Zero while there is none; else the time of its beginning in microseconds, times eight, and its number.
    under_way: AtomicU64,
}

impl Watch {
    pub(super) const fn new(clock: Clock) -> Self {
        Self {
            clock,
            under_way: AtomicU64::new(0),
        }
    }

    fn begins(&self, step: Step) {
        let number = (step as u64) + 1;
        let packed = (self.clock.mono().us() << 3) | number;
        self.under_way.store(packed, Ordering::Relaxed);
    }

    fn ends(&self) {
        self.under_way.store(0, Ordering::Relaxed);
    }

    /// The step that is under way, and when it began.
    pub fn under_way(&self) -> Option<(Step, Mono)> {
        let packed = self.under_way.load(Ordering::Relaxed);
        let number = usize::try_from(packed & 7).ok()?.checked_sub(1)?;
        Some((*Step::ALL.get(number)?, Mono::from_us(packed >> 3)))
    }

    /// The step that is under way, and for how long.
    pub fn age(&self) -> Option<(Step, Duration)> {
        let (step, begun) = self.under_way()?;
        let age_us = self.clock.mono().us_since(begun);
        Some((step, Duration::from_micros(age_us)))
    }
}

const _: () = assert!(Step::ALL.len() < 8, "a number has three bits");

/// A store whose steps are watched.
pub(super) struct Watched {
    pub(super) store: Box<dyn Store>,
    pub(super) watch: Arc<Watch>,
}

impl Watched {
    fn during<T>(&mut self, step: Step, act: impl FnOnce(&mut dyn Store) -> T) -> T {
        self.watch.begins(step);
        let done = act(&mut *self.store);
        self.watch.ends();
        done
    }
}

impl Store for Watched {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        self.during(Step::Begin, |store| store.begin(keys, basis))
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        self.during(Step::Write, |store| store.write(plan))
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.during(Step::Commit, |store| store.commit())
    }

    fn rollback(&mut self) {
        self.during(Step::Rollback, |store| store.rollback());
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        self.during(Step::Order, |store| store.put_user(user))
    }

    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError> {
        self.during(Step::Order, |store| store.log_action(action))
    }

    fn bulk_beside(&self, singles: usize) -> usize {
        self.store.bulk_beside(singles)
    }

    fn set_patience(&mut self, patience: Patience) {
        self.store.set_patience(patience);
    }

    fn try_out(&mut self, is_durable: bool) -> Result<(), StoreError> {
        self.during(Step::Trial, |store| store.try_out(is_durable))
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        self.during(Step::Connect, |store| store.reconnect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_seen_under_its_name_while_it_is_under_way() {
        let watch = Watch::new(Clock::system());
        for step in Step::ALL {
            assert_eq!(watch.under_way(), None);
            watch.begins(step);
            assert_eq!(watch.under_way().map(|(step, _)| step), Some(step));
            assert!(
                watch
                    .age()
                    .is_some_and(|(_, age)| age < Duration::from_secs(3600))
            );
            watch.ends();
        }
        let names: std::collections::HashSet<_> = Step::ALL.map(Step::name).into();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
