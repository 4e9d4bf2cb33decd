//! Inspection and actions for administrators, with bearer tokens of their own.
//!
//! Everything here is bounded: lists by `limit`, waits by `database.timeout_ms` or `limits::INSPECTION_MS`. Inspection changes
//! nothing. An action is written to the admin log before it is carried out.

mod actions;
mod actors;
pub(super) mod board;
mod find;
mod findings;
mod history;
mod hour;
mod lists;
mod live;
mod snapshot;

use std::sync::{Mutex, MutexGuard, PoisonError};

use actix::{Handler, Message};
use serde::Deserialize;

use crate::coordinator::Registry;
use crate::http::extract::invalid;
use crate::http::problem::{Answer, Code, Problem};
use crate::http::state::{Data, HttpState};
use crate::ledger::LedgerError;
use crate::limits::ADMIN_ROWS_MAX;

pub(super) use actions::{disconnect, push, refresh, retire};
pub(super) use actors::{actor, actors, entries, registry, sessions};
pub(super) use find::find;
pub(super) use findings::findings;
pub(super) use history::history;
pub use history::keep as keep_history;
pub(super) use lists::{audit, canary, cluster, conflicts, events, log};
pub(super) use live::live;

const ROWS_DEFAULT: usize = 100;

/// A query without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

/// How many rows a list may have.
fn rows(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(ROWS_DEFAULT);
    if (1..=ADMIN_ROWS_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(invalid("limit", format!("must be 1 to {ADMIN_ROWS_MAX}")))
    }
}

/// Asks the registry, and waits at most `database.timeout_ms` for its answer.
async fn ask<M>(state: &HttpState, message: M) -> Result<M::Result, Problem>
where
    M: Message<Result: Send> + Send + 'static,
    Registry: Handler<M>,
{
    let asked = state.registry.send(message).timeout(state.timeout());
    asked.await.map_err(|_| no_answer())
}

fn no_answer() -> Problem {
    LedgerError::Unavailable("the registry does not answer".into()).into()
}

/// What these locks guard is whole after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
