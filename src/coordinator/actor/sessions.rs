//! What an actor holds only while its user has sessions: the sessions, and the changes that they have not been sent.

use actix::prelude::SendError;
use bytestring::ByteString;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::clock::Mono;
use crate::coordinator::actor::displayed::Undisplayed;
use crate::coordinator::actor::pending::Pending;
use crate::coordinator::frames::Reason;
use crate::coordinator::messages::{AttachSession, CloseReason, Outbox, Peer, ToSession};
use crate::domain::{Account, SessionId};
use crate::planted::{Plant, is_planted};

/// Answers that a session whose outbox is full can be owed; its message rate allows no more.
const OWED_MAX: usize = 64;

/// A session as its actor sees it. When it is dropped without having been closed (the actor died or was retired), the
/// session is told to attach again.
#[derive(Debug)]
pub(super) struct Attached {
    pub id: SessionId,
    pub last_version: i64,
    pub displayed_version: i64,
    /// It has had its snapshot; before it nothing is pushed.
    pub is_primed: bool,
    pub peer: Peer,
    /// Pushes that its page has not shown yet.
    pub undisplayed: Undisplayed,
    /// It was sent a stale balance or none, and is owed a fresh one.
    pub is_owed_recovery: bool,
    /// What did not fit into its outbox: as soon as there is room, each becomes a `balance`.
    pub owed: Vec<Owed>,
    /// It has to close, but its outbox was full.
    farewell: Option<CloseReason>,
    outbox: Outbox,
}

/// A `balance` that a session waits for: why, and the id to send back.
pub(super) type Owed = (Reason, Option<Box<RawValue>>);

/// What became of a frame for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Sent,
    Full,
    Gone,
}

impl Attached {
    pub(super) fn new(attach: AttachSession) -> Self {
        Self {
            id: attach.session_id,
            last_version: attach.last_version,
            displayed_version: 0,
            is_primed: false,
            peer: attach.peer,
            undisplayed: Undisplayed::default(),
            is_owed_recovery: false,
            owed: Vec::new(),
            farewell: None,
            outbox: attach.outbox,
        }
    }

    pub(super) fn tell(&mut self, text: ByteString, version: i64) -> Told {
        match self.outbox.try_send(ToSession::Frame { text, version }) {
            Ok(()) => {
                self.last_version = self.last_version.max(version);
                Told::Sent
            }
            Err(SendError::Full(_)) => Told::Full,
            Err(SendError::Closed(_)) => Told::Gone,
        }
    }

    /// Remembers an answer that could not be sent. Each becomes a `balance` of the newest state, so any of them makes up for
    /// missed pushes. A session that is owed more answers than fit here has to reconnect, so that no answer is left out.
    pub(super) fn owe(&mut self, owed: Owed) {
        if owed.0 == Reason::Recovered && !self.owed.is_empty() {
            return;
        }
        if self.owed.len() < OWED_MAX {
            self.owed.push(owed);
        } else {
            self.close(CloseReason::Overloaded);
        }
    }

    /// Closes it: now, or when there is room in its outbox.
    pub(super) fn close(&mut self, reason: CloseReason) {
        match self.outbox.try_send(ToSession::Close(reason)) {
            Ok(()) => self.outbox.end(),
            Err(SendError::Full(_)) => self.farewell = Some(reason),
            Err(SendError::Closed(_)) => {}
        }
    }

    /// Whether it still has to be closed.
    pub(super) fn is_leaving(&self) -> bool {
        self.farewell.is_some()
    }

    /// Tries again to close it.
    pub(super) fn retry_farewell(&mut self) {
        if let Some(reason) = self.farewell {
            self.close(reason);
        }
    }

    /// It has ended by itself.
    pub(super) fn forget(mut self) {
        self.outbox.end();
    }

    /// Whether a push of this version is news to it.
    pub(super) fn needs(&self, version: i64) -> bool {
        let is_primed = self.is_primed || is_planted(Plant::PushedBeforeSnapshot);
        let is_news = self.last_version < version || is_planted(Plant::VersionSentAgain);
        is_primed && !self.is_leaving() && is_news
    }

    pub(super) fn is_gone(&self) -> bool {
        self.outbox.is_gone()
    }

    /// Whether changes that it has not been sent are pending. One that is being closed is sent nothing more. One that waits
    /// for its snapshot, or whose outbox was full, is sent the newest state next, as a `balance`: the changes that led there
    /// need not be kept for it, so it does not hold back those of the other sessions.
    pub(super) fn counts(&self) -> bool {
        self.is_primed && self.owed.is_empty() && !self.is_leaving() && !self.is_gone()
    }
}

/// The live part of an actor.
#[derive(Debug)]
pub(super) struct Live {
    /// In order of their attachment.
    pub sessions: Vec<Attached>,
    /// The changes that not every session has been sent.
    pub pending: Pending,
}

impl Live {
    /// Begins at a user's last push, if there was one while the actor is resident.
    pub(super) fn since(last_push: Option<Mono>) -> Self {
        Self {
            sessions: Vec::new(),
            pending: Pending::since(last_push),
        }
    }

    /// Forgets the changes that every session has been sent. To be called when a session was sent the state that is known,
    /// and before a push is planned.
    pub(super) fn settle_pending(&mut self, known: &Account) {
        let counting = self.sessions.iter().filter(|session| session.counts());
        let seen: SmallVec<[i64; 4]> = counting.map(|session| session.last_version).collect();
        self.pending.settle(known, &seen);
    }

    pub(super) fn add_session(&mut self, session: Attached) {
        // Most users have one page open; a vector would make room for four.
        self.sessions.reserve_exact(1);
        self.sessions.push(session);
    }

    /// Whether there are `sessions_max` already.
    pub(super) fn is_full(&self, sessions_max: usize) -> bool {
        self.sessions
            .iter()
            .filter(|session| !session.is_leaving())
            .count()
            >= sessions_max
    }

    /// Closes the oldest session when there are `sessions_max` already.
    pub(super) fn make_room(&mut self, sessions_max: usize) {
        if self.is_full(sessions_max)
            && let Some(oldest) = self
                .sessions
                .iter_mut()
                .find(|session| !session.is_leaving())
        {
            oldest.close(CloseReason::TooManySessions);
        }
    }

    pub(super) fn session(&mut self, id: SessionId) -> Option<&mut Attached> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }

    pub(super) fn take_session(&mut self, id: SessionId) -> Option<Attached> {
        let index = self.sessions.iter().position(|session| session.id == id)?;
        Some(self.sessions.remove(index))
    }

    /// Whether a push of this version would reach a session.
    pub(super) fn has_listener_below(&self, version: i64) -> bool {
        self.sessions.iter().any(|session| session.needs(version))
    }
}
