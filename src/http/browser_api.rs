//! Reads for browsers, with a session token.

use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, ETAG, HeaderMap, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};

use super::HttpState;
use super::internal_reads::{BalanceQuery, ask_balance, balance_json, history, query};
use super::problem::{Code, Problem};
use super::session_token::Session;

/// The token of the one `Authorization: Bearer` header. Of two headers a proxy may have looked at the other, so neither
/// counts.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION);
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

fn session(request: &HttpRequest, state: &HttpState) -> Result<Session, Problem> {
    let refuse = |why: String| Problem::new(Code::Unauthorized, why);
    let token = bearer(request.headers()).ok_or_else(|| refuse("a bearer token is needed".into()))?;
    state.sessions.keys.verify(token, state.clock.now_s()).map_err(|error| refuse(error.to_string()))
}

/// `GET /api/v1/balance`
pub(super) async fn balance(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let session = session(&request, &state)?;
    let wanted: BalanceQuery = query(&request)?;
    let view = ask_balance(&state, session.user_id, &wanted).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "private, no-cache"));
    if !view.is_stale {
        let etag = format!("\"{}.{}\"", state.ledger.epoch(), view.version);
        let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        let mut tags = known.flat_map(|list| list.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let is_known = tags.any(|tag| tag == etag || tag == "*");
        answer.insert_header((ETAG, etag));
        if is_known {
            return Ok(answer.status(super::problem::not_modified()).finish());
        }
    }
    Ok(answer.json(balance_json(&state, &view)))
}

/// `GET /api/v1/entries`
pub(super) async fn entries(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let session = session(&request, &state)?;
    let history = history(&state, session.user_id, &query(&request)?).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "private, no-cache")).json(history))
}
