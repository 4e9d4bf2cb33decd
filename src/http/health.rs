//! Whether the process lives, and whether it can work.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::ledger::Ledger as _;

use super::HttpState;
use super::problem::{Code, Problem};

/// Which build this is: set `COORDINATOR_BUILD` when compiling (a commit, say).
const BUILD: &str = match option_env!("COORDINATOR_BUILD") {
    Some(build) => build,
    None if cfg!(debug_assertions) => "debug",
    None => "release",
};

/// `GET /healthz`
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION"), "build": BUILD }))
}

/// `GET /readyz`
pub(super) async fn readyz(state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    state.ledger.ping().await?;
    Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
}
