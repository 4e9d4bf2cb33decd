//! The demo page, embedded in the binary and served in development only.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::HttpState;
use super::body::{check_json, read};
use super::internal_reads::{parse_body, token_answer};
use super::problem::{Code, Problem};

const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// The most bytes of a request for a demo token.
const TOKEN_REQUEST_BYTES_MAX: usize = 256;

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

#[derive(Debug, Deserialize)]
struct TokenRequest {
    user_id: i64,
}

/// `POST /demo/token`: signs in as any user. Only with `--dev`, where the service listens on loopback alone.
pub(super) async fn token(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    check_json(request.headers())?;
    // A foreign name that was made to point here must not get in.
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_loopback = name.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback());
    if !is_loopback && !matches!(name, "localhost" | "[::1]") {
        return Err(Problem::new(Code::OriginNotAllowed, "the demo signs in only on a loopback address"));
    }
    let body = read(payload, TOKEN_REQUEST_BYTES_MAX).await?;
    let wanted: TokenRequest = parse_body(&body)?;
    token_answer(&state, wanted.user_id, None)
}
