//! Reads for systems that follow the ledger: an entry by its key, all balances, and the feed of all entries.

use std::ops::RangeInclusive;

use crate::domain::{EventId, TxHash};
use crate::http::extract::invalid;
use crate::http::problem::{Code, Problem};
use crate::ledger::EntryKey;

pub(super) mod all_balances;
mod cursor;
pub(super) mod entry_by_key;
pub(super) mod feed;

/// How many rows a page has when the request does not say.
const ROWS_DEFAULT: i64 = 100;

/// A number of the query, if it is in its range.
fn in_range<T: PartialOrd + Copy + std::fmt::Display>(
    name: &'static str,
    given: Option<T>,
    default: T,
    range: RangeInclusive<T>,
) -> Result<T, Problem> {
    let value = given.unwrap_or(default);
    if range.contains(&value) {
        Ok(value)
    } else {
        let why = format!("must be {} to {}", range.start(), range.end());
        Err(invalid(name, why))
    }
}

/// The key that a query names. `None` without either.
pub(super) fn entry_key(
    event_id: Option<&str>,
    tx_hash: Option<&str>,
) -> Result<Option<EntryKey>, Problem> {
    match (event_id, tx_hash) {
        (Some(_), Some(_)) => Err(invalid("tx_hash", "does not go with event_id")),
        (Some(text), None) => EventId::parse(text)
            .map(|event_id| Some(EntryKey::Event(event_id)))
            .map_err(|error| invalid("event_id", error)),
        (None, Some(text)) => TxHash::parse(text)
            .map(|hash| Some(EntryKey::Hash(hash)))
            .map_err(|error| {
                Problem::new(Code::InvalidTxHash, format!("tx_hash {error}")).field("tx_hash")
            }),
        (None, None) => Ok(None),
    }
}

/// No entry has the key.
pub(super) fn unknown_entry(key: &EntryKey) -> Problem {
    let field = match key {
        EntryKey::Event(_) => "event_id",
        EntryKey::Hash(_) => "tx_hash",
    };
    Problem::new(Code::UnknownEntry, "the ledger has no such entry").field(field)
}
