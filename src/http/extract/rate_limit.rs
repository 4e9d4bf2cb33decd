//! Token buckets: for the messages of a session, the sign-ins of an address, and the requests of a user.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::clock::Mono;
use crate::domain::UserId;
use crate::limits::API_USERS_MAX;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Rate {
    pub per_s: u32,
    pub burst: u32,
}

/// A bucket that starts full. Counts in millionths of a permit.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Bucket {
    micro_permits: u64,
    filled: Mono,
}

const MICRO: u64 = 1_000_000;

impl Bucket {
    pub(in crate::http) fn full(rate: Rate, now: Mono) -> Self {
        Self {
            micro_permits: u64::from(rate.burst) * MICRO,
            filled: now,
        }
    }

    fn fill(&mut self, rate: Rate, now: Mono) {
        // One permit per second is one millionth of a permit per microsecond.
        let gained = now.us_since(self.filled).saturating_mul(rate.per_s.into());
        self.micro_permits = self
            .micro_permits
            .saturating_add(gained)
            .min(u64::from(rate.burst) * MICRO);
        self.filled = now;
    }

    pub(in crate::http) fn try_take(&mut self, rate: Rate, now: Mono) -> bool {
        self.fill(rate, now);
        let left = self.micro_permits.checked_sub(MICRO);
        self.micro_permits = left.unwrap_or(self.micro_permits);
        left.is_some()
    }

    /// How long it takes until there is a permit, in microseconds; at least 1.
    pub(in crate::http) fn wait_us(&mut self, rate: Rate, now: Mono) -> u64 {
        self.fill(rate, now);
        let missing = MICRO.saturating_sub(self.micro_permits);
        missing.div_ceil(rate.per_s.max(1).into()).max(1)
    }
}

/// Failed sign-ins of an address.
pub(in crate::http) const FAILURES: Rate = Rate {
    per_s: 1,
    burst: 20,
};

/// All sign-ins of an address. High, since all clients behind a proxy that is not in `server.trusted_proxies` share its
/// address.
pub(in crate::http) const SIGN_INS: Rate = Rate {
    per_s: 50,
    burst: 500,
};

/// The most addresses that are remembered; the least recently seen one is dropped first.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// The same of users.
const USERS_MAX: NonZeroUsize = NonZeroUsize::new(API_USERS_MAX).expect("not zero");

/// A bucket for each key of the latest ones.
#[derive(Debug)]
struct Buckets<K: Hash + Eq> {
    rate: Rate,
    buckets: Mutex<LruCache<K, Bucket>>,
}

impl<K: Hash + Eq> Buckets<K> {
    fn new(rate: Rate, keys_max: NonZeroUsize) -> Self {
        Self {
            rate,
            buckets: Mutex::new(LruCache::new(keys_max)),
        }
    }

    fn try_take(&self, key: K, now: Mono) -> bool {
        // A panic under the lock leaves a bucket too full at worst.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get_or_insert_mut(key, || Bucket::full(self.rate, now));
        bucket.try_take(self.rate, now)
    }
}

/// A bucket for each address, to slow down floods and guessing.
#[derive(Debug)]
pub(in crate::http) struct AddressLimit(Buckets<IpAddr>);

impl AddressLimit {
    pub(in crate::http) fn new(rate: Rate) -> Self {
        Self(Buckets::new(rate, ADDRESSES_MAX))
    }

    /// Takes a permit; false when there is none.
    pub(in crate::http) fn try_take(&self, address: IpAddr, now: Mono) -> bool {
        self.0.try_take(network(address), now)
    }
}

/// A bucket for each user, so that one user's requests never fill the service.
#[derive(Debug)]
pub(in crate::http) struct UserLimit(Buckets<UserId>);

impl UserLimit {
    pub(in crate::http) fn new(rate: Rate) -> Self {
        Self(Buckets::new(rate, USERS_MAX))
    }

    /// Takes a permit; false when there is none.
    pub(super) fn try_take(&self, user_id: UserId, now: Mono) -> bool {
        self.0.try_take(user_id, now)
    }
}

/// The address that is counted: for IPv6 its /64, since one client usually has all of it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Mono {
        Mono::from_us(us)
    }

    #[test]
    fn a_bucket_allows_its_burst_and_then_its_rate() {
        let rate = Rate {
            per_s: 20,
            burst: 40,
        };
        let mut bucket = Bucket::full(rate, at(0));
        assert_eq!(
            (0..100).filter(|_| bucket.try_take(rate, at(0))).count(),
            40
        );
        assert_eq!(
            (0..100)
                .filter(|_| bucket.try_take(rate, at(100_000)))
                .count(),
            2
        );
        assert_eq!(
            (0..100)
                .filter(|_| bucket.try_take(rate, at(1_000_000_000)))
                .count(),
            40
        );
    }

    #[test]
    fn an_address_that_fails_is_blocked_alone_and_for_a_while() {
        let limit = AddressLimit::new(FAILURES);
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        (0..FAILURES.burst).for_each(|_| assert!(limit.try_take(one, at(0))));
        assert!(!limit.try_take(one, at(0)) && limit.try_take(other, at(0)));
        assert!(limit.try_take(one, at(1_000_000)));
    }

    #[test]
    fn a_user_is_limited_alone_and_only_the_latest_users_are_remembered() {
        let user = |id: i64| UserId::new(id).expect("valid");
        let rate = Rate { per_s: 1, burst: 2 };
        let limit = UserLimit(Buckets::new(rate, NonZeroUsize::new(2).expect("not zero")));
        let taken = |id, us| limit.try_take(user(id), at(us));
        assert_eq!((taken(1, 0), taken(1, 0), taken(1, 0)), (true, true, false));
        assert!(taken(2, 0), "another user");
        assert!(!taken(1, 500_000) && taken(1, 1_000_000));
        assert!(taken(3, 1_000_000));
        let buckets = limit.0.buckets.lock().expect("no panic");
        assert_eq!(buckets.len(), 2, "the memory is bounded");
    }

    #[test]
    fn a_wait_ends_with_a_permit() {
        for (per_s, wait_us) in [(1, 1_000_000), (20, 50_000), (3, 333_334)] {
            let rate = Rate { per_s, burst: 1 };
            let mut bucket = Bucket::full(rate, at(0));
            assert!(bucket.try_take(rate, at(0)));
            assert_eq!(bucket.wait_us(rate, at(0)), wait_us);
            assert!(!bucket.try_take(rate, at(wait_us - 1)));
            assert!(bucket.try_take(rate, at(wait_us)));
        }
    }

    #[test]
    fn ipv6_addresses_of_one_network_share_a_bucket() {
        let network = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:3:3:4:5:6"), "2001:db8:1:3::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
    }
}
