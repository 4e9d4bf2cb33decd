//! The commit times of one writer: the wall's time, which hardly ever goes back.
//!
//! A wall clock is corrected by small steps all the time, and those are hidden: a commit time is then the last one again.
//! A larger step back is followed. Otherwise, after a clock that was wrong once, all entries would have the wrong time until
//! the wall reaches it.

use log::warn;

use crate::clock::{Moment, Wall};
use crate::limits::CLOCK_STEP_HIDDEN_MS;

/// The last commit time of a writer, and when it looked at the clock.
#[derive(Debug, Default)]
pub(super) struct CommitTimes {
    last: Wall,
    seen: Option<Moment>,
}

impl CommitTimes {
    /// The commit time of a transaction that is decided now. Logs steps of the clock that are larger than
    /// [`CLOCK_STEP_HIDDEN_MS`], each once.
    pub(super) fn next(&mut self, now: Moment) -> Wall {
        let step_us_max = CLOCK_STEP_HIDDEN_MS * 1000;
        let expected = self.seen.replace(now).map_or(now.wall, |seen| {
            seen.wall.plus_us(now.mono.us_since(seen.mono))
        });
        let ahead_us = now.wall.us_since(expected);
        if ahead_us > step_us_max {
            warn!(
                "the clock of this machine was set forward by {} s: is it right? Entries get its time from now on",
                ahead_us / 1_000_000
            );
        }
        let behind_us = self.last.us_since(now.wall);
        if behind_us > step_us_max {
            warn!(
                "the clock of this machine was set back: the commit times of entries go back by {} s with it",
                behind_us / 1_000_000
            );
            self.last = now.wall;
        }
        self.last = self.last.max(now.wall);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Mono;

    const S: i64 = 1_000_000;
    const DAY_S: i64 = 86_400;

    /// The commit times at these pairs of seconds: monotonic, wall.
    fn times(walls_s: &[(u64, i64)]) -> Vec<i64> {
        let mut times = CommitTimes::default();
        let moment = |(mono_s, wall_s): &(u64, i64)| Moment {
            mono: Mono::from_us(mono_s * 1_000_000),
            wall: Wall::from_us(wall_s * S),
        };
        walls_s
            .iter()
            .map(|pair| times.next(moment(pair)).us() / S)
            .collect()
    }

    #[test]
    fn small_steps_back_are_hidden_and_large_ones_are_followed_at_once() {
        let now = 20_000 * DAY_S;
        let hidden_s = i64::try_from(CLOCK_STEP_HIDDEN_MS / 1000).expect("it fits");
        for (walls, expected) in [
            (vec![(0, now), (1, now + 1)], vec![now, now + 1]),
            // Back by as much as is hidden: the last time stays until the wall has reached it.
            (
                vec![(0, now), (1, now - hidden_s), (20, now + 1)],
                vec![now, now, now + 1],
            ),
            // A clock that was 22 hours ahead.
            (
                vec![(0, now), (1, now + 79_200), (2, now + 2), (3, now + 3)],
                vec![now, now + 79_200, now + 2, now + 3],
            ),
            // One that was ahead from the start.
            (vec![(0, now + DAY_S), (1, now)], vec![now + DAY_S, now]),
            // Small steps that add up.
            (
                vec![(0, now), (1, now - 3), (2, now - hidden_s - 1)],
                vec![now, now, now - hidden_s - 1],
            ),
        ] {
            assert_eq!(times(&walls), expected, "{walls:?}");
        }
    }

    #[test]
    fn a_commit_time_is_never_far_ahead_of_the_wall() {
        use proptest::prelude::*;
        proptest!(|(walls in proptest::collection::vec(0i64..1_000_000, 1..50))| {
            let mut times = CommitTimes::default();
            for wall_s in walls {
                let wall = Wall::from_us(wall_s * S);
                let time = times.next(Moment { mono: Mono::default(), wall });
                prop_assert!(time >= wall);
                prop_assert!(time.us_since(wall) <= CLOCK_STEP_HIDDEN_MS * 1000);
            }
        });
    }
}
