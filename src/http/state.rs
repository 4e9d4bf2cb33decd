//! The state that the handlers of both listeners share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::Addr;
use actix_web::http::header::HeaderValue;

use crate::canary::runs::CanaryRuns;
use crate::clock::{Clock, Deadline};
use crate::cluster::carrying::Here;
use crate::cluster::overview::Overview;
use crate::config::Settings;
use crate::coordinator::Registry;
use crate::coordinator::auditing::AuditBoard;
use crate::credentials::access::CurrentAccess;
use crate::dev_chain::DevChain;
use crate::http::admin::board::LiveBoard;
use crate::http::entries::bulk::Bulk;
use crate::http::extract::bodies::Bodies;
use crate::http::extract::rate_limit::{AddressLimit, FAILURES, Rate, SIGN_INS, UserLimit};
use crate::http::problem::{Code, Problem};
use crate::http::session::shared::SessionShared;
use crate::ledger::{Admission, Lane, Ledger as _, Permit, PostError, SqlLedger};
use crate::telemetry::counters::Counters;
use crate::telemetry::seldom::Seldom;

/// The state as a handler's argument.
pub(super) type Data = actix_web::web::Data<HttpState>;

/// What `--dev` adds to the state.
#[derive(Debug)]
pub struct Dev {
    /// Where the demo page's bench sends webhooks.
    pub internal_addr: SocketAddr,
    /// The imitated chain; none where no currency can hold Toncoin.
    pub chain: Option<Arc<DevChain>>,
}

/// Shared by all workers.
#[derive(Debug)]
pub struct HttpState {
    /// The settings the service was started with, without what is in `access`.
    pub settings: Arc<Settings>,
    /// Who may come in.
    pub access: Arc<CurrentAccess>,
    /// Only with `--dev`, which sets it.
    pub dev: Option<Dev>,
    /// The time.
    pub clock: Clock,
    /// Routes messages to balance actors.
    pub registry: Addr<Registry>,
    /// For histories and other reads that bypass the actors.
    pub ledger: Arc<SqlLedger>,
    /// Limits what batches use at once.
    pub(super) bulk: Bulk,
    /// The room of all bodies.
    pub(super) bodies: Arc<Bodies>,
    /// Places in the ledger's queue.
    pub admission: Admission,
    /// Findings of the continuous audit.
    pub audit: Arc<AuditBoard>,
    /// The other processes on this ledger.
    pub cluster: Arc<Overview>,
    /// The latest runs of the canary.
    pub canary: Arc<CanaryRuns>,
    /// Metrics.
    pub counters: Arc<Counters>,
    /// The state that sessions share.
    pub sessions: Arc<SessionShared>,
    pub(super) live: LiveBoard,
    pub(super) admin_failures: AddressLimit,
    pub(super) sign_ins: AddressLimit,
    pub(super) sign_in_failures: AddressLimit,
    pub(super) api_requests: UserLimit,
    pub(super) foreign_origins: Seldom,
    /// What answers say of `server.keep_alive_s`.
    pub(super) keep_alive: HeaderValue,
    requests: AtomicUsize,
}

impl HttpState {
    /// Composes the state, from that of the sessions.
    pub fn new(
        sessions: SessionShared,
        ledger: Arc<SqlLedger>,
        audit: Arc<AuditBoard>,
        cluster: Arc<Overview>,
    ) -> Self {
        let settings = sessions.settings.clone();
        let limits = &settings.limits;
        let keep_alive = format!("timeout={}", settings.server.keep_alive_s);
        let clock = sessions.clock;
        Self {
            access: sessions.access.clone(),
            registry: sessions.registry.clone(),
            counters: sessions.counters.clone(),
            sessions: Arc::new(sessions),
            bulk: Bulk::default(),
            bodies: Arc::new(Bodies::new(limits.batch_body_bytes.max(limits.body_bytes))),
            api_requests: UserLimit::new(Rate {
                per_s: limits.api_requests_per_s,
                burst: limits.api_requests_burst,
            }),
            admission: Admission::new(limits.queue_entries),
            settings,
            dev: None,
            clock,
            ledger,
            audit,
            cluster,
            canary: Arc::default(),
            live: LiveBoard::new(clock.wall()),
            admin_failures: AddressLimit::new(FAILURES),
            sign_ins: AddressLimit::new(SIGN_INS),
            sign_in_failures: AddressLimit::new(FAILURES),
            foreign_origins: Seldom::default(),
            keep_alive: HeaderValue::try_from(keep_alive).expect("letters and digits"),
            requests: AtomicUsize::new(0),
        }
    }

    /// The metrics in Prometheus' text format, with the levels of this moment.
    pub(super) fn metrics_text(&self) -> String {
        let waiting = |lane| i64::try_from(self.admission.waiting(lane)).unwrap_or(i64::MAX);
        self.counters.queue.single.set(waiting(Lane::Single));
        self.counters.queue.bulk.set(waiting(Lane::Bulk));
        self.ledger.show_levels();
        self.counters.render()
    }

    /// Whether the demo page is on.
    pub(super) const fn is_dev(&self) -> bool {
        self.dev.is_some()
    }

    /// The imitated chain of development.
    pub(super) fn dev_chain(&self) -> Option<&DevChain> {
        self.dev.as_ref()?.chain.as_deref()
    }

    /// Refuses new work from now on.
    pub fn begin_stopping(&self) {
        self.sessions.begin_stopping();
    }

    /// Whether the service is stopping.
    pub fn is_stopping(&self) -> bool {
        self.sessions.is_stopping()
    }

    /// Whether no request is in progress and no session is open.
    pub fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0 && self.counters.sessions.get() == 0
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn count_request(self: &Arc<Self>) -> RequestGuard {
        self.requests.fetch_add(1, Ordering::AcqRel);
        RequestGuard(self.clone())
    }

    /// Reserves places in the ledger's queue for new entries.
    pub(super) fn admit(&self, lane: Lane, entries: usize) -> Result<(Permit, Deadline), Problem> {
        if self.is_stopping() {
            return Err(Problem::new(
                Code::ShuttingDown,
                "the service is stopping; send the request again",
            ));
        }
        let full = || {
            Problem::new(
                Code::Overloaded,
                "too many entries are waiting for the ledger; send the request again",
            )
        };
        let permit = self.admission.try_acquire(lane, entries).ok_or_else(full)?;
        Ok((permit, self.clock.deadline(self.timeout())))
    }

    /// What the ledger answers until the deadline of entries.
    pub(super) async fn by_deadline<T>(
        &self,
        deadline: Deadline,
        answer: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        let answers = self.ledger.standing().answers();
        let answered = tokio::time::timeout_at(deadline.instant(), answer).await;
        answered.map_err(|_| {
            self.ledger.waited_in_vain(answers, self.timeout());
            PostError::Unavailable.into()
        })
    }

    /// What orders are carried out on.
    pub(super) fn here(&self) -> Here {
        Here {
            registry: self.registry.clone(),
            coverage: self.cluster.coverage().clone(),
            clock: self.clock,
        }
    }

    /// `database.timeout_ms`
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.database.timeout_ms)
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<HttpState>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}
