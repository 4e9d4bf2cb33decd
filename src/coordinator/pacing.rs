//! When a user's next push is due. Pure: times go in, a due time and its rule come out; no clock, no actor.
//!
//! Over the changes that were not pushed yet, with `first` and `last` their commit times:
//!
//! - with a direct change among them: `max(commit of the first direct one, last_push + direct_interval)`;
//! - else: `max(min(last + debounce, first + min_interval), last_push + min_interval)`.
//!
//! Nothing is dropped because it came too soon: it waits. All times are microseconds of one monotonic clock.

use serde::Serialize;

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

/// How a change asks to be pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At once.
    Direct,
    /// Summed up with what follows.
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

/// When the next push is due, and what decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Microseconds of the monotonic clock; may lie in the past.
    pub at_us: u64,
    /// What it waits for.
    pub rule: Rule,
    /// How the push will be marked.
    pub mode: Mode,
}

/// The pacing state of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pacing {
    last_push_us: Option<u64>,
    waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    first_us: u64,
    last_us: u64,
    first_direct_us: Option<u64>,
}

impl Pacing {
    /// A user who was last pushed to at `last_push_us`, if ever.
    pub const fn since(last_push_us: Option<u64>) -> Self {
        Self {
            last_push_us,
            waiting: None,
        }
    }

    /// Notes a change that was committed at `at_us`.
    pub fn note(&mut self, at_us: u64, mode: Mode) {
        let direct = (mode == Mode::Direct).then_some(at_us);
        self.waiting = Some(match self.waiting {
            None => Waiting {
                first_us: at_us,
                last_us: at_us,
                first_direct_us: direct,
            },
            Some(waiting) => Waiting {
                first_us: waiting.first_us.min(at_us),
                last_us: waiting.last_us.max(at_us),
                first_direct_us: match (waiting.first_direct_us, direct) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                },
            },
        });
    }

    /// When the next push is due; `None` without a change.
    pub fn due(&self, intervals: &Intervals) -> Option<Due> {
        let waiting = self.waiting?;
        // "Never" is minus infinity: it holds nothing back.
        let not_before = |interval_us: u64| {
            self.last_push_us
                .map_or(0, |at| at.saturating_add(interval_us))
        };
        if let Some(committed_us) = waiting.first_direct_us {
            let at_us = committed_us.max(not_before(intervals.direct_interval_us));
            return Some(Due {
                at_us,
                rule: Rule::DirectInterval,
                mode: Mode::Direct,
            });
        }
        let settled_us = waiting.last_us.saturating_add(intervals.debounce_us);
        let longest_us = waiting.first_us.saturating_add(intervals.min_interval_us);
        let gap_us = not_before(intervals.min_interval_us);
        let (at_us, rule) = if gap_us > settled_us.min(longest_us) {
            (gap_us, Rule::MinInterval)
        } else if settled_us <= longest_us {
            (settled_us, Rule::Debounce)
        } else {
            (longest_us, Rule::MaxWait)
        };
        Some(Due {
            at_us,
            rule,
            mode: Mode::Paced,
        })
    }

    /// Notes a push of everything that waited.
    pub fn pushed(&mut self, at_us: u64) {
        let last_push_us = (!is_planted(Plant::GapForgotten)).then_some(at_us);
        *self = Self {
            last_push_us,
            waiting: None,
        };
    }

    /// When the user was last pushed to.
    pub const fn last_push_us(&self) -> Option<u64> {
        self.last_push_us
    }

    /// Commit times of the first and the last change that wait.
    pub fn waiting_us(&self) -> Option<(u64, u64)> {
        self.waiting
            .map(|waiting| (waiting.first_us, waiting.last_us))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVALS: Intervals = Intervals {
        debounce_us: 1_500_000,
        min_interval_us: 5_000_000,
        direct_interval_us: 100_000,
    };
    const S: u64 = 1_000_000;

    fn due(last_push: Option<u64>, changes: &[(u64, Mode)]) -> Option<(u64, Rule, Mode)> {
        let mut pacing = Pacing::since(last_push);
        changes
            .iter()
            .for_each(|(at, mode)| pacing.note(*at, *mode));
        pacing
            .due(&INTERVALS)
            .map(|due| (due.at_us, due.rule, due.mode))
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
        pacing.note(S, Mode::Paced);
        assert_eq!(pacing.waiting_us(), Some((S, S)));
        pacing.pushed(2 * S);
        assert_eq!(
            (pacing.due(&INTERVALS), pacing.last_push_us()),
            (None, Some(2 * S))
        );
    }

    /// Runs changes at the given gaps through the machine, pushing exactly when due; gives (first, pushed, mode) of each push.
    fn run(gaps: &[(u64, bool)]) -> Vec<(u64, u64, Mode)> {
        let mut pacing = Pacing::default();
        let mut pushes = Vec::new();
        let mut now = 0;
        let mut push_until = |pacing: &mut Pacing, until: u64| {
            while let Some(due) = pacing.due(&INTERVALS).filter(|due| due.at_us <= until) {
                let (first, _) = pacing.waiting_us().expect("something is due");
                pacing.pushed(due.at_us);
                pushes.push((first, due.at_us, due.mode));
            }
        };
        for (gap, is_direct) in gaps {
            now += gap;
            push_until(&mut pacing, now.saturating_sub(1));
            pacing.note(
                now,
                if *is_direct {
                    Mode::Direct
                } else {
                    Mode::Paced
                },
            );
            push_until(&mut pacing, now);
        }
        push_until(&mut pacing, u64::MAX);
        pushes
    }

    proptest! {
        /// For any stream of changes: each push follows its first change within min_interval, a direct one within
        /// direct_interval of the change or the push before it; paced pushes keep min_interval, all keep direct_interval
        /// from the push before; and nothing is left unsent.
        #[test]
        fn any_stream_is_pushed_in_time(gaps in prop::collection::vec((0u64..8_000_000, prop::bool::weighted(0.2)), 1..60)) {
            let pushes = run(&gaps);
            prop_assert!(!pushes.is_empty());
            for (first, at, _) in &pushes {
                prop_assert!(first <= at && at - first <= INTERVALS.min_interval_us);
            }
            for pair in pushes.windows(2) {
                let (gap, mode) = (pair[1].1 - pair[0].1, pair[1].2);
                let least = if mode == Mode::Direct { INTERVALS.direct_interval_us } else { INTERVALS.min_interval_us };
                prop_assert!(gap >= least, "{gap} {mode:?}");
            }
        }
    }
}
