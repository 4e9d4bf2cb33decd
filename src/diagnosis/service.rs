//! What the running service says when it is asked: reads alone, each bounded in time and size.

use std::time::Duration;

use awc::Client;
use serde_json::Value;

use super::Options;
use super::samples::Samples;

/// The longest that an answer is waited for, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// The most bytes of an answer: a thousand conflicts with their metadata.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The answers; what did not come is null, with the reason in `missing`.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub health: Value,
    pub readiness: Value,
    pub registry: Value,
    pub audit: Value,
    pub canary: Value,
    pub conflicts: Value,
    pub busiest: Value,
    pub metrics: Samples,
    pub missing: Vec<String>,
}

struct Asker {
    http: Client,
    missing: Vec<String>,
}

impl Seen {
    pub(super) async fn look(options: &Options) -> Self {
        let http = crate::client::client(Duration::from_millis(PATIENCE_MS));
        let mut asker = Asker { http, missing: Vec::new() };
        let (public, internal) = (options.url.clone(), options.internal_url.clone());
        let mut seen = Self { health: asker.json(&format!("{public}/healthz"), None).await, ..Self::default() };
        seen.readiness = asker.json(&format!("{internal}/readyz"), None).await;
        let auth = &options.settings.auth;
        let admin = auth.admin_tokens.first().map(|admin| admin.token.expose());
        for (answer, path) in [
            (&mut seen.registry, "registry"),
            (&mut seen.audit, "audit"),
            (&mut seen.canary, "canary"),
            (&mut seen.conflicts, "conflicts?limit=1000"),
            (&mut seen.busiest, "actors?limit=10&sort=sessions"),
        ] {
            *answer = asker.json(&format!("{internal}/admin/v1/{path}"), admin).await;
        }
        let token = auth.metrics_token.as_ref().map(|token| token.expose());
        let text = asker.text(&format!("{internal}/metrics"), token).await.unwrap_or_default();
        seen.metrics = Samples::parse(&text);
        seen.missing = asker.missing;
        seen
    }
}

impl Asker {
    async fn json(&mut self, url: &str, token: Option<&str>) -> Value {
        let text = self.text(url, token).await;
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    async fn text(&mut self, url: &str, token: Option<&str>) -> Option<String> {
        let mut request = self.http.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = async {
            let mut answer = request.send().await.map_err(|error| error.to_string())?;
            let body = answer.body().limit(ANSWER_BYTES_MAX).await.map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&body).into_owned();
            if answer.status().is_success() { Ok(text) } else { Err(format!("{}: {text}", answer.status())) }
        };
        let answer: Result<String, String> = answer.await;
        answer.map_err(|why| self.missing.push(format!("GET {url}: {why}"))).ok()
    }
}
