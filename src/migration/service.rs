//! The service, by its signed webhooks and reads alone.

use std::collections::BTreeMap;
use std::time::Duration;

use awc::Client;
use awc::http::Method;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client;
use crate::clock::Clock;
use crate::credentials::webhook;
use crate::migration::Options;

/// How long an answer may take. The service answers within `database.timeout_ms`.
const PATIENCE: Duration = Duration::from_secs(65);

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// How often a request is sent before it is given up, and the wait after the first time, which doubles.
const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Users of one page of balances; the service allows 1,000.
const PAGE_USERS: usize = 1_000;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// It can't answer now.
    #[error("the service does not answer: {0}")]
    Away(String),
    /// The address or the secret is wrong.
    #[error("the service refuses, check --internal-url and auth.webhook_secrets: {0}")]
    Refused(String),
    /// What it answers is not what this program knows.
    #[error("the service answers what is not expected: {0}")]
    Unexpected(String),
    /// The batch has more items or bytes than it takes.
    #[error("the batch is too large for the service: {0}")]
    TooLarge(String),
}

/// What became of one item of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// It is in the ledger now.
    Accepted,
    /// It was there before.
    Duplicate,
    /// It is refused for good.
    Rejected {
        /// The service's code.
        code: String,
        /// The field at fault.
        field: String,
    },
}

/// All balances of some users.
#[derive(Debug, Deserialize)]
pub struct BalancesPage {
    /// In the order of their ids.
    pub balances: Vec<UserBalances>,
    /// The last of them, when there are more.
    pub next: Option<i64>,
}

/// The balances of one user.
#[derive(Debug, Deserialize)]
pub struct UserBalances {
    /// The user.
    pub user_id: i64,
    /// Decimal strings by currency.
    pub balances: BTreeMap<String, String>,
}

/// A client of one service.
pub struct Service<'a> {
    options: &'a Options,
    http: Client,
    clock: Clock,
}

#[derive(Deserialize)]
struct BatchAnswer {
    results: Vec<ItemAnswer>,
}

#[derive(Deserialize)]
struct ItemAnswer {
    index: usize,
    status: String,
    code: Option<String>,
    field: Option<String>,
}

impl<'a> Service<'a> {
    pub fn new(options: &'a Options) -> Self {
        let http = if options.internal_url.starts_with("https:") {
            client::client(PATIENCE)
        } else {
            client::plain_client(PATIENCE)
        };
        Self {
            options,
            http,
            clock: Clock::system(),
        }
    }

    /// Posts entries in their order; what became of each. What the service calls too large is halved.
    ///
    /// # Errors
    /// [`ServiceError`]: any of them may have been accepted.
    pub async fn post(&self, items: &[&RawValue]) -> Result<Vec<Posted>, ServiceError> {
        match self.post_batch(items).await {
            Err(ServiceError::TooLarge(_)) if items.len() > 1 => {
                let (first, second) = items.split_at(items.len() / 2);
                let mut posted = Box::pin(self.post(first)).await?;
                posted.extend(Box::pin(self.post(second)).await?);
                Ok(posted)
            }
            Err(ServiceError::TooLarge(_)) => Ok(vec![Posted::Rejected {
                code: "body_too_large".into(),
                field: String::new(),
            }]),
            posted => posted,
        }
    }

    async fn post_batch(&self, items: &[&RawValue]) -> Result<Vec<Posted>, ServiceError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let items_text: Vec<&str> = items.iter().map(|item| item.get()).collect();
        let body = format!("{{\"entries\":[{}]}}", items_text.join(","));
        let answer: BatchAnswer = self
            .ask(Method::POST, "/internal/v1/batch", body.into())
            .await?;
        let is_whole = answer.results.len() == items.len()
            && (0..).zip(&answer.results).all(|(at, one)| one.index == at);
        if !is_whole {
            let why = "a batch's answer has other items".to_owned();
            return Err(ServiceError::Unexpected(why));
        }
        answer.results.into_iter().map(ItemAnswer::read).collect()
    }

    /// The balances of users after this one; 0 is before the first.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn balances(&self, after: i64) -> Result<BalancesPage, ServiceError> {
        let after_query = match after {
            0 => String::new(),
            after => format!("&after={after}"),
        };
        let path = format!("/internal/v1/balances?limit={PAGE_USERS}{after_query}");
        let page: BalancesPage = self.ask(Method::GET, &path, Bytes::new()).await?;
        let ids = || page.balances.iter().map(|one| one.user_id);
        let is_sound = ids().is_sorted_by(|one, next| one < next)
            && ids().all(|id| id > after)
            && page.next.is_none_or(|next| ids().next_back() == Some(next));
        if !is_sound {
            let why = format!("the page of balances after user {after} is out of order");
            return Err(ServiceError::Unexpected(why));
        }
        Ok(page)
    }

    /// Sends a request until there is an answer other than "not now".
    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ServiceError> {
        let mut wait = FIRST_WAIT;
        for _ in 1..ATTEMPTS {
            match self.ask_once(method.clone(), path, body.clone()).await {
                Err(ServiceError::Away(why)) => {
                    log::debug!("{path}: {why}; tried again in {} ms", wait.as_millis());
                }
                answered => return answered,
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.ask_once(method, path, body).await
    }

    async fn ask_once<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ServiceError> {
        let url = format!("{}{path}", self.options.internal_url);
        let secret = &self.options.secret;
        let mut request = self
            .http
            .request(method.clone(), &url)
            .insert_header(("content-type", "application/json"));
        for header in webhook::headers(secret, "migration", self.clock.now_s(), &body) {
            request = request.insert_header(header);
        }
        let answer = client::exchange(request.send_body(body), PATIENCE, ANSWER_BYTES_MAX).await;
        let (status, body) =
            answer.map_err(|why| ServiceError::Away(format!("{method} {url}: {why}")))?;
        if status == 200 {
            return serde_json::from_slice(&body)
                .map_err(|error| ServiceError::Unexpected(format!("{method} {url}: {error}")));
        }
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = problem["code"].as_str().unwrap_or_default();
        let why = format!("{method} {url}: {status} {}", client::excerpt(&body));
        Err(match (status, code) {
            (413, _) | (422, "batch_too_large") => ServiceError::TooLarge(why),
            (429 | 500.., _) => ServiceError::Away(why),
            (401 | 403 | 404, _) => ServiceError::Refused(why),
            _ => ServiceError::Unexpected(why),
        })
    }
}

impl ItemAnswer {
    fn read(self) -> Result<Posted, ServiceError> {
        match (self.status.as_str(), self.code) {
            ("accepted", _) => Ok(Posted::Accepted),
            ("duplicate", _) => Ok(Posted::Duplicate),
            ("rejected", Some(code)) => Ok(Posted::Rejected {
                code,
                field: self.field.unwrap_or_default(),
            }),
            (status, code) => Err(ServiceError::Unexpected(format!(
                "item {}: {status} {code:?}",
                self.index
            ))),
        }
    }
}
