//! What administrators ask, and order. Nothing here changes a balance.

use actix::Message;
use tokio::sync::oneshot;

use crate::coordinator::inspection::{ActorInspection, ActorSummary, RegistryTotals, SessionInspection};
use crate::coordinator::recent::{RecentEvents, RecentQuery};
use crate::domain::UserId;
use crate::ledger::LedgerError;
use crate::ledger::audit::CachedBalance;

use super::Routable;

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
