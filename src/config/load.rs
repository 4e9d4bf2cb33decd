//! From sources to settings: read, check keys and types, lay over each other, check values.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use config::{Config, Value, ValueKind};
use serde::Deserialize;

use crate::config::cluster::Cluster;
use crate::config::error::{ConfigError, variable};
use crate::config::layer::Layer;
use crate::config::network::Network;
use crate::config::origin::normal_origin;
use crate::config::raw_database::RawDatabase;
use crate::config::secret::WebhookSecret;
use crate::config::settings::{
    Accounts, Audit, Auth, Cache, Canary, ClientCache, Limits, Log, LogFormat, Pacing, Server,
    Settings,
};
use crate::config::values::Values;
use crate::config::watcher::RawWatcher;
use crate::config::{check, dev};
use crate::domain::{Currencies, CurrencyError};

/// The largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where settings come from; later fields win over earlier ones, and all over the defaults. Not printable, because
/// the environment holds secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The development file; when given, both listeners must be on loopback.
    pub dev_file: Option<PathBuf>,
    /// The file that the operator named.
    pub file: Option<PathBuf>,
    /// Environment variables by name; names that do not start with `BALANCE_` are ignored.
    pub environment: BTreeMap<String, String>,
}

/// The environment variables of this process that are ours. Nothing else in the program reads the environment for
/// settings.
///
/// # Errors
/// [`ConfigError::WrongType`] for one of ours that is not UTF-8.
pub fn environment() -> Result<BTreeMap<String, String>, ConfigError> {
    let named =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = named.filter(|(name, _)| name.starts_with("BALANCE_"));
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(ConfigError::WrongType {
            key: name,
            origin: "environment".into(),
            expected: "UTF-8",
        }),
    })
    .collect()
}

/// The format that sources which can't be used wish for the log, so that their error has it, too.
pub fn wished_log_format(sources: &Sources) -> LogFormat {
    let wish = |text: &str| (text == "json").then_some(LogFormat::Json);
    let of_file = |path: &PathBuf| {
        // What is no file can't be read a second time.
        let text = path.is_file().then(|| read(path).ok()).flatten()?;
        let table: toml::Table = text.parse().ok()?;
        wish(table.get("log")?.get("format")?.as_str()?)
    };
    match sources.environment.get(&variable("log.format")) {
        Some(text) => wish(text).unwrap_or_default(),
        None => {
            let mut files = [&sources.file, &sources.dev_file].into_iter().flatten();
            files.find_map(of_file).unwrap_or_default()
        }
    }
}

impl Settings {
    /// Reads, lays over each other and checks all sources. Secrets may be missing: see
    /// [`Settings::require_serve_secrets`].
    ///
    /// # Errors
    /// [`ConfigError`], naming the full key; never a secret's value.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        Self::load_with_values(sources).map(|(settings, _)| settings)
    }

    /// The same, with the values by key, for a comparison with those of another time.
    ///
    /// # Errors
    /// [`ConfigError`], as [`Settings::load`].
    pub fn load_with_values(sources: &Sources) -> Result<(Self, Values), ConfigError> {
        let merged = merge(sources)?;
        let settings = Self::from_merged(merged.clone())?;
        check::check(&settings)?;
        if sources.dev_file.is_some() {
            dev::require_loopback(&settings.server)?;
        }
        let values = Values::of(&settings, &merged);
        Ok((settings, values))
    }

    /// Checks that every secret that `serve` needs is set.
    ///
    /// # Errors
    /// [`ConfigError::MissingSecrets`] with every missing key.
    pub fn require_serve_secrets(&self) -> Result<(), ConfigError> {
        let auth = &self.auth;
        let wanted = [
            ("auth.webhook_secrets", auth.webhook_secrets.is_empty()),
            ("auth.session_secrets", auth.session_secrets.is_empty()),
            ("auth.admin_tokens", auth.admin_tokens.is_empty()),
        ];
        missing(&wanted)
    }

    /// Checks that session tokens can be signed.
    ///
    /// # Errors
    /// [`ConfigError::MissingSecrets`].
    pub fn require_session_secret(&self) -> Result<(), ConfigError> {
        missing(&[("auth.session_secrets", self.auth.session_secrets.is_empty())])
    }

    /// The secret that signs what commands send to the service.
    ///
    /// # Errors
    /// [`ConfigError::MissingSecrets`].
    pub fn require_webhook_secret(&self) -> Result<&WebhookSecret, ConfigError> {
        let missing = || ConfigError::MissingSecrets {
            keys: vec!["auth.webhook_secrets"],
        };
        self.auth.webhook_secrets.first().ok_or_else(missing)
    }

    /// Checks that the watcher has a secret to sign with and accounts to follow.
    ///
    /// # Errors
    /// [`ConfigError::MissingSecrets`], and [`ConfigError::Invalid`] for `watcher.accounts`.
    pub fn require_watcher(&self) -> Result<&WebhookSecret, ConfigError> {
        let secret = self.require_webhook_secret()?;
        if self.watcher.accounts.is_empty() {
            return Err(ConfigError::invalid(
                "watcher.accounts",
                "must name at least one account",
            ));
        }
        Ok(secret)
    }

    /// The settings as a configuration file, secrets and the password in the database's URL masked: for the log.
    pub fn to_masked_toml(&self) -> String {
        toml::to_string(self)
            .expect("settings are tables of strings, booleans and integers below 2^63")
    }

    /// Valid settings that are probably mistakes, one sentence each: for the log.
    pub fn warnings(&self) -> Vec<&'static str> {
        let Limits {
            heartbeat_ms,
            idle_timeout_ms,
            batch_entries,
            queue_entries,
            ..
        } = self.limits;
        let any_origin = self
            .server
            .allowed_origins
            .iter()
            .any(|origin| origin == "*");
        let any_proxy = self
            .server
            .trusted_proxies
            .iter()
            .any(Network::is_everything);
        let doubts = [
            (
                idle_timeout_ms <= heartbeat_ms,
                "limits.idle_timeout_ms: not above limits.heartbeat_ms: quiet sessions are closed before they are pinged",
            ),
            (
                batch_entries > queue_entries,
                "limits.queue_entries: below limits.batch_entries: the largest batches never fit",
            ),
            (
                self.pacing.debounce_ms > self.pacing.min_interval_ms,
                "pacing.debounce_ms: above pacing.min_interval_ms, which ends the wait first",
            ),
            (
                self.database.url.is_sqlite() && self.database.schema.is_named(),
                "database.schema: has no effect on SQLite",
            ),
            (
                any_origin,
                "server.allowed_origins: every website may open sessions",
            ),
            (
                any_proxy,
                "server.trusted_proxies: every client may claim any address",
            ),
        ];
        doubts
            .into_iter()
            .filter_map(|(applies, text)| applies.then_some(text))
            .collect()
    }

    fn from_merged(merged: serde_json::Value) -> Result<Self, ConfigError> {
        let raw: Raw = serde_path_to_error::deserialize(merged).map_err(|error| {
            ConfigError::invalid(error.path().to_string(), reason(&error.inner().to_string()))
        })?;
        let mut auth = raw.auth;
        for (index, admin) in auth.admin_tokens.iter_mut().enumerate() {
            if admin.name.is_empty() {
                admin.name = format!("admin-{}", index + 1);
            }
        }
        let currencies = raw.currencies.into_iter().map(|(code, currency)| {
            // A number that does not fit is above the most decimals, too, and is refused for that.
            (code, u8::try_from(currency.decimals).unwrap_or(u8::MAX))
        });
        let mut server = raw.server;
        server.allowed_origins = normal_origins(server.allowed_origins)?;
        let currencies = Currencies::new(currencies).map_err(|error| currency_error(&error))?;
        let watcher = raw.watcher.resolve(server.internal_addr, &currencies)?;
        Ok(Self {
            server,
            database: raw.database.resolve(),
            pacing: raw.pacing,
            cache: raw.cache,
            client_cache: raw.client_cache,
            auth,
            limits: raw.limits,
            currencies,
            accounts: raw.accounts,
            log: raw.log,
            audit: raw.audit,
            canary: raw.canary,
            cluster: raw.cluster,
            watcher,
        })
    }
}

/// The settings before defaults that depend on other settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    server: Server,
    database: RawDatabase,
    pacing: Pacing,
    cache: Cache,
    client_cache: ClientCache,
    auth: Auth,
    limits: Limits,
    currencies: BTreeMap<String, RawCurrency>,
    accounts: Accounts,
    log: Log,
    audit: Audit,
    canary: Canary,
    cluster: Cluster,
    watcher: RawWatcher,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCurrency {
    decimals: u64,
}

/// serde's message without the unknown name that it repeats: that may be a secret at the wrong key.
fn reason(message: &str) -> String {
    match message.split_once(", expected ") {
        Some((unknown, expected)) if unknown.starts_with("unknown variant") => {
            format!("must be {expected}")
        }
        _ => message.to_owned(),
    }
}

/// The origins in the form in which they are compared.
fn normal_origins(origins: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let origins = origins.into_iter().enumerate();
    let normal = origins.map(|(index, origin)| match origin.as_str() {
        "*" => Ok(origin),
        text => normal_origin(text).ok_or_else(|| {
            let reason = "must be * or an origin as browsers send it, such as https://app.example.org: without path, final slash, user, space and wildcard";
            ConfigError::invalid(format!("server.allowed_origins[{index}]"), reason)
        }),
    });
    normal.collect()
}

fn currency_error(error: &CurrencyError) -> ConfigError {
    let text = error.to_string();
    let (key, reason) = text.split_once(": ").unwrap_or(("currencies", &text));
    ConfigError::invalid(key, reason)
}

fn missing(wanted: &[(&'static str, bool)]) -> Result<(), ConfigError> {
    let keys: Vec<_> = wanted
        .iter()
        .filter(|(_, is_missing)| *is_missing)
        .map(|(key, _)| *key)
        .collect();
    if keys.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::MissingSecrets { keys })
    }
}

/// Lays the sources over each other. Every layer is checked first, so that a wrong value cannot hide below a right one.
fn merge(sources: &Sources) -> Result<serde_json::Value, ConfigError> {
    let mut files = Vec::new();
    for path in [&sources.dev_file, &sources.file].into_iter().flatten() {
        files.push(Layer::from_toml(&path.display().to_string(), &read(path)?)?);
    }
    // A `[currencies]` section replaces what was there; only the environment changes single ones.
    match files.iter().rposition(Layer::has_currencies) {
        Some(last) => files[..last].iter_mut().for_each(Layer::drop_currencies),
        None => files.insert(0, Layer::default_currencies()),
    }
    files.push(Layer::from_environment(&sources.environment)?);
    let builder = files.into_iter().fold(Config::builder(), |builder, layer| {
        builder.add_source(layer)
    });
    let merged = builder
        .build()
        .expect("layers are read already, and collecting them cannot fail");
    Ok(to_json(merged.cache))
}

/// Reads a whole file.
fn read(path: &Path) -> Result<String, ConfigError> {
    let attempt = || {
        let mut text = String::new();
        File::open(path)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "is larger than {FILE_BYTES_MAX} bytes"
            )));
        }
        Ok(text)
    };
    attempt().map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The merged values for a deserializer that takes types as they are: the one of the `config` crate would take
/// `5.5`, `"5"` and `true` for an integer.
fn to_json(value: Value) -> serde_json::Value {
    match value.kind {
        ValueKind::Table(table) => table
            .into_iter()
            .map(|(key, value)| (key, to_json(value)))
            .collect(),
        ValueKind::Array(items) => items.into_iter().map(to_json).collect(),
        ValueKind::String(text) => text.into(),
        ValueKind::I64(number) => number.into(),
        ValueKind::Boolean(value) => value.into(),
        // Layers hold nothing else.
        _ => serde_json::Value::Null,
    }
}
