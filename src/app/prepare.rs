//! Preparing the ledger on a thread of its own: it blocks, and while it does, signals are heard and the log tells what it
//! waits for.

use std::time::Duration;

use actix_web::rt::time::interval;
use log::{info, warn};
use tokio::sync::oneshot;

use super::AppError;
use crate::clock::Clock;
use crate::ledger::{LedgerError, Progress, Seen};
use crate::limits::START_LOG_S;
use crate::platform::StopSignals;

/// How often the progress is looked at, in milliseconds.
const LOOK_MS: u64 = 500;

/// Runs `work`, and answers with what it made. `look` sees every half a second what it is doing. `None` when a signal came first:
/// what is under way then ends with the process, and the database rolls it back.
///
/// # Errors
/// What `work` says, or [`LedgerError::Unavailable`] when a step of it takes too long.
pub async fn prepare<T: Send + 'static>(
    signals: &mut StopSignals,
    mut look: impl FnMut(&Seen),
    work: impl FnOnce(&Progress) -> Result<T, LedgerError> + Send + 'static,
) -> Result<Option<T>, AppError> {
    let progress = Progress::start(Clock::system());
    let seen_by_work = progress.clone();
    let (done, mut is_done) = oneshot::channel();
    std::thread::Builder::new()
        .name("ledger-opener".into())
        .spawn(move || {
            // The receiver is gone when a signal came first.
            let _ = done.send(work(&seen_by_work));
        })?;
    let mut looks = interval(Duration::from_millis(LOOK_MS));
    loop {
        tokio::select! {
            biased;
            signal = signals.next() => {
                info!("{signal}: stopping before the start was complete, {}", progress.look().text);
                return Ok(None);
            }
            done = &mut is_done => {
                let made = done.map_err(|_| AppError::PartDied("the preparation of the ledger"))?;
                return Ok(Some(made?));
            }
            _ = looks.tick() => {
                let seen = progress.look();
                if seen.is_too_long {
                    return Err(LedgerError::Unavailable(format!("given up after {}", seen.text)).into());
                }
                look(&seen);
            }
        }
    }
}

/// Logs a step that takes long, now and then.
pub fn logged() -> impl FnMut(&Seen) {
    let mut said_s = 0;
    move |seen| {
        if seen.seconds < said_s {
            said_s = 0;
        }
        if seen.seconds >= said_s + START_LOG_S {
            warn!("still {}", seen.text);
            said_s = seen.seconds;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn what_was_prepared_or_why_not_is_answered() {
        let mut signals = StopSignals::listen().expect("the system allows it");
        let made = prepare(&mut signals, logged(), |_| Ok(5)).await;
        assert_eq!(made.expect("made"), Some(5));
        let refused = prepare(&mut signals, logged(), |_| {
            Err::<(), _>(LedgerError::Unfit("its encoding".into()))
        });
        let error = refused.await.expect_err("refused").to_string();
        assert!(error.contains("its encoding"), "{error}");
    }
}
