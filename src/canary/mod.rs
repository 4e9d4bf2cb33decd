//! The canary: a controlled test of a running service with a user of its own and the smallest deposit.
//!
//! It reads the balance, sends the deposit, times it from the webhook to the frame on two sessions, checks for a while
//! that the balance does not change on both and over HTTP, connects again as a page that reloads, and takes the deposit
//! back by a withdrawal. With a Chromium, it does the same in a page. It uses HTTP and WebSocket like any client, and
//! no other way in. Every wait is bounded. The deposit is taken back whatever else goes wrong, an interruption
//! included. Start reading at [`run`].

mod checks;
mod chromium;
mod client;
mod exercise;
mod expected;
mod page;
mod report;
pub mod runs;
pub mod schedule;
mod session;
mod socket;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Settings;
use crate::credentials::access::CurrentAccess;
use crate::domain::{Amount, UserId};

pub use chromium::find as find_chromium;
pub use exercise::run;
pub use report::{CanaryReport, Step};

/// The longest wait for an answer or a frame, in milliseconds; for a paced push, its interval is added.
const PATIENCE_MS: u64 = 10_000;

/// The time between two reads over HTTP while it watches, in milliseconds.
const READ_EVERY_MS: u64 = 1000;

/// How many times an entry is sent until it has an outcome.
const SENDS_MAX: u32 = 5;

/// How many times a run was interrupted so far.
pub type Interrupts = watch::Receiver<u32>;

/// What is tested, and with what.
#[derive(Debug)]
pub struct Options {
    /// Where browsers find the service, such as `https://balance.example.org`.
    pub url: String,
    /// Where back ends find it.
    pub internal_url: String,
    /// A user that nothing else writes to.
    pub user_id: UserId,
    /// The currency of the deposit.
    pub currency: String,
    /// The digits after its point.
    pub decimals: u8,
    /// The amount of the deposit; more than zero.
    pub amount: Amount,
    /// How long the balance is watched.
    pub watch: Duration,
    /// Signs session tokens and webhooks.
    pub access: Arc<CurrentAccess>,
    /// How long its session tokens last, in seconds.
    pub token_ttl_s: u64,
    /// A Chromium in which the balance is shown, too.
    pub browser: Option<PathBuf>,
}

/// Why a run can't be made at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There is no such currency.
    #[error("the currency {0} does not exist")]
    Currency(String),
    /// The amount is zero or can't be read.
    #[error("the amount must be more than zero, with at most {0} digits after the point")]
    Amount(u8),
    /// A secret is missing.
    #[error("auth.webhook_secrets and auth.session_secrets are needed")]
    Secrets,
}

impl Options {
    /// Takes the rest from the settings.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn new(
        settings: &Settings,
        access: Arc<CurrentAccess>,
        user_id: UserId,
        currency: &str,
        amount: &str,
        watch: Duration,
    ) -> Result<Self, OptionsError> {
        let found = settings
            .currencies
            .find(currency)
            .ok_or_else(|| OptionsError::Currency(currency.to_owned()))?;
        let decimals = settings.currencies.get(found).decimals;
        let amount = Amount::parse(amount, decimals)
            .ok()
            .filter(|amount| amount.minor() > 0);
        let auth = &access.now().auth;
        if auth.webhook_secrets.is_empty() || auth.session_secrets.is_empty() {
            return Err(OptionsError::Secrets);
        }
        Ok(Self {
            url: format!("http://{}", settings.server.public_addr),
            internal_url: format!("http://{}", settings.server.internal_addr),
            user_id,
            currency: currency.to_owned(),
            decimals,
            amount: amount.ok_or(OptionsError::Amount(decimals))?,
            watch,
            access,
            token_ttl_s: watch.as_secs() + 600,
            browser: None,
        })
    }
}
