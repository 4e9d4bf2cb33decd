//! Typed, checked settings: everything that an operator can set.
//!
//! Owns every configuration key, its default, its bounds, and the layering: defaults, then the development file (only
//! in development), then the configuration file, then the environment. Refuses unknown keys and impossible values by
//! their full key, and never shows the value of a secret. Reads the process environment in one place, [`environment`];
//! everything else is a function of [`Sources`]. Runs on the main thread, before anything starts, and for SIGHUP on the
//! thread that waits for it.
//!
//! Start reading at [`Settings::load`]; the keys are listed in `keys.rs`, their bounds in `bounds.rs`.

mod bounds;
mod check;
mod cluster;
mod database_url;
pub mod dev;
mod error;
mod keys;
mod layer;
mod lines;
mod load;
mod network;
mod origin;
mod postgres_url;
mod raw_database;
mod schema;
mod secret;
mod settings;
mod values;
mod watcher;

#[cfg(test)]
mod tests;

pub use bounds::{SESSION_TTL_S_MAX, SIGNED_BODY_BYTES_MAX};
pub use cluster::{BusUrl, Cluster, ClusterReads};
pub use database_url::{DatabaseUrl, DatabaseUrlError};
pub use error::{ConfigError, variable};
pub use load::{Sources, environment, wished_log_format};
pub use network::{Network, NetworkError};
pub use origin::normal_origin;
pub use schema::Schema;
pub use secret::{AdminToken, Secret, WebhookSecret, WebhookSecretError};
pub use settings::{
    Accounts, Auth, Cache, ClientCache, Database, Limits, LogFormat, Pacing, SUBJECT, Server,
    Settings, TelegramIdentity,
};
pub use values::{Changes, Values, reloaded_keys};
pub use watcher::{TON_DECIMALS, WatchStart, WatchedAccount, Watcher};
