//! Reads for browsers, with a session token or Telegram's init data.

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};

use super::HttpState;
use super::internal_reads::{BalanceQuery, ask_balance, balance_json, history, query};
use super::problem::{Code, Problem};
use super::session_token::Session;
use super::{sessions, sign_in};

async fn session(request: &HttpRequest, state: &HttpState) -> Result<Session, Problem> {
    let missing = || Problem::new(Code::Unauthorized, "a bearer token, or Telegram's init data, is needed");
    let credentials = sign_in::of_headers(request.headers()).ok_or_else(missing)?;
    sessions::authenticate(request, state, &credentials).await
}

/// Whether the asker has this already, by `If-None-Match`.
pub(super) fn is_known(request: &HttpRequest, etag: &str) -> bool {
    let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let mut tags = known.flat_map(|list| list.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == etag || tag == "*")
}

/// `GET /api/v1/balance`
pub(super) async fn balance(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let session = session(&request, &state).await?;
    let wanted: BalanceQuery = query(&request)?;
    let view = ask_balance(&state, session.user_id, &wanted).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "private, no-cache"));
    if !view.is_stale {
        let etag = format!("\"{}.{}\"", state.ledger.epoch(), view.version);
        answer.insert_header((ETAG, etag.as_str()));
        if is_known(&request, &etag) {
            return Ok(answer.status(super::problem::not_modified()).finish());
        }
    }
    Ok(answer.json(balance_json(&state, &view)))
}

/// `GET /api/v1/entries`
pub(super) async fn entries(request: HttpRequest, state: web::Data<HttpState>) -> Result<HttpResponse, Problem> {
    let session = session(&request, &state).await?;
    let history = history(&state, session.user_id, &query(&request)?).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "private, no-cache")).json(history))
}
