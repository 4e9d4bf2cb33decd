//! Endpoints for monitoring: whether the process lives, whether it can work, and its metrics.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use serde_json::json;

use crate::http::extract::admin::MetricsReader;
use crate::http::problem::{Answer, Code, Problem};
use crate::http::state::Data;
use crate::ledger::Ledger as _;
use crate::telemetry::counters::TEXT_FORMAT;

/// `GET /metrics`
pub(super) async fn metrics(state: Data, _: MetricsReader) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, TEXT_FORMAT))
        .body(state.metrics_text())
}

/// The name of this build: `COORDINATOR_BUILD` at compile time, such as a commit.
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

/// `GET /readyz`: whether the ledger can be read and written.
pub(super) async fn readyz(state: Data) -> Answer {
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    state.ledger.ping().await?;
    state.ledger.check_writers().await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
}
