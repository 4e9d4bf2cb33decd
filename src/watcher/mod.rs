//! The TON watcher: final deposits on chain become signed webhooks, once each.
//!
//! Knows the chain by TON Center's v3 API and the service by its signed webhooks alone. What is not sure is unmatched
//! and waits for a person. Start reading at [`watch`]; the pure parts are `verdict.rs` (what a transaction is) and
//! `order.rs` (which one is next).

mod api;
mod cells;
mod follow;
mod metrics;
mod order;
mod pace;
mod progress;
mod service;
mod state;
mod state_lock;
#[cfg(test)]
mod tests;
mod transaction;
mod verdict;
mod watched;

pub use service::Sent;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::clock::{Clock, rfc3339};
use crate::config::{Secret, Settings, WatchStart, WebhookSecret};
use crate::domain::{TxHash, UserId};
use crate::watcher::api::Api;
use crate::watcher::follow::{Follower, Shared, blocking};
use crate::watcher::metrics::Metrics;
use crate::watcher::pace::Budget;
use crate::watcher::progress::Progress;
use crate::watcher::service::{Deposit, Metadata, Service};
use crate::watcher::state::State;
use crate::watcher::state_lock::StateLock;
use crate::watcher::verdict::Rules;
use crate::watcher::watched::Watched;

/// The most deposits of one batch.
const BATCH_ENTRIES_MAX: usize = 500;

/// How often what waits for a person is counted again, since `watch assign` runs beside the watcher.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Why a watcher can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The state file can't be used.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// The listener for metrics can't be opened.
    #[error("watcher.metrics_addr {addr}: {why}")]
    Listen {
        /// Its address.
        addr: SocketAddr,
        /// Why not.
        why: std::io::Error,
    },
    /// A metric can't be registered.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Nothing unmatched has this hash.
    #[error("no unmatched transaction has the hash {0}")]
    Unknown(TxHash),
    /// It was assigned to another user before.
    #[error("{hash} is assigned to user {user_id} already")]
    Assigned {
        /// The transaction.
        hash: TxHash,
        /// Whose it is.
        user_id: UserId,
    },
    /// The service refuses it for good.
    #[error("the service refuses the deposit: {0}")]
    Refused(String),
    /// The service can't answer.
    #[error("{0}; it is safe to run this again")]
    Send(#[from] service::SendError),
}

/// What a watcher needs to know.
pub struct Options {
    accounts: Vec<Watched>,
    api_url: String,
    api_key: Option<Secret>,
    requests_per_s: u64,
    internal_url: String,
    secret: WebhookSecret,
    state_file: PathBuf,
    start: WatchStart,
    poll: Duration,
    batch_entries: usize,
    metrics_addr: Option<SocketAddr>,
}

/// Something that waits for a person, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Of the transaction, in hex.
    pub tx_hash: String,
    /// Its logical time.
    pub lt: String,
    /// The watched account.
    pub watched: String,
    /// A decimal string.
    pub amount: String,
    /// The currency's code.
    pub currency: String,
    /// The sender, raw.
    pub account: Option<String>,
    /// What the sender wrote.
    pub comment: Option<String>,
    /// Why it has no user.
    pub reason: String,
    /// When it happened.
    pub occurred_at: String,
    /// When the watcher saw it.
    pub seen_at: String,
}

impl Options {
    /// From checked settings with a webhook secret and at least one watched account.
    pub fn new(settings: &Settings, secret: WebhookSecret) -> Self {
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
            secret,
            state_file: watcher.state_file.clone(),
            start: watcher.start,
            poll: Duration::from_millis(watcher.poll_ms),
            batch_entries: settings.limits.batch_entries.min(BATCH_ENTRIES_MAX),
            metrics_addr: watcher.metrics_addr,
        }
    }

    fn service(&self, clock: Clock) -> Service {
        Service::new(&self.internal_url, self.secret.clone(), clock)
    }
}

/// Follows all accounts; with `is_once` until each is up to date, and with a bar if `is_shown`. It may be dropped at any
/// point.
///
/// # Errors
/// [`WatchError`]. Neither the API nor the service ends it: both are waited for.
pub async fn watch(options: &Options, is_once: bool, is_shown: bool) -> Result<(), WatchError> {
    let clock = Clock::system();
    let _lock = StateLock::take(&options.state_file)?;
    let state = State::open(&options.state_file, true)?;
    let names = options.accounts.iter().map(|account| account.name.clone());
    let metrics = Arc::new(Metrics::new(names, clock)?);
    if let Some(addr) = options.metrics_addr {
        let server = metrics::listen(addr, metrics.clone())
            .map_err(|why| WatchError::Listen { addr, why })?;
        actix::spawn(server);
    }
    let api = Api::new(
        &options.api_url,
        options.api_key.clone(),
        Budget::new(options.requests_per_s, clock),
        metrics.clone(),
    );
    let shared = Rc::new(Shared {
        api,
        service: options.service(clock),
        state: state.clone(),
        metrics: metrics.clone(),
        progress: Progress::new(options.accounts.len(), is_once && is_shown, clock.now_s()),
        clock,
        start: options.start,
        poll: options.poll,
        batch_entries: options.batch_entries,
        is_once,
    });
    let followers = options
        .accounts
        .iter()
        .map(|account| Follower::new(shared.clone(), account.clone()).run());
    let followed = tokio::select! {
        followed = try_join_all(followers) => followed.map(drop).map_err(WatchError::from),
        counted = count(state, &metrics) => counted,
    };
    shared.progress.clear();
    followed
}

/// Counts again and again what waits for a person.
async fn count(state: State, metrics: &Metrics) -> Result<(), WatchError> {
    loop {
        let state = state.clone();
        let (count, since_s) = blocking(move || state.waiting()).await?;
        metrics.waiting(count, since_s);
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

/// Everything that waits for a person, oldest first.
///
/// # Errors
/// [`WatchError::State`].
pub fn unmatched(options: &Options) -> Result<Vec<Listed>, WatchError> {
    let state = State::open(&options.state_file, false)?;
    let waiting = state.unmatched()?;
    let listed = waiting.into_iter().map(|one| Listed {
        tx_hash: one.id.hash.to_string(),
        lt: one.id.lt.to_string(),
        watched: one.account,
        amount: decimal(one.arrival.units, one.currency.1),
        currency: one.currency.0,
        account: one.arrival.sender.map(|sender| sender.to_string()),
        comment: one.arrival.comment,
        reason: one.reason,
        occurred_at: rfc3339(one.at_s.saturating_mul(1_000_000)),
        seen_at: rfc3339(one.seen_at_s.saturating_mul(1_000_000)),
    });
    Ok(listed.collect())
}

/// Sends an unmatched transaction as a deposit of `user_id`. Run again it does the same again, which changes nothing.
///
/// # Errors
/// [`WatchError`].
pub async fn assign(options: &Options, hash: TxHash, user_id: UserId) -> Result<Sent, WatchError> {
    let state = State::open(Path::new(&options.state_file), false)?;
    let one = state.find(hash)?.ok_or(WatchError::Unknown(hash))?;
    if let Some(other) = one.assigned_user.filter(|other| *other != user_id) {
        return Err(WatchError::Assigned {
            hash,
            user_id: other,
        });
    }
    let deposit = Deposit {
        user_id: user_id.get(),
        amount: decimal(one.arrival.units, one.currency.1),
        currency: one.currency.0,
        tx_hash: hash.to_string(),
        lt: one.id.lt.to_string(),
        account: one.arrival.sender.map(|sender| sender.to_string()),
        occurred_at: rfc3339(one.at_s.saturating_mul(1_000_000)),
        metadata: Metadata::of_comment(one.arrival.comment.as_deref()),
    };
    let sent = options.service(Clock::system()).send(&[deposit]).await?;
    match sent.into_iter().next() {
        Some(Sent::Refused(code)) => Err(WatchError::Refused(code)),
        None => Err(WatchError::Refused("no answer".into())),
        Some(sent) => {
            state.assigned(hash, user_id)?;
            Ok(sent)
        }
    }
}

/// A number of minor units, which may be larger than the service can store, as a decimal string.
fn decimal(units: u128, decimals: u8) -> String {
    let digits = format!("{units:0>width$}", width = usize::from(decimals) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(decimals));
    match fraction {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}
