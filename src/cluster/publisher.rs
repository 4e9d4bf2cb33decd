//! The way from a ledger's writers to the bus: bounded, and never waited for. What does not fit is skipped, with its
//! numbers, so that the other nodes see that something is missing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::clock::{Clock, Mono};
use crate::coordinator::heard::{HeardCommit, PARTITIONS, Partitions};

/// Transactions that may wait for the bus.
const TRANSACTIONS_MAX: usize = 8_192;

/// Users in them together, of a few hundred bytes each.
const USERS_MAX: usize = 65_536;

/// Hands commits to the bus; cheap to copy, for any thread.
#[derive(Debug, Clone)]
pub struct Publisher {
    queue: mpsc::Sender<Queued>,
    shared: Arc<Shared>,
    clock: Clock,
}

/// The other end.
#[derive(Debug)]
pub struct Outgoing {
    queue: mpsc::Receiver<Queued>,
    shared: Arc<Shared>,
}

/// What one transaction changed.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) users: Vec<HeardCommit>,
    pub(super) queued_at: Mono,
}

#[derive(Debug, Default)]
struct Shared {
    users: AtomicUsize,
    /// Numbers to skip, by partition.
    skipped: [AtomicU64; PARTITIONS],
    /// When COMMITs began of which nothing has been published: one for each writer at most.
    untold: Mutex<Vec<Mono>>,
}

impl Publisher {
    /// Both ends.
    pub fn new(clock: Clock) -> (Self, Outgoing) {
        let (sender, queue) = mpsc::channel(TRANSACTIONS_MAX);
        let shared = Arc::new(Shared::default());
        let publisher = Self {
            queue: sender,
            shared: shared.clone(),
            clock,
        };
        (publisher, Outgoing { queue, shared })
    }

    /// Tells the other nodes of one transaction. To be called after its commit and before it is answered, in the order of
    /// the commits of each user. `age_us` of the users: how long ago they were committed.
    pub fn publish(&self, users: Vec<HeardCommit>) {
        let count = users.len();
        let take = |now: usize| now.checked_add(count).filter(|sum| *sum <= USERS_MAX);
        let counter = &self.shared.users;
        let has_room = counter
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok();
        let queued = Queued {
            users,
            queued_at: self.clock.mono(),
        };
        if !has_room {
            return self.skip(partitions(&queued.users));
        }
        if let Err(refused) = self.queue.try_send(queued) {
            counter.fetch_sub(count, Ordering::Relaxed);
            self.skip(partitions(&refused.into_inner().users));
        }
    }

    /// A writer's COMMIT begins.
    pub fn begins(&self, at: Mono) {
        self.untold().push(at);
    }

    /// What it has committed since has been published, or skipped.
    pub fn told(&self, since: Mono) {
        let mut untold = self.untold();
        if let Some(place) = untold.iter().position(|at| *at == since) {
            untold.swap_remove(place);
        }
    }

    fn untold(&self) -> MutexGuard<'_, Vec<Mono>> {
        self.shared
            .untold
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the other nodes that something of these partitions is missing: what became of a transaction is unknown, or its
    /// content is.
    pub fn skip(&self, partitions: Partitions) {
        for partition in partitions.iter() {
            // After the commit: the number that is skipped shows that it came before.
            self.shared.skipped[partition.index()].fetch_add(1, Ordering::Release);
        }
    }
}

fn partitions(users: &[HeardCommit]) -> Partitions {
    Partitions::of(users.iter().map(|user| user.user_id))
}

impl Outgoing {
    /// The next transaction; nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Queued> {
        let queued = self.queue.recv().await;
        self.count(queued)
    }

    /// The next transaction, if one waits.
    pub(super) fn try_next(&mut self) -> Option<Queued> {
        let queued = self.queue.try_recv().ok();
        self.count(queued)
    }

    /// Transactions that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Since when there may be commits that are not published. To be asked before [`Outgoing::len`]: what is published
    /// meanwhile then waits.
    pub(super) fn untold_since(&self) -> Option<Mono> {
        let untold = &self.shared.untold;
        let untold = untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.iter().min().copied()
    }

    /// How many numbers of each partition are to be skipped.
    pub(super) fn take_skipped(&self) -> [u64; PARTITIONS] {
        let skipped = &self.shared.skipped;
        std::array::from_fn(|index| skipped[index].swap(0, Ordering::Acquire))
    }

    fn count(&self, queued: Option<Queued>) -> Option<Queued> {
        if let Some(queued) = &queued {
            let count = queued.users.len();
            self.shared.users.fetch_sub(count, Ordering::Relaxed);
        }
        queued
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::coordinator::heard::Partition;
    use crate::domain::{Balances, UserId};

    fn commits(count: usize) -> Vec<HeardCommit> {
        let one = |id: usize| HeardCommit {
            user_id: UserId::new(id as i64 + 1).expect("a user id"),
            version_from: 0,
            version_to: 1,
            balances: Balances::zero(2),
            entries: Vec::new(),
            committed_at: Wall::from_us(1),
            age_us: 0,
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn the_oldest_commit_that_is_not_told_counts() {
        let (publisher, outgoing) = Publisher::new(Clock::system());
        let at = Mono::from_us;
        let other = publisher.clone();
        publisher.begins(at(5));
        other.begins(at(5));
        publisher.begins(at(3));
        assert_eq!(outgoing.untold_since(), Some(at(3)));
        publisher.told(at(3));
        other.told(at(5));
        assert_eq!(outgoing.untold_since(), Some(at(5)), "of the other writer");
        publisher.told(at(5));
        assert_eq!(outgoing.untold_since(), None);
    }

    #[test]
    fn what_does_not_fit_is_a_number_that_is_skipped() {
        let (publisher, mut outgoing) = Publisher::new(Clock::system());
        for _ in 0..TRANSACTIONS_MAX {
            publisher.publish(commits(1));
        }
        assert_eq!(outgoing.take_skipped(), [0; PARTITIONS]);
        publisher.publish(commits(1));
        let first = Partition::of(UserId::new(1).expect("a user id"));
        let mut skipped = [0; PARTITIONS];
        skipped[first.index()] = 1;
        assert_eq!(outgoing.take_skipped(), skipped);
        assert_eq!(outgoing.take_skipped(), [0; PARTITIONS], "once");
        assert_eq!(outgoing.len(), TRANSACTIONS_MAX);
        while outgoing.try_next().is_some() {}
        publisher.publish(commits(USERS_MAX));
        publisher.publish(commits(1));
        assert_eq!(outgoing.take_skipped(), skipped);
        assert_eq!(
            outgoing.try_next().map(|all| all.users.len()),
            Some(USERS_MAX)
        );
        publisher.publish(commits(1));
        assert_eq!(outgoing.try_next().map(|all| all.users.len()), Some(1));
    }

    #[test]
    fn without_another_end_everything_is_skipped() {
        let (publisher, outgoing) = Publisher::new(Clock::system());
        let shared = outgoing.shared.clone();
        drop(outgoing);
        publisher.publish(commits(3));
        let skipped: u64 = shared
            .skipped
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum();
        assert_eq!(skipped, 3, "three users in three partitions");
        assert_eq!(shared.users.load(Ordering::Relaxed), 0);
    }
}
