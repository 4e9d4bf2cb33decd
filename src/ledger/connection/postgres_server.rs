//! Connections to PostgreSQL: what is checked of each one, and its settings.
//!
//! The settings belong to the session, and so do Diesel's prepared statements. A pooler that gives one session to several
//! clients is therefore refused (`pooler.rs`) before anything is set.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use log::warn;

use crate::clock::{Clock, Mono};
use crate::config::Schema;
use crate::limits::COMPLAINT_S;

use super::connect_error::ConnectError;
use super::fitness::{Access, Facts};
use super::pooler::{self, Backends, InUse};

/// Makes the planner look rows up by their keys. By default it scans tables that are still short, or joins them by reading a
/// whole index, and keeps such a plan long after they have grown.
pub(in crate::ledger) const BY_INDEX: &str = "SET enable_seqscan = off; SET enable_mergejoin = off; SET enable_hashjoin = off; \
     SET plan_cache_mode = force_generic_plan; SET jit = off;";

/// The longest that connecting, and then finding out whether the server fits, may take, in seconds. Migrations and audits have
/// statements that take much longer.
const CONNECT_S_MAX: u64 = 60;

/// How long sent data may stay unacknowledged, in milliseconds; after that the peer is taken to be gone.
const UNACKNOWLEDGED_MS_MAX: u64 = 2000;

/// The server that a URL leads to, and the schema in which the tables are.
#[derive(Debug)]
pub(in crate::ledger) struct PostgresServer {
    url: String,
    schema: Schema,
    backends: Arc<Backends>,
    is_pooler_ruled_out: AtomicBool,
    are_doubts_told: AtomicBool,
    /// Held by a connection that finds it out; several at once would hide each other's evidence.
    ruling_out: Mutex<()>,
    clock: Clock,
    /// The last complaint, and when it was logged.
    complaint: Mutex<Option<(String, Mono)>>,
}

impl PostgresServer {
    pub(super) fn new(url: String, schema: Schema) -> Self {
        Self {
            url,
            schema,
            backends: Arc::default(),
            is_pooler_ruled_out: AtomicBool::new(false),
            are_doubts_told: AtomicBool::new(false),
            ruling_out: Mutex::default(),
            clock: Clock::system(),
            complaint: Mutex::default(),
        }
    }

    /// Where the tables are.
    pub(in crate::ledger) const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Logs why a server is not used; the same again only after [`COMPLAINT_S`].
    pub(super) fn complain(&self, reason: &str) {
        let now = self.clock.mono();
        let mut last = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_new = last
            .as_ref()
            .is_none_or(|(said, at)| said != reason || now.us_since(*at) > COMPLAINT_S * 1_000_000);
        if is_new {
            warn!("the database is not used: {reason}");
            *last = Some((reason.to_owned(), now));
        }
    }

    /// Connects, checks the server, and then makes the settings of every connection and those of `settings`: bounded waits,
    /// commits on disk, names that mean our tables. Changes nothing on a server that does not fit.
    pub(super) fn connect(
        &self,
        timeout_ms: u64,
        settings: &str,
        access: Access,
    ) -> Result<(PgConnection, InUse), ConnectError> {
        let connected = self.connect_and_check(timeout_ms, settings, access);
        if let Err(ConnectError::Away(_)) = connected {
            // What comes back may be something else.
            self.is_pooler_ruled_out.store(false, Ordering::Relaxed);
        }
        connected
    }

    fn connect_and_check(
        &self,
        timeout_ms: u64,
        settings: &str,
        access: Access,
    ) -> Result<(PgConnection, InUse), ConnectError> {
        let mut connection = self.open(timeout_ms)?;
        let patience_ms = timeout_ms.min(CONNECT_S_MAX * 1000);
        let facts = Facts::read(&mut connection, self.schema.name(), patience_ms)?;
        facts
            .check(&self.schema, access)
            .map_err(ConnectError::Unfit)?;
        let in_use = InUse::add(&self.backends, facts.backend());
        if in_use.is_repeat() || !self.is_pooler_ruled_out.load(Ordering::Relaxed) {
            let _alone = self
                .ruling_out
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            pooler::refuse_shared_sessions(&mut connection, facts.backend(), || {
                self.open(timeout_ms)
            })?;
            self.is_pooler_ruled_out.store(true, Ordering::Relaxed);
            if !self.are_doubts_told.swap(true, Ordering::Relaxed) {
                facts.doubts().for_each(|doubt| warn!("database: {doubt}"));
            }
        }
        let commits = if facts.commits_wait() {
            ""
        } else {
            "SET synchronous_commit = on;"
        };
        connection
            .batch_execute(&format!(
                "{commits} SET statement_timeout = {timeout_ms}; SET search_path = \"{}\", pg_temp; \
                 SET default_transaction_isolation = 'read committed'; {settings}",
                self.schema
            ))
            .map_err(ConnectError::of_query)?;
        Ok((connection, in_use))
    }

    /// Connects, and no more than that.
    fn open(&self, timeout_ms: u64) -> Result<PgConnection, ConnectError> {
        let url = &self.url;
        let joint = if url.contains('?') { '&' } else { '?' };
        let connect_s = timeout_ms.div_ceil(1000).clamp(2, CONNECT_S_MAX);
        let unacknowledged_ms = timeout_ms.min(UNACKNOWLEDGED_MS_MAX);
        let bounded = format!(
            "{url}{joint}connect_timeout={connect_s}&tcp_user_timeout={unacknowledged_ms}&keepalives_idle=2\
             &keepalives_interval=1&keepalives_count=2&application_name=balance-coordinator"
        );
        Ok(PgConnection::establish(&bounded)?)
    }
}
