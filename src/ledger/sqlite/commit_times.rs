//! How long the disk takes to commit, as far as it decides how much a deposit waits behind.
//!
//! A deposit waits for the transaction that is under way. The fewer entries of batches that has, the sooner it ends, and the
//! more of the writer's time goes into commits: few of them where a commit is quick, more where it is slow.

use crate::limits::BULK_BEFORE_SINGLES;

/// A transaction has one entry of batches for each so many microseconds that a short one takes to commit. An entry takes
/// about 20 µs: more than half of the writer's time stays with the entries, and a deposit waits about as long for those
/// before it as for its own commit.
const COMMIT_US_PER_ENTRY: u64 = 16;

/// By how much a new time moves what is usual, in microseconds, however far it is from that: so a disk that halts now and then
/// changes little.
const STEP_US: u64 = 4;

/// From here on there are as many as there may be.
const SLOW_US: u64 = BULK_BEFORE_SINGLES.1 as u64 * COMMIT_US_PER_ENTRY;

/// What short transactions usually take to commit: about as many take longer as take less.
#[derive(Debug)]
pub(super) struct CommitTimes {
    usual_us: u64,
}

impl CommitTimes {
    /// Of a disk that is not known yet: taken for a slow one.
    pub(super) fn new() -> Self {
        Self { usual_us: SLOW_US }
    }

    /// A transaction of so many entries took so long to commit. A longer one tells of its own rows, not of the disk.
    pub(super) fn add(&mut self, entries: usize, took_us: u64) {
        if (1..BULK_BEFORE_SINGLES.0).contains(&entries) {
            let towards_us = took_us.clamp(
                self.usual_us.saturating_sub(STEP_US),
                self.usual_us + STEP_US,
            );
            self.usual_us = towards_us.min(SLOW_US);
        }
    }

    /// The most entries of batches in a transaction without single ones while such are coming in.
    pub(super) fn bulk_before_singles(&self) -> usize {
        let (min, max) = BULK_BEFORE_SINGLES;
        usize::try_from(self.usual_us / COMMIT_US_PER_ENTRY)
            .unwrap_or(max)
            .clamp(min, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: usize = BULK_BEFORE_SINGLES.0 - 1;

    fn after(times: impl IntoIterator<Item = (usize, u64)>) -> CommitTimes {
        let mut all = CommitTimes::new();
        times
            .into_iter()
            .for_each(|(entries, took_us)| all.add(entries, took_us));
        all
    }

    #[test]
    fn the_longer_a_commit_takes_the_more_entries_share_it() {
        let usual = |took_us| after([(SHORT, took_us); 1000]).bulk_before_singles();
        assert_eq!(usual(0), BULK_BEFORE_SINGLES.0);
        assert_eq!(usual(100), BULK_BEFORE_SINGLES.0);
        assert_eq!(usual(480), 30);
        assert_eq!(usual(2_000), BULK_BEFORE_SINGLES.1);
        assert_eq!(usual(u64::MAX), BULK_BEFORE_SINGLES.1);
    }

    #[test]
    fn a_disk_that_is_not_known_is_taken_for_a_slow_one() {
        assert_eq!(after([]).bulk_before_singles(), BULK_BEFORE_SINGLES.1);
        assert!(after([(SHORT, 100); 8]).bulk_before_singles() < BULK_BEFORE_SINGLES.1);
    }

    #[test]
    fn a_disk_that_halts_now_and_then_is_not_a_slow_one() {
        let times = [320, 320, 9_000_000]
            .into_iter()
            .cycle()
            .map(|took_us| (SHORT, took_us));
        let all = after([(SHORT, 320); 1000].into_iter().chain(times.take(300)));
        assert_eq!(all.bulk_before_singles(), 20);
    }

    #[test]
    fn long_and_empty_transactions_tell_nothing_of_the_disk() {
        let quick = [(SHORT, 100); 1000];
        let others = [(0, 5_000), (BULK_BEFORE_SINGLES.0, 5_000), (2048, 50_000)];
        let all = after(
            quick
                .into_iter()
                .chain(others.into_iter().cycle().take(300)),
        );
        assert_eq!(all.bulk_before_singles(), BULK_BEFORE_SINGLES.0);
    }
}
