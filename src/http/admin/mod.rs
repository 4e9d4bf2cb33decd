//! Inspection and orders for administrators, with a bearer token of their own.
//!
//! Everything here is bounded: lists by `limit`, waits by `database.timeout_ms` or `limits::INSPECTION_MS`. Looking changes
//! nothing; an order (`actions`) is in the admin log before it is carried out.

mod actions;
mod actors;
mod lists;
mod live;

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::ledger::LedgerError;
use crate::limits::ADMIN_ROWS_MAX;

use super::HttpState;
use super::problem::{Code, Problem};
use super::sign_in::bearer;

pub(super) use actions::{disconnect, push, refresh, retire};
pub(super) use actors::{actor, actors, entries, registry, sessions};
pub(super) use lists::{audit, canary, conflicts, events, log};
pub(super) use live::{LiveBoard, live};

const ROWS_DEFAULT: usize = 100;

/// Who may come in, by name. Every token is compared, each in constant time; whoever fails too often has to wait.
fn authorize<'a>(request: &HttpRequest, state: &'a HttpState) -> Result<&'a str, Problem> {
    let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let now_us = state.clock.monotonic_us();
    if state.admin_failures.is_blocked(address, now_us) {
        return Err(Problem::new(Code::RateLimited, "too many failed sign-ins from this address"));
    }
    let given = bearer(request.headers()).unwrap_or_default().as_bytes();
    let tokens = state.settings.auth.admin_tokens.iter();
    let found = tokens.fold(None, |found, admin| {
        let fits = bool::from(admin.token.expose().as_bytes().ct_eq(given));
        if fits { Some(admin.name.as_str()) } else { found }
    });
    found.ok_or_else(|| {
        // Full or not: it is told of its failure, and of the limit next time.
        let _ = state.admin_failures.try_take(address, now_us);
        Problem::new(Code::Unauthorized, "an administrator's bearer token is needed")
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsQuery {
    limit: Option<usize>,
}

/// How many rows are wanted.
fn rows(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(ROWS_DEFAULT);
    let is_possible = (1..=ADMIN_ROWS_MAX).contains(&limit);
    let refusal = || Problem::new(Code::InvalidField, format!("limit must be 1 to {ADMIN_ROWS_MAX}")).field("limit");
    is_possible.then_some(limit).ok_or_else(refusal)
}

fn no_answer() -> Problem {
    LedgerError::Unavailable("the registry does not answer".into()).into()
}
