//! Connections to either database, and how the read pool makes and tests them.

pub(super) mod identity;
pub(super) mod ledger_file;
pub(super) mod link;
pub(super) mod postgres_server;
pub(super) mod sqlite_file;
pub(super) mod standing;

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel::sqlite::SqliteConnection;

use crate::config::DatabaseUrl;

use self::identity::Identity;
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

/// A connection that was made and can't be used.
pub(super) fn bad_connection(error: &StoreError) -> diesel::ConnectionError {
    diesel::ConnectionError::BadConnection(error.to_string())
}

/// Makes connections for the pool. (Diesel's own manager would try an unreachable PostgreSQL's address as a file name.)
#[derive(Debug)]
pub(super) struct Manager {
    pub url: DatabaseUrl,
    pub timeout_ms: u64,
    /// Of a service on SQLite: no connection leads to another file.
    pub file: Option<Arc<LedgerFile>>,
    /// Looked at by every connection.
    pub identity: Arc<Identity>,
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
    type Connection = AnyConnection;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<AnyConnection, Self::Error> {
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
        self.identity
            .look(&mut connection)
            .map_err(|error| diesel::r2d2::Error::ConnectionError(bad_connection(&error)))?;
        Ok(connection)
    }

    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), Self::Error> {
        connection.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        connection.is_broken()
    }
}
