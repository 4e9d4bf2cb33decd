//! Every configuration key and the type it takes: the list that files and environment variables are read by.
//!
//! A key that is not here does not exist. Bounds are in `bounds.rs`, defaults in `settings.rs`.

/// The type of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A whole number from 0.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A string.
    Text,
    /// A list of strings; comma-separated in the environment.
    Texts,
    /// A string or a list of strings; comma-separated in the environment.
    Urls,
    /// A list of strings or of `{name, token}`; comma-separated strings in the environment.
    Tokens,
    /// A list of strings or of `{address, currency, jetton_master}`; comma-separated strings in the environment.
    Accounts,
}

impl Shape {
    /// Whether it is a list, once it is read.
    pub(super) const fn is_list(self) -> bool {
        matches!(
            self,
            Self::Texts | Self::Urls | Self::Tokens | Self::Accounts
        )
    }

    /// The type in words, for an error.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Integer => "an integer, not negative",
            Self::Boolean => "true or false",
            Self::Text => "a string",
            Self::Texts => "a list of strings",
            Self::Urls => "a string or a list of strings",
            Self::Tokens => "a list of strings or of tables {name, token}",
            Self::Accounts => "a list of strings or of tables {address, currency, jetton_master}",
        }
    }
}

/// The only section whose keys are names that the operator chooses.
pub(super) const CURRENCIES: &str = "currencies";

/// Every key but those of `currencies`.
pub(super) const KEYS: &[(&str, Shape)] = &[
    ("server.public_addr", Shape::Text),
    ("server.internal_addr", Shape::Text),
    ("server.workers", Shape::Integer),
    ("server.shutdown_timeout_s", Shape::Integer),
    ("server.keep_alive_s", Shape::Integer),
    ("server.allowed_origins", Shape::Texts),
    ("server.trusted_proxies", Shape::Texts),
    ("database.url", Shape::Text),
    ("database.schema", Shape::Text),
    ("database.pool_size", Shape::Integer),
    ("database.writers", Shape::Integer),
    ("database.migrate_on_start", Shape::Boolean),
    ("database.timeout_ms", Shape::Integer),
    ("database.lock_timeout_ms", Shape::Integer),
    ("database.conflicts_max", Shape::Integer),
    ("pacing.debounce_ms", Shape::Integer),
    ("pacing.min_interval_ms", Shape::Integer),
    ("pacing.direct_interval_ms", Shape::Integer),
    ("pacing.direct_kinds", Shape::Texts),
    ("cache.ttl_s", Shape::Integer),
    ("cache.max_entries", Shape::Integer),
    ("cache.sweep_s", Shape::Integer),
    ("client_cache.ttl_s", Shape::Integer),
    ("client_cache.stale_while_revalidate_s", Shape::Integer),
    ("client_cache.min_age_s", Shape::Integer),
    ("auth.webhook_secrets", Shape::Texts),
    ("auth.session_secrets", Shape::Texts),
    ("auth.admin_tokens", Shape::Tokens),
    ("auth.metrics_token", Shape::Text),
    ("auth.telegram_bot_token", Shape::Text),
    ("auth.telegram_bot_id", Shape::Integer),
    ("auth.telegram_identity", Shape::Text),
    ("auth.telegram_max_age_s", Shape::Integer),
    ("auth.session_ttl_s", Shape::Integer),
    ("auth.session_user_claim", Shape::Text),
    ("auth.webhook_tolerance_s", Shape::Integer),
    ("limits.sessions_per_user", Shape::Integer),
    ("limits.sessions", Shape::Integer),
    ("limits.ws_message_bytes", Shape::Integer),
    ("limits.ws_messages_per_s", Shape::Integer),
    ("limits.ws_messages_burst", Shape::Integer),
    ("limits.auth_timeout_ms", Shape::Integer),
    ("limits.heartbeat_ms", Shape::Integer),
    ("limits.idle_timeout_ms", Shape::Integer),
    ("limits.write_timeout_ms", Shape::Integer),
    ("limits.api_requests_per_s", Shape::Integer),
    ("limits.api_requests_burst", Shape::Integer),
    ("limits.body_bytes", Shape::Integer),
    ("limits.batch_body_bytes", Shape::Integer),
    ("limits.batch_entries", Shape::Integer),
    ("limits.queue_entries", Shape::Integer),
    ("accounts.auto_create", Shape::Boolean),
    ("log.format", Shape::Text),
    ("audit.users_per_s", Shape::Integer),
    ("canary.every_s", Shape::Integer),
    ("canary.user_id", Shape::Integer),
    ("canary.currency", Shape::Text),
    ("canary.amount", Shape::Text),
    ("canary.watch_s", Shape::Integer),
    ("cluster.url", Shape::Urls),
    ("cluster.name", Shape::Text),
    ("cluster.node", Shape::Text),
    ("cluster.credentials_file", Shape::Text),
    ("cluster.tls_ca_file", Shape::Text),
    ("cluster.tls_cert_file", Shape::Text),
    ("cluster.tls_key_file", Shape::Text),
    ("cluster.user", Shape::Text),
    ("cluster.password", Shape::Text),
    ("cluster.beat_ms", Shape::Integer),
    ("cluster.silence_ms", Shape::Integer),
    ("cluster.check_s", Shape::Integer),
    ("cluster.check_users_per_s", Shape::Integer),
    ("cluster.reads", Shape::Text),
    ("watcher.api_url", Shape::Text),
    ("watcher.api_key", Shape::Text),
    ("watcher.requests_per_s", Shape::Integer),
    ("watcher.accounts", Shape::Accounts),
    ("watcher.user_pattern", Shape::Text),
    ("watcher.min_amount", Shape::Text),
    ("watcher.start", Shape::Text),
    ("watcher.internal_url", Shape::Text),
    ("watcher.state_file", Shape::Text),
    ("watcher.poll_ms", Shape::Integer),
    ("watcher.metrics_addr", Shape::Text),
];

/// What changes while the program runs, besides all of `auth`.
const RELOADED: [&str; 2] = ["server.allowed_origins", "server.trusted_proxies"];

/// Whether SIGHUP changes this key while the program runs.
pub(super) fn is_reloaded(key: &str) -> bool {
    key.starts_with("auth.") || RELOADED.contains(&key)
}

/// The type of the key at `path`; `None` when there is no such key.
pub(super) fn shape_of(path: &[String]) -> Option<Shape> {
    match path {
        [section, _code, key] if section == CURRENCIES => {
            (key == "decimals").then_some(Shape::Integer)
        }
        [section, key] => {
            let is_it = |known: &&(&str, Shape)| {
                known.0.split_once('.') == Some((section.as_str(), key.as_str()))
            };
            KEYS.iter().find(is_it).map(|known| known.1)
        }
        _ => None,
    }
}

/// Whether `path` is a section: a table in a file.
pub(super) fn is_section(path: &[String]) -> bool {
    match path {
        [section] => {
            section == CURRENCIES
                || KEYS
                    .iter()
                    .any(|(key, _)| key.split_once('.').is_some_and(|(s, _)| s == section))
        }
        [section, _code] => section == CURRENCIES,
        _ => false,
    }
}
