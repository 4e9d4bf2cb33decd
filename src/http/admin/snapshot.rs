//! What the dashboard shows at one moment: for its stream, and for the history.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::http::admin::actors::totals;
use crate::http::admin::findings::{self, Parts, ledger};
use crate::http::admin::{HttpState, Problem, lock};
use crate::limits::{FINDINGS_RUNS_MAX, LIVE_FRESH_MS, LIVE_VIOLATIONS_MAX};
use crate::telemetry::snapshot::CountersSnapshot;

/// The current snapshot as JSON without line feeds; at most `limits::LIVE_FRESH_MS` old.
pub(super) async fn snapshot(state: &HttpState) -> Result<Bytes, Problem> {
    let now = state.clock.mono();
    let latest = lock(&state.live.latest).clone();
    if let Some((at, made)) = latest
        && now.us_since(at) < LIVE_FRESH_MS * 1000
    {
        return Ok(made);
    }
    let made = fresh(state).await?;
    *lock(&state.live.latest) = Some((now, made.clone()));
    Ok(made)
}

/// A snapshot of this moment. The history's are not given to listeners, so the first event of a stream stays fresh.
pub(super) async fn fresh(state: &HttpState) -> Result<Bytes, Problem> {
    let registry = totals(state).await?;
    let mut audit = state.audit.show();
    audit.keep_violations(LIVE_VIOLATIONS_MAX);
    let runs = state.canary.newest(FINDINGS_RUNS_MAX);
    let latest = runs.first().cloned();
    let parts = Parts {
        registry,
        audit: json!(audit),
        canary: json!({ "runs": runs }),
        ledger: ledger(state),
        cluster: json!(state.cluster.show()),
    };
    let found = findings::made(state, &parts, Value::Null);
    Ok(json!({
        "at": state.clock.wall(),
        "registry": parts.registry,
        "counters": CountersSnapshot::of(&state.counters),
        "audit": parts.audit,
        "canary": { "every_s": state.settings.canary.every_s, "latest": latest },
        "ledger": parts.ledger,
        "cluster": parts.cluster,
        "findings": found,
    })
    .to_string()
    .into())
}
