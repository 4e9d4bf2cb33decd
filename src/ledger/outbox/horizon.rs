//! Up to which id the entries are settled: each is visible, or never will be.
//!
//! Several writers commit out of the order of their ids: while one transaction is open, entries of another with larger ids
//! may be visible already. An id is taken inside a transaction that has the table locked for writing, and keeps that lock
//! until it is over. So when the newest visible id is read, and then which transactions have such a lock, every smaller
//! id that is not visible belongs to one of them, or to one that is over. Once all of them are over, all ids up to that one
//! are settled. Transactions that do not write entries are never waited for, however long they take.

/// What the database was seen to be, in this order: first the newest visible id, then the writers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// 0 without entries.
    pub newest: i64,
    /// The transactions that have the table of entries locked for writing. Each has a name of its own.
    pub writers: Vec<String>,
}

/// What follows from the looks of this process. It begins anew with each epoch of the ledger.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    epoch: u64,
    settled: i64,
    unsettled: Option<Unsettled>,
    /// Counts looks that begin and end.
    time: u64,
}

/// A look whose writers were not all over.
#[derive(Debug)]
struct Unsettled {
    newest: i64,
    /// Those that are not known to be over.
    writers: Vec<String>,
    looked_at: u64,
}

/// When a look began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun(u64);

impl Horizon {
    /// All ids up to this one are settled, for statements that begin from now on.
    pub(super) fn settled(&mut self, epoch: u64) -> i64 {
        self.follow(epoch);
        self.settled
    }

    /// A look is about to begin.
    pub(super) fn begin(&mut self, epoch: u64) -> Begun {
        self.follow(epoch);
        self.time += 1;
        Begun(self.time)
    }

    /// A look has ended.
    pub(super) fn learn(&mut self, epoch: u64, begun: Begun, look: Look) {
        if epoch != self.epoch {
            return;
        }
        if look.writers.is_empty() {
            return self.settle(look.newest);
        }
        if let Some(unsettled) = &mut self.unsettled {
            // A look that began before this one's writers were known may have missed some of them.
            if begun.0 <= unsettled.looked_at {
                return;
            }
            let is_open = |writer: &String| look.writers.contains(writer);
            unsettled.writers.retain(is_open);
            if !unsettled.writers.is_empty() {
                return;
            }
            let newest = unsettled.newest;
            self.settle(newest);
        }
        if look.newest > self.settled {
            self.time += 1;
            self.unsettled = Some(Unsettled {
                newest: look.newest,
                writers: look.writers,
                looked_at: self.time,
            });
        }
    }

    fn settle(&mut self, newest: i64) {
        self.settled = self.settled.max(newest);
        let settled = self.settled;
        self.unsettled
            .take_if(|unsettled| unsettled.newest <= settled);
    }

    fn follow(&mut self, epoch: u64) {
        if epoch != self.epoch {
            *self = Self {
                epoch,
                time: self.time,
                ..Self::default()
            };
        }
    }
}

/// How many of these ids, which are in ascending order and greater than `after`, come next: up to the first one before
/// which another may still appear.
pub(super) fn ready(ids: impl Iterator<Item = i64>, after: i64, settled: i64) -> usize {
    let mut last = after;
    let mut count = 0;
    for id in ids {
        if id > settled && id != last + 1 {
            break;
        }
        last = id;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn look(newest: i64, writers: &[&str]) -> Look {
        Look {
            newest,
            writers: writers.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn learn(horizon: &mut Horizon, newest: i64, writers: &[&str]) -> i64 {
        let begun = horizon.begin(1);
        horizon.learn(1, begun, look(newest, writers));
        horizon.settled(1)
    }

    #[test]
    fn ids_are_settled_when_every_writer_that_was_seen_beside_them_is_over() {
        let mut horizon = Horizon::default();
        assert_eq!(learn(&mut horizon, 5, &["a", "b"]), 0);
        assert_eq!(learn(&mut horizon, 9, &["b", "c"]), 0);
        assert_eq!(learn(&mut horizon, 12, &["c", "d"]), 5, "a and b are over");
        assert_eq!(learn(&mut horizon, 14, &["d", "e"]), 5);
        assert_eq!(learn(&mut horizon, 15, &["e"]), 12, "c and d are over");
        assert_eq!(learn(&mut horizon, 16, &[]), 16);
        assert_eq!(horizon.settled(2), 0, "another epoch");
    }

    #[test]
    fn a_look_that_began_too_early_settles_nothing() {
        let mut horizon = Horizon::default();
        let early = horizon.begin(1);
        assert_eq!(learn(&mut horizon, 5, &["a"]), 0);
        horizon.learn(1, early, look(3, &["b"]));
        assert_eq!(horizon.settled(1), 0, "a may have begun after it");
        let before_the_epoch = horizon.begin(1);
        horizon.begin(2);
        horizon.learn(1, before_the_epoch, look(9, &[]));
        assert_eq!(horizon.settled(2), 0);
    }

    #[test]
    fn ids_come_up_to_the_first_gap_beyond_the_settled_ones() {
        for (ids, after, settled, expected) in [
            (&[1, 2, 3][..], 0, 0, 3),
            (&[2, 3], 0, 0, 0),
            (&[1, 3], 0, 0, 1),
            (&[2, 5, 6, 8], 0, 5, 3),
            (&[8, 9], 7, 0, 2),
            (&[9], 7, 8, 0),
            (&[9], 7, 9, 1),
            (&[], 7, 0, 0),
        ] {
            let found = ready(ids.iter().copied(), after, settled);
            assert_eq!(found, expected, "{ids:?} {after} {settled}");
        }
    }

    /// A table with transactions that take ids and are over in any order, and a follower that reads at any time: each
    /// committed id is read once, and in the end all of them.
    #[test]
    fn no_id_is_stepped_over() {
        let steps = prop::collection::vec((0_u8..8, 0_usize..4), 1..200);
        crate::tests::check_part(20, steps, |steps| {
            let mut next_id = 1;
            let mut names = 0;
            let mut open: [Option<(String, Vec<i64>)>; 4] = Default::default();
            let mut visible: BTreeSet<i64> = BTreeSet::new();
            let mut horizon = Horizon::default();
            let mut pending: Vec<(Begun, Look)> = Vec::new();
            let (mut after, mut read) = (0, Vec::new());
            let follow = |horizon: &mut Horizon,
                          visible: &BTreeSet<i64>,
                          after: &mut i64,
                          read: &mut Vec<i64>| {
                let settled = horizon.settled(1);
                let rows: Vec<i64> = visible.range(*after + 1..).copied().collect();
                let count = ready(rows.iter().copied(), *after, settled);
                read.extend(&rows[..count]);
                *after = read.last().copied().unwrap_or(0);
            };
            let seen = |visible: &BTreeSet<i64>, open: &[Option<(String, Vec<i64>)>; 4]| Look {
                newest: visible.last().copied().unwrap_or(0),
                writers: open
                    .iter()
                    .flatten()
                    .map(|(name, _)| name.clone())
                    .collect(),
            };
            for (what, of) in steps {
                match what {
                    0..=2 => {
                        let transaction = open[of].get_or_insert_with(|| {
                            names += 1;
                            (names.to_string(), Vec::new())
                        });
                        transaction.1.push(next_id);
                        next_id += 1;
                    }
                    3..=4 => {
                        visible.extend(open[of].take().map(|(_, ids)| ids).unwrap_or_default())
                    }
                    5 => drop(open[of].take()),
                    6 => {
                        let begun = horizon.begin(1);
                        pending.push((begun, seen(&visible, &open)));
                    }
                    _ => {
                        if !pending.is_empty() {
                            let (begun, look) = pending.remove(of % pending.len());
                            horizon.learn(1, begun, look);
                        }
                        follow(&mut horizon, &visible, &mut after, &mut read);
                    }
                }
            }
            for transaction in &mut open {
                visible.extend(transaction.take().map(|(_, ids)| ids).unwrap_or_default());
            }
            let begun = horizon.begin(1);
            horizon.learn(1, begun, seen(&visible, &open));
            follow(&mut horizon, &visible, &mut after, &mut read);
            prop_assert_eq!(read, visible.into_iter().collect::<Vec<_>>());
            Ok(())
        });
    }
}
