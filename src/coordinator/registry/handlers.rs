//! What the registry does with each message of [`crate::coordinator::messages`].

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::coordinator::messages::{
    AttachSession, CloseReason, CloseSessions, DetachSession, GetBalance, PostAtomic, PostBatch, PostEntries, PushNow,
    RefreshSession, ReportDisplayed, SessionsGone, Shutdown, ToSession, ToUser,
};
use crate::ledger::{Lane, Orphan, PostError, Posted, Posting};
use crate::planted::{Plant, is_planted};

use super::Registry;

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

    fn handle(&mut self, ToUser { user_id, message }: ToUser<PostEntries>, ctx: &mut Self::Context) {
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
        parts.into_iter().for_each(|part| Handler::handle(self, part, ctx));
        // Batches could keep this mailbox full for long: the actors have their turn first.
        ctx.wait(tokio::task::yield_now().into_actor(self));
    }
}

impl Handler<PostAtomic> for Registry {
    type Result = ();

    fn handle(&mut self, request: PostAtomic, ctx: &mut Self::Context) {
        let PostAtomic { entries, deadline, permit, reply: requester } = request;
        if self.is_stopping {
            let _ = requester.send(Posted::failed(entries, PostError::ShuttingDown));
            return;
        }
        let (reply, answer) = oneshot::channel();
        self.shared.ledger.post(Posting { entries, is_atomic: true, lane: Lane::Bulk, deadline, permit, reply });
        let answered = answer.into_actor(self).map(move |posted, registry: &mut Self, _: &mut Context<Self>| {
            if let Ok(posted) = posted {
                registry.tell_committed(&posted);
                // A requester that hung up has been told that its outcome is unknown.
                let _ = requester.send(posted);
            }
        });
        ctx.spawn(answered);
    }
}

impl Handler<ToUser<AttachSession>> for Registry {
    type Result = ();

    fn handle(&mut self, ToUser { user_id, message }: ToUser<AttachSession>, ctx: &mut Self::Context) {
        if self.is_stopping {
            // Full: the session ends with its connection.
            let _ = message.outbox.try_send(ToSession::Close(CloseReason::GoingAway));
        } else {
            self.route(user_id, message, true, ctx);
        }
    }
}

impl Handler<ToUser<RefreshSession>> for Registry {
    type Result = ();

    fn handle(&mut self, ToUser { user_id, message }: ToUser<RefreshSession>, ctx: &mut Self::Context) {
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
        users.into_iter().for_each(|user_id| self.route_to_resident(user_id, close(), ctx));
    }
}
