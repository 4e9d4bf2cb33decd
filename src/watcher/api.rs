//! TON Center's v3 API: the few requests that a watcher needs. Every answer that is not as expected is an error that is
//! waited out.

use std::sync::Arc;
use std::time::Duration;

use awc::Client;
use awc::http::header::RETRY_AFTER;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client;
use crate::config::Secret;
use crate::domain::TonAddress;
use crate::watcher::metrics::Metrics;
use crate::watcher::order::Range;
use crate::watcher::pace::{Budget, retry_after};
use crate::watcher::transaction::{Page, Transaction};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes of an answer: a page of 1,000 transactions has some millions.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Transactions of a page; the API allows 1,000.
pub const PAGE_TRANSACTIONS: usize = 1_000;

/// Why there is no answer, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ApiError {
    why: String,
    /// Whether the address or the key is wrong: this does not pass by itself.
    pub is_misconfigured: bool,
    /// What `Retry-After` asks for.
    pub retry_after: Option<Duration>,
}

/// A client of the API, for all accounts.
pub struct Api {
    http: Client,
    base: String,
    key: Option<Secret>,
    budget: Budget,
    metrics: Arc<Metrics>,
}

#[derive(Deserialize)]
struct JettonWallets {
    jetton_wallets: Vec<JettonWallet>,
}

#[derive(Deserialize)]
struct JettonWallet {
    address: String,
    owner: String,
    jetton: String,
}

impl Api {
    /// `base` without a slash at its end.
    pub fn new(base: &str, key: Option<Secret>, budget: Budget, metrics: Arc<Metrics>) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        let http = if base.starts_with("https:") {
            client::client(PATIENCE)
        } else {
            client::plain_client(PATIENCE)
        };
        Self {
            http,
            base,
            key,
            budget,
            metrics,
        }
    }

    /// The transactions of an account in a range of logical time, oldest first, as far as a page goes.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn transactions(
        &self,
        account: TonAddress,
        range: Range,
    ) -> Result<Vec<Transaction>, ApiError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("account", &account.to_string())
            .append_pair("start_lt", &range.start_lt.to_string())
            .append_pair("limit", &PAGE_TRANSACTIONS.to_string())
            .append_pair("sort", "asc");
        if let Some(end_lt) = range.end_lt {
            query.append_pair("end_lt", &end_lt.to_string());
        }
        let page: Page = self.get("transactions", &query.finish()).await?;
        Ok(page.transactions)
    }

    /// The newest final transaction of an account; `None` for an account that has none.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn newest(&self, account: TonAddress) -> Result<Option<Transaction>, ApiError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("account", &account.to_string())
            .append_pair("limit", "16")
            .append_pair("sort", "desc")
            .finish();
        let page: Page = self.get("transactions", &query).await?;
        Ok(page
            .transactions
            .into_iter()
            .filter(|one| one.account == account && one.is_final)
            .max_by_key(|one| one.id.lt))
    }

    /// The wallet of `owner` for the jettons of `master`; `None` until it exists.
    ///
    /// # Errors
    /// [`ApiError`], also when the answer names several.
    pub async fn jetton_wallet(
        &self,
        owner: TonAddress,
        master: TonAddress,
    ) -> Result<Option<TonAddress>, ApiError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("owner_address", &owner.to_string())
            .append_pair("jetton_address", &master.to_string())
            .finish();
        let answer: JettonWallets = self.get("jetton/wallets", &query).await?;
        // A filter that the API does not know would answer with everybody's.
        let is_it = |text: &str, wanted| TonAddress::parse(text) == Ok(wanted);
        let mut ours = answer
            .jetton_wallets
            .iter()
            .filter(|wallet| is_it(&wallet.owner, owner) && is_it(&wallet.jetton, master))
            .map(|wallet| TonAddress::parse(&wallet.address));
        let wallet = ours.next().transpose();
        let wallet = wallet.map_err(|_| fault("jetton/wallets names no address".into()))?;
        if ours.any(|other| other.ok() != wallet) {
            return Err(fault("jetton/wallets names several wallets".into()));
        }
        Ok(wallet)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<T, ApiError> {
        self.budget.turn().await;
        let url = format!("{}/{path}?{query}", self.base);
        let mut request = self.http.get(&url);
        if let Some(key) = &self.key {
            request = request.insert_header(("X-API-Key", key.expose()));
        }
        let answer = client::answer(request.send(), PATIENCE, ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(|why| {
            self.metrics.request("none");
            fault(format!("GET {url}: {why}"))
        })?;
        self.metrics.request(&answer.status.to_string());
        if answer.status == 200 {
            return serde_json::from_slice(&answer.body)
                .map_err(|error| fault(format!("GET {url}: {error}")));
        }
        let asked = answer
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?));
        if let Some(wait) = asked {
            self.budget.hold(wait);
        }
        let is_misconfigured = matches!(answer.status, 401 | 403 | 404);
        let advice = if is_misconfigured {
            "; check watcher.api_url and watcher.api_key"
        } else {
            ""
        };
        Err(ApiError {
            why: format!(
                "GET {url}: {} {}{advice}",
                answer.status,
                client::excerpt(&answer.body)
            ),
            is_misconfigured,
            retry_after: asked,
        })
    }
}

fn fault(why: String) -> ApiError {
    ApiError {
        why,
        is_misconfigured: false,
        retry_after: None,
    }
}
