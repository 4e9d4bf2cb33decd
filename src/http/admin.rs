//! Inspection for administrators, with a bearer token.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::sync::oneshot;

use crate::coordinator::ActorSummary;
use crate::coordinator::messages::{CloseReason, CloseSessions, InspectRegistry, InspectResident, ListActors, ToUser};
use crate::ledger::{ConflictRecord, Lane, LedgerError};
use crate::limits::ADMIN_ROWS_MAX;

use super::HttpState;
use super::internal_reads::{path_user, query};
use super::problem::{Code, Problem};
use super::sign_in::bearer;
use super::webhooks::unroutable;

const ROWS_DEFAULT: usize = 100;

/// Who may come in. Every token is compared, each in constant time; whoever fails too often has to wait.
fn authorize(request: &HttpRequest, state: &HttpState) -> Result<(), Problem> {
    let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let now_us = state.clock.monotonic_us();
    if state.admin_failures.is_blocked(address, now_us) {
        return Err(Problem::new(Code::RateLimited, "too many failed sign-ins from this address"));
    }
    let given = bearer(request.headers()).unwrap_or_default().as_bytes();
    let tokens = &state.settings.auth.admin_tokens;
    let fits = |found: bool, expected: &[u8]| found | bool::from(expected.ct_eq(given));
    if tokens.iter().fold(false, |found, admin| fits(found, admin.token.expose().as_bytes())) {
        return Ok(());
    }
    // Full or not: it is told of its failure, and of the limit next time.
    let _ = state.admin_failures.try_take(address, now_us);
    Err(Problem::new(Code::Unauthorized, "an administrator's bearer token is needed"))
}

/// `GET /admin/v1/registry`
pub(super) async fn registry(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    authorize(&request, &state)?;
    let totals = state.registry.send(InspectRegistry).timeout(state.timeout()).await.map_err(|_| no_answer())?;
    let mut answer = json!(totals);
    if let Some(members) = answer.as_object_mut() {
        members.insert("queue_single".into(), json!(state.admission.waiting(Lane::Single)));
        members.insert("queue_bulk".into(), json!(state.admission.waiting(Lane::Bulk)));
        members.insert("uptime_s".into(), json!(Duration::from_micros(state.clock.monotonic_us()).as_secs()));
    }
    Ok(HttpResponse::Ok().json(answer))
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    UserId,
    Sessions,
    Entries,
    IdleMs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActorsQuery {
    limit: Option<usize>,
    after: Option<i64>,
    #[serde(default)]
    sort: Sort,
}

/// `GET /admin/v1/actors`
pub(super) async fn actors(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    authorize(&request, &state)?;
    let wanted: ActorsQuery = query(&request)?;
    let limit = rows(wanted.limit)?;
    let mut all = state.registry.send(ListActors).timeout(state.timeout()).await.map_err(|_| no_answer())?;
    let descending =
        |key: fn(&ActorSummary) -> u64| move |actor: &ActorSummary| (std::cmp::Reverse(key(actor)), actor.user_id);
    match wanted.sort {
        Sort::UserId => all.sort_unstable_by_key(|actor| actor.user_id),
        Sort::Sessions => all.sort_unstable_by_key(descending(|actor| actor.sessions as u64)),
        Sort::Entries => all.sort_unstable_by_key(descending(|actor| actor.entries)),
        Sort::IdleMs => all.sort_unstable_by_key(descending(|actor| actor.idle_ms)),
    }
    if let Some(after) = wanted.after {
        if !matches!(wanted.sort, Sort::UserId) {
            return Err(Problem::new(Code::InvalidField, "after goes with sort=user_id").field("after"));
        }
        all.retain(|actor| actor.user_id.get() > after);
    }
    all.truncate(limit);
    Ok(HttpResponse::Ok().json(json!({ "actors": all })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActorQuery {
    #[serde(default)]
    activate: bool,
}

/// `GET /admin/v1/actors/{user_id}`
pub(super) async fn actor(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    authorize(&request, &state)?;
    let user_id = path_user(&request)?;
    let ActorQuery { activate } = query(&request)?;
    let (reply, answer) = oneshot::channel();
    state.registry.try_send(InspectResident { user_id, activate, reply }).map_err(unroutable)?;
    match tokio::time::timeout(state.timeout(), answer).await {
        Ok(Ok(inspection)) => Ok(HttpResponse::Ok().json(inspection)),
        Ok(Err(_)) => Err(Problem::new(Code::NotFound, "the actor of this user is not resident")),
        Err(_) => Err(no_answer()),
    }
}

/// `POST /admin/v1/actors/{user_id}/disconnect`: closes the user's sessions with 4510.
pub(super) async fn disconnect(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    authorize(&request, &state)?;
    let user_id = path_user(&request)?;
    let message = CloseSessions(CloseReason::ClosedByAdministrator);
    state.registry.try_send(ToUser { user_id, message }).map_err(unroutable)?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsQuery {
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Conflicts {
    conflicts: Vec<ConflictRecord>,
}

/// `GET /admin/v1/conflicts`
pub(super) async fn conflicts(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    authorize(&request, &state)?;
    let RowsQuery { limit } = query(&request)?;
    let limit = i64::try_from(rows(limit)?).unwrap_or(i64::MAX);
    Ok(HttpResponse::Ok().json(Conflicts { conflicts: state.ledger.latest_conflicts(limit).await? }))
}

fn rows(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(ROWS_DEFAULT);
    let is_possible = (1..=ADMIN_ROWS_MAX).contains(&limit);
    let refusal = || Problem::new(Code::InvalidField, format!("limit must be 1 to {ADMIN_ROWS_MAX}")).field("limit");
    is_possible.then_some(limit).ok_or_else(refusal)
}

fn no_answer() -> Problem {
    LedgerError::Unavailable("the registry does not answer".into()).into()
}
