//! Inspection and orders for administrators, with a bearer token of their own.
//!
//! Everything here is bounded: lists by `limit`, waits by `database.timeout_ms` or `limits::INSPECTION_MS`. Looking changes
//! nothing; an order (`actions`) is in the admin log before it is carried out.

mod actions;
mod actors;
pub(crate) mod board;
mod dashboard;
mod lists;
mod live;

use serde::Deserialize;

use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;
use crate::ledger::LedgerError;
use crate::limits::ADMIN_ROWS_MAX;

pub(super) use actions::{disconnect, push, refresh, retire};
pub(super) use actors::{actor, actors, entries, registry, sessions};
pub(super) use dashboard::{asset, index};
pub(super) use lists::{audit, canary, conflicts, events, log};
pub(super) use live::live;

const ROWS_DEFAULT: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsQuery {
    limit: Option<usize>,
}

/// How many rows are wanted.
fn rows(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(ROWS_DEFAULT);
    let is_possible = (1..=ADMIN_ROWS_MAX).contains(&limit);
    let refusal = || {
        Problem::new(
            Code::InvalidField,
            format!("limit must be 1 to {ADMIN_ROWS_MAX}"),
        )
        .field("limit")
    };
    is_possible.then_some(limit).ok_or_else(refusal)
}

fn no_answer() -> Problem {
    LedgerError::Unavailable("the registry does not answer".into()).into()
}
