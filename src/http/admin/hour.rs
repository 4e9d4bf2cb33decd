//! What is kept of the last hour: snapshots and marks, both bounded; the oldest go first.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;

use crate::clock::{Mono, Wall};
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_MARKS_MAX, HISTORY_S, HISTORY_STEP_S};

/// The last hour.
#[derive(Debug)]
pub(in crate::http) struct History {
    steps: VecDeque<(Mono, Bytes)>,
    bytes: usize,
    marks: VecDeque<Mark>,
    /// When a look first found the ledger away; `None` while it answers.
    pub away_since: Option<Wall>,
    /// What the latest look saw.
    pub violations: u64,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub(in crate::http) struct Mark {
    pub at: Wall,
    what: &'static str,
    detail: Option<String>,
}

impl History {
    /// Of a service that starts now.
    pub fn new(now: Wall) -> Self {
        let started = Mark {
            at: now,
            what: "started",
            detail: None,
        };
        Self {
            steps: VecDeque::new(),
            bytes: 0,
            marks: [started].into(),
            away_since: None,
            violations: 0,
        }
    }

    /// Keeps the bytes of a snapshot.
    pub fn push(&mut self, at: Mono, step: Bytes) {
        self.bytes += step.len();
        self.steps.push_back((at, step));
        while self.steps.len() as u64 > u64::from(HISTORY_S) / HISTORY_STEP_S
            || self.bytes > HISTORY_BYTES_MAX
        {
            let Some((_, oldest)) = self.steps.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
        }
    }

    /// Keeps a mark.
    pub fn mark(&mut self, at: Wall, what: &'static str, detail: Option<String>) {
        self.marks.push_back(Mark { at, what, detail });
        while self.marks.len() > HISTORY_MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// The snapshots made since `from`, and the marks of the time since `oldest`.
    pub fn since(&self, from: Mono, oldest: Wall) -> (Vec<Bytes>, Vec<Mark>) {
        let steps = self.steps.iter().filter(|(at, _)| *at >= from);
        let marks = self.marks.iter().filter(|mark| mark.at >= oldest);
        (
            steps.map(|(_, step)| step.clone()).collect(),
            marks.cloned().collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_marks_and_bytes_are_bounded() {
        let now = Wall::from_us(0);
        let mut history = History::new(now);
        for at in 0..1000 {
            history.push(Mono::from_us(at), Bytes::from_static(b"{}"));
            history.mark(now, "violation", None);
        }
        assert_eq!(history.steps.len(), 720);
        assert_eq!(
            (history.bytes, history.marks.len()),
            (1440, HISTORY_MARKS_MAX)
        );
        for at in 0..3 {
            history.push(Mono::from_us(at), vec![b' '; HISTORY_BYTES_MAX / 2].into());
        }
        assert_eq!((history.steps.len(), history.bytes), (2, HISTORY_BYTES_MAX));
    }
}
