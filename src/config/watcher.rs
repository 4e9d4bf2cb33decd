//! `[watcher]`: the TON watcher's settings, and their rules.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use regex::Regex;
use serde::de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::error::ConfigError;
use crate::config::secret::Secret;
use crate::domain::{Amount, Currencies, CurrencyId, TonAddress};

/// Accounts that one watcher follows.
const ACCOUNTS_MAX: usize = 100;

/// Digits of a message's value after the point.
pub const TON_DECIMALS: u8 = 9;

/// Requests a second that the API allows with and without a key.
const REQUESTS_PER_S: (u64, u64) = (10, 1);

/// Where the watcher begins with a new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchStart {
    /// After what has happened already.
    Now,
    /// At this logical time.
    From(u64),
}

/// `[watcher]`: how the chain is followed. Checked; shown as it was given.
#[derive(Debug, Clone)]
pub struct Watcher {
    raw: RawWatcher,
    /// The API's address, without a slash at its end.
    pub api_url: String,
    /// Sent as `X-API-Key`.
    pub api_key: Option<Secret>,
    /// The most requests to the API, per second.
    pub requests_per_s: u64,
    /// The accounts.
    pub accounts: Vec<WatchedAccount>,
    /// Finds the user in a comment, as its first group.
    pub user_pattern: Regex,
    /// Where a new account begins.
    pub start: WatchStart,
    /// The service's internal listener, without a slash at its end.
    pub internal_url: String,
    /// The state file.
    pub state_file: PathBuf,
    /// The wait between two pages while there is nothing new, in milliseconds.
    pub poll_ms: u64,
    /// The watcher's own listener.
    pub metrics_addr: Option<SocketAddr>,
}

/// An account whose deposits are credited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedAccount {
    /// The owner.
    pub address: TonAddress,
    /// For jettons: their master contract.
    pub jetton_master: Option<TonAddress>,
    /// The currency of deposits.
    pub currency: CurrencyId,
    /// The least amount that is credited.
    pub min_amount: Option<Amount>,
}

/// The keys as they are written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawWatcher {
    api_url: String,
    api_key: Option<Secret>,
    requests_per_s: Option<u64>,
    user_pattern: String,
    min_amount: Option<String>,
    start: String,
    internal_url: Option<String>,
    state_file: String,
    poll_ms: u64,
    metrics_addr: Option<SocketAddr>,
    accounts: Vec<RawAccount>,
}

/// `{address, currency, jetton_master}`, or the address alone.
#[derive(Debug, Clone, Serialize)]
struct RawAccount {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jetton_master: Option<String>,
    currency: String,
}

impl Default for RawWatcher {
    fn default() -> Self {
        Self {
            api_url: "https://toncenter.com/api/v3".into(),
            api_key: None,
            requests_per_s: None,
            user_pattern: r"^\s*(?:user[:# ]?)?([1-9][0-9]{0,15})\s*$".into(),
            min_amount: None,
            start: "now".into(),
            internal_url: None,
            state_file: "./ton-watcher.db".into(),
            poll_ms: 1_000,
            metrics_addr: None,
            accounts: Vec::new(),
        }
    }
}

impl Serialize for Watcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl RawWatcher {
    /// Checks what is written.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] by the full key.
    pub(super) fn resolve(
        self,
        internal_addr: SocketAddr,
        currencies: &Currencies,
    ) -> Result<Watcher, ConfigError> {
        let (with_key, without) = REQUESTS_PER_S;
        let default = if self.api_key.is_some() {
            with_key
        } else {
            without
        };
        let internal_url = match &self.internal_url {
            Some(url) => base_url("watcher.internal_url", url)?,
            None => format!("http://{internal_addr}"),
        };
        if self.state_file.is_empty() {
            return Err(ConfigError::invalid(
                "watcher.state_file",
                "must name a file",
            ));
        }
        Ok(Watcher {
            api_url: base_url("watcher.api_url", &self.api_url)?,
            api_key: self.api_key.clone(),
            requests_per_s: self.requests_per_s.unwrap_or(default),
            accounts: self.accounts(currencies)?,
            user_pattern: self.pattern()?,
            start: self.start()?,
            internal_url,
            state_file: PathBuf::from(&self.state_file),
            poll_ms: self.poll_ms,
            metrics_addr: self.metrics_addr,
            raw: self,
        })
    }

    fn pattern(&self) -> Result<Regex, ConfigError> {
        let invalid = |reason: String| ConfigError::invalid("watcher.user_pattern", reason);
        let pattern = Regex::new(&self.user_pattern).map_err(|error| {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            invalid(format!("must be a regular expression: {reason}"))
        })?;
        if pattern.captures_len() < 2 {
            return Err(invalid("must have a group, which finds the user id".into()));
        }
        Ok(pattern)
    }

    fn start(&self) -> Result<WatchStart, ConfigError> {
        let is_digits = !self.start.is_empty() && self.start.bytes().all(|b| b.is_ascii_digit());
        match self.start.parse::<i64>() {
            _ if self.start == "now" => Ok(WatchStart::Now),
            Ok(lt) if is_digits => Ok(WatchStart::From(lt.unsigned_abs())),
            _ => Err(ConfigError::invalid(
                "watcher.start",
                "must be \"now\" or a logical time in digits, such as \"0\"",
            )),
        }
    }

    fn accounts(&self, currencies: &Currencies) -> Result<Vec<WatchedAccount>, ConfigError> {
        if self.accounts.len() > ACCOUNTS_MAX {
            return Err(ConfigError::invalid(
                "watcher.accounts",
                format!("must have at most {ACCOUNTS_MAX} items"),
            ));
        }
        // It is checked without an account, too.
        if self.accounts.is_empty() {
            self.min_amount(TON_DECIMALS)?;
        }
        let mut known = BTreeSet::new();
        let accounts = self.accounts.iter().enumerate().map(|(index, raw)| {
            let key = |field: &str| format!("watcher.accounts[{index}].{field}");
            let address = |field: &str, text: &str| {
                TonAddress::parse(text)
                    .map_err(|error| ConfigError::invalid(key(field), error.to_string()))
            };
            let owner = address("address", &raw.address)?;
            let master = raw
                .jetton_master
                .as_deref()
                .map(|master| address("jetton_master", master))
                .transpose()?;
            let currency = currencies
                .find(&raw.currency)
                .ok_or_else(|| ConfigError::invalid(key("currency"), "does not exist"))?;
            let decimals = currencies.get(currency).decimals;
            if master.is_none() && decimals != TON_DECIMALS {
                return Err(ConfigError::invalid(
                    key("currency"),
                    format!("must have {TON_DECIMALS} decimals, as Toncoin has"),
                ));
            }
            let name = (owner.to_string(), master.map(|master| master.to_string()));
            // Two jettons of one owner are told apart by their currencies, in the state file and in metrics.
            let is_new = known.insert((name.0.clone(), raw.currency.clone(), master.is_some()));
            if !is_new {
                return Err(ConfigError::invalid(
                    key("address"),
                    "is there twice for one currency",
                ));
            }
            Ok(WatchedAccount {
                address: owner,
                jetton_master: master,
                currency,
                min_amount: self.min_amount(decimals)?,
            })
        });
        accounts.collect()
    }

    fn min_amount(&self, decimals: u8) -> Result<Option<Amount>, ConfigError> {
        let Some(text) = &self.min_amount else {
            return Ok(None);
        };
        match Amount::parse(text, decimals) {
            Ok(amount) if amount > Amount::ZERO => Ok(Some(amount)),
            _ => Err(ConfigError::invalid(
                "watcher.min_amount",
                "must be an amount above zero that every watched currency can hold, as a string",
            )),
        }
    }
}

/// An address that a path may follow, without the slash at its end.
fn base_url(key: &str, text: &str) -> Result<String, ConfigError> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let is_good = rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', '@', ' '])
    });
    if is_good {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(ConfigError::invalid(
            key,
            "must be http:// or https:// and a host, without user, query and fragment",
        ))
    }
}

impl<'de> Deserialize<'de> for RawAccount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AccountVisitor)
    }
}

struct AccountVisitor;

impl<'de> Visitor<'de> for AccountVisitor {
    type Value = RawAccount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address or a table {address, currency, jetton_master}")
    }

    fn visit_str<E: serde::de::Error>(self, address: &str) -> Result<RawAccount, E> {
        Ok(RawAccount {
            address: address.to_owned(),
            jetton_master: None,
            currency: "TON".into(),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawAccount, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            address: String,
            jetton_master: Option<String>,
            currency: Option<String>,
        }
        let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
        let currency = match (fields.currency, &fields.jetton_master) {
            (Some(currency), _) => currency,
            (None, None) => "TON".into(),
            (None, Some(_)) => return Err(A::Error::missing_field("currency")),
        };
        Ok(RawAccount {
            address: fields.address,
            jetton_master: fields.jetton_master,
            currency,
        })
    }
}
