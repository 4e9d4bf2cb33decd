//! Logs steps of writers that take too long: a COMMIT waits without a bound for a synchronous standby that is away, and
//! nothing else would say so.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::{info, warn};

use crate::clock::Mono;
use crate::limits::WATCHDOG_MS;

use super::watch::{Step, Watch};

/// The thread; it ends with this.
#[derive(Debug)]
pub(in crate::ledger) struct Watchdog {
    /// `None` when it is ending.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread, for steps that take longer than `hangs_after`.
    pub(in crate::ledger) fn start(watches: Vec<Arc<Watch>>, hangs_after: Duration) -> Self {
        let (end, ended) = bounded(0);
        let thread = thread::Builder::new()
            .name("ledger-watchdog".into())
            .spawn(move || run(&watches, hangs_after, &ended));
        if let Err(error) = &thread {
            warn!("steps of the ledger's writers that hang are not logged: {error}");
        }
        Self {
            end: Some(end),
            thread: thread.ok(),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // It has said why it panicked.
            let _ = thread.join();
        }
    }
}

fn run(watches: &[Arc<Watch>], hangs_after: Duration, ended: &Receiver<()>) {
    let mut seen: Vec<Option<Hanging>> = watches.iter().map(|_| None).collect();
    while ended.recv_timeout(Duration::from_millis(WATCHDOG_MS)) == Err(RecvTimeoutError::Timeout) {
        for (writer, (watch, seen)) in watches.iter().zip(&mut seen).enumerate() {
            for line in look(seen, watch.under_way(), watch.age(), hangs_after) {
                line.log(writer);
            }
        }
    }
}

/// A step that was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hanging {
    step: Step,
    begun: Mono,
    lasted: Duration,
    /// It is logged again when it has lasted so long.
    next: Duration,
}

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Hangs(Step, Duration),
    Ended(Step, Duration),
}

impl Line {
    fn log(self, writer: usize) {
        match self {
            Self::Hangs(step, lasts) => warn!(
                "ledger writer {writer} has waited {} s for the database: {}",
                lasts.as_secs(),
                step.name()
            ),
            Self::Ended(step, lasted) => info!(
                "ledger writer {writer} goes on, after about {} s: {}",
                lasted.as_secs(),
                step.name()
            ),
        }
    }
}

/// What is to be said of a writer: that its step hangs, each time after twice as long; and that it does no more.
fn look(
    seen: &mut Option<Hanging>,
    under_way: Option<(Step, Mono)>,
    age: Option<(Step, Duration)>,
    hangs_after: Duration,
) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(hanging) = *seen
        && under_way != Some((hanging.step, hanging.begun))
    {
        lines.push(Line::Ended(hanging.step, hanging.lasted));
        *seen = None;
    }
    let (Some((step, begun)), Some((_, lasted))) = (under_way, age) else {
        return lines;
    };
    let due = seen.map_or(hangs_after, |hanging| hanging.next);
    let mut next = due;
    if lasted >= due {
        lines.push(Line::Hangs(step, lasted));
        next = lasted * 2;
    }
    if lasted >= hangs_after {
        *seen = Some(Hanging {
            step,
            begun,
            lasted,
            next,
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_hangs_is_logged_again_after_twice_as_long_and_when_it_ends() {
        const HANGS: Duration = Duration::from_secs(2);
        let mut seen = None;
        let mut told = Vec::new();
        let begun = Mono::from_us(7);
        for second in 0..18 {
            let (step, lasts) = (Step::Commit, Duration::from_secs(second));
            let lines = look(&mut seen, Some((step, begun)), Some((step, lasts)), HANGS);
            told.extend(lines);
        }
        let after = |seconds| Line::Hangs(Step::Commit, Duration::from_secs(seconds));
        assert_eq!(told, [after(2), after(4), after(8), after(16)]);
        // The next step of the same name is another one.
        let next = (Step::Commit, Mono::from_us(8));
        let lines = look(
            &mut seen,
            Some(next),
            Some((Step::Commit, Duration::ZERO)),
            HANGS,
        );
        assert_eq!(lines, [Line::Ended(Step::Commit, Duration::from_secs(17))]);
        assert_eq!(look(&mut seen, None, None, HANGS), []);
    }

    #[test]
    fn the_thread_ends_with_its_owner() {
        drop(Watchdog::start(Vec::new(), Duration::ZERO));
    }
}
