//! How a ledger is opened, and the writers that it then has.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::{DatabaseUrl, Schema};
use crate::domain::{Currencies, Rules};
use crate::ledger::connection::Source;
use crate::ledger::connection::identity::Identity;
use crate::ledger::connection::ledger_file::LedgerFile;
use crate::ledger::postgres::PostgresStore;
use crate::ledger::sqlite::SqliteStore;
use crate::ledger::store::{Store, StoreOptions};
use crate::ledger::writer::{Writer, WriterOptions};
use crate::ledger::{Feed, LedgerCounts, LedgerError, Orphan, Standing};
use crate::telemetry::counters::Counters;

/// How a ledger is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which database.
    pub url: DatabaseUrl,
    /// Where in a PostgreSQL database.
    pub schema: Schema,
    /// Connections for reads.
    pub pool_size: u32,
    /// Number of writers; a user always has the same one.
    pub writers: usize,
    /// Apply missing migrations, or refuse to start without them.
    pub migrate_on_start: bool,
    /// The longest a statement, and an answer to a reader, may take, in milliseconds.
    pub timeout_ms: u64,
    /// The longest that locks of other sessions may delay entries of other users, in milliseconds.
    pub lock_timeout_ms: u64,
    /// The most refused entries that are kept for administrators.
    pub conflicts_max: i64,
    /// The currencies that exist.
    pub currencies: Currencies,
    /// Settings of the posting rule.
    pub rules: Rules,
    /// Tells commit times.
    pub clock: Clock,
    /// The counters.
    pub counters: Arc<Counters>,
    /// Gets all commits, where other processes are told of them.
    pub feed: Option<Arc<dyn Feed>>,
}

impl Options {
    pub(super) fn writers(
        &self,
        source: &Source,
        file: Option<&Arc<LedgerFile>>,
        identity: &Arc<Identity>,
        (counts, standing): (&Arc<LedgerCounts>, &Arc<Standing>),
        orphans: &mpsc::Sender<Orphan>,
    ) -> Result<Vec<Writer>, LedgerError> {
        let start = |index| {
            let options = WriterOptions {
                clock: self.clock,
                rules: self.rules,
                counts: counts.clone(),
                standing: standing.clone(),
                orphans: orphans.clone(),
                feed: self.feed.clone(),
            };
            Writer::start(
                format!("ledger-writer-{index}"),
                self.store(source, file.cloned(), identity.clone(), counts.clone()),
                options,
            )
            .map_err(|error| LedgerError::Unavailable(error.to_string()))
        };
        (0..self.writers).map(start).collect()
    }

    fn store(
        &self,
        source: &Source,
        file: Option<Arc<LedgerFile>>,
        identity: Arc<Identity>,
        counts: Arc<LedgerCounts>,
    ) -> Box<dyn Store> {
        let (timeout_ms, lock_timeout_ms) = (self.timeout_ms, self.lock_timeout_ms);
        let options = StoreOptions {
            currencies: self.currencies.clone(),
            timeout_ms,
            lock_timeout_ms,
            conflicts_max: self.conflicts_max,
            counts,
        };
        match source {
            Source::Sqlite(path) => Box::new(SqliteStore::new(path.clone(), file, options)),
            Source::Postgres(_) => {
                let identity = Some(identity);
                Box::new(PostgresStore::new(source.clone(), identity, options))
            }
        }
    }
}
