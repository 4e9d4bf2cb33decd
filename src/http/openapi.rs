//! `GET /openapi.json` on the internal listener: every endpoint, as `docs/openapi.json` describes it. A test holds it to the
//! router and to what is really answered.

use actix_web::HttpResponse;

/// `GET /openapi.json`
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(include_str!("../../docs/openapi.json"))
}
