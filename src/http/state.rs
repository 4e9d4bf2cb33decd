//! What every handler of both listeners uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use actix::Addr;

use crate::clock::{Clock, Deadline};
use crate::config::Settings;
use crate::coordinator::Registry;
use crate::coordinator::messages::SessionId;
use crate::ledger::{Admission, Lane, Permit, SqlLedger};
use crate::telemetry::counters::Counters;

use super::problem::{Code, Problem};
use super::rate_limit::FailureLimit;
use super::session_token::SessionKeys;

/// Shared by all workers.
#[derive(Debug)]
pub struct HttpState {
    /// The settings the service was started with.
    pub settings: Settings,
    /// With the demo page.
    pub is_dev: bool,
    /// The time.
    pub clock: Clock,
    /// The way to every balance actor.
    pub registry: Addr<Registry>,
    /// Histories and other reads that no actor holds.
    pub ledger: Arc<SqlLedger>,
    /// Places in the ledger's queue.
    pub admission: Admission,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Signs and verifies session tokens.
    pub session_keys: SessionKeys,
    pub(super) admin_failures: FailureLimit,
    is_stopping: AtomicBool,
    requests: AtomicUsize,
    next_session_id: AtomicU64,
}

impl HttpState {
    /// Composes the state.
    pub fn new(
        settings: Settings,
        is_dev: bool,
        clock: Clock,
        registry: Addr<Registry>,
        ledger: Arc<SqlLedger>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            session_keys: SessionKeys::new(&settings.auth.session_secrets),
            admission: Admission::new(settings.limits.queue_entries),
            settings,
            is_dev,
            clock,
            registry,
            ledger,
            counters,
            admin_failures: FailureLimit::new(),
            is_stopping: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            next_session_id: AtomicU64::new(1),
        }
    }

    /// From now on nothing new is taken.
    pub fn begin_stopping(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Whether the service is stopping.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Whether no request is being answered and no session is open.
    pub fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0 && self.counters.sessions.get() == 0
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn count_request(self: &Arc<Self>) -> RequestGuard {
        self.requests.fetch_add(1, Ordering::AcqRel);
        RequestGuard(self.clone())
    }

    /// Takes places in the ledger's queue for entries that came in now.
    pub(super) fn admit(&self, lane: Lane, entries: usize) -> Result<(Permit, Deadline), Problem> {
        if self.is_stopping() {
            return Err(Problem::new(Code::ShuttingDown, "the service is stopping; send it again to its successor"));
        }
        let full = || Problem::new(Code::Overloaded, "too many entries are waiting for the ledger; send it again");
        let permit = self.admission.try_acquire(lane, entries).ok_or_else(full)?;
        Ok((permit, self.clock.deadline(self.timeout())))
    }

    /// `database.timeout_ms`
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.database.timeout_ms)
    }

    pub(super) fn next_session_id(&self) -> SessionId {
        SessionId(self.next_session_id.fetch_add(1, Ordering::Relaxed))
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<HttpState>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}
