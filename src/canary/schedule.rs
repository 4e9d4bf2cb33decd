//! Runs of the canary inside the service, one after another, and where their results are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::canary::runs::CanaryRuns;
use crate::canary::{Interrupts, Options, run};
use crate::telemetry::counters::Counters;

/// Every label begins at zero, so that its first event shows as a change.
pub fn prepare(counters: &Counters) {
    for outcome in ["ok", "deviation"] {
        counters.canary_runs.with_label_values(&[outcome]);
    }
    for step in ["answer", "frame", "push"] {
        counters.canary_seconds.with_label_values(&[step]);
    }
}

/// Runs the canary once per interval, until it is interrupted. The first run begins after one interval. Where several
/// processes share a ledger, only the one that has the turn runs it.
pub async fn run_every(
    interval: Duration,
    options: Options,
    mut interrupts: Interrupts,
    runs: Arc<CanaryRuns>,
    counters: Arc<Counters>,
    has_turn: impl Fn() -> bool,
) {
    loop {
        // Interrupted, or the sender of interrupts is gone.
        if timeout(interval, interrupts.wait_for(|times| *times > 0))
            .await
            .is_ok()
        {
            return;
        }
        if !has_turn() {
            continue;
        }
        let report = run(&options, interrupts.clone(), &mut |_| {}).await;
        if *interrupts.borrow() > 0 {
            report
                .deviations
                .iter()
                .for_each(|why| log::info!("the canary, stopped with the service: {why}"));
            return;
        }
        let outcome = if report.ok { "ok" } else { "deviation" };
        counters.canary_runs.with_label_values(&[outcome]).inc();
        for (step, ms) in [
            ("answer", report.answer_ms),
            ("frame", report.frame_ms),
            ("push", report.push_ms),
        ] {
            if let Some(ms) = ms {
                counters
                    .canary_seconds
                    .with_label_values(&[step])
                    .set(ms / 1000.0);
            }
        }
        report
            .deviations
            .iter()
            .for_each(|deviation| log::error!("canary: {deviation}"));
        runs.note(serde_json::to_value(&report).unwrap_or_default());
    }
}
