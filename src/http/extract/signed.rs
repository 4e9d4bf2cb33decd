//! Reading a signed request: headers first, then at most so many bytes, then the signature, then the timestamp; only
//! then may anybody parse it.

use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::{HttpRequest, web};
use bytes::BytesMut;
use futures_util::StreamExt as _;

use crate::credentials::webhook::Signed;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;
use crate::limits::REQUEST_BODY_MS;

/// Reads and verifies a signed request with a body of at most `bytes_max`.
pub(crate) async fn read_signed(
    request: &HttpRequest,
    payload: web::Payload,
    state: &HttpState,
    bytes_max: usize,
) -> Result<bytes::Bytes, Problem> {
    let signed = signed(request.headers())?;
    let body = read(payload, bytes_max).await?;
    verify(&signed, state, &body)?;
    Ok(body)
}

/// Like [`read_signed`], for a JSON body.
pub(crate) async fn read_signed_json(
    request: &HttpRequest,
    payload: web::Payload,
    state: &HttpState,
    bytes_max: usize,
) -> Result<bytes::Bytes, Problem> {
    let body = read_signed(request, payload, state, bytes_max).await?;
    check_json(request.headers())?;
    Ok(body)
}

/// The headers that say who has sent a body.
pub(crate) fn signed(headers: &HeaderMap) -> Result<Signed<'_>, Problem> {
    Ok(Signed {
        id: header(headers, "webhook-id")?,
        timestamp: header(headers, "webhook-timestamp")?,
        signature: header(headers, "webhook-signature")?,
    })
}

/// Refuses a body that its headers do not fit.
pub(crate) fn verify(signed: &Signed<'_>, state: &HttpState, body: &[u8]) -> Result<(), Problem> {
    let auth = &state.settings.auth;
    Ok(signed.verify(
        &auth.webhook_secrets,
        body,
        state.clock.now_s(),
        auth.webhook_tolerance_s,
    )?)
}

/// At most `bytes_max` of a body, within `limits::REQUEST_BODY_MS`; more is refused as soon as it is known.
pub(crate) async fn read(payload: web::Payload, bytes_max: usize) -> Result<bytes::Bytes, Problem> {
    read_admitted(payload, bytes_max, |_| Ok(())).await
}

/// Likewise, and `admit` is asked for the bytes of each piece before it is kept.
pub(crate) async fn read_admitted(
    payload: web::Payload,
    bytes_max: usize,
    admit: impl FnMut(usize) -> Result<(), Problem>,
) -> Result<bytes::Bytes, Problem> {
    let too_slow = |_| {
        Problem::new(
            Code::RequestTimeout,
            format!("the body was not there within {REQUEST_BODY_MS} ms"),
        )
    };
    tokio::time::timeout(
        Duration::from_millis(REQUEST_BODY_MS),
        collect(payload, bytes_max, admit),
    )
    .await
    .map_err(too_slow)?
}

async fn collect(
    mut payload: web::Payload,
    bytes_max: usize,
    mut admit: impl FnMut(usize) -> Result<(), Problem>,
) -> Result<bytes::Bytes, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(Code::InvalidJson, format!("the body broke off: {error}"))
        })?;
        if body.len() + chunk.len() > bytes_max {
            return Err(Problem::new(
                Code::BodyTooLarge,
                format!("the body may have {bytes_max} bytes"),
            ));
        }
        admit(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Problem> {
    let missing = || {
        Problem::new(
            Code::MissingSignature,
            format!("the header {name} is missing"),
        )
        .field(name)
    };
    let mut all = headers.get_all(name);
    let value = all
        .next()
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.is_empty());
    // What stands between may have looked at the other one.
    if all.next().is_some() {
        return Err(Problem::new(
            Code::InvalidSignature,
            format!("the header {name} is there twice"),
        )
        .field(name));
    }
    value.ok_or_else(missing)
}

/// A body without a type is taken as JSON.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::new(
            Code::UnsupportedMediaType,
            "content-type must be application/json",
        ))
    }
}
