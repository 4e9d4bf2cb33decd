//! What watches the service asks for: whether the process lives, whether it can work, and its metrics.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::http::extract::sign_in::bearer;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;
use crate::ledger::{Lane, Ledger as _};
use crate::telemetry::counters::TEXT_FORMAT;

/// `GET /metrics`
pub(super) async fn metrics(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    if let Some(expected) = &state.settings.auth.metrics_token {
        let given = bearer(request.headers()).unwrap_or_default().as_bytes();
        if !bool::from(expected.expose().as_bytes().ct_eq(given)) {
            return Err(Problem::new(
                Code::Unauthorized,
                "the bearer token of auth.metrics_token is needed",
            ));
        }
    }
    let waiting = |lane| i64::try_from(state.admission.waiting(lane)).unwrap_or(i64::MAX);
    state.counters.queue.single.set(waiting(Lane::Single));
    state.counters.queue.bulk.set(waiting(Lane::Bulk));
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, TEXT_FORMAT))
        .body(state.counters.render()))
}

/// Which build this is: set `COORDINATOR_BUILD` when compiling (a commit, say).
const BUILD: &str = match option_env!("COORDINATOR_BUILD") {
    Some(build) => build,
    None if cfg!(debug_assertions) => "debug",
    None => "release",
};

/// `GET /healthz`
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION"), "build": BUILD }))
}

/// `GET /readyz`
pub(super) async fn readyz(state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    state.ledger.ping().await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
}
