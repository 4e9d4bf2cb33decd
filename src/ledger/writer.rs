//! A writer: a thread that commits the postings that queued while its last transaction ran.
//!
//! Owns one [`Store`]. It takes postings from two bounded lanes, single ones first and a bounded number of bulk ones
//! beside them, and runs one transaction: load, decide ([`super::batch::plan`]), write, commit, then answer. It never waits
//! for more postings to come. A user always has the same writer, so within a lane a user's entries commit in the order in
//! which they were queued.
//!
//! Most entries are new. So a transaction does not look their event ids up first, and the tables refuse it when one was
//! known; then everything is looked up and locked for a while ([`super::store::Basis`]).
//!
//! On failure: a batch that fails on a connection that has worked before is run again at once on a fresh one, since the
//! connection may be at fault (a server that has ended it, a prepared statement that has become stale). What fails there,
//! too, is narrowed down to the entries at fault, unless all that is tried fails alike (`narrowing`). Then the ledger is
//! at fault, and the entries wait until it takes some again or their deadline is over (`outage`). After a broken COMMIT the
//! batch is tried again until the outcome is known (event ids make that safe, see [`super::batch::Plan::is_committed`]).
//! Postings that another session's locks keep from being committed, and slow ones, are set aside (`aside`).

mod aside;
mod commit_times;
pub(super) mod feed;
mod narrowing;
mod orders;
mod outage;
mod settling;
mod transaction;
mod watch;
pub(super) mod watchdog;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Clock, Mono};
use crate::domain::Rules;
use crate::limits::{SINGLES_LATELY_MS, TRANSACTION_ENTRIES_MAX};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::error;
use tokio::sync::{Semaphore, mpsc};

use super::store::{Patience, Store};
use super::{Feed, Lane, LedgerCounts, LedgerError, Orphan, PostError, Posted, Posting, Standing};
use aside::Aside;
use commit_times::CommitTimes;
pub use orders::Order;
use orders::{Orders, Waiting};
use outage::Outage;
use watch::Watched;
pub use watch::{Step, Watch};

/// What a writer does.
#[derive(Debug)]
pub enum Command {
    /// Post entries.
    Post(Posting),
    /// Do something other than posting; see [`Writer::order`].
    Order(Waiting),
    /// Finish what is queued, then end.
    Stop,
}

/// What a writer needs besides its store.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Tells commit times.
    pub clock: Clock,
    /// Settings of the rule.
    pub rules: Rules,
    /// The counters.
    pub counts: Arc<LedgerCounts>,
    /// Is told whether the database can be reached.
    pub standing: Arc<Standing>,
    /// Gets the answers whose receivers are gone.
    pub orphans: mpsc::Sender<Orphan>,
    /// Gets all commits, where other processes are told of them.
    pub feed: Option<Arc<dyn Feed>>,
}

/// A running writer.
#[derive(Debug)]
pub struct Writer {
    commands: Sender<Command>,
    /// Places for orders that wait.
    places: Arc<Semaphore>,
    is_aborting: Arc<AtomicBool>,
    watch: Arc<Watch>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system can't start a thread.
    pub fn start(
        name: String,
        store: Box<dyn Store>,
        options: WriterOptions,
    ) -> std::io::Result<Self> {
        // Unbounded on purpose: a posting holds a permit of `admission`, an order one of `places`, and both are bounded.
        let (commands, inbox) = crossbeam_channel::unbounded();
        let is_aborting = Arc::new(AtomicBool::new(false));
        let aside = Aside::new(options.clock);
        let watch = Arc::new(Watch::new(options.clock));
        let state = State {
            store: Box::new(Watched {
                store,
                watch: watch.clone(),
            }),
            options,
            inbox,
            single: VecDeque::new(),
            bulk: VecDeque::new(),
            orders: Orders::default(),
            aside,
            is_aborting: is_aborting.clone(),
            is_stopping: false,
            commit_times: CommitTimes::default(),
            single_seen: None,
            surprised: 0,
            careful: 0,
            is_proven: false,
            commits: 0,
            outage: None,
            untold_since: None,
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || state.run())?;
        Ok(Self {
            commands,
            places: orders::places(),
            is_aborting,
            watch,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues a command. After the end of the thread a posting is answered `ShuttingDown`.
    pub fn send(&self, command: Command) {
        if let Err(unsent) = self.commands.send(command) {
            refuse(unsent.into_inner());
        }
    }

    /// Whether its thread has not ended.
    pub fn is_running(&self) -> bool {
        self.thread
            .lock()
            .is_ok_and(|thread| thread.as_ref().is_some_and(|thread| !thread.is_finished()))
    }

    /// What it does now.
    pub const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Finishes what is queued and waits for the end of the thread. Whether nothing is left that may still be committed.
    pub fn stop(&self) -> bool {
        self.send(Command::Stop);
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        let has_panicked = thread.is_some_and(|thread| thread.join().is_err());
        if has_panicked {
            error!("a ledger writer has panicked");
        }
        !has_panicked && !self.is_aborting.load(Ordering::Relaxed)
    }

    /// From now on gives up transactions that can't be finished because the database is away.
    pub fn abort(&self) {
        self.is_aborting.store(true, Ordering::Relaxed);
    }
}

fn refuse(command: Command) {
    match command {
        Command::Post(posting) => answer_error(posting, PostError::ShuttingDown),
        Command::Order(waiting) => {
            waiting.refuse(LedgerError::Unavailable("the service is stopping".into()))
        }
        Command::Stop => {}
    }
}

fn answer_error(posting: Posting, error: PostError) {
    let Posting {
        entries,
        reply,
        permit,
        ..
    } = posting;
    drop(permit);
    // Without a receiver: its sender has been told that the outcome is unknown.
    let _ = reply.send(Posted::failed(entries, error));
}

struct State {
    store: Box<dyn Store>,
    options: WriterOptions,
    inbox: Receiver<Command>,
    single: VecDeque<Posting>,
    bulk: VecDeque<Posting>,
    orders: Orders,
    aside: Aside,
    is_aborting: Arc<AtomicBool>,
    is_stopping: bool,
    commit_times: CommitTimes,
    /// When a transaction last had a single posting.
    single_seen: Option<Mono>,
    /// How many of the next transactions are to read everything, because one of the last met something unexpected.
    surprised: u32,
    /// How many of the next turns keep single postings and others apart, because a transaction took too long.
    careful: u32,
    /// Whether the connection has carried out anything since it was made.
    is_proven: bool,
    /// Transactions that have written something.
    commits: u64,
    /// While the ledger can't be written.
    outage: Option<Outage>,
    /// When the first COMMIT began of which the feed has not been told.
    untold_since: Option<Mono>,
}

impl State {
    fn run(mut self) {
        loop {
            let has_nothing =
                self.single.is_empty() && self.bulk.is_empty() && self.orders.is_empty();
            if has_nothing && !self.rest() {
                return;
            }
            self.pause();
            self.take_waiting();
            let commits = self.commits;
            let is_careful = self.careful > 0 || self.aside.has_slow();
            self.retry_aside();
            if !self.is_paused() {
                self.take_turn(is_careful);
            }
            self.carry_out_trials(self.commits > commits);
            if !self.is_paused() {
                self.carry_out_order();
            }
        }
    }

    /// Waits for a command, or until postings that were set aside are due; `false` when the thread should end.
    fn rest(&mut self) -> bool {
        match self.aside.retry_in() {
            None if self.is_stopping => false,
            None => self.inbox.recv().map(|command| self.take(command)).is_ok(),
            Some(wait) => {
                match self.inbox.recv_timeout(wait) {
                    Ok(command) => self.take(command),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
                }
                true
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Post(posting) if self.aside.takes(&posting) => self.aside.hold(posting),
            Command::Post(posting) => match posting.lane {
                Lane::Single => self.single.push_back(posting),
                Lane::Bulk => self.bulk.push_back(posting),
            },
            Command::Order(waiting) => self.orders.push(waiting),
            Command::Stop => self.is_stopping = true,
        }
    }

    fn take_waiting(&mut self) {
        while let Ok(command) = self.inbox.try_recv() {
            self.take(command);
        }
    }

    /// One transaction with single postings first, then bulk ones; or one for each, where the store takes none of these beside
    /// single ones, and in a careful turn: single ones wait for no more than one transaction that may take as long as a
    /// statement may.
    fn take_turn(&mut self, is_careful: bool) {
        self.careful = self.careful.saturating_sub(1);
        let (mut batch, mut count) = (Vec::new(), 0);
        self.fill_singles(&mut batch, &mut count);
        if is_careful || self.store.bulk_beside(count) == 0 {
            self.settle_new(std::mem::take(&mut batch));
            count = 0;
            if self.is_paused() || (is_careful && self.try_slow()) {
                return;
            }
        }
        self.fill_bulk(&mut batch, &mut count);
        self.settle_new(batch);
    }

    fn settle_new(&mut self, postings: Vec<Posting>) {
        if !postings.is_empty() {
            self.settle(postings, Patience::Usual, false);
        }
    }

    fn fill_singles(&mut self, batch: &mut Vec<Posting>, count: &mut usize) {
        fill(batch, count, &mut self.single, TRANSACTION_ENTRIES_MAX);
        if *count > 0 {
            self.single_seen = Some(self.options.clock.mono());
        }
    }

    /// Only a few while single ones keep coming in.
    fn fill_bulk(&mut self, batch: &mut Vec<Posting>, count: &mut usize) {
        let now = self.options.clock.mono();
        let are_expected = self
            .single_seen
            .is_some_and(|seen| now < seen.plus_us(SINGLES_LATELY_MS * 1000));
        let bulk_max = if are_expected {
            *count + self.store.bulk_beside(*count)
        } else {
            TRANSACTION_ENTRIES_MAX
        };
        let bulk_max = bulk_max.min(TRANSACTION_ENTRIES_MAX);
        fill(batch, count, &mut self.bulk, bulk_max);
    }

    /// Waits, takes commands meanwhile, and then answers what is past its deadline.
    fn wait(&mut self, wait: Duration) {
        let until = self.options.clock.deadline(wait);
        loop {
            match self.inbox.recv_timeout(until.remaining()) {
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(until.remaining());
                    break;
                }
            }
        }
        self.orders.refuse_all();
        self.answer_late();
    }

    fn answer_late(&mut self) {
        let is_aborting = self.is_aborting.load(Ordering::Relaxed);
        let is_late =
            |held: bool| move |p: &Posting| p.deadline.has_passed() || (held && is_aborting);
        for (lane, is_held) in [
            (&mut self.single, false),
            (&mut self.bulk, false),
            (&mut self.aside.postings, true),
            (&mut self.aside.slow, true),
        ] {
            let (late, waiting) = std::mem::take(lane).into_iter().partition(is_late(is_held));
            *lane = waiting;
            let late: VecDeque<Posting> = late;
            late.into_iter()
                .for_each(|posting| answer_error(posting, PostError::Unavailable));
        }
    }
}

/// Moves postings from a lane into the batch while they fit; a posting past its deadline is answered instead. The first one
/// always fits, so that a long posting neither waits for ever nor is split.
fn fill(
    batch: &mut Vec<Posting>,
    count: &mut usize,
    lane: &mut VecDeque<Posting>,
    entries_max: usize,
) {
    let mut is_first = true;
    while let Some(next) = lane.front() {
        let fits = *count + next.entries.len() <= entries_max;
        if !fits && !is_first {
            return;
        }
        let Some(posting) = lane.pop_front() else {
            return;
        };
        if posting.deadline.has_passed() {
            answer_error(posting, PostError::Unavailable);
            continue;
        }
        is_first = false;
        *count += posting.entries.len();
        batch.push(posting);
    }
}

#[cfg(test)]
mod tests;
