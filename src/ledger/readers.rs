//! The read pool: as many threads as connections (`database.pool_size`), fed by one bounded queue.
//!
//! A read is a closure over a connection. It is tried again on another connection when its own turns out to be dead, and
//! given up without running when its asker has waited past the deadline.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use crate::clock::{Clock, Deadline};
use crate::limits::{READ_QUEUE_MAX, answer_within};

use super::connection::{AnyConnection, Manager};
use super::reads::ReadError;
use super::store::StoreError;
use super::{LedgerCounts, LedgerError, Pending};

/// The longest a reader waits for a connection, in milliseconds; r2d2 backs off by half of it while the database is away.
const CHECKOUT_MS: u64 = 1000;

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

/// The running pool.
#[derive(Debug)]
pub(super) struct Readers {
    jobs: Sender<Job>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    clock: Clock,
    timeout: Duration,
    counts: Arc<LedgerCounts>,
}

struct Reader {
    pool: Arc<r2d2::Pool<Manager>>,
    counts: Arc<LedgerCounts>,
    attempts_max: u32,
    is_stopping: bool,
}

impl Readers {
    pub(super) fn start(
        name: &str,
        manager: Manager,
        pool_size: u32,
        clock: Clock,
        counts: Arc<LedgerCounts>,
    ) -> Result<Self, LedgerError> {
        let timeout = Duration::from_millis(manager.timeout_ms);
        let pool = r2d2::Pool::builder()
            .max_size(pool_size)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .connection_timeout(Duration::from_millis(CHECKOUT_MS).min(timeout))
            .error_handler(Box::new(QuietErrors))
            .build_unchecked(manager);
        let pool = Arc::new(pool);
        let (jobs, inbox) = crossbeam_channel::bounded::<Job>(READ_QUEUE_MAX);
        let threads = (0..pool_size)
            .map(|index| {
                let mut reader = Reader {
                    pool: pool.clone(),
                    counts: counts.clone(),
                    attempts_max: pool_size + 1,
                    is_stopping: false,
                };
                let inbox: Receiver<Job> = inbox.clone();
                std::thread::Builder::new()
                    .name(format!("{name}-{index}"))
                    .spawn(move || {
                        while let (false, Ok(job)) = (reader.is_stopping, inbox.recv()) {
                            job(&mut reader);
                        }
                    })
                    .map_err(|error| LedgerError::Unavailable(error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            jobs,
            threads: Mutex::new(threads),
            clock,
            timeout,
            counts,
        })
    }

    /// Queues a read. The future ends in `Unavailable` at the latest when `database.timeout_ms` is over.
    pub(super) fn read<T, F>(&self, read: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&mut AnyConnection) -> Result<T, ReadError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        // A little less than the asker has, so that it can still answer with what it knows.
        let deadline = self.clock.deadline(answer_within(self.timeout));
        let job: Job = Box::new(move |reader| {
            if !reply.is_closed() && !deadline.has_passed() {
                // The asker may have gone meanwhile; then nobody needs the answer.
                let _ = reply.send(reader.run(&read, deadline));
            }
        });
        let queued = self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::Overloaded,
            TrySendError::Disconnected(_) => {
                LedgerError::Unavailable("the service is stopping".into())
            }
        });
        let counts = self.counts.clone();
        Box::pin(async move {
            queued?;
            match tokio::time::timeout_at(deadline.instant(), answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) | Err(_) => {
                    counts.failed_as("timeout");
                    Err(LedgerError::Unavailable("no answer in time".into()))
                }
            }
        })
    }

    /// How long an asker waits at the most.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Ends the threads once they have done what they are at; a read that hangs is not waited for.
    pub(super) fn stop(&self) {
        let threads = self
            .threads
            .lock()
            .map(|mut threads| std::mem::take(&mut *threads))
            .unwrap_or_default();
        for _ in &threads {
            // Full: the threads end with the process.
            let _ = self
                .jobs
                .try_send(Box::new(|reader| reader.is_stopping = true));
        }
        for thread in threads.into_iter().filter(JoinHandle::is_finished) {
            if thread.join().is_err() {
                log::error!("a ledger reader has panicked");
            }
        }
    }
}

impl Reader {
    fn run<T>(
        &mut self,
        read: &impl Fn(&mut AnyConnection) -> Result<T, ReadError>,
        deadline: Deadline,
    ) -> Result<T, LedgerError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut pooled = self.pool.get().map_err(|error| {
                self.counts.failed_as("lost");
                LedgerError::Unavailable(error.to_string())
            })?;
            match read(&mut pooled.connection) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    match &error {
                        ReadError::Database(error) => self.counts.failed(error),
                        ReadError::Ledger(_) => self.counts.failed_as("unfit"),
                    }
                    pooled.is_broken = matches!(error, ReadError::Database(_));
                    let is_lost = matches!(error, ReadError::Database(StoreError::Lost(_)));
                    if !is_lost || attempt >= self.attempts_max || deadline.has_passed() {
                        return Err(error.into());
                    }
                }
            }
        }
    }
}

/// The pool's own complaints repeat every half second while the database is away; the reads' errors tell enough.
#[derive(Debug)]
struct QuietErrors;

impl r2d2::HandleError<diesel::r2d2::Error> for QuietErrors {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        log::debug!("the read pool can't connect: {error}");
    }
}
