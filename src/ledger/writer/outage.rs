//! The ledger can't be written, as far as this writer knows: entries wait in their lanes until they are committed or past
//! their deadline, and a few of them are tried after pauses that grow.

use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{debug, info, warn};

use crate::clock::{Clock, Deadline, Mono};
use crate::ledger::errors::StoreError;
use crate::ledger::{Lane, PostError, Posting};
use crate::limits::{OUTAGE_LOG_MS, RETRY_MS};

use super::{State, answer_error};

/// An outage.
#[derive(Debug)]
pub(super) struct Outage {
    begun: Mono,
    logged: Mono,
    retry_at: Deadline,
    wait_ms: u64,
    /// How many times it was found to last.
    pub(super) round: usize,
}

impl Outage {
    fn new(clock: Clock) -> Self {
        let now = clock.mono();
        Self {
            begun: now,
            logged: now,
            retry_at: clock.deadline(Duration::from_millis(RETRY_MS.0)),
            wait_ms: RETRY_MS.0,
            round: 0,
        }
    }

    fn goes_on(&mut self, clock: Clock) {
        self.round += 1;
        self.wait_ms = (self.wait_ms * 2).min(RETRY_MS.1);
        self.retry_at = clock.deadline(Duration::from_millis(self.wait_ms));
    }
}

impl State {
    /// A transaction was carried out.
    pub(super) fn succeeded(&mut self) {
        self.is_proven = true;
        if let Some(outage) = self.outage.take() {
            let lasted_ms = self.options.clock.mono().us_since(outage.begun) / 1000;
            info!("the ledger takes writes again, after {lasted_ms} ms");
        }
    }

    /// No entry can be written, or it is not known which could.
    pub(super) fn suspend(&mut self, reason: &str) {
        let clock = self.options.clock;
        let Some(outage) = &mut self.outage else {
            warn!("the ledger can't be written: {reason}");
            self.outage = Some(Outage::new(clock));
            return;
        };
        outage.goes_on(clock);
        let now = clock.mono();
        if now.us_since(outage.logged) >= OUTAGE_LOG_MS * 1000 {
            outage.logged = now;
            let lasts_s = now.us_since(outage.begun) / 1_000_000;
            warn!("the ledger can't be written for {lasts_s} s now: {reason}");
        }
    }

    /// Closes the connection and opens another.
    pub(super) fn reconnect(&mut self) -> Result<(), StoreError> {
        self.is_proven = false;
        self.store.reconnect().inspect_err(|error| {
            self.options.counts.failed(error);
            self.options.standing.unanswered();
        })
    }

    /// How an attempt has failed, for the metrics. A connection that the server has ended while it was not used, and that
    /// is replaced by one that works, is no fault of the ledger.
    pub(super) fn count_failure(&self, error: &StoreError, is_first_use: bool) {
        if self.is_proven && is_first_use && matches!(error, StoreError::Lost(_)) {
            debug!("a connection is replaced: {error}");
            self.options.counts.failed_as("replaced");
        } else {
            self.options.counts.failed(error);
        }
    }

    /// Whether nothing is to be tried yet.
    pub(super) fn is_paused(&self) -> bool {
        let pauses = |outage: &super::Outage| !outage.retry_at.has_passed();
        self.outage.as_ref().is_some_and(pauses)
    }

    /// Waits until something is to be tried again. Takes commands meanwhile.
    pub(super) fn pause(&mut self) {
        if let Some(outage) = self.outage.as_ref().filter(|_| self.is_paused()) {
            self.wait(outage.retry_at.remaining());
        }
    }

    /// Puts postings back to where they came from, ahead of what has come since.
    pub(super) fn put_back(&mut self, postings: Vec<Posting>) {
        let is_aborting = self.is_aborting.load(Ordering::Relaxed);
        for posting in postings.into_iter().rev() {
            if is_aborting || posting.deadline.has_passed() {
                answer_error(posting, PostError::Unavailable);
                continue;
            }
            match posting.lane {
                Lane::Single => self.single.push_front(posting),
                Lane::Bulk => self.bulk.push_front(posting),
            }
        }
    }
}
