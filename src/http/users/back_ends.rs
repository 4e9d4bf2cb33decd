//! Signed reads and administration of users for back ends.

use actix_web::HttpResponse;
use serde_json::json;

use crate::domain::TelegramId;
use crate::http::extract::json::JsonObject;
use crate::http::extract::signed::{Signed, SignedJson};
use crate::http::extract::{PathUser, Query, invalid};
use crate::http::problem::{Answer, Code, Problem};
use crate::http::state::Data;
use crate::http::users::{
    BalanceQuery, HistoryQuery, ask_balance, balance_json, history, token_answer,
};
use crate::ledger::PutUserOutcome;

/// `GET /internal/v1/users/{user_id}/balance`
pub(in crate::http) async fn balance(
    state: Data,
    request: Signed<(PathUser, Query<BalanceQuery>)>,
) -> Answer {
    let (PathUser(user_id), Query(query)) = request.asked;
    let view = ask_balance(&state, user_id, &query).await?;
    Ok(HttpResponse::Ok().json(balance_json(&state, user_id, &view)))
}

/// `GET /internal/v1/users/{user_id}/entries`
pub(in crate::http) async fn entries(
    state: Data,
    request: Signed<(PathUser, Query<HistoryQuery>)>,
) -> Answer {
    let (PathUser(user_id), Query(query)) = request.asked;
    Ok(HttpResponse::Ok().json(history(&state, user_id, &query).await?))
}

/// `POST /internal/v1/tokens`
pub(in crate::http) async fn tokens(state: Data, SignedJson(request): SignedJson) -> Answer {
    let body = JsonObject::closed(&request.body, &["user_id", "ttl_s"])?;
    token_answer(&state, body.user_id()?, body.number("ttl_s")?)
}

/// `PUT /internal/v1/users/{user_id}`
pub(in crate::http) async fn put_user(
    state: Data,
    SignedJson(request): SignedJson<PathUser>,
) -> Answer {
    let PathUser(user_id) = request.asked;
    let body = JsonObject::closed(&request.body, &["telegram_id"])?;
    let telegram_id = body.number("telegram_id")?.map(TelegramId::new).transpose();
    let telegram_id = telegram_id.map_err(|error| invalid("telegram_id", error))?;
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    match state.ledger.put_user(user_id, telegram_id).await? {
        PutUserOutcome::LinkedElsewhere => Err(Problem::new(
            Code::AlreadyLinked,
            "another user has this Telegram id",
        )
        .field("telegram_id")),
        PutUserOutcome::Stored {
            telegram_id: Some(id),
        } => Ok(HttpResponse::Ok().json(json!({ "user_id": user_id, "telegram_id": id }))),
        PutUserOutcome::Stored { telegram_id: None } => {
            Ok(HttpResponse::Ok().json(json!({ "user_id": user_id })))
        }
    }
}
