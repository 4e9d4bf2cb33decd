//! A ledger in memory that answers inline, unless it is told to hold its answers or to be away.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::domain::{
    Account, Amount, Currencies, EventId, Kind, NewEntry, Recorded, Rules, Source, TelegramId,
    UserId,
};
use crate::ledger::batch::{Group, Keys, Loaded, plan};
use crate::ledger::{
    EntryOutcome, Ledger, LedgerError, Orphan, Pending, PostError, Posted, Posting,
};

#[derive(Default)]
struct Books {
    accounts: HashMap<UserId, Account>,
    events: HashMap<EventId, Recorded>,
    is_away: bool,
    holds_reads: bool,
    holds_posts: bool,
    held_reads: Vec<oneshot::Sender<()>>,
    held_posts: Vec<Posting>,
    reads: usize,
    postings: usize,
}

/// Answers inline, unless told to hold or to be away.
pub(super) struct MemoryLedger {
    books: Mutex<Books>,
    clock: Clock,
    orphans: mpsc::Sender<Orphan>,
}

impl MemoryLedger {
    pub(super) fn new(clock: Clock, orphans: mpsc::Sender<Orphan>) -> Self {
        Self {
            books: Mutex::default(),
            clock,
            orphans,
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("not poisoned")
    }

    pub(super) fn reads(&self) -> usize {
        self.books().reads
    }

    pub(super) fn postings(&self) -> usize {
        self.books().postings
    }

    pub(super) fn go_away(&self, is_away: bool) {
        self.books().is_away = is_away;
    }

    pub(super) fn hold_reads(&self, holds: bool) {
        self.books().holds_reads = holds;
        if !holds {
            self.books()
                .held_reads
                .drain(..)
                .for_each(|held| held.send(()).expect("still waiting"));
        }
    }

    pub(super) fn hold_posts(&self, holds: bool) {
        self.books().holds_posts = holds;
        if !holds {
            let held = std::mem::take(&mut self.books().held_posts);
            held.into_iter().for_each(|posting| self.commit(posting));
        }
    }

    /// An entry that the coordinator is not told of.
    pub(super) fn write_behind(&self, user: i64, event: &str, minor: i64) {
        self.apply(&[entry(user, event, Kind::Reward, minor)], false);
    }

    fn apply(&self, entries: &[NewEntry], is_atomic: bool) -> Vec<EntryOutcome> {
        let mut books = self.books();
        let known = |user: &UserId| {
            books
                .accounts
                .get(user)
                .cloned()
                .unwrap_or_else(|| Account::unknown(2))
        };
        let accounts = entries
            .iter()
            .map(|entry| (entry.user_id, known(&entry.user_id)))
            .collect();
        let loaded = Loaded {
            accounts,
            events: books.events.clone(),
            hashes: HashMap::new(),
        };
        let now_us = self.clock.now_us();
        let groups = [Group { entries, is_atomic }];
        let plan = plan(
            &groups,
            &Keys::of(&groups),
            loaded,
            Rules { auto_create: true },
            now_us,
        );
        for planned in &plan.entries {
            let entry = planned.entry;
            let recorded = Recorded::of(entry, planned.version, now_us);
            books.events.insert(entry.event_id.clone(), recorded);
        }
        books.accounts.extend(plan.accounts.into_iter().map(|of| {
            (
                of.user_id,
                Account {
                    exists: true,
                    ..of.account
                },
            )
        }));
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
        if let Err(unheard) = reply.send(Posted { entries, outcomes }) {
            self.orphans.try_send(unheard).expect("room");
        }
    }
}

impl Ledger for MemoryLedger {
    fn post(&self, posting: Posting) {
        self.books().postings += 1;
        if self.books().is_away {
            let Posting { entries, reply, .. } = posting;
            let _ = reply.send(Posted::failed(entries, PostError::Unavailable));
        } else if self.books().holds_posts {
            self.books().held_posts.push(posting);
        } else {
            self.commit(posting);
        }
    }

    fn account(&self, user: UserId) -> Pending<Account> {
        let mut books = self.books();
        books.reads += 1;
        let result = if books.is_away {
            Err(LedgerError::Unavailable("away".into()))
        } else {
            Ok(books
                .accounts
                .get(&user)
                .cloned()
                .unwrap_or_else(|| Account::unknown(2)))
        };
        let (release, held) = oneshot::channel();
        if books.holds_reads {
            books.held_reads.push(release);
        } else {
            release.send(()).expect("just made");
        }
        Box::pin(async move {
            held.await.expect("released");
            result
        })
    }

    fn user_of_telegram(&self, _: TelegramId) -> Pending<Option<UserId>> {
        let is_away = self.books().is_away;
        Box::pin(async move {
            if is_away {
                Err(LedgerError::Unavailable("away".into()))
            } else {
                Ok(None)
            }
        })
    }

    fn ping(&self) -> Pending<()> {
        let is_away = self.books().is_away;
        Box::pin(async move {
            if is_away {
                Err(LedgerError::Unavailable("away".into()))
            } else {
                Ok(())
            }
        })
    }
}

pub(super) fn entry(user: i64, event: &str, kind: Kind, minor: i64) -> NewEntry {
    NewEntry {
        event_id: EventId::parse(event).expect("event id"),
        user_id: UserId::new(user).expect("user id"),
        kind,
        currency: Currencies::default().find("TON").expect("a default"),
        amount: Amount::from_minor(minor),
        source: Source::from(kind),
        tx_hash: None,
        details: None,
    }
}
