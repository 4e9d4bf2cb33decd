//! Reads of accounts, together: all that have queued become one statement.
//!
//! Each asker puts its user on a list and queues a job like any other read. The first of these jobs to run reads for all
//! that are on the list by then; the others find it empty. So a lone read costs what it did, and a storm of them becomes a
//! few statements. Bounded by `limits::READ_QUEUE_MAX`.
//!
//! On PostgreSQL a statement costs as much as the rows of many users. So there, once several reads have come together, the next
//! ones are given time to come together too: the more there were, the longer, up to [`GATHER_US_MAX`]. A lone read never waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::{Clock, Deadline, Mono};
use crate::domain::{Account, Currencies, UserId};
use crate::ledger::reads;
use crate::ledger::{LedgerCounts, LedgerError, Pending, Standing};
use crate::limits::{ACCOUNTS_AT_ONCE_MAX, READ_QUEUE_MAX};

use super::Readers;

/// How long the next reads are waited for, for each one of the last group, in microseconds.
const GATHER_US_EACH: u64 = 1_000;

/// The longest such wait, in microseconds.
const GATHER_US_MAX: u64 = 10_000;

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
#[derive(Debug, Default)]
struct List {
    askers: Vec<Asker>,
    /// When the last group was taken, and how many it was.
    taken: Option<(Mono, usize)>,
    /// A thread waits for more of them, and takes all that come meanwhile.
    is_gathering: bool,
}

impl List {
    /// How long more of them are waited for.
    fn wait(&self, now: Mono) -> Duration {
        let due = match self.taken {
            Some((at, count)) if count > 1 => {
                at.plus_us((count as u64 * GATHER_US_EACH).min(GATHER_US_MAX))
            }
            _ => now,
        };
        Duration::from_micros(due.us_since(now))
    }
}

/// The list, shared with the jobs.
#[derive(Debug, Clone)]
pub(super) struct Askers {
    list: Arc<Mutex<List>>,
    clock: Clock,
    /// Whether a statement is dear enough to wait for more of them.
    gathers: bool,
}

impl Askers {
    pub(super) fn new(clock: Clock, gathers: bool) -> Self {
        Self {
            list: Arc::default(),
            clock,
            gathers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses when too many wait.
    fn add(&self, asker: Asker) -> Result<(), LedgerError> {
        let askers = &mut self.lock().askers;
        if askers.len() >= READ_QUEUE_MAX {
            askers.retain(Asker::still_waits);
        }
        if askers.len() >= READ_QUEUE_MAX {
            return Err(LedgerError::Overloaded);
        }
        askers.push(asker);
        Ok(())
    }

    /// As many as fit into one statement, oldest first, without those that no longer wait, and whether there are more. Empty
    /// when there are none, or when another thread is about to take them.
    fn take(&self) -> (Vec<Asker>, bool) {
        let mut list = self.lock();
        if list.askers.is_empty() || list.is_gathering {
            return (Vec::new(), false);
        }
        let wait = list.wait(self.clock.mono());
        if self.gathers && !wait.is_zero() {
            list.is_gathering = true;
            drop(list);
            std::thread::sleep(wait);
            list = self.lock();
            list.is_gathering = false;
        }
        let count = list.askers.len().min(ACCOUNTS_AT_ONCE_MAX);
        let mut taken: Vec<Asker> = list.askers.drain(..count).collect();
        list.taken = Some((self.clock.mono(), count));
        let has_more = !list.askers.is_empty();
        drop(list);
        taken.retain(Asker::still_waits);
        (taken, has_more)
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
        let job = move |pool: &super::Pool| loop {
            let (taken, has_more) = askers.take();
            read_together(pool, &counts, &standing, &currencies, taken);
            // The jobs of the rest may have come while this one gathered, and left theirs to it.
            if !has_more {
                return;
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

/// Reads the accounts of all of them by one statement, and answers each.
fn read_together(
    pool: &super::Pool,
    counts: &LedgerCounts,
    standing: &Standing,
    currencies: &Currencies,
    askers: Vec<Asker>,
) {
    let Some(latest) = askers.iter().map(|asker| asker.deadline).max() else {
        return;
    };
    let users: Vec<UserId> = askers.iter().map(|asker| asker.user_id).collect();
    let read = super::run(pool, counts, standing, latest, |connection| {
        reads::accounts(connection, &users, currencies)
    });
    match read {
        Ok(accounts) => {
            for (asker, account) in askers.into_iter().zip(accounts) {
                if account.is_err() {
                    counts.failed_as("unfit");
                }
                // It may have gone meanwhile.
                let _ = asker.reply.send(account);
            }
        }
        Err(error) => {
            for asker in askers {
                let _ = asker.reply.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(
        askers: &Askers,
        count: i64,
    ) -> Vec<oneshot::Receiver<Result<Account, LedgerError>>> {
        let one = |id: i64| {
            let (reply, answer) = oneshot::channel();
            let deadline = askers.clock.deadline(Duration::from_secs(60));
            let user_id = UserId::new(id).expect("an id");
            let asker = Asker {
                user_id,
                deadline,
                reply,
            };
            askers.add(asker).expect("there is room");
            answer
        };
        (1..=count).map(one).collect()
    }

    #[test]
    fn a_lone_read_never_waits_and_a_storm_does_up_to_a_bound() {
        let now = Clock::system().mono().plus_us(1_000_000);
        let wait = |taken| {
            List {
                taken,
                ..List::default()
            }
            .wait(now)
        };
        assert_eq!(wait(None), Duration::ZERO);
        assert_eq!(wait(Some((now, 1))), Duration::ZERO);
        assert_eq!(wait(Some((now, 4))), Duration::from_millis(4));
        assert_eq!(wait(Some((now, 1000))), Duration::from_millis(10));
        // The time since then counts.
        assert_eq!(
            wait(Some((now.minus_us(3_400), 4))),
            Duration::from_micros(600)
        );
        assert_eq!(wait(Some((now.minus_us(4_000), 4))), Duration::ZERO);
    }

    #[test]
    fn none_is_left_behind_by_a_thread_that_gathers() {
        let askers = Askers::new(Clock::system(), true);
        askers.lock().is_gathering = true;
        let _answers = list_of(&askers, 3);
        assert!(askers.take().0.is_empty(), "the other thread takes them");
        askers.lock().is_gathering = false;
        let more = ACCOUNTS_AT_ONCE_MAX as i64;
        let _more = list_of(&askers, more);
        let (taken, has_more) = askers.take();
        assert_eq!((taken.len(), has_more), (ACCOUNTS_AT_ONCE_MAX, true));
        let (taken, has_more) = askers.take();
        assert_eq!((taken.len(), has_more), (3, false));
    }

    #[test]
    fn those_that_gave_up_are_not_read() {
        let askers = Askers::new(Clock::system(), true);
        let mut answers = list_of(&askers, 2);
        answers.remove(0);
        let (taken, _) = askers.take();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].user_id.get(), 2);
    }
}
