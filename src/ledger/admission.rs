//! How many entries may wait for the ledger at once (`limits.queue_entries`).
//!
//! An entry takes a place before anything is done with it and releases it when it is answered. So the queues of actors,
//! the lanes and running transactions are all counted, and a full queue is known before any work is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Lane;

/// Counts the places; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Places>);

#[derive(Debug)]
struct Places {
    entries_max: usize,
    single: AtomicUsize,
    bulk: AtomicUsize,
}

impl Places {
    fn of(&self, lane: Lane) -> &AtomicUsize {
        match lane {
            Lane::Single => &self.single,
            Lane::Bulk => &self.bulk,
        }
    }
}

impl Admission {
    /// Room for `entries_max` entries in each lane.
    pub fn new(entries_max: usize) -> Self {
        Self(Arc::new(Places {
            entries_max,
            single: AtomicUsize::new(0),
            bulk: AtomicUsize::new(0),
        }))
    }

    /// Takes `count` places of a lane, or none at all when it has fewer left.
    pub fn try_acquire(&self, lane: Lane, count: usize) -> Option<Permit> {
        let taken = self.0.of(lane);
        let entries_max = self.0.entries_max;
        taken
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(count)
                    .filter(|total| *total <= entries_max)
            })
            .ok()
            .map(|_| Permit {
                places: self.0.clone(),
                lane,
                count,
            })
    }

    /// How many entries of a lane wait or are being written.
    pub fn waiting(&self, lane: Lane) -> usize {
        self.0.of(lane).load(Ordering::Relaxed)
    }
}

/// Places taken; released when dropped.
#[derive(Debug)]
pub struct Permit {
    places: Arc<Places>,
    lane: Lane,
    count: usize,
}

impl Permit {
    /// Moves `count` of the places to a new permit.
    ///
    /// # Panics
    /// When it has fewer.
    pub fn split(&mut self, count: usize) -> Self {
        assert!(count <= self.count, "a permit has fewer places");
        self.count -= count;
        Self {
            places: self.places.clone(),
            lane: self.lane,
            count,
        }
    }

    /// Takes over the places of another permit of the same lane.
    pub fn join(&mut self, mut other: Self) {
        debug_assert_eq!(self.lane, other.lane, "lanes are counted separately");
        self.count += std::mem::take(&mut other.count);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.places
            .of(self.lane)
            .fetch_sub(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_all_or_none_and_released() {
        let admission = Admission::new(10);
        let mut six = admission.try_acquire(Lane::Single, 6).expect("room");
        assert!(admission.try_acquire(Lane::Single, 5).is_none());
        assert!(
            admission.try_acquire(Lane::Bulk, 10).is_some(),
            "each lane has its own places"
        );
        let two = six.split(2);
        drop(six);
        assert_eq!(admission.waiting(Lane::Single), 2);
        drop(two);
        assert_eq!(admission.waiting(Lane::Single), 0);
        assert!(admission.try_acquire(Lane::Single, usize::MAX).is_none());
    }
}
