//! What the registry does with each message of [`crate::coordinator::messages`].

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::coordinator::messages::{
    AttachSession, CloseReason, CloseSessions, DetachSession, GetBalance, InspectActor,
    InspectRegistry, InspectResident, InspectSessions, Inspected, ListActors, ListRecent,
    ListSessions, PeekBalance, PostAtomic, PostBatch, PostEntries, PushNow, RefreshSession,
    ReportDisplayed, Retire, RetireActor, Retirement, SessionsAsked, SessionsGone, Shutdown,
    TellCached, ToSession, ToUser,
};
use crate::coordinator::registry::{Registry, Slot};
use crate::coordinator::views::{ActorInspection, ActorSummary, RegistryTotals};
use crate::domain::UserId;
use crate::ledger::{Lane, Orphan, PostError, Posted, Posting};
use crate::planted::{Plant, is_planted};

impl StreamHandler<Orphan> for Registry {
    fn handle(&mut self, posted: Orphan, _: &mut Self::Context) {
        if !is_planted(Plant::OrphanForgotten) {
            self.tell_committed(&posted);
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The writers have stopped; what is resident may still be asked.
    }
}

/// Everything that concerns one user.
macro_rules! routed {
    ($($message:ty),+) => { $(
        impl Handler<ToUser<$message>> for Registry {
            type Result = ();

            fn handle(&mut self, ToUser { user_id, message }: ToUser<$message>, ctx: &mut Self::Context) {
                self.route(user_id, message, false, ctx);
            }
        }
    )+ };
}
routed!(GetBalance);

/// What only an actor that is there can use.
macro_rules! routed_to_residents {
    ($($message:ty),+) => { $(
        impl Handler<ToUser<$message>> for Registry {
            type Result = ();

            fn handle(&mut self, ToUser { user_id, message }: ToUser<$message>, ctx: &mut Self::Context) {
                self.route_to_resident(user_id, message, ctx);
            }
        }
    )+ };
}
routed_to_residents!(DetachSession, ReportDisplayed, CloseSessions, PushNow);
#[cfg(feature = "simulation")]
routed_to_residents!(crate::coordinator::messages::Crash);

impl Handler<ToUser<PostEntries>> for Registry {
    type Result = ();

    fn handle(
        &mut self,
        ToUser { user_id, message }: ToUser<PostEntries>,
        ctx: &mut Self::Context,
    ) {
        if self.is_stopping {
            let PostEntries { entries, reply, .. } = message;
            // Whoever hung up need not hear it.
            let _ = reply.send(Posted::failed(entries, PostError::ShuttingDown));
        } else {
            self.route(user_id, message, false, ctx);
        }
    }
}

impl Handler<PostBatch> for Registry {
    type Result = ();

    fn handle(&mut self, PostBatch(parts): PostBatch, ctx: &mut Self::Context) {
        parts
            .into_iter()
            .for_each(|part| Handler::handle(self, part, ctx));
        // Batches could keep this mailbox full for long: the actors have their turn first.
        ctx.wait(tokio::task::yield_now().into_actor(self));
    }
}

impl Handler<PostAtomic> for Registry {
    type Result = ();

    fn handle(&mut self, request: PostAtomic, ctx: &mut Self::Context) {
        let PostAtomic {
            entries,
            deadline,
            permit,
            reply: requester,
        } = request;
        if self.is_stopping {
            let _ = requester.send(Posted::failed(entries, PostError::ShuttingDown));
            return;
        }
        let (reply, answer) = oneshot::channel();
        self.shared.ledger.post(Posting {
            entries,
            is_atomic: true,
            lane: Lane::Bulk,
            deadline,
            permit,
            reply,
        });
        let answered = answer.into_actor(self).map(
            move |posted, registry: &mut Self, _: &mut Context<Self>| {
                if let Ok(posted) = posted {
                    registry.tell_committed(&posted);
                    // A requester that hung up has been told that its outcome is unknown.
                    let _ = requester.send(posted);
                }
            },
        );
        ctx.spawn(answered);
    }
}

impl Handler<ToUser<AttachSession>> for Registry {
    type Result = ();

    fn handle(
        &mut self,
        ToUser { user_id, message }: ToUser<AttachSession>,
        ctx: &mut Self::Context,
    ) {
        if self.is_stopping {
            // Full: the session ends with its connection.
            let _ = message
                .outbox
                .try_send(ToSession::Close(CloseReason::GoingAway));
        } else {
            self.route(user_id, message, true, ctx);
        }
    }
}

impl Handler<ToUser<RefreshSession>> for Registry {
    type Result = ();

    fn handle(
        &mut self,
        ToUser { user_id, message }: ToUser<RefreshSession>,
        ctx: &mut Self::Context,
    ) {
        if !self.is_stopping {
            self.route(user_id, message, true, ctx);
        }
    }
}

impl Handler<SessionsGone> for Registry {
    type Result = ();

    fn handle(&mut self, SessionsGone { user_id }: SessionsGone, _: &mut Self::Context) {
        self.sessions_gone(user_id);
    }
}

impl Handler<Shutdown> for Registry {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.is_stopping = true;
        let users = self.users_with_sessions();
        let close = || CloseSessions(CloseReason::GoingAway);
        users
            .into_iter()
            .for_each(|user_id| self.route_to_resident(user_id, close(), ctx));
    }
}

impl Handler<InspectRegistry> for Registry {
    type Result = MessageResult<InspectRegistry>;

    fn handle(&mut self, _: InspectRegistry, _: &mut Self::Context) -> Self::Result {
        MessageResult(RegistryTotals::new(
            &self.shared,
            self.with_sessions.len(),
            self.idle.len(),
        ))
    }
}

impl Handler<ListActors> for Registry {
    type Result = MessageResult<ListActors>;

    fn handle(&mut self, _: ListActors, _: &mut Self::Context) -> Self::Result {
        let now_us = self.shared.clock.monotonic_us();
        let all = self.with_sessions.iter().chain(self.idle.iter());
        let summary = |(user_id, slot): (&UserId, &Slot)| ActorSummary {
            user_id: *user_id,
            sessions: slot.gauge.sessions.get(),
            entries: slot.gauge.entries.get(),
            idle_ms: now_us.saturating_sub(slot.gauge.last_used_us.get()) / 1000,
        };
        MessageResult(all.map(summary).collect())
    }
}

impl Handler<ListRecent> for Registry {
    type Result = MessageResult<ListRecent>;

    fn handle(&mut self, ListRecent(query): ListRecent, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.recent.show(&query, &self.shared.currencies))
    }
}

impl Handler<InspectResident> for Registry {
    type Result = MessageResult<InspectResident>;

    fn handle(
        &mut self,
        InspectResident(user_id): InspectResident,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let slot = self
            .with_sessions
            .get(&user_id)
            .or_else(|| self.idle.peek(&user_id));
        let from_outside =
            slot.map(|slot| ActorInspection::from_outside(user_id, &slot.gauge, &self.shared));
        MessageResult(from_outside.map(|from_outside| {
            let (reply, from_inside) = oneshot::channel();
            self.route_to_resident(user_id, InspectActor { reply }, ctx);
            Inspected {
                from_outside,
                from_inside,
            }
        }))
    }
}

impl Handler<PeekBalance> for Registry {
    type Result = MessageResult<PeekBalance>;

    fn handle(&mut self, PeekBalance(user_id): PeekBalance, _: &mut Self::Context) -> Self::Result {
        let slot = self
            .with_sessions
            .get(&user_id)
            .or_else(|| self.idle.peek(&user_id));
        let (reply, answer) = oneshot::channel();
        let sent = slot.map(|slot| slot.send(TellCached { reply }));
        MessageResult(matches!(sent, Some(Ok(()))).then_some(answer))
    }
}

impl Handler<ListSessions> for Registry {
    type Result = MessageResult<ListSessions>;

    fn handle(
        &mut self,
        ListSessions { after, limit }: ListSessions,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let mut users: Vec<UserId> = self
            .with_sessions
            .keys()
            .copied()
            .filter(|user| user.get() > after)
            .collect();
        // Each has a session, or is about to: more users than that are never needed.
        if users.len() > limit {
            users.select_nth_unstable(limit);
            users.truncate(limit);
        }
        users.sort_unstable();
        let mut asked: Vec<SessionsAsked> = Vec::new();
        let mut count = 0;
        for user_id in users {
            let sessions = self
                .with_sessions
                .get(&user_id)
                .map_or(0, |slot| slot.gauge.sessions.get());
            count += sessions;
            if count > limit && !asked.is_empty() {
                break;
            }
            let (reply, answer) = oneshot::channel();
            self.route_to_resident(user_id, InspectSessions { reply }, ctx);
            asked.push(SessionsAsked {
                user_id,
                sessions,
                answer,
            });
        }
        MessageResult(asked)
    }
}

impl Handler<RetireActor> for Registry {
    type Result = MessageResult<RetireActor>;

    fn handle(
        &mut self,
        RetireActor(user_id): RetireActor,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let Some(slot) = self
            .with_sessions
            .get(&user_id)
            .or_else(|| self.idle.peek(&user_id))
        else {
            return MessageResult(Retirement::NotResident);
        };
        let gauge = &slot.gauge;
        let is_busy = [&gauge.queued, &gauge.in_flight, &gauge.version_waiters]
            .iter()
            .any(|count| count.get() > 0);
        let has_sessions = gauge.sessions.get() > 0;
        if slot.actor.connected() && is_busy {
            return MessageResult(Retirement::Busy);
        }
        if !has_sessions && !slot.can_go(&self.shared) {
            return MessageResult(Retirement::PushedLately);
        }
        let last_push_us = gauge.last_push_us.get();
        if let Err(SendError::Full(_)) = slot.actor.try_send(Retire) {
            return MessageResult(Retirement::Busy);
        }
        self.forget(user_id);
        if has_sessions {
            // Its sessions come back at once; what is pushed to them then keeps its distance from the last push.
            let next = self.make(user_id, ctx);
            next.gauge.last_push_us.set(last_push_us);
            next.gauge
                .last_used_us
                .set(self.shared.clock.monotonic_us());
            self.idle.put(user_id, next);
            self.count_actors();
        }
        MessageResult(Retirement::Retired)
    }
}
