//! The whole internal protocol.
//!
//! What concerns one user goes to the [`crate::coordinator::registry::Registry`] as [`ToUser`], and from there, in order,
//! into the mailbox of that user's [`crate::coordinator::actor::BalanceActor`]. Each [`ToActor`] has its route in
//! `ToActor::route` and its refusals in `ToActor::overloaded` and `ToActor::stopping`; nothing is dropped silently.
//! Answers come back through the one-shot channel inside a message.
//!
//! | message | from | to | answer |
//! | --- | --- | --- | --- |
//! | [`ToUser`] | see [`ToActor`] | registry, then the user's actor | see [`ToActor`] |
//! | [`PostBatch`] | webhooks | registry | each part's [`Posted`] |
//! | [`PostAtomic`] | webhooks | registry, then the actors as [`ToActor::BalanceChanged`] | [`Posted`] |
//! | [`HearCommits`] | cluster | registry, then the actors as [`ToActor::Heard`] | – |
//! | [`ToSession`] | actor | session | – |
//! | [`SessionsGone`] | actor | registry | – |
//! | [`InspectRegistry`], [`ListActors`], [`ListRecent`], [`ListSessions`] | admin | registry | totals, summaries, events, sessions |
//! | [`InspectResident`], [`RetireActor`] | admin | registry | one actor; what became of it |
//! | [`Shutdown`] | app | registry | – |

use std::net::IpAddr;
use std::sync::Arc;

use actix::Message;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::clock::{Deadline, Wall};
use crate::coordinator::frames::{self, BalanceView};
use crate::coordinator::heard::HeardCommit;
use crate::coordinator::journal::{EventKind, RecentEvents};
pub use crate::coordinator::to_session::{CloseReason, Outbox, ToSession};
use crate::coordinator::views::{ActorInspection, ActorSummary, RegistryTotals, SessionInspection};
use crate::domain::{
    Account, Amount, Balances, CurrencyId, EventId, Kind, NewEntry, Outcome, RequestId, SessionId,
    Source, UserId,
};
use crate::ledger::{EntryOutcome, Lane, LedgerError, MissedEntry, Permit, PostError, Posted};

/// When a session that could not be answered may ask again, in milliseconds.
const OVERLOADED_RETRY_MS: u64 = 1000;

/// To the actor of one user.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ToUser {
    /// Whose actor.
    pub user_id: UserId,
    /// What for.
    pub message: ToActor,
}

/// Everything that an actor handles.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ToActor {
    /// Webhooks: post entries. Answered with [`Posted`].
    PostEntries(PostEntries),
    /// Registry: entries of this user were committed, but not through this actor.
    BalanceChanged(Changed),
    /// Registry: another process has committed entries, which a check has found.
    Missed(Missed),
    /// Registry: another process has told of a commit.
    Heard(HeardCommit),
    /// Registry: another epoch of the ledger has begun.
    FollowEpoch,
    /// Readers: ask for the balance. Answered with a [`BalanceView`].
    GetBalance(GetBalance),
    /// Sessions: an authenticated session wants the balance from now on. Answered with a snapshot.
    AttachSession(AttachSession),
    /// Sessions: ask for a balance from the ledger. Answered with a `balance` frame.
    RefreshSession {
        /// Attached if the actor does not know it: it may have been made again.
        session: Box<AttachSession>,
        /// Sent back unchanged.
        id: Option<Box<RawValue>>,
    },
    /// Sessions: the session has ended.
    DetachSession {
        /// Which one.
        session_id: SessionId,
    },
    /// Sessions: the page shows this version.
    ReportDisplayed {
        /// Which session.
        session_id: SessionId,
        /// Which version.
        version: i64,
    },
    /// Registry, administrators: close every session of the user.
    CloseSessions(CloseReason),
    /// Administrators: push what waits now, whatever the pacing says. Answered with whether anything was pushed.
    PushNow {
        /// Dropped when the actor is not resident.
        reply: oneshot::Sender<Result<bool, LedgerError>>,
    },
    /// Registry: show the actor from inside.
    InspectActor {
        /// Dropped when the mailbox is full.
        reply: oneshot::Sender<ActorInspection>,
    },
    /// Registry: show the sessions.
    InspectSessions {
        /// Dropped when the mailbox is full.
        reply: oneshot::Sender<Vec<SessionInspection>>,
    },
    /// Audit: show the cached state. Does not count as use, so it keeps no actor in memory.
    PeekBalance {
        /// Dropped when the actor is not resident or its mailbox is full.
        reply: oneshot::Sender<Option<Account>>,
    },
    /// Registry: an actor that sent a stale balance, or none, reads the ledger again.
    ReadAgain(Turn),
    /// Registry: the cached balance is older than the TTL. Read it again, in case the ledger was changed by hand.
    Revalidate(Turn),
    /// Registry: stop. Always the last message.
    Retire,
    /// Tests: panic, as a bug would.
    #[cfg(feature = "simulation")]
    Crash,
}

/// A turn to read the ledger unasked; it ends when it is dropped.
pub type Turn = OwnedSemaphorePermit;

/// How the registry delivers a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    /// Makes the actor when it is not resident; otherwise the message is dropped.
    pub makes_actor: bool,
    /// The actor stays, for its session.
    pub attaches: bool,
    /// Counts as use: the actor stays in memory longer, and one that died is made again.
    pub is_use: bool,
    /// Refused while the service stops.
    pub is_refused_when_stopping: bool,
}

impl ToActor {
    /// How the registry delivers it.
    pub(super) const fn route(&self) -> Route {
        let to_resident = Route {
            makes_actor: false,
            attaches: false,
            is_use: true,
            is_refused_when_stopping: false,
        };
        match self {
            Self::PostEntries(_) => Route {
                makes_actor: true,
                is_refused_when_stopping: true,
                ..to_resident
            },
            Self::GetBalance(_) => Route {
                makes_actor: true,
                ..to_resident
            },
            Self::AttachSession(_) | Self::RefreshSession { .. } => Route {
                makes_actor: true,
                attaches: true,
                is_refused_when_stopping: true,
                ..to_resident
            },
            // An actor that died or was retired learns of changes from the ledger when it is made again.
            Self::BalanceChanged(_)
            | Self::Missed(_)
            | Self::Heard(_)
            | Self::PeekBalance { .. }
            | Self::Retire => Route {
                is_use: false,
                ..to_resident
            },
            _ => to_resident,
        }
    }

    /// Answers it when the actor's mailbox is full. An answer to a peer that has gone is lost, and so is one to a session
    /// whose outbox is full: it does not read, or it is being closed.
    pub(super) fn overloaded(self) {
        match self {
            Self::PostEntries(PostEntries { entries, reply, .. }) => {
                let _ = reply.send(Posted::failed(entries, PostError::Overloaded));
            }
            Self::GetBalance(request) => request.answer(Err(LedgerError::Overloaded)),
            Self::AttachSession(AttachSession { mut outbox, .. }) => {
                let _ = outbox.try_send(ToSession::Close(CloseReason::Overloaded));
                outbox.end();
            }
            Self::RefreshSession { mut session, id } => {
                let text = frames::ledger_unavailable(id.as_deref(), OVERLOADED_RETRY_MS);
                let frame = ToSession::Frame { text, version: 0 };
                let _ = session.outbox.try_send(frame);
                session.outbox.end();
            }
            Self::PushNow { reply } => {
                let _ = reply.send(Err(LedgerError::Overloaded));
            }
            // The dropped channel is the answer.
            Self::InspectActor { .. } | Self::InspectSessions { .. } | Self::PeekBalance { .. } => {
            }
            // The actor makes up for them: see `Slot::send`.
            Self::BalanceChanged(_)
            | Self::Missed(_)
            | Self::Heard(_)
            | Self::DetachSession { .. } => {}
            // The next one makes up for it.
            unanswered => log::warn!("a balance actor is overloaded: {unanswered:?}"),
        }
    }

    /// Answers it when the service stops; only messages that are refused then come here.
    pub(super) fn stopping(self) {
        match self {
            Self::PostEntries(PostEntries { entries, reply, .. }) => {
                let _ = reply.send(Posted::failed(entries, PostError::ShuttingDown));
            }
            Self::AttachSession(AttachSession { mut outbox, .. }) => {
                let _ = outbox.try_send(ToSession::Close(CloseReason::GoingAway));
                outbox.end();
            }
            // Its session is being closed.
            Self::RefreshSession { mut session, .. } => session.outbox.end(),
            _ => {}
        }
    }
}

/// Post entries of one user; they apply in their order.
#[derive(Debug)]
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
pub struct PostBatch(pub Vec<(UserId, PostEntries)>);

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

/// A committed entry: what the user's actor takes into its cache, the journal and the next push.
#[derive(Debug)]
pub struct CommittedEntry {
    /// The idempotency key.
    pub event_id: EventId,
    /// The version it made.
    pub version: i64,
    /// All balances after it.
    pub balances: Balances,
    /// When it was committed.
    pub committed_at: Wall,
    /// What it was.
    pub kind: Kind,
    /// Of which currency.
    pub currency: CurrencyId,
    /// The signed change.
    pub amount: Amount,
    /// The sender.
    pub source: Source,
    /// The request that brought it.
    pub request: Option<RequestId>,
}

/// Entries of one user that were committed, but not through its actor.
#[derive(Debug)]
pub struct Changed {
    /// In order; at least one.
    pub entries: Vec<CommittedEntry>,
    /// What was known when they were sent to the ledger.
    pub known: Known,
}

/// Entries of one user that another process has committed.
#[derive(Debug)]
pub struct Missed {
    /// In order, without a gap; none when they can't be read together with those of others, and the actor has to read.
    pub entries: Vec<MissedEntry>,
    /// The number of the epoch in which they were looked for.
    pub epoch: u64,
}

/// What an actor knew when entries were sent to the ledger. Their versions are newer, unless the ledger has gone back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// The number of the epoch; 0 when it may have been an earlier one.
    pub epoch: u64,
    /// The newest version; 0 when it is not known what was known.
    pub version: i64,
}

impl CommittedEntry {
    /// `None` when the entry was not accepted.
    pub(super) fn of(entry: &NewEntry, outcome: &EntryOutcome) -> Option<Self> {
        let EntryOutcome::Decided {
            outcome:
                Outcome::Accepted {
                    version,
                    balances,
                    applied,
                },
            committed_at_us,
        } = outcome
        else {
            return None;
        };
        Some(Self {
            event_id: entry.event_id.clone(),
            version: *version,
            balances: balances.clone(),
            committed_at: Wall::from_us(*committed_at_us),
            kind: entry.kind,
            currency: applied.currency,
            amount: applied.amount,
            source: entry.source.clone(),
            request: entry.request(),
        })
    }
}

/// Ask for the balance.
#[derive(Debug)]
pub struct GetBalance {
    /// From the ledger, whatever the age of the cached value.
    pub is_fresh: bool,
    /// Wait until the actor knows this version. The wait ends when the asker drops its end of `reply`.
    pub min_version: Option<i64>,
    /// The request that asks, for the log.
    pub request: Option<RequestId>,
    /// The answer; marked stale when the ledger is away but a value is known.
    pub reply: oneshot::Sender<Result<BalanceView, LedgerError>>,
}

impl GetBalance {
    /// Whether this version is new enough.
    pub(super) fn is_content_with(&self, version: i64) -> bool {
        self.min_version.is_none_or(|wanted| wanted <= version)
    }

    /// Ignores an asker that no longer waits.
    pub(super) fn answer(self, result: Result<BalanceView, LedgerError>) {
        let _ = self.reply.send(result);
    }
}

/// A session, as it introduces itself to its actor.
#[derive(Debug)]
pub struct AttachSession {
    /// Which session.
    pub session_id: SessionId,
    /// Where its frames go.
    pub outbox: Outbox,
    /// It was attached before, perhaps to an earlier actor. It then closes no older session to make room.
    pub is_again: bool,
    /// The number of the epoch that it was greeted with. After another has begun, it has to come back.
    pub epoch: u64,
    /// The newest version it was sent by an earlier actor; 0 for a new session.
    pub last_version: i64,
    /// What an administrator sees of it.
    pub peer: Peer,
}

/// The other end of a session.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it connects from.
    pub address: Option<IpAddr>,
    /// What it calls itself.
    pub user_agent: Option<Arc<str>>,
    /// When it connected.
    pub connected_at: Wall,
}

/// The last session of an actor is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SessionsGone {
    /// Whose actor.
    pub user_id: UserId,
}

/// What other processes have committed, as they told. It reaches resident actors; a user whose actor is not there is read
/// when it is made.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct HearCommits(pub Vec<HeardCommit>);

/// Close all sessions and take no more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown;

/// Inspect an actor if it is resident. Answered with the view from outside, and with the actor's own view, if it comes.
#[derive(Debug, Message)]
#[rtype(result = "Option<(ActorInspection, oneshot::Receiver<ActorInspection>)>")]
pub struct InspectResident(pub UserId);

/// Ask for the sessions of users in the order of their ids.
#[derive(Debug, Message)]
#[rtype(result = "Vec<SessionsAsked>")]
pub struct ListSessions {
    /// Only users behind this id.
    pub after: i64,
    /// Users until they have so many sessions together, but at least one user.
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

/// Ask for the latest events of `GET /admin/v1/events`.
#[derive(Debug, Clone, Message)]
#[rtype(result = "RecentEvents")]
pub struct ListRecent {
    /// At most so many, the latest.
    pub limit: usize,
    /// Only those behind this number.
    pub after: u64,
    /// Only those of one user.
    pub user_id: Option<UserId>,
    /// Only those of these kinds.
    pub kinds: Option<Vec<EventKind>>,
}

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
    /// It has work under way.
    Busy,
    /// The next push has to keep its distance from the last one.
    PushedLately,
}
