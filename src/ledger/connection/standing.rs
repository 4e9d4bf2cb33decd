//! What this process knows of the ledger as a whole. The ledger's threads report it; the coordinator asks.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the ledger is known to be away.
#[derive(Debug, Default)]
pub struct Standing {
    is_away: AtomicBool,
}

impl Standing {
    /// A read or a commit has succeeded.
    pub fn answered(&self) {
        self.is_away.store(false, Ordering::Release);
    }

    /// A read or a commit has failed because the ledger could not be reached.
    pub fn unanswered(&self) {
        self.is_away.store(true, Ordering::Release);
    }

    /// Whether a read or a commit has failed for that reason, and none has succeeded since.
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }
}
