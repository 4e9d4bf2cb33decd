//! Bearer tokens of administrators and of the metrics endpoint.

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::{Error, FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use subtle::ConstantTimeEq as _;

use crate::config::Secret;
use crate::credentials::access::Access;
use crate::http::extract::sign_in::bearer;
use crate::http::extract::{address, state};
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;

/// A request of an administrator, and what it asks for.
#[derive(Debug)]
pub(in crate::http) struct Admin<T = ()> {
    /// The name of the token, for the admin log.
    pub name: String,
    /// The address of the client, for the same.
    pub address: IpAddr,
    pub asked: T,
}

impl<T: FromRequest + 'static> FromRequest for Admin<T> {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let name = match authorize(request, &state(request)) {
            Ok(name) => name,
            Err(refused) => return Box::pin(ready(Err(refused.into()))),
        };
        let (address, asked) = (address(request), T::from_request(request, payload));
        Box::pin(async move {
            let asked = asked.await.map_err(Into::into)?;
            Ok(Self {
                name,
                address,
                asked,
            })
        })
    }
}

/// The name of the token that a request carries. Compares it with every token, each in constant time. Failures of an address
/// turn the answer to further failures into 429 and never delay a right token: behind a proxy all administrators may share
/// an address.
fn authorize(request: &HttpRequest, state: &HttpState) -> Result<String, Problem> {
    name_of(given(request), &state.access.now()).ok_or_else(|| {
        let is_within = state
            .admin_failures
            .try_take(address(request), state.clock.mono());
        if is_within {
            Problem::new(
                Code::Unauthorized,
                "an administrator's bearer token is needed",
            )
        } else {
            Problem::new(
                Code::RateLimited,
                "too many failed sign-ins from this address; a right token is accepted at any time",
            )
        }
    })
}

/// The name of an administrator's token.
fn name_of(given: &str, access: &Access) -> Option<String> {
    let tokens = access.auth.admin_tokens.iter();
    let found = tokens.fold(None, |found, admin| {
        if is_same(&admin.token, given) {
            Some(&admin.name)
        } else {
            found
        }
    });
    found.cloned()
}

/// The bearer token of a request; an empty one, which no configured token is, when there is none.
fn given(request: &HttpRequest) -> &str {
    bearer(request.headers()).unwrap_or_default()
}

/// Takes the same time for every wrong token of the same length.
fn is_same(token: &Secret, given: &str) -> bool {
    token.expose().as_bytes().ct_eq(given.as_bytes()).into()
}

/// The token of an answer that goes on for long: the answer ends when the configuration no longer has the token.
/// Not printable.
pub(in crate::http) struct Lasting(String);

impl Lasting {
    pub(in crate::http) fn of(request: &HttpRequest) -> Self {
        Self(given(request).to_owned())
    }

    pub(in crate::http) fn is_good(&self, state: &HttpState) -> bool {
        name_of(&self.0, &state.access.now()).is_some()
    }
}

/// A request that may read the metrics: with the token of `auth.metrics_token`, where one is set.
#[derive(Debug)]
pub(in crate::http) struct MetricsReader;

impl FromRequest for MetricsReader {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let access = state(request).access.now();
        let expected = access.auth.metrics_token.as_ref();
        let is_allowed = expected.is_none_or(|token| is_same(token, given(request)));
        let refusal = || {
            Problem::new(
                Code::Unauthorized,
                "the bearer token of auth.metrics_token is needed",
            )
        };
        ready(is_allowed.then_some(Self).ok_or_else(refusal))
    }
}
