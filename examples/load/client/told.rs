//! What the sessions of a crowd received, and what they expect.

use std::sync::atomic::{AtomicI64, Ordering};

use hdrhistogram::Histogram;

use crate::measure::latencies;

/// What all sessions of a crowd received since the last [`Crowd::begin`]; latencies in
/// microseconds.
#[derive(Debug)]
pub struct Measures {
    pub opened: u64,
    pub snapshots: u64,
    pub refused: u64,
    pub closed: u64,
    pub frames: u64,
    pub pings: u64,
    pub direct: u64,
    pub paced: u64,
    pub push_bytes: u64,
    pub unreadable: u64,
    pub too_soon: u64,
    pub unsaid: u64,
    pub is_misordered: bool,
    pub commit_to_frame: Histogram<u64>,
    pub push_to_frame: Histogram<u64>,
    pub webhook_to_frame: Histogram<u64>,
    pub direct_lateness: Histogram<u64>,
    pub paced_lateness: Histogram<u64>,
    pub paced_push_to_frame: Histogram<u64>,
    /// The last version of each session.
    pub versions: Vec<i64>,
}

impl Measures {
    /// Nothing yet.
    pub fn new(sessions: usize) -> Self {
        Self {
            opened: 0,
            snapshots: 0,
            refused: 0,
            closed: 0,
            frames: 0,
            pings: 0,
            direct: 0,
            paced: 0,
            push_bytes: 0,
            unreadable: 0,
            too_soon: 0,
            unsaid: 0,
            is_misordered: false,
            commit_to_frame: latencies(),
            push_to_frame: latencies(),
            webhook_to_frame: latencies(),
            direct_lateness: latencies(),
            paced_lateness: latencies(),
            paced_push_to_frame: latencies(),
            versions: vec![-1; sessions],
        }
    }
}

/// What sessions need to detect early and late pushes.
#[derive(Debug)]
pub struct Expected {
    pub debounce_us: i64,
    pub min_interval_us: i64,
    pub direct_interval_us: i64,
    sent_us: Vec<AtomicI64>,
}

impl Expected {
    /// The defaults of `[pacing]`, which the bench does not change.
    pub fn new(sessions: usize) -> Self {
        let sent_us = (0..sessions).map(|_| AtomicI64::new(0)).collect();
        Self {
            debounce_us: 1_500_000,
            min_interval_us: 5_000_000,
            direct_interval_us: 100_000,
            sent_us,
        }
    }

    /// When the last webhook for a session was meant to be sent; 0: none.
    pub fn sent_us(&self, index: usize) -> i64 {
        self.sent_us[index].load(Ordering::Relaxed)
    }

    /// Records it.
    pub fn will_send(&self, index: usize, at_us: i64) {
        self.sent_us[index].store(at_us, Ordering::Relaxed);
    }
}
