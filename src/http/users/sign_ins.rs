//! `POST /api/v1/sessions`: a session token for whom Telegram vouches.
//!
//! Owns how often an address may try. A right sign-in is not held up by the failures of others at the same address, which
//! behind a proxy is everybody's: failures only turn the answer to further failures into 429.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::clock;
use crate::credentials::session_token::Session;
use crate::http::extract::parse_body;
use crate::http::extract::sign_in::{Credentials, SignInError};
use crate::http::extract::signed::{check_json, read};
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;
use crate::limits::INIT_DATA_BYTES_MAX;

/// Room for escapes of JSON, and for the name.
const BODY_BYTES_MAX: usize = 2 * INIT_DATA_BYTES_MAX + 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionRequest {
    init_data: String,
}

/// `POST /api/v1/sessions`
pub(crate) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    if !state
        .sign_ins
        .try_take(address(&request), state.clock.monotonic_us())
    {
        return Err(Problem::new(
            Code::RateLimited,
            "too many sign-ins from this address",
        ));
    }
    check_json(request.headers())?;
    let body = read(payload, BODY_BYTES_MAX).await?;
    let wanted: SessionRequest = parse_body(&body)?;
    let session = authenticate(
        &request,
        &state,
        &Credentials::InitData(wanted.init_data.into()),
    )
    .await?;
    let issued = state.sessions.keys.issue(
        session.user_id,
        state.settings.auth.session_ttl_s,
        state.clock.now_s(),
    );
    let expires_at = clock::rfc3339(issued.expires_at_s.saturating_mul(1_000_000));
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(
            json!({ "token": issued.token, "expires_at": expires_at, "user_id": session.user_id }),
        ))
}

/// Who sends a request. Init data that is refused counts as a failure of its address.
pub(super) async fn authenticate(
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
            .try_take(address(request), state.clock.monotonic_us())
    {
        return Err(Problem::new(
            Code::RateLimited,
            "too many failed sign-ins from this address",
        ));
    }
    Err(error.into())
}

fn address(request: &HttpRequest) -> IpAddr {
    request
        .peer_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}
