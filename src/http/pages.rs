//! The demo page, embedded in the binary and served in development only.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

fn page(content_type: &'static str, body: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(body)
}

/// `GET /`
pub(super) async fn index() -> HttpResponse {
    page("text/html; charset=utf-8", include_str!("../web/demo/index.html"))
}

/// `GET /demo/demo.js`
pub(super) async fn script() -> HttpResponse {
    page("text/javascript; charset=utf-8", include_str!("../web/demo/demo.js"))
}

/// `GET /demo/demo.css`
pub(super) async fn style() -> HttpResponse {
    page("text/css; charset=utf-8", include_str!("../web/demo/demo.css"))
}
