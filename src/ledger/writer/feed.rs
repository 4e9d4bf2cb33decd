//! What is committed, for whatever tells other processes: one message for each conclusion of a writer, in the order of its
//! commits, before anything is answered.
//!
//! A writer never waits for it: what does not fit is dropped and counted, and the receiver has to tell the others that
//! they missed something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;
use tokio::sync::mpsc;

use crate::domain::{Balances, Kind, NewEntry, Outcome, Source, UserId};
use crate::ledger::EntryOutcome;

/// What one transaction changed for one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCommit {
    /// Whose balance.
    pub user_id: UserId,
    /// The version before it.
    pub version_from: i64,
    /// The version after it: as much higher as there are entries.
    pub version_to: i64,
    /// All balances after it.
    pub balances: Balances,
    /// The entries by kind and source, in the order in which each was first met, with their number.
    pub entries: SmallVec<[(Kind, Source, u32); 1]>,
    /// The time of the transaction, in microseconds since the Unix epoch.
    pub committed_at_us: i64,
}

/// A way out for commits.
#[derive(Debug, Clone)]
pub struct Feed {
    commits: mpsc::Sender<Vec<UserCommit>>,
    dropped: Arc<AtomicU64>,
}

/// The other end of it.
#[derive(Debug)]
pub struct Fed {
    commits: mpsc::Receiver<Vec<UserCommit>>,
    dropped: Arc<AtomicU64>,
}

impl Feed {
    /// For so many messages that wait.
    pub fn bounded(messages_max: usize) -> (Self, Fed) {
        let (sender, commits) = mpsc::channel(messages_max);
        let dropped = Arc::new(AtomicU64::new(0));
        let feed = Self {
            commits: sender,
            dropped: dropped.clone(),
        };
        (feed, Fed { commits, dropped })
    }

    /// Tells of what was accepted of these.
    pub(super) fn tell<'a>(&self, decided: impl Iterator<Item = (&'a NewEntry, &'a EntryOutcome)>) {
        let commits = user_commits(decided);
        if !commits.is_empty() && self.commits.try_send(commits).is_err() {
            self.dropped.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Fed {
    /// The next message; `None` when the writers have ended.
    pub async fn next(&mut self) -> Option<Vec<UserCommit>> {
        self.commits.recv().await
    }

    /// How many messages were dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::AcqRel)
    }
}

fn user_commits<'a>(
    decided: impl Iterator<Item = (&'a NewEntry, &'a EntryOutcome)>,
) -> Vec<UserCommit> {
    let mut commits: Vec<UserCommit> = Vec::new();
    for (entry, outcome) in decided {
        let EntryOutcome::Decided {
            outcome: Outcome::Accepted {
                version, balances, ..
            },
            committed_at_us,
        } = outcome
        else {
            continue;
        };
        // Mostly it is the last one; in a batch of many users, each is there once.
        let follows = |commit: &&mut UserCommit| {
            commit.user_id == entry.user_id
                && commit.version_to + 1 == *version
                && commit.committed_at_us == *committed_at_us
        };
        match commits.last_mut().filter(follows) {
            Some(commit) => {
                commit.version_to = *version;
                commit.balances.clone_from(balances);
                let is_same = |(kind, source, _): &&mut (Kind, Source, u32)| {
                    *kind == entry.kind && *source == entry.source
                };
                match commit.entries.iter_mut().find(is_same) {
                    Some((_, _, count)) => *count += 1,
                    None => commit.entries.push((entry.kind, entry.source.clone(), 1)),
                }
            }
            None => commits.push(UserCommit {
                user_id: entry.user_id,
                version_from: version - 1,
                version_to: *version,
                balances: balances.clone(),
                entries: smallvec::smallvec![(entry.kind, entry.source.clone(), 1)],
                committed_at_us: *committed_at_us,
            }),
        }
    }
    commits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amount, Applied, Currencies};
    use crate::ledger::PostError;
    use crate::ledger::memory::entry;

    fn balances(minor: i64) -> Balances {
        let currencies = Currencies::default();
        let mut all = Balances::zero(currencies.count());
        let ton = currencies.find("TON").expect("a default");
        all.set(ton, Amount::from_minor(minor));
        all
    }

    fn accepted(version: i64, minor: i64, at: i64) -> EntryOutcome {
        EntryOutcome::Decided {
            outcome: Outcome::Accepted {
                version,
                balances: balances(minor),
                applied: Applied {
                    currency: Currencies::default().find("TON").expect("a default"),
                    amount: Amount::from_minor(1),
                    reversed: None,
                },
            },
            committed_at_us: at,
        }
    }

    #[tokio::test]
    async fn what_was_accepted_is_told_together_by_user_and_transaction() {
        let entries = [
            entry(1, "a", Kind::Deposit, 5),
            entry(1, "b", Kind::Reward, 1),
            entry(1, "c", Kind::Reward, 1),
            entry(1, "refused", Kind::Reward, 1),
            entry(2, "d", Kind::Reward, 9),
            entry(1, "another time", Kind::Reward, 1),
            entry(1, "behind another process", Kind::Reward, 1),
        ];
        let outcomes = [
            accepted(4, 5, 100),
            accepted(5, 6, 100),
            accepted(6, 7, 100),
            EntryOutcome::Failed(PostError::Unavailable),
            accepted(1, 9, 100),
            accepted(7, 8, 200),
            accepted(9, 10, 200),
        ];
        let (feed, mut fed) = Feed::bounded(1);
        feed.tell(entries.iter().zip(&outcomes));
        let told = fed.next().await.expect("told");
        let spans: Vec<_> = told
            .iter()
            .map(|one| (one.user_id.get(), one.version_from, one.version_to))
            .collect();
        assert_eq!(spans, [(1, 3, 6), (2, 0, 1), (1, 6, 7), (1, 8, 9)]);
        assert_eq!(told[0].balances, balances(7));
        let counts: Vec<_> = told[0]
            .entries
            .iter()
            .map(|(kind, _, n)| (*kind, *n))
            .collect();
        assert_eq!(counts, [(Kind::Deposit, 1), (Kind::Reward, 2)]);
        assert_eq!(
            (told[0].committed_at_us, told[2].committed_at_us),
            (100, 200)
        );
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_nothing_waits_for_it() {
        let (feed, mut fed) = Feed::bounded(1);
        let (entries, outcomes) = ([entry(1, "a", Kind::Reward, 5)], [accepted(1, 5, 1)]);
        (0..3).for_each(|_| feed.tell(entries.iter().zip(&outcomes)));
        feed.tell(entries.iter().zip(&[EntryOutcome::NotApplied]));
        assert_eq!((fed.take_dropped(), fed.take_dropped()), (2, 0));
        assert!(fed.next().await.is_some());
        drop(feed);
        assert_eq!(fed.next().await, None);
    }
}
