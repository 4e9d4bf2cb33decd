//! A database per app, and direct changes that tests make to it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

/// The variable that names a PostgreSQL server: `postgres://user@127.0.0.1:PORT/postgres`.
const SERVER_VARIABLE: &str = "BALANCE_TEST_POSTGRES_URL";

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// Whether there is a PostgreSQL server to test on. Reports when there is none.
    ///
    /// # Panics
    /// When there is none under CI, where no test may be skipped.
    pub fn has_postgres() -> bool {
        if server_url().is_some() {
            return true;
        }
        let notice =
            "SKIPPED: needs PostgreSQL; start one and set BALANCE_TEST_POSTGRES_URL (see README)";
        assert!(std::env::var_os("CI").is_none(), "{notice}");
        // Past the test runner's capture, so that a skip is visible.
        let _ = writeln!(std::io::stderr(), "{notice}");
        false
    }

    /// Makes an empty one.
    pub fn create(self, dir: &Path) -> TestDatabase {
        match self {
            Self::Sqlite => TestDatabase::Sqlite(dir.join("ledger.db")),
            Self::Postgres => {
                static COUNT: AtomicU32 = AtomicU32::new(0);
                let count = COUNT.fetch_add(1, Ordering::Relaxed);
                let name = format!("balance_test_{}_{count}", std::process::id());
                let server = server_url().expect("asked for before");
                let mut connection =
                    PgConnection::establish(&server).expect("the PostgreSQL server answers");
                connection
                    .batch_execute(&format!("DROP DATABASE IF EXISTS {name}"))
                    .expect("dropped");
                connection
                    .batch_execute(&format!("CREATE DATABASE {name}"))
                    .expect("created");
                TestDatabase::Postgres { name, server }
            }
        }
    }
}

fn server_url() -> Option<String> {
    std::env::var(SERVER_VARIABLE)
        .ok()
        .filter(|url| !url.is_empty())
}

/// An entry as stored, read directly from the database.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct StoredEntry {
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub event_id: String,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub user_id: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub version: i64,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub currency: String,
    /// Signed, in the smallest unit.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub amount: i64,
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub balance_after: i64,
}

/// A database of one app; a PostgreSQL one is dropped with it, a SQLite one goes with its directory.
#[derive(Debug)]
pub enum TestDatabase {
    Sqlite(PathBuf),
    Postgres { name: String, server: String },
}

impl TestDatabase {
    /// The value of `database.url`.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Postgres { name, server } => {
                let (base, _) = server.rsplit_once('/').expect("a URL with a database");
                format!("{base}/{name}")
            }
        }
    }

    /// Where its PostgreSQL server listens.
    pub fn addr(&self) -> SocketAddr {
        let url = self.url();
        let (_, place) = url.split_once('@').expect("a user");
        let (addr, _) = place.split_once('/').expect("a database");
        addr.parse().expect("an address")
    }

    /// The name of a PostgreSQL database.
    pub fn name(&self) -> &str {
        match self {
            Self::Sqlite(_) => panic!("a file has none"),
            Self::Postgres { name, .. } => name,
        }
    }

    /// Runs statements.
    pub fn sql(&self, statements: &str) {
        self.connection().execute(statements);
    }

    /// All entries, or those with one of these event ids; in the order of users and versions.
    pub fn entries(&self, event_ids: Option<&[String]>) -> Vec<StoredEntry> {
        let only = event_ids.map_or(String::new(), |ids| {
            let quoted: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
            format!("WHERE event_id IN ({})", quoted.join(", "))
        });
        let columns = "event_id, user_id, version, currency, amount, balance_after";
        self.connection().load(&format!(
            "SELECT {columns} FROM entries {only} ORDER BY user_id, version"
        ))
    }

    /// The one number that a query gives.
    pub fn number(&self, query: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            number: i64,
        }
        let rows: Vec<Row> = self
            .connection()
            .load(&format!("SELECT ({query}) AS number"));
        rows.first().expect("a row").number
    }

    /// Blocks all other writers until the result is dropped; readers continue.
    pub fn lock_writes(&self) -> HeldLock {
        self.hold(match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres { .. } => "LOCK TABLE entries IN EXCLUSIVE MODE",
        })
    }

    /// Holds a statement's locks in a transaction that is open until the result is dropped.
    pub fn hold(&self, statement: &str) -> HeldLock {
        let mut connection = self.connection();
        if matches!(self, Self::Postgres { .. }) {
            connection.execute("BEGIN");
        }
        connection.execute(statement);
        HeldLock { connection }
    }

    /// Makes the storing of one event id fail inside the database.
    pub fn poison(&self, event_id: &str) {
        self.sql(&match self {
            Self::Sqlite(_) => format!(
                "CREATE TRIGGER poison BEFORE INSERT ON entries WHEN NEW.event_id = '{event_id}' \
                 BEGIN SELECT RAISE(ABORT, 'poison'); END"
            ),
            Self::Postgres { .. } => format!(
                "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF NEW.event_id = '{event_id}' THEN RAISE EXCEPTION 'poison'; END IF; RETURN NEW; END $$; \
                 CREATE TRIGGER poison BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION poison()"
            ),
        });
    }

    /// Takes a PostgreSQL database away: connections end and new ones are refused.
    pub fn cut(&self) {
        let Self::Postgres { name, .. } = self else {
            panic!("only a database server can go away")
        };
        self.on_server(&format!(
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"
        ));
        self.on_server(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        ));
    }

    /// Makes a PostgreSQL database anew, with options of `CREATE DATABASE`.
    pub fn recreate(&self, options: &str) {
        let Self::Postgres { name, .. } = self else {
            panic!("only a database server has such options")
        };
        self.on_server(&format!("DROP DATABASE {name} WITH (FORCE)"));
        self.on_server(&format!("CREATE DATABASE {name} {options}"));
    }

    /// Ends the connections of all other programs to a PostgreSQL database.
    pub fn end_connections(&self) {
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }

    /// Brings it back.
    pub fn mend(&self) {
        let Self::Postgres { name, .. } = self else {
            panic!("only a database server can come back")
        };
        self.on_server(&format!(
            "ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true"
        ));
    }

    fn on_server(&self, statement: &str) {
        let Self::Postgres { server, .. } = self else {
            return;
        };
        let mut connection =
            PgConnection::establish(server).expect("the PostgreSQL server answers");
        connection
            .batch_execute(statement)
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    fn connection(&self) -> Handle {
        match self {
            Self::Sqlite(path) => {
                let mut connection = SqliteConnection::establish(&path.display().to_string())
                    .expect("the file can be opened");
                connection
                    .batch_execute("PRAGMA busy_timeout = 15000")
                    .expect("set");
                Handle::Sqlite(connection)
            }
            Self::Postgres { .. } => Handle::Postgres(
                PgConnection::establish(&self.url()).expect("the database answers"),
            ),
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Self::Postgres { name, server } = self else {
            return;
        };
        // Ignore errors: the temporary cluster is removed anyway, and a panic here would hide the
        // test's own.
        if let Ok(mut connection) = PgConnection::establish(server) {
            // A test may have failed while its server waited for a standby that is not there.
            let _ = connection.batch_execute("SET synchronous_commit = local");
            let _ =
                connection.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

enum Handle {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Handle {
    fn execute(&mut self, statements: &str) {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(statements),
            Self::Postgres(connection) => connection.batch_execute(statements),
        }
        .unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    fn load<T>(&mut self, query: &str) -> Vec<T>
    where
        T: QueryableByName<diesel::sqlite::Sqlite> + QueryableByName<diesel::pg::Pg> + 'static,
    {
        match self {
            Self::Sqlite(connection) => diesel::sql_query(query).load(connection),
            Self::Postgres(connection) => diesel::sql_query(query).load(connection),
        }
        .unwrap_or_else(|error| panic!("{query}: {error}"))
    }
}

/// An open transaction that blocks other writers until dropped.
pub struct HeldLock {
    connection: Handle,
}

impl HeldLock {
    /// Runs another statement in the transaction.
    pub fn execute(&mut self, statement: &str) {
        self.connection.execute(statement);
    }

    /// Commits what was written.
    pub fn commit(mut self) {
        self.connection.execute("COMMIT");
    }
}
