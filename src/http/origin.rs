//! Which browser origins may open `/ws` and read `/api`: the same host, and those in `server.allowed_origins`. With
//! `--dev` also loopback origins.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use crate::config::normal_origin;
use crate::http::dev;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;

/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_S: u64 = 600;

/// Refuses foreign origins, answers preflight requests, and lets allowed origins read answers.
pub(super) async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return Ok(varying(next.call(request).await?.map_into_left_body()));
    };
    let state: Option<&web::Data<HttpState>> = request.app_data();
    let allowed = state
        .map(|state| state.settings.server.allowed_origins.as_slice())
        .unwrap_or_default();
    let is_developers = state.is_some_and(|state| state.is_dev())
        && origin.to_str().is_ok_and(dev::is_loopback_origin);
    if !is_developers && !is_allowed(&origin, allowed, request.headers()) {
        let problem = Problem::new(
            Code::OriginNotAllowed,
            "this origin is not in server.allowed_origins",
        );
        return Ok(varying(
            request.error_response(problem).map_into_right_body(),
        ));
    }
    let is_preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        request.into_response(preflight()).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("etag, retry-after"),
    );
    Ok(varying(response))
}

/// Stops caches from giving one origin's or user's answer to another: two users often have the same version, and then the
/// same ETag.
fn varying<B>(mut response: ServiceResponse<B>) -> ServiceResponse<B> {
    let headers = response.headers_mut();
    // A file has more in it.
    if !headers.contains_key(header::VARY) {
        headers.insert(
            header::VARY,
            HeaderValue::from_static("origin, authorization"),
        );
    }
    response
}

fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"))
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, if-none-match",
        ))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_S.to_string()))
        .finish()
}

/// `allowed` are normal origins: the configuration has seen to it.
fn is_allowed(origin: &HeaderValue, allowed: &[String], headers: &HeaderMap) -> bool {
    let any = allowed.iter().any(|one| one == "*");
    let Some(origin) = origin.to_str().ok().and_then(normal_origin) else {
        return any;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    any || allowed.contains(&origin) || host.is_some_and(|host| is_same_host(&origin, host))
}

/// The origin's host and port equal the `Host` header; either may omit the scheme's default port.
fn is_same_host(origin: &str, host: &str) -> bool {
    let scheme = origin.split("://").next().unwrap_or_default();
    matches!(scheme, "http" | "https")
        && normal_origin(&format!("{scheme}://{host}")).is_some_and(|own| own == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_host_and_listed_origins_are_allowed() {
        let listed = ["https://app.example".to_owned()];
        let any = ["*".to_owned()];
        for (origin, host, allowed, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", &[][..], true),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", &[], false),
            ("https://Example.org", "example.org", &[], true),
            ("https://example.org", "example.org:443", &[], true),
            ("https://example.org:443", "Example.org", &[], true),
            ("https://example.org:444", "example.org", &[], false),
            ("https://example.org", "example.org/", &[], false),
            ("https://u@example.org", "u@example.org", &[], false),
            ("http://example.org.evil", "example.org", &[], false),
            ("null", "example.org", &[], false),
            ("null", "example.org", &any, true),
            ("file://example.org", "example.org", &[], false),
            ("https://app.example", "example.org", &listed, true),
            ("https://App.example:443", "example.org", &listed, true),
            ("http://app.example", "example.org", &listed, false),
            ("https://app.example.evil", "example.org", &listed, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            assert_eq!(
                is_allowed(&HeaderValue::from_static(origin), allowed, &headers),
                expected,
                "{origin} {host}"
            );
        }
    }
}
