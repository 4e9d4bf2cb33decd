//! The cached balance of one user: never older than what the actor has seen committed.

use crate::clock::{Moment, Mono};
use crate::coordinator::frames::BalanceView;
use crate::domain::{Account, Balances};
use crate::ledger::Epoch;
use crate::planted::{Plant, is_planted};

/// The cache of one user, in one epoch.
#[derive(Debug)]
pub(super) struct AccountCache {
    epoch: Epoch,
    known: Option<BalanceView>,
}

impl AccountCache {
    /// Empty.
    pub(super) fn new(epoch: Epoch) -> Self {
        Self { epoch, known: None }
    }

    /// The epoch that everything here belongs to.
    pub(super) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// What is known, however old.
    pub(super) fn known(&self) -> Option<&BalanceView> {
        self.known.as_ref()
    }

    /// What is known and young enough to be trusted.
    pub(super) fn fresh(&self, now: Mono, ttl_us: u64) -> Option<&BalanceView> {
        self.known()
            .filter(|known| now.us_since(known.verified.mono) < ttl_us)
    }

    /// Takes the state that a commit made; one older than known is ignored.
    pub(super) fn committed(&mut self, version: i64, balances: Balances, when: Moment) {
        if self
            .known()
            .is_none_or(|known| version > known.account.version)
        {
            let account = Account {
                exists: true,
                version,
                balances,
            };
            self.put(account, when);
        }
    }

    /// Takes what a read that began at `when` has seen. At equal versions the ledger is right: it may have been mended by
    /// hand. An older version means that a commit overtook the read, and at equal versions a read that began earlier tells
    /// less than what is known. Returns whether the version is news.
    pub(super) fn read(&mut self, account: Account, when: Moment) -> bool {
        let known = self.known().map(|known| known.account.version);
        let version = account.version;
        let is_later = |known: &BalanceView| known.verified.mono > when.mono;
        if known == Some(version) && self.known().is_some_and(is_later) {
            return false;
        }
        if known.is_some_and(|known| version < known) && !is_planted(Plant::OlderReadServed) {
            return false;
        }
        self.put(account, when);
        known.is_some_and(|known| version > known)
    }

    fn put(&mut self, account: Account, verified: Moment) {
        self.known = Some(BalanceView {
            epoch: self.epoch.name.clone(),
            account,
            verified,
            is_stale: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
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

    fn account(version: i64, minor: i64) -> Account {
        Account {
            exists: true,
            version,
            balances: balances(minor),
        }
    }

    fn at(us: u64) -> Moment {
        Moment {
            mono: Mono::from_us(us),
            wall: Wall::from_us(1_000_000 + us as i64),
        }
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let mut cache = AccountCache::new(Epoch::default());
        cache.committed(7, balances(70), at(1));
        cache.committed(6, balances(60), at(2));
        assert!(!cache.read(account(5, 50), at(3)));
        let known = cache.known().expect("known");
        assert_eq!((&known.account, known.verified), (&account(7, 70), at(1)));
    }

    #[test]
    fn a_read_renews_the_age_mends_equal_versions_and_finds_new_ones() {
        let mut cache = AccountCache::new(Epoch::default());
        assert!(
            !cache.read(Account::unknown(2), at(0)),
            "the first read is no change"
        );
        cache.committed(1, balances(10), at(1));
        assert!(
            cache.fresh(at(100).mono, 100).is_some() && cache.fresh(at(101).mono, 100).is_none()
        );
        assert!(!cache.read(account(1, 11), at(50)));
        assert_eq!(
            cache.fresh(at(101).mono, 100).map(|known| &known.account),
            Some(&account(1, 11))
        );
        assert!(
            !cache.read(account(1, 12), at(49)),
            "of two reads the later one counts"
        );
        assert_eq!(
            cache.known().map(|known| (&known.account, known.verified)),
            Some((&account(1, 11), at(50)))
        );
        assert!(cache.read(account(2, 20), at(60)));
    }
}
