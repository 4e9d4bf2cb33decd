//! Signed reads and administration of users for back ends.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use crate::clock;
use crate::config::SESSION_TTL_S_MAX;
use crate::coordinator::messages::{GetBalance, ToUser};
use crate::coordinator::{BalanceView, Shown};
use crate::domain::{TelegramId, UserId};
use crate::ledger::store::PutUserOutcome;
use crate::ledger::{EntryRecord, HistoryPage, LedgerError};
use crate::limits::{HISTORY_ENTRIES_MAX, MIN_VERSION_WAIT_MS};

use super::HttpState;
use super::body::{read_signed, read_signed_json};
use super::problem::{Code, Problem};
use super::webhooks::unroutable;

const HISTORY_ENTRIES_DEFAULT: i64 = 50;

/// What a balance is asked for with.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BalanceQuery {
    #[serde(default)]
    pub fresh: bool,
    pub min_version: Option<i64>,
}

/// What a history is asked for with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    limit: Option<i64>,
    before_version: Option<i64>,
}

/// Reads a query string; the refusal names the parameter.
pub(super) fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(request.query_string().as_bytes());
    let deserializer = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let name = error.path().to_string();
        Problem::new(Code::InvalidField, format!("the parameter {name}: {}", error.into_inner())).field(name)
    })
}

/// The user id of the path.
pub(super) fn path_user(request: &HttpRequest) -> Result<UserId, Problem> {
    let text = request.match_info().get("user_id").unwrap_or_default();
    UserId::parse(text).map_err(|error| Problem::new(Code::InvalidField, format!("user_id {error}")).field("user_id"))
}

/// Asks a user's actor. With `min_version` it waits, but not for ever.
pub(super) async fn ask_balance(
    state: &HttpState,
    user_id: UserId,
    query: &BalanceQuery,
) -> Result<BalanceView, Problem> {
    let view = ask_actor(state, user_id, query.fresh, query.min_version).await?;
    if view.exists || state.settings.accounts.auto_create {
        return Ok(view);
    }
    // It may have been made since the actor has looked.
    let view = if query.fresh { view } else { ask_actor(state, user_id, true, None).await? };
    if view.exists || view.is_stale { Ok(view) } else { Err(unknown_user()) }
}

async fn ask_actor(
    state: &HttpState,
    user_id: UserId,
    is_fresh: bool,
    min_version: Option<i64>,
) -> Result<BalanceView, Problem> {
    let (reply, answer) = oneshot::channel();
    let message = GetBalance { is_fresh, min_version, reply };
    state.registry.try_send(ToUser { user_id, message }).map_err(unroutable)?;
    let wait_ms = if min_version.is_some() { MIN_VERSION_WAIT_MS } else { state.settings.database.timeout_ms };
    let answered = tokio::time::timeout(std::time::Duration::from_millis(wait_ms), answer).await;
    match (answered, min_version) {
        (Ok(Ok(result)), _) => Ok(result?),
        (Err(_), Some(version)) => {
            let detail = format!("version {version} was not there within {MIN_VERSION_WAIT_MS} ms");
            Err(Problem::new(Code::VersionNotReached, detail).field("min_version"))
        }
        (Ok(Err(_)) | Err(_), _) => Err(LedgerError::Unavailable("no answer from the actor".into()).into()),
    }
}

fn unknown_user() -> Problem {
    Problem::new(Code::UnknownUser, "the user does not exist").field("user_id")
}

/// A balance as both listeners answer it.
pub(super) fn balance_json(state: &HttpState, view: &BalanceView) -> serde_json::Value {
    json!({
        "user_id": view.user_id,
        "epoch": state.ledger.epoch(),
        "version": view.version,
        "balances": Shown(&state.settings.currencies, &view.balances),
        "as_of": clock::rfc3339(view.as_of_us),
        "stale": view.is_stale,
    })
}

/// A user's history as both listeners answer it. Written as it is: a detour through `Value` would change metadata.
#[derive(Debug, Serialize)]
pub(super) struct History {
    entries: Vec<EntryRecord>,
}

/// Reads a page of a user's history.
pub(super) async fn history(state: &HttpState, user_id: UserId, query: &HistoryQuery) -> Result<History, Problem> {
    let limit = query.limit.unwrap_or(HISTORY_ENTRIES_DEFAULT);
    if !(1..=HISTORY_ENTRIES_MAX).contains(&limit) {
        let detail = format!("limit must be 1 to {HISTORY_ENTRIES_MAX}");
        return Err(Problem::new(Code::InvalidField, detail).field("limit"));
    }
    let page = HistoryPage { limit, before_version: query.before_version };
    let entries = state.ledger.history(user_id, page).await?;
    if entries.is_empty() && !state.settings.accounts.auto_create && !state.ledger.user_exists(user_id).await? {
        return Err(unknown_user());
    }
    Ok(History { entries })
}

/// `GET /internal/v1/users/{user_id}/balance`
pub(super) async fn balance(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    read_signed(&request, payload, &state, state.settings.limits.body_bytes).await?;
    let view = ask_balance(&state, path_user(&request)?, &query(&request)?).await?;
    Ok(HttpResponse::Ok().json(balance_json(&state, &view)))
}

/// `GET /internal/v1/users/{user_id}/entries`
pub(super) async fn entries(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    read_signed(&request, payload, &state, state.settings.limits.body_bytes).await?;
    Ok(HttpResponse::Ok().json(history(&state, path_user(&request)?, &query(&request)?).await?))
}

/// A small body of known fields; serde's message names the field.
pub(super) fn parse_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // serde would take an array for the object's fields in their order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::new(Code::InvalidJson, "not a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let message = inner.to_string();
        let code = match inner.classify() {
            serde_json::error::Category::Data if message.starts_with("unknown field") => Code::UnknownField,
            serde_json::error::Category::Data => Code::InvalidField,
            _ => Code::InvalidJson,
        };
        // The name of a missing or unknown field stands between backticks.
        let named = message.split('`').nth(1).filter(|_| path == ".").map_or(path, str::to_owned);
        Problem::new(code, message).field(named)
    })?;
    deserializer.end().map_err(|error| Problem::new(Code::InvalidJson, format!("not a JSON object: {error}")))?;
    Ok(parsed)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    user_id: i64,
    #[serde(default, deserialize_with = "present")]
    ttl_s: Option<u64>,
}

/// `POST /internal/v1/tokens`
pub(super) async fn tokens(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let body = read_signed_json(&request, payload, &state, state.settings.limits.body_bytes).await?;
    let wanted: TokenRequest = parse_body(&body)?;
    token_answer(&state, wanted.user_id, wanted.ttl_s)
}

/// Makes a session token and answers with it.
pub(super) fn token_answer(state: &HttpState, user_id: i64, ttl_s: Option<u64>) -> Result<HttpResponse, Problem> {
    let invalid =
        |name: &'static str, why: String| Problem::new(Code::InvalidField, format!("{name} {why}")).field(name);
    let user_id = UserId::new(user_id).map_err(|error| invalid("user_id", error.to_string()))?;
    let ttl_s = ttl_s.unwrap_or(state.settings.auth.session_ttl_s);
    if !(1..=SESSION_TTL_S_MAX).contains(&ttl_s) {
        return Err(invalid("ttl_s", format!("must be 1 to {SESSION_TTL_S_MAX}")));
    }
    let issued = state.sessions.keys.issue(user_id, ttl_s, state.clock.now_s());
    let expires_at = clock::rfc3339(issued.expires_at_s.saturating_mul(1_000_000));
    Ok(HttpResponse::Ok().json(json!({ "token": issued.token, "expires_at": expires_at })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRequest {
    #[serde(default, deserialize_with = "present")]
    telegram_id: Option<i64>,
}

/// A member that may be missing, but not null.
fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// `PUT /internal/v1/users/{user_id}`
pub(super) async fn put_user(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Problem> {
    let body = read_signed_json(&request, payload, &state, state.settings.limits.body_bytes).await?;
    let user_id = path_user(&request)?;
    let wanted: UserRequest = parse_body(&body)?;
    let telegram_id = wanted
        .telegram_id
        .map(TelegramId::new)
        .transpose()
        .map_err(|error| Problem::new(Code::InvalidField, format!("telegram_id {error}")).field("telegram_id"))?;
    if state.is_stopping() {
        return Err(Problem::new(Code::ShuttingDown, "the service is stopping"));
    }
    match state.ledger.put_user(user_id, telegram_id).await? {
        PutUserOutcome::LinkedElsewhere => {
            Err(Problem::new(Code::AlreadyLinked, "another user has this Telegram id").field("telegram_id"))
        }
        PutUserOutcome::Stored { telegram_id: Some(id) } => {
            Ok(HttpResponse::Ok().json(json!({ "user_id": user_id, "telegram_id": id })))
        }
        PutUserOutcome::Stored { telegram_id: None } => Ok(HttpResponse::Ok().json(json!({ "user_id": user_id }))),
    }
}
