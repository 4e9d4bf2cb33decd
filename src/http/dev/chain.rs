//! The wallet of development: it pays on the imitated chain, and tells how far the deposit has come.
//!
//! Nothing here credits anything. The watcher of this process finds the transfer, and sends a signed webhook.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use serde::Deserialize;
use serde_json::json;

use crate::config::TON_DECIMALS;
use crate::dev_chain::{DevChain, Transfer};
use crate::domain::{Amount, TxHash};
use crate::http::extract::Query;
use crate::http::extract::json::{JsonBody, JsonObject};
use crate::http::problem::{Answer, Code, Problem};
use crate::http::state::{Data, HttpState};
use crate::ledger::{EntryRecord, HistoryPage};

/// The largest order to the wallet.
const ORDER_BYTES_MAX: usize = 256;

/// How many of the user's latest entries are searched for the deposit.
const SEARCHED_ENTRIES: i64 = 100;

/// The parameters of the question how far a transfer has come.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct StepsQuery {
    tx_hash: String,
}

/// `POST /dev/v1/chain`: pays an amount of TON, with a comment that names the user.
pub(in crate::http) async fn pay(state: Data, JsonBody(body): JsonBody<ORDER_BYTES_MAX>) -> Answer {
    let chain = chain(&state)?;
    let order = JsonObject::closed(&body, &["user_id", "amount"])?;
    let user_id = order.user_id()?;
    let wrong_amount = |why: String| Problem::new(Code::InvalidAmount, why).field("amount");
    let amount = Amount::parse(&order.required_text("amount")?, TON_DECIMALS)
        .map_err(|error| wrong_amount(error.to_string()))?;
    if amount <= Amount::ZERO {
        return Err(wrong_amount("must be above zero".into()));
    }
    let full = || Problem::new(Code::Overloaded, "the imitated chain is full");
    let transfer = chain.pay(user_id, amount).ok_or_else(full)?;
    Ok(answer(chain, &transfer, None))
}

/// `GET /dev/v1/chain?tx_hash=`: how far a transfer has come.
pub(in crate::http) async fn steps(state: Data, query: Query<StepsQuery>) -> Answer {
    let chain = chain(&state)?;
    let wrong_hash = |error| Problem::new(Code::InvalidTxHash, format!("{error}")).field("tx_hash");
    let hash = TxHash::parse(&query.0.tx_hash).map_err(wrong_hash)?;
    let unknown = || Problem::new(Code::NotFound, "the imitated chain has no such transaction");
    let transfer = chain.find(hash).ok_or_else(unknown)?;
    // Before the watcher has read it there is nothing to look for.
    let entry = match transfer.read_at {
        Some(_) => entry_of(&state, &transfer).await?,
        None => None,
    };
    Ok(answer(chain, &transfer, entry.as_ref()))
}

fn chain(state: &HttpState) -> Result<&DevChain, Problem> {
    let none = || {
        let why = "no chain is imitated: there is no currency TON with 9 decimals";
        Problem::new(Code::NotFound, why)
    };
    state.dev_chain().ok_or_else(none)
}

async fn entry_of(state: &HttpState, transfer: &Transfer) -> Result<Option<EntryRecord>, Problem> {
    let page = HistoryPage {
        limit: SEARCHED_ENTRIES,
        before_version: None,
    };
    let hash = transfer.hash.to_string();
    let entries = state.ledger.history(transfer.user_id, page).await?;
    let is_it = |entry: &EntryRecord| entry.tx_hash.as_ref() == Some(&hash);
    Ok(entries.into_iter().find(is_it))
}

fn answer(chain: &DevChain, transfer: &Transfer, entry: Option<&EntryRecord>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(json!({
            "tx_hash": transfer.hash.to_string(),
            "account": chain.account().to_string(),
            "comment": transfer.user_id.to_string(),
            "amount": transfer.amount.display(TON_DECIMALS).to_string(),
            "paid_at": transfer.paid_at.wall,
            "final_at": chain.final_at(transfer),
            "read_at": transfer.read_at,
            "entry": entry,
        }))
}
