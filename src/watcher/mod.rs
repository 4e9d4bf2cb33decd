//! The TON watcher: final deposits on chain become signed webhooks, once each.
//!
//! Knows the chain by TON Center's v3 API and the service by its signed webhooks alone. What is not sure is unmatched
//! and waits for a person. Start reading at [`watch`]; the pure parts are `verdict.rs` (what a transaction is) and
//! `order.rs` (which one is next).

mod api;
mod cells;
mod follow;
mod metrics;
mod options;
mod order;
mod pace;
mod people;
mod progress;
mod service;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod transaction;
mod verdict;
mod watched;

pub use options::Options;
pub use people::{Listed, assign, unmatched};
pub use service::Sent;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::clock::Clock;
use crate::domain::{TxHash, UserId};
use crate::watcher::api::Api;
use crate::watcher::follow::Follower;
use crate::watcher::metrics::Metrics;
use crate::watcher::pace::Budget;
use crate::watcher::progress::Progress;
use crate::watcher::shared::{Shared, blocking};
use crate::watcher::state::{State, StateLock};

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

/// Follows all accounts; with `is_once` until each is up to date, and with a bar if `is_shown`. It may be dropped at any
/// point.
///
/// # Errors
/// [`WatchError`]. Neither the API nor the service ends it: both are waited for.
pub async fn watch(options: &Options, is_once: bool, is_shown: bool) -> Result<(), WatchError> {
    let _lock = StateLock::take(&options.state_file)?;
    let state = State::open(&options.state_file, true)?;
    run(options, state, Clock::system(), is_once, is_shown).await
}

/// Follows all accounts for ever, on a chain that ends with this process: so does its state.
///
/// # Errors
/// [`WatchError`].
pub async fn watch_in_memory(options: &Options) -> Result<(), WatchError> {
    run(options, State::in_memory()?, Clock::system(), false, false).await
}

async fn run(
    options: &Options,
    state: State,
    clock: Clock,
    is_once: bool,
    is_shown: bool,
) -> Result<(), WatchError> {
    let lags = lags(options, state.clone(), clock.now_s()).await?;
    let metrics = Arc::new(Metrics::new(lags, clock)?);
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

/// For each account: for how many seconds it has not been known to be up to date.
async fn lags(
    options: &Options,
    state: State,
    now_s: i64,
) -> Result<Vec<(String, i64)>, WatchError> {
    let accounts = options.accounts.iter();
    let names: Vec<String> = accounts.map(|account| account.name.clone()).collect();
    let lags = blocking(move || {
        let lag = |name: String| {
            let at_s = state.up_to_date_s(&name, now_s)?;
            Ok((name, now_s.saturating_sub(at_s)))
        };
        names.into_iter().map(lag).collect()
    });
    Ok(lags.await?)
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
