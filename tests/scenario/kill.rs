//! (d) SIGKILL during another such run; the sender repeats unacknowledged requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::Report;
use crate::deposits::{DEPOSIT, DEPOSITS};
use crate::rewards::{REWARDS_PER_USER, USERS, tick};
use crate::support::{Signed, TestApp, TonHash, eventually};

/// Entries of one request.
const BATCH: usize = 100;
/// Requests under way at once.
const SENDERS: usize = 8;

/// Every request of the run: batches of rewards and single deposits, mixed.
fn requests() -> Vec<(Signed, usize)> {
    let rewards = tick("2025-08-04T10:10Z");
    let batches = rewards.chunks(BATCH).map(|batch| {
        (
            Signed::post("/internal/v1/batch", &json!({"entries": batch})),
            batch.len(),
        )
    });
    let deposits = (1..=DEPOSITS).map(|user_id| {
        let hash = TonHash::of(&format!("second deposit of {user_id}")).hex();
        let body =
            json!({"tx_hash": hash, "user_id": user_id, "currency": "TON", "amount": DEPOSIT});
        (Signed::post("/internal/v1/deposits", &body), 1)
    });
    batches
        .zip(deposits)
        .flat_map(|(batch, deposit)| [batch, deposit])
        .collect()
}

pub async fn in_the_middle(app: &mut TestApp, report: &mut Report) {
    let requests = requests();
    let total: usize = requests.iter().map(|(_, entries)| entries).sum();
    assert_eq!(total, 5050);
    let (next, acknowledged) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (sender, duplicates) = (app.sender(), AtomicUsize::new(0));
    let start = Instant::now();
    let sending = futures_util::future::join_all((0..SENDERS).map(|_| async {
        while let Some((request, entries)) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer = sender.insist(request.clone()).await;
            assert_eq!(answer["rejected"].as_u64().unwrap_or(0), 0, "{answer}");
            duplicates.fetch_add(already_stored(&answer), Ordering::Relaxed);
            acknowledged.fetch_add(*entries, Ordering::Relaxed);
        }
    }));
    let killing = async {
        let half = || acknowledged.load(Ordering::Relaxed);
        eventually("half of it is acknowledged", async || {
            (half() >= total / 2).then_some(())
        })
        .await;
        app.kill();
        let at_the_kill = half();
        let down = Instant::now();
        app.start_again().await;
        (at_the_kill, down.elapsed())
    };
    let (_, (at_the_kill, down)) = tokio::join!(sending, killing);
    assert_eq!(acknowledged.load(Ordering::Relaxed), total);
    assert!(at_the_kill < total, "the kill came in the middle");
    report.line(
        "killed by SIGKILL",
        format!(
            "with {at_the_kill} of {total} acknowledged, ready again after {:.0} ms",
            down.as_secs_f64() * 1000.0
        ),
    );
    report.line(
        "the rest, repeated",
        format!(
            "{} acknowledged, of them {} stored before the kill; {:.0} ms in all",
            total - at_the_kill,
            duplicates.load(Ordering::Relaxed),
            start.elapsed().as_secs_f64() * 1000.0
        ),
    );
    assert_every_entry_once(app, report).await;
}

/// The number of duplicates in an answer.
fn already_stored(answer: &Value) -> usize {
    let of_batch = answer["duplicates"]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok());
    of_batch.unwrap_or_else(|| usize::from(answer["duplicate"] == true))
}

/// Two ticks and two rushes, each entry once.
async fn assert_every_entry_once(app: &TestApp, report: &mut Report) {
    let mut stored = 0;
    for user_id in 1..=USERS {
        let deposits = if user_id <= DEPOSITS { 2 } else { 0 };
        let expected = 2 * REWARDS_PER_USER + deposits;
        let balance = app
            .backend(&format!("/internal/v1/users/{user_id}/balance"))
            .await
            .ok();
        assert_eq!(balance["version"], expected, "user {user_id}");
        assert_eq!(balance["balances"]["UNI"], "0.125000000", "user {user_id}");
        assert_eq!(
            balance["balances"]["TON"],
            if deposits == 2 {
                "3.000000000"
            } else {
                "0.000000000"
            }
        );
        stored += expected;
    }
    report.line(
        "entries in the ledger",
        format!("{stored} of {} users, each once", USERS),
    );
}
