//! What the preparation of a ledger is doing. It blocks, perhaps for long, and another thread tells of it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, Mono};
use crate::limits::START_STEP_S;

/// A step of the preparation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Connects, and checks what the server offers.
    Connecting,
    /// Waits for another node that applies migrations. Bounded and logged by itself.
    Waiting,
    /// Waits until nobody uses the ledger's tables. Bounded and logged by itself.
    WaitingForTables,
    /// Applies migrations.
    Migrating,
    /// Fills in what entries of an earlier version lack, page by page.
    Filling,
    /// Reads what the ledger says of itself, and starts the threads.
    Opening,
}

impl Step {
    const fn text(self) -> &'static str {
        match self {
            Self::Connecting => "connecting to the database",
            Self::Waiting => "waiting for another node's migration",
            Self::WaitingForTables => "waiting for other sessions' transactions",
            Self::Migrating => "applying migrations",
            Self::Filling => "filling in entries of an earlier version",
            Self::Opening => "reading the ledger's epoch and currencies",
        }
    }

    /// The longest that it may take; `None` where it is bounded by itself.
    const fn seconds_max(self) -> Option<u64> {
        match self {
            Self::Connecting | Self::Opening => Some(START_STEP_S),
            Self::Waiting | Self::WaitingForTables | Self::Migrating | Self::Filling => None,
        }
    }
}

/// What there is to say of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The step, for how long it has gone on.
    pub text: String,
    /// Whole seconds since it began.
    pub seconds: u64,
    /// Whether it has taken longer than it may.
    pub is_too_long: bool,
    /// How many entries are filled in, and of how many, while that is done.
    pub filled: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Now {
    step: Step,
    since: Mono,
    filled: Option<(u64, u64)>,
}

/// The step of now; clones share it.
#[derive(Debug, Clone)]
pub struct Progress {
    clock: Clock,
    now: Arc<Mutex<Now>>,
}

impl Progress {
    /// The first step begins.
    pub fn start(clock: Clock) -> Self {
        let now = Now {
            step: Step::Connecting,
            since: clock.mono(),
            filled: None,
        };
        let now = Arc::new(Mutex::new(now));
        Self { clock, now }
    }

    pub(in crate::ledger) fn at(&self, step: Step) {
        self.tell(step, None);
    }

    /// So many entries are filled in, of a number that may be a little too low.
    pub(in crate::ledger) fn filled(&self, filled: i64, total: i64) {
        let filled = u64::try_from(filled).unwrap_or(0);
        let total = u64::try_from(total).unwrap_or(0).max(filled);
        self.tell(Step::Filling, Some((filled, total)));
    }

    fn tell(&self, step: Step, filled: Option<(u64, u64)>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.step != step {
            (now.step, now.since) = (step, self.clock.mono());
        }
        now.filled = filled;
    }

    /// For the thread that waits.
    pub fn look(&self) -> Seen {
        let Now {
            step,
            since,
            filled,
        } = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.clock.mono().us_since(since) / 1_000_000;
        let share = filled.map_or(String::new(), |(filled, total)| {
            format!(" ({filled} of {total})")
        });
        Seen {
            text: format!("{}{share} for {seconds} s", step.text()),
            seconds,
            is_too_long: step.seconds_max().is_some_and(|max| seconds >= max),
            filled,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_steps_without_a_bound_of_their_own_take_too_long() {
        let progress = Progress::start(Clock::virtual_from(0));
        for (step, is_bounded) in [
            (Step::Connecting, true),
            (Step::Waiting, false),
            (Step::WaitingForTables, false),
            (Step::Migrating, false),
            (Step::Filling, false),
            (Step::Opening, true),
        ] {
            progress.at(step);
            tokio::time::advance(Duration::from_secs(START_STEP_S - 1)).await;
            progress.at(step);
            assert!(!progress.look().is_too_long, "{step:?}");
            tokio::time::advance(Duration::from_secs(1)).await;
            let seen = progress.look();
            assert_eq!(seen.is_too_long, is_bounded, "{step:?}");
            assert_eq!(seen.seconds, START_STEP_S);
            assert!(seen.text.ends_with(" s"), "{}", seen.text);
        }
    }
    #[tokio::test(start_paused = true)]
    async fn pages_that_are_filled_in_do_not_begin_the_step_anew() {
        let progress = Progress::start(Clock::virtual_from(0));
        progress.filled(0, 500);
        tokio::time::advance(Duration::from_secs(7)).await;
        progress.filled(200, 500);
        let seen = progress.look();
        assert_eq!(seen.filled, Some((200, 500)));
        assert!(seen.text.contains("(200 of 500) for 7 s"), "{}", seen.text);
        progress.at(Step::Migrating);
        assert_eq!(progress.look().filled, None);
    }
}
