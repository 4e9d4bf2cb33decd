//! How much counters have grown lately, so that a finding ends some minutes after its trouble.
//!
//! A reading is kept every `limits::FINDINGS_STEP_S`; the youngest that is `limits::FINDINGS_WINDOW_S` old is what the
//! present is compared with. Older ones go, so about twenty are kept.

use std::collections::VecDeque;

use crate::clock::Mono;
use crate::limits::FINDINGS_WINDOW_S;

use super::samples::Samples;

const WINDOW_US: u64 = FINDINGS_WINDOW_S * 1_000_000;

/// The readings of the last minutes, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Readings(VecDeque<(Mono, Samples)>);

/// What counters have grown by.
#[derive(Debug, Default)]
pub(crate) struct Lately {
    pub(super) grown: Samples,
    /// In so many seconds; `None`: since the start.
    pub(super) seconds: Option<u64>,
}

impl Readings {
    /// Keeps a reading.
    pub(crate) fn keep(&mut self, at: Mono, samples: &Samples) {
        self.0.push_back((at, samples.growing()));
        // The second is old enough, so the first is never asked for again.
        while self.0.get(1).is_some_and(|(old, _)| is_old(*old, at)) {
            self.0.pop_front();
        }
    }

    /// How much has grown until now.
    pub(crate) fn until(&self, now: Mono, samples: &Samples) -> Lately {
        let old = self.0.iter().rev().find(|(at, _)| is_old(*at, now));
        old.map_or_else(
            || Lately::since_start(samples),
            |(at, earlier)| Lately {
                grown: samples.since(earlier),
                seconds: Some(now.us_since(*at) / 1_000_000),
            },
        )
    }
}

fn is_old(at: Mono, now: Mono) -> bool {
    now.us_since(at) >= WINDOW_US
}

impl Lately {
    /// Of a process that is young, or of which there is a single reading.
    pub(super) fn since_start(samples: &Samples) -> Self {
        Self {
            grown: samples.growing(),
            seconds: None,
        }
    }

    /// The time, for people.
    pub(super) fn when(&self) -> String {
        self.seconds.map_or_else(
            || "since the start".to_owned(),
            |seconds| format!("in the last {:.0} min", seconds as f64 / 60.0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: u64) -> Samples {
        Samples::parse(&format!(
            "a_total {count}\nlevel 7\nh_bucket{{le=\"+Inf\"}} 0\n"
        ))
    }

    fn at(seconds: u64) -> Mono {
        Mono::from_us(seconds * 1_000_000)
    }

    #[test]
    fn growth_counts_from_the_youngest_reading_that_is_old_enough() {
        let mut readings = Readings::default();
        let grown = |readings: &Readings, now: u64, count: u64| {
            let lately = readings.until(at(now), &samples(count));
            assert_eq!(lately.grown.sum("level", &[]), 0.0, "a level does not grow");
            (lately.grown.sum("a_total", &[]), lately.seconds)
        };
        assert_eq!(grown(&readings, 0, 5), (5.0, None), "without a reading");
        for second in (0..FINDINGS_WINDOW_S).step_by(15) {
            readings.keep(at(second), &samples(5 + second));
            assert_eq!(
                grown(&readings, second, 5 + second),
                ((5 + second) as f64, None),
                "a young process: since the start"
            );
        }
        assert_eq!(grown(&readings, 300, 305), (300.0, Some(300)));
        assert_eq!(grown(&readings, 314, 305), (300.0, Some(314)));
        assert_eq!(grown(&readings, 315, 305), (285.0, Some(300)));
        for second in (300..6000).step_by(15) {
            readings.keep(at(second), &samples(305));
            assert!(readings.0.len() <= 22, "{}", readings.0.len());
        }
        assert_eq!(grown(&readings, 6000, 305), (0.0, Some(300)));
        // After a gap, in which nothing was read, the time is longer.
        assert_eq!(grown(&readings, 9000, 306).0, 1.0);
    }
}
