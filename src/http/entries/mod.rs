//! Webhooks: single entries and batches.

use serde_json::json;

use crate::domain::{Amount, Kind, Outcome};
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;

pub(in crate::http) mod batch;
pub(in crate::http) mod body;
pub(super) mod bulk;
pub(in crate::http) mod items;
mod results;
pub(in crate::http) mod single;

/// Counts an entry that is refused before it reaches the ledger.
pub(super) fn count_rejected(state: &HttpState, kind: Option<Kind>) {
    let kind = kind.map_or("unknown", Kind::as_str);
    state
        .counters
        .entries
        .with_label_values(&[kind, "rejected"])
        .inc();
}

/// The problem of an outcome that is neither accepted nor a duplicate.
pub(super) fn refusal(outcome: &Outcome, shown: impl Fn(Amount) -> String) -> Problem {
    match outcome {
        Outcome::Conflict(_) => Problem::new(
            Code::IdempotencyConflict,
            "this event id or transaction hash was used with another user, kind, currency, amount or hash",
        ),
        Outcome::UnknownUser => Problem::new(
            Code::UnknownUser,
            "the user does not exist and accounts.auto_create is off",
        )
        .field("user_id"),
        Outcome::InsufficientFunds { available } => {
            Problem::new(Code::InsufficientFunds, "the balance would fall below zero")
                .field("amount")
                .with("available", json!(shown(*available)))
        }
        Outcome::AmountOverflow | Outcome::Accepted { .. } | Outcome::Duplicate(_) => {
            Problem::new(Code::AmountOverflow, "the balance would be out of range").field("amount")
        }
    }
}
