//! State that all listeners to the dashboard's stream share.

use std::sync::Mutex;

use bytes::Bytes;

use crate::clock::Mono;
use crate::telemetry::counters::Level;

/// The number of listeners and their latest snapshot.
#[derive(Debug, Default)]
pub(in crate::http) struct LiveBoard {
    pub listeners: Level,
    /// The snapshot, and when it was made, in monotonic microseconds.
    pub latest: Mutex<Option<(Mono, Bytes)>>,
}
