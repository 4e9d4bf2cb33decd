//! What a watcher needs to know, from the settings.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::clock::Clock;
use crate::config::{Secret, Settings, TON_DECIMALS, WatchStart};
use crate::credentials::access::CurrentAccess;
use crate::domain::TonAddress;
use crate::watcher::service::Service;
use crate::watcher::verdict::Rules;
use crate::watcher::watched::Watched;

/// The most deposits of one batch.
const BATCH_ENTRIES_MAX: usize = 500;

/// How often an imitated chain is asked: the most requests per second, and the wait between two of them.
const IMITATION_REQUESTS_PER_S: u64 = 10;
const IMITATION_POLL: Duration = Duration::from_millis(200);

/// What a watcher needs to know.
pub struct Options {
    pub(super) accounts: Vec<Watched>,
    pub(super) api_url: String,
    pub(super) api_key: Option<Secret>,
    pub(super) requests_per_s: u64,
    pub(super) internal_url: String,
    pub(super) access: Arc<CurrentAccess>,
    pub(super) state_file: PathBuf,
    pub(super) start: WatchStart,
    pub(super) poll: Duration,
    pub(super) batch_entries: usize,
    pub(super) metrics_addr: Option<SocketAddr>,
}

impl Options {
    /// From checked settings with at least one watched account, and access with a webhook secret.
    pub fn new(settings: &Settings, access: Arc<CurrentAccess>) -> Self {
        let watcher = &settings.watcher;
        let accounts = watcher.accounts.iter().map(|account| {
            let id = account.currency;
            let currency = settings.currencies.get(id);
            let name = match account.jetton_master {
                Some(_) => format!("{} {}", account.address, currency.code),
                None => account.address.to_string(),
            };
            Watched {
                name,
                owner: account.address,
                jetton_master: account.jetton_master,
                currency: (currency.code.clone(), currency.decimals),
                rules: Rules {
                    is_jetton: account.jetton_master.is_some(),
                    user_pattern: watcher.user_pattern.clone(),
                    min_amount: account.min_amount,
                },
            }
        });
        Self {
            accounts: accounts.collect(),
            api_url: watcher.api_url.clone(),
            api_key: watcher.api_key.clone(),
            requests_per_s: watcher.requests_per_s,
            internal_url: watcher.internal_url.clone(),
            access,
            state_file: watcher.state_file.clone(),
            start: watcher.start,
            poll: Duration::from_millis(watcher.poll_ms),
            batch_entries: settings.limits.batch_entries.min(BATCH_ENTRIES_MAX),
            metrics_addr: watcher.metrics_addr,
        }
    }

    /// For one account of an imitated chain: from its beginning, often, and users named by digits alone. `None` without a
    /// currency that can hold Toncoin.
    pub fn for_imitation(
        settings: &Settings,
        access: Arc<CurrentAccess>,
        account: TonAddress,
        api_url: String,
        internal_url: String,
    ) -> Option<Self> {
        let currencies = &settings.currencies;
        let currency = currencies.get(currencies.find("TON")?);
        if currency.decimals != TON_DECIMALS {
            return None;
        }
        let watched = Watched {
            name: account.to_string(),
            owner: account,
            jetton_master: None,
            currency: (currency.code.clone(), currency.decimals),
            rules: Rules {
                is_jetton: false,
                user_pattern: Regex::new(r"^([1-9][0-9]*)$").ok()?,
                min_amount: None,
            },
        };
        Some(Self {
            accounts: vec![watched],
            api_url,
            api_key: None,
            requests_per_s: IMITATION_REQUESTS_PER_S,
            internal_url,
            access,
            state_file: PathBuf::new(),
            start: WatchStart::From(0),
            poll: IMITATION_POLL,
            batch_entries: BATCH_ENTRIES_MAX,
            metrics_addr: None,
        })
    }

    /// A client of the service.
    pub(super) fn service(&self, clock: Clock) -> Service {
        Service::new(&self.internal_url, self.access.clone(), clock)
    }
}
