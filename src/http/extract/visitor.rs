//! Browsers: signed in by a session token or by Telegram's init data.
//!
//! Counts failed sign-ins by address. A valid sign-in is not delayed by failures at the same address, since behind a proxy
//! all browsers may share one: failures only turn the answer to further failures into 429.

use actix_web::dev::Payload;
use actix_web::{Error, FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;

use crate::credentials::session_token::Session;
use crate::domain::UserId;
use crate::http::extract::sign_in::{Credentials, SignInError, of_headers};
use crate::http::extract::{address, state};
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;

/// A request of a signed-in user who is within the rate of `limits.api_requests_per_s`, and what it asks for.
#[derive(Debug)]
pub(in crate::http) struct Visitor<T> {
    pub user_id: UserId,
    pub asked: T,
}

impl<T: FromRequest + 'static> FromRequest for Visitor<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let missing = || {
                Problem::new(
                    Code::Unauthorized,
                    "a bearer token, or Telegram's init data, is needed",
                )
            };
            let credentials = of_headers(request.headers()).ok_or_else(missing)?;
            let state = state(&request);
            let session = authenticate(&request, &state, &credentials).await?;
            let is_within = state
                .api_requests
                .try_take(session.user_id, state.clock.mono());
            if !is_within {
                return Err(
                    Problem::new(Code::RateLimited, "too many requests of this user").into(),
                );
            }
            let asked = T::from_request(&request, &mut Payload::None).await;
            Ok(Self {
                user_id: session.user_id,
                asked: asked.map_err(Into::into)?,
            })
        })
    }
}

/// The session that credentials give. Init data that is refused counts as a failure of the address.
pub(in crate::http) async fn authenticate(
    request: &HttpRequest,
    state: &HttpState,
    credentials: &Credentials<'_>,
) -> Result<Session, Problem> {
    let error = match state.sessions.sign_in.check(credentials).settled().await {
        Ok(session) => return Ok(session),
        Err(error) => error,
    };
    let counts =
        matches!(credentials, Credentials::InitData(_)) && !matches!(error, SignInError::Ledger(_));
    if counts
        && !state
            .sign_in_failures
            .try_take(address(request), state.clock.mono())
    {
        return Err(Problem::new(
            Code::RateLimited,
            "too many failed sign-ins from this address",
        ));
    }
    Err(error.into())
}

/// A request to sign in that is within the rate of its address. Only then its body is read.
#[derive(Debug)]
pub(in crate::http) struct WithinRate<T>(pub T);

impl<T: FromRequest + 'static> FromRequest for WithinRate<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let state = state(request);
        let is_within = state
            .sign_ins
            .try_take(address(request), state.clock.mono());
        let asked = is_within.then(|| T::from_request(request, payload));
        Box::pin(async move {
            let too_many =
                || Problem::new(Code::RateLimited, "too many sign-ins from this address");
            let asked = asked.ok_or_else(too_many)?.await;
            Ok(Self(asked.map_err(Into::into)?))
        })
    }
}
