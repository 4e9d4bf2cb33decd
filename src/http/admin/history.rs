//! `GET /admin/v1/history`: what the live stream would have said in the last hour, and what happened in it.
//!
//! A snapshot is kept every `limits::HISTORY_STEP_S`, with or without a listener, as the bytes of its JSON. Their number and
//! their size together are bounded; the oldest go first.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::{interval, sleep};
use actix_web::{HttpResponse, web};
use futures_util::future::join;
use serde::Deserialize;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use crate::clock::Wall;
use crate::http::admin::snapshot::fresh;
use crate::http::admin::{Answer, Code, Data, HttpState, Problem, findings, lock};
use crate::http::extract::admin::Admin;
use crate::http::extract::{Query, invalid};
use crate::ledger::Ledger as _;
use crate::limits::{FINDINGS_LOOK_S, FINDINGS_STEP_S, HISTORY_S, HISTORY_STEP_S};

/// Marks what has changed since the last look.
fn notice(state: &HttpState) {
    let mut history = lock(&state.live.history);
    let is_away = state.ledger.standing().is_away();
    if is_away != history.away_since.is_some() {
        let now = state.clock.wall();
        let what = if is_away {
            "ledger_away"
        } else {
            "ledger_back"
        };
        history.mark(now, what, None);
        history.away_since = is_away.then_some(now);
    }
    let violations = state.counters.drift.get();
    if violations > history.violations {
        let audit = json!(state.audit.show());
        let latest = audit["violations"][0]["violation"].as_str();
        let detail = latest.map(str::to_owned);
        history.mark(state.clock.wall(), "violation", detail);
        history.violations = violations;
    }
}

/// Keeps the history until it is dropped.
pub async fn keep(state: Arc<HttpState>) {
    let looking = async {
        loop {
            findings::look_for_conflicts(&state).await;
            sleep(Duration::from_secs(FINDINGS_LOOK_S)).await;
        }
    };
    let keeping = async {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count: u64 = 0;
        loop {
            ticks.tick().await;
            notice(&state);
            if count.is_multiple_of(FINDINGS_STEP_S) {
                findings::keep_reading(&state);
            }
            // A registry that does not answer leaves a gap.
            if count.is_multiple_of(HISTORY_STEP_S)
                && let Ok(step) = fresh(&state).await
            {
                lock(&state.live.history).push(state.clock.mono(), step);
            }
            count = count.wrapping_add(1);
        }
    };
    join(looking, keeping).await;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct HistoryQuery {
    seconds: Option<u32>,
}

/// `GET /admin/v1/history`
pub(in crate::http) async fn history(state: Data, admin: Admin<Query<HistoryQuery>>) -> Answer {
    let seconds = admin.asked.0.seconds.unwrap_or(HISTORY_S);
    if !(1..=HISTORY_S).contains(&seconds) {
        return Err(invalid("seconds", format!("must be 1 to {HISTORY_S}")));
    }
    let us = u64::from(seconds) * 1_000_000;
    let from = state.clock.mono().minus_us(us);
    let oldest = Wall::from_us(state.clock.wall().us() - i64::from(seconds) * 1_000_000);
    let (steps, marks) = lock(&state.live.history).since(from, oldest);
    // Megabytes: not on the thread that answers others.
    let body = web::block(move || {
        let parts: Vec<&[u8]> = steps.iter().map(|step| &step[..]).collect();
        let head = format!("{{\"step_s\":{HISTORY_STEP_S},\"seconds\":{seconds},\"snapshots\":[");
        let tail = format!("],\"marks\":{}}}", json!(marks));
        [head.as_bytes(), &parts.join(&b','), tail.as_bytes()].concat()
    });
    let body = body
        .await
        .map_err(|_| Problem::new(Code::Overloaded, "the threads for big answers are gone"))?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(body))
}
