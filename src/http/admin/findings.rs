//! `GET /admin/v1/findings`: what is wrong, by the service's own counters, audit, canary, conflicts and cluster. The rules are
//! those of the diagnosis.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use crate::clock;
use crate::coordinator::messages::ListActors;
use crate::diagnosis::{CROWD, Samples, Seen, findings as by_the_rules};
use crate::http::admin::actors::totals;
use crate::http::admin::{Answer, Data, HttpState, NoQuery, Problem, ask, lock};
use crate::http::extract::Query;
use crate::http::extract::admin::Admin;
use crate::ledger::Ledger as _;
use crate::limits::{FINDINGS_CONFLICTS_MAX, FINDINGS_RUNS_MAX, FINDINGS_WINDOW_S};
use crate::platform;

/// Parts of a snapshot, as their endpoints answer them.
pub(super) struct Parts {
    pub registry: Value,
    pub audit: Value,
    pub canary: Value,
    pub ledger: Value,
    pub cluster: Value,
}

/// `GET /admin/v1/findings`
pub(in crate::http) async fn findings(state: Data, _: Admin<Query<NoQuery>>) -> Answer {
    look_for_conflicts(&state).await;
    let busiest = busiest(&state).await;
    let parts = Parts {
        registry: totals(&state).await?,
        audit: json!(state.audit.show()),
        canary: json!({ "runs": state.canary.newest(FINDINGS_RUNS_MAX) }),
        ledger: ledger(&state),
        cluster: json!(state.cluster.show()),
    };
    let found = made(&state, &parts, busiest);
    Ok(HttpResponse::Ok().json(json!({ "at": state.clock.wall(), "findings": found })))
}

/// The findings now, the worst first.
pub(super) fn made(state: &HttpState, parts: &Parts, busiest: Value) -> Vec<Value> {
    let conflicts = lock(&state.live.conflicts).clone();
    let has_looked_for_crowds = !busiest.is_null();
    let metrics = read(state);
    let lately = lock(&state.live.readings).until(state.clock.mono(), &metrics);
    let seen = Seen {
        registry: parts.registry.clone(),
        audit: parts.audit.clone(),
        canary: parts.canary.clone(),
        ledger: parts.ledger.clone(),
        cluster: parts.cluster.clone(),
        conflicts,
        busiest,
        metrics,
        lately,
        has_bus: state.settings.cluster.is_on(),
        queue_limit: state.settings.limits.queue_entries as u64,
        ..Seen::default()
    };
    let now = state.clock.wall();
    let mut found = by_the_rules(&seen, now);
    let mut since = lock(&state.live.since);
    since.retain(|code, _| {
        let is_unknown = code == CROWD && !has_looked_for_crowds;
        is_unknown || found.iter().any(|finding| finding.code == *code)
    });
    for finding in &mut found {
        let first = *since.entry(finding.code.clone()).or_insert(now);
        finding.since.get_or_insert_with(|| first.to_string());
    }
    found.iter().map(|finding| finding.shown()).collect()
}

/// The values of the metrics now.
fn read(state: &HttpState) -> Samples {
    let mut samples = Samples::of(&state.counters.for_findings());
    samples.set("process_max_fds", platform::open_files_max());
    samples
}

/// Keeps what the counters say now, for the findings of the next minutes.
pub(super) fn keep_reading(state: &HttpState) {
    let samples = read(state);
    lock(&state.live.readings).keep(state.clock.mono(), &samples);
}

/// Reads the latest conflicts, which is too dear for each snapshot. Without an answer they stay as they were.
pub(super) async fn look_for_conflicts(state: &HttpState) {
    if let Ok(recent) = recent_conflicts(state).await {
        *lock(&state.live.conflicts) = recent;
    }
}

/// The user with the most sessions, as in `GET /admin/v1/actors`. All actors are looked at, so it is read only for one who asks.
async fn busiest(state: &HttpState) -> Value {
    let Ok(actors) = ask(state, ListActors).await else {
        return Value::Null;
    };
    let busiest = actors.into_iter().max_by_key(|actor| actor.sessions);
    json!({ "actors": busiest.into_iter().collect::<Vec<_>>() })
}

async fn recent_conflicts(state: &HttpState) -> Result<Value, Problem> {
    let latest = state
        .ledger
        .latest_conflicts(FINDINGS_CONFLICTS_MAX)
        .await?;
    let window_us = i64::try_from(FINDINGS_WINDOW_S * 1_000_000).unwrap_or(i64::MAX);
    let oldest_us = state.clock.wall().us() - window_us;
    let is_recent = |conflict: &Value| {
        let seen_at = conflict["seen_at"].as_str().and_then(clock::parse_rfc3339);
        seen_at.is_none_or(|at_us| at_us >= oldest_us)
    };
    let recent: Vec<Value> = latest
        .iter()
        .map(|conflict| json!(conflict))
        .filter(is_recent)
        .map(|conflict| {
            json!({ "first": { "user_id": conflict["first"]["user_id"] }, "count": conflict["count"] })
        })
        .collect();
    Ok(json!({ "conflicts": recent }))
}

/// Whether the ledger is away, and since when; a new outage has its time within a second.
pub(super) fn ledger(state: &HttpState) -> Value {
    let is_away = state.ledger.standing().is_away();
    let since = lock(&state.live.history).away_since.filter(|_| is_away);
    json!({ "is_away": is_away, "since": since })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clock::{Mono, Wall};
    use crate::diagnosis::Readings;
    use crate::telemetry::counters::Counters;

    /// Everything that a finding can come from.
    fn troubled() -> Counters {
        let counters = Counters::default();
        counters.actors_rebuilt.inc();
        counters.actors_stale.up();
        counters.cache_evictions.inc();
        counters.cache_misses.inc_by(1000);
        counters.cluster.clock_skew_seconds.set(1.0);
        counters.cluster.verified_age_seconds.set(61.0);
        counters.commit_seconds.observe(9.0);
        counters.commit_to_displayed.direct.observe(9.0);
        counters.commit_to_push.direct.observe(9.0);
        for code in ["idempotency_conflict", "unknown_currency"] {
            let labels = ["reward", code];
            let refusals = counters.entry_refusals.with_label_values(&labels);
            refusals.inc_by(11);
        }
        let failed = ["internal", "/internal/v1/deposits", "503"];
        counters.http_requests.with_label_values(&failed).inc();
        counters.last_entry.with_label_values(&["deposit"]).set(0.0);
        let accepted = ["deposit", "accepted"];
        counters.entries.with_label_values(&accepted).inc_by(10);
        counters.ledger_errors.with_label_values(&["unfit"]).inc();
        counters.sessions_limit.set(1);
        counters.sessions.up();
        let unsigned = ["missing_signature"];
        counters.webhook_rejected.with_label_values(&unsigned).inc();
        counters
    }

    #[test]
    fn the_counters_give_the_findings_all_that_their_rules_ask_for() {
        let mut metrics = Samples::of(&troubled().for_findings());
        metrics.set("process_max_fds", 1000.0);
        let lately = Readings::default().until(Mono::from_us(0), &metrics);
        let seen = Seen {
            metrics,
            lately,
            ..Seen::default()
        };
        let found = by_the_rules(&seen, Wall::from_us(1_800_000_000_000_000));
        let found: BTreeSet<&str> = found.iter().map(|finding| &*finding.code).collect();
        let expected = [
            "actors_rebuilt",
            "actors_stale",
            "cache_evictions",
            "cache_misses",
            "cluster_skew",
            "cluster_stale",
            "commits_slow",
            "conflicts",
            "displays_late",
            "entries_refused",
            "files_too_few",
            "ledger_errors",
            "pushes_late",
            "requests_fail",
            "sessions_near_limit",
            "source_silent",
            "webhooks_unsigned",
        ];
        // Lines of the log are counted for the whole process, by other tests, too.
        let found: Vec<&str> = found
            .into_iter()
            .filter(|code| *code != "log_dropped")
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_read_of_the_counters_is_what_their_text_says() {
        let counters = troubled();
        let (read, text) = (
            Samples::of(&counters.for_findings()),
            Samples::parse(&counters.render()),
        );
        let missing = read.missing_in(&text);
        assert_eq!(missing, [""; 0], "of those that findings read");
    }
}
