//! When a user's next push is due. Pure: times go in, a due time and its rule come out; no clock, no actor.
//!
//! Of the changes that not every open session has been sent, with `first` and `last` their commit times:
//!
//! - with a direct change among them: `max(commit of the first direct one, last_push + direct_interval)`;
//! - else: `max(min(last + debounce, first + min_interval), last_push + min_interval)`.
//!
//! A change that comes too soon waits; none is dropped. The rules use monotonic times; the times on the wall are kept
//! beside them for what is shown.

use serde::Serialize;

use crate::clock::{Moment, Mono};
use crate::planted::{Plant, is_planted};

/// The intervals, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// `pacing.debounce_ms`
    pub debounce_us: u64,
    /// `pacing.min_interval_ms`
    pub min_interval_us: u64,
    /// `pacing.direct_interval_ms`
    pub direct_interval_us: u64,
}

/// How a change is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At once.
    Direct,
    /// Together with the changes that follow.
    Paced,
}

/// The rule that the next push waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// More changes may follow within the debounce.
    Debounce,
    /// The last paced push is too recent.
    MinInterval,
    /// The oldest change has waited as long as a change may.
    MaxWait,
    /// The last push is too recent for another direct one.
    DirectInterval,
}

/// When the next push is due, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// May lie in the past.
    pub at: Mono,
    /// What it waits for.
    pub rule: Rule,
    /// How the push will be marked.
    pub mode: Mode,
}

/// The pacing state of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pacing {
    last_push: Option<Mono>,
    waiting: Option<Waiting>,
}

/// When the changes that wait were committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The first one.
    pub first: Moment,
    /// The last one.
    pub last: Moment,
    /// The first direct one.
    pub first_direct: Option<Moment>,
}

impl Waiting {
    /// One change that was committed at `at`.
    pub fn of(at: Moment, mode: Mode) -> Self {
        Self {
            first: at,
            last: at,
            first_direct: (mode == Mode::Direct).then_some(at),
        }
    }

    /// Together with other changes.
    pub fn and(self, others: Self) -> Self {
        let direct = [self.first_direct, others.first_direct];
        Self {
            first: self.first.min(others.first),
            last: self.last.max(others.last),
            first_direct: direct.into_iter().flatten().reduce(Moment::min),
        }
    }
}

impl Pacing {
    /// The state of a user whose last push was at `last_push`, if ever.
    pub const fn since(last_push: Option<Mono>) -> Self {
        Self {
            last_push,
            waiting: None,
        }
    }

    /// Notes a change that was committed at `at`.
    pub fn note(&mut self, at: Moment, mode: Mode) {
        self.add(Waiting::of(at, mode));
    }

    /// Notes changes that a read has found. Their commit times are not known: after the read before, and no later than
    /// `ended`. Until a commit tells more, the first of them counts from the end of the read and the last from its begin,
    /// so that no push comes too soon, and one follows within the debounce.
    pub fn note_read(&mut self, began: Moment, ended: Moment) {
        self.add(Waiting {
            first: ended,
            last: began,
            first_direct: None,
        });
    }

    /// Adds changes.
    pub fn add(&mut self, others: Waiting) {
        self.waiting = Some(self.waiting.map_or(others, |waiting| waiting.and(others)));
    }

    /// Takes out the changes that wait.
    pub fn take(&mut self) -> Option<Waiting> {
        self.waiting.take()
    }

    /// When the next push is due; `None` without a change.
    pub fn due(&self, intervals: &Intervals) -> Option<Due> {
        let waiting = self.waiting?;
        // Without a last push, nothing is held back.
        let not_before = |interval_us: u64| {
            self.last_push
                .map_or(Mono::default(), |at| at.plus_us(interval_us))
        };
        if let Some(committed) = waiting.first_direct {
            return Some(Due {
                at: committed.mono.max(not_before(intervals.direct_interval_us)),
                rule: Rule::DirectInterval,
                mode: Mode::Direct,
            });
        }
        let settled = waiting.last.mono.plus_us(intervals.debounce_us);
        let longest = waiting.first.mono.plus_us(intervals.min_interval_us);
        let gap = not_before(intervals.min_interval_us);
        let (at, rule) = if gap > settled.min(longest) {
            (gap, Rule::MinInterval)
        } else if settled <= longest {
            (settled, Rule::Debounce)
        } else {
            (longest, Rule::MaxWait)
        };
        Some(Due {
            at,
            rule,
            mode: Mode::Paced,
        })
    }

    /// Notes a push of everything that waited, and gives it.
    pub fn pushed(&mut self, at: Mono) -> Option<Waiting> {
        self.last_push = (!is_planted(Plant::GapForgotten)).then_some(at);
        let waiting = self.waiting.take()?;
        Some(Waiting {
            first: waiting.first.min(waiting.last),
            ..waiting
        })
    }

    /// When the user was last pushed to.
    pub const fn last_push(&self) -> Option<Mono> {
        self.last_push
    }

    /// The changes that wait.
    pub const fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Wall;

    const INTERVALS: Intervals = Intervals {
        debounce_us: 1_500_000,
        min_interval_us: 5_000_000,
        direct_interval_us: 100_000,
    };
    const S: u64 = 1_000_000;

    fn at(us: u64) -> Moment {
        Moment {
            mono: Mono::from_us(us),
            wall: Wall::from_us(0).plus_us(us),
        }
    }

    fn due(last_push: Option<u64>, changes: &[(u64, Mode)]) -> Option<(u64, Rule, Mode)> {
        let mut pacing = Pacing::since(last_push.map(Mono::from_us));
        changes
            .iter()
            .for_each(|(us, mode)| pacing.note(at(*us), *mode));
        pacing
            .due(&INTERVALS)
            .map(|due| (due.at.us(), due.rule, due.mode))
    }

    #[test]
    fn a_read_that_found_changes_makes_no_push_early_once_their_commits_are_heard_of() {
        // It began at 10 s and ended at 12 s; the changes were committed at 11 s and 13 s.
        let mut pacing = Pacing::default();
        pacing.note_read(at(10 * S), at(12 * S));
        let due = |pacing: &Pacing| pacing.due(&INTERVALS).map(|due| due.at.us());
        assert_eq!(due(&pacing), Some(11_500_000), "within the debounce");
        pacing.note(at(11 * S), Mode::Paced);
        pacing.note(at(13 * S), Mode::Paced);
        assert_eq!(due(&pacing), Some(14_500_000));
        pacing.note(at(15 * S), Mode::Paced);
        assert_eq!(
            due(&pacing),
            Some(16 * S),
            "first + min_interval, from the first commit"
        );
        let waited = pacing.pushed(Mono::from_us(16 * S)).expect("changes");
        assert_eq!((waited.first, waited.last), (at(11 * S), at(15 * S)));
        pacing.note_read(at(20 * S), at(22 * S));
        let waited = pacing.pushed(Mono::from_us(22 * S)).expect("changes");
        assert_eq!(
            (waited.first, waited.last),
            (at(20 * S), at(20 * S)),
            "in order"
        );
    }

    #[test]
    fn the_rule_of_the_next_push() {
        use Mode::{Direct, Paced};
        for (last_push, changes, expected) in [
            (None, &[][..], None),
            (Some(S), &[][..], None),
            // One change settles for the debounce.
            (
                None,
                &[(10 * S, Paced)],
                Some((11_500_000, Rule::Debounce, Paced)),
            ),
            // A change that follows moves it, but never past first + min_interval.
            (
                None,
                &[(10 * S, Paced), (11 * S, Paced)],
                Some((12_500_000, Rule::Debounce, Paced)),
            ),
            (
                None,
                &[(10 * S, Paced), (14 * S, Paced)],
                Some((15 * S, Rule::MaxWait, Paced)),
            ),
            // The last push holds paced ones back for min_interval.
            (
                Some(9 * S),
                &[(10 * S, Paced)],
                Some((14 * S, Rule::MinInterval, Paced)),
            ),
            (
                Some(S),
                &[(10 * S, Paced)],
                Some((11_500_000, Rule::Debounce, Paced)),
            ),
            // A direct one goes at its commit, or a direct_interval after the last push.
            (
                None,
                &[(10 * S, Direct)],
                Some((10 * S, Rule::DirectInterval, Direct)),
            ),
            (
                Some(9_950_000),
                &[(10 * S, Direct)],
                Some((10_050_000, Rule::DirectInterval, Direct)),
            ),
            // It takes paced ones with it, whichever came first.
            (
                None,
                &[(9 * S, Paced), (10 * S, Direct)],
                Some((10 * S, Rule::DirectInterval, Direct)),
            ),
            (
                None,
                &[(10 * S, Direct), (11 * S, Paced)],
                Some((10 * S, Rule::DirectInterval, Direct)),
            ),
        ] {
            assert_eq!(
                due(last_push, changes),
                expected,
                "{last_push:?} {changes:?}"
            );
        }
    }

    #[test]
    fn a_push_takes_everything_that_waited() {
        let mut pacing = Pacing::default();
        pacing.note(at(S), Mode::Paced);
        pacing.note(at(2 * S), Mode::Direct);
        let waiting = Waiting {
            first: at(S),
            last: at(2 * S),
            first_direct: Some(at(2 * S)),
        };
        let push = Mono::from_us(3 * S);
        assert_eq!(pacing.pushed(push), Some(waiting));
        assert_eq!(
            (pacing.due(&INTERVALS), pacing.last_push()),
            (None, Some(push))
        );
    }

    /// Runs changes at the given gaps through the machine, pushing exactly when due; gives (first, pushed, mode) of each push.
    fn run(gaps: &[(u64, bool)]) -> Vec<(u64, u64, Mode)> {
        let mut pacing = Pacing::default();
        let mut pushes = Vec::new();
        let mut now = 0;
        let mut push_until = |pacing: &mut Pacing, until: u64| {
            while let Some(due) = pacing.due(&INTERVALS).filter(|due| due.at.us() <= until) {
                let waiting = pacing.pushed(due.at).expect("something is due");
                pushes.push((waiting.first.mono.us(), due.at.us(), due.mode));
            }
        };
        for (gap, is_direct) in gaps {
            now += gap;
            push_until(&mut pacing, now.saturating_sub(1));
            let mode = if *is_direct {
                Mode::Direct
            } else {
                Mode::Paced
            };
            pacing.note(at(now), mode);
            push_until(&mut pacing, now);
        }
        push_until(&mut pacing, u64::MAX);
        pushes
    }

    /// For any stream of changes: each push follows its first change within min_interval, a direct one within
    /// direct_interval of the change or the push before it; paced pushes keep min_interval, all keep direct_interval
    /// from the push before; and nothing is left unsent.
    #[test]
    fn any_stream_is_pushed_in_time() {
        let change = (0u64..8_000_000, prop::bool::weighted(0.2));
        crate::tests::check_part(20, prop::collection::vec(change, 1..60), |gaps| {
            let pushes = run(&gaps);
            prop_assert!(!pushes.is_empty());
            for (first, at, _) in &pushes {
                prop_assert!(first <= at && at - first <= INTERVALS.min_interval_us);
            }
            for pair in pushes.windows(2) {
                let (gap, mode) = (pair[1].1 - pair[0].1, pair[1].2);
                let least = if mode == Mode::Direct {
                    INTERVALS.direct_interval_us
                } else {
                    INTERVALS.min_interval_us
                };
                prop_assert!(gap >= least, "{gap} {mode:?}");
            }
            Ok(())
        });
    }
}
