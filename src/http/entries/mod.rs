//! Webhooks: single entries and batches.

use std::collections::BTreeMap;

use serde_json::json;

use crate::domain::{Amount, CurrencyId, Kind, Outcome};
use crate::http::extract::invalid;
use crate::http::problem::{Code, Problem};
use crate::telemetry::counters::Counters;

pub(in crate::http) mod batch;
pub(in crate::http) mod body;
pub(super) mod bulk;
pub(in crate::http) mod items;
mod results;
pub(in crate::http) mod single;

/// The label of an item whose kind can't be read.
pub(super) const UNKNOWN_KIND: &str = "unknown";

/// The codes with which an entry can be refused.
pub(super) const ENTRY_CODES: [Code; 14] = [
    Code::InvalidJson,
    Code::UnknownUser,
    Code::UnknownEntry,
    Code::IdempotencyConflict,
    Code::InvalidField,
    Code::UnknownField,
    Code::UnknownCurrency,
    Code::InvalidAmount,
    Code::InvalidTxHash,
    Code::InsufficientFunds,
    Code::AmountOverflow,
    Code::NotReversible,
    Code::ExceedsOriginal,
    Code::LedgerUnavailable,
];

/// Entries that are refused before they reach the ledger, by kind and code; the ledger counts those that it refuses. They
/// are counted when they are answered: a batch that is answered 503 is sent again.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<(&'static str, &'static str), u64>);

impl Refused {
    pub(super) fn add(&mut self, kind: Option<Kind>, code: Code) {
        let kind = kind.map_or(UNKNOWN_KIND, Kind::as_str);
        *self.0.entry((kind, code.as_str())).or_default() += 1;
    }

    pub(super) fn count(&self, counters: &Counters) {
        for ((kind, code), count) in &self.0 {
            let rejected = counters.entries.with_label_values(&[*kind, "rejected"]);
            rejected.inc_by(*count);
            let refusals = counters.entry_refusals.with_label_values(&[*kind, *code]);
            refusals.inc_by(*count);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Currencies, Recorded, UserId};
    use crate::ledger::PostError;

    #[test]
    fn an_entry_is_refused_and_counted_under_the_same_code() {
        let currency = Currencies::default().find("TON").expect("a currency");
        let recorded = Recorded {
            user_id: UserId::new(1).expect("a user id"),
            kind: Kind::Deposit,
            currency,
            amount: Amount::ZERO,
            tx_hash: None,
            reverses: None,
            version: 1,
            committed_at_us: 0,
        };
        let of_outcomes = [
            Outcome::Conflict(recorded),
            Outcome::UnknownUser,
            Outcome::AmountOverflow,
            Outcome::InsufficientFunds {
                available: Amount::ZERO,
                currency,
            },
            Outcome::UnknownEntry,
            Outcome::NotReversible,
            Outcome::WrongCurrency,
            Outcome::InvalidAmount,
            Outcome::ExceedsOriginal {
                left: Amount::ZERO,
                currency,
            },
        ]
        .map(|outcome| (outcome.refusal(), refusal(&outcome)));
        let of_errors = [PostError::Refused, PostError::Failing]
            .map(|error| (error.refusal(), Problem::from(error)));
        for (counted, problem) in of_outcomes.into_iter().chain(of_errors) {
            assert_eq!(counted, Some(problem.code().as_str()));
            let is_prepared = ENTRY_CODES.contains(&problem.code());
            assert!(is_prepared, "{counted:?} does not begin with zero");
        }
        for error in [
            PostError::Overloaded,
            PostError::Unavailable,
            PostError::ShuttingDown,
        ] {
            assert_eq!(error.refusal(), None, "{error}: nothing is decided");
        }
    }
}
