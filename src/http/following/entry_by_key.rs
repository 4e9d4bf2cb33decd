//! `GET /internal/v1/entries`: one entry by its event id or by the hash of its transaction.

use actix_web::HttpResponse;
use serde::Deserialize;

use crate::http::extract::signed::Signed;
use crate::http::extract::{Query, invalid};
use crate::http::following::{entry_key, unknown_entry};
use crate::http::problem::Answer;
use crate::http::state::Data;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EntryQuery {
    event_id: Option<String>,
    tx_hash: Option<String>,
}

/// `GET /internal/v1/entries`
pub(in crate::http) async fn entry(state: Data, request: Signed<Query<EntryQuery>>) -> Answer {
    let Query(EntryQuery { event_id, tx_hash }) = request.asked;
    let key = entry_key(event_id.as_deref(), tx_hash.as_deref())?
        .ok_or_else(|| invalid("event_id", "or tx_hash has to be given"))?;
    let found = state.ledger.entry(key.clone()).await?;
    Ok(HttpResponse::Ok().json(found.ok_or_else(|| unknown_entry(&key))?))
}
