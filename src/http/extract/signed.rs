//! Signed requests of back ends: signature headers first, then a bounded body, then the signature, then the timestamp.
//! Only then may the body be parsed.

use std::future::ready;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::{Error, FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;

use crate::credentials::webhook;
use crate::http::extract::state;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;
use crate::limits::REQUEST_BODY_MS;

/// A request with a valid signature over a body of at most `limits.body_bytes`, and what it asks for.
#[derive(Debug)]
pub(in crate::http) struct Signed<T = ()> {
    pub body: Bytes,
    pub asked: T,
}

impl<T: FromRequest + 'static> FromRequest for Signed<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        extract(request, payload, |_| Ok(()))
    }
}

/// Like [`Signed`], with a body of JSON. The content type is checked after the signature and before `asked`.
#[derive(Debug)]
pub(in crate::http) struct SignedJson<T = ()>(pub Signed<T>);

impl<T: FromRequest + 'static> FromRequest for SignedJson<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let signed = extract(request, payload, check_json);
        Box::pin(async { Ok(Self(signed.await?)) })
    }
}

fn extract<T: FromRequest + 'static>(
    request: &HttpRequest,
    payload: &mut Payload,
    check: fn(&HeaderMap) -> Result<(), Problem>,
) -> LocalBoxFuture<'static, Result<Signed<T>, Error>> {
    if let Err(refused) = signature(request.headers()) {
        return Box::pin(ready(Err(refused.into())));
    }
    let (request, payload) = (request.clone(), payload.take());
    Box::pin(async move {
        let state = state(&request);
        let body = read(payload, state.settings.limits.body_bytes, |_| Ok(())).await?;
        verify(request.headers(), &state, &body)?;
        check(request.headers())?;
        let asked = T::from_request(&request, &mut Payload::None).await;
        let asked = asked.map_err(Into::into)?;
        Ok(Signed { body, asked })
    })
}

/// A JSON body that was read, with the headers that sign it. [`Sealed::open`] gives it away once its signature was verified, on
/// any thread: over a long body that takes milliseconds.
#[derive(Debug)]
pub(in crate::http) struct Sealed {
    headers: HeaderMap,
    body: Bytes,
}

impl Sealed {
    /// Reads at most `bytes_max`; `admit` may refuse each piece before it is kept.
    pub(in crate::http) async fn read(
        request: &HttpRequest,
        payload: Payload,
        bytes_max: usize,
        admit: impl FnMut(usize) -> Result<(), Problem>,
    ) -> Result<Self, Problem> {
        signature(request.headers())?;
        Ok(Self {
            body: read(payload, bytes_max, admit).await?,
            headers: request.headers().clone(),
        })
    }

    pub(in crate::http) fn len(&self) -> usize {
        self.body.len()
    }

    /// Verifies the signature, then the content type.
    pub(in crate::http) fn open(&self, state: &HttpState) -> Result<&[u8], Problem> {
        verify(&self.headers, state, &self.body)?;
        check_json(&self.headers)?;
        Ok(&self.body)
    }
}

/// The headers that sign a body.
fn signature(headers: &HeaderMap) -> Result<webhook::Signed<'_>, Problem> {
    Ok(webhook::Signed {
        id: header(headers, "webhook-id")?,
        timestamp: header(headers, "webhook-timestamp")?,
        signature: header(headers, "webhook-signature")?,
    })
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Problem> {
    let refusal =
        |code, what: &str| Problem::new(code, format!("the header {name} is {what}")).field(name);
    let mut all = headers.get_all(name);
    let value = all
        .next()
        .and_then(|value| value.to_str().ok())
        .filter(|value| !value.is_empty());
    // A proxy may have looked at the other one.
    if all.next().is_some() {
        return Err(refusal(Code::InvalidSignature, "there twice"));
    }
    value.ok_or_else(|| refusal(Code::MissingSignature, "missing"))
}

/// Refuses a body that its headers do not sign, or did not sign lately.
fn verify(headers: &HeaderMap, state: &HttpState, body: &[u8]) -> Result<(), Problem> {
    let auth = &state.settings.auth;
    let now_s = state.clock.now_s();
    signature(headers)?.verify(&auth.webhook_secrets, body, now_s, auth.webhook_tolerance_s)?;
    Ok(())
}

/// Reads a body within `limits::REQUEST_BODY_MS`. More than `bytes_max` is refused as soon as it arrives; `admit` may refuse
/// each piece before it is kept.
pub(super) async fn read(
    payload: Payload,
    bytes_max: usize,
    admit: impl FnMut(usize) -> Result<(), Problem>,
) -> Result<Bytes, Problem> {
    let too_slow = |_| {
        Problem::new(
            Code::RequestTimeout,
            format!("the body did not arrive within {REQUEST_BODY_MS} ms"),
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
    mut payload: Payload,
    bytes_max: usize,
    mut admit: impl FnMut(usize) -> Result<(), Problem>,
) -> Result<Bytes, Problem> {
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

/// Refuses a body of another type than JSON. Without a type it is taken as JSON.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
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
