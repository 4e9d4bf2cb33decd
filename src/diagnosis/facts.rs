//! What the running service answered, by the operator's question.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::clock::Wall;

use super::samples::Samples;
use super::service::Seen;

pub(super) fn facts(seen: &Seen, now: Wall) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut fact = |name: &str, value: Value| drop(facts.insert(name.to_owned(), value));
    fact(
        "service",
        json!({ "health": seen.health, "readiness": seen.readiness }),
    );
    fact("state", seen.registry.clone());
    if !seen.metrics.is_empty() {
        measured(seen, &mut fact);
        let ages = last_entries(seen, now);
        fact("seconds since the latest entry, by kind", json!(ages));
    }
    let of_registry = |key: &str| &seen.registry[key];
    fact(
        "cache",
        json!({
            "hits": of_registry("cache_hits"),
            "misses": of_registry("cache_misses"),
            "hit_ratio": of_registry("cache_hit_ratio"),
        }),
    );
    fact("audit", seen.audit.clone());
    let conflicts = conflicts_by_user(seen);
    fact("users with the most conflicts", json!(conflicts));
    let busiest = seen.busiest["actors"].clone();
    fact("users with the most sessions", busiest);
    facts
}

/// The facts that come from the metrics.
fn measured(seen: &Seen, fact: &mut impl FnMut(&str, Value)) {
    let metrics = &seen.metrics;
    let uptime_s = seen.registry["uptime_s"].as_f64().filter(|s| *s > 0.0);
    let per_minute = |count: f64| uptime_s.map(|s| (count * 60.0 / s * 100.0).round() / 100.0);
    let pushes = metrics.by("balance_pushes_total", "mode");
    let mut refused = metrics.by("balance_entry_refusals_total", "code");
    refused.retain(|_, count| *count > 0.0);
    let rates: BTreeMap<_, _> = pushes
        .iter()
        .map(|(mode, count)| (mode, per_minute(*count)))
        .collect();
    fact(
        "update frequency",
        json!({
            "entries": metrics.by("balance_entries_total", "kind"),
            "refused_by_code": refused,
            "pushes": pushes,
            "pushes_per_minute": rates,
        }),
    );
    let opened = metrics.sum("balance_sessions_opened_total", &[]);
    fact(
        "websockets",
        json!({
            "open": metrics.sum("balance_sessions", &[]),
            "opened": opened,
            "opened_per_minute": per_minute(opened),
            "closed_by_code": metrics.by("balance_sessions_closed_total", "code"),
            "refused_by_code": metrics.by("balance_ws_rejected_total", "code"),
        }),
    );
    fact("commit", spread(metrics, "balance_commit_seconds", &[]));
    for mode in ["direct", "paced"] {
        for (name, metric) in [
            ("commit to push", "balance_commit_to_push_seconds"),
            ("commit to displayed", "balance_commit_to_displayed_seconds"),
        ] {
            let times = spread(metrics, metric, &[("mode", mode)]);
            fact(&format!("{name}, {mode}"), times);
        }
    }
}

/// Quantiles of a histogram in milliseconds, to the microsecond.
fn spread(metrics: &Samples, name: &str, labels: &[(&str, &str)]) -> Value {
    let ms = |quantile: f64| {
        metrics
            .quantile(quantile, name, labels)
            .map(|s| (s * 1_000_000.0).round() / 1000.0)
    };
    json!({ "p50_ms": ms(0.5), "p95_ms": ms(0.95), "p99_ms": ms(0.99) })
}

/// Seconds since the latest entry of each kind that was seen.
pub(super) fn last_entries(seen: &Seen, now: Wall) -> BTreeMap<String, f64> {
    let mut by = seen
        .metrics
        .by("balance_last_entry_timestamp_seconds", "kind");
    by.values_mut()
        .for_each(|at_s| *at_s = (now.us() as f64 / 1_000_000.0 - *at_s).max(0.0).round());
    by
}

/// The users with the most conflicts; at most ten.
pub(super) fn conflicts_by_user(seen: &Seen) -> Vec<(i64, u64)> {
    let mut by: BTreeMap<i64, u64> = BTreeMap::new();
    for conflict in seen.conflicts["conflicts"].as_array().into_iter().flatten() {
        if let Some(user_id) = conflict["first"]["user_id"].as_i64() {
            // An older service had a row for each.
            *by.entry(user_id).or_default() += conflict["count"].as_u64().unwrap_or(1);
        }
    }
    let mut users: Vec<(i64, u64)> = by.into_iter().collect();
    users.sort_by_key(|(user_id, count)| (std::cmp::Reverse(*count), *user_id));
    users.truncate(10);
    users
}
