//! A writer: a thread that commits what queued while its last transaction ran.
//!
//! Owns one [`Store`]. It takes postings from two bounded lanes, single ones first and a bounded number of bulk ones
//! beside them, and runs one transaction: look up, decide ([`batch::plan`]), write, commit, then answer. There is no
//! artificial wait. A user always has the same writer, so within a lane a user's entries commit in the order in which
//! they were queued.
//!
//! When it fails: a lost connection or a busy database is tried again until every waiting posting is past its deadline;
//! a broken COMMIT is tried again until its outcome is known (event ids make that safe, see [`batch::Plan::is_committed`]);
//! what the database refuses is narrowed down by halves to the posting at fault, and the rest is committed without it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::{error, info, warn};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::domain::{NewEntry, Rules};
use crate::limits::{
    BULK_ENTRIES_BESIDE_SINGLES_MAX, POSTING_ENTRIES_MAX, RACES_MAX, RETRY_MS, TRANSACTION_ENTRIES_MAX,
};

use super::batch::{self, Group, Keys, Plan};
use super::store::{PutUser, PutUserOutcome, Store, StoreError};
use super::{EntryOutcome, Lane, LedgerError, Orphan, PostError, Posted, Posting};

/// What a writer does.
#[derive(Debug)]
pub enum Command {
    /// Post entries.
    Post(Posting),
    /// Make or link a user.
    PutUser(PutUser, oneshot::Sender<Result<PutUserOutcome, LedgerError>>),
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
    /// Gets what was committed while nobody waited for the answer.
    pub orphans: mpsc::Sender<Orphan>,
}

/// The way to a running writer.
#[derive(Debug)]
pub struct Writer {
    commands: Sender<Command>,
    is_aborting: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(name: String, store: Box<dyn Store>, options: WriterOptions) -> std::io::Result<Self> {
        // Unbounded on purpose: a posting holds its places of `admission`, which is the bound.
        let (commands, inbox) = crossbeam_channel::unbounded();
        let is_aborting = Arc::new(AtomicBool::new(false));
        let state = State {
            store,
            options,
            inbox,
            single: VecDeque::new(),
            bulk: VecDeque::new(),
            is_aborting: is_aborting.clone(),
            is_stopping: false,
            last_commit_us: 0,
            singles_lately: false,
        };
        let thread = std::thread::Builder::new().name(name).spawn(move || state.run())?;
        Ok(Self { commands, is_aborting, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a command; a posting that comes too late is answered `ShuttingDown`.
    pub fn send(&self, command: Command) {
        if let Err(unsent) = self.commands.send(command) {
            refuse(unsent.into_inner());
        }
    }

    /// Whether its thread has not ended.
    pub fn is_running(&self) -> bool {
        self.thread.lock().is_ok_and(|thread| thread.as_ref().is_some_and(|thread| !thread.is_finished()))
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
        Command::PutUser(_, reply) => {
            // Nobody may be waiting any more; then there is nobody to tell.
            let _ = reply.send(Err(LedgerError::Unavailable("the service is stopping".into())));
        }
        Command::Stop => {}
    }
}

fn answer_error(posting: Posting, error: PostError) {
    let Posting { entries, reply, permit, .. } = posting;
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
    is_aborting: Arc<AtomicBool>,
    is_stopping: bool,
    last_commit_us: i64,
    singles_lately: bool,
}

/// A posting, or a part of one that is settled by itself.
struct Piece<'a> {
    index: usize,
    posting: &'a Posting,
    entries: &'a [NewEntry],
}

fn can_be_halved(pieces: &[Piece<'_>]) -> bool {
    match pieces {
        [one] => one.entries.len() > 1 && !one.posting.is_atomic,
        several => several.len() > 1,
    }
}

fn halve(mut pieces: Vec<Piece<'_>>) -> (Vec<Piece<'_>>, Vec<Piece<'_>>) {
    if let [Piece { index, posting, entries }] = pieces[..] {
        let (first, second) = entries.split_at(entries.len() / 2);
        let part = |entries| vec![Piece { index, posting, entries }];
        return (part(first), part(second));
    }
    let second = pieces.split_off(pieces.len() / 2);
    (pieces, second)
}

/// How an attempt at a transaction ended without an answer.
enum Failure<'a> {
    /// Nothing was committed; the reason tells what to do.
    Before(StoreError),
    /// COMMIT itself broke: this plan may be committed or not.
    InCommit(StoreError, Plan<'a>),
}

impl State {
    fn run(mut self) {
        loop {
            if self.single.is_empty() && self.bulk.is_empty() {
                if self.is_stopping {
                    return;
                }
                let Ok(command) = self.inbox.recv() else { return };
                self.take(command);
            }
            self.take_waiting();
            let postings = self.next_batch();
            if !postings.is_empty() {
                self.settle(postings);
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Post(posting) => match posting.lane {
                Lane::Single => self.single.push_back(posting),
                Lane::Bulk => self.bulk.push_back(posting),
            },
            Command::PutUser(user, reply) => self.put_user(user, reply),
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
        fill(&mut batch, &mut count, &mut self.single, TRANSACTION_ENTRIES_MAX);
        let bulk_max = if self.singles_lately || count > 0 {
            count + BULK_ENTRIES_BESIDE_SINGLES_MAX
        } else {
            TRANSACTION_ENTRIES_MAX
        };
        self.singles_lately = count > 0;
        fill(&mut batch, &mut count, &mut self.bulk, bulk_max.min(TRANSACTION_ENTRIES_MAX));
        batch
    }

    /// Answers every posting. What the database refuses is narrowed down by halves, to the posting and then to the entry
    /// at fault; the pieces stay in order.
    fn settle(&mut self, postings: Vec<Posting>) {
        let mut outcomes: Vec<Vec<EntryOutcome>> = postings.iter().map(|_| Vec::new()).collect();
        let whole = (0..).zip(&postings).map(|(index, posting)| Piece { index, posting, entries: &posting.entries });
        let mut rest = VecDeque::from([whole.collect::<Vec<_>>()]);
        while let Some(pieces) = rest.pop_front() {
            match self.commit(&pieces) {
                Ok(decided) => {
                    for (piece, decided) in pieces.iter().zip(decided) {
                        outcomes[piece.index].extend(decided);
                    }
                }
                Err(PostError::Refused) if can_be_halved(&pieces) => {
                    let (first, second) = halve(pieces);
                    rest.push_front(second);
                    rest.push_front(first);
                }
                Err(error) => {
                    for piece in &pieces {
                        outcomes[piece.index].extend(piece.entries.iter().map(|_| EntryOutcome::Failed(error)));
                    }
                }
            }
        }
        for (posting, outcomes) in postings.into_iter().zip(outcomes) {
            self.answer(posting, outcomes);
        }
    }

    fn answer(&self, posting: Posting, outcomes: Vec<EntryOutcome>) {
        let Posting { entries, reply, permit, .. } = posting;
        drop(permit);
        if let Err(unheard) = reply.send(Posted { entries, outcomes })
            && self.options.orphans.try_send(unheard).is_err()
        {
            warn!("a commit that nobody waited for could not be told; it shows with the user's next change or read");
        }
    }

    /// Runs a batch until it is committed, refused or given up.
    fn commit(&mut self, pieces: &[Piece<'_>]) -> Result<Vec<Vec<EntryOutcome>>, PostError> {
        let groups: Vec<Group<'_>> =
            pieces.iter().map(|p| Group { entries: p.entries, is_atomic: p.posting.is_atomic }).collect();
        let keys = Keys::of(&groups);
        let mut unknown: Option<Plan<'_>> = None;
        let mut races = 0;
        let mut wait_ms = RETRY_MS.0;
        loop {
            let error = match self.attempt(&groups, &keys, &mut unknown) {
                Ok(plan) => {
                    if wait_ms > RETRY_MS.0 {
                        info!("the ledger takes writes again");
                    }
                    return Ok(plan.outcomes);
                }
                Err(Failure::Before(error)) => error,
                Err(Failure::InCommit(error, plan)) => {
                    unknown = Some(plan);
                    error
                }
            };
            match error {
                StoreError::Refused(reason) if unknown.is_none() => {
                    if !can_be_halved(pieces) {
                        error!("the database refuses an entry: {reason}");
                    }
                    return Err(PostError::Refused);
                }
                StoreError::Raced(reason) if unknown.is_none() => {
                    races += 1;
                    if races > RACES_MAX {
                        error!("a transaction lost {races} races in a row: {reason}");
                        return Err(PostError::Refused);
                    }
                }
                error => {
                    let first_time = wait_ms == RETRY_MS.0;
                    if first_time {
                        warn!("the ledger can't be written: {error}");
                    }
                    if self.is_aborting.load(Ordering::Relaxed)
                        || (unknown.is_none() && pieces.iter().all(|p| p.posting.deadline.has_passed()))
                    {
                        return Err(PostError::Unavailable);
                    }
                    self.wait(Duration::from_millis(wait_ms));
                    wait_ms = (wait_ms * 2).min(RETRY_MS.1);
                    // Still away: the next attempt finds out again.
                    let _ = self.store.reconnect();
                }
            }
        }
    }

    /// One transaction. `unknown` is the plan of an attempt whose COMMIT broke; it is settled here.
    fn attempt<'a>(
        &mut self,
        groups: &[Group<'a>],
        keys: &Keys<'a>,
        unknown: &mut Option<Plan<'a>>,
    ) -> Result<Plan<'a>, Failure<'a>> {
        let loaded = self.store.begin(keys).map_err(|error| self.give_up(error))?;
        // The locks are ours now, so an earlier attempt is either visible or will never be.
        if let Some(earlier) = unknown.take()
            && earlier.is_committed(&loaded)
        {
            self.store.rollback();
            return Ok(earlier);
        }
        let committed_at_us = self.options.clock.now_us().max(self.last_commit_us);
        let plan = batch::plan(groups, loaded, self.options.rules, committed_at_us);
        if plan.writes_nothing() {
            self.store.rollback();
            return Ok(plan);
        }
        self.store.write(&plan).map_err(|error| self.give_up(error))?;
        // The point of no return: from here on an error means "unknown".
        match self.store.commit() {
            Ok(()) => {
                self.last_commit_us = committed_at_us;
                Ok(plan)
            }
            Err(error) => {
                self.store.rollback();
                Err(Failure::InCommit(StoreError::Lost(error.to_string()), plan))
            }
        }
    }

    fn give_up<'a>(&mut self, error: StoreError) -> Failure<'a> {
        self.store.rollback();
        Failure::Before(error)
    }

    /// Waits, but keeps taking what comes in, and answers what is past its deadline.
    fn wait(&mut self, wait: Duration) {
        let until = self.options.clock.deadline(wait);
        loop {
            match self.inbox.recv_timeout(until.remaining()) {
                Ok(Command::PutUser(_, reply)) => {
                    // Whoever hung up need not hear it.
                    let _ = reply.send(Err(LedgerError::Unavailable("the ledger can't be written".into())));
                }
                Ok(command) => self.take(command),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(until.remaining());
                    break;
                }
            }
        }
        for lane in [&mut self.single, &mut self.bulk] {
            let (late, waiting) = std::mem::take(lane).into_iter().partition(|p| p.deadline.has_passed());
            *lane = waiting;
            let late: VecDeque<Posting> = late;
            late.into_iter().for_each(|posting| answer_error(posting, PostError::Unavailable));
        }
    }

    fn put_user(&mut self, user: PutUser, reply: oneshot::Sender<Result<PutUserOutcome, LedgerError>>) {
        let mut outcome = self.store.put_user(user);
        for _ in 0..RACES_MAX {
            match outcome {
                Err(StoreError::Raced(_)) => {}
                Err(StoreError::Lost(_)) if self.store.reconnect().is_ok() => {}
                _ => break,
            }
            outcome = self.store.put_user(user);
        }
        let _ = reply.send(outcome.map_err(|error| LedgerError::Unavailable(error.to_string())));
    }
}

/// Moves postings from a lane into the batch while they fit; what is past its deadline is answered instead. An atomic
/// batch that is larger than all fits only as the first of its lane, so that it neither starves nor is torn.
fn fill(batch: &mut Vec<Posting>, count: &mut usize, lane: &mut VecDeque<Posting>, entries_max: usize) {
    let mut is_first = true;
    while let Some(next) = lane.front() {
        let fits = *count + next.entries.len() <= entries_max;
        let is_oversized = next.entries.len() > POSTING_ENTRIES_MAX;
        if !fits && !(is_first && is_oversized) {
            return;
        }
        let Some(posting) = lane.pop_front() else { return };
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
