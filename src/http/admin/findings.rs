//! `GET /admin/v1/findings`: what is wrong, by the service's own counters, audit, canary, conflicts and cluster. The rules are
//! those of the diagnosis.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use crate::clock;
use crate::coordinator::messages::ListActors;
use crate::diagnosis::{Samples, Seen, findings as by_the_rules};
use crate::http::admin::actors::totals;
use crate::http::admin::{Answer, Data, HttpState, NoQuery, Problem, ask, lock};
use crate::http::extract::Query;
use crate::http::extract::admin::Admin;
use crate::ledger::Ledger as _;
use crate::limits::{FINDINGS_CONFLICTS_MAX, FINDINGS_CONFLICTS_S};

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
        canary: json!({ "runs": state.canary.show() }),
        ledger: ledger(&state),
        cluster: json!(state.cluster.show()),
    };
    let found = made(&state, &parts, busiest);
    Ok(HttpResponse::Ok().json(json!({ "at": state.clock.wall(), "findings": found })))
}

/// The findings now, the worst first.
pub(super) fn made(state: &HttpState, parts: &Parts, busiest: Value) -> Vec<Value> {
    let conflicts = lock(&state.live.conflicts).clone();
    let seen = Seen {
        registry: parts.registry.clone(),
        audit: parts.audit.clone(),
        canary: parts.canary.clone(),
        ledger: parts.ledger.clone(),
        cluster: parts.cluster.clone(),
        conflicts,
        busiest,
        metrics: Samples::parse(&state.metrics_text()),
        has_bus: state.settings.cluster.is_on(),
        queue_limit: state.settings.limits.queue_entries as u64,
        ..Seen::default()
    };
    let now = state.clock.wall();
    let mut found = by_the_rules(&seen, now);
    let mut since = lock(&state.live.since);
    since.retain(|code, _| found.iter().any(|finding| finding.code == *code));
    for finding in &mut found {
        let first = *since.entry(finding.code.clone()).or_insert(now);
        finding.since.get_or_insert_with(|| first.to_string());
    }
    found.iter().map(|finding| finding.shown()).collect()
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
    let oldest_us = state.clock.wall().us() - FINDINGS_CONFLICTS_S * 1_000_000;
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
