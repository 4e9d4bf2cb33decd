//! The service, by its signed webhooks alone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use awc::Client;
use awc::http::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client;
use crate::clock::Clock;
use crate::credentials::access::CurrentAccess;
use crate::credentials::webhook;
use crate::watcher::pace::retry_after;

/// How long an answer may take. The service answers within `database.timeout_ms`.
const PATIENCE: Duration = Duration::from_secs(65);

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The source of the watcher's entries.
const SOURCE: &str = "ton";

/// The longest comment in an entry's metadata, in bytes; JSON may make six times as many of them.
const COMMENT_BYTES_MAX: usize = 600;

/// Codes of refusals that pass: the item is sent again.
const PASSING: [&str; 3] = ["overloaded", "ledger_unavailable", "shutting_down"];

/// A deposit, as the webhook has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deposit {
    /// Whose.
    pub user_id: i64,
    /// The code of the currency.
    pub currency: String,
    /// A decimal string.
    pub amount: String,
    /// Of the transaction, in hex.
    pub tx_hash: String,
    /// Its logical time.
    pub lt: String,
    /// The sender, raw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// RFC 3339.
    pub occurred_at: String,
    /// What the sender wrote; cut where it is long.
    pub metadata: Metadata,
}

/// What is kept beside a deposit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Metadata {
    /// A comment, cut where it is too long for the service.
    pub fn of_comment(comment: Option<&str>) -> Self {
        let cut = |text: &str| text[..text.floor_char_boundary(COMMENT_BYTES_MAX)].to_owned();
        Self {
            comment: comment.map(cut),
        }
    }
}

/// What became of one deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It is in the ledger now.
    Accepted,
    /// It was there before.
    Duplicate,
    /// It is refused for good, with this code.
    Refused(String),
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate: it was there before",
            Self::Refused(code) => code,
        })
    }
}

/// Why nothing is known of what was sent. It is sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The service can't answer now.
    #[error("the service does not take deposits: {why}")]
    Away {
        /// In words.
        why: String,
        /// What `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// The address or the secret is wrong: this does not pass by itself.
    #[error(
        "the service refuses the watcher, check watcher.internal_url and auth.webhook_secrets: {0}"
    )]
    Misconfigured(String),
    /// The batch has more items or bytes than the service takes.
    #[error("the batch is too large for the service")]
    TooLarge,
}

/// A client of one service.
pub struct Service {
    http: Client,
    url: String,
    access: Arc<CurrentAccess>,
    clock: Clock,
}

#[derive(Serialize)]
struct Item<'a> {
    kind: &'static str,
    source: &'static str,
    #[serde(flatten)]
    deposit: &'a Deposit,
}

#[derive(Serialize)]
struct Single<'a> {
    source: &'static str,
    #[serde(flatten)]
    deposit: &'a Deposit,
}

#[derive(Serialize)]
struct Batch<'a> {
    entries: Vec<Item<'a>>,
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
}

#[derive(Deserialize)]
struct SingleAnswer {
    duplicate: bool,
}

struct Answered {
    status: u16,
    code: Option<String>,
    body: bytes::Bytes,
    retry_after: Option<Duration>,
}

impl Service {
    /// `url` is the base of the internal listener, without a slash at its end.
    pub fn new(url: &str, access: Arc<CurrentAccess>, clock: Clock) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        let http = if url.starts_with("https:") {
            client::client(PATIENCE)
        } else {
            client::plain_client(PATIENCE)
        };
        Self {
            http,
            url,
            access,
            clock,
        }
    }

    /// Sends deposits in their order; what became of each. One goes by itself, before any batch that the service works
    /// on.
    ///
    /// # Errors
    /// [`SendError`]: any of them may have been accepted.
    pub async fn send(&self, deposits: &[Deposit]) -> Result<Vec<Sent>, SendError> {
        match deposits {
            [] => Ok(Vec::new()),
            [one] => Ok(vec![self.send_one(one).await?]),
            some => match self.send_batch(some).await {
                Err(SendError::TooLarge) => {
                    let (first, second) = some.split_at(some.len() / 2);
                    let mut sent = Box::pin(self.send(first)).await?;
                    sent.extend(Box::pin(self.send(second)).await?);
                    Ok(sent)
                }
                sent => sent,
            },
        }
    }

    async fn send_one(&self, deposit: &Deposit) -> Result<Sent, SendError> {
        let single = Single {
            source: SOURCE,
            deposit,
        };
        let answered = self.post("deposits", &single).await?;
        let code = answered.code.as_deref();
        match (answered.status, code) {
            (200, _) => {
                let answer: SingleAnswer = answered.read()?;
                Ok(if answer.duplicate {
                    Sent::Duplicate
                } else {
                    Sent::Accepted
                })
            }
            (404, Some("unknown_user")) | (409 | 422, Some(_)) => {
                Ok(Sent::Refused(answered.code.unwrap_or_default()))
            }
            _ => Err(answered.error()),
        }
    }

    async fn send_batch(&self, deposits: &[Deposit]) -> Result<Vec<Sent>, SendError> {
        let entries = deposits.iter().map(|deposit| Item {
            kind: "deposit",
            source: SOURCE,
            deposit,
        });
        let batch = Batch {
            entries: entries.collect(),
        };
        let answered = self.post("batch", &batch).await?;
        match (answered.status, answered.code.as_deref()) {
            (200, _) => {}
            (413, _) | (422, Some("batch_too_large")) => return Err(SendError::TooLarge),
            _ => return Err(answered.error()),
        }
        let answer: BatchAnswer = answered.read()?;
        let is_whole = answer.results.len() == deposits.len()
            && (0..).zip(&answer.results).all(|(at, one)| one.index == at);
        if !is_whole {
            return Err(away("a batch's answer has other items".into()));
        }
        answer.results.into_iter().map(ItemAnswer::read).collect()
    }

    async fn post(&self, what: &str, body: &impl Serialize) -> Result<Answered, SendError> {
        let url = format!("{}/internal/v1/{what}", self.url);
        let body = serde_json::to_vec(body).map_err(|error| away(error.to_string()))?;
        let mut request = self
            .http
            .post(&url)
            .insert_header(("content-type", "application/json"));
        let access = self.access.now();
        let no_secret = || SendError::Misconfigured("there is no webhook secret".into());
        let secret = access.webhook_secret().ok_or_else(no_secret)?;
        for header in webhook::headers(secret, "watcher", self.clock.now_s(), &body) {
            request = request.insert_header(header);
        }
        let answer = client::answer(request.send_body(body), PATIENCE, ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(|why| away(format!("POST {url}: {why}")))?;
        let problem: Option<Value> = (answer.status != 200)
            .then(|| serde_json::from_slice(&answer.body).ok())
            .flatten();
        let code = problem.and_then(|problem| Some(problem.get("code")?.as_str()?.to_owned()));
        let asked = answer.headers.get(RETRY_AFTER);
        Ok(Answered {
            status: answer.status,
            code,
            retry_after: asked.and_then(|value| retry_after(value.to_str().ok()?)),
            body: answer.body,
        })
    }
}

impl Answered {
    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, SendError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| away(format!("its answer is not as expected: {error}")))
    }

    fn error(&self) -> SendError {
        let why = format!("{} {}", self.status, client::excerpt(&self.body));
        match self.status {
            400..=405 | 413 | 415 => SendError::Misconfigured(why),
            _ => SendError::Away {
                why,
                retry_after: self.retry_after,
            },
        }
    }
}

impl ItemAnswer {
    fn read(self) -> Result<Sent, SendError> {
        let code = self.code.unwrap_or_default();
        match self.status.as_str() {
            "accepted" => Ok(Sent::Accepted),
            "duplicate" => Ok(Sent::Duplicate),
            "rejected" if !code.is_empty() && !PASSING.contains(&code.as_str()) => {
                Ok(Sent::Refused(code))
            }
            status => Err(away(format!("item {}: {status} {code}", self.index))),
        }
    }
}

fn away(why: String) -> SendError {
    SendError::Away {
        why,
        retry_after: None,
    }
}
