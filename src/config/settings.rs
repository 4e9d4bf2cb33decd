//! The settings, section by section; field names are the keys. The `Default` of a section is its defaults.
//!
//! Durations are integers with their unit in the name. All values are checked before other parts get them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize, Serializer};

use crate::config::cluster::Cluster;
use crate::config::database_url::DatabaseUrl;
use crate::config::network::Network;
use crate::config::schema::Schema;
use crate::config::secret::{AdminToken, Secret, WebhookSecret};
use crate::config::watcher::Watcher;
use crate::domain::{Currencies, Kind};

/// Everything that an operator can set, checked. Secrets show as `***` however it is printed.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Listeners and threads.
    pub server: Server,
    /// Where the ledger is kept.
    pub database: Database,
    /// When a change is pushed.
    pub pacing: Pacing,
    /// How long a balance stays in memory.
    pub cache: Cache,
    /// How long a browser may show a balance without asking.
    pub client_cache: ClientCache,
    /// Secrets, tokens and their lifetimes.
    pub auth: Auth,
    /// Caps that an operator may change.
    pub limits: Limits,
    /// The currencies that exist.
    #[serde(serialize_with = "currencies_by_code")]
    pub currencies: Currencies,
    /// Which users exist.
    pub accounts: Accounts,
    /// How the log is written.
    pub log: Log,
    /// How the ledger is checked while the service runs.
    pub audit: Audit,
    /// How the service tests itself.
    pub canary: Canary,
    /// Other nodes of the same ledger.
    pub cluster: Cluster,
    /// How the chain is followed, by `watch`.
    pub watcher: Watcher,
}

/// `[server]`: listeners and threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// For browsers.
    pub public_addr: SocketAddr,
    /// For webhooks, administrators and metrics; never reachable by browsers.
    pub internal_addr: SocketAddr,
    /// Threads that serve requests and actors, for each listener.
    pub workers: usize,
    /// How long stopping may take, in seconds.
    pub shutdown_timeout_s: u64,
    /// How long a connection is kept open for its next request, in seconds.
    pub keep_alive_s: u64,
    /// Browser origins beside the same host; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

/// `[database]`: where the ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Database {
    /// SQLite or PostgreSQL.
    pub url: DatabaseUrl,
    /// Where in a PostgreSQL database the tables are.
    pub schema: Schema,
    /// Connections for reads; writers have their own.
    pub pool_size: usize,
    /// Ledger writers, each a thread with a connection: always 1 on SQLite.
    pub writers: usize,
    /// Whether `serve` applies migrations first.
    pub migrate_on_start: bool,
    /// The longest, in milliseconds, until a request is answered while the ledger is unavailable.
    pub timeout_ms: u64,
    /// The longest, in milliseconds, that locks of other programs delay the entries that do not need them.
    pub lock_timeout_ms: u64,
    /// Refused entries that are kept for administrators.
    pub conflicts_max: u32,
}

/// `[pacing]`: when a committed change is pushed to the user's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pacing {
    /// A paced push waits for this silence, in milliseconds.
    pub debounce_ms: u64,
    /// Least gap between paced pushes, and longest wait of a change, in milliseconds.
    pub min_interval_ms: u64,
    /// Least gap between direct pushes, in milliseconds.
    pub direct_interval_ms: u64,
    /// Kinds that are pushed directly; all others are paced.
    pub direct_kinds: Vec<Kind>,
}

/// `[cache]`: how long a balance stays in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// How long a cached balance is trusted without asking the ledger, in seconds; 0: never.
    pub ttl_s: u64,
    /// The most resident balance actors without a session.
    pub max_entries: usize,
    /// Time between two sweeps, in seconds.
    pub sweep_s: u64,
}

/// `[client_cache]`: the policy told to every browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientCache {
    /// Younger than this, in seconds, a shown balance is fresh.
    pub ttl_s: u64,
    /// For so many seconds more it may be shown while a new one is fetched.
    pub stale_while_revalidate_s: u64,
    /// Younger than this, in seconds, it is not fetched again unless forced.
    pub min_age_s: u64,
}

/// `[auth]`: secrets, tokens and their lifetimes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Any of them verifies a webhook.
    pub webhook_secrets: Vec<WebhookSecret>,
    /// The first signs session tokens, any verifies; the key is the UTF-8 text, at least 32 bytes.
    pub session_secrets: Vec<Secret>,
    /// The administrators.
    pub admin_tokens: Vec<AdminToken>,
    /// The token that `/metrics` asks for, when set.
    pub metrics_token: Option<Secret>,
    /// Turns on sign-in by Telegram Mini App; then `telegram_identity` is set, too.
    pub telegram_bot_token: Option<Secret>,
    /// The same without the bot's token: Telegram's own signature for this bot is checked.
    pub telegram_bot_id: Option<u64>,
    /// What a Telegram id means here.
    pub telegram_identity: Option<TelegramIdentity>,
    /// The oldest `auth_date` that is taken, in seconds.
    pub telegram_max_age_s: u64,
    /// How long a session token made here is good, in seconds.
    pub session_ttl_s: u64,
    /// The claim of a session token that names the user.
    pub session_user_claim: String,
    /// How far a webhook's timestamp may be off, in seconds.
    pub webhook_tolerance_s: u64,
}

/// What a Telegram id means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TelegramIdentity {
    /// It is the user id.
    UserId,
    /// It is linked to a user id by the application, or unknown.
    Linked,
}

/// `[limits]`: caps that an operator may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open sessions of one user; beyond it the oldest is closed.
    pub sessions_per_user: usize,
    /// Open sessions in all.
    pub sessions: usize,
    /// The largest message of a browser, in bytes.
    pub ws_message_bytes: usize,
    /// Messages of one browser, per second.
    pub ws_messages_per_s: u32,
    /// Messages of one browser, at once.
    pub ws_messages_burst: u32,
    /// How long a session may stay unauthenticated, in milliseconds.
    pub auth_timeout_ms: u64,
    /// Time between two pings, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long a peer may be silent, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long a peer may leave its frames unread, in milliseconds.
    pub write_timeout_ms: u64,
    /// Requests of one user on `/api`, per second.
    pub api_requests_per_s: u32,
    /// Requests of one user on `/api`, at once.
    pub api_requests_burst: u32,
    /// The largest body of a single entry, in bytes.
    pub body_bytes: usize,
    /// The largest body of a batch, in bytes.
    pub batch_body_bytes: usize,
    /// The most entries of a batch.
    pub batch_entries: usize,
    /// The most entries that wait for the ledger.
    pub queue_entries: usize,
}

/// `[accounts]`: which users exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Whether a user begins to exist with the first entry.
    pub auto_create: bool,
}

/// `[log]`: how the log is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// As text.
    #[default]
    Text,
    /// As a JSON object.
    Json,
}

/// `[audit]`: how the ledger is checked while the service runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Users that are checked each second; 0: none.
    pub users_per_s: u64,
}

/// `[canary]`: how the service tests itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// Seconds between two runs; 0: none.
    pub every_s: u64,
    /// A user that nothing else writes to; must be set when the canary runs.
    pub user_id: Option<u64>,
    /// The currency of the deposit.
    pub currency: String,
    /// The amount of the deposit.
    pub amount: String,
    /// Seconds for which the balance is watched.
    pub watch_s: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            public_addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
            internal_addr: SocketAddr::from(([127, 0, 0, 1], 8081)),
            workers: std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(WORKERS_MAX),
            shutdown_timeout_s: 10,
            keep_alive_s: 75,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            debounce_ms: 1_500,
            min_interval_ms: 5_000,
            direct_interval_ms: 100,
            direct_kinds: vec![
                Kind::Deposit,
                Kind::Withdrawal,
                Kind::Adjustment,
                Kind::Reversal,
            ],
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            ttl_s: 300,
            max_entries: 10_000,
            sweep_s: 60,
        }
    }
}

impl Default for ClientCache {
    fn default() -> Self {
        Self {
            ttl_s: 60,
            stale_while_revalidate_s: 30,
            min_age_s: 3,
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            webhook_secrets: Vec::new(),
            session_secrets: Vec::new(),
            admin_tokens: Vec::new(),
            metrics_token: None,
            telegram_bot_token: None,
            telegram_bot_id: None,
            telegram_identity: None,
            telegram_max_age_s: 3_600,
            session_ttl_s: 3_600,
            session_user_claim: SUBJECT.to_owned(),
            webhook_tolerance_s: 300,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_per_user: 16,
            sessions: 100_000,
            ws_message_bytes: 4_096,
            ws_messages_per_s: 20,
            ws_messages_burst: 40,
            auth_timeout_ms: 5_000,
            heartbeat_ms: 25_000,
            idle_timeout_ms: 60_000,
            write_timeout_ms: 10_000,
            api_requests_per_s: 100,
            api_requests_burst: 1_000,
            body_bytes: 64 << 10,
            batch_body_bytes: 16 << 20,
            batch_entries: 10_000,
            queue_entries: 65_536,
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { users_per_s: 10 }
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self {
            every_s: 0,
            user_id: None,
            currency: "TON".into(),
            amount: "0.1".into(),
            watch_s: 10,
        }
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self { auto_create: true }
    }
}

/// As in a file: `[currencies.TON] decimals = 9`.
fn currencies_by_code<S: Serializer>(
    currencies: &Currencies,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let by_code: BTreeMap<&str, BTreeMap<&str, u8>> = currencies
        .iter()
        .map(|(_, c)| (c.code.as_str(), BTreeMap::from([("decimals", c.decimals)])))
        .collect();
    by_code.serialize(serializer)
}

/// Threads of one listener.
pub(super) const WORKERS_MAX: usize = 256;

/// The registered claim that names the user of a session token, unless another is configured.
pub const SUBJECT: &str = "sub";
