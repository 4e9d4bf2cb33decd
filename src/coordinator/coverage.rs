//! Whether this process has heard of everything that other processes commit to the same ledger, and so, whether what it
//! remembers may be trusted.
//!
//! A process that is alone hears of everything by itself. With others, it is *covered* for a while at a time, and the
//! users are in [`Partition`]s of which each may be distrusted by itself. Read by the actors with every answer that would
//! come from memory, so it is only loads of atomics; the time is compared when the answer is made, so a process that was
//! stopped and goes on distrusts itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::Mono;
use crate::coordinator::heard::{PARTITIONS, Partition, Partitions};
use crate::domain::UserId;

/// Shared by the actors, which ask, and by what hears of other processes, which tells.
#[derive(Debug)]
pub struct Coverage {
    /// Microseconds of monotonic time; `u64::MAX` for a process that is alone.
    until: AtomicU64,
    /// For each partition: what was verified earlier than this is not trusted.
    distrusted: [AtomicU64; PARTITIONS],
    is_first: AtomicBool,
}

impl Default for Coverage {
    /// Alone.
    fn default() -> Self {
        Self {
            until: AtomicU64::new(u64::MAX),
            distrusted: Default::default(),
            is_first: AtomicBool::new(true),
        }
    }
}

impl Coverage {
    /// Whether no other process uses the ledger.
    pub fn is_alone(&self) -> bool {
        self.until.load(Ordering::Acquire) == u64::MAX
    }

    /// Whether this process does the work that only one of them has to do: the audit, and the canary.
    pub fn is_first(&self) -> bool {
        self.is_first.load(Ordering::Acquire)
    }

    /// Another one does it, or this one.
    pub fn set_first(&self, is_first: bool) {
        self.is_first.store(is_first, Ordering::Release);
    }

    /// Whether everything that others commit is heard of.
    pub fn is_covered(&self, now: Mono) -> bool {
        now.us() < self.until.load(Ordering::Acquire)
    }

    /// Whether what was known of a user to be the ledger's at `verified` may be taken for it now.
    pub fn trusts(&self, user_id: UserId, verified: Mono, now: Mono) -> bool {
        self.is_covered(now) && verified >= self.distrusted_at(Partition::of(user_id))
    }

    /// When a partition was last distrusted.
    pub fn distrusted_at(&self, partition: Partition) -> Mono {
        Mono::from_us(self.distrusted[partition.index()].load(Ordering::Acquire))
    }

    /// From now on this process is alone. What it knows from before is not trusted.
    pub fn be_alone(&self, now: Mono) {
        self.distrust(Partitions::ALL, now);
        self.until.store(u64::MAX, Ordering::Release);
    }

    /// Others use the ledger, and until then everything that they commit will have been heard of.
    pub fn cover_until(&self, until: Mono) {
        self.until
            .store(until.us().min(u64::MAX - 1), Ordering::Release);
    }

    /// Something of these partitions was not heard of before `now`.
    pub fn distrust(&self, partitions: Partitions, now: Mono) {
        for partition in partitions.iter() {
            self.distrusted[partition.index()].fetch_max(now.us(), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: i64) -> UserId {
        UserId::new(id).expect("a user id")
    }

    const fn at(us: u64) -> Mono {
        Mono::from_us(us)
    }

    #[test]
    fn a_process_that_becomes_alone_trusts_only_what_it_verifies_from_then_on() {
        let coverage = Coverage::default();
        assert!(coverage.is_alone() && coverage.trusts(user(1), at(0), at(u64::MAX - 2)));
        coverage.cover_until(at(0));
        assert!(!coverage.is_alone() && !coverage.trusts(user(1), at(0), at(1)));
        coverage.be_alone(at(100));
        assert!(!coverage.trusts(user(1), at(99), at(101)));
        assert!(coverage.trusts(user(1), at(100), at(u64::MAX - 2)));
    }

    #[test]
    fn memory_is_trusted_until_its_time_and_if_verified_since_its_partition_was_distrusted() {
        let coverage = Coverage::default();
        let (one, rest) = (Partition::of(user(1)), Partitions::NONE);
        coverage.cover_until(at(1000));
        assert!(coverage.trusts(user(1), at(0), at(999)));
        assert!(
            !coverage.trusts(user(1), at(0), at(1000)),
            "its time is over"
        );
        coverage.distrust(rest.with(one), at(500));
        assert!(!coverage.trusts(user(1), at(499), at(600)));
        assert!(coverage.trusts(user(1), at(500), at(600)));
        let other = (2..).map(user).find(|other| Partition::of(*other) != one);
        assert!(coverage.trusts(other.expect("one"), at(0), at(600)));
        coverage.distrust(rest.with(one), at(400));
        assert!(
            !coverage.trusts(user(1), at(450), at(600)),
            "it never becomes laxer"
        );
    }
}
