//! From an actor to its sessions: what it sends them, and the way there.

use actix::prelude::SendError;
use actix::{Message, Recipient};
use bytestring::ByteString;

use crate::planted::{Plant, is_planted};

/// From an actor to one of its sessions.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub enum ToSession {
    /// Send this text frame; it carries this version (0: none).
    Frame {
        /// The JSON, shared by all sessions that get it.
        text: ByteString,
        /// What the session has seen once it is sent.
        version: i64,
    },
    /// Close.
    Close(CloseReason),
    /// The actor is gone: attach again.
    Reattach,
}

/// Why the coordinator closes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The service stops.
    GoingAway,
    /// Nothing more fits; come back later.
    Overloaded,
    /// A newer session of the user took its place.
    TooManySessions,
    /// An administrator closed it.
    ClosedByAdministrator,
}

/// The way to a session. When it is dropped without an end (the actor that had it, or was about to get it, died or was
/// retired), it tells the session to attach again.
#[derive(Debug)]
pub struct Outbox(Option<Recipient<ToSession>>);

impl Outbox {
    /// The way to one session.
    pub const fn new(recipient: Recipient<ToSession>) -> Self {
        Self(Some(recipient))
    }

    /// Sends without waiting; a message that does not fit comes back.
    pub(super) fn try_send(&mut self, message: ToSession) -> Result<(), SendError<ToSession>> {
        let Some(recipient) = &self.0 else {
            return Err(SendError::Closed(message));
        };
        let result = recipient.try_send(message);
        if let Err(SendError::Closed(_)) = &result {
            self.end();
        }
        result
    }

    /// Nothing more is sent, and the session does not attach again.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Nothing more is sent, or the session is gone: it may have ended without a word.
    pub(super) fn is_gone(&self) -> bool {
        self.0.as_ref().is_none_or(|session| !session.connected())
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if let Some(recipient) = self.0.take_if(|_| !is_planted(Plant::SessionsLeftBehind)) {
            // If its outbox is full, it attaches again with its next heartbeat, as every session does.
            let _ = recipient.try_send(ToSession::Reattach);
        }
    }
}
