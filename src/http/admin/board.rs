//! State that the dashboard's stream, its history and the findings share.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use serde_json::Value;

use crate::clock::{Mono, Wall};
use crate::diagnosis::Readings;
use crate::http::admin::hour::History;
use crate::telemetry::counters::Level;

/// The number of listeners, their latest snapshot, and what findings are made from.
#[derive(Debug)]
pub(in crate::http) struct LiveBoard {
    pub listeners: Level,
    /// The snapshot, and when it was made.
    pub latest: Mutex<Option<(Mono, Bytes)>>,
    /// The last hour.
    pub history: Mutex<History>,
    /// What the counters said in the last minutes.
    pub readings: Mutex<Readings>,
    /// Since when each finding is there, by its code.
    pub since: Mutex<BTreeMap<String, Wall>>,
    /// The conflicts of the last minutes, without their bodies: too dear to be read for each snapshot.
    pub conflicts: Mutex<Value>,
}

impl LiveBoard {
    /// Of a service that starts now.
    pub fn new(now: Wall) -> Self {
        Self {
            listeners: Level::default(),
            latest: Mutex::default(),
            history: Mutex::new(History::new(now)),
            readings: Mutex::default(),
            since: Mutex::default(),
            conflicts: Mutex::default(),
        }
    }
}
