//! What an actor holds only while its user has sessions: the sessions, the pacing, and the changes not pushed yet.

use actix::prelude::SendError;
use bytestring::ByteString;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::clock::{Moment, Mono};
use crate::coordinator::actor::displayed::Undisplayed;
use crate::coordinator::frames::Reason;
use crate::coordinator::messages::{AttachSession, CloseReason, Outbox, Peer, ToSession};
use crate::coordinator::pacing::{Mode, Pacing};
use crate::domain::{Account, SessionId, Source};
use crate::planted::{Plant, is_planted};

/// Answers that a session whose outbox is full can be owed; its message rate allows no more.
const OWED_MAX: usize = 64;

/// The most sources one push names.
const SOURCES_MAX: usize = 16;

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
}

/// The live part of an actor.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// In order of their attachment.
    pub sessions: Vec<Attached>,
    /// Which changes wait, and until when.
    pub pacing: Pacing,
    /// What the changes of the next push are counted from: the state of the last push, or the one that was there when the
    /// first session attached.
    pub base: Option<Account>,
    /// The sources of the changes that wait.
    pub sources: SmallVec<[Source; 2]>,
}

impl Live {
    /// Begins at a user's last push, if there was one while the actor is resident.
    pub(super) fn since(last_push: Option<Mono>) -> Self {
        Self {
            pacing: Pacing::since(last_push),
            ..Self::default()
        }
    }

    /// The first known state is what changes are counted from.
    pub(super) fn ensure_base(&mut self, known: &Account) {
        self.base.get_or_insert_with(|| known.clone());
    }

    /// Whether the state that was last pushed lacks this version.
    fn is_news(&self, version: i64) -> bool {
        let base = self.base.as_ref();
        base.is_some_and(|base| version > base.version)
    }

    /// Notes for the next push that a read has found a newer version.
    pub(super) fn note_read(&mut self, version: i64, began: Moment, ended: Moment) {
        if self.is_news(version) {
            self.pacing.note_read(began, ended);
        }
    }

    /// Notes a change for the next push, unless the state that was last pushed includes it.
    pub(super) fn note(
        &mut self,
        version: i64,
        mode: Mode,
        committed: Moment,
        source: Option<&Source>,
    ) {
        if !self.is_news(version) {
            return;
        }
        if is_planted(Plant::EarlyChangeDropped)
            && mode == Mode::Paced
            && self.pacing.last_push().is_some()
        {
            return;
        }
        self.pacing.note(committed, mode);
        if let Some(source) = source
            && self.sources.len() < SOURCES_MAX
            && !self.sources.contains(source)
        {
            self.sources.push(source.clone());
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

    /// Whether a push of this version would reach a session.
    pub(super) fn has_listener_below(&self, version: i64) -> bool {
        self.sessions.iter().any(|session| session.needs(version))
    }
}
