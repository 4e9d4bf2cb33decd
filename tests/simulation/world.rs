//! What all parts of one run share: the log, the oracle, the faults under way.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use balance_coordinator::clock::Clock;

use super::oracle::Oracle;

/// The wall at the beginning of every run, in microseconds since the Unix epoch.
pub const WALL_START_US: i64 = 1_754_301_900_000_000;

/// Shared by the tasks of one run, all on one thread.
#[derive(Debug, Clone)]
pub struct World {
    pub clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
pub struct Inner {
    pub oracle: Oracle,
    log: String,
}

impl World {
    pub fn new(clock: Clock) -> Self {
        let inner = Inner {
            oracle: Oracle::default(),
            log: String::new(),
        };
        Self {
            clock,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Virtual microseconds since the run began.
    pub fn now_us(&self) -> u64 {
        self.clock.mono().us()
    }

    /// Never held across an await.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("one thread, no panic inside")
    }

    /// Writes a line into the log.
    pub fn note(&self, line: std::fmt::Arguments<'_>) {
        let now_us = self.now_us();
        let _ = writeln!(self.lock().log, "{now_us:>12} {line}");
    }

    /// Notes a rule that does not hold.
    pub fn violation(&self, what: &str) {
        self.note(format_args!("VIOLATION {what}"));
        let now_us = self.now_us();
        self.lock()
            .oracle
            .violations
            .push(format!("at {now_us} us: {what}"));
    }

    /// Notes the rules that an observation breaks.
    pub fn check(&self, observe: impl FnOnce(&mut Oracle, u64) -> Result<(), String>) {
        let now_us = self.now_us();
        let result = observe(&mut self.lock().oracle, now_us);
        if let Err(what) = result {
            self.violation(&what);
        }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.lock().log.clone()
    }
}

/// `note!(world, "...")`
macro_rules! note {
    ($world:expr, $($arguments:tt)*) => { $world.note(format_args!($($arguments)*)) };
}
pub(crate) use note;
