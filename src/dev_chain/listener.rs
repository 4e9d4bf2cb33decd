//! The API over the chain: the one request that a watcher of a plain account sends.

use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::web::{Data, Json, Query, get};
use actix_web::{App, HttpServer};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DevChain, Range};
use crate::domain::TonAddress;

/// The length of a page: what the API gives unasked, and at most.
const PAGE_TRANSACTIONS: usize = 10;
const PAGE_TRANSACTIONS_MAX: usize = 1_000;

/// The parameters of `GET /transactions` that the imitation knows; others are ignored, as the API does.
#[derive(Debug, Deserialize)]
struct Asked {
    account: String,
    start_lt: Option<u64>,
    end_lt: Option<u64>,
    limit: Option<usize>,
    sort: Option<String>,
}

/// Serves the API below `/api/v3`; it runs once it is awaited or spawned.
///
/// # Errors
/// When the socket can't be used.
pub fn listen(chain: Arc<DevChain>, socket: TcpListener) -> std::io::Result<Server> {
    let data = Data::from(chain);
    let application = move || {
        App::new()
            .app_data(data.clone())
            .route("/api/v3/transactions", get().to(transactions))
    };
    Ok(HttpServer::new(application)
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .listen(socket)?
        .run())
}

async fn transactions(chain: Data<DevChain>, asked: Query<Asked>) -> Json<Value> {
    let is_ours = TonAddress::parse(&asked.account) == Ok(chain.account());
    let range = Range {
        start_lt: asked.start_lt.unwrap_or(0),
        end_lt: asked.end_lt.unwrap_or(u64::MAX),
        limit: asked
            .limit
            .unwrap_or(PAGE_TRANSACTIONS)
            .min(PAGE_TRANSACTIONS_MAX),
        is_ascending: asked.sort.as_deref() == Some("asc"),
    };
    let page = if is_ours {
        chain.page(range)
    } else {
        Vec::new()
    };
    Json(json!({"transactions": page, "address_book": {}}))
}
