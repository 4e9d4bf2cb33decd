//! A writer: a thread that commits what queued while its last transaction ran.
//!
//! Owns one [`Store`]. It takes postings from two bounded lanes, single ones first and a bounded number of bulk ones
//! beside them, and runs one transaction: look up, decide ([`super::batch::plan`]), write, commit, then answer. There is no
//! artificial wait. A user always has the same writer, so within a lane a user's entries commit in the order in which
//! they were queued.
//!
//! Most entries are new, and most accounts as this writer has left them; the tables refuse what is not so. Only for a while
//! after that has happened is everything looked up ([`super::store::Basis`]).
//!
//! When it fails: a lost connection or a busy database is tried again until every waiting posting is past its deadline;
//! a broken COMMIT is tried again until its outcome is known (event ids make that safe, see [`super::batch::Plan::is_committed`]);
//! what the database refuses is narrowed down by halves to the entry at fault, and the rest is committed without it; what
//! somebody else holds locked is set aside (`aside`), and the rest is committed without it, too.

mod aside;
mod orders;
mod transaction;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Rules;
use crate::limits::{SINGLES_LATELY_MS, TRANSACTION_ENTRIES_MAX};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::error;
use tokio::sync::Semaphore;

use super::store::{Patience, Store};
use super::{Answers, Lane, LedgerCounts, LedgerError, PostError, Posted, Posting};
use aside::Aside;
pub use orders::Order;
use orders::{Orders, Waiting};

/// What a writer does.
#[derive(Debug)]
pub enum Command {
    /// Post entries.
    Post(Posting),
    /// Do something else; see [`Writer::order`].
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
    /// What is counted.
    pub counts: Arc<LedgerCounts>,
    /// Takes what is told to the senders.
    pub answers: Answers,
}

/// The way to a running writer.
#[derive(Debug)]
pub struct Writer {
    commands: Sender<Command>,
    /// Of orders.
    places: Arc<Semaphore>,
    is_aborting: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        name: String,
        store: Box<dyn Store>,
        options: WriterOptions,
    ) -> std::io::Result<Self> {
        // Unbounded on purpose: a posting holds its places of `admission`, an order one of `places`, and those are bounded.
        let (commands, inbox) = crossbeam_channel::unbounded();
        let is_aborting = Arc::new(AtomicBool::new(false));
        let aside = Aside::new(options.clock);
        let state = State {
            store,
            options,
            inbox,
            single: VecDeque::new(),
            bulk: VecDeque::new(),
            orders: Orders::default(),
            aside,
            is_aborting: is_aborting.clone(),
            is_stopping: false,
            last_commit_us: 0,
            single_seen_us: None,
            surprised: 0,
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || state.run())?;
        Ok(Self {
            commands,
            places: orders::places(),
            is_aborting,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues a command; a posting that comes too late is answered `ShuttingDown`.
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

    /// Takes no more, finishes what is queued and waits for the thread.
    pub fn stop(&self) {
        self.send(Command::Stop);
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("a ledger writer has panicked");
        }
    }

    /// From now on a transaction that can't be finished (the database is away) is given up.
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
    // A sender that went away was told, or will find, that the outcome is unknown.
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
    last_commit_us: i64,
    /// When a single posting was last taken along (monotonic).
    single_seen_us: Option<u64>,
    /// Transactions that are to read everything, since one met what it did not expect.
    surprised: u32,
}

impl State {
    fn run(mut self) {
        loop {
            let has_nothing =
                self.single.is_empty() && self.bulk.is_empty() && self.orders.is_empty();
            if has_nothing && !self.rest() {
                return;
            }
            self.take_waiting();
            self.retry_aside();
            let postings = self.next_batch();
            if !postings.is_empty() {
                self.settle(postings, Patience::Usual);
            }
            self.carry_out_order();
        }
    }

    /// Waits for a command, or until what was set aside is due; `false` when there is nothing to do any more.
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

    /// Single postings first, then bulk ones: few of them while single ones are coming in.
    fn next_batch(&mut self) -> Vec<Posting> {
        let mut batch = Vec::new();
        let mut count = 0;
        fill(
            &mut batch,
            &mut count,
            &mut self.single,
            TRANSACTION_ENTRIES_MAX,
        );
        let now_us = self.options.clock.monotonic_us();
        if count > 0 {
            self.single_seen_us = Some(now_us);
        }
        let are_expected = self
            .single_seen_us
            .is_some_and(|seen_us| now_us < seen_us + SINGLES_LATELY_MS * 1000);
        let bulk_max = if are_expected {
            count + self.store.bulk_beside(count)
        } else {
            TRANSACTION_ENTRIES_MAX
        };
        fill(
            &mut batch,
            &mut count,
            &mut self.bulk,
            bulk_max.min(TRANSACTION_ENTRIES_MAX),
        );
        batch
    }

    /// Waits, but keeps taking what comes in, and answers what is past its deadline.
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
        ] {
            let (late, waiting) = std::mem::take(lane).into_iter().partition(is_late(is_held));
            *lane = waiting;
            let late: VecDeque<Posting> = late;
            late.into_iter()
                .for_each(|posting| answer_error(posting, PostError::Unavailable));
        }
    }
}

/// Moves postings from a lane into the batch while they fit; what is past its deadline is answered instead. The first one
/// always fits, so that a long one neither starves nor is torn.
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
