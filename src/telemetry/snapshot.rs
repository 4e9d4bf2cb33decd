//! The values of the counters, for the operators' dashboard. Reading takes no lock that counting would wait for.
//!
//! All values but `last_entry_at_s` only grow; the dashboard makes rates from two snapshots.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::Metric;
use serde::Serialize;

use crate::telemetry::counters::{ByMode, Counters};

/// The counters at one moment.
#[derive(Debug, Serialize)]
pub struct CountersSnapshot {
    /// By kind, then by outcome.
    pub entries: BTreeMap<String, BTreeMap<String, u64>>,
    /// Unix seconds of the latest entry, by kind.
    pub last_entry_at_s: BTreeMap<String, f64>,
    commit: Buckets,
    commit_to_push: Modes,
    commit_to_displayed: Modes,
    /// Refused entries, by kind, then by code; only those that happened.
    pub entry_refusals: BTreeMap<String, BTreeMap<String, u64>>,
    errors: Errors,
    sessions_limit: i64,
    drift: u64,
}

#[derive(Debug, Serialize)]
struct Modes {
    direct: Buckets,
    paced: Buckets,
}

/// By code or kind.
#[derive(Debug, Serialize)]
struct Errors {
    webhook_rejected: BTreeMap<String, u64>,
    ws_rejected: BTreeMap<String, u64>,
    ledger: BTreeMap<String, u64>,
    sessions_closed: BTreeMap<String, u64>,
}

/// A histogram.
#[derive(Debug, Default, Serialize)]
struct Buckets {
    /// Upper bounds, in seconds; observations above the last one are in `count` alone.
    le_s: Vec<f64>,
    /// Observations up to each bound: cumulative.
    at_most: Vec<u64>,
    count: u64,
    sum_s: f64,
}

impl CountersSnapshot {
    /// Reads the counters now.
    pub fn of(counters: &Counters) -> Self {
        let mut entries: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for metric in metrics(&counters.entries) {
            let outcomes = entries.entry(label(&metric, "kind")).or_default();
            outcomes.insert(label(&metric, "outcome"), count(&metric));
        }
        let mut entry_refusals: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for metric in metrics(&counters.entry_refusals) {
            if count(&metric) > 0 {
                let codes = entry_refusals.entry(label(&metric, "kind")).or_default();
                codes.insert(label(&metric, "code"), count(&metric));
            }
        }
        let last = metrics(&counters.last_entry).into_iter();
        Self {
            entries,
            last_entry_at_s: last
                .map(|metric| (label(&metric, "kind"), metric.get_gauge().get_value()))
                .collect(),
            commit: buckets(&counters.commit_seconds),
            commit_to_push: modes(&counters.commit_to_push),
            commit_to_displayed: modes(&counters.commit_to_displayed),
            entry_refusals,
            errors: Errors {
                webhook_rejected: seen(&counters.webhook_rejected, "code"),
                ws_rejected: seen(&counters.ws_rejected, "code"),
                ledger: seen(&counters.ledger_errors, "kind"),
                sessions_closed: seen(&counters.sessions_closed, "code"),
            },
            sessions_limit: counters.sessions_limit.get(),
            drift: counters.drift.get(),
        }
    }
}

fn metrics(collector: &impl Collector) -> Vec<Metric> {
    collector
        .collect()
        .into_iter()
        .flat_map(|mut family| family.take_metric())
        .collect()
}

fn label(metric: &Metric, name: &str) -> String {
    let found = metric.get_label().iter().find(|label| label.name() == name);
    found
        .map(|label| label.value().to_owned())
        .unwrap_or_default()
}

/// A counter of whole numbers, which Prometheus keeps as a float.
fn count(metric: &Metric) -> u64 {
    metric.get_counter().get_value() as u64
}

/// Labels whose count is above zero.
fn seen(collector: &impl Collector, name: &str) -> BTreeMap<String, u64> {
    let all = metrics(collector)
        .into_iter()
        .map(|metric| (label(&metric, name), count(&metric)));
    all.filter(|(_, count)| *count > 0).collect()
}

fn modes(histograms: &ByMode<prometheus::Histogram>) -> Modes {
    Modes {
        direct: buckets(&histograms.direct),
        paced: buckets(&histograms.paced),
    }
}

fn buckets(histogram: &impl Collector) -> Buckets {
    let Some(metric) = metrics(histogram).into_iter().next() else {
        return Buckets::default();
    };
    let histogram = metric.get_histogram();
    let bounded = || {
        histogram
            .get_bucket()
            .iter()
            .filter(|bucket| bucket.upper_bound().is_finite())
    };
    Buckets {
        le_s: bounded().map(|bucket| bucket.upper_bound()).collect(),
        at_most: bounded().map(|bucket| bucket.cumulative_count()).collect(),
        count: histogram.get_sample_count(),
        sum_s: histogram.get_sample_sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_the_counted_values() {
        let counters = Counters::default();
        counters
            .entries
            .with_label_values(&["deposit", "accepted"])
            .inc_by(3);
        counters
            .entries
            .with_label_values(&["deposit", "rejected"])
            .inc();
        for (code, count) in [("idempotency_conflict", 2), ("invalid_field", 0)] {
            let labels = ["deposit", code];
            let refusals = counters.entry_refusals.with_label_values(&labels);
            refusals.inc_by(count);
        }
        counters.last_entry.with_label_values(&["deposit"]).set(5.5);
        counters
            .ws_rejected
            .with_label_values(&["overloaded"])
            .inc();
        counters.ws_rejected.with_label_values(&["never"]);
        counters.commit_seconds.observe(0.002);
        counters.commit_seconds.observe(99.0);
        counters.commit_to_push.paced.observe(0.5);
        let snapshot = CountersSnapshot::of(&counters);
        assert_eq!(
            (
                snapshot.entries["deposit"]["accepted"],
                snapshot.entries["deposit"]["rejected"]
            ),
            (3, 1)
        );
        assert_eq!(
            snapshot.entry_refusals["deposit"],
            [("idempotency_conflict".to_owned(), 2)].into()
        );
        assert_eq!(snapshot.last_entry_at_s["deposit"], 5.5);
        assert_eq!(
            snapshot.errors.ws_rejected,
            [("overloaded".to_owned(), 1)].into()
        );
        assert_eq!(
            (snapshot.commit.count, snapshot.commit.at_most.last()),
            (2, Some(&1)),
            "one is above every bound"
        );
        let within = snapshot
            .commit
            .le_s
            .iter()
            .zip(&snapshot.commit.at_most)
            .find(|(_, at_most)| **at_most == 1);
        assert_eq!(within, Some((&0.0025, &1)));
        assert_eq!(
            (
                snapshot.commit_to_push.paced.count,
                snapshot.commit_to_push.direct.count
            ),
            (1, 0)
        );
    }
}
