//! What large requests may take of the service at once, so that a deposit never waits for more than a part of one.
//!
//! Reading and answering ten thousand entries takes many milliseconds, so that is done on threads for blocking work, for a
//! few requests at a time.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::problem::{Code, Problem};
use crate::ledger::PostError;
use crate::limits::BATCHES_AT_WORK_MAX;
use crate::telemetry::requests;

/// The turns that large requests take.
#[derive(Debug)]
pub(in crate::http) struct Bulk {
    work: Arc<Semaphore>,
}

impl Default for Bulk {
    fn default() -> Self {
        Self {
            work: Arc::new(Semaphore::new(BATCHES_AT_WORK_MAX)),
        }
    }
}

async fn turn(turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    // The semaphore is never closed.
    turns
        .clone()
        .acquire_owned()
        .await
        .map_err(|_| PostError::Unavailable.into())
}

impl Bulk {
    /// Reads a batch: on the calling thread when it `is_short`, else on a thread for blocking work, in its turn. Nothing of it
    /// is accepted yet, so it is refused when it was not read within `patience`, the wait for its turn included.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        is_short: bool,
        patience: Duration,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if is_short {
            return work();
        }
        let reading = async { aside(turn(&self.work).await?, work).await };
        let late = |_| {
            Problem::new(
                Code::Overloaded,
                "the batch could not be read in time; send the request again",
            )
        };
        tokio::time::timeout(patience, reading)
            .await
            .map_err(late)?
    }

    /// Writes the answer to a batch, likewise. Its entries are decided, so it waits for its turn as long as that takes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        is_short: bool,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if is_short {
            return work();
        }
        aside(turn(&self.work).await?, work).await
    }
}

/// Works on a thread for blocking work. The turn lasts as long as the work, even when the request is given up meanwhile.
async fn aside<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let work = requests::carried(work);
    let working = web::block(move || {
        let done = work();
        drop(turn);
        done
    });
    // An error is a panic of the work.
    working.await.map_err(|_| PostError::Unavailable)?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn one_at_a_time() -> Bulk {
        Bulk {
            work: Arc::new(Semaphore::new(1)),
        }
    }

    #[actix_web::test]
    async fn short_work_runs_on_the_calling_thread_and_long_work_on_another() {
        let (bulk, here) = (Bulk::default(), thread::current().id());
        let place = || Ok(thread::current().id());
        assert_eq!(
            bulk.read(true, Duration::ZERO, place).await.ok(),
            Some(here)
        );
        assert!(
            bulk.read(false, Duration::from_secs(60), place)
                .await
                .is_ok_and(|there| there != here)
        );
        assert_eq!(bulk.write(true, place).await.ok(), Some(here));
        assert!(
            bulk.write(false, place)
                .await
                .is_ok_and(|there| there != here)
        );
    }

    #[actix_web::test]
    async fn work_keeps_its_turn_when_its_request_is_given_up() {
        let (bulk, at_work) = (one_at_a_time(), Arc::new(AtomicUsize::new(0)));
        let (begun, is_begun) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let others = at_work.clone();
        let first = bulk.write(false, move || {
            others.fetch_add(1, Ordering::SeqCst);
            begun.send(()).expect("the test waits");
            goes_on.recv().expect("the test continues it");
            others.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });
        let waited = tokio::time::timeout(Duration::ZERO, first);
        assert!(waited.await.is_err(), "the request is given up");
        is_begun.recv().expect("the work has begun");
        let others = at_work.clone();
        let second = actix_web::rt::spawn(async move {
            bulk.write(false, move || Ok(others.load(Ordering::SeqCst)))
                .await
        });
        tokio::task::yield_now().await;
        go_on.send(()).expect("it waits");
        assert_eq!(
            second.await.expect("no panic").ok(),
            Some(0),
            "the first had ended"
        );
    }

    #[actix_web::test]
    async fn a_batch_without_a_turn_is_refused_and_an_answer_waits() {
        let bulk = one_at_a_time();
        let held = turn(&bulk.work).await.expect("it is free");
        let refused = bulk.read(false, Duration::from_millis(20), || Ok(1)).await;
        assert_eq!(
            refused.err().map(|problem| problem.code()),
            Some(Code::Overloaded)
        );
        let answer = bulk.write(false, || Ok(2));
        let mut answer = std::pin::pin!(answer);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), answer.as_mut())
                .await
                .is_err(),
            "it waits"
        );
        drop(held);
        assert_eq!(answer.await.ok(), Some(2));
    }

    #[actix_web::test]
    async fn a_batch_that_is_read_too_slowly_is_refused_and_keeps_its_turn_until_it_is_read() {
        let bulk = one_at_a_time();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let slow = move || Ok(goes_on.recv_timeout(Duration::from_secs(20)));
        let refused = bulk.read(false, Duration::from_millis(20), slow).await;
        assert_eq!(
            refused.err().map(|problem| problem.code()),
            Some(Code::Overloaded)
        );
        assert!(bulk.work.try_acquire().is_err(), "it is still being read");
        go_on.send(()).expect("it waits");
        let next = bulk.read(false, Duration::from_secs(60), || Ok(1)).await;
        assert_eq!(next.ok(), Some(1));
    }

    #[actix_web::test]
    async fn a_panic_is_an_unknown_outcome_and_releases_the_turn() {
        let bulk = one_at_a_time();
        let panicked = bulk
            .write(false, || -> Result<(), Problem> { panic!("planned") })
            .await;
        assert_eq!(
            panicked.err().map(|problem| problem.code()),
            Some(Code::LedgerUnavailable)
        );
        assert_eq!(bulk.write(false, || Ok(1)).await.ok(), Some(1));
    }
}
