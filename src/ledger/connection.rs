//! Connections to either database, and how the read pool makes and tests them.

mod connect_error;
mod fitness;
pub(super) mod identity;
pub(super) mod ledger_file;
pub(super) mod link;
pub(super) mod placement;
mod pooler;
pub(super) mod postgres_server;
pub(super) mod sqlite_file;
pub(super) mod standing;

use std::path::PathBuf;
use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::sqlite::SqliteConnection;

use crate::clock::Mono;
use crate::config::{DatabaseUrl, Schema};

pub(super) use self::connect_error::ConnectError;
pub(super) use self::fitness::Access;
use self::identity::Identity;
use self::ledger_file::LedgerFile;
use self::pooler::InUse;
use self::postgres_server::PostgresServer;
use super::errors::StoreError;

/// A migration has the tables for itself. When it stands still between two statements, the server ends it.
const ENDS_WHEN_IT_STANDS_STILL: &str = "SET idle_in_transaction_session_timeout = 10000;";

/// And while a statement runs, soon after the connection has ended. From version 14 on, and not on every system.
const ENDS_WITH_ITS_CONNECTION: &str = "SET client_connection_check_interval = 1000";

/// A connection to either database. Statements that both understand are written once.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    /// PostgreSQL.
    Postgres(PgConnection),
    /// SQLite.
    Sqlite(SqliteConnection),
}

impl AnyConnection {
    /// For statements that only SQLite has.
    pub(super) fn sqlite(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        match self {
            Self::Sqlite(connection) => Ok(connection),
            Self::Postgres(_) => Err(StoreError::Lost("it leads to PostgreSQL".into())),
        }
    }

    /// For statements that only PostgreSQL has.
    pub(super) fn postgres(&mut self) -> Result<&mut PgConnection, StoreError> {
        match self {
            Self::Postgres(connection) => Ok(connection),
            Self::Sqlite(_) => Err(StoreError::Lost("it leads to SQLite".into())),
        }
    }
}

/// An open connection that was found fit.
pub(super) struct Connected {
    pub connection: AnyConnection,
    /// Of PostgreSQL: that a process of the server is ours.
    _in_use: Option<InUse>,
}

impl From<SqliteConnection> for Connected {
    fn from(connection: SqliteConnection) -> Self {
        Self {
            connection: AnyConnection::Sqlite(connection),
            _in_use: None,
        }
    }
}

/// The database of a ledger. All connections of a process to one ledger are made by clones of one source.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Sqlite(PathBuf),
    Postgres(Arc<PostgresServer>),
}

impl Source {
    pub(super) fn new(url: &DatabaseUrl, schema: &Schema) -> Self {
        match url {
            DatabaseUrl::Sqlite(path) => Self::Sqlite(path.clone()),
            DatabaseUrl::Postgres(url) => {
                Self::Postgres(Arc::new(PostgresServer::new(url.clone(), schema.clone())))
            }
        }
    }

    /// Opens a connection and checks it. `settings` are PostgreSQL statements that are run after the usual ones.
    pub(super) fn connect(
        &self,
        timeout_ms: u64,
        settings: &str,
        access: Access,
    ) -> Result<Connected, ConnectError> {
        match self {
            Self::Sqlite(path) => Ok(sqlite_file::connect(path, timeout_ms)?.into()),
            Self::Postgres(server) => {
                let (connection, in_use) = server.connect(timeout_ms, settings, access)?;
                Ok(Connected {
                    connection: AnyConnection::Postgres(connection),
                    _in_use: Some(in_use),
                })
            }
        }
    }

    /// Opens a connection to migrate through; an SQLite file that is not there is made.
    pub(super) fn connect_to_migrate(&self, timeout_ms: u64) -> Result<Connected, ConnectError> {
        match self {
            Self::Sqlite(path) => Ok(sqlite_file::create(path, timeout_ms)?.into()),
            Self::Postgres(_) => {
                let mut connected =
                    self.connect(timeout_ms, ENDS_WHEN_IT_STANDS_STILL, Access::Write)?;
                if let AnyConnection::Postgres(connection) = &mut connected.connection {
                    // A server that can't has to do without.
                    let _ = connection.batch_execute(ENDS_WITH_ITS_CONNECTION);
                }
                Ok(connected)
            }
        }
    }

    /// Opens a connection of the running service.
    pub(super) fn reconnect(
        &self,
        timeout_ms: u64,
        settings: &str,
    ) -> Result<Connected, ConnectError> {
        let connected = self.connect(timeout_ms, settings, Access::Write);
        if let (Self::Postgres(server), Err(ConnectError::Unfit(reason))) = (self, &connected) {
            server.complain(reason);
        }
        connected
    }
}

/// A connection of the pool.
pub(super) struct Pooled {
    pub connected: Connected,
    /// When it was first used.
    pub used_since: Option<Mono>,
    /// Whether it has answered a read.
    pub has_answered: bool,
}

/// Makes connections for the pool. (Diesel's own manager would try an unreachable PostgreSQL's address as a file name.)
#[derive(Debug, Clone)]
pub(super) struct Manager {
    pub source: Source,
    pub timeout_ms: u64,
    /// Of a service on SQLite: no connection leads to another file.
    pub file: Option<Arc<LedgerFile>>,
    /// Looked at by every connection.
    pub identity: Arc<Identity>,
}

impl Manager {
    fn check_file(&self) -> Result<(), ConnectError> {
        let check = self.file.as_ref().map_or(Ok(()), |file| file.check());
        check.map_err(ConnectError::Away)
    }
}

impl r2d2::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = ConnectError;

    fn connect(&self) -> Result<Pooled, Self::Error> {
        self.check_file()?;
        let mut connected = self
            .source
            .reconnect(self.timeout_ms, postgres_server::BY_INDEX)?;
        // It may have been replaced just before it was opened.
        self.check_file()?;
        self.identity
            .look(&mut connected.connection)
            .map_err(|error| ConnectError::Away(error.to_string()))?;
        Ok(Pooled {
            connected,
            used_since: None,
            has_answered: false,
        })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), Self::Error> {
        let ping = pooled.connected.connection.ping();
        ping.map_err(ConnectError::of_query)
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        pooled.connected.connection.is_broken()
    }
}
