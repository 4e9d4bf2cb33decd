//! Faults: SIGKILL at any moment, database outages of every kind, refused entries, a bank under
//! load, and hostile peers.
//!
//! Half of each load, and of the kills, is the same in every run and half is new. Every run prints the
//! seed of the new half; `BALANCE_TEST_SEED=<seed> cargo test --test faults` repeats it (the machine's
//! timing is not part of the seed).

#[path = "../support/mod.rs"]
mod support;

mod bank;
mod crash_points;
mod database_away;
mod feed;
mod hostile;
mod linearizability;
mod load;
mod outages;
#[path = "linearizability/planted.rs"]
mod planted_histories;
mod poison;
mod schema;
mod servers;
mod several_services;
mod slow_batch;
mod through_kills;

use serde_json::{Value, json};
use support::size;

/// The body of a deposit.
fn deposit(event_id: &str, user_id: u64) -> Value {
    json!({"event_id": event_id, "user_id": user_id, "currency": "TON", "amount": "1"})
}
