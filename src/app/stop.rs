//! Watching the running service, and stopping it in order. Each step gets a part of the time that is left.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_web::dev::ServerHandle;
use actix_web::rt::time::{interval, sleep, timeout};
use futures_util::future::join_all;
use log::{info, warn};
use tokio::sync::oneshot;

use super::{AppError, Canary, Service};
use crate::clock::{Clock, Deadline};
use crate::coordinator::Registry;
use crate::coordinator::messages::Shutdown;
use crate::http::HttpState;
use crate::ledger::{Ledger as _, SqlLedger};
use crate::platform::StopSignals;

/// What is kept back of the stopping time for the listeners and the ledger, in milliseconds.
const LAST_STEPS_MS: u64 = 2500;

/// How often the running service checks that its parts are alive, in milliseconds.
const WATCH_MS: u64 = 500;

/// How often the running service looks for the file of its ledger, in milliseconds.
const FILE_LOOK_MS: u64 = 2000;

/// How often a stopping service checks whether everything is answered, in milliseconds.
const DRAIN_POLL_MS: u64 = 20;

/// Waits for a signal. Ends with an error when a part has died that nothing can make again: then the process ends, and
/// its supervisor starts it anew.
pub(super) async fn wait_for_end(
    mut signals: StopSignals,
    service: &Service,
    ledger: &SqlLedger,
) -> Result<(), AppError> {
    let mut watch = interval(Duration::from_millis(WATCH_MS));
    let mut looked = Box::pin(look_at_file(ledger));
    loop {
        tokio::select! {
            () = &mut looked => looked.set(look_at_file(ledger)),
            signal = signals.next() => {
                info!("{signal}: stopping");
                return Ok(());
            }
            _ = watch.tick() => {
                if !service.registry.connected() {
                    return Err(AppError::PartDied("the registry"));
                }
                let epochs = ledger.standing().epoch_number();
                if service.joined.is_some() && epochs > 1 {
                    return Err(AppError::EpochBegan);
                }
                if ledger.is_lost() {
                    return Err(AppError::FileLost);
                }
                if !ledger.is_running() {
                    return Err(AppError::PartDied("a ledger writer"));
                }
            }
        }
    }
}

/// Waits, then has the ledger look for its file. While the database hangs, the look ends with its time-out.
async fn look_at_file(ledger: &SqlLedger) {
    sleep(Duration::from_millis(FILE_LOOK_MS)).await;
    // `is_lost` has the result.
    let _ = ledger.ping().await;
}

impl Service {
    /// Stops everything by the deadline.
    pub(super) async fn stop(self, deadline: Deadline) {
        if let Some(canary) = self.canary {
            canary.stop(deadline).await;
        }
        if let Some(development) = self.development {
            development.stop(deadline).await;
        }
        drain(&self.state, &self.registry, deadline).await;
        stop_listeners(&self.handles, deadline).await;
        // The listeners were told to stop; a failure, or a wait past the deadline, changes nothing any more.
        let _ = timeout(deadline.remaining(), join_all(self.listeners)).await;
        self.auditing.abort();
        self.keeping_history.abort();
        self.watching_feed.abort();
        self.coordinator.stop();
        let is_decided = finish_ledger(&self.ledger, deadline).await;
        // Others forget this process with its row, so the row stays while something may still be committed.
        if let Some(presence) = self.presence.filter(|_| is_decided) {
            presence.leave(deadline.remaining() / 2).await;
        }
        self.ledger.stop();
        if let Some(joined) = self.joined {
            joined.stop(is_decided, deadline).await;
        }
    }
}

impl Canary {
    /// A run withdraws what it has deposited; this has to happen while withdrawals are still accepted.
    async fn stop(self, deadline: Deadline) {
        self.interrupt.send_replace(1);
        let abort = self.running.abort_handle();
        let patience = deadline.remaining() / 4;
        if timeout(patience, self.running).await.is_err() {
            abort.abort();
        }
    }
}

/// Takes nothing new, closes the sessions with 1001, and waits until what was accepted is answered.
async fn drain(state: &HttpState, registry: &Addr<Registry>, deadline: Deadline) {
    state.begin_stopping();
    let last_steps = Duration::from_millis(LAST_STEPS_MS).min(deadline.remaining() / 2);
    let patience = deadline.remaining().saturating_sub(last_steps);
    let until = Clock::system().deadline(patience);
    if registry.send(Shutdown).timeout(patience).await.is_err() {
        warn!("the coordinator did not close its sessions in time");
    }
    while !state.is_idle() && !until.has_passed() {
        sleep(Duration::from_millis(DRAIN_POLL_MS)).await;
    }
    if !state.is_idle() {
        warn!(
            "stopping with unanswered requests or open sessions; their senders see an unknown outcome"
        );
    }
}

async fn stop_listeners(handles: &[ServerHandle; 2], deadline: Deadline) {
    let stop = |graceful| join_all(handles.iter().map(move |handle| handle.stop(graceful)));
    let patience = deadline.remaining() / 2;
    if timeout(patience, stop(true)).await.is_err() {
        stop(false).await;
    }
}

/// Lets the writers finish what is queued; what they can't finish in time is given up. Whether all that was to be written is
/// decided: committed, or never to be.
async fn finish_ledger(ledger: &Arc<SqlLedger>, deadline: Deadline) -> bool {
    let finishing = ledger.clone();
    let (done, mut finished) = oneshot::channel();
    // A thread of its own: the runtime would wait for its blocking tasks without a bound.
    std::thread::spawn(move || {
        // The receiver is gone when the deadline has passed.
        let _ = done.send(finishing.finish());
    });
    let patience = deadline.remaining() / 2;
    if let Ok(finished) = timeout(patience, &mut finished).await {
        return finished.unwrap_or(false);
    }
    ledger.abort();
    if timeout(deadline.remaining(), finished).await.is_err() {
        warn!("a ledger writer did not stop in time; what it was writing has an unknown outcome");
    }
    false
}
