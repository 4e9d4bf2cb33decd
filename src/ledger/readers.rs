//! The read pool: as many threads as connections (`database.pool_size`), fed by two bounded queues.
//!
//! A read is a closure over a connection. One that fails is run again on a new connection, since the old one may be dead, or a
//! prepared statement of it stale. So the pool need not test connections before it hands them out, which would double the
//! statements of most reads. A read whose deadline has passed is not begun.
//!
//! Reads that were asked for go first. Half of the threads also take those of the background, so that these never keep all
//! connections busy; and after many asked-for reads in a row one of the background has its turn, so that none waits for
//! ever. Reads of accounts are made together ([`grouped`]).

mod grouped;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, never, select_biased};
use r2d2::ManageConnection as _;
use tokio::sync::oneshot;

use crate::clock::{Clock, Deadline};
use crate::limits::{
    ASKED_READS_IN_A_ROW_MAX, BACKGROUND_READS_MAX, READ_QUEUE_MAX, answer_within,
};

use self::grouped::Askers;
use super::connection::{AnyConnection, ConnectError, Manager, Source};
use super::reads::ReadError;
use super::{LedgerCounts, LedgerError, Pending, Standing};

/// The longest a reader waits for a connection, in milliseconds. While the database is away, r2d2 pauses half of it between attempts.
const CHECKOUT_MS: u64 = 1000;

/// A connection that has answered nothing yet is replaced by another after so long, in milliseconds: each read that fails
/// would make one.
const UNPROVEN_MS: u64 = 1000;

/// The pool, and what makes its connections.
struct Pool {
    pool: r2d2::Pool<Manager>,
    manager: Manager,
    clock: Clock,
}

type Read = Box<dyn FnOnce(&Pool) + Send>;

/// `None` ends the thread that takes it.
type Job = Option<Read>;

/// What one thread takes its reads from.
struct Inbox {
    asked: Receiver<Job>,
    background: Receiver<Job>,
    /// Asked-for reads taken in a row.
    in_a_row: usize,
}

impl Inbox {
    /// Waits for the next read; `None` ends the thread.
    fn next(&mut self) -> Job {
        if self.in_a_row >= ASKED_READS_IN_A_ROW_MAX {
            self.in_a_row = 0;
            if let Ok(job) = self.background.try_recv() {
                return job;
            }
        }
        select_biased! {
            recv(self.asked) -> job => {
                self.in_a_row += 1;
                job.ok().flatten()
            }
            recv(self.background) -> job => {
                self.in_a_row = 0;
                job.ok().flatten()
            }
        }
    }
}

/// The running pool.
#[derive(Debug)]
pub(super) struct Readers {
    asked: Sender<Job>,
    background: Sender<Job>,
    askers: Askers,
    threads: Mutex<Vec<JoinHandle<()>>>,
    clock: Clock,
    timeout: Duration,
    counts: Arc<LedgerCounts>,
    standing: Arc<Standing>,
}

impl Readers {
    /// Starts the threads. They report to `standing` whether the database can be reached.
    pub(super) fn start(
        name: &str,
        manager: Manager,
        pool_size: u32,
        clock: Clock,
        counts: Arc<LedgerCounts>,
        standing: Arc<Standing>,
    ) -> Result<Self, LedgerError> {
        let timeout = Duration::from_millis(manager.timeout_ms);
        let is_dear = matches!(manager.source, Source::Postgres(_));
        let pool = r2d2::Pool::builder()
            .max_size(pool_size)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .connection_timeout(Duration::from_millis(CHECKOUT_MS).min(timeout))
            .error_handler(Box::new(QuietErrors))
            .build_unchecked(manager.clone());
        let pool = Arc::new(Pool {
            pool,
            manager,
            clock,
        });
        let (asked, asked_for) = crossbeam_channel::bounded::<Job>(READ_QUEUE_MAX);
        let (background, unasked) = crossbeam_channel::bounded::<Job>(BACKGROUND_READS_MAX);
        let threads = (0..pool_size)
            .map(|index| {
                let takes_both = index < pool_size.div_ceil(2);
                let mut inbox = Inbox {
                    asked: asked_for.clone(),
                    background: if takes_both { unasked.clone() } else { never() },
                    in_a_row: 0,
                };
                let pool = pool.clone();
                std::thread::Builder::new()
                    .name(format!("{name}-{index}"))
                    .spawn(move || {
                        while let Some(job) = inbox.next() {
                            job(&pool);
                        }
                    })
                    .map_err(|error| LedgerError::Unavailable(error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            asked,
            background,
            askers: Askers::new(clock, is_dear),
            threads: Mutex::new(threads),
            clock,
            timeout,
            counts,
            standing,
        })
    }

    /// Queues a read. The future ends in `Unavailable` at the latest when `database.timeout_ms` is over.
    pub(super) fn read<T, F>(&self, read: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&mut AnyConnection) -> Result<T, ReadError> + Send + 'static,
    {
        self.queue(&self.asked, read)
    }

    /// The same, behind those that were asked for.
    pub(super) fn read_in_background<T, F>(&self, read: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&mut AnyConnection) -> Result<T, ReadError> + Send + 'static,
    {
        self.queue(&self.background, read)
    }

    fn queue<T, F>(&self, jobs: &Sender<Job>, read: F) -> Pending<T>
    where
        T: Send + 'static,
        F: Fn(&mut AnyConnection) -> Result<T, ReadError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let deadline = self.deadline();
        let (counts, standing) = (self.counts.clone(), self.standing.clone());
        let job = move |pool: &Pool| {
            if !reply.is_closed() && !deadline.has_passed() {
                // The receiver may be gone meanwhile.
                let _ = reply.send(run(pool, &counts, &standing, deadline, read));
            }
        };
        let queued = self.send(jobs, Box::new(job));
        self.answer(queued, deadline, answer)
    }

    /// A little less than the caller has, so that it can still answer with what it knows.
    fn deadline(&self) -> Deadline {
        self.clock.deadline(answer_within(self.timeout))
    }

    fn send(&self, jobs: &Sender<Job>, read: Read) -> Result<(), LedgerError> {
        jobs.try_send(Some(read)).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::Overloaded,
            TrySendError::Disconnected(_) => {
                LedgerError::Unavailable("the service is stopping".into())
            }
        })
    }

    /// What a queued read answers, in its time.
    fn answer<T: Send + 'static>(
        &self,
        queued: Result<(), LedgerError>,
        deadline: Deadline,
        answer: oneshot::Receiver<Result<T, LedgerError>>,
    ) -> Pending<T> {
        let (counts, standing) = (self.counts.clone(), self.standing.clone());
        Box::pin(async move {
            queued?;
            match tokio::time::timeout_at(deadline.instant(), answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) | Err(_) => {
                    counts.failed_as("timeout");
                    standing.unanswered();
                    Err(LedgerError::Unavailable("no answer in time".into()))
                }
            }
        })
    }

    /// The longest that a caller waits.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Ends the threads after their current read; a read that hangs is not waited for.
    pub(super) fn stop(&self) {
        let threads = self
            .threads
            .lock()
            .map(|mut threads| std::mem::take(&mut *threads))
            .unwrap_or_default();
        for _ in &threads {
            // Full: the threads end with the process.
            let _ = self.asked.try_send(None);
        }
        for thread in threads.into_iter().filter(JoinHandle::is_finished) {
            if thread.join().is_err() {
                log::error!("a ledger reader has panicked");
            }
        }
    }
}

fn run<T>(
    pool: &Pool,
    counts: &LedgerCounts,
    standing: &Standing,
    deadline: Deadline,
    read: impl Fn(&mut AnyConnection) -> Result<T, ReadError>,
) -> Result<T, LedgerError> {
    let mut pooled = pool.pool.get().map_err(|error| {
        counts.failed_as("lost");
        standing.unanswered();
        LedgerError::Unavailable(error.to_string())
    })?;
    let now = pool.clock.mono();
    let used_since = *pooled.used_since.get_or_insert(now);
    let may_be_stale = pooled.has_answered || now.us_since(used_since) >= UNPROVEN_MS * 1000;
    let mut done = read(&mut pooled.connected.connection);
    if let Err(ReadError::Database(error)) = &done
        && may_be_stale
        && !deadline.has_passed()
        && let Ok(fresh) = pool.manager.connect()
    {
        log::debug!("a read is run again on a new connection: {error}");
        *pooled = fresh;
        pooled.used_since = Some(now);
        done = read(&mut pooled.connected.connection);
    }
    match &done {
        Err(ReadError::Database(error)) => {
            counts.failed(error);
            standing.unanswered();
        }
        Err(ReadError::Ledger(_)) => counts.failed_as("unfit"),
        Ok(_) => {
            pooled.has_answered = true;
            standing.answered();
        }
    }
    Ok(done?)
}

/// Logs the pool's errors at debug level: they repeat every half second while the database is away, and the reads report the same.
#[derive(Debug)]
struct QuietErrors;

impl r2d2::HandleError<ConnectError> for QuietErrors {
    fn handle_error(&self, error: ConnectError) {
        log::debug!("the read pool can't connect: {error}");
    }
}

#[cfg(test)]
mod tests;
