//! The cached balance of one user: never older than what the actor has seen committed.

use crate::coordinator::frames::BalanceView;
use crate::domain::{Account, Balances, UserId};
use crate::planted::{Plant, is_planted};

/// A committed state, and when it was last known to be the ledger's.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    pub exists: bool,
    pub version: i64,
    pub balances: Balances,
    pub verified_us: u64,
    pub verified_at_us: i64,
}

/// Both times of one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Monotonic.
    pub us: u64,
    /// On the wall.
    pub at_us: i64,
}

/// The cache of one user.
#[derive(Debug, Default)]
pub(super) struct AccountCache(Option<Cached>);

impl AccountCache {
    /// What is known, however old.
    pub(super) fn known(&self) -> Option<&Cached> {
        self.0.as_ref()
    }

    /// What is known and young enough to be trusted.
    pub(super) fn fresh(&self, now_us: u64, ttl_us: u64) -> Option<&Cached> {
        self.known()
            .filter(|cached| now_us.saturating_sub(cached.verified_us) < ttl_us)
    }

    /// Takes the state that a commit made; an older one than known is ignored.
    pub(super) fn committed(&mut self, version: i64, balances: &Balances, when: Moment) {
        if self.known().is_none_or(|cached| version > cached.version) {
            let balances = balances.clone();
            self.0 = Some(Cached {
                exists: true,
                version,
                balances,
                verified_us: when.us,
                verified_at_us: when.at_us,
            });
        }
    }

    /// Takes what a read that began at `when` has seen. The ledger is right about equal versions (somebody may have
    /// mended it by hand); an older version means that the read was overtaken by a commit. Tells whether the version is
    /// new to us.
    pub(super) fn read(&mut self, account: Account, when: Moment) -> bool {
        let known = self.known().map(|cached| cached.version);
        if known.is_some_and(|version| account.version < version)
            && !is_planted(Plant::OlderReadServed)
        {
            return false;
        }
        let Account {
            exists,
            version,
            balances,
        } = account;
        self.0 = Some(Cached {
            exists,
            version,
            balances,
            verified_us: when.us,
            verified_at_us: when.at_us,
        });
        known.is_some_and(|known| version > known)
    }
}

impl Cached {
    /// As it is answered.
    pub(super) fn view(&self, user_id: UserId, is_stale: bool) -> BalanceView {
        BalanceView {
            user_id,
            exists: self.exists,
            version: self.version,
            balances: self.balances.clone(),
            as_of_us: self.verified_at_us,
            is_stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amount, Currencies};

    fn balances(minor: i64) -> Balances {
        let currencies = Currencies::default();
        let mut all = Balances::zero(currencies.count());
        all.set(
            currencies.find("TON").expect("a default"),
            Amount::from_minor(minor),
        );
        all
    }

    fn at(us: u64) -> Moment {
        Moment {
            us,
            at_us: 1_000_000 + us as i64,
        }
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let mut cache = AccountCache::default();
        cache.committed(7, &balances(70), at(1));
        cache.committed(6, &balances(60), at(2));
        assert!(!cache.read(
            Account {
                exists: true,
                version: 5,
                balances: balances(50)
            },
            at(3)
        ));
        let known = cache.known().expect("known");
        assert_eq!(
            (known.version, &known.balances, known.verified_us),
            (7, &balances(70), 1)
        );
    }

    #[test]
    fn a_read_refreshes_mends_and_discovers() {
        let mut cache = AccountCache::default();
        assert!(
            !cache.read(Account::unknown(2), at(0)),
            "the first read is no change"
        );
        cache.committed(1, &balances(10), at(1));
        assert!(cache.fresh(100, 100).is_some() && cache.fresh(101, 100).is_none());
        assert!(!cache.read(
            Account {
                exists: true,
                version: 1,
                balances: balances(11)
            },
            at(50)
        ));
        assert_eq!(
            cache.fresh(101, 100).map(|cached| &cached.balances),
            Some(&balances(11))
        );
        assert!(cache.read(
            Account {
                exists: true,
                version: 2,
                balances: balances(20)
            },
            at(60)
        ));
    }
}
