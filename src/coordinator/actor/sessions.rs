//! What an actor holds only while its user has sessions: the sessions, the pacing, and the changes not pushed yet.

use std::collections::VecDeque;

use actix::Recipient;
use actix::prelude::SendError;
use bytestring::ByteString;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::coordinator::actor::cache::Cached;
use crate::coordinator::actor::displayed::Undisplayed;
use crate::coordinator::frames::Reason;
use crate::coordinator::messages::{AttachSession, CloseReason, Peer, ToSession};
use crate::coordinator::pacing::{Mode, Pacing};
use crate::domain::{Balances, SessionId, Source};
use crate::limits::ACTOR_EVENTS_MAX;
use crate::planted::{Plant, is_planted};

/// Answers that a session whose outbox is full can be owed; its message rate allows no more.
const OWED_MAX: usize = 64;

/// The most sources one push names.
const SOURCES_MAX: usize = 16;

/// A session as its actor sees it. When it is dropped without a farewell (the actor died or was retired), it tells the
/// session to attach again.
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
    /// It was told a stale balance or none, and is owed a fresh one.
    pub is_owed_recovery: bool,
    /// What it could not be sent because its outbox was full: as soon as there is room, each becomes a `balance`.
    pub owed: Vec<Owed>,
    /// It has to close, but its outbox was full.
    farewell: Option<CloseReason>,
    outbox: Option<Recipient<ToSession>>,
}

/// A `balance` that a session waits for: why, and the id to send back.
pub(super) type Owed = (Reason, Option<Box<RawValue>>);

/// What became of something said to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Sent,
    Full,
    Gone,
}

impl Attached {
    pub(super) fn new(attach: AttachSession) -> Self {
        let AttachSession {
            session_id,
            outbox,
            last_version,
            peer,
            ..
        } = attach;
        Self {
            id: session_id,
            last_version,
            displayed_version: 0,
            is_primed: false,
            peer,
            undisplayed: Undisplayed::default(),
            is_owed_recovery: false,
            owed: Vec::new(),
            farewell: None,
            outbox: Some(outbox),
        }
    }

    pub(super) fn tell(&mut self, text: ByteString, version: i64) -> Told {
        let Some(outbox) = &self.outbox else {
            return Told::Gone;
        };
        match outbox.try_send(ToSession::Frame { text, version }) {
            Ok(()) => {
                self.last_version = self.last_version.max(version);
                Told::Sent
            }
            Err(SendError::Full(_)) => Told::Full,
            Err(SendError::Closed(_)) => {
                self.outbox = None;
                Told::Gone
            }
        }
    }

    /// Remembers what could not be sent. One recovery stands for any number of missed pushes.
    pub(super) fn owe(&mut self, owed: Owed) {
        let is_covered = owed.0 == Reason::Recovered
            && self
                .owed
                .iter()
                .any(|(reason, _)| *reason == Reason::Recovered);
        if !is_covered && self.owed.len() < OWED_MAX {
            self.owed.push(owed);
        }
    }

    /// Ends it for a reason: now, or when there is room in its outbox.
    pub(super) fn close(&mut self, reason: CloseReason) {
        let Some(outbox) = &self.outbox else { return };
        if let Err(SendError::Full(_)) = outbox.try_send(ToSession::Close(reason)) {
            self.farewell = Some(reason);
        } else {
            self.outbox = None;
        }
    }

    /// Whether it is on its way out.
    pub(super) fn is_leaving(&self) -> bool {
        self.farewell.is_some()
    }

    /// Tries again to say what did not fit.
    pub(super) fn retry_farewell(&mut self) {
        if let Some(reason) = self.farewell {
            self.close(reason);
        }
    }

    /// It has ended by itself.
    pub(super) fn forget(mut self) {
        self.outbox = None;
    }

    /// Whether a push of this version is news to it.
    pub(super) fn needs(&self, version: i64) -> bool {
        let is_primed = self.is_primed || is_planted(Plant::PushedBeforeSnapshot);
        let is_news = self.last_version < version || is_planted(Plant::VersionSentAgain);
        is_primed && !self.is_leaving() && is_news
    }

    pub(super) fn is_gone(&self) -> bool {
        self.outbox.is_none()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(outbox) = self
            .outbox
            .take_if(|_| !is_planted(Plant::SessionsLeftBehind))
        {
            // Full: it attaches again with its next heartbeat, as every session does.
            let _ = outbox.try_send(ToSession::Reattach);
        }
    }
}

/// The state that the next push counts from: what the user's last push showed, or what was there when the first session
/// attached.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub version: i64,
    pub balances: Balances,
}

/// What is to be said about the changes not pushed yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub sources: SmallVec<[Source; 2]>,
    pub first_committed_at_us: Option<i64>,
    /// The first direct one.
    pub first_direct_at_us: Option<i64>,
    pub committed_at_us: i64,
}

/// The live part of an actor.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// In order of their attachment.
    pub sessions: Vec<Attached>,
    pub pacing: Pacing,
    pub base: Option<Base>,
    pub pending: Pending,
    pub events: VecDeque<Event>,
}

/// Something that happened in an actor, for its inspection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub at_us: i64,
    pub what: &'static str,
    pub version: i64,
}

impl Live {
    /// Begins at a user's last push, if there was one while the actor is resident.
    pub(super) fn since(last_push_us: Option<u64>) -> Self {
        Self {
            pacing: Pacing::since(last_push_us),
            ..Self::default()
        }
    }

    /// The first known state is what changes are counted from.
    pub(super) fn ensure_base(&mut self, cached: &Cached) {
        self.base.get_or_insert_with(|| Base {
            version: cached.version,
            balances: cached.balances.clone(),
        });
    }

    /// Notes a change for the next push, unless the state that was last pushed includes it.
    pub(super) fn note(
        &mut self,
        version: i64,
        mode: Mode,
        committed_us: u64,
        committed_at_us: i64,
        source: Option<&Source>,
    ) {
        if self
            .base
            .as_ref()
            .is_none_or(|base| version <= base.version)
        {
            return;
        }
        if is_planted(Plant::EarlyChangeDropped)
            && mode == Mode::Paced
            && self.pacing.last_push_us().is_some()
        {
            return;
        }
        self.pacing.note(committed_us, mode);
        let pending = &mut self.pending;
        pending.first_committed_at_us = Some(
            pending
                .first_committed_at_us
                .map_or(committed_at_us, |first| first.min(committed_at_us)),
        );
        if mode == Mode::Direct {
            pending.first_direct_at_us = Some(
                pending
                    .first_direct_at_us
                    .map_or(committed_at_us, |first| first.min(committed_at_us)),
            );
        }
        pending.committed_at_us = pending.committed_at_us.max(committed_at_us);
        if let Some(source) = source
            && pending.sources.len() < SOURCES_MAX
            && !pending.sources.contains(source)
        {
            pending.sources.push(source.clone());
        }
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

    /// Whether a push of this version would reach anybody.
    pub(super) fn has_listener_below(&self, version: i64) -> bool {
        self.sessions.iter().any(|session| session.needs(version))
    }

    pub(super) fn remember(&mut self, event: Event) {
        if self.events.len() == ACTOR_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
