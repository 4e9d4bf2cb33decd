//! The whole internal protocol.
//!
//! Everything that concerns one user goes to the [`crate::coordinator::registry::Registry`] as [`ToUser`] and from there, in order, into the
//! mailbox of that user's [`crate::coordinator::actor::BalanceActor`]. Answers come back through the one-shot channel inside the message. A
//! mailbox that is full answers the message through [`Routable::overloaded`]; nothing is dropped silently.
//!
//! | message | from | to | answer |
//! | --- | --- | --- | --- |
//! | [`PostEntries`] | webhooks | actor | [`Posted`] |
//! | [`PostBatch`] | webhooks | registry | each part's [`Posted`] |
//! | [`PostAtomic`] | webhooks | registry, then every user's actor as [`BalanceChanged`] | [`Posted`] |
//! | [`BalanceChanged`] | registry | actor | – |
//! | [`GetBalance`] | reads | actor | [`BalanceView`] |
//! | [`AttachSession`], [`RefreshSession`], [`DetachSession`], [`ReportDisplayed`] | session | actor | [`ToSession`] |
//! | [`InspectActor`], [`InspectSessions`], [`PushNow`], [`TellCached`] | registry | actor | what it sees, or has done |
//! | [`Retire`], [`LedgerRecovered`], [`Revalidate`], [`CloseSessions`] | registry | actor | – |
//! | [`SessionsGone`] | actor | registry | – |
//! | [`InspectRegistry`], [`ListActors`], [`ListRecent`] | admin | registry | totals, summaries, the latest events |
//! | [`InspectResident`], [`ListSessions`], [`RetireActor`], [`PeekBalance`] | admin, audit | registry | see below |
//! | [`Shutdown`] | app | registry | – |

use std::net::IpAddr;

use actix::{Message, Recipient};
use bytestring::ByteString;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::clock::Deadline;
use crate::coordinator::frames::BalanceView;
use crate::coordinator::journal::{RecentEvents, RecentQuery};
use crate::coordinator::views::{ActorInspection, ActorSummary, RegistryTotals, SessionInspection};
use crate::domain::{Amount, Balances, CurrencyId, Kind, NewEntry, SessionId, Source, UserId};
use crate::ledger::audit::CachedBalance;
use crate::ledger::{Lane, LedgerError, Permit, PostError, Posted};

/// When a session that could not be answered may ask again, in milliseconds.
const OVERLOADED_RETRY_MS: u64 = 1000;

/// A message that the registry can pass on to a user's actor.
pub trait Routable: Message<Result = ()> + Send + std::fmt::Debug + 'static {
    /// Answers it when the actor's mailbox is full.
    fn overloaded(self);
}

/// To the actor of one user, whether it is resident or not.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ToUser<M: Routable> {
    /// Whose actor.
    pub user_id: UserId,
    /// What for.
    pub message: M,
}

/// Post entries of one user; they apply in their order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PostEntries {
    /// At least one, at most `limits::POSTING_ENTRIES_MAX`, all of the actor's user.
    pub entries: Vec<NewEntry>,
    /// Which queue of the ledger.
    pub lane: Lane,
    /// When the sender stops waiting.
    pub deadline: Deadline,
    /// Its places in the ledger's queue.
    pub permit: Permit,
    /// The answer.
    pub reply: oneshot::Sender<Posted>,
}

/// The parts of a batch, each answered by itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PostBatch(pub Vec<ToUser<PostEntries>>);

/// Entries of any users, all or nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PostAtomic {
    /// In the order in which they apply.
    pub entries: Vec<NewEntry>,
    /// When the sender stops waiting.
    pub deadline: Deadline,
    /// Its places in the ledger's queue.
    pub permit: Permit,
    /// The answer.
    pub reply: oneshot::Sender<Posted>,
}

/// Entries of this user were committed on another way than through the actor's own posting.
#[derive(Debug, Default, Message)]
#[rtype(result = "()")]
pub struct BalanceChanged(pub Vec<CommittedEntry>);

/// A committed entry, as far as sessions have to hear of it.
#[derive(Debug)]
pub struct CommittedEntry {
    /// The version it made.
    pub version: i64,
    /// All balances after it.
    pub balances: Balances,
    /// When it was committed, microseconds since the Unix epoch.
    pub committed_at_us: i64,
    /// What it was.
    pub kind: Kind,
    /// Of which currency.
    pub currency: CurrencyId,
    /// The signed change.
    pub amount: Amount,
    /// Who sent it.
    pub source: Source,
}

/// Ask for the balance.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GetBalance {
    /// From the ledger, whatever the age of the cached value.
    pub is_fresh: bool,
    /// Wait until this version is there; the asker ends the wait by hanging up.
    pub min_version: Option<i64>,
    /// The answer; marked stale when the ledger is away but a value is known.
    pub reply: oneshot::Sender<Result<BalanceView, LedgerError>>,
}

/// An authenticated session wants to be told this user's balance, from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AttachSession {
    /// Which session.
    pub session_id: SessionId,
    /// Where it hears.
    pub outbox: Recipient<ToSession>,
    /// It was attached before, perhaps to an earlier actor: it takes nobody's place.
    pub is_again: bool,
    /// The newest version it was sent by an earlier actor; 0 for a new session.
    pub last_version: i64,
    /// What an administrator sees of it.
    pub peer: Peer,
}

/// Who is at the other end of a session.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it connects from.
    pub address: Option<IpAddr>,
    /// What it calls itself.
    pub user_agent: Option<std::sync::Arc<str>>,
    /// Since when, microseconds since the Unix epoch.
    pub connected_at_us: i64,
}

/// The session has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DetachSession {
    /// Which one.
    pub session_id: SessionId,
}

/// The session asks for a balance from the ledger.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RefreshSession {
    /// Which one; an actor that does not know it (it was made again) attaches it.
    pub session: AttachSession,
    /// Comes back as it was.
    pub id: Option<Box<RawValue>>,
}

/// The session's page shows this version now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReportDisplayed {
    /// Which session.
    pub session_id: SessionId,
    /// Which version.
    pub version: i64,
}

/// What a session is told. It hears from its actor alone.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum ToSession {
    /// Send this text frame; it carries this version (0: none).
    Frame {
        /// The JSON, shared by all sessions that get it.
        text: ByteString,
        /// What the session has seen once it is sent.
        version: i64,
    },
    /// Close.
    Close(CloseReason),
    /// The actor is gone: attach again.
    Reattach,
}

/// Why the coordinator closes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The service stops.
    GoingAway,
    /// Nothing more fits; come back later.
    Overloaded,
    /// A newer session of the user took its place.
    TooManySessions,
    /// An administrator closed it.
    ClosedByAdministrator,
}

/// Leave memory: the last message an actor gets.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Retire;

/// The ledger answers again: whoever was told a stale balance is owed a fresh one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LedgerRecovered;

/// The cached balance is older than it is trusted: ask the ledger, in case somebody wrote behind the service's back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Revalidate;

/// Close every session of the user.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CloseSessions(pub CloseReason);

/// An actor has no session any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SessionsGone {
    /// Whose actor.
    pub user_id: UserId,
}

/// Close all sessions and take no more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown;

/// Panic, as a bug would: for tests of what follows.
#[cfg(feature = "simulation")]
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Crash;

#[cfg(feature = "simulation")]
impl Routable for Crash {
    fn overloaded(self) {}
}

impl Routable for PostEntries {
    fn overloaded(self) {
        let Self { entries, reply, .. } = self;
        // Whoever does not wait any more need not hear it.
        let _ = reply.send(Posted::failed(entries, PostError::Overloaded));
    }
}

impl Routable for GetBalance {
    fn overloaded(self) {
        let _ = self.reply.send(Err(LedgerError::Overloaded));
    }
}

impl Routable for RefreshSession {
    fn overloaded(self) {
        let text =
            crate::coordinator::frames::ledger_unavailable(self.id.as_deref(), OVERLOADED_RETRY_MS);
        // A full outbox belongs to a peer that does not read.
        let _ = self
            .session
            .outbox
            .try_send(ToSession::Frame { text, version: 0 });
    }
}

impl Routable for AttachSession {
    fn overloaded(self) {
        // A full outbox belongs to a session that is being closed anyway.
        let _ = self
            .outbox
            .try_send(ToSession::Close(CloseReason::Overloaded));
    }
}

/// Facts and questions that need no answer of their own when an actor is overloaded: a balance that changed is told with
/// the next change or read, a session that can't be told stays with what it has, an inspection ends unanswered.
macro_rules! answered_by_silence {
    ($($message:ty),+) => { $(impl Routable for $message { fn overloaded(self) { log::warn!("a balance actor is overloaded: {self:?}"); } })+ };
}
answered_by_silence!(
    BalanceChanged,
    DetachSession,
    ReportDisplayed,
    LedgerRecovered,
    Revalidate,
    CloseSessions
);

/// A change that the actor hears of: an entry of its user was committed.
pub(super) struct Change<'a> {
    pub version: i64,
    pub balances: &'a Balances,
    pub committed_at_us: i64,
    pub kind: Kind,
    pub currency: CurrencyId,
    pub amount: Amount,
    pub source: &'a Source,
}

/// Ask how an actor looks from inside.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct InspectActor {
    /// The answer; dropped when it is overloaded.
    pub reply: oneshot::Sender<ActorInspection>,
}

/// Ask an actor for its sessions.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct InspectSessions {
    /// The answer; dropped when it is overloaded.
    pub reply: oneshot::Sender<Vec<SessionInspection>>,
}

/// Send what waits now, whatever the pacing says.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PushNow {
    /// Whether anything was sent; dropped when the actor is not resident.
    pub reply: oneshot::Sender<Result<bool, LedgerError>>,
}

/// Ask an actor what it holds.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TellCached {
    /// The answer; dropped when it is overloaded.
    pub reply: oneshot::Sender<Option<CachedBalance>>,
}

/// Ask for what an actor holds, without keeping it in memory any longer by that.
#[derive(Debug, Message)]
#[rtype(result = "Option<oneshot::Receiver<Option<CachedBalance>>>")]
pub struct PeekBalance(pub UserId);

/// Inspect an actor if it is resident.
#[derive(Debug, Message)]
#[rtype(result = "Option<Inspected>")]
pub struct InspectResident(pub UserId);

/// An actor that is being inspected.
#[derive(Debug)]
pub struct Inspected {
    /// As it looks from outside, for when it does not answer.
    pub from_outside: ActorInspection,
    /// Its own answer, if it comes.
    pub from_inside: oneshot::Receiver<ActorInspection>,
}

/// Ask for the sessions of users in the order of their ids.
#[derive(Debug, Message)]
#[rtype(result = "Vec<SessionsAsked>")]
pub struct ListSessions {
    /// Only users behind this id.
    pub after: i64,
    /// As many users as have so many sessions together, but at least one.
    pub limit: usize,
}

/// A user whose actor was asked for its sessions.
#[derive(Debug)]
pub struct SessionsAsked {
    /// Whose.
    pub user_id: UserId,
    /// How many there were when it was asked.
    pub sessions: usize,
    /// Its answer, if it comes.
    pub answer: oneshot::Receiver<Vec<SessionInspection>>,
}

/// Ask for the totals.
#[derive(Debug, Message)]
#[rtype(result = "RegistryTotals")]
pub struct InspectRegistry;

/// Ask for a summary of each resident actor.
#[derive(Debug, Message)]
#[rtype(result = "Vec<ActorSummary>")]
pub struct ListActors;

/// Ask for the latest events.
#[derive(Debug, Message)]
#[rtype(result = "RecentEvents")]
pub struct ListRecent(pub RecentQuery);

/// Take an actor out of memory. Its sessions attach to the next one by themselves.
#[derive(Debug, Message)]
#[rtype(result = "Retirement")]
pub struct RetireActor(pub UserId);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// It is gone.
    Retired,
    /// It was not there.
    NotResident,
    /// Something is under way in it.
    Busy,
    /// The next push has to keep its distance from the last one.
    PushedLately,
}

impl Routable for PushNow {
    fn overloaded(self) {
        // The administrator may have gone.
        let _ = self.reply.send(Err(LedgerError::Overloaded));
    }
}

/// Whoever inspects is answered from outside.
macro_rules! unanswered {
    ($($message:ty),+) => { $(impl Routable for $message { fn overloaded(self) {} })+ };
}
unanswered!(InspectActor, InspectSessions, TellCached);
