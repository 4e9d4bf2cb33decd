//! Reads for browsers, with a session token or Telegram's init data.

use actix_web::http::header::{CACHE_CONTROL, ETAG};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::credentials::session_token::Session;
use crate::http::extract::{query, sign_in};
use crate::http::files::is_known;
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;
use crate::http::users::{BalanceQuery, ask_balance, balance_json, history, sign_ins};

async fn session(request: &HttpRequest, state: &HttpState) -> Result<Session, Problem> {
    let missing = || {
        Problem::new(
            Code::Unauthorized,
            "a bearer token, or Telegram's init data, is needed",
        )
    };
    let credentials = sign_in::of_headers(request.headers()).ok_or_else(missing)?;
    sign_ins::authenticate(request, state, &credentials).await
}

/// `GET /api/v1/balance`
pub(crate) async fn balance(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let session = session(&request, &state).await?;
    let wanted: BalanceQuery = query(&request)?;
    let view = ask_balance(&state, session.user_id, &wanted).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "private, no-cache"));
    if !view.is_stale {
        let etag = format!("\"{}.{}\"", state.ledger.epoch(), view.account.version);
        answer.insert_header((ETAG, etag.as_str()));
        if is_known(&request, &etag) {
            return Ok(answer.status(crate::http::problem::not_modified()).finish());
        }
    }
    Ok(answer.json(balance_json(&state, session.user_id, &view)))
}

/// `GET /api/v1/entries`
pub(crate) async fn entries(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let session = session(&request, &state).await?;
    let history = history(&state, session.user_id, &query(&request)?).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "private, no-cache"))
        .json(history))
}
