//! What the registry sees of an actor without asking it: both run on one thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::clock::Mono;
use crate::domain::SessionId;
use crate::planted::{Plant, is_planted};

/// Shared by an actor and the registry.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Messages routed and not handled yet.
    pub queued: Cell<usize>,
    /// Sessions attached.
    pub sessions: Cell<usize>,
    /// Postings of single entries under way.
    pub single_postings: Cell<usize>,
    /// Postings of batch entries under way.
    pub bulk_postings: Cell<usize>,
    /// Reads under way.
    pub reads: Cell<usize>,
    /// Timers that the actor has set.
    pub timers: Cell<usize>,
    /// Readers that wait for a version.
    pub version_waiters: Cell<usize>,
    /// A committed change did not fit into the mailbox: the ledger has to be read.
    pub missed_a_change: Cell<bool>,
    /// Sessions that have ended, though the message did not fit into the mailbox.
    pub ended: RefCell<Vec<SessionId>>,
    /// Entries committed through this actor.
    pub entries: Cell<u64>,
    /// The newest version it knows, once it knows any.
    pub version: Cell<i64>,
    /// When its balance was last known to be the ledger's, if ever.
    pub verified: Cell<Option<Mono>>,
    /// When its sessions were last pushed to, if ever: the next push keeps its distance.
    pub last_push: Cell<Option<Mono>>,
    /// Its place in the roster.
    pub seat: Cell<usize>,
    /// When the registry last routed a message to it.
    pub last_used: Cell<Mono>,
}

impl Gauge {
    /// Postings and reads under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.single_postings.get() + self.bulk_postings.get() + self.reads.get()
    }

    /// Futures on the actor's context, which polls each of them at every message: so there are only a few, whatever is
    /// asked of the actor.
    pub(crate) fn tasks(&self) -> usize {
        self.in_flight() + self.timers.get()
    }

    /// Messages wait, or work is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.queued.get() + self.in_flight() + self.version_waiters.get() > 0
    }

    /// The actor can be retired without losing anything.
    pub(crate) fn is_quiescent(&self) -> bool {
        is_planted(Plant::RetiredWhileBusy) || !self.is_busy() && self.sessions.get() == 0
    }
}

/// Counts one in a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    gauge: Rc<Gauge>,
    count: fn(&Gauge) -> &Cell<usize>,
}

impl Counted {
    /// One more in `count`.
    pub(crate) fn one(gauge: &Rc<Gauge>, count: fn(&Gauge) -> &Cell<usize>) -> Self {
        count(gauge).update(|now| now + 1);
        Self {
            gauge: gauge.clone(),
            count,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.count)(&self.gauge).update(|now| now - 1);
    }
}
