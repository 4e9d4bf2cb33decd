//! `GET /metrics` on the internal listener, for Prometheus.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use subtle::ConstantTimeEq as _;

use crate::ledger::Lane;
use crate::telemetry::counters::TEXT_FORMAT;

use super::HttpState;
use super::problem::{Code, Problem};
use super::sign_in::bearer;

/// `GET /metrics`
pub(super) async fn metrics(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    if let Some(expected) = &state.settings.auth.metrics_token {
        let given = bearer(request.headers()).unwrap_or_default().as_bytes();
        if !bool::from(expected.expose().as_bytes().ct_eq(given)) {
            return Err(Problem::new(Code::Unauthorized, "the bearer token of auth.metrics_token is needed"));
        }
    }
    let waiting = |lane| i64::try_from(state.admission.waiting(lane)).unwrap_or(i64::MAX);
    state.counters.queue.single.set(waiting(Lane::Single));
    state.counters.queue.bulk.set(waiting(Lane::Bulk));
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT_FORMAT)).body(state.counters.render()))
}
