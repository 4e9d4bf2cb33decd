//! What the registry sees of an actor without asking it: both live on one thread.

use std::cell::Cell;

use crate::planted::{Plant, is_planted};

/// What the registry sees of an actor without asking it: both live on one thread.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Messages routed and not handled yet.
    pub queued: Cell<usize>,
    /// Sessions attached.
    pub sessions: Cell<usize>,
    /// Postings and reads under way.
    pub in_flight: Cell<usize>,
    /// A committed change did not fit into the mailbox: the ledger has to be read.
    pub missed_a_change: Cell<bool>,
    /// Readers that wait for a version.
    pub version_waiters: Cell<usize>,
    /// Entries committed through this actor.
    pub entries: Cell<u64>,
    /// The newest version it knows, once it knows any.
    pub version: Cell<i64>,
    /// When its balance was last known to be the ledger's (monotonic), if ever.
    pub verified_us: Cell<Option<u64>>,
    /// When its sessions were last pushed something (monotonic), if ever: the next push keeps its distance.
    pub last_push_us: Cell<Option<u64>>,
    /// When the registry last routed something to it (monotonic).
    pub last_used_us: Cell<u64>,
}

impl Gauge {
    /// Nothing is under way, nobody is attached and nobody waits: it can leave memory without anybody noticing.
    pub(crate) fn is_quiescent(&self) -> bool {
        is_planted(Plant::RetiredWhileBusy)
            || [
                &self.queued,
                &self.sessions,
                &self.in_flight,
                &self.version_waiters,
            ]
            .iter()
            .all(|count| count.get() == 0)
    }
}
