//! The answers of the running service: only reads, each bounded in time and size.

use std::time::Duration;

use awc::Client;
use serde::Deserialize as _;
use serde_json::Value;

use crate::client;

use super::readings::Lately;
use super::samples::Samples;
use super::{Finding, Options};

/// The longest that an answer is waited for, in milliseconds.
const PATIENCE_MS: u64 = 10_000;

/// The most bytes of an answer: a thousand conflicts with their metadata.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The prefix of administrators' addresses; they share one token.
const ADMIN: &str = "/admin/";

/// The token is not the right one.
const UNAUTHORIZED: u16 = 401;

/// The answers; a missing one is null, with the reason in `missing`. The service fills it with its own for its findings.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub health: Value,
    pub readiness: Value,
    pub registry: Value,
    pub audit: Value,
    pub canary: Value,
    pub conflicts: Value,
    pub busiest: Value,
    pub metrics: Samples,
    pub lately: Lately,
    /// `is_away` and `since`.
    pub ledger: Value,
    pub cluster: Value,
    /// Whether the process has a bus.
    pub has_bus: bool,
    /// `limits.queue_entries`
    pub queue_limit: u64,
    /// What the service has found; `None`: it did not say.
    pub findings: Option<Vec<Finding>>,
    pub missing: Vec<String>,
}

struct Asker {
    http: Client,
    /// Prefixes of addresses that are not asked again: services that did not answer, and endpoints that refused the
    /// token.
    silent: Vec<String>,
    missing: Vec<String>,
}

impl Seen {
    pub(super) async fn look(options: &Options) -> Self {
        let http = client::client(Duration::from_millis(PATIENCE_MS));
        let mut asker = Asker {
            http,
            silent: Vec::new(),
            missing: Vec::new(),
        };
        let (public, internal) = (&options.url, &options.internal_url);
        let mut seen = Self {
            health: asker.json(public, "/healthz", None).await,
            ..Self::default()
        };
        seen.readiness = asker.json(internal, "/readyz", None).await;
        let auth = &options.settings.auth;
        let admin = auth.admin_tokens.first().map(|admin| admin.token.expose());
        for (answer, path) in [
            (&mut seen.registry, "/admin/v1/registry"),
            (&mut seen.audit, "/admin/v1/audit"),
            (&mut seen.canary, "/admin/v1/canary"),
            (&mut seen.conflicts, "/admin/v1/conflicts?limit=1000"),
            (&mut seen.busiest, "/admin/v1/actors?limit=10&sort=sessions"),
        ] {
            *answer = asker.json(internal, path, admin).await;
        }
        let found = asker.json(internal, "/admin/v1/findings", admin).await;
        seen.findings = found["findings"].as_array().map(|found| {
            let known = found.iter();
            known
                .filter_map(|finding| Finding::deserialize(finding).ok())
                .collect()
        });
        let token = auth.metrics_token.as_ref().map(|token| token.expose());
        let text = asker
            .text(internal, "/metrics", token)
            .await
            .unwrap_or_default();
        seen.metrics = Samples::parse(&text);
        seen.lately = Lately::since_start(&seen.metrics);
        seen.missing = asker.missing;
        seen
    }
}

impl Asker {
    async fn json(&mut self, base: &str, path: &str, token: Option<&str>) -> Value {
        let text = self.text(base, path, token).await;
        text.and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    async fn text(&mut self, base: &str, path: &str, token: Option<&str>) -> Option<String> {
        let url = format!("{base}{path}");
        if self.silent.iter().any(|silent| url.starts_with(silent)) {
            return None;
        }
        let mut request = self.http.get(&url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = client::exchange(
            request.send(),
            Duration::from_millis(PATIENCE_MS),
            ANSWER_BYTES_MAX,
        )
        .await;
        let why = match answer {
            Ok((status, body)) if (200..300).contains(&status) => {
                return Some(String::from_utf8_lossy(&body).into_owned());
            }
            Ok((status, body)) => {
                if status == UNAUTHORIZED && path.starts_with(ADMIN) {
                    self.silent.push(format!("{base}{ADMIN}"));
                }
                format!("{status}: {}", client::excerpt(&body))
            }
            Err(why) => {
                self.silent.push(format!("{base}/"));
                why
            }
        };
        self.missing.push(format!("GET {url}: {why}"));
        None
    }
}
