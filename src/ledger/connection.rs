//! Read connections to either database, pooled by r2d2.

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;

use crate::config::DatabaseUrl;

use super::sqlite::file::LedgerFile;
use super::{postgres, sqlite};

/// A connection to read through. Plain selects are written once for both databases.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    /// PostgreSQL.
    Postgres(diesel::pg::PgConnection),
    /// SQLite.
    Sqlite(diesel::sqlite::SqliteConnection),
}

/// Opens a connection with the settings of ours.
pub(super) fn connect(
    url: &DatabaseUrl,
    timeout_ms: u64,
) -> Result<AnyConnection, diesel::ConnectionError> {
    Ok(match url {
        DatabaseUrl::Sqlite(path) => AnyConnection::Sqlite(sqlite::connect(path, timeout_ms)?),
        DatabaseUrl::Postgres(url) => AnyConnection::Postgres(postgres::connect(url, timeout_ms)?),
    })
}

/// Opens a connection to migrate through; an SQLite file that is not there is made.
pub(super) fn connect_to_migrate(
    url: &DatabaseUrl,
    timeout_ms: u64,
) -> Result<AnyConnection, diesel::ConnectionError> {
    match url {
        DatabaseUrl::Sqlite(path) => Ok(AnyConnection::Sqlite(sqlite::create(path, timeout_ms)?)),
        DatabaseUrl::Postgres(_) => connect(url, timeout_ms),
    }
}

/// Makes connections for the pool. (Diesel's own manager would try an unreachable PostgreSQL's address as a file name.)
#[derive(Debug)]
pub(super) struct Manager {
    pub url: DatabaseUrl,
    pub timeout_ms: u64,
    /// Of a service on SQLite: no connection leads to another file.
    pub file: Option<Arc<LedgerFile>>,
}

/// A pooled connection that knows whether it can be used again.
pub(super) struct Pooled {
    pub connection: AnyConnection,
    pub is_broken: bool,
}

impl r2d2::ManageConnection for Manager {
    type Connection = Pooled;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Pooled, Self::Error> {
        let mut connection =
            connect(&self.url, self.timeout_ms).map_err(diesel::r2d2::Error::ConnectionError)?;
        if let Some(file) = &self.file {
            let lost = |why| {
                diesel::r2d2::Error::ConnectionError(diesel::ConnectionError::BadConnection(why))
            };
            file.check().map_err(lost)?;
        }
        if let AnyConnection::Postgres(connection) = &mut connection {
            connection
                .batch_execute(postgres::BY_INDEX)
                .map_err(diesel::r2d2::Error::QueryError)?;
        }
        Ok(Pooled {
            connection,
            is_broken: false,
        })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), Self::Error> {
        diesel::sql_query("SELECT 1")
            .execute(&mut pooled.connection)
            .map(|_| ())
            .map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        pooled.is_broken || pooled.connection.is_broken()
    }
}
