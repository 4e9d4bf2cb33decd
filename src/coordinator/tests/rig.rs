//! A ledger in memory that answers inline, and sessions that write down what they hear.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::coordinator::messages::{
    AttachSession, Peer, PostAtomic, PostBatch, PostEntries, RefreshSession, Routable, SessionId, ToSession, ToUser,
};
use crate::coordinator::pacing::Intervals;
use crate::coordinator::{BalanceActor, Policy, Registry, Shared};
use crate::domain::{Account, Amount, Currencies, EventId, Kind, NewEntry, Outcome, Recorded, Rules, Source, UserId};
use crate::ledger::batch::{Group, Loaded, plan};
use crate::ledger::{Admission, EntryOutcome, Lane, Ledger, LedgerError, Orphan, Pending, PostError, Posted, Posting};
use crate::telemetry::counters::Counters;

pub(super) const CACHE_ENTRIES_MAX: usize = 5;
pub(super) const SESSIONS_PER_USER_MAX: usize = 3;

pub(super) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Makes its actor panic.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Crash;

impl Routable for Crash {
    fn overloaded(self) {}
}

impl Handler<Crash> for BalanceActor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("planned");
    }
}

impl Handler<ToUser<Crash>> for Registry {
    type Result = ();

    fn handle(&mut self, crash: ToUser<Crash>, ctx: &mut Self::Context) {
        self.route_crash(crash, ctx);
    }
}

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
            self.books().held_reads.drain(..).for_each(|held| held.send(()).expect("still waiting"));
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
        let known = |user: &UserId| books.accounts.get(user).cloned().unwrap_or_else(|| Account::unknown(2));
        let accounts = entries.iter().map(|entry| (entry.user_id, known(&entry.user_id))).collect();
        let loaded = Loaded { accounts, events: books.events.clone(), hashes: HashMap::new() };
        let now_us = self.clock.now_us();
        let plan = plan(&[Group { entries, is_atomic }], loaded, Rules { auto_create: true }, now_us);
        for planned in &plan.entries {
            let entry = planned.entry;
            let recorded = Recorded::of(entry, planned.version, now_us);
            books.events.insert(entry.event_id.clone(), recorded);
        }
        books.accounts.extend(plan.accounts.into_iter().map(|(user, a)| (user, Account { exists: true, ..a })));
        plan.outcomes.into_iter().flatten().collect()
    }

    fn commit(&self, posting: Posting) {
        let Posting { entries, is_atomic, reply, .. } = posting;
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
            Ok(books.accounts.get(&user).cloned().unwrap_or_else(|| Account::unknown(2)))
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

    fn ping(&self) -> Pending<()> {
        let is_away = self.books().is_away;
        Box::pin(async move { if is_away { Err(LedgerError::Unavailable("away".into())) } else { Ok(()) } })
    }
}

fn entry(user: i64, event: &str, kind: Kind, minor: i64) -> NewEntry {
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

pub(super) fn version(posted: Posted) -> Result<i64, PostError> {
    match posted.outcomes.into_iter().next() {
        Some(EntryOutcome::Decided { outcome: Outcome::Accepted { version, .. }, .. }) => Ok(version),
        Some(EntryOutcome::Failed(error)) => Err(error),
        other => panic!("not accepted: {other:?}"),
    }
}

/// A session that only listens, and attaches again when it is told to.
struct Listener {
    id: SessionId,
    user_id: UserId,
    registry: Addr<Registry>,
    heard: Arc<Mutex<Vec<String>>>,
    last_version: i64,
    stalled: Option<oneshot::Receiver<()>>,
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.attach(ctx);
    }
}

impl Listener {
    fn attach(&self, ctx: &Context<Self>) {
        let message = AttachSession {
            session_id: self.id,
            outbox: ctx.address().recipient(),
            last_version: self.last_version,
            peer: Peer { address: None, user_agent: None, connected_at_us: 0 },
        };
        self.registry.try_send(ToUser { user_id: self.user_id, message }).expect("room");
    }

    /// `snapshot v7 stale`, `direct v8 e1 +5`, `error code`
    fn note(&self, text: &str) {
        let frame: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let field = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        let line = match field("type").as_str() {
            "balance" if frame["stale"] == true => format!("{} v{} stale", field("reason"), frame["version"]),
            "balance" => format!("{} v{}", field("reason"), frame["version"]),
            "balance_update" => {
                let change = frame["changes"]["TON"].as_str().unwrap_or_default();
                let minor = Amount::parse(change, 9).expect("an amount").minor();
                format!("{} v{} e{} {minor:+}", field("mode"), frame["version"], frame["entries"])
            }
            _ => format!("{} {}", field("type"), field("code")),
        };
        self.heard.lock().expect("not poisoned").push(line);
    }
}

impl Handler<ToSession> for Listener {
    type Result = ();

    fn handle(&mut self, message: ToSession, ctx: &mut Self::Context) {
        match message {
            ToSession::Frame { text, version } => {
                assert!(version == 0 || version >= self.last_version, "an older version was sent");
                self.last_version = self.last_version.max(version);
                self.note(&text);
            }
            ToSession::Close(reason) => self.heard.lock().expect("not poisoned").push(format!("close {reason:?}")),
            ToSession::Reattach => self.attach(ctx),
        }
        if let Some(stalled) = self.stalled.take() {
            ctx.wait(stalled.into_actor(self).map(|_, _, _| ()));
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stall(oneshot::Receiver<()>);

impl Handler<Stall> for Listener {
    type Result = ();

    fn handle(&mut self, Stall(until): Stall, _: &mut Self::Context) {
        self.stalled = Some(until);
    }
}

/// A listener from outside.
pub(super) struct Session {
    pub(super) id: SessionId,
    user_id: UserId,
    address: Addr<Listener>,
    heard: Arc<Mutex<Vec<String>>>,
    release: Mutex<Option<oneshot::Sender<()>>>,
}

impl Session {
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("not poisoned").clone()
    }

    /// After its next message it takes no more, until released.
    pub(super) async fn stall(&self, stalls: bool) {
        let release = if stalls {
            let (release, until) = oneshot::channel();
            self.address.send(Stall(until)).await.expect("alive");
            Some(release)
        } else {
            None
        };
        *self.release.lock().expect("not poisoned") = release;
    }
}

pub(super) struct Rig {
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) registry: Addr<Registry>,
    clock: Clock,
    admission: Admission,
    sessions: Mutex<u64>,
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::start_with_cache(CACHE_ENTRIES_MAX).await
    }

    pub(super) async fn start_with_cache(cache_entries_max: usize) -> Self {
        tokio::time::pause();
        let clock = Clock::virtual_from(1_754_301_900_000_000);
        let (orphans, unheard) = mpsc::channel(16);
        let ledger = Arc::new(MemoryLedger { books: Mutex::default(), clock, orphans });
        let policy = Policy {
            intervals: Intervals { debounce_us: 1_500_000, min_interval_us: 5_000_000, direct_interval_us: 100_000 },
            direct_kinds: vec![Kind::Deposit, Kind::Withdrawal, Kind::Adjustment],
            cache_ttl_us: 300_000_000,
            cache_entries_max,
            cache_sweep_ms: 60_000,
            sessions_per_user_max: SESSIONS_PER_USER_MAX,
            retry_after_ms: 1000,
        };
        let shared = Shared {
            ledger: ledger.clone(),
            clock,
            currencies: Currencies::default(),
            epoch: "test".into(),
            policy,
            counters: Arc::new(Counters::default()),
        };
        let registry = Registry::new(shared, unheard).start();
        Self { ledger, registry, clock, admission: Admission::new(100_000), sessions: Mutex::new(0) }
    }

    /// Lets everything that can happen now happen.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(super) async fn attach(&self, user: i64) -> Session {
        let id = {
            let mut sessions = self.sessions.lock().expect("not poisoned");
            *sessions += 1;
            SessionId(*sessions)
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let user_id = UserId::new(user).expect("user id");
        let listener = Listener {
            id,
            user_id,
            registry: self.registry.clone(),
            heard: heard.clone(),
            last_version: 0,
            stalled: None,
        };
        let address = listener.start();
        tokio::task::yield_now().await;
        Session { id, user_id, address, heard, release: Mutex::new(None) }
    }

    pub(super) async fn tell<M>(&self, user: i64, message: M)
    where
        M: Routable,
        Registry: Handler<ToUser<M>>,
    {
        let user_id = UserId::new(user).expect("user id");
        self.registry.send(ToUser { user_id, message }).await.expect("alive");
    }

    /// Sent at once; the session asks without waiting for anything.
    pub(super) fn refresh(&self, session: &Session) {
        let attachment = AttachSession {
            session_id: session.id,
            outbox: session.address.clone().recipient(),
            last_version: 0,
            peer: Peer { address: None, user_agent: None, connected_at_us: 0 },
        };
        let message = RefreshSession { session: attachment, id: None };
        self.registry.try_send(ToUser { user_id: session.user_id, message }).expect("room");
    }

    pub(super) async fn begin_post(
        &self,
        user: i64,
        event: &str,
        kind: Kind,
        minor: i64,
        lane: Lane,
    ) -> oneshot::Receiver<Posted> {
        let (reply, answer) = oneshot::channel();
        let permit = self.admission.try_acquire(lane, 1).expect("room");
        let deadline = self.clock.deadline(Duration::from_secs(3600));
        let entries = vec![entry(user, event, kind, minor)];
        self.tell(user, PostEntries { entries, lane, deadline, permit, reply }).await;
        answer
    }

    /// Postings of one entry each, sent at once.
    pub(super) fn burst(&self, user: i64, count: usize) -> Vec<oneshot::Receiver<Posted>> {
        let user_id = UserId::new(user).expect("user id");
        let (parts, answers) = (0..count)
            .map(|n| {
                let (reply, answer) = oneshot::channel();
                let permit = self.admission.try_acquire(Lane::Bulk, 1).expect("room");
                let deadline = self.clock.deadline(Duration::from_secs(3600));
                let entries = vec![entry(user, &format!("burst:{user}:{n}"), Kind::Reward, 1)];
                let message = PostEntries { entries, lane: Lane::Bulk, deadline, permit, reply };
                (ToUser { user_id, message }, answer)
            })
            .unzip();
        self.registry.try_send(PostBatch(parts)).expect("room");
        answers
    }

    pub(super) async fn post_atomic(&self, user: i64, count: usize) -> oneshot::Receiver<Posted> {
        let (reply, answer) = oneshot::channel();
        let permit = self.admission.try_acquire(Lane::Bulk, count).expect("room");
        let deadline = self.clock.deadline(Duration::from_secs(3600));
        let entries = (0..count).map(|n| entry(user, &format!("atomic:{n}"), Kind::Reward, 1)).collect();
        self.registry.send(PostAtomic { entries, deadline, permit, reply }).await.expect("alive");
        answer
    }

    pub(super) async fn post(&self, user: i64, event: &str, kind: Kind, minor: i64) -> Result<i64, PostError> {
        version(self.begin_post(user, event, kind, minor, Lane::Single).await.await.expect("answered"))
    }
}
