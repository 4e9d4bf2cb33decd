//! `GET /ws`: the handshake that opens a session.

use std::fmt::Display;

use actix_http::ws::handshake;
use actix_web::http::Version;
use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use actix_web::{HttpMessage as _, HttpRequest};

use crate::coordinator::messages::Peer;
use crate::http::extract::sign_in::Credentials;
use crate::http::extract::{self, sign_in};
use crate::http::problem::{Answer, Code, Problem};
use crate::http::session::frames::PROTOCOL;
use crate::http::session::shared::{Opening, SessionPlace};
use crate::http::session::socket::Upgradable;
use crate::http::state::Data;

/// The prefix of a subprotocol that carries a session token, since browsers can't set headers on WebSockets.
const BEARER_PROTOCOL: &str = "bearer.";
/// The longest user agent that is kept, in bytes.
const USER_AGENT_BYTES_MAX: usize = 160;

/// `GET /ws`
pub(in crate::http) async fn upgrade(state: Data, request: HttpRequest) -> Answer {
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    let shared = state.sessions.clone();
    let full = || Problem::new(Code::Overloaded, "no more sessions fit; come back later");
    let place = SessionPlace::take(&shared).ok_or_else(full)?;
    let offered = || offered_token(request.headers()).map(|token| Credentials::Token(token.into()));
    let credentials = sign_in::of_headers(request.headers())
        .or_else(offered)
        .map(Credentials::into_owned);
    let user_agent = request
        .headers()
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok());
    let peer = Peer {
        address: Some(extract::address(&request)),
        user_agent: user_agent.map(|text| {
            text.chars()
                .take(USER_AGENT_BYTES_MAX)
                .collect::<String>()
                .into()
        }),
        connected_at: shared.clock.wall(),
    };
    let mut response = accept(&request)?;
    response.extensions_mut().insert(Opening {
        shared,
        place,
        credentials,
        peer,
    });
    Ok(response)
}

/// The answer to a handshake.
fn accept(request: &HttpRequest) -> Answer {
    let refused = |error: &dyn Display| {
        Problem::new(
            Code::UpgradeRequired,
            format!("no WebSocket handshake: {error}"),
        )
    };
    if !request.extensions().contains::<Upgradable>() {
        return Err(refused(&"WebSocket upgrade is expected"));
    }
    // An answer to HTTP/1.0 may not switch protocols (RFC 9110, section 7.8).
    if request.version() < Version::HTTP_11 {
        return Err(refused(&"HTTP/1.1 is needed"));
    }
    let mut response = handshake(request.head()).map_err(|error| refused(&error))?;
    if offers(request.headers()).any(|offer| offer == PROTOCOL) {
        response.insert_header((SEC_WEBSOCKET_PROTOCOL, PROTOCOL));
    }
    Ok(response.finish().map_into_boxed_body().into())
}

/// The subprotocols that a client offers.
fn offers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

fn offered_token(headers: &HeaderMap) -> Option<&str> {
    offers(headers).find_map(|offer| offer.strip_prefix(BEARER_PROTOCOL))
}
