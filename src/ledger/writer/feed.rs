//! What is committed, for whatever tells other processes: one message for each conclusion of a writer, in the order of its
//! commits, before anything is answered.
//!

use smallvec::SmallVec;

use crate::clock::Mono;
use crate::domain::{Balances, Kind, NewEntry, Outcome, Source, UserId};
use crate::ledger::{EntryOutcome, PostError};

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

/// Tells other processes of commits. A writer calls it before it answers, in the order of its commits, and never waits.
pub trait Feed: std::fmt::Debug + Send + Sync {
    /// A COMMIT begins: from now on there may be commits that were not told, until [`Feed::told`] says so of this time.
    fn begins(&self, at: Mono);

    /// What a COMMIT that began at this time, and those after it, have committed was told, or is doubtful.
    fn told(&self, since: Mono);

    /// These were committed.
    fn committed(&self, commits: Vec<UserCommit>);

    /// What became of entries of these users is not known.
    fn doubtful(&self, users: Vec<UserId>);
}

/// Tells of what became of entries.
pub fn tell<'a>(
    feed: &dyn Feed,
    decided: impl Iterator<Item = (&'a NewEntry, &'a EntryOutcome)> + Clone,
) {
    let is_doubtful =
        |outcome: &EntryOutcome| matches!(outcome, EntryOutcome::Failed(PostError::Unavailable));
    let doubtful = decided
        .clone()
        .filter(|(_, outcome)| is_doubtful(outcome))
        .map(|(entry, _)| entry.user_id);
    let doubtful: Vec<UserId> = doubtful.collect();
    if !doubtful.is_empty() {
        feed.doubtful(doubtful);
    }
    let commits = user_commits(decided);
    if !commits.is_empty() {
        feed.committed(commits);
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
    use std::sync::Mutex;

    use super::*;
    use crate::domain::{Amount, Applied, Currencies};
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

    /// What was told.
    #[derive(Debug, Default)]
    struct Told(Mutex<(Vec<UserCommit>, Vec<UserId>)>);

    impl Feed for Told {
        fn begins(&self, _: Mono) {}

        fn told(&self, _: Mono) {}

        fn committed(&self, commits: Vec<UserCommit>) {
            self.0.lock().expect("no panic holds it").0.extend(commits);
        }

        fn doubtful(&self, users: Vec<UserId>) {
            self.0.lock().expect("no panic holds it").1.extend(users);
        }
    }

    #[test]
    fn what_was_accepted_is_told_together_by_user_and_transaction() {
        let entries = [
            entry(1, "a", Kind::Deposit, 5),
            entry(1, "b", Kind::Reward, 1),
            entry(1, "c", Kind::Reward, 1),
            entry(3, "unknown", Kind::Reward, 1),
            entry(4, "refused", Kind::Reward, 1),
            entry(2, "d", Kind::Reward, 9),
            entry(1, "another time", Kind::Reward, 1),
            entry(1, "behind another process", Kind::Reward, 1),
        ];
        let outcomes = [
            accepted(4, 5, 100),
            accepted(5, 6, 100),
            accepted(6, 7, 100),
            EntryOutcome::Failed(PostError::Unavailable),
            EntryOutcome::Failed(PostError::Refused),
            accepted(1, 9, 100),
            accepted(7, 8, 200),
            accepted(9, 10, 200),
        ];
        let feed = Told::default();
        tell(&feed, entries.iter().zip(&outcomes));
        let (told, doubtful) = feed.0.into_inner().expect("no panic holds it");
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
        assert_eq!(
            doubtful.iter().map(|user| user.get()).collect::<Vec<_>>(),
            [3]
        );
    }
}
