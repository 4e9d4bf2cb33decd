//! The times of a session: to authenticate, to ping, to expire, and to close an idle connection.

use std::time::Duration;

use actix::AsyncContext as _;

use crate::clock::{Mono, Wall};
use crate::http::session::frames::End;
use crate::http::session::shared::STOPPING_CHECK_MS;
use crate::http::session::{Ctx, SessionActor};

impl SessionActor {
    /// Sets the one alarm of the session, for the earliest of its times.
    pub(super) fn set_alarm(&mut self, ctx: &mut Ctx) {
        let limits = &self.shared.settings.limits;
        let now = self.shared.clock.now();
        let at = match self.session {
            None => {
                let timeout = self.opened.plus_us(limits.auth_timeout_ms * 1000);
                timeout.min(now.mono.plus_us(STOPPING_CHECK_MS * 1000))
            }
            Some(session) => {
                let ping = self.pinged.plus_us(limits.heartbeat_ms * 1000);
                let idle = self.heard.plus_us(limits.idle_timeout_ms * 1000);
                let left_us = Wall::from_s(session.expires_at_s).us_since(now.wall);
                ping.min(idle).min(now.mono.plus_us(left_us))
            }
        };
        if let Some(alarm) = self.alarm.take() {
            ctx.cancel_future(alarm);
        }
        let wait = Duration::from_micros(at.us_since(now.mono));
        self.alarm = Some(ctx.run_later(wait, Self::wake));
    }

    fn wake(&mut self, ctx: &mut Ctx) {
        self.alarm = None;
        let limits = &self.shared.settings.limits;
        let now = self.shared.clock.now();
        let since_ms = |then: Mono| now.mono.us_since(then) / 1000;
        match self.session {
            None if self.shared.is_stopping() => return self.end(End::GoingAway, ctx),
            None if since_ms(self.opened) >= limits.auth_timeout_ms => {
                return self.end(End::Unauthenticated, ctx);
            }
            None => {}
            Some(session) if Wall::from_s(session.expires_at_s) <= now.wall => {
                return self.end(End::TokenExpired, ctx);
            }
            Some(_) if since_ms(self.heard) >= limits.idle_timeout_ms => {
                return self.end(End::HeartbeatLost, ctx);
            }
            Some(session) if since_ms(self.pinged) >= limits.heartbeat_ms => {
                self.pinged = now.mono;
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
