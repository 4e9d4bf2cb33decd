//! Requests to the service: HTTP with tokens and signatures.

use std::time::Duration;

use awc::http::Method;
use awc::{Client, SendClientRequest};
use serde_json::Value;

use crate::canary::{Options, PATIENCE_MS};
use crate::client;
use crate::clock::Clock;
use crate::credentials::webhook;

/// The most bytes of an answer; a balance has some hundred.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An answer, or why there is none, in words.
pub(super) type Answered = Result<(u16, Value), String>;

/// A client of one service.
pub(super) struct Service<'a> {
    pub options: &'a Options,
    pub http: Client,
    pub clock: Clock,
}

impl<'a> Service<'a> {
    pub(super) fn new(options: &'a Options, clock: Clock) -> Self {
        let http = client::client(Duration::from_millis(PATIENCE_MS));
        Self {
            options,
            http,
            clock,
        }
    }

    /// A session token for the canary's user.
    pub(super) fn token(&self) -> String {
        let (user_id, ttl_s) = (self.options.user_id, self.options.token_ttl_s);
        let access = self.options.access.now();
        access.keys.issue(user_id, ttl_s, self.clock.now_s()).token
    }

    /// The balance, as a browser asks for it.
    pub(super) async fn balance(&self, is_fresh: bool) -> Result<Value, String> {
        let query = if is_fresh { "?fresh=true" } else { "" };
        let url = format!("{}/api/v1/balance{query}", self.options.url);
        let request = self.http.get(&url).bearer_auth(self.token()).send();
        let (status, body) = self.exchange("GET", &url, request).await?;
        if status == 200 {
            Ok(body)
        } else {
            Err(format!("GET {url}: {status} {body}"))
        }
    }

    /// Posts an entry, signed.
    pub(super) async fn post(&self, what: &str, body: &Value) -> Answered {
        let url = format!("{}/internal/v1/{what}", self.options.internal_url);
        let text = body.to_string();
        let access = self.options.access.now();
        let secret = access
            .webhook_secret()
            .ok_or("there is no webhook secret")?;
        let mut request = self
            .http
            .request(Method::POST, &url)
            .insert_header(("content-type", "application/json"));
        for header in webhook::headers(secret, "canary", self.clock.now_s(), text.as_bytes()) {
            request = request.insert_header(header);
        }
        self.exchange("POST", &url, request.send_body(text)).await
    }

    async fn exchange(&self, method: &str, url: &str, sending: SendClientRequest) -> Answered {
        let patience = Duration::from_millis(PATIENCE_MS);
        let answer = client::exchange(sending, patience, ANSWER_BYTES_MAX).await;
        let (status, body) = answer.map_err(|why| format!("{method} {url}: {why}"))?;
        let json = serde_json::from_slice(&body);
        Ok((
            status,
            json.map_err(|_| format!("{method} {url}: {status} {}", client::excerpt(&body)))?,
        ))
    }
}
