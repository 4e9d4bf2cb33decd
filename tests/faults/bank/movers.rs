//! The movers: each posts a withdrawal and, once it is accepted, the matching deposit, or a reversal of the withdrawal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Bank, amount, note_write, random_user};
use crate::linearizability::{History, Refusal};
use crate::support::{PATIENCE, Signed};

/// The largest amount of a move.
const MINOR_MAX: i64 = 60_000_000_000;
/// Share of moves whose money goes back to where it came from.
const REJECTED: f64 = 0.25;

/// Moves until the end of the test; completes the last move.
pub(super) async fn run(bank: Arc<Bank>, mut rng: StdRng) -> History {
    let mut seen = History::default();
    while !bank.is_over() {
        let number = bank.moves.fetch_add(1, Ordering::Relaxed);
        let from = random_user(&mut rng);
        let to = another_user(from, &mut rng);
        let minor = rng.random_range(1..=MINOR_MAX);
        let ton = json!({"currency": "TON", "amount": amount(minor)});
        let out = Step {
            what: "withdrawals",
            event_id: format!("move:{number}:out"),
            user_id: from,
            content: ton.clone(),
        };
        // A withdrawal that is refused ends the move.
        if !post(&bank, &mut rng, &mut seen, &out, minor).await {
            continue;
        }
        let is_rejected = rng.random_bool(REJECTED);
        let back = if is_rejected {
            Step {
                what: "reversals",
                event_id: format!("move:{number}:back"),
                user_id: from,
                content: json!({"reverses": out.event_id}),
            }
        } else {
            Step {
                what: "deposits",
                event_id: format!("move:{number}:in"),
                user_id: to,
                content: ton,
            }
        };
        let is_whole = post(&bank, &mut rng, &mut seen, &back, minor).await;
        assert!(is_whole, "money that arrives is never refused");
    }
    seen
}

/// One entry of a move.
struct Step {
    what: &'static str,
    event_id: String,
    user_id: u64,
    content: Value,
}

fn another_user(from: u64, rng: &mut StdRng) -> u64 {
    let to = random_user(rng);
    if to == from {
        from % super::HOT_USERS + 1
    } else {
        to
    }
}

/// Sends an entry until it is answered, each time to any service, and records the answer. Returns whether it was
/// acknowledged.
async fn post(bank: &Bank, rng: &mut StdRng, seen: &mut History, step: &Step, minor: i64) -> bool {
    let Step {
        what,
        event_id,
        user_id,
        content,
    } = step;
    let mut body = content.clone();
    body["event_id"] = json!(event_id);
    body["user_id"] = json!(user_id);
    let (start, sent) = (Instant::now(), bank.now());
    while start.elapsed() < 3 * PATIENCE {
        match bank
            .sender(rng)
            .try_send(Signed::post(&format!("/internal/v1/{what}"), &body))
            .await
        {
            Ok(answer) if answer.status == 200 => {
                let times = (sent, bank.now());
                note_write(
                    seen,
                    *user_id,
                    event_id.clone(),
                    &answer.ok()["version"],
                    times,
                );
                return true;
            }
            Ok(answer) if answer.status == 422 => {
                let answered = bank.now();
                let available =
                    super::minor(&answer.problem(422, "insufficient_funds")["available"]);
                seen.refusals.push(Refusal {
                    user_id: *user_id,
                    asked: minor,
                    available,
                    sent,
                    answered,
                });
                return false;
            }
            Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
            Err(_) => {}
        }
        bank.repeat();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never answered: {body}");
}
