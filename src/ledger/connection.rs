//! Connections to either database, and how the read pool makes and tests them.

pub(super) mod ledger_file;
pub(super) mod link;
pub(super) mod postgres_server;
pub(super) mod sqlite_file;

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::sqlite::SqliteConnection;

use crate::clock::Mono;
use crate::config::DatabaseUrl;

use self::ledger_file::LedgerFile;
use super::errors::StoreError;

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

/// Opens a connection with our settings.
pub(super) fn connect(
    url: &DatabaseUrl,
    timeout_ms: u64,
) -> Result<AnyConnection, diesel::ConnectionError> {
    Ok(match url {
        DatabaseUrl::Sqlite(path) => AnyConnection::Sqlite(sqlite_file::connect(path, timeout_ms)?),
        DatabaseUrl::Postgres(url) => {
            AnyConnection::Postgres(postgres_server::connect(url, timeout_ms)?)
        }
    })
}

/// Opens a connection to migrate through; an SQLite file that is not there is made.
pub(super) fn connect_to_migrate(
    url: &DatabaseUrl,
    timeout_ms: u64,
) -> Result<AnyConnection, diesel::ConnectionError> {
    match url {
        DatabaseUrl::Sqlite(path) => Ok(AnyConnection::Sqlite(sqlite_file::create(
            path, timeout_ms,
        )?)),
        DatabaseUrl::Postgres(_) => connect(url, timeout_ms),
    }
}

/// A connection of the pool.
pub(super) struct Pooled {
    pub connection: AnyConnection,
    /// When it was first used.
    pub used_since: Option<Mono>,
    /// Whether it has answered a read.
    pub has_answered: bool,
}

/// Makes connections for the pool. (Diesel's own manager would try an unreachable PostgreSQL's address as a file name.)
#[derive(Debug, Clone)]
pub(super) struct Manager {
    pub url: DatabaseUrl,
    pub timeout_ms: u64,
    /// Of a service on SQLite: no connection leads to another file.
    pub file: Option<Arc<LedgerFile>>,
}

impl Manager {
    fn check_file(&self) -> Result<(), diesel::r2d2::Error> {
        let check = self.file.as_ref().map_or(Ok(()), |file| file.check());
        check.map_err(|lost| {
            diesel::r2d2::Error::ConnectionError(diesel::ConnectionError::BadConnection(lost))
        })
    }
}

impl r2d2::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Pooled, Self::Error> {
        self.check_file()?;
        let mut connection =
            connect(&self.url, self.timeout_ms).map_err(diesel::r2d2::Error::ConnectionError)?;
        // It may have been replaced just before it was opened.
        self.check_file()?;
        if let AnyConnection::Postgres(connection) = &mut connection {
            connection
                .batch_execute(postgres_server::BY_INDEX)
                .map_err(diesel::r2d2::Error::QueryError)?;
        }
        Ok(Pooled {
            connection,
            used_since: None,
            has_answered: false,
        })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), Self::Error> {
        let ping = pooled.connection.ping();
        ping.map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        pooled.connection.is_broken()
    }
}
