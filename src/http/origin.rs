//! Which browser origins may open `/ws` and read `/api`: the same host, and those in `server.allowed_origins`. With
//! `--dev` also loopback origins.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use crate::config::normal_origin;
use crate::http::dev;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;

/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_S: u64 = 600;

/// Headers that a preflight request may ask for.
const ASKED_HEADERS_MAX: usize = 64;

/// Characters of a foreign origin in the log.
const SHOWN_CHARS_MAX: usize = 256;

/// Refuses foreign origins, answers preflight requests, and lets allowed origins read answers.
pub(super) async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return Ok(varying(next.call(request).await?.map_into_left_body()));
    };
    let state: Option<&web::Data<HttpState>> = request.app_data();
    let access = state.map(|state| state.access.now());
    let allowed = access
        .as_ref()
        .map(|access| access.allowed_origins.as_slice())
        .unwrap_or_default();
    let is_developers = state.is_some_and(|state| state.is_dev())
        && origin.to_str().is_ok_and(dev::is_loopback_origin);
    if !is_developers && !is_allowed(&origin, allowed, request.headers()) {
        if let Some(state) = state {
            log_refusal(state, &origin);
        }
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
        let answer = preflight(request.headers());
        request.into_response(answer).map_into_right_body()
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

/// Names the key to set, once a minute: an operator only sees that a page does not connect.
fn log_refusal(state: &HttpState, origin: &HeaderValue) {
    if state.foreign_origins.is_due("", state.clock.mono()) {
        let shown: String = String::from_utf8_lossy(origin.as_bytes())
            .chars()
            .take(SHOWN_CHARS_MAX)
            .collect();
        log::info!(
            "a page of the origin {shown:?} is refused; if it is yours, add it to server.allowed_origins; further refusals are not logged for a minute"
        );
    }
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

/// Allows every header that the page asks for: origins are what is checked, and no header gives a page more rights than its
/// token. Tracing libraries add headers of their own (`traceparent`, `baggage`, `sentry-trace`, …) to each request.
fn preflight(headers: &HeaderMap) -> HttpResponse {
    let asked = headers
        .get_all(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .take(ASKED_HEADERS_MAX);
    let mut allowed = vec![
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_NONE_MATCH,
    ];
    for name in asked {
        if is_plain(&name) && !allowed.contains(&name) {
            allowed.push(name);
        }
    }
    let allowed: Vec<&str> = allowed.iter().map(HeaderName::as_str).collect();
    HttpResponse::NoContent()
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, HEAD, POST, OPTIONS",
        ))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, allowed.join(", ")))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_S.to_string()))
        .insert_header((
            header::VARY,
            "origin, authorization, access-control-request-headers",
        ))
        .finish()
}

/// Whether a header's name has none of the signs that have a meaning of their own in an answer.
fn is_plain(name: &HeaderName) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    name.as_str().bytes().all(is_plain)
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
    fn a_preflight_allows_the_headers_that_are_asked_for() {
        let allowed = |asked: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for names in asked {
                let names = HeaderValue::from_static(names);
                headers.append(header::ACCESS_CONTROL_REQUEST_HEADERS, names);
            }
            let answer = preflight(&headers);
            let names = answer.headers().get(header::ACCESS_CONTROL_ALLOW_HEADERS);
            names
                .and_then(|names| names.to_str().ok())
                .map(str::to_owned)
        };
        let known = "authorization, content-type, if-none-match";
        let with = |more: &str| Some(format!("{known}{more}"));
        assert_eq!(allowed(&[]), with(""));
        assert_eq!(
            allowed(&["Authorization,traceparent", "baggage , x-Any"]),
            with(", traceparent, baggage, x-any")
        );
        assert_eq!(allowed(&["a b,*,,\"c\""]), with(""), "no names");
        let many: String = (0..200).map(|n| format!("x-{n},")).collect();
        let many = allowed(&[many.leak()]).expect("it is there");
        assert_eq!(many.split(", ").count(), 3 + ASKED_HEADERS_MAX);
    }

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
