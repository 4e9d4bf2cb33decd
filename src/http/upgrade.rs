//! `GET /ws`: who may open a session, before there is one.

use std::rc::Rc;

use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::coordinator::messages::Peer;

use super::HttpState;
use super::browser_api::bearer;
use super::connections::Watched;
use super::problem::{Code, Problem};
use super::session;
use super::session_shared::{Opening, SessionPlace};
use super::session_token::{Session, TokenError};

/// The subprotocol of this service.
pub(super) const PROTOCOL: &str = "balance.v1";
/// A subprotocol that carries a session token, for browsers, which can't set headers.
const BEARER_PROTOCOL: &str = "bearer.";
/// The longest user agent that is kept, in bytes.
const USER_AGENT_BYTES_MAX: usize = 160;

/// `GET /ws`
pub(super) async fn upgrade(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    let shared = state.sessions.clone();
    let full = || Problem::new(Code::Overloaded, "no more sessions fit; come back later");
    let place = SessionPlace::take(&shared).ok_or_else(full)?;
    let token = bearer(request.headers()).or_else(|| offered_token(request.headers()));
    let authenticated: Option<Result<Session, TokenError>> =
        token.map(|token| shared.keys.verify(token, shared.clock.now_s()));
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let peer = Peer {
        address: request.peer_addr().map(|peer| peer.ip()),
        user_agent: user_agent.map(|text| text.chars().take(USER_AGENT_BYTES_MAX).collect::<String>().into()),
        connected_at_us: shared.clock.now_us(),
    };
    let response = session::start(Opening { shared, place, authenticated, peer }, &request, payload)?;
    // From here on the session has time-outs of its own.
    if let Some(connection) = request.conn_data::<Rc<Watched>>() {
        connection.release();
    }
    Ok(response)
}

fn offered_token(headers: &HeaderMap) -> Option<&str> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    offers.flat_map(|list| list.split(',')).find_map(|one| one.trim().strip_prefix(BEARER_PROTOCOL))
}
