//! A database per measurement, removed with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use balance_coordinator::clock::Clock;
use balance_coordinator::config::{DatabaseUrl, Schema};
use balance_coordinator::ledger::{self, Progress};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use sha2::{Digest as _, Sha256};

use super::proc;
use crate::Result;

diesel::define_sql_function! {
    /// What the service stores of an event id on SQLite.
    fn event_digest(event_id: diesel::sql_types::Text) -> diesel::sql_types::Binary;
}

/// The database of a ledger.
#[derive(Debug)]
pub enum Database {
    /// A file in a directory of its own.
    Sqlite { dir: PathBuf },
    /// A database of the server.
    Postgres { server: String, name: String },
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Database {
    /// An empty one in a new directory below `parent`.
    pub fn sqlite(parent: &Path) -> Result<Self> {
        let dir = parent.join(format!(
            "ledger-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&dir)?;
        Ok(Self::Sqlite { dir })
    }

    /// An empty one of a server.
    pub fn postgres(server: &str) -> Result<Self> {
        let name = format!(
            "balance_load_{}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mut connection = PgConnection::establish(server)?;
        connection.batch_execute(&format!("CREATE DATABASE {name}"))?;
        Ok(Self::Postgres {
            server: server.to_owned(),
            name,
        })
    }

    /// Processor time of its server's processes so far, in seconds; none of SQLite, which has no process of its own, and of
    /// a server on another machine.
    pub fn server_cpu_s(&self) -> Option<f64> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres { server, .. } => postgres_pid(server).and_then(proc::family_cpu_s).ok(),
        }
    }

    /// The value of `database.url`.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite { dir } => format!("sqlite://{}", dir.join("ledger.db").display()),
            Self::Postgres { server, name } => {
                let base = server
                    .rsplit_once('/')
                    .map_or(server.as_str(), |(base, _)| base);
                format!("{base}/{name}")
            }
        }
    }

    /// Its file.
    pub fn file(&self) -> Result<PathBuf> {
        match self {
            Self::Sqlite { dir } => Ok(dir.join("ledger.db")),
            Self::Postgres { .. } => Err("only SQLite has a file".into()),
        }
    }

    /// Makes the service's tables.
    pub fn migrate(&self) -> Result<()> {
        let progress = Progress::start(Clock::system());
        let url = DatabaseUrl::parse(&self.url())?;
        ledger::migrate(&url, &Schema::default(), false, &progress)?;
        Ok(())
    }

    /// Runs statements. SQLite's have `event_digest`, as those of the service.
    pub fn execute(&self, statements: &str) -> Result<()> {
        match self {
            Self::Sqlite { .. } => {
                let file = self.file()?.display().to_string();
                let mut connection = SqliteConnection::establish(&file)?;
                event_digest_utils::register_impl(&mut connection, |event_id: String| {
                    Sha256::digest(event_id)[..16].to_vec()
                })?;
                connection.batch_execute(statements)?;
            }
            Self::Postgres { .. } => {
                PgConnection::establish(&self.url())?.batch_execute(statements)?;
            }
        }
        Ok(())
    }

    /// Transactions that PostgreSQL has counted in this database. A connection tells of its own at the latest ten seconds
    /// after it has become idle.
    pub fn transactions(&self) -> Result<f64> {
        let mut connection = PgConnection::establish(&self.url())?;
        let query = "SELECT (xact_commit + xact_rollback)::text AS value FROM pg_stat_database \
                     WHERE datname = current_database()";
        Ok(ask(&mut connection, query)?.parse()?)
    }

    /// Its name in reports.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "SQLite",
            Self::Postgres { .. } => "PostgreSQL",
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Ignore errors: left-over files do not affect figures.
        match self {
            Self::Sqlite { dir } => _ = std::fs::remove_dir_all(dir),
            Self::Postgres { server, name } => {
                if let Ok(mut connection) = PgConnection::establish(server) {
                    let _ = connection
                        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
                }
            }
        }
    }
}

/// The process of a PostgreSQL server on this machine whose children are its connections.
///
/// # Errors
/// When the server does not answer, or is on another machine.
pub fn postgres_pid(server: &str) -> Result<u32> {
    let mut connection = PgConnection::establish(server)?;
    let backend = ask(&mut connection, "SELECT pg_backend_pid()::text AS value")?;
    proc::parent_of(backend.parse()?)
}

/// A PostgreSQL server's durability settings, for the report.
///
/// # Errors
/// When the server does not answer.
pub fn postgres_durability(server: &str) -> Result<String> {
    let mut connection = PgConnection::establish(server)?;
    let query = "SELECT 'fsync=' || current_setting('fsync') || ', synchronous_commit=' || \
         current_setting('synchronous_commit') || ', ' || version() AS value";
    ask(&mut connection, query)
}

/// The column `value` of one row.
fn ask(connection: &mut PgConnection, query: &str) -> Result<String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        value: String,
    }
    Ok(diesel::sql_query(query)
        .get_result::<Row>(connection)?
        .value)
}
