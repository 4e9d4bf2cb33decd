//! The WebSocket session actor: one per open socket, on the worker thread that accepted it.
//!
//! It authenticates the client, attaches to the user's balance actor, and then carries frames out and messages in. It holds
//! no balance. Limits: `limits::SESSION_MAILBOX_MAX` frames in its outbox, `limits.ws_message_bytes` in a message. The kernel
//! closes the connection of a peer that does not read (`TCP_USER_TIMEOUT`, see [`crate::http::server`]), because an actor of
//! `actix-web-actors` does not run while its socket can't be written. Only this file imports that crate.

mod fragments;
pub(super) mod frame_guard;
pub(super) mod frames;
mod incoming;
pub(super) mod messages;
pub mod shared;
pub(super) mod socket;
mod timers;
pub(super) mod upgrade;

use std::sync::Arc;

use actix::prelude::*;
use actix_http::ws::{CloseCode, CloseReason as CloseFrame, Codec, ProtocolError};
use actix_web::error::PayloadError;
use actix_web_actors::ws::{Message, WebsocketContext};
use bytes::Bytes;
use futures_util::Stream;

use crate::clock::Mono;
use crate::coordinator::messages::{AttachSession, Outbox, Peer, ToActor, ToSession, ToUser};
use crate::credentials::session_token::Session;
use crate::domain::{SessionId, UserId};
use crate::http::extract::rate_limit::Bucket;
use crate::http::extract::sign_in::{Checked, Credentials};
use crate::http::session::fragments::Fragments;
use crate::http::session::frame_guard::FrameGuard;
use crate::http::session::frames::End;
use crate::http::session::shared::{Opening, SessionPlace, SessionShared, patiently};
use crate::limits::SESSION_MAILBOX_MAX;

type Ctx = WebsocketContext<SessionActor>;

/// One open socket.
pub(super) struct SessionActor {
    shared: Arc<SessionShared>,
    place: SessionPlace,
    id: SessionId,
    peer: Peer,
    opening: Option<Credentials<'static>>,
    session: Option<Session>,
    last_version: i64,
    /// The number of the epoch that it was greeted with.
    epoch: u64,
    bad_messages: u8,
    is_warned: bool,
    is_closing: bool,
    bucket: Bucket,
    fragments: Fragments,
    opened: Mono,
    heard: Mono,
    pinged: Mono,
    awaits_pong: bool,
    alarm: Option<SpawnHandle>,
    lookup: Option<SpawnHandle>,
}

/// Starts a session that reads `incoming`, and returns the bytes that it writes until it ends.
fn stream<S>(
    opening: Opening,
    incoming: S,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> + use<S>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    let message_bytes_max = opening.shared.settings.limits.ws_message_bytes;
    let incoming = FrameGuard::new(incoming, message_bytes_max);
    WebsocketContext::with_codec(
        SessionActor::new(opening),
        incoming,
        Codec::new().max_size(message_bytes_max),
    )
}

/// Runs a session over bytes instead of a connection. `None` at `limits.sessions`.
#[cfg(feature = "simulation")]
pub fn start_over<S>(
    shared: Arc<SessionShared>,
    token: Option<&str>,
    peer: Peer,
    incoming: S,
) -> Option<impl Stream<Item = Result<Bytes, actix_web::Error>> + use<S>>
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    let place = SessionPlace::take(&shared)?;
    let credentials = token.map(|token| Credentials::Token(token.to_owned().into()));
    Some(stream(
        Opening {
            shared,
            place,
            credentials,
            peer,
        },
        incoming,
    ))
}

impl SessionActor {
    fn new(opening: Opening) -> Self {
        let Opening {
            shared,
            place,
            credentials,
            peer,
        } = opening;
        let now = shared.clock.mono();
        let bucket = Bucket::full(shared.message_rate(), now);
        Self {
            id: shared.next_id(),
            shared,
            place,
            peer,
            opening: credentials,
            session: None,
            last_version: 0,
            epoch: 0,
            bad_messages: 0,
            is_warned: false,
            is_closing: false,
            bucket,
            fragments: Fragments::default(),
            opened: now,
            heard: now,
            pinged: now,
            awaits_pong: false,
            alarm: None,
            lookup: None,
        }
    }

    fn end(&mut self, end: End, ctx: &mut Ctx) {
        if !std::mem::replace(&mut self.is_closing, true) {
            let (code, reason) = end.frame();
            log::debug!("session {} closes with {code} {reason}", self.id);
            self.place.closes(code);
            if self.session.is_none() && matches!(end, End::Unauthenticated | End::TokenExpired) {
                self.shared
                    .counters
                    .ws_rejected
                    .with_label_values(&[reason])
                    .inc();
            }
            ctx.close(Some(CloseFrame {
                code: CloseCode::from(code),
                description: Some(reason.to_owned()),
            }));
            ctx.stop();
        }
    }

    /// Sends a message to the user's actor. When the registry is full, the session closes, so that the client reconnects.
    fn tell(&mut self, user_id: UserId, message: ToActor, ctx: &mut Ctx) {
        if self
            .shared
            .registry
            .try_send(ToUser { user_id, message })
            .is_err()
        {
            self.end(End::Overloaded, ctx);
        }
    }

    fn attachment(&self, is_again: bool, ctx: &Ctx) -> AttachSession {
        AttachSession {
            session_id: self.id,
            outbox: Outbox::new(ctx.address().recipient()),
            is_again,
            epoch: self.epoch,
            last_version: self.last_version,
            peer: self.peer.clone(),
        }
    }

    fn attach(&mut self, user_id: UserId, is_again: bool, ctx: &mut Ctx) {
        let attachment = self.attachment(is_again, ctx);
        self.tell(user_id, ToActor::AttachSession(attachment), ctx);
    }

    fn sign_in(&mut self, credentials: &Credentials<'_>, ctx: &mut Ctx) {
        // A newer sign-in replaces one that still waits for the ledger.
        if let Some(lookup) = self.lookup.take() {
            ctx.cancel_future(lookup);
        }
        let answer = match self.shared.sign_in.check(credentials) {
            Checked::Now(result) => return self.authenticate(result.map_err(End::from), ctx),
            Checked::Later(answer) => answer,
        };
        let answer = patiently(self.shared.clone(), answer).into_actor(self);
        let answer = answer.map(|result, session, ctx| session.authenticate(result, ctx));
        if self.session.is_none() {
            // Messages that arrive meanwhile stay in the connection, so that they are handled in order.
            ctx.wait(answer);
        } else {
            self.lookup = Some(ctx.spawn(answer));
        }
    }

    fn authenticate(&mut self, result: Result<Session, End>, ctx: &mut Ctx) {
        self.lookup = None;
        match (result, self.session) {
            (Err(end), _) => self.end(end, ctx),
            (Ok(new), Some(old)) if new.user_id != old.user_id => {
                self.end(End::Unauthenticated, ctx)
            }
            (Ok(new), Some(_)) => {
                self.session = Some(new);
                self.set_alarm(ctx);
            }
            (Ok(new), None) => {
                self.session = Some(new);
                let epoch = self.shared.epoch();
                self.epoch = epoch.number;
                ctx.text(frames::hello(
                    &self.shared.settings,
                    &epoch.name,
                    self.id,
                    new.user_id,
                ));
                self.attach(new.user_id, false, ctx);
                self.set_alarm(ctx);
            }
        }
    }
}

impl Actor for SessionActor {
    type Context = Ctx;

    fn started(&mut self, ctx: &mut Ctx) {
        ctx.set_mailbox_capacity(SESSION_MAILBOX_MAX);
        self.place.opened();
        match self.opening.take() {
            Some(credentials) => self.sign_in(&credentials, ctx),
            None => self.set_alarm(ctx),
        }
    }

    fn stopped(&mut self, _: &mut Ctx) {
        if let Some(session) = self.session {
            let message = ToActor::DetachSession {
                session_id: self.id,
            };
            let message = ToUser {
                user_id: session.user_id,
                message,
            };
            // When the registry is full, the message waits for room; there is at most one for each session. Should the thread
            // end before, the actor notices the closed outbox.
            if let Err(SendError::Full(message)) = self.shared.registry.try_send(message)
                && let Some(arbiter) = Arbiter::try_current()
            {
                let sent = self.shared.registry.send(message);
                arbiter.spawn(async move {
                    // The registry may stop.
                    let _ = sent.await;
                });
            }
        }
    }
}

impl Handler<ToSession> for SessionActor {
    type Result = ();

    fn handle(&mut self, message: ToSession, ctx: &mut Ctx) {
        match (message, self.session) {
            (ToSession::Frame { text, version }, _) => {
                self.last_version = self.last_version.max(version);
                ctx.text(text);
            }
            (ToSession::Close(reason), _) => self.end(reason.into(), ctx),
            (ToSession::Reattach, Some(session)) => self.attach(session.user_id, true, ctx),
            (ToSession::Reattach, None) => {}
        }
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for SessionActor {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Ctx) {
        if self.is_closing {
            return;
        }
        match message {
            Ok(Message::Text(text)) if self.is_in_time(Some(&text), ctx) => self.text(&text, ctx),
            Ok(Message::Ping(bytes)) if self.is_in_time(None, ctx) => ctx.pong(&bytes),
            Ok(Message::Text(_) | Message::Ping(_)) => {}
            // The answer to our ping does not count as a message; further pongs do.
            Ok(Message::Pong(_)) if std::mem::take(&mut self.awaits_pong) => {
                self.heard = self.shared.clock.mono();
            }
            Ok(Message::Pong(_)) => _ = self.is_in_time(None, ctx),
            Ok(Message::Nop) => {}
            Ok(Message::Binary(_)) => self.end(End::UnsupportedData, ctx),
            Ok(Message::Continuation(item)) => self.fragment(item, ctx),
            Ok(Message::Close(reason)) => {
                self.is_closing = true;
                self.place.client_closes();
                ctx.close(reason);
                ctx.stop();
            }
            Err(ProtocolError::Overflow) => self.end(End::TooBig, ctx),
            // The crate reports text that is not UTF-8 as an I/O error.
            Err(ProtocolError::Io(error)) if error.to_string().contains("utf-8") => {
                self.end(End::InvalidUtf8, ctx)
            }
            // It reports reserved bits as invalid data.
            Err(ProtocolError::Io(error)) if error.kind() != std::io::ErrorKind::InvalidData => {
                ctx.stop()
            }
            Err(_) => self.end(End::Protocol, ctx),
        }
    }

    fn finished(&mut self, ctx: &mut Ctx) {
        ctx.stop();
    }
}
