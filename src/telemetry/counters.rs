//! Everything that is counted and measured, in one place: read by `/metrics` and by the inspection endpoints.
//!
//! Code that counts often keeps the handles of its labels from the start, so that an event costs a few atomic
//! additions; labels are looked up only for rare events. All names, labels and buckets are in this file, and in
//! `cluster.rs` those of the cluster. The values of a label are chosen by the code that counts, and must be few.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

use crate::telemetry::cluster::ClusterCounters;
use crate::telemetry::log;
use crate::telemetry::maker::{Maker, SECONDS};
use crate::telemetry::process::ProcessCollector;

/// Seconds until a person sees a change.
const SEEN_SECONDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Entries of a transaction.
const ENTRIES: [f64; 12] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0,
];

/// The content type of [`Counters::render`].
pub const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

/// A level with a limit; cheap from any thread.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// One more.
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The level now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes one more unless there are `max` already.
    pub fn try_take(&self, max: u64) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < max).then_some(now + 1)
            })
            .is_ok()
    }
}

/// The same for both modes of pushes.
#[derive(Debug)]
pub struct ByMode<T> {
    /// Of direct pushes.
    pub direct: T,
    /// Of paced pushes.
    pub paced: T,
}

impl<T> ByMode<T> {
    /// The one of a mode.
    pub const fn of(&self, is_direct: bool) -> &T {
        if is_direct { &self.direct } else { &self.paced }
    }
}

/// The same for both queues of the ledger.
#[derive(Debug)]
pub struct ByLane<T> {
    /// Of single webhooks.
    pub single: T,
    /// Of batches.
    pub bulk: T,
}

/// Everything counted in one process.
#[derive(Debug)]
pub struct Counters {
    registry: Registry,
    /// Decided entries, by `kind` and `outcome`.
    pub entries: IntCounterVec,
    /// Refused entries, by `kind` and `code`.
    pub entry_refusals: IntCounterVec,
    /// When the latest entry was committed, by `kind`: Unix time.
    pub last_entry: GaugeVec,
    /// From the beginning of a transaction to its commit.
    pub commit_seconds: Histogram,
    /// Entries written by a transaction.
    pub commit_entries: Histogram,
    /// Failed attempts to write or read, by `kind`.
    pub ledger_errors: IntCounterVec,
    /// `balance_ledger_went_back_total`
    pub ledger_went_back: IntCounter,
    /// How long a writer's step is under way, by `step`; set when metrics are rendered.
    pub ledger_step_seconds: GaugeVec,
    /// The length of SQLite's write-ahead log; without a label, and without a value on PostgreSQL.
    pub sqlite_wal_bytes: IntGaugeVec,
    /// Entries that wait for the ledger or are being written; set when metrics are rendered.
    pub queue: ByLane<IntGauge>,
    /// Pushes, per user.
    pub pushes: ByMode<IntCounter>,
    /// From a commit to the push that brings it.
    pub commit_to_push: ByMode<Histogram>,
    /// From a commit until the page reports that it shows it.
    pub commit_to_displayed: ByMode<Histogram>,
    /// Open WebSockets.
    pub sessions: Level,
    sessions_shown: IntGauge,
    /// WebSockets that may be open.
    pub sessions_limit: IntGauge,
    /// WebSockets that were opened.
    pub sessions_opened: IntCounter,
    /// WebSockets that have ended, by `code`.
    pub sessions_closed: IntCounterVec,
    /// Upgrades and sign-ins that were refused, by `code`.
    pub ws_rejected: IntCounterVec,
    /// Webhooks that were refused, by `code`.
    pub webhook_rejected: IntCounterVec,
    /// Actors in memory with a session.
    pub actors_with_sessions: IntGauge,
    /// Actors in memory without one.
    pub actors_idle: IntGauge,
    /// Actors that owe a session a fresh balance: it was sent a stale one, or a change is known to be missing.
    pub actors_stale: Level,
    actors_stale_shown: IntGauge,
    /// Actors that died and were started again.
    pub actors_rebuilt: IntCounter,
    /// Balances answered from an actor's memory.
    pub cache_hits: IntCounter,
    /// Balances that had to be read from the ledger.
    pub cache_misses: IntCounter,
    /// Actors retired because too many were resident.
    pub cache_evictions: IntCounter,
    cache_entries: IntGauge,
    /// Violations that the continuous audit has found.
    pub drift: IntCounter,
    /// Users that it has checked.
    pub audited_users: IntCounter,
    /// Runs of the canary, by `outcome`.
    pub canary_runs: IntCounterVec,
    /// How long the latest run took, by `step`.
    pub canary_seconds: GaugeVec,
    /// Of other nodes.
    pub cluster: ClusterCounters,
    /// Answered requests, by `listener`, `route` and `status`.
    pub http_requests: IntCounterVec,
    /// How long they took, by `listener` and `route`.
    pub http_seconds: HistogramVec,
}

impl Default for Counters {
    /// One metric per line, as in a table.
    #[rustfmt::skip]
    fn default() -> Self {
        let make = Maker(Registry::new());
        make.registered(ProcessCollector::new());
        make.registered(log::LINES_DROPPED.clone());
        let pushes = make.counters("balance_pushes_total", "Pushes, per user and not per session.", &["mode"]);
        let to_push = "From the commit of the first change to the push that brings it.";
        let to_push = make.histograms("balance_commit_to_push_seconds", to_push, &["mode"], &SECONDS);
        let to_displayed = "From the commit of the newest change of a push until a page reports that it shows it.";
        let to_displayed = make.histograms("balance_commit_to_displayed_seconds", to_displayed, &["mode"], &SEEN_SECONDS);
        let actors = make.gauges("balance_actors", "Balance actors in memory.", &["state"]);
        let queue = "Entries that wait for the ledger or are being written.";
        let queue = make.gauges("balance_ledger_queue_entries", queue, &["lane"]);
        Self {
            entries: make.counters("balance_entries_total", "Entries, by their outcome.", &["kind", "outcome"]),
            entry_refusals: make.counters("balance_entry_refusals_total", "Entries that were refused, of single webhooks and of batches.", &["kind", "code"]),
            last_entry: make.float_gauges("balance_last_entry_timestamp_seconds", "When the latest entry was committed.", &["kind"]),
            commit_seconds: make.histogram("balance_commit_seconds", "From the beginning of a transaction to its commit.", &SECONDS),
            commit_entries: make.histogram("balance_commit_batch_entries", "Entries of a transaction.", &ENTRIES),
            ledger_went_back: make.counter("balance_ledger_went_back_total", "Epochs that began while the service ran: the ledger has gone back, or was given a new epoch."),
            ledger_errors: make.counters("balance_ledger_errors_total", "Failed attempts to write to the ledger or to read from it.", &["kind"]),
            ledger_step_seconds: make.float_gauges("balance_ledger_step_seconds", "How long the step that a writer waits for has been under way.", &["step"]),
            sqlite_wal_bytes: make.gauges("balance_sqlite_wal_bytes", "The length of SQLite's write-ahead log.", &[]),
            queue: ByLane { single: queue.with_label_values(&["single"]), bulk: queue.with_label_values(&["bulk"]) },
            pushes: by_mode(|mode| pushes.with_label_values(&[mode])),
            commit_to_push: by_mode(|mode| to_push.with_label_values(&[mode])),
            commit_to_displayed: by_mode(|mode| to_displayed.with_label_values(&[mode])),
            sessions: Level::default(),
            sessions_shown: make.gauge("balance_sessions", "Open WebSockets."),
            sessions_limit: make.gauge("balance_sessions_limit", "WebSockets that may be open."),
            sessions_opened: make.counter("balance_sessions_opened_total", "WebSockets that were opened."),
            sessions_closed: make.counters("balance_sessions_closed_total", "WebSockets that have ended, by close code.", &["code"]),
            ws_rejected: make.counters("balance_ws_rejected_total", "Upgrades and sign-ins that were refused.", &["code"]),
            webhook_rejected: make.counters("balance_webhook_rejected_total", "Webhooks that were refused as a whole.", &["code"]),
            actors_with_sessions: actors.with_label_values(&["with_sessions"]),
            actors_idle: actors.with_label_values(&["idle"]),
            actors_stale: Level::default(),
            actors_stale_shown: make.gauge("balance_actors_stale", "Actors that owe a session a fresh balance: it was sent a stale one, or a change is known to be missing."),
            actors_rebuilt: make.counter("balance_actors_rebuilt_total", "Actors that died and were started again."),
            cache_hits: make.counter("balance_cache_hits_total", "Balances answered from memory."),
            cache_misses: make.counter("balance_cache_misses_total", "Balances that had to be read from the ledger."),
            cache_evictions: make.counter("balance_cache_evictions_total", "Actors evicted because too many were in memory."),
            cache_entries: make.gauge("balance_cache_entries", "Balances kept in memory, one for each actor."),
            drift: make.counter("balance_drift_total", "Violations that the continuous audit has found."),
            audited_users: make.counter("balance_audit_users_total", "Users that the continuous audit has checked."),
            canary_runs: make.counters("balance_canary_runs_total", "Runs of the canary.", &["outcome"]),
            canary_seconds: make.float_gauges("balance_canary_seconds", "Times of the canary's latest run.", &["step"]),
            cluster: ClusterCounters::new(&make),
            http_requests: make.counters("http_requests_total", "Answered requests.", &["listener", "route", "status"]),
            http_seconds: make.histograms("http_request_seconds", "From the head of a request to that of its answer.", &["listener", "route"], &SECONDS),
            registry: make.0,
        }
    }
}

impl Counters {
    /// Shows the levels of this moment.
    fn show_levels(&self) {
        let shown = |level: u64| i64::try_from(level).unwrap_or(i64::MAX);
        self.sessions_shown.set(shown(self.sessions.get()));
        self.actors_stale_shown.set(shown(self.actors_stale.get()));
        self.cache_entries
            .set(self.actors_with_sessions.get() + self.actors_idle.get());
    }

    /// What findings are made from. Neither the system is asked about the process, nor are the times of each route collected:
    /// with 30 routes, 4,000 allocations instead of the 11,000 for rendering and parsing all metrics as text.
    pub fn for_findings(&self) -> Vec<MetricFamily> {
        self.show_levels();
        let all: [&dyn Collector; 19] = [
            &self.actors_rebuilt,
            &self.actors_stale_shown,
            &self.cache_evictions,
            &self.cache_hits,
            &self.cache_misses,
            &self.cluster.clock_skew_seconds,
            &self.cluster.verified_age_seconds,
            &self.commit_seconds,
            &self.commit_to_displayed.direct,
            &self.commit_to_push.direct,
            &self.entries,
            &self.entry_refusals,
            &self.http_requests,
            &self.last_entry,
            &self.ledger_errors,
            &*log::LINES_DROPPED,
            &self.sessions_limit,
            &self.sessions_shown,
            &self.webhook_rejected,
        ];
        all.iter().flat_map(|one| one.collect()).collect()
    }

    /// All of it in Prometheus' text format.
    pub fn render(&self) -> String {
        self.show_levels();
        let mut text = String::new();
        // Only an output that fails, or a metric without a value, is an error.
        let encoded = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        encoded.expect("a string takes everything, and what is gathered has values");
        text
    }
}

fn by_mode<T>(of: impl Fn(&str) -> T) -> ByMode<T> {
    ByMode {
        direct: of("direct"),
        paced: of("paced"),
    }
}

/// Microseconds as the seconds that histograms are in.
pub fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform;

    #[test]
    fn levels_are_rendered_and_metrics_without_labels_start_at_zero() {
        let counters = Counters::default();
        assert!(
            counters.sessions.try_take(2)
                && counters.sessions.try_take(2)
                && !counters.sessions.try_take(2)
        );
        counters.actors_stale.up();
        counters.actors_idle.set(3);
        let text = counters.render();
        for line in [
            "# TYPE balance_commit_seconds histogram",
            "balance_sessions 2",
            "balance_actors_stale 1",
            "balance_actors{state=\"idle\"} 3",
            "balance_cache_entries 3",
            "balance_pushes_total{mode=\"paced\"} 0",
            "log_lines_dropped_total 0",
            "balance_cluster_covered 1",
            "balance_cluster_nodes 1",
            "balance_cluster_connected 0",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} in:\n{text}"
            );
        }
        assert!(
            !text.contains("balance_last_entry_timestamp_seconds"),
            "only kinds that were seen have a time"
        );
    }

    #[test]
    fn the_metrics_of_the_process_are_rendered() {
        let value = |text: &str, name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let line = line.unwrap_or_else(|| panic!("{name} in:\n{text}"));
            line.rsplit(' ')
                .next()
                .and_then(|value| value.parse::<f64>().ok())
                .expect("a number")
        };
        let counters = Counters::default();
        if platform::IS_PORTABLE {
            let text = counters.render();
            assert!(value(&text, "process_open_fds") >= 3.0);
            assert!(value(&text, "process_max_fds") >= value(&text, "process_open_fds"));
            assert!(
                !text.contains("process_threads"),
                "an unknown value is left out"
            );
            return;
        }
        // Rendering uses processor time, which the system reports in hundredths of a second.
        let used =
            (0..100_000).any(|_| value(&counters.render(), "process_cpu_seconds_total") > 0.0);
        assert!(used, "no time was used");
        let text = counters.render();
        let value = |name| value(&text, name);
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(
            value("process_open_fds") >= 3.0
                && value("process_max_fds") >= value("process_open_fds")
        );
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_start_time_seconds") > 1_600_000_000.0);
    }
}
