//! Reads of accounts, together: all that have queued become one statement.
//!
//! Each asker puts its user on a list and queues a job like any other read. The first of these jobs to run reads for all
//! that are on the list by then; the others find it empty. So a lone read costs what it did, and a storm of them becomes a
//! few statements. Bounded by `limits::READ_QUEUE_MAX`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::clock::Deadline;
use crate::domain::{Account, Currencies, UserId};
use crate::ledger::reads;
use crate::ledger::{LedgerError, Pending};
use crate::limits::{ACCOUNTS_AT_ONCE_MAX, READ_QUEUE_MAX};

use super::Readers;

/// An account that is asked for.
#[derive(Debug)]
struct Asker {
    user_id: UserId,
    deadline: Deadline,
    reply: oneshot::Sender<Result<Account, LedgerError>>,
}

impl Asker {
    fn still_waits(&self) -> bool {
        !self.reply.is_closed() && !self.deadline.has_passed()
    }
}

/// Those whose read has not begun.
#[derive(Debug, Default, Clone)]
pub(super) struct Askers(Arc<Mutex<Vec<Asker>>>);

impl Askers {
    fn lock(&self) -> MutexGuard<'_, Vec<Asker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses when too many wait.
    fn add(&self, asker: Asker) -> Result<(), LedgerError> {
        let mut askers = self.lock();
        if askers.len() >= READ_QUEUE_MAX {
            askers.retain(Asker::still_waits);
        }
        if askers.len() >= READ_QUEUE_MAX {
            return Err(LedgerError::Overloaded);
        }
        askers.push(asker);
        Ok(())
    }

    /// As many as fit into one statement, oldest first, without those that no longer wait.
    fn take(&self) -> Vec<Asker> {
        let mut askers = self.lock();
        let count = askers.len().min(ACCOUNTS_AT_ONCE_MAX);
        let mut taken: Vec<Asker> = askers.drain(..count).collect();
        drop(askers);
        taken.retain(Asker::still_waits);
        taken
    }
}

impl Readers {
    /// Queues the read of one account, to be made with others. The future ends in `Unavailable` at the latest when
    /// `database.timeout_ms` is over.
    pub(in crate::ledger) fn account(
        &self,
        user_id: UserId,
        currencies: &Currencies,
    ) -> Pending<Account> {
        let (reply, answer) = oneshot::channel();
        let deadline = self.deadline();
        let asker = Asker {
            user_id,
            deadline,
            reply,
        };
        let (askers, currencies) = (self.askers.clone(), currencies.clone());
        let (counts, standing) = (self.counts.clone(), self.standing.clone());
        let job = move |pool: &super::Pool| {
            let taken = askers.take();
            let Some(latest) = taken.iter().map(|asker| asker.deadline).max() else {
                return;
            };
            let users: Vec<UserId> = taken.iter().map(|asker| asker.user_id).collect();
            let read = super::run(pool, &counts, &standing, latest, |connection| {
                reads::accounts(connection, &users, &currencies)
            });
            match read {
                Ok(accounts) => {
                    for (asker, account) in taken.into_iter().zip(accounts) {
                        if account.is_err() {
                            counts.failed_as("unfit");
                        }
                        // It may have gone meanwhile.
                        let _ = asker.reply.send(account);
                    }
                }
                Err(error) => {
                    for asker in taken {
                        let _ = asker.reply.send(Err(error.clone()));
                    }
                }
            }
        };
        // A job that does not fit leaves its asker on the list, which notices that it does not wait.
        let queued = self
            .askers
            .add(asker)
            .and_then(|()| self.send(&self.asked, Box::new(job)));
        self.answer(queued, deadline, answer)
    }
}
