//! Carries orders out at this node, for its own administrators and for those of other nodes.
//!
//! Only a resident actor is concerned: an order makes none. An order never changes a balance.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use actix::prelude::SendError;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::cluster::wire::Action;
use crate::coordinator::messages::{
    CloseReason, GetBalance, InspectResident, RetireActor, Retirement, ToActor, ToUser,
};
use crate::coordinator::{ActorInspection, Coverage, Registry};
use crate::domain::UserId;
use crate::limits::INSPECTION_MS;

/// How long an actor may take to describe itself to another node, in milliseconds.
pub(super) const DESCRIBES_MS: u64 = INSPECTION_MS / 2;

/// What orders are carried out on.
#[derive(Clone)]
pub struct Here {
    /// The actors.
    pub registry: Addr<Registry>,
    /// Whether this node hears of everything.
    pub coverage: Arc<Coverage>,
    /// The time.
    pub clock: Clock,
}

/// The registry has not answered: it is not known what has become of the order.
#[derive(Debug)]
pub struct Unknown;

impl Here {
    /// Carries out an order of another node. The answer is an object.
    ///
    /// # Errors
    /// [`Unknown`]
    pub async fn carry_out(&self, action: Action, user_id: UserId) -> Result<Value, Unknown> {
        match action {
            Action::Disconnect => self.disconnect(user_id).await,
            Action::Push => self.push(user_id).await,
            Action::Refresh => self.refresh(user_id).await,
            Action::Retire => {
                let asked = self.registry.send(RetireActor(user_id)).await;
                Ok(retired(asked.map_err(|_| Unknown)?))
            }
            Action::Inspect => {
                let patience = Duration::from_millis(DESCRIBES_MS);
                let found = inspect(&self.registry, user_id, patience).await?;
                Ok(self.described(found.as_ref()))
            }
        }
    }

    async fn disconnect(&self, user_id: UserId) -> Result<Value, Unknown> {
        // Asked before they are closed, and closed without waiting for the answer.
        let asked = self.registry.send(InspectResident(user_id));
        close_sessions(&self.registry, user_id).map_err(|_| Unknown)?;
        let resident = asked.await.map_err(|_| Unknown)?;
        let sessions = resident.map_or(0, |(from_outside, _)| from_outside.sessions_attached());
        Ok(json!({ "sessions_closed": sessions }))
    }

    async fn push(&self, user_id: UserId) -> Result<Value, Unknown> {
        let (reply, answer) = oneshot::channel();
        self.tell(user_id, ToActor::PushNow { reply })?;
        match answer.await {
            Ok(Ok(pushed)) => Ok(json!({ "pushed": pushed })),
            Ok(Err(_)) => Err(Unknown),
            // Not resident.
            Err(_) => Ok(json!({ "pushed": false })),
        }
    }

    async fn refresh(&self, user_id: UserId) -> Result<Value, Unknown> {
        let asked = self.registry.send(InspectResident(user_id)).await;
        if asked.map_err(|_| Unknown)?.is_none() {
            return Ok(json!({ "refreshed": false, "reason": "not_resident" }));
        }
        let (reply, answer) = oneshot::channel();
        let message = ToActor::GetBalance(GetBalance {
            is_fresh: true,
            min_version: None,
            request: None,
            reply,
        });
        self.tell(user_id, message)?;
        match answer.await {
            Ok(Ok(view)) if !view.is_stale => {
                Ok(json!({ "refreshed": true, "version": view.account.version }))
            }
            Ok(_) => Ok(json!({ "refreshed": false, "reason": "ledger_unavailable" })),
            Err(_) => Err(Unknown),
        }
    }

    fn tell(&self, user_id: UserId, message: ToActor) -> Result<(), Unknown> {
        let told = self.registry.try_send(ToUser { user_id, message });
        told.map_err(|_| Unknown)
    }

    /// What this node has of a user, in short.
    pub fn described(&self, found: Option<&ActorInspection>) -> Value {
        let mut described = found.map_or_else(ActorInspection::nothing, ActorInspection::in_short);
        let covered = self.coverage.is_covered(self.clock.mono());
        described["covered"] = covered.into();
        described
    }
}

/// Orders that a user's sessions are closed. Waits for nothing.
///
/// # Errors
/// When the registry takes no more messages.
pub fn close_sessions(registry: &Addr<Registry>, user_id: UserId) -> Result<(), SendError<ToUser>> {
    let message = ToActor::CloseSessions(CloseReason::ClosedByAdministrator);
    registry.try_send(ToUser { user_id, message })
}

/// What has become of the order to retire an actor.
pub fn retired(retirement: Retirement) -> Value {
    let reason = match retirement {
        Retirement::Retired => return json!({ "retired": true }),
        Retirement::NotResident => "not_resident",
        Retirement::Busy => "busy",
        Retirement::PushedLately => "pushed_lately",
    };
    json!({ "retired": false, "reason": reason })
}

/// One actor as it describes itself, or as the registry sees it when it does not answer; `None` when it is not resident.
///
/// # Errors
/// [`Unknown`]
pub async fn inspect(
    registry: &Addr<Registry>,
    user_id: UserId,
    patience: Duration,
) -> Result<Option<ActorInspection>, Unknown> {
    let asked = registry.send(InspectResident(user_id)).await;
    let Some((from_outside, from_inside)) = asked.map_err(|_| Unknown)? else {
        return Ok(None);
    };
    Ok(Some(match timeout(patience, from_inside).await {
        Ok(Ok(inspection)) => inspection,
        Ok(Err(_)) | Err(_) => from_outside,
    }))
}

/// The members of an object.
pub fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
