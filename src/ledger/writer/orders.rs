//! What a writer does beside posting: it makes and links users, and logs the orders of administrators.
//!
//! Each is a transaction of its own. One is carried out between two transactions of entries, so that however many there
//! are, no entry waits for more than one; and only so many wait themselves.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::ledger::LedgerError;
use crate::ledger::admin_log::AdminAction;
use crate::ledger::store::{PutUser, PutUserOutcome, Store, StoreError};
use crate::limits::{ORDERS_MAX, RACES_MAX};

use super::State;

type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

/// Something to do that is no posting, and who waits for it.
#[derive(Debug)]
pub enum Order {
    /// Make or link a user.
    PutUser(PutUser, Reply<PutUserOutcome>),
    /// Log an order of an administrator.
    LogAction(AdminAction, Reply<()>),
}

impl Order {
    /// Answers that it was not carried out.
    pub(super) fn refuse(self, error: LedgerError) {
        // Nobody may be waiting any more; then there is nobody to tell.
        match self {
            Self::PutUser(_, reply) => drop(reply.send(Err(error))),
            Self::LogAction(_, reply) => drop(reply.send(Err(error))),
        }
    }

    fn is_awaited(&self) -> bool {
        match self {
            Self::PutUser(_, reply) => !reply.is_closed(),
            Self::LogAction(_, reply) => !reply.is_closed(),
        }
    }
}

/// Those that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Orders(VecDeque<Order>);

impl Orders {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one more, or refuses it.
    pub(super) fn push(&mut self, order: Order) {
        if self.0.len() < ORDERS_MAX { self.0.push_back(order) } else { order.refuse(LedgerError::Overloaded) }
    }

    /// Answers all that the ledger can't be written now.
    pub(super) fn refuse_all(&mut self) {
        self.0.drain(..).for_each(|order| order.refuse(LedgerError::Unavailable("it can't be written".into())));
    }

    /// The next one that somebody still waits for.
    fn pop(&mut self) -> Option<Order> {
        loop {
            let next = self.0.pop_front()?;
            if next.is_awaited() {
                return Some(next);
            }
        }
    }
}

impl State {
    /// Carries out the next order, if there is one.
    pub(super) fn carry_out_order(&mut self) {
        // Whoever hung up need not hear it.
        match self.orders.pop() {
            Some(Order::PutUser(user, reply)) => drop(reply.send(self.patiently(|store| store.put_user(user)))),
            Some(Order::LogAction(action, reply)) => {
                drop(reply.send(self.patiently(|store| store.log_action(&action))));
            }
            None => {}
        }
    }

    /// Does what is safe to repeat, again where that helps at once.
    fn patiently<T>(&mut self, act: impl Fn(&mut dyn Store) -> Result<T, StoreError>) -> Result<T, LedgerError> {
        let mut outcome = act(self.store.as_mut());
        for _ in 0..RACES_MAX {
            if let Err(error) = &outcome {
                self.options.counts.failed(error);
            }
            match outcome {
                Err(StoreError::Raced(_)) => {}
                Err(StoreError::Lost(_)) if self.store.reconnect().is_ok() => {}
                _ => break,
            }
            outcome = act(self.store.as_mut());
        }
        outcome.map_err(|error| LedgerError::Unavailable(error.to_string()))
    }
}
