//! What all accounts share, and what they wait out.

use std::sync::Arc;
use std::time::Duration;

use log::Level;

use crate::clock::Clock;
use crate::config::WatchStart;
use crate::watcher::api::{Api, ApiError};
use crate::watcher::metrics::Metrics;
use crate::watcher::progress::Progress;
use crate::watcher::service::{SendError, Service};
use crate::watcher::state::{State, StateError};

/// What all accounts share.
pub struct Shared {
    /// The chain.
    pub api: Api,
    /// The service.
    pub service: Service,
    /// The state file.
    pub state: State,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is shown of a run that ends.
    pub progress: Progress,
    /// The time.
    pub clock: Clock,
    /// Where a new account begins.
    pub start: WatchStart,
    /// The wait between two pages while there is nothing new.
    pub poll: Duration,
    /// The most transactions whose deposits are sent together.
    pub batch_entries: usize,
    /// Whether to end when there is nothing new.
    pub is_once: bool,
}

/// Something that is waited out.
#[derive(Debug)]
pub struct Trouble {
    /// In words.
    pub what: String,
    /// An error if only a person can mend it.
    pub level: Level,
    /// What the other side asks for.
    pub retry_after: Option<Duration>,
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        Self {
            level: level(error.is_misconfigured),
            what: error.to_string(),
            retry_after: error.retry_after,
        }
    }
}

impl From<SendError> for Trouble {
    fn from(error: SendError) -> Self {
        let retry_after = match &error {
            SendError::Away { retry_after, .. } => *retry_after,
            SendError::Misconfigured(_) | SendError::TooLarge => None,
        };
        Self {
            level: level(matches!(error, SendError::Misconfigured(_))),
            what: error.to_string(),
            retry_after,
        }
    }
}

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self {
            what,
            level: Level::Warn,
            retry_after: None,
        }
    }
}

impl From<&str> for Trouble {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}

const fn level(is_misconfigured: bool) -> Level {
    if is_misconfigured {
        Level::Error
    } else {
        Level::Warn
    }
}

/// Runs what waits for the disk on a thread for that.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, StateError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
