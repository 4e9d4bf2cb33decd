//! What other nodes of the cluster have committed, as the bus brings it; and the partitions that users are in.
//!
//! A heard commit is a copy of what is in the ledger, never the truth itself: it may be late, doubled or missing, and its
//! versions say what it is worth. See `src/cluster` for the way here.

use std::fmt;

use crate::clock::Wall;
use crate::domain::{Balances, Kind, Source, UserId};

/// How many partitions there are. Part of the protocol between nodes: all nodes have the same.
pub const PARTITIONS: usize = 16;

/// What one transaction of another node changed for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardCommit {
    /// Whose balance.
    pub user_id: UserId,
    /// The version before the transaction.
    pub version_from: i64,
    /// The version after it: as much higher as there are entries.
    pub version_to: i64,
    /// All balances at `version_to`.
    pub balances: Balances,
    /// The entries by kind and source, in the order in which each was first met; at least one.
    pub entries: Vec<HeardEntries>,
    /// When it was committed, by the clock of the node that did it.
    pub committed_at: Wall,
    /// How long before it was heard it was committed, in microseconds, without the time that the bus took: by no wall
    /// clock, so that clocks that differ bend nothing.
    pub age_us: u64,
}

/// Entries of one kind and source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardEntries {
    /// What they are.
    pub kind: Kind,
    /// The name of their sender.
    pub source: Source,
    /// How many, at least 1.
    pub count: u32,
}

/// A part of all users. What is numbered, lost and distrusted together is one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// The partition of a user: the highest four bits of Fibonacci hashing, which spreads ids that follow each other.
    pub const fn of(user_id: UserId) -> Self {
        let id = user_id.get().unsigned_abs();
        Self((id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as u8)
    }

    /// The partition of a number; `None` from [`PARTITIONS`] on.
    pub fn new(number: usize) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (usize::from(number) < PARTITIONS).then_some(Self(number))
    }

    /// Its number, below [`PARTITIONS`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).filter_map(Self::new)
    }
}

/// A set of partitions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Partitions(u16);

impl Partitions {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Every one.
    pub const ALL: Self = Self(u16::MAX);

    /// Those of these users.
    pub fn of(users: impl Iterator<Item = UserId>) -> Self {
        users.map(Partition::of).fold(Self::NONE, Self::with)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is among them.
    pub const fn has(self, partition: Partition) -> bool {
        self.0 & 1 << partition.0 != 0
    }

    /// These, and one more.
    #[must_use]
    pub const fn with(self, partition: Partition) -> Self {
        Self(self.0 | 1 << partition.0)
    }

    /// These, and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Partition> {
        Partition::all().filter(move |partition| self.has(*partition))
    }
}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|p| p.0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_partition_of_the_protocol() {
        for (id, partition) in [(1, 9), (2, 3), (184, 11), (185, 5), (UserId::MAX, 14)] {
            let user_id = UserId::new(id).expect("valid");
            assert_eq!(Partition::of(user_id).index(), partition, "{id}");
        }
    }

    #[test]
    fn neighbours_are_spread_over_all_partitions() {
        let mut users = [0; PARTITIONS];
        for id in 1..=16_000 {
            users[Partition::of(UserId::new(id).expect("valid")).index()] += 1;
        }
        assert!(
            users.iter().all(|count| (900..1_100).contains(count)),
            "{users:?}"
        );
    }

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let seven = Partition::new(7).expect("one of sixteen");
        let set = Partitions::NONE.with(seven);
        assert!(set.has(seven) && !set.is_empty());
        assert_eq!(set.iter().collect::<Vec<_>>(), [seven]);
        assert_eq!(Partitions::ALL.iter().count(), PARTITIONS);
        assert_eq!(set.and(Partitions::ALL), Partitions::ALL);
        assert_eq!(Partition::new(PARTITIONS), None);
    }
}
