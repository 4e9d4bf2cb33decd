//! `GET /openapi.json` on the internal listener: the document of all endpoints. Tests compare it with the router and with real
//! answers.

use actix_web::HttpResponse;

/// `GET /openapi.json`
pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(include_str!("../../docs/openapi.json"))
}
