//! The reports of the latest runs of the canary, for administrators.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::limits::CANARY_RUNS_MAX;

/// Newest first.
#[derive(Debug, Default)]
pub struct CanaryRuns(Mutex<VecDeque<Value>>);

impl CanaryRuns {
    /// Adds a report, and forgets the oldest when there are too many.
    pub fn note(&self, report: Value) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push_front(report);
        runs.truncate(CANARY_RUNS_MAX);
    }

    /// The newest, at most so many.
    pub fn newest(&self, count: usize) -> Vec<Value> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().take(count).cloned().collect()
    }
}
