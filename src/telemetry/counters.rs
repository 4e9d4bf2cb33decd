//! What the coordinator and the doors count; read by the inspection endpoints.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or a level; cheap from any thread.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Less, for levels.
    pub fn sub(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes one more unless there are `max` already.
    pub fn try_take(&self, max: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < max).then_some(now + 1)).is_ok()
    }
}

/// Everything counted in one process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Balances answered from an actor's memory.
    pub cache_hits: Count,
    /// Balances that had to be read from the ledger.
    pub cache_misses: Count,
    /// Actors retired because too many were resident.
    pub cache_evictions: Count,
    /// Actors that died and were made again.
    pub actors_rebuilt: Count,
    /// Direct pushes, per user.
    pub pushes_direct: Count,
    /// Paced pushes, per user.
    pub pushes_paced: Count,
    /// Open WebSockets (a level).
    pub sessions: Count,
    /// Actors that told a session a stale balance and owe it a fresh one (a level).
    pub actors_stale: Count,
}
