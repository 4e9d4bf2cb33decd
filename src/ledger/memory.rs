//! The ledger's tables in memory, and a ledger over them that answers at once: for tests, the simulation and benches.
//!
//! What is decided is decided by the real rule ([`super::batch`]). Faults come from outside: [`MemoryLedger`] can be told
//! to be away or to hold its answers, and the simulation plans its own around [`Tables`]. Only with the feature `simulation`.

#[cfg(test)]
pub(super) mod faulty_store;
mod memory_tables;

use std::sync::{Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::domain::{
    Account, Amount, Change, Currencies, EventId, Kind, NewEntry, Source, TelegramId, UserId,
};

use super::batch::Group;
use super::{
    EntryOutcome, Ledger, LedgerError, Loss, MissedEntry, Orphan, Pending, PostError, Posted,
    Posting, Standing,
};

pub use memory_tables::Tables;

#[derive(Debug, Default)]
struct Books {
    tables: Tables,
    is_away: bool,
    unfit: Option<UserId>,
    pings: usize,
    serves_old: bool,
    /// The tables as they were kept.
    kept: Option<Tables>,
    epochs: usize,
    holds_reads: bool,
    holds_posts: bool,
    held_reads: Vec<oneshot::Sender<()>>,
    held_posts: Vec<Posting>,
    holds_background: bool,
    reads: usize,
    background_reads: usize,
    postings: usize,
}

/// Answers inline, unless it is told to hold its answers or to be away.
#[derive(Debug)]
pub struct MemoryLedger {
    books: Mutex<Books>,
    clock: Clock,
    orphans: mpsc::Sender<Orphan>,
    standing: Standing,
}

/// The epoch of a ledger in memory that has gone back so many times.
fn epoch(number: usize) -> String {
    format!("epoch {number}")
}

impl MemoryLedger {
    /// An empty one. `orphans` gets what was committed while nothing waited for the answer.
    pub fn new(clock: Clock, orphans: mpsc::Sender<Orphan>) -> Self {
        Self {
            books: Mutex::default(),
            clock,
            orphans,
            standing: Standing::of(&epoch(0)),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no panic holds it")
    }

    /// From now on its entries are kept, for readers that missed some.
    pub fn keep_entries(&self) {
        self.books().tables.keep_entries();
    }

    /// What the tables say of a user, without a read.
    pub fn tables_account(&self, user: i64) -> Account {
        let user = UserId::new(user).expect("a user id");
        self.books().tables.account(user)
    }

    /// How many reads of accounts were asked for.
    pub fn reads(&self) -> usize {
        self.books().reads
    }

    /// How many reads of accounts nobody asked for.
    pub fn background_reads(&self) -> usize {
        self.books().background_reads
    }

    /// From now on reads that nobody asked for get no answer; [`MemoryLedger::hold_reads`] releases them, too.
    pub fn hold_background_reads(&self) {
        self.books().holds_background = true;
    }

    /// How many postings came in.
    pub fn postings(&self) -> usize {
        self.books().postings
    }

    /// From now on it fails, or works again.
    pub fn go_away(&self, is_away: bool) {
        self.books().is_away = is_away;
    }

    /// From now on the balance of a user can't be read, or of none.
    pub fn spoil(&self, user: Option<i64>) {
        self.books().unfit = user.map(|user| UserId::new(user).expect("a user id"));
    }

    /// How often it was asked whether it answers.
    pub fn pings(&self) -> usize {
        self.books().pings
    }

    /// From now on reads are answered by a copy from before the first entry, or by the ledger again.
    pub fn serve_old(&self, serves_old: bool) {
        self.books().serves_old = serves_old;
    }

    /// Keeps a copy of the tables.
    pub fn keep(&self) {
        let books = &mut *self.books();
        books.kept = Some(books.tables.clone());
    }

    /// Goes back to the tables that were kept.
    pub fn go_back(&self) {
        let books = &mut *self.books();
        books.tables = books.kept.clone().expect("kept before");
    }

    /// Gives the ledger a new epoch, as another process would.
    pub fn begin_epoch(&self) {
        let mut books = self.books();
        books.epochs += 1;
        self.standing.has_epoch(&epoch(books.epochs), "planned");
    }

    /// From now on reads get no answer, or all that waited get theirs.
    pub fn hold_reads(&self, holds: bool) {
        let mut books = self.books();
        books.holds_reads = holds;
        if !holds {
            books.holds_background = false;
            for held in books.held_reads.drain(..) {
                held.send(()).expect("still waiting");
            }
        }
    }

    /// From now on postings are not carried out, or all that waited are.
    pub fn hold_posts(&self, holds: bool) {
        let mut books = self.books();
        books.holds_posts = holds;
        if !holds {
            let held = std::mem::take(&mut books.held_posts);
            drop(books);
            held.into_iter().for_each(|posting| self.commit(posting));
        }
    }

    /// A reward that the coordinator is not told of.
    pub fn write_behind(&self, user: i64, event: &str, minor: i64) {
        self.write_elsewhere(user, event, Kind::Reward, minor);
    }

    /// The same for an entry of any kind.
    pub fn write_elsewhere(&self, user: i64, event: &str, kind: Kind, minor: i64) {
        self.apply(&[entry(user, event, kind, minor)], false);
    }

    fn apply(&self, entries: &[NewEntry], is_atomic: bool) -> Vec<EntryOutcome> {
        let group = Group { entries, is_atomic };
        let tables = &mut self.books().tables;
        let plan = tables.decide(&[group], self.clock.wall().us());
        tables.write(&plan);
        plan.outcomes.into_iter().flatten().collect()
    }

    fn commit(&self, posting: Posting) {
        let Posting {
            entries,
            is_atomic,
            reply,
            ..
        } = posting;
        let outcomes = self.apply(&entries, is_atomic);
        self.standing.answered();
        if let Err(unheard) = reply.send(Posted { entries, outcomes }) {
            self.orphans.try_send(unheard).expect("room");
        }
    }

    /// The answer to a question, once answers are not held.
    fn answer<T: Send + 'static>(&self, is_held: bool, value: T) -> Pending<T> {
        let mut books = self.books();
        let result = if books.is_away {
            self.standing.unanswered();
            Err(LedgerError::Unavailable("away".into()))
        } else {
            self.standing.answered();
            Ok(value)
        };
        let (release, held) = oneshot::channel();
        if is_held {
            books.held_reads.push(release);
        } else {
            release.send(()).expect("just made");
        }
        Box::pin(async move {
            held.await.expect("released");
            result
        })
    }
}

impl Ledger for MemoryLedger {
    fn post(&self, posting: Posting) {
        let mut books = self.books();
        books.postings += 1;
        if books.is_away {
            self.standing.unanswered();
            let Posting { entries, reply, .. } = posting;
            // Its actor may have died.
            let _ = reply.send(Posted::failed(entries, PostError::Unavailable));
        } else if books.holds_posts {
            books.held_posts.push(posting);
        } else {
            drop(books);
            self.commit(posting);
        }
    }

    fn account(&self, user: UserId) -> Pending<Account> {
        let mut books = self.books();
        books.reads += 1;
        let account = match books.serves_old {
            true => Account::unknown(2),
            false => books.tables.account(user),
        };
        let is_held = books.holds_reads;
        if books.unfit == Some(user) {
            return Box::pin(async { Err(LedgerError::Unfit("spoilt".into())) });
        }
        drop(books);
        self.answer(is_held, account)
    }

    fn account_in_background(&self, user: UserId) -> Pending<Account> {
        let mut books = self.books();
        books.background_reads += 1;
        let account = books.tables.account(user);
        let is_held = books.holds_background;
        drop(books);
        self.answer(is_held, account)
    }

    fn versions(&self, users: Vec<UserId>) -> Pending<Vec<(UserId, i64)>> {
        let books = self.books();
        let known = |user: UserId| (user, books.tables.account(user).version);
        let versions = users.into_iter().map(known).collect();
        drop(books);
        self.answer(false, versions)
    }

    fn missed_entries(&self, known: Vec<(UserId, i64)>) -> Pending<Vec<MissedEntry>> {
        let books = self.books();
        if known.iter().any(|(user, _)| books.unfit == Some(*user)) {
            return Box::pin(async { Err(LedgerError::Unfit("spoilt".into())) });
        }
        let missed = |(user, version): &(UserId, i64)| books.tables.missed(*user, *version);
        let entries = known.iter().flat_map(missed).collect();
        drop(books);
        self.answer(false, entries)
    }

    fn user_of_telegram(&self, _: TelegramId) -> Pending<Option<UserId>> {
        self.answer(false, None)
    }

    fn ping(&self) -> Pending<()> {
        self.books().pings += 1;
        self.answer(false, ())
    }

    fn went_back(&self, loss: Loss) -> Pending<()> {
        let books = self.books();
        let is_behind = loss.is_proven || books.tables.account(loss.user_id).version < loss.known;
        let is_new = *loss.epoch.name == *epoch(books.epochs);
        let is_away = books.is_away;
        drop(books);
        if is_behind && is_new && !is_away {
            self.begin_epoch();
        }
        self.answer(false, ())
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// An entry of TON.
///
/// # Panics
/// When an id is none.
pub fn entry(user: i64, event: &str, kind: Kind, minor: i64) -> NewEntry {
    NewEntry {
        event_id: EventId::parse(event).expect("an event id"),
        user_id: UserId::new(user).expect("a user id"),
        kind,
        change: Change::Plain {
            currency: Currencies::default().find("TON").expect("a default"),
            amount: Amount::from_minor(minor),
        },
        source: Source::from(kind),
        tx_hash: None,
        details: None,
    }
}
