//! What the watcher counts, and the listener that tells it: `/metrics`, `/healthz`, `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use actix_web::dev::Server;
use actix_web::web::{Data, get};
use actix_web::{App, HttpResponse, HttpServer};
use prometheus::core::Collector;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::clock::Clock;

/// An account that was not up to date for so long, in seconds, is not ready.
const READY_LAG_S_MAX: f64 = 60.0;

/// What became of a transaction: the label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// A deposit that the service accepted.
    Sent,
    /// A deposit that the service knew.
    Duplicate,
    /// Value without a user.
    Unmatched,
    /// Nothing came in.
    Ignored,
}

impl Counted {
    const ALL: [Self; 4] = [Self::Sent, Self::Duplicate, Self::Unmatched, Self::Ignored];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Duplicate => "duplicate",
            Self::Unmatched => "unmatched",
            Self::Ignored => "ignored",
        }
    }
}

/// Everything that the watcher counts.
pub struct Metrics {
    clock: Clock,
    registry: Registry,
    /// The accounts' names, and when each was last known to be up to date, in monotonic microseconds; below 0 before this
    /// process began.
    accounts: Vec<(String, AtomicI64)>,
    lag: GaugeVec,
    transactions: IntCounterVec,
    gaps: IntCounter,
    requests: IntCounterVec,
    unmatched: IntGauge,
    unmatched_since: IntGauge,
}

impl Metrics {
    /// For these accounts, and for how many seconds each has not been known to be up to date.
    pub fn new(
        accounts: impl IntoIterator<Item = (String, i64)>,
        clock: Clock,
    ) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(format!("ton_watcher_{name}"), help);
        let lag = GaugeVec::new(
            opts(
                "lag_seconds",
                "How long ago the account was last known to be up to date",
            ),
            &["account"],
        )?;
        let transactions = IntCounterVec::new(
            opts("transactions_total", "Transactions that were handled"),
            &["account", "outcome"],
        )?;
        let gaps = IntCounter::with_opts(opts(
            "gaps_total",
            "Pages with a hole or a contradiction, which were read again",
        ))?;
        let requests = IntCounterVec::new(
            opts("requests_total", "Requests to the API by status"),
            &["status"],
        )?;
        let unmatched = IntGauge::with_opts(opts(
            "unmatched",
            "Transactions that wait for a person to assign them",
        ))?;
        let unmatched_since = IntGauge::with_opts(opts(
            "unmatched_oldest_timestamp_seconds",
            "When the oldest of them was seen; 0 when there is none",
        ))?;
        let all: [Box<dyn Collector>; 6] = [
            Box::new(lag.clone()),
            Box::new(transactions.clone()),
            Box::new(gaps.clone()),
            Box::new(requests.clone()),
            Box::new(unmatched.clone()),
            Box::new(unmatched_since.clone()),
        ];
        for one in all {
            registry.register(one)?;
        }
        let now_us = mono_us(clock);
        let since = |(account, lag_s): (String, i64)| {
            let lag_us = lag_s.max(0).saturating_mul(1_000_000);
            (account, AtomicI64::new(now_us.saturating_sub(lag_us)))
        };
        let accounts: Vec<_> = accounts.into_iter().map(since).collect();
        for (account, _) in &accounts {
            for outcome in Counted::ALL {
                transactions.with_label_values(&[account, outcome.as_str()]);
            }
        }
        Ok(Self {
            clock,
            registry,
            accounts,
            lag,
            transactions,
            gaps,
            requests,
            unmatched,
            unmatched_since,
        })
    }

    /// All transactions of an account that the API knows are handled.
    pub fn up_to_date(&self, account: &str) {
        let now_us = mono_us(self.clock);
        for (_, since_us) in self.accounts.iter().filter(|(name, _)| name == account) {
            since_us.store(now_us, Ordering::Relaxed);
        }
    }

    /// One transaction was handled.
    pub fn transaction(&self, account: &str, outcome: Counted) {
        self.transactions
            .with_label_values(&[account, outcome.as_str()])
            .inc();
    }

    /// A page had a hole.
    pub fn gap(&self) {
        self.gaps.inc();
    }

    /// One request to the API; `none` when there was no answer.
    pub fn request(&self, status: &str) {
        self.requests.with_label_values(&[status]).inc();
    }

    /// How many wait for a person, and when the oldest was seen, in Unix seconds.
    pub fn waiting(&self, count: i64, since_s: Option<i64>) {
        self.unmatched.set(count);
        self.unmatched_since.set(since_s.unwrap_or(0));
    }

    /// Whether every account was up to date not long ago.
    fn is_ready(&self) -> bool {
        self.lags().all(|(_, lag_s)| lag_s <= READY_LAG_S_MAX)
    }

    fn lags(&self) -> impl Iterator<Item = (&str, f64)> {
        let now_us = mono_us(self.clock);
        self.accounts.iter().map(move |(account, since_us)| {
            let lag_us = now_us.saturating_sub(since_us.load(Ordering::Relaxed));
            (account.as_str(), lag_us as f64 / 1e6)
        })
    }

    fn render(&self) -> String {
        for (account, lag_s) in self.lags() {
            self.lag.with_label_values(&[account]).set(lag_s);
        }
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}

fn mono_us(clock: Clock) -> i64 {
    i64::try_from(clock.mono().us()).unwrap_or(i64::MAX)
}

/// The listener; it runs once it is awaited or spawned.
///
/// # Errors
/// When the address is taken.
pub fn listen(addr: SocketAddr, metrics: Arc<Metrics>) -> std::io::Result<Server> {
    let data = Data::from(metrics);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .route("/metrics", get().to(show))
            .route(
                "/healthz",
                get().to(|| async { HttpResponse::Ok().finish() }),
            )
            .route("/readyz", get().to(ready))
    });
    Ok(server
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .bind(addr)?
        .run())
}

async fn show(metrics: Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(prometheus::TEXT_FORMAT)
        .body(metrics.render())
}

async fn ready(metrics: Data<Metrics>) -> HttpResponse {
    if metrics.is_ready() {
        HttpResponse::Ok().finish()
    } else {
        HttpResponse::ServiceUnavailable().finish()
    }
}
