//! Sessions of an actor come and go.

use actix::prelude::*;

use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::answering::Waiter;
use crate::coordinator::actor::sessions::{Attached, Live};
use crate::coordinator::messages::{AttachSession, CloseReason, SessionsGone};
use crate::domain::SessionId;

impl BalanceActor {
    /// Takes a session on and sends it its snapshot; one that is known already stays as it is.
    pub(super) fn attach(&mut self, mut attach: AttachSession, ctx: &mut Context<Self>) {
        // One that ended without a word holds no place.
        self.prune(ctx);
        if attach.epoch != self.cache.epoch().number {
            // It was greeted before this epoch began, and comes back.
            Attached::new(attach).close(CloseReason::GoingAway);
            return;
        }
        let last_version = attach.last_version;
        self.gauge.version.update(|known| known.max(last_version));
        let last_push = self.gauge.last_push.get();
        let live = self
            .live
            .get_or_insert_with(|| Box::new(Live::since(last_push)));
        let session_id = attach.session_id;
        if live.session(session_id).is_some() {
            return attach.outbox.end();
        }
        let sessions_max = self.shared.policy.sessions_per_user_max;
        if attach.is_again && live.is_full(sessions_max) {
            // It was closed to make room and does not know yet, or others took its place while the actor was away.
            Attached::new(attach).close(CloseReason::TooManySessions);
            return;
        }
        live.make_room(sessions_max);
        live.add_session(Attached::new(attach));
        self.gauge.sessions.set(live.sessions.len());
        if let Some(known) = self.cache.known() {
            live.pending.ensure_base(&known.account);
        }
        self.finish_closing(ctx);
        self.balance_for(Waiter::snapshot(session_id), false, ctx);
    }

    /// A session has ended by itself.
    pub(super) fn detach(&mut self, session_id: SessionId, ctx: &mut Context<Self>) {
        let session = self
            .live
            .as_mut()
            .and_then(|live| live.take_session(session_id));
        if let Some(session) = session {
            session.forget();
            self.detached(ctx);
        }
    }

    pub(super) fn close_sessions(&mut self, reason: CloseReason, ctx: &mut Context<Self>) {
        if let Some(live) = &mut self.live {
            live.sessions
                .iter_mut()
                .for_each(|session| session.close(reason));
            self.finish_closing(ctx);
        }
    }

    /// Drops the sessions that were closed, and tries again soon where the close did not fit into an outbox.
    pub(super) fn finish_closing(&mut self, ctx: &mut Context<Self>) {
        self.prune(ctx);
        let mut sessions = self.live.iter().flat_map(|live| &live.sessions);
        if sessions.any(Attached::is_leaving) {
            self.retry_lagging(ctx);
        }
    }

    /// Drops the sessions whose outbox is closed.
    pub(super) fn prune(&mut self, ctx: &mut Context<Self>) {
        let Some(live) = &mut self.live else { return };
        let before = live.sessions.len();
        live.sessions.retain(|session| !session.is_gone());
        if live.sessions.len() < before {
            self.detached(ctx);
        }
    }

    fn detached(&mut self, ctx: &mut Context<Self>) {
        let Some(live) = &mut self.live else { return };
        self.gauge.sessions.set(live.sessions.len());
        if !live.sessions.is_empty() {
            return;
        }
        self.live = None;
        self.settle_staleness(false);
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer.handle);
        }
        self.forget_gone_waiters(ctx);
        if let Some(registry) = self.registry.upgrade() {
            let user_id = self.user_id;
            // If the registry is full, its next sweep finds the actor.
            let _ = registry.try_send(SessionsGone { user_id });
        }
    }
}
