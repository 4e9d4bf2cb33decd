//! `GET /admin/v1/entries`: what became of an entry, or a user's history.

use actix_web::HttpResponse;
use serde::Deserialize;
use serde_json::to_value;

use crate::domain::UserId;
use crate::http::admin::{Answer, Data, Problem};
use crate::http::extract::admin::Admin;
use crate::http::extract::{Query, invalid};
use crate::http::following::{entry_key, unknown_entry};
use crate::http::state::HttpState;
use crate::http::users::{HistoryQuery, history};
use crate::ledger::EntryKey;

/// The most refused entries that are told of a key without an entry.
const REFUSED_MAX: i64 = 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FindQuery {
    event_id: Option<String>,
    tx_hash: Option<String>,
    user_id: Option<i64>,
    before_version: Option<i64>,
    limit: Option<i64>,
}

/// `GET /admin/v1/entries`
pub(in crate::http) async fn find(state: Data, admin: Admin<Query<FindQuery>>) -> Answer {
    let Query(query) = admin.asked;
    let key = entry_key(query.event_id.as_deref(), query.tx_hash.as_deref())?;
    match (key, query.user_id) {
        (Some(_), Some(_)) => Err(invalid("user_id", "does not go with event_id or tx_hash")),
        (None, None) => Err(invalid("event_id", "or tx_hash or user_id has to be given")),
        (Some(key), None) => {
            for (name, given) in [
                ("before_version", query.before_version),
                ("limit", query.limit),
            ] {
                if given.is_some() {
                    return Err(invalid(name, "goes with user_id"));
                }
            }
            one(&state, key).await
        }
        (None, Some(user_id)) => {
            let user_id = UserId::new(user_id).map_err(|error| invalid("user_id", error))?;
            let page = HistoryQuery {
                limit: query.limit,
                before_version: query.before_version,
            };
            Ok(HttpResponse::Ok().json(history(&state, user_id, &page).await?))
        }
    }
}

/// The entry of a key. Where there is none, what was refused under the key is told: a sender then has a conflict.
async fn one(state: &HttpState, key: EntryKey) -> Answer {
    if let Some(found) = state.ledger.entry(key.clone()).await? {
        return Ok(HttpResponse::Ok().json(found));
    }
    let refused = state.ledger.conflicts_of(key.clone(), REFUSED_MAX).await?;
    let problem: Problem = unknown_entry(&key);
    Err(problem.with("conflicts", to_value(refused).unwrap_or_default()))
}
