//! Coming from another system: entries and balances are brought over, and differences are told.
//!
//! Knows the service from outside alone: signed batches in, balances out page by page. What is interrupted may be started
//! again: event ids make each entry count once. Start reading at [`import_entries`], [`import_balances`] and [`compare`].
//!
//! `lines.rs` reads a file, `table.rs` its balances, `service.rs` speaks to the service.

mod balances;
mod check;
mod compare;
mod entries;
mod lines;
mod service;
mod table;
#[cfg(test)]
mod tests;

pub use balances::import_balances;
pub use compare::{Compared, compare};
pub use entries::import_entries;
pub use lines::{Input, Refused};
pub use service::ServiceError;

use std::io;

use crate::config::{Settings, WebhookSecret};
use crate::domain::Currencies;

/// The most entries of one batch.
const BATCH_ENTRIES_MAX: usize = 5_000;

/// The most bytes of one batch's entries; below what `limits.batch_body_bytes` is by default.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Which service, and how to sign what it gets.
pub struct Options {
    /// The internal listener, without a slash at its end.
    internal_url: String,
    secret: WebhookSecret,
    currencies: Currencies,
    batch_entries: usize,
}

impl Options {
    /// From checked settings, whose internal listener counts where no URL is given.
    pub fn new(settings: &Settings, secret: WebhookSecret, internal_url: Option<String>) -> Self {
        let configured = || format!("http://{}", settings.server.internal_addr);
        Self {
            internal_url: internal_url.unwrap_or_else(configured),
            secret,
            currencies: settings.currencies.clone(),
            batch_entries: settings.limits.batch_entries.clamp(1, BATCH_ENTRIES_MAX),
        }
    }
}

/// Where it is told what happens.
pub trait Observer {
    /// The work begins, and has so many steps; 0 where that is not known.
    fn begin(&mut self, steps: u64);
    /// So many more are done.
    fn advance(&mut self, steps: u64);
    /// A line is refused.
    ///
    /// # Errors
    /// When it can't be told; the run ends.
    fn refused(&mut self, refused: &Refused) -> io::Result<()>;
    /// A line of the result.
    ///
    /// # Errors
    /// When it can't be told; the run ends.
    fn found(&mut self, line: &str) -> io::Result<()>;
}

/// Why a run has ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The file can't be read, or has no rows of the kind that is asked for.
    #[error("{name}: {why}")]
    File {
        /// The file, as it was named.
        name: String,
        /// Why not.
        why: String,
    },
    /// The service does not answer, or refuses.
    #[error("{0}; it is safe to run this again")]
    Service(#[from] ServiceError),
    /// What was found can't be told.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What became of the lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that are in the ledger now, and were not before.
    pub accepted: u64,
    /// Entries that were there before, or balances that needed none.
    pub known: u64,
    /// Refused lines.
    pub rejected: u64,
}
