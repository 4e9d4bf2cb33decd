//! When a request may be sent, and how long to wait after one that failed.

use std::cell::Cell;
use std::time::Duration;

use rand::Rng as _;

use crate::clock::Clock;

/// The first and the longest wait after a failure, in milliseconds.
const BACK_OFF_MS: (u64, u64) = (500, 30_000);

/// The longest `Retry-After` that is obeyed, in seconds.
const RETRY_AFTER_S_MAX: u64 = 300;

/// Requests to the API keep this much more than their share of a second apart: networks deliver unevenly.
const MARGIN_PERCENT: u64 = 5;

/// Spaces requests evenly, so that no second has more than its number. All accounts share one.
#[derive(Debug)]
pub struct Budget {
    clock: Clock,
    gap_us: u64,
    /// When the next request may be sent, in monotonic microseconds.
    next_us: Cell<u64>,
}

impl Budget {
    /// So many requests a second.
    pub fn new(requests_per_s: u64, clock: Clock) -> Self {
        Self {
            clock,
            gap_us: 1_000_000 * (100 + MARGIN_PERCENT) / 100 / requests_per_s.max(1),
            next_us: Cell::new(0),
        }
    }

    /// Waits for the turn of one request. Turns are given in the order of the calls.
    pub async fn turn(&self) {
        tokio::time::sleep(Duration::from_micros(self.take())).await;
    }

    /// Takes the next turn; answers how far ahead it is, in microseconds.
    fn take(&self) -> u64 {
        let now_us = self.clock.mono().us();
        let turn_us = self.next_us.get().max(now_us);
        self.next_us.set(turn_us + self.gap_us);
        turn_us - now_us
    }

    /// No request before this time has passed: the API asked for it.
    pub fn hold(&self, wait: Duration) {
        let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let until_us = self.clock.mono().us().saturating_add(wait_us);
        self.next_us.set(self.next_us.get().max(until_us));
    }
}

/// Waits that grow from failure to failure, fully random below their bound.
#[derive(Debug, Default)]
pub struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The wait after one more failure; at least what the other side asked for.
    pub fn wait(&mut self, retry_after: Option<Duration>) -> Duration {
        let (first_ms, longest_ms) = BACK_OFF_MS;
        let bound_ms = first_ms
            .saturating_mul(1 << self.failures.min(16))
            .min(longest_ms);
        self.failures = self.failures.saturating_add(1);
        let random = Duration::from_millis(rand::rng().random_range(1..=bound_ms));
        random + retry_after.unwrap_or_default()
    }

    /// It works again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// The seconds of a `Retry-After` header.
pub fn retry_after(text: &str) -> Option<Duration> {
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_S_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_requests_than_its_number() {
        for per_s in [1, 3, 10] {
            let clock = Clock::virtual_from(0);
            let budget = Budget::new(per_s, clock);
            let mut turns = Vec::new();
            for number in 0..35 {
                if number % 7 == 0 {
                    tokio::time::advance(Duration::from_millis(number * 90)).await;
                }
                budget.turn().await;
                turns.push(clock.mono().us());
            }
            let window = usize::try_from(per_s).expect("small");
            for some in turns.windows(window + 1) {
                assert!(some[window] - some[0] > 1_000_000, "{per_s}: {some:?}");
            }
            budget.hold(Duration::from_secs(20));
            assert!(budget.take() > 19_000_000);
        }
    }

    #[test]
    fn waits_grow_to_a_bound_and_keep_what_was_asked_for() {
        let mut back_off = BackOff::default();
        for failures in 0..20u32 {
            let bound_ms = (500u64 << failures.min(16)).min(30_000);
            assert!(back_off.wait(None) <= Duration::from_millis(bound_ms));
        }
        assert!(back_off.wait(Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        back_off.reset();
        assert!(back_off.wait(None) <= Duration::from_millis(500));
    }

    #[test]
    fn a_retry_after_is_seconds() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("999999"), Some(Duration::from_secs(300)));
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
