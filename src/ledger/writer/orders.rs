//! What a writer does besides posting: it makes and links users, logs administrators' orders, and tries whether entries
//! could be written.
//!
//! Each is a separate transaction. One is carried out between two transactions of entries, so an entry never waits for
//! more than one, however many there are. How many may wait is bounded ([`ORDERS_MAX`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::ledger::LedgerError;
use crate::ledger::admin_log::AdminAction;
use crate::ledger::errors::StoreError;
use crate::ledger::store::Store;
use crate::ledger::{PutUser, PutUserOutcome};
use crate::limits::{ORDERS_MAX, RACES_MAX};

use super::{Command, State, Writer};

type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// Something to do that is no posting, and where its answer goes.
#[derive(Debug)]
pub enum Order {
    /// Make or link a user.
    PutUser(PutUser, Reply<PutUserOutcome>),
    /// Log an order of an administrator.
    LogAction(AdminAction, Reply<()>),
    /// Say whether entries could be written now.
    TryOut(Reply<()>),
}

impl Order {
    /// Answers that it was not carried out.
    fn refuse(self, error: LedgerError) {
        // The receiver may be gone.
        match self {
            Self::PutUser(_, reply) => drop(reply.send(Err(error))),
            Self::LogAction(_, reply) | Self::TryOut(reply) => drop(reply.send(Err(error))),
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::PutUser(_, reply) => !reply.is_closed(),
            Self::LogAction(_, reply) | Self::TryOut(reply) => !reply.is_closed(),
        }
    }
}

/// An order that waits, with its place.
#[derive(Debug)]
pub struct Waiting {
    order: Order,
    _place: OwnedSemaphorePermit,
}

impl Waiting {
    /// Answers that it was not carried out.
    pub(super) fn refuse(self, error: LedgerError) {
        self.order.refuse(error);
    }
}

/// The places of one writer.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ORDERS_MAX))
}

impl Writer {
    /// Queues an order, or refuses it where [`ORDERS_MAX`] are waiting.
    pub fn order(&self, order: Order) {
        match self.places.clone().try_acquire_owned() {
            Ok(place) => self.send(Command::Order(Waiting {
                order,
                _place: place,
            })),
            Err(_) => order.refuse(LedgerError::Overloaded),
        }
    }
}

/// The orders that the writer has taken from its queue.
#[derive(Debug, Default)]
pub(super) struct Orders {
    queue: VecDeque<Waiting>,
    /// Answered together.
    trials: Vec<Waiting>,
}

impl Orders {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.trials.is_empty()
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        match waiting.order {
            Order::TryOut(_) => self.trials.push(waiting),
            _ => self.queue.push_back(waiting),
        }
    }

    /// Answers all but trials that the ledger can't be written now.
    pub(super) fn refuse_all(&mut self) {
        self.queue
            .drain(..)
            .for_each(|waiting| waiting.refuse(away()));
    }

    /// The next order whose answer is still awaited.
    fn pop(&mut self) -> Option<Order> {
        loop {
            let Waiting { order, .. } = self.queue.pop_front()?;
            if order.is_awaited() {
                return Some(order);
            }
        }
    }
}

impl State {
    /// Carries out the next order, if there is one.
    pub(super) fn carry_out_order(&mut self) {
        if self.is_aborting.load(Ordering::Relaxed) {
            self.orders.refuse_all();
        }
        // The receiver may be gone.
        match self.orders.pop() {
            Some(Order::PutUser(user, reply)) => {
                drop(reply.send(self.patiently(|store| store.put_user(user))))
            }
            Some(Order::LogAction(action, reply)) => {
                drop(reply.send(self.patiently(|store| store.log_action(&action))));
            }
            Some(Order::TryOut(reply)) => drop(reply.send(Err(away()))),
            None => {}
        }
    }

    /// Answers whether entries could be written, all that ask at once. `has_committed`: some were, since they asked.
    pub(super) fn carry_out_trials(&mut self, has_committed: bool) {
        if self.orders.trials.is_empty() {
            return;
        }
        let is_away = self.outage.is_some();
        // In an outage, what waits is tried soon, and shows more.
        let are_waiting = !self.single.is_empty() || !self.bulk.is_empty();
        let outcome = if has_committed {
            Ok(())
        } else if is_away && are_waiting {
            Err(away())
        } else {
            self.patiently(|store| store.try_out(is_away))
        };
        for Waiting { order, .. } in self.orders.trials.drain(..) {
            if let Order::TryOut(reply) = order {
                // The receiver may be gone.
                let _ = reply.send(outcome.clone());
            }
        }
    }

    /// Does something that is safe to repeat, and repeats it where that helps at once.
    fn patiently<T>(
        &mut self,
        act: impl Fn(&mut dyn Store) -> Result<T, StoreError>,
    ) -> Result<T, LedgerError> {
        if self.outage.is_some() {
            // The next attempt meets the same error.
            let _ = self.reconnect();
        }
        let mut outcome = act(self.store.as_mut());
        for _ in 0..RACES_MAX {
            if let Err(error) = &outcome {
                self.count_failure(error, true);
            }
            match &outcome {
                Err(StoreError::Raced(_)) => {}
                Err(StoreError::Lost(_) | StoreError::Away(_) | StoreError::Failed(_))
                    if self.is_proven && self.reconnect().is_ok() => {}
                _ => break,
            }
            outcome = act(self.store.as_mut());
        }
        match &outcome {
            Ok(_) => self.succeeded(),
            Err(
                StoreError::Lost(reason) | StoreError::Away(reason) | StoreError::Failed(reason),
            ) => {
                self.suspend(reason);
            }
            Err(_) => {}
        }
        outcome.map_err(|error| LedgerError::Unavailable(error.to_string()))
    }
}

fn away() -> LedgerError {
    LedgerError::Unavailable("it can't be written".into())
}
