//! Reads for browsers, with a session token or Telegram's init data.

use actix_web::http::header::{CACHE_CONTROL, ETAG};
use actix_web::{HttpRequest, HttpResponse};

use crate::http::extract::Query;
use crate::http::extract::visitor::Visitor;
use crate::http::files::is_known;
use crate::http::problem::{Answer, not_modified};
use crate::http::state::Data;
use crate::http::users::{BalanceQuery, HistoryQuery, ask_balance, balance_json, history};

/// `GET /api/v1/balance`
pub(in crate::http) async fn balance(
    state: Data,
    visitor: Visitor<Query<BalanceQuery>>,
    request: HttpRequest,
) -> Answer {
    let view = ask_balance(&state, visitor.user_id, &visitor.asked.0).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "private, no-cache"));
    if !view.is_stale {
        let etag = format!("\"{}.{}\"", view.epoch, view.account.version);
        answer.insert_header((ETAG, etag.as_str()));
        if is_known(&request, &etag) {
            return Ok(answer.status(not_modified()).finish());
        }
    }
    Ok(answer.json(balance_json(&state, visitor.user_id, &view)))
}

/// `GET /api/v1/entries`
pub(in crate::http) async fn entries(state: Data, visitor: Visitor<Query<HistoryQuery>>) -> Answer {
    let history = history(&state, visitor.user_id, &visitor.asked.0).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "private, no-cache"))
        .json(history))
}
