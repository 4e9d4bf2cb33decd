//! Types for handlers' signatures: the sender of a request, and its content.
//!
//! [`admin::Admin`], [`signed::Signed`], [`signed::SignedJson`] and [`visitor::Visitor`] check a credential. Their
//! type parameter is extracted only after the credential was found valid, so that the answer to a request without one
//! never depends on its query or path. Every refusal is a [`Problem`].

use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use crate::domain::UserId;
use crate::http::problem::{Code, Problem};
use crate::http::state::Data;

mod address;
pub(super) mod admin;
pub(super) mod bodies;
pub(super) mod json;
mod query;
pub(super) mod rate_limit;
pub(super) mod sign_in;
pub(super) mod signed;
pub(super) mod trace;
pub(super) mod visitor;

pub(super) use query::Query;

/// The user id in the path.
#[derive(Debug)]
pub(super) struct PathUser(pub UserId);

impl FromRequest for PathUser {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let text = request.match_info().get("user_id").unwrap_or_default();
        ready(
            UserId::parse(text)
                .map(Self)
                .map_err(|error| invalid("user_id", error)),
        )
    }
}

/// A field or parameter that can't be used, and why.
pub(super) fn invalid(name: &'static str, why: impl std::fmt::Display) -> Problem {
    Problem::new(Code::InvalidField, format!("{name} {why}")).field(name)
}

/// The user that a parameter names, if it is given.
pub(super) fn query_user(user_id: Option<i64>) -> Result<Option<UserId>, Problem> {
    let user_id = user_id.map(UserId::new).transpose();
    user_id.map_err(|error| invalid("user_id", error))
}

/// The state that every handler shares.
pub(super) fn state(request: &HttpRequest) -> Data {
    let state: Option<&Data> = request.app_data();
    state
        .expect("both listeners start with the state as app data")
        .clone()
}

/// The address of the client, for rate limits, logs and lists of sessions.
pub(super) fn address(request: &HttpRequest) -> IpAddr {
    address::of(request, &state(request).access.now().trusted_proxies)
}
