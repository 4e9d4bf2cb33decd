//! `GET /admin/v1/history`: what the live stream would have said in the last hour, and what happened in it.
//!
//! A snapshot is kept every `limits::HISTORY_STEP_S`, with or without a listener, as the bytes of its JSON. Their number and
//! their size together are bounded; the oldest go first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::{interval, sleep};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::future::join;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use crate::clock::{Mono, Wall};
use crate::http::admin::snapshot::fresh;
use crate::http::admin::{Answer, Code, Data, HttpState, Problem, findings, lock};
use crate::http::extract::admin::Admin;
use crate::http::extract::{Query, invalid};
use crate::ledger::Ledger as _;
use crate::limits::{
    FINDINGS_LOOK_S, HISTORY_BYTES_MAX, HISTORY_MARKS_MAX, HISTORY_S, HISTORY_STEP_S,
};

/// The last hour.
#[derive(Debug)]
pub(in crate::http) struct History {
    steps: VecDeque<(Mono, Bytes)>,
    bytes: usize,
    marks: VecDeque<Mark>,
    /// What the latest look saw.
    away_since: Option<Wall>,
    violations: u64,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
struct Mark {
    at: Wall,
    what: &'static str,
    detail: Option<String>,
}

impl History {
    /// Of a service that starts now.
    pub fn new(now: Wall) -> Self {
        let started = Mark {
            at: now,
            what: "started",
            detail: None,
        };
        Self {
            steps: VecDeque::new(),
            bytes: 0,
            marks: [started].into(),
            away_since: None,
            violations: 0,
        }
    }

    fn push(&mut self, at: Mono, step: Bytes) {
        self.bytes += step.len();
        self.steps.push_back((at, step));
        while self.steps.len() as u64 > u64::from(HISTORY_S) / HISTORY_STEP_S
            || self.bytes > HISTORY_BYTES_MAX
        {
            let Some((_, oldest)) = self.steps.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
        }
    }

    fn mark(&mut self, at: Wall, what: &'static str, detail: Option<String>) {
        self.marks.push_back(Mark { at, what, detail });
        while self.marks.len() > HISTORY_MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// Marks what has changed since the last look.
    fn notice(&mut self, state: &HttpState) {
        let away_since = state.ledger.standing().away_since();
        if away_since != self.away_since {
            if self.away_since.is_some() {
                self.mark(state.clock.wall(), "ledger_back", None);
            }
            if let Some(since) = away_since {
                self.mark(since, "ledger_away", None);
            }
            self.away_since = away_since;
        }
        let violations = state.counters.drift.get();
        if violations > self.violations {
            let audit = json!(state.audit.show());
            let latest = audit["violations"][0]["violation"].as_str();
            let detail = latest.map(str::to_owned);
            self.mark(state.clock.wall(), "violation", detail);
            self.violations = violations;
        }
    }
}

/// Keeps the history until it is dropped.
pub async fn keep(state: Arc<HttpState>) {
    let looking = async {
        loop {
            findings::look(&state).await;
            sleep(Duration::from_secs(FINDINGS_LOOK_S)).await;
        }
    };
    let keeping = async {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count: u64 = 0;
        loop {
            ticks.tick().await;
            lock(&state.live.history).notice(&state);
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
    let reach_us = u64::from(seconds) * 1_000_000;
    let now = state.clock.mono();
    let oldest = state.clock.wall().us() - i64::from(seconds) * 1_000_000;
    let (steps, marks) = {
        let history = lock(&state.live.history);
        let kept = history.steps.iter();
        let steps: Vec<Bytes> = kept
            .filter(|(at, _)| now.us_since(*at) <= reach_us)
            .map(|(_, step)| step.clone())
            .collect();
        let marks = history.marks.iter();
        let marks: Vec<Mark> = marks
            .filter(|mark| mark.at.us() >= oldest)
            .cloned()
            .collect();
        (steps, marks)
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_marks_and_bytes_are_bounded() {
        let now = Wall::from_us(0);
        let mut history = History::new(now);
        for at in 0..1000 {
            history.push(Mono::from_us(at), Bytes::from_static(b"{}"));
            history.mark(now, "violation", None);
        }
        assert_eq!(history.steps.len(), 720);
        assert_eq!(
            (history.bytes, history.marks.len()),
            (1440, HISTORY_MARKS_MAX)
        );
        for at in 0..3 {
            history.push(Mono::from_us(at), vec![b' '; HISTORY_BYTES_MAX / 2].into());
        }
        assert_eq!((history.steps.len(), history.bytes), (2, HISTORY_BYTES_MAX));
    }
}
