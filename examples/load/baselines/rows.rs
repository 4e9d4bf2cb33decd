//! The rows that the service would write. Columns are read from the database, so that the baselines
//! follow its schema; a new column has to be added to [`value`].

use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::client::entries::Entry;

/// An accepted entry on its way into the table.
#[derive(Debug)]
pub struct Posted<'a> {
    pub entry: &'a Entry,
    pub kind: &'a str,
    pub version: i64,
    pub balance_after: i64,
    pub committed_at_us: i64,
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    Int(i64),
    Text(&'a str),
    Blob(Vec<u8>),
    Null,
}

/// The value of a column of `entries`.
///
/// # Errors
/// For a column that the bench does not know.
pub fn value<'a>(column: &str, posted: &Posted<'a>) -> Result<Value<'a>> {
    Ok(match column {
        "user_id" => Value::Int(posted.entry.user),
        "version" => Value::Int(posted.version),
        "kind" | "source" => Value::Text(posted.kind),
        "currency" => Value::Text("TON"),
        "amount" => Value::Int(posted.entry.minor),
        "balance_after" => Value::Int(posted.balance_after),
        "event_id" => Value::Text(&posted.entry.event_id),
        "event_key" | "event_digest" => {
            Value::Blob(Sha256::digest(&posted.entry.event_id)[..16].to_vec())
        }
        "committed_at_us" => Value::Int(posted.committed_at_us),
        "tx_hash" | "tx_lt" | "tx_account" | "reason" | "metadata" | "occurred_at_us"
        | "reverses" | "left_after" | "other_balances" => Value::Null,
        _ => {
            return Err(
                format!("entries.{column}: teach it to examples/load/baselines/rows.rs").into(),
            );
        }
    })
}
