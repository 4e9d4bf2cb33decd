//! Limits what large requests use at once, so that a deposit never waits longer than for one slice of a batch.
//!
//! All long bodies together have a limited number of bytes. Parsing and answering ten thousand entries takes many
//! milliseconds, so this happens on background threads that yield to request-serving threads, for a few requests at a time.
//! The entries go to the registry in slices, of one large request at a time.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::background::stand_back;
use crate::http::problem::{Code, Problem};
use crate::ledger::PostError;
use crate::limits::{BATCH_BODIES_BYTES, BATCH_BODIES_MAX, BATCH_SHORT_BYTES, BATCHES_AT_WORK_MAX};

/// The room for bodies, and the two turns of large requests.
#[derive(Debug)]
pub(in crate::http) struct Bulk {
    /// Bytes.
    bodies: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    work: Arc<Semaphore>,
}

/// The room that a body uses until it is parsed.
#[derive(Debug)]
pub(super) struct Room {
    bodies: Arc<Semaphore>,
    length: usize,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Reserves room for more bytes, or refuses them. A short body needs no room.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.length.max(BATCH_SHORT_BYTES);
        self.length += bytes;
        let bytes = self.length.saturating_sub(before);
        if bytes == 0 {
            return Ok(());
        }
        let full = || {
            Problem::new(
                Code::Overloaded,
                "too many batches are waiting to be read; send the request again",
            )
        };
        let permits = u32::try_from(bytes).map_err(|_| full())?;
        let more = self
            .bodies
            .clone()
            .try_acquire_many_owned(permits)
            .map_err(|_| full())?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
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
    /// For bodies of at most `body_bytes_max` each.
    pub(in crate::http) fn new(body_bytes_max: usize) -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(
                BATCH_BODIES_BYTES.max(BATCH_BODIES_MAX * body_bytes_max),
            )),
            sending: Arc::new(Semaphore::new(1)),
            work: Arc::new(Semaphore::new(BATCHES_AT_WORK_MAX)),
        }
    }

    /// Room for a body that will be read.
    pub(super) fn room(&self) -> Room {
        Room {
            bodies: self.bodies.clone(),
            length: 0,
            taken: None,
        }
    }

    /// Waits for the turn to send a batch's entries to the registry; held until all were sent.
    pub(super) async fn sending_turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        turn(&self.sending).await
    }

    /// Parses a batch: on this thread when it `is_short`, otherwise on a background thread, in its turn. Nothing of it is
    /// accepted yet, so it is refused when its turn does not come within `patience`.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        is_short: bool,
        patience: Duration,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if is_short {
            return work();
        }
        let turn = tokio::time::timeout(patience, turn(&self.work)).await;
        let late = |_| {
            Problem::new(
                Code::Overloaded,
                "too many batches are waiting to be read; send the request again",
            )
        };
        aside(turn.map_err(late)??, work).await
    }

    /// Writes the answer to a batch in the same way. Its entries are committed, so it waits without a limit.
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

/// Works on a background thread. The turn lasts as long as the work, even when the request is gone.
async fn aside<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let (done, is_done) = oneshot::channel();
    // A new thread each time: a thread can't raise its priority again, and starting one is cheap beside the work.
    let started = thread::Builder::new().name("bulk".into()).spawn(move || {
        stand_back();
        // Ignore errors: the request may be gone.
        let _ = done.send(work());
        drop(turn);
    });
    started.map_err(|_| PostError::Unavailable)?;
    // The thread has panicked.
    is_done.await.map_err(|_| PostError::Unavailable)?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn one_at_a_time() -> Bulk {
        Bulk {
            work: Arc::new(Semaphore::new(1)),
            ..Bulk::new(0)
        }
    }

    #[test]
    fn bodies_share_limited_room_and_release_it() {
        let bulk = Bulk {
            bodies: Arc::new(Semaphore::new(100)),
            ..Bulk::new(0)
        };
        let refused = |room: &mut Room, bytes| room.take(bytes).err().map(|problem| problem.code());
        let (mut first, mut second) = (bulk.room(), bulk.room());
        assert_eq!(
            (
                refused(&mut first, BATCH_SHORT_BYTES - 1),
                refused(&mut first, 1)
            ),
            (None, None),
            "short"
        );
        assert_eq!(refused(&mut second, BATCH_SHORT_BYTES), None, "short");
        assert_eq!(
            (refused(&mut first, 60), refused(&mut first, 30)),
            (None, None)
        );
        assert_eq!(refused(&mut second, 11), Some(Code::Overloaded));
        assert_eq!(
            refused(&mut second, 10),
            None,
            "what was refused took no room"
        );
        drop(first);
        assert_eq!(
            (refused(&mut second, 90), refused(&mut second, 1)),
            (None, Some(Code::Overloaded))
        );
    }

    #[actix_web::test]
    async fn short_work_runs_on_its_worker_and_long_work_on_another_thread() {
        let (bulk, here) = (Bulk::new(0), thread::current().id());
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
    async fn work_keeps_its_turn_after_its_request_is_gone() {
        let (bulk, at_work) = (one_at_a_time(), Arc::new(AtomicUsize::new(0)));
        let (begun, is_begun) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let others = at_work.clone();
        let first = bulk.write(false, move || {
            others.fetch_add(1, Ordering::SeqCst);
            begun.send(()).expect("the test waits");
            goes_on.recv().expect("the test lets it go on");
            others.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        });
        let waited = tokio::time::timeout(Duration::ZERO, first);
        assert!(waited.await.is_err(), "its asker hangs up");
        is_begun.recv().expect("it works");
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
        let held = turn(&bulk.work).await.expect("the turn is free");
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
