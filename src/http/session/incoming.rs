//! Handles the messages of a client: their rate, their meaning, and bad ones.

use actix_http::ws::Item;

use crate::coordinator::messages::ToActor;
use crate::http::session::fragments::Assembly;
use crate::http::session::frames::End;
use crate::http::session::messages::{ClientMessage, id_of};
use crate::http::session::{Ctx, SessionActor, frames};
use crate::limits::BAD_MESSAGES_MAX;

impl SessionActor {
    /// Whether a message is within the rate limit. The first message beyond it gets an error, with the id of its `text`, the
    /// next closes the session.
    pub(super) fn is_in_time(&mut self, text: Option<&str>, ctx: &mut Ctx) -> bool {
        let now = self.shared.clock.mono();
        self.heard = now;
        let rate = self.shared.message_rate();
        if self.bucket.try_take(rate, now) {
            return true;
        }
        if std::mem::replace(&mut self.is_warned, true) {
            self.end(End::TooFast, ctx);
        } else {
            let wait_ms = self.bucket.wait_us(rate, now).div_ceil(1000);
            ctx.text(frames::rate_limited(text.and_then(id_of), wait_ms));
        }
        false
    }

    pub(super) fn text(&mut self, text: &str, ctx: &mut Ctx) {
        let message = match (ClientMessage::parse(text), self.session) {
            (Ok(ClientMessage::Auth(credentials)), _) => {
                return self.sign_in(&credentials, ctx);
            }
            (Ok(message), Some(session)) => Ok((message, session.user_id)),
            (Ok(_), None) => Err("sign in first"),
            (Err(why), _) => Err(why),
        };
        match message {
            Ok((ClientMessage::Refresh { id }, user_id)) => {
                let session = Box::new(self.attachment(true, ctx));
                self.tell(user_id, ToActor::RefreshSession { session, id }, ctx);
            }
            Ok((ClientMessage::Ping { id }, _)) => ctx.text(frames::pong(id.as_deref())),
            Ok((ClientMessage::Displayed { version }, user_id)) => {
                self.tell(
                    user_id,
                    ToActor::ReportDisplayed {
                        session_id: self.id,
                        version,
                    },
                    ctx,
                );
            }
            Ok((ClientMessage::Auth(_), _)) => {}
            Err(why) => self.bad_message(why, ctx),
        }
    }

    fn bad_message(&mut self, why: &str, ctx: &mut Ctx) {
        self.bad_messages += 1;
        ctx.text(frames::invalid_message(why));
        if self.bad_messages >= BAD_MESSAGES_MAX {
            self.end(End::BadMessages, ctx);
        }
    }

    pub(super) fn fragment(&mut self, item: Item, ctx: &mut Ctx) {
        match self
            .fragments
            .take(item, self.shared.settings.limits.ws_message_bytes)
        {
            Assembly::Pending => {}
            Assembly::Empty => _ = self.is_in_time(None, ctx),
            Assembly::Text(text) if self.is_in_time(Some(&text), ctx) => self.text(&text, ctx),
            Assembly::Text(_) => {}
            Assembly::Refused(end) => self.end(end, ctx),
        }
    }
}
