//! A user's balance, history and tokens: back ends ask by signed requests, browsers with session tokens.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use crate::clock::Wall;
use crate::config::SESSION_TTL_S_MAX;
use crate::coordinator::messages::{GetBalance, ToActor, ToUser};
use crate::coordinator::{BalanceView, Shown};
use crate::credentials::access::Access;
use crate::domain::UserId;
use crate::http::extract::invalid;
use crate::http::problem::{Answer, Code, Problem};
use crate::http::state::HttpState;
use crate::ledger::{EntryRecord, HistoryPage, LedgerError};
use crate::limits::{HISTORY_ENTRIES_MAX, MIN_VERSION_WAIT_MS};
use crate::telemetry::requests;

pub(super) mod back_ends;
pub(super) mod browsers;
pub(super) mod sign_ins;

const HISTORY_ENTRIES_DEFAULT: i64 = 50;

/// The parameters of a request for a balance.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BalanceQuery {
    #[serde(default)]
    pub fresh: bool,
    pub min_version: Option<i64>,
}

/// The parameters of a request for a history.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct HistoryQuery {
    pub limit: Option<i64>,
    pub before_version: Option<i64>,
}

/// Asks the user's actor. With `min_version` it waits at most `limits::MIN_VERSION_WAIT_MS` for that version.
pub(super) async fn ask_balance(
    state: &HttpState,
    user_id: UserId,
    query: &BalanceQuery,
) -> Result<BalanceView, Problem> {
    let view = ask_actor(state, user_id, query.fresh, query.min_version).await?;
    if view.account.exists || state.settings.accounts.auto_create {
        return Ok(view);
    }
    // The user may have been created since the actor last read the ledger.
    let view = if query.fresh {
        view
    } else {
        ask_actor(state, user_id, true, None).await?
    };
    if view.account.exists || view.is_stale {
        Ok(view)
    } else {
        Err(unknown_user())
    }
}

async fn ask_actor(
    state: &HttpState,
    user_id: UserId,
    is_fresh: bool,
    min_version: Option<i64>,
) -> Result<BalanceView, Problem> {
    let (reply, answer) = oneshot::channel();
    let message = ToActor::GetBalance(GetBalance {
        is_fresh,
        min_version,
        request: requests::current(),
        reply,
    });
    state.registry.try_send(ToUser { user_id, message })?;
    let wait_ms = if min_version.is_some() {
        MIN_VERSION_WAIT_MS
    } else {
        state.settings.database.timeout_ms
    };
    let answered = tokio::time::timeout(std::time::Duration::from_millis(wait_ms), answer).await;
    match (answered, min_version) {
        (Ok(Ok(result)), _) => Ok(result?),
        (Err(_), Some(version)) => {
            let detail =
                format!("version {version} was not reached within {MIN_VERSION_WAIT_MS} ms");
            Err(Problem::new(Code::VersionNotReached, detail).field("min_version"))
        }
        (Ok(Err(_)) | Err(_), _) => {
            Err(LedgerError::Unavailable("no answer from the actor".into()).into())
        }
    }
}

fn unknown_user() -> Problem {
    Problem::new(Code::UnknownUser, "the user does not exist").field("user_id")
}

/// A balance in the form that both listeners answer with.
pub(super) fn balance_json(
    state: &HttpState,
    user_id: UserId,
    view: &BalanceView,
) -> serde_json::Value {
    json!({
        "user_id": user_id,
        "epoch": &*view.epoch,
        "version": view.account.version,
        "balances": Shown(&state.settings.currencies, &view.account.balances),
        "as_of": view.verified.wall,
        "stale": view.is_stale,
    })
}

/// A user's history in the form that both listeners answer with. Serialized directly: converting it to `Value` would change
/// metadata.
#[derive(Debug, Serialize)]
pub(super) struct History {
    entries: Vec<EntryRecord>,
}

/// Reads a page of a user's history.
pub(super) async fn history(
    state: &HttpState,
    user_id: UserId,
    query: &HistoryQuery,
) -> Result<History, Problem> {
    let limit = query.limit.unwrap_or(HISTORY_ENTRIES_DEFAULT);
    if !(1..=HISTORY_ENTRIES_MAX).contains(&limit) {
        return Err(invalid(
            "limit",
            format!("must be 1 to {HISTORY_ENTRIES_MAX}"),
        ));
    }
    if query.before_version.is_some_and(|version| version < 1) {
        return Err(invalid("before_version", "must be a version, 1 or more"));
    }
    let page = HistoryPage {
        limit,
        before_version: query.before_version,
    };
    let entries = state.ledger.history(user_id, page).await?;
    if entries.is_empty()
        && !state.settings.accounts.auto_create
        && !state.ledger.user_exists(user_id).await?
    {
        return Err(unknown_user());
    }
    Ok(History { entries })
}

/// Answers with a new session token.
pub(super) fn token_answer(state: &HttpState, user_id: UserId, ttl_s: Option<u64>) -> Answer {
    let access = state.access.now();
    let ttl_s = ttl_s.unwrap_or(access.auth.session_ttl_s);
    if !(1..=SESSION_TTL_S_MAX).contains(&ttl_s) {
        return Err(invalid(
            "ttl_s",
            format!("must be 1 to {SESSION_TTL_S_MAX}"),
        ));
    }
    let (token, expires_at) = issue_token(state, &access, user_id, ttl_s);
    Ok(HttpResponse::Ok().json(json!({ "token": token, "expires_at": expires_at })))
}

/// A new session token, and when it expires.
fn issue_token(state: &HttpState, access: &Access, user_id: UserId, ttl_s: u64) -> (String, Wall) {
    let issued = access.keys.issue(user_id, ttl_s, state.clock.now_s());
    (issued.token, Wall::from_s(issued.expires_at_s))
}
