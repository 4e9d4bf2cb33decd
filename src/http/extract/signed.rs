//! Signed requests of back ends: signature headers first, then a bounded body, then the signature, then the timestamp.
//! Only then may the body be parsed.

use std::future::ready;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::{Error, FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;

use crate::credentials::webhook;
use crate::http::extract::bodies::{Body, Share, read};
use crate::http::extract::state;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;

/// A request with a valid signature over a body of at most `limits.body_bytes`, and what it asks for.
#[derive(Debug)]
pub(in crate::http) struct Signed<T = ()> {
    pub body: Body,
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
    let state = state(request);
    if let Err(refused) = check_signature(request.headers()) {
        return Box::pin(ready(Err(refused.into())));
    }
    let (request, payload) = (request.clone(), payload.take());
    Box::pin(async move {
        let (bytes_max, room) = (
            state.settings.limits.body_bytes,
            state.bodies.room(Share::Signed),
        );
        let body = read(request.headers(), payload, bytes_max, room).await?;
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
    body: Body,
}

impl Sealed {
    /// Reads the body of a batch.
    pub(in crate::http) async fn read(
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<Self, Problem> {
        let (headers, state) = (request.headers(), state(request));
        check_signature(headers)?;
        let (bytes_max, room) = (
            state.settings.limits.batch_body_bytes,
            state.bodies.room(Share::Batch),
        );
        Ok(Self {
            body: read(headers, payload, bytes_max, room).await?,
            headers: headers.clone(),
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

/// The value of a header that is there once. One that can't be used is not missing.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Problem> {
    let refusal =
        |code, what: &str| Problem::new(code, format!("the header {name} {what}")).field(name);
    let mut all = headers.get_all(name);
    let value = all
        .next()
        .ok_or_else(|| refusal(Code::MissingSignature, "is missing"))?;
    // A proxy may have looked at the other one.
    if all.next().is_some() {
        return Err(refusal(Code::InvalidSignature, "is there twice"));
    }
    match value.to_str() {
        Ok("") => Err(refusal(Code::InvalidSignature, "is empty")),
        Ok(text) => Ok(text),
        Err(_) => Err(refusal(
            Code::InvalidSignature,
            "has other characters than printable ASCII",
        )),
    }
}

/// Refuses headers that can't sign any body, before the body is read.
fn check_signature(headers: &HeaderMap) -> Result<(), Problem> {
    Ok(signature(headers)?.check_form()?)
}

/// Refuses a body that its headers do not sign, or did not sign lately.
fn verify(headers: &HeaderMap, state: &HttpState, body: &[u8]) -> Result<(), Problem> {
    let access = state.access.now();
    let auth = &access.auth;
    let now_s = state.clock.now_s();
    signature(headers)?.verify(&auth.webhook_secrets, body, now_s, auth.webhook_tolerance_s)?;
    Ok(())
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
