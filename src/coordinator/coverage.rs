//! Whether this process has heard of everything that other processes commit to the same ledger, and so, whether what it
//! remembers may be trusted.
//!
//! A process that is alone hears of everything by itself. With others, it is *covered* for a while at a time, and the
//! users are in [`PARTITIONS`] of which each may be distrusted by itself. Read by the actors with every answer that would
//! come from memory, so it is only loads of atomics; the time is compared when the answer is made, so a process that was
//! stopped and goes on distrusts itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Mono;
use crate::domain::UserId;

/// Partitions of the users. The same on every node, for ever.
pub const PARTITIONS: usize = 16;

/// Fibonacci hashing: neighbours are far apart.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// The partition of a user, below [`PARTITIONS`].
pub const fn partition(user_id: UserId) -> usize {
    (user_id.get().unsigned_abs().wrapping_mul(SPREAD) >> 60) as usize
}

/// Shared by the actors, which ask, and by what hears of other processes, which tells.
#[derive(Debug)]
pub struct Coverage {
    /// Microseconds of monotonic time; `u64::MAX` for a process that is alone.
    until: AtomicU64,
    /// For each partition: what was verified earlier than this is not trusted.
    distrusted: [AtomicU64; PARTITIONS],
}

impl Default for Coverage {
    /// Alone.
    fn default() -> Self {
        Self {
            until: AtomicU64::new(u64::MAX),
            distrusted: Default::default(),
        }
    }
}

impl Coverage {
    /// Whether no other process uses the ledger.
    pub fn is_alone(&self) -> bool {
        self.until.load(Ordering::Acquire) == u64::MAX
    }

    /// Whether everything that others commit is heard of.
    pub fn is_covered(&self, now: Mono) -> bool {
        now.us() < self.until.load(Ordering::Acquire)
    }

    /// Whether what was known of a user to be the ledger's at `verified` may be taken for it now.
    pub fn trusts(&self, user_id: UserId, verified: Mono, now: Mono) -> bool {
        if self.is_alone() {
            return true;
        }
        let distrusted = self.distrusted[partition(user_id)].load(Ordering::Acquire);
        self.is_covered(now) && verified.us() >= distrusted
    }

    /// From now on this process is alone.
    pub fn be_alone(&self) {
        self.until.store(u64::MAX, Ordering::Release);
    }

    /// Others use the ledger, and until then everything that they commit will have been heard of.
    pub fn cover_until(&self, until: Mono) {
        self.until
            .store(until.us().min(u64::MAX - 1), Ordering::Release);
    }

    /// Something of a partition was not heard of before `now`.
    pub fn distrust(&self, partition: usize, now: Mono) {
        self.distrusted[partition].fetch_max(now.us(), Ordering::AcqRel);
    }

    /// The same of all partitions.
    pub fn distrust_all(&self, now: Mono) {
        (0..PARTITIONS).for_each(|partition| self.distrust(partition, now));
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
    fn a_process_that_is_alone_trusts_what_it_knows_whatever_was_before() {
        let coverage = Coverage::default();
        assert!(coverage.is_alone() && coverage.trusts(user(1), at(0), at(u64::MAX - 2)));
        coverage.cover_until(at(5));
        coverage.distrust_all(at(100));
        assert!(!coverage.trusts(user(1), at(200), at(201)));
        coverage.be_alone();
        assert!(coverage.trusts(user(1), at(0), at(300)));
    }

    #[test]
    fn memory_is_trusted_until_its_time_and_only_what_was_verified_since_its_partition_was_distrusted()
     {
        let coverage = Coverage::default();
        coverage.cover_until(at(1000));
        assert!(coverage.trusts(user(1), at(0), at(999)));
        assert!(
            !coverage.trusts(user(1), at(0), at(1000)),
            "its time is over"
        );
        coverage.distrust(partition(user(1)), at(500));
        assert!(!coverage.trusts(user(1), at(499), at(600)));
        assert!(coverage.trusts(user(1), at(500), at(600)));
        let other = (2..)
            .map(user)
            .find(|other| partition(*other) != partition(user(1)));
        assert!(coverage.trusts(other.expect("one"), at(0), at(600)));
        coverage.distrust(partition(user(1)), at(400));
        assert!(
            !coverage.trusts(user(1), at(450), at(600)),
            "it never becomes laxer"
        );
    }

    #[test]
    fn users_are_spread_over_all_partitions() {
        let mut counts = [0; PARTITIONS];
        (1..=1600).for_each(|id| counts[partition(user(id))] += 1);
        assert!(
            counts.iter().all(|count| (80..=120).contains(count)),
            "{counts:?}"
        );
    }
}
