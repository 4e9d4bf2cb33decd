//! Signed reads and administration of users for back ends.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use crate::domain::TelegramId;
use crate::http::extract::signed::{read_signed, read_signed_json};
use crate::http::extract::{parse_body, path_user, present, query};
use crate::http::problem::{Code, Problem};
use crate::http::state::HttpState;
use crate::http::users::{ask_balance, balance_json, history, token_answer};
use crate::ledger::store::PutUserOutcome;

/// `GET /internal/v1/users/{user_id}/balance`
pub(crate) async fn balance(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    read_signed(&request, payload, &state, state.settings.limits.body_bytes).await?;
    let user_id = path_user(&request)?;
    let view = ask_balance(&state, user_id, &query(&request)?).await?;
    Ok(HttpResponse::Ok().json(balance_json(&state, user_id, &view)))
}

/// `GET /internal/v1/users/{user_id}/entries`
pub(crate) async fn entries(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    read_signed(&request, payload, &state, state.settings.limits.body_bytes).await?;
    Ok(HttpResponse::Ok().json(history(&state, path_user(&request)?, &query(&request)?).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    user_id: i64,
    #[serde(default, deserialize_with = "present")]
    ttl_s: Option<u64>,
}

/// `POST /internal/v1/tokens`
pub(crate) async fn tokens(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let body =
        read_signed_json(&request, payload, &state, state.settings.limits.body_bytes).await?;
    let wanted: TokenRequest = parse_body(&body)?;
    token_answer(&state, wanted.user_id, wanted.ttl_s)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRequest {
    #[serde(default, deserialize_with = "present")]
    telegram_id: Option<i64>,
}

/// `PUT /internal/v1/users/{user_id}`
pub(crate) async fn put_user(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let body =
        read_signed_json(&request, payload, &state, state.settings.limits.body_bytes).await?;
    let user_id = path_user(&request)?;
    let wanted: UserRequest = parse_body(&body)?;
    let telegram_id = wanted
        .telegram_id
        .map(TelegramId::new)
        .transpose()
        .map_err(|error| {
            Problem::new(Code::InvalidField, format!("telegram_id {error}")).field("telegram_id")
        })?;
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
