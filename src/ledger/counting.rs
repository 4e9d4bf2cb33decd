//! The ledger's counters, with a handle for each label made at the start.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use prometheus::{Gauge, IntCounter, IntGauge};

use crate::domain::{Kind, NewEntry, Outcome};
use crate::telemetry::counters::{Counters, seconds};

use super::EntryOutcome;
use super::errors::StoreError;
use super::writer::{Step, Watch};

const KINDS: usize = Kind::ALL.len();

/// Kinds of failed attempts.
const ERRORS: [&str; 8] = [
    "lost", "replaced", "busy", "raced", "locked", "refused", "timeout", "unfit",
];

/// What became of an entry, as it is counted.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Accepted,
    Duplicate,
    Rejected,
}

impl Counted {
    const ALL: [(Self, &str); 3] = [
        (Self::Accepted, "accepted"),
        (Self::Duplicate, "duplicate"),
        (Self::Rejected, "rejected"),
    ];

    /// `None` for what has no outcome: it will be sent again.
    fn of(outcome: &EntryOutcome) -> Option<Self> {
        match outcome {
            EntryOutcome::Decided {
                outcome: Outcome::Accepted { .. },
                ..
            } => Some(Self::Accepted),
            EntryOutcome::Decided {
                outcome: Outcome::Duplicate(_),
                ..
            } => Some(Self::Duplicate),
            refused => refused.refusal().map(|_| Self::Rejected),
        }
    }
}

/// Counts for the writers and the readers.
#[derive(Debug)]
pub struct LedgerCounts {
    counters: Arc<Counters>,
    entries: [[IntCounter; Counted::ALL.len()]; KINDS],
    last_entry: [OnceLock<Gauge>; KINDS],
    steps: [Gauge; Step::ALL.len()],
}

impl Default for LedgerCounts {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl LedgerCounts {
    /// Makes the handles. What can fail begins with zero, so that the first time shows.
    pub fn new(counters: Arc<Counters>) -> Self {
        for kind in ERRORS {
            counters.ledger_errors.with_label_values(&[kind]);
        }
        let of = |kind: Kind| {
            Counted::ALL.map(|(_, name)| counters.entries.with_label_values(&[kind.as_str(), name]))
        };
        Self {
            entries: Kind::ALL.map(of),
            last_entry: Default::default(),
            steps: Step::ALL.map(|step| {
                counters
                    .ledger_step_seconds
                    .with_label_values(&[step.name()])
            }),
            counters,
        }
    }

    /// Entries were decided: those of a transaction together.
    pub(super) fn decided<'a>(
        &self,
        decided: impl Iterator<Item = (&'a NewEntry, &'a EntryOutcome)>,
    ) {
        let mut counts = [[0_u64; Counted::ALL.len()]; KINDS];
        let mut latest_us = [None; KINDS];
        let mut refusals: BTreeMap<(Kind, &str), u64> = BTreeMap::new();
        for (entry, outcome) in decided {
            let Some(counted) = Counted::of(outcome) else {
                continue;
            };
            counts[entry.kind as usize][counted as usize] += 1;
            if let Some(code) = outcome.refusal() {
                *refusals.entry((entry.kind, code)).or_default() += 1;
            }
            if let (
                Counted::Accepted,
                EntryOutcome::Decided {
                    committed_at_us, ..
                },
            ) = (counted, outcome)
            {
                latest_us[entry.kind as usize] = Some(*committed_at_us);
            }
        }
        for (counters, counts) in self.entries.iter().zip(counts) {
            for (counter, count) in counters.iter().zip(counts).filter(|(_, count)| *count > 0) {
                counter.inc_by(count);
            }
        }
        for ((kind, code), count) in refusals {
            let labels = [kind.as_str(), code];
            let counter = self.counters.entry_refusals.with_label_values(&labels);
            counter.inc_by(count);
        }
        for (kind, at_us) in Kind::ALL
            .into_iter()
            .zip(latest_us)
            .filter_map(|(kind, at_us)| Some((kind, at_us?)))
        {
            // Only a kind that was seen has a time.
            let gauge = || self.counters.last_entry.with_label_values(&[kind.as_str()]);
            self.last_entry[kind as usize]
                .get_or_init(gauge)
                .set(at_us as f64 / 1_000_000.0);
        }
    }

    /// A transaction that wrote so many entries was committed.
    pub(super) fn committed(&self, entries: usize, took_us: u64) {
        self.counters.commit_seconds.observe(seconds(took_us));
        self.counters.commit_entries.observe(entries as f64);
    }

    /// The gauge of the length of SQLite's log; it is shown from now on.
    pub(super) fn sqlite_log_bytes(&self) -> IntGauge {
        self.counters
            .sqlite_wal_bytes
            .with_label_values::<&str>(&[])
    }

    /// An attempt has failed.
    pub(super) fn failed(&self, error: &StoreError) {
        self.failed_as(match error {
            StoreError::Lost(_) => "lost",
            StoreError::Away(_) | StoreError::Failed(_) => "busy",
            StoreError::TimedOut(_) => "timeout",
            StoreError::Raced(_) => "raced",
            StoreError::Locked { .. } => "locked",
            StoreError::Refused(_) => "refused",
        });
    }

    /// How long the longest of the writers' steps of each kind is under way.
    pub(super) fn steps<'a>(&self, watches: impl Iterator<Item = &'a Watch> + Clone) {
        for (step, gauge) in Step::ALL.iter().zip(&self.steps) {
            let ages = watches.clone().filter_map(Watch::age);
            let longest = ages.filter(|(of, _)| of == step).map(|(_, age)| age).max();
            gauge.set(longest.unwrap_or_default().as_secs_f64());
        }
    }

    /// An attempt has failed for another reason: one of a few words.
    pub(super) fn failed_as(&self, kind: &'static str) {
        self.counters.ledger_errors.with_label_values(&[kind]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_under_their_own_names() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, (counted, _)) in Counted::ALL.into_iter().enumerate() {
            assert_eq!(counted as usize, index);
        }
    }
}
