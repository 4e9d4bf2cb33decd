//! Token buckets: for the messages of one session, and for the failures of one address.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Mutex;

use lru::LruCache;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub per_s: u32,
    pub burst: u32,
}

/// A bucket that begins full. Holds millionths of a permit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    micro_permits: u64,
    filled_us: u64,
}

const MICRO: u64 = 1_000_000;

impl Bucket {
    pub(super) fn full(rate: Rate, now_us: u64) -> Self {
        Self { micro_permits: u64::from(rate.burst) * MICRO, filled_us: now_us }
    }

    fn fill(&mut self, rate: Rate, now_us: u64) {
        // One permit a second is one millionth of it a microsecond.
        let gained = now_us.saturating_sub(self.filled_us).saturating_mul(rate.per_s.into());
        self.micro_permits = self.micro_permits.saturating_add(gained).min(u64::from(rate.burst) * MICRO);
        self.filled_us = now_us;
    }

    pub(super) fn try_take(&mut self, rate: Rate, now_us: u64) -> bool {
        self.fill(rate, now_us);
        let left = self.micro_permits.checked_sub(MICRO);
        self.micro_permits = left.unwrap_or(self.micro_permits);
        left.is_some()
    }

    fn is_empty(&mut self, rate: Rate, now_us: u64) -> bool {
        self.fill(rate, now_us);
        self.micro_permits < MICRO
    }
}

/// Failures of an address: a burst, then one every few seconds.
const FAILURES: Rate = Rate { per_s: 1, burst: 20 };

/// Addresses remembered; the least recently seen is forgotten first.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Slows down whoever guesses.
#[derive(Debug)]
pub(super) struct FailureLimit(Mutex<LruCache<IpAddr, Bucket>>);

impl FailureLimit {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(ADDRESSES_MAX)))
    }

    /// Whether the address has failed too often to be listened to now.
    pub(super) fn is_blocked(&self, address: IpAddr, now_us: u64) -> bool {
        self.with(address, now_us, |bucket| bucket.is_empty(FAILURES, now_us))
    }

    /// Notes a failure.
    pub(super) fn note(&self, address: IpAddr, now_us: u64) {
        self.with(address, now_us, |bucket| bucket.try_take(FAILURES, now_us));
    }

    fn with(&self, address: IpAddr, now_us: u64, act: impl FnOnce(&mut Bucket) -> bool) -> bool {
        // A panic while it was held leaves at worst a bucket that is too full.
        let mut buckets = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(buckets.get_or_insert_mut(address, || Bucket::full(FAILURES, now_us)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate { per_s: 20, burst: 40 };
        let mut bucket = Bucket::full(rate, 0);
        assert_eq!((0..100).filter(|_| bucket.try_take(rate, 0)).count(), 40);
        assert_eq!((0..100).filter(|_| bucket.try_take(rate, 100_000)).count(), 2);
        assert_eq!((0..100).filter(|_| bucket.try_take(rate, 1_000_000_000)).count(), 40);
    }

    #[test]
    fn an_address_that_fails_is_blocked_alone_and_for_a_while() {
        let limit = FailureLimit::new();
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        (0..FAILURES.burst).for_each(|_| limit.note(one, 0));
        assert!(limit.is_blocked(one, 0) && !limit.is_blocked(other, 0));
        assert!(!limit.is_blocked(one, 1_000_000));
    }
}
