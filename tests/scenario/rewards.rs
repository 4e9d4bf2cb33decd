//! (a) 5,000 farming rewards for 1,000 users through `/internal/v1/batch`, twice.

use std::time::Instant;

use serde_json::{Value, json};

use crate::Report;
use crate::support::TestApp;

/// Users of the whole run.
pub const USERS: u64 = 1000;
/// Rewards of each user in one tick.
pub const REWARDS_PER_USER: u64 = 5;
/// The amount of each.
pub const REWARD: &str = "0.0125";
/// Entries of one request.
const BATCH: usize = 1000;

/// All rewards of a tick, in the order of a farming job that goes through its users.
pub fn tick(name: &str) -> Vec<Value> {
    let one = |round: u64, user_id: u64| {
        json!({"kind": "reward", "event_id": format!("farm:{user_id}:{name}:{round}"), "user_id": user_id,
            "currency": "UNI", "amount": REWARD, "source": "farming", "metadata": {"rate": "0.01"}})
    };
    (0..REWARDS_PER_USER)
        .flat_map(|round| (1..=USERS).map(move |user_id| one(round, user_id)))
        .collect()
}

/// Both times, with what was answered.
pub async fn two_ticks(app: &TestApp, report: &mut Report) {
    let entries = tick("2025-08-04T10:05Z");
    assert_eq!(entries.len(), 5000);
    for (what, counted) in [
        ("rewards, first time", "accepted"),
        ("rewards, second time", "duplicates"),
    ] {
        let start = Instant::now();
        let mut total = 0;
        for batch in entries.chunks(BATCH) {
            let answer = app.batch(json!(batch)).await.ok();
            assert_eq!(answer[counted], batch.len(), "{what}");
            total += batch.len();
        }
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        report.line(
            what,
            format!(
                "{total} {counted} in {ms:.0} ms, {:.0}/s",
                total as f64 / ms * 1000.0
            ),
        );
    }
}
