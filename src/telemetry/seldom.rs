//! Log lines that a client can cause: each kind once a minute, so that no client fills the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::Mono;

/// The least time between two lines of a kind, in microseconds.
const PAUSE_US: u64 = 60_000_000;

/// When a line of each kind was last due.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<BTreeMap<&'static str, Mono>>);

impl Seldom {
    /// Whether a line of this kind may be logged at `now`; then the next one has to wait.
    pub fn is_due(&self, kind: &'static str, now: Mono) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last
            .get(kind)
            .is_none_or(|last| now.us_since(*last) >= PAUSE_US);
        if is_due {
            last.insert(kind, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_due_once_a_minute() {
        let seldom = Seldom::default();
        for (kind, second, is_due) in [
            ("a", 0, true),
            ("a", 0, false),
            ("b", 1, true),
            ("a", 59, false),
            ("a", 60, true),
            ("b", 60, false),
            ("b", 61, true),
            ("a", 61, false),
        ] {
            let now = Mono::from_us(second * 1_000_000);
            assert_eq!(seldom.is_due(kind, now), is_due, "{kind} {second}");
        }
    }
}
