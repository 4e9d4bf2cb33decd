//! `GET /admin/v1/findings`: what is wrong, by the service's own counters, audit, canary, conflicts and cluster. The rules are
//! those of the diagnosis.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use crate::clock;
use crate::coordinator::messages::ListActors;
use crate::diagnosis::{Samples, Seen, findings as by_the_rules};
use crate::http::admin::actors::totals;
use crate::http::admin::board::Slow;
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
    look(&state).await;
    let parts = Parts {
        registry: totals(&state).await?,
        audit: json!(state.audit.show()),
        canary: json!({ "runs": state.canary.show() }),
        ledger: ledger(&state),
        cluster: json!(state.cluster.show()),
    };
    let found = made(&state, &parts);
    Ok(HttpResponse::Ok().json(json!({ "at": state.clock.wall(), "findings": found })))
}

/// The findings now, the worst first.
pub(super) fn made(state: &HttpState, parts: &Parts) -> Vec<Value> {
    let Slow { conflicts, busiest } = lock(&state.live.slow).clone();
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

/// Reads what is too dear for each snapshot. A part that does not answer stays as it was.
pub(super) async fn look(state: &HttpState) {
    if let Ok(recent) = recent_conflicts(state).await {
        lock(&state.live.slow).conflicts = recent;
    }
    if let Ok(mut actors) = ask(state, ListActors).await {
        actors.sort_unstable_by_key(|actor| std::cmp::Reverse(actor.sessions));
        actors.truncate(1);
        lock(&state.live.slow).busiest = json!({ "actors": actors });
    }
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

/// Whether the ledger is away, and since when.
pub(super) fn ledger(state: &HttpState) -> Value {
    let since = state.ledger.standing().away_since();
    json!({ "is_away": since.is_some(), "since": since })
}
