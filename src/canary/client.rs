//! The way to the service: HTTP with tokens and signatures, over TLS where the address says so.

use std::path::Path;
use std::time::Duration;

use awc::Client;
use awc::http::Method;
use openssl::ssl::{SslConnector, SslMethod};
use rand::Rng as _;
use serde_json::Value;

use crate::clock::Clock;
use crate::http::signature;

use super::{Options, PATIENCE_MS};

/// The most bytes of an answer; a balance has some hundred.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where systems keep the authorities that they trust.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// An answer, or why there is none, in words.
pub(super) type Answered = Result<(u16, Value), String>;

/// Speaks to one service.
pub(super) struct Service<'a> {
    pub options: &'a Options,
    pub http: Client,
    pub clock: Clock,
}

impl<'a> Service<'a> {
    pub(super) fn new(options: &'a Options, clock: Clock) -> Self {
        let patience = Duration::from_millis(PATIENCE_MS);
        let mut connector = awc::Connector::new().timeout(patience).handshake_timeout(patience);
        if let Ok(mut tls) = SslConnector::builder(SslMethod::tls_client()) {
            let file = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
            let known = || AUTHORITIES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
            if let Some(file) = file.or_else(known) {
                // Without authorities no certificate is trusted, and the first request says so.
                let _ = tls.set_ca_file(file);
            }
            connector = connector.openssl(tls.build());
        }
        // A connection of its own for each request: none is tried on one that the service is about to close.
        let http = Client::builder().timeout(patience).connector(connector).add_default_header(("connection", "close"));
        Self { options, http: http.finish(), clock }
    }

    /// A session token for the canary's user.
    pub(super) fn token(&self) -> String {
        self.options.keys.issue(self.options.user_id, self.options.token_ttl_s, self.clock.now_s()).token
    }

    /// The balance, as a browser asks for it.
    pub(super) async fn balance(&self, is_fresh: bool) -> Result<Value, String> {
        let query = if is_fresh { "?fresh=true" } else { "" };
        let url = format!("{}/api/v1/balance{query}", self.options.url);
        let mut answer = self
            .http
            .get(&url)
            .bearer_auth(self.token())
            .send()
            .await
            .map_err(|error| format!("GET {url}: {error}"))?;
        let status = answer.status().as_u16();
        let body = answer.json().limit(ANSWER_BYTES_MAX).await.map_err(|error| format!("GET {url}: {error}"))?;
        if status == 200 { Ok(body) } else { Err(format!("GET {url}: {status} {body}")) }
    }

    /// Posts an entry, signed.
    pub(super) async fn post(&self, what: &str, body: &Value) -> Answered {
        let url = format!("{}/internal/v1/{what}", self.options.internal_url);
        let text = body.to_string();
        let id = format!("canary_{:016x}", rand::rng().random::<u64>());
        let timestamp = self.clock.now_s().to_string();
        let signature = signature::sign(&self.options.webhook_secret, &id, &timestamp, text.as_bytes());
        let request = self
            .http
            .request(Method::POST, &url)
            .insert_header(("content-type", "application/json"))
            .insert_header(("webhook-id", id))
            .insert_header(("webhook-timestamp", timestamp))
            .insert_header(("webhook-signature", signature));
        let mut answer = request.send_body(text).await.map_err(|error| format!("POST {url}: {error}"))?;
        let status = answer.status().as_u16();
        let body =
            answer.json().limit(ANSWER_BYTES_MAX).await.map_err(|error| format!("POST {url}: {status}, {error}"))?;
        Ok((status, body))
    }
}
