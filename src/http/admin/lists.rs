//! What happened: the latest events of this process, refused entries, and orders of administrators.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::coordinator::messages::ListRecent;
use crate::domain::UserId;
use crate::http::admin::{Code, HttpState, Problem, RowsQuery, no_answer, rows};
use crate::http::extract::admin::authorize;
use crate::http::extract::query;
use crate::ledger::{AdminRecord, ConflictRecord};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    limit: Option<usize>,
    #[serde(default)]
    after: u64,
    user_id: Option<i64>,
}

/// `GET /admin/v1/events`
pub(in crate::http) async fn events(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &state)?;
    let EventsQuery {
        limit,
        after,
        user_id,
    } = query(&request)?;
    let not_a_user =
        |error| Problem::new(Code::InvalidField, format!("user_id {error}")).field("user_id");
    let user_id = user_id.map(UserId::new).transpose().map_err(not_a_user)?;
    let wanted = ListRecent {
        limit: rows(limit)?,
        after,
        user_id,
    };
    let events = state
        .registry
        .send(wanted)
        .timeout(state.timeout())
        .await
        .map_err(|_| no_answer())?;
    Ok(HttpResponse::Ok().json(events))
}

#[derive(Debug, Serialize)]
struct Conflicts {
    conflicts: Vec<ConflictRecord>,
}

/// `GET /admin/v1/conflicts`
pub(in crate::http) async fn conflicts(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(&request, &state)?;
    Ok(HttpResponse::Ok().json(Conflicts {
        conflicts: state.ledger.latest_conflicts(limit).await?,
    }))
}

/// `GET /admin/v1/audit`
pub(in crate::http) async fn audit(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &state)?;
    Ok(HttpResponse::Ok().json(state.audit.show()))
}

/// `GET /admin/v1/canary`
pub(in crate::http) async fn canary(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    authorize(&request, &state)?;
    let every_s = state.settings.canary.every_s;
    Ok(HttpResponse::Ok().json(json!({ "every_s": every_s, "runs": state.canary.show() })))
}

#[derive(Debug, Serialize)]
struct Log {
    log: Vec<AdminRecord>,
}

/// `GET /admin/v1/log`
pub(in crate::http) async fn log(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(&request, &state)?;
    Ok(HttpResponse::Ok().json(Log {
        log: state.ledger.latest_actions(limit).await?,
    }))
}

fn limit(request: &HttpRequest, state: &HttpState) -> Result<i64, Problem> {
    authorize(request, state)?;
    let RowsQuery { limit } = query(request)?;
    Ok(i64::try_from(rows(limit)?).unwrap_or(i64::MAX))
}
