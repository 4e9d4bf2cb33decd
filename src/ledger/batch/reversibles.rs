//! The entries that the reversals of a batch name: those in the tables, and those that the batch itself writes.

use std::collections::{HashMap, HashSet};

use crate::domain::{EventId, NewEntry, Recorded, Reversed, Reversible, TxHash};

/// Found by either of their names. Empty without a reversal in the batch.
#[derive(Debug, Default)]
pub struct Reversibles {
    by_event: HashMap<EventId, Reversible>,
    by_hash: HashMap<TxHash, EventId>,
}

impl Reversibles {
    /// Adds an entry.
    pub fn insert(&mut self, reversible: Reversible) {
        let event_id = reversible.event_id.clone();
        if let Some(hash) = reversible.entry.tx_hash {
            self.by_hash.insert(hash, event_id.clone());
        }
        self.by_event.insert(event_id, reversible);
    }

    /// What the entries are.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Recorded> {
        self.by_event.values().map(|reversible| &reversible.entry)
    }

    /// The entry of a name: its event id, or `ton:<hash>` of a deposit.
    pub fn find(&self, name: &EventId) -> Option<&Reversible> {
        self.by_event.get(name).or_else(|| {
            let hash = TxHash::of_event_id(name)?;
            self.by_event.get(self.by_hash.get(&hash)?)
        })
    }

    /// An entry of the batch is accepted.
    pub(super) fn accepted(&mut self, wanted: &Wanted<'_>, entry: &NewEntry, recorded: Recorded) {
        if wanted.is_named(entry)
            && let Some(left) = recorded.amount.checked_abs()
        {
            self.insert(Reversible {
                event_id: entry.event_id.clone(),
                entry: recorded,
                left,
            });
        }
    }

    /// An accepted entry of the batch is not written after all.
    pub(super) fn undone(&mut self, entry: &NewEntry) {
        if let Some(undone) = self.by_event.remove(&entry.event_id)
            && let Some(hash) = undone.entry.tx_hash
        {
            self.by_hash.remove(&hash);
        }
    }

    /// A reversal is accepted.
    pub(super) fn reversed(&mut self, reversed: &Reversed) {
        if let Some(reversible) = self.by_event.get_mut(&reversed.event_id) {
            reversible.left = reversed.left_after;
        }
    }

    /// An accepted reversal that took so much is not written after all.
    pub(super) fn restored(&mut self, recorded: &super::PlannedEntry<'_>) {
        let Some(reversed) = &recorded.applied.reversed else {
            return;
        };
        let taken = recorded.applied.amount.checked_abs();
        if let Some(reversible) = self.by_event.get_mut(&reversed.event_id)
            && let Some(left) = taken.and_then(|taken| reversed.left_after.checked_add(taken))
        {
            reversible.left = left;
        }
    }
}

/// The names of entries that the reversals of a batch give.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a>(HashSet<&'a EventId>);

impl<'a> Wanted<'a> {
    pub(super) fn of(names: &[&'a EventId]) -> Self {
        Self(names.iter().copied().collect())
    }

    fn is_named(&self, entry: &NewEntry) -> bool {
        !self.0.is_empty()
            && (self.0.contains(&entry.event_id)
                || entry
                    .key_hash()
                    .is_some_and(|hash| self.0.contains(&hash.event_id())))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
