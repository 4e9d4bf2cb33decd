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
    /// Applies migrations. Each statement is bounded.
    Migrating,
    /// Reads what the ledger says of itself, and starts the threads.
    Opening,
}

impl Step {
    const fn text(self) -> &'static str {
        match self {
            Self::Connecting => "connecting to the database",
            Self::Waiting => "waiting for another node's migration",
            Self::Migrating => "applying migrations",
            Self::Opening => "reading the ledger's epoch and currencies",
        }
    }

    /// The longest that it may take; `None` where it is bounded by itself.
    const fn seconds_max(self) -> Option<u64> {
        match self {
            Self::Connecting | Self::Opening => Some(START_STEP_S),
            Self::Waiting | Self::Migrating => None,
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
}

/// The step of now; clones share it.
#[derive(Debug, Clone)]
pub struct Progress {
    clock: Clock,
    now: Arc<Mutex<(Step, Mono)>>,
}

impl Progress {
    /// The first step begins.
    pub fn start(clock: Clock) -> Self {
        let now = Arc::new(Mutex::new((Step::Connecting, clock.mono())));
        Self { clock, now }
    }

    pub(in crate::ledger) fn at(&self, step: Step) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0 != step {
            *now = (step, self.clock.mono());
        }
    }

    /// For the thread that waits.
    pub fn look(&self) -> Seen {
        let (step, began) = *self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.clock.mono().us_since(began) / 1_000_000;
        Seen {
            text: format!("{} for {seconds} s", step.text()),
            seconds,
            is_too_long: step.seconds_max().is_some_and(|max| seconds >= max),
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
            (Step::Migrating, false),
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
}
