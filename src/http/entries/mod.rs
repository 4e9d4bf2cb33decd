//! Webhooks: single entries and batches.

use serde_json::json;

use crate::domain::{Amount, CurrencyId, Kind, Outcome};
use crate::http::extract::invalid;
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
pub(super) fn refusal(outcome: &Outcome) -> Problem {
    let shown = |amount: Amount, currency: CurrencyId| {
        json!(amount.display(currency.decimals()).to_string())
    };
    match outcome {
        Outcome::Conflict(_) => Problem::new(
            Code::IdempotencyConflict,
            "this event id or transaction hash was used with another user, kind, currency, amount, hash or reversed entry",
        ),
        Outcome::UnknownUser => Problem::new(
            Code::UnknownUser,
            "the user does not exist and accounts.auto_create is off",
        )
        .field("user_id"),
        Outcome::InsufficientFunds {
            available,
            currency,
        } => Problem::new(Code::InsufficientFunds, "the balance would fall below zero")
            .field("amount")
            .with("available", shown(*available, *currency)),
        Outcome::UnknownEntry => {
            Problem::new(Code::UnknownEntry, "the user has no such entry").field("reverses")
        }
        Outcome::NotReversible => Problem::new(
            Code::NotReversible,
            "the entry is a reversal, which can't be taken back; post the entry again instead",
        )
        .field("reverses"),
        Outcome::WrongCurrency => invalid("currency", "is not the currency of the entry"),
        Outcome::InvalidAmount => Problem::new(
            Code::InvalidAmount,
            "amount must have at most the decimals of the entry's currency",
        )
        .field("amount"),
        Outcome::ExceedsOriginal { left, currency } => {
            Problem::new(Code::ExceedsOriginal, "less than that is left of the entry")
                .field("amount")
                .with("left", shown(*left, *currency))
        }
        Outcome::AmountOverflow | Outcome::Accepted { .. } | Outcome::Duplicate(_) => {
            Problem::new(Code::AmountOverflow, "the balance would be out of range").field("amount")
        }
    }
}
