//! This process among those that use its ledger: it renews its row and learns of the others.
//!
//! Every process on PostgreSQL does it, also one without a bus, so that each knows whether it is alone.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::spawn;
use actix_web::rt::time::{sleep, timeout};
use log::{info, warn};
use tokio::task::JoinHandle;

use crate::clock::{Clock, Deadline, Mono};
use crate::coordinator::Coverage;
use crate::ledger::{LedgerError, Nodes, OwnNode, SqlLedger};
use crate::limits::{NODE_BEAT_MS, NODES_OLD_MS};
use crate::telemetry::counters::Counters;

/// Between two tries to write the first row.
const ENTER_RETRY: Duration = Duration::from_millis(500);

/// What is made of the others that a renewal found, or of its failure, and when it was begun.
pub type Seen = Box<dyn FnMut(Result<Nodes, LedgerError>, Mono)>;

/// The row of this process.
pub struct Presence {
    ledger: Arc<SqlLedger>,
    counters: Arc<Counters>,
    clock: Clock,
    own: OwnNode,
    seen: Seen,
}

impl Presence {
    /// It is written by [`Presence::enter`].
    pub fn new(
        ledger: Arc<SqlLedger>,
        counters: Arc<Counters>,
        clock: Clock,
        own: OwnNode,
        seen: Seen,
    ) -> Self {
        Self {
            ledger,
            counters,
            clock,
            own,
            seen,
        }
    }

    /// Writes the row, and renews it from now on. Tries until the deadline.
    ///
    /// # Errors
    /// When it could not be written: this process must not commit anything then.
    pub async fn enter(mut self, deadline: Deadline) -> Result<Kept, LedgerError> {
        let mut is_said = false;
        loop {
            let Err(error) = within(deadline.remaining(), self.renew()).await else {
                return Ok(self.keep());
            };
            if deadline.has_passed() {
                return Err(error);
            }
            if !std::mem::replace(&mut is_said, true) {
                warn!(
                    "this process can't be entered in the table of nodes, and tries for {} s: {error}",
                    deadline.remaining().as_secs()
                );
            }
            sleep(ENTER_RETRY).await;
        }
    }

    /// Renews the row, and tells what it found.
    async fn renew(&mut self) -> Result<(), LedgerError> {
        let began = self.clock.mono();
        self.own.sessions = self.counters.sessions.get().try_into().unwrap_or(i64::MAX);
        let before = self.clock.wall();
        let found = self.ledger.renew_node(self.own.clone()).await;
        if let Ok(nodes) = &found {
            let half_us = self.clock.wall().us_since(before) / 2;
            let ahead_us = before.plus_us(half_us).us().saturating_sub(nodes.now_us);
            let skew = &self.counters.cluster.clock_skew_seconds;
            skew.set(ahead_us as f64 / 1_000_000.0);
        }
        let renewed = found.as_ref().map(drop).map_err(Clone::clone);
        (self.seen)(found, began);
        renewed
    }

    fn keep(mut self) -> Kept {
        let (ledger, boot) = (self.ledger.clone(), self.own.boot.clone());
        let renewing = spawn(async move {
            loop {
                sleep(Duration::from_millis(NODE_BEAT_MS)).await;
                // What was found is told, and so is a failure.
                let _ = self.renew().await;
            }
        });
        Kept {
            renewing,
            ledger,
            boot,
        }
    }
}

/// A row that is being renewed.
#[derive(Debug)]
pub struct Kept {
    renewing: JoinHandle<()>,
    ledger: Arc<SqlLedger>,
    boot: String,
}

impl Kept {
    /// Removes the row, so that the others need not wait until it is old; to be called after the last commit. When that takes
    /// too long, they do.
    pub async fn leave(self, patience: Duration) {
        self.renewing.abort();
        if let Err(error) = within(patience, self.ledger.leave_nodes(self.boot)).await {
            info!("the others could not be told that this process ends: {error}");
        }
    }
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    let no_answer = |_| Err(LedgerError::Unavailable("no answer in time".into()));
    timeout(patience, answer).await.unwrap_or_else(no_answer)
}

/// What a process without a bus makes of the others: while there are any, it does not hear of what they commit.
pub fn without_bus(coverage: Arc<Coverage>, counters: Arc<Counters>, clock: Clock) -> Seen {
    let mut asked_at = None;
    Box::new(move |found, began| {
        // While the ledger does not answer, nothing new is known; what it held is then marked as stale.
        let Ok(nodes) = found else { return };
        let now = clock.mono();
        let latest = asked_at.replace(began);
        let apart_us = latest.map_or(0, |latest| now.us_since(latest));
        let is_watched = apart_us <= NODES_OLD_MS * 1000;
        match (coverage.is_alone(), nodes.others.is_empty()) {
            (true, true) if !is_watched => {
                info!(
                    "for {} s it was not known which processes use this ledger: what others may have committed is looked for",
                    apart_us / 1_000_000
                );
                coverage.cover_until(Mono::default());
            }
            (true, false) => {
                let names: Vec<&str> = nodes.others.iter().map(|node| &*node.node).collect();
                warn!(
                    "other processes use this ledger ({}), and this one has no cluster.url: balances are read from the \
                     ledger, and what others commit is looked for once a second",
                    names.join(", ")
                );
                coverage.cover_until(Mono::default());
            }
            (false, true) if is_watched => {
                info!("this process is alone on its ledger again");
                coverage.be_alone(now);
            }
            _ => {}
        }
        let shown = &counters.cluster;
        shown.covered.set(i64::from(coverage.is_alone()));
        let others = i64::try_from(nodes.others.len()).unwrap_or(i64::MAX - 1);
        shown.nodes.set(1 + others);
    })
}
