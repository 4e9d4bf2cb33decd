//! The times of a session: to authenticate, to ping, to expire, and to close an idle connection.

use std::time::Duration;

use actix::AsyncContext as _;

use crate::http::session::frames::End;
use crate::http::session::shared::STOPPING_CHECK_MS;
use crate::http::session::{Ctx, SessionActor};

impl SessionActor {
    /// Sets the one alarm of the session, for the earliest of its times.
    pub(super) fn set_alarm(&mut self, ctx: &mut Ctx) {
        let limits = &self.shared.settings.limits;
        let now_us = self.shared.clock.monotonic_us();
        let at_us = match self.session {
            None => (self.opened_us + limits.auth_timeout_ms * 1000)
                .min(now_us + STOPPING_CHECK_MS * 1000),
            Some(session) => {
                let left_us = session
                    .expires_at_s
                    .saturating_mul(1_000_000)
                    .saturating_sub(self.shared.clock.now_us());
                (self.pinged_us + limits.heartbeat_ms * 1000)
                    .min(self.heard_us + limits.idle_timeout_ms * 1000)
                    .min(now_us.saturating_add(u64::try_from(left_us).unwrap_or(0)))
            }
        };
        if let Some(alarm) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        let wait = Duration::from_micros(at_us.saturating_sub(now_us));
        self.alarm = Some(ctx.run_later(wait, Self::wake));
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        self.alarm = None;
        let limits = &self.shared.settings.limits;
        let now_us = self.shared.clock.monotonic_us();
        let since = |then_us: u64| now_us.saturating_sub(then_us) / 1000;
        match self.session {
            None if self.shared.is_stopping() => return self.end(End::GoingAway, ctx),
            None if since(self.opened_us) >= limits.auth_timeout_ms => {
                return self.end(End::Unauthenticated, ctx);
            }
            None => {}
            Some(session)
                if session.expires_at_s.saturating_mul(1_000_000) <= self.shared.clock.now_us() =>
            {
                return self.end(End::TokenExpired, ctx);
            }
            Some(_) if since(self.heard_us) >= limits.idle_timeout_ms => {
                return self.end(End::HeartbeatLost, ctx);
            }
            Some(session) if since(self.pinged_us) >= limits.heartbeat_ms => {
                self.pinged_us = now_us;
                self.awaits_pong = true;
                ctx.ping(b"");
                // Does nothing unless the actor has lost this session.
                self.attach(session.user_id, true, ctx);
            }
            Some(_) => {}
        }
        self.set_alarm(ctx);
    }
}
