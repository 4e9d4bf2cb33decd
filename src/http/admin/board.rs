//! What all listeners to the dashboard's stream share.

use std::sync::Mutex;

use bytes::Bytes;

use crate::telemetry::counters::Level;

/// What the listeners share.
#[derive(Debug, Default)]
pub(crate) struct LiveBoard {
    pub(crate) listeners: Level,
    /// The latest snapshot, and when it was made: monotonic microseconds.
    pub(crate) latest: Mutex<Option<(u64, Bytes)>>,
}
