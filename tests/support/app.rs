//! The service, started for one test on its own database.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use super::{Database, LogReader, PATIENCE, Process, TestDatabase, run_program};

/// The first webhook secret of every test app.
pub const WEBHOOK_SECRET: &str = "whsec_dGVzdC13ZWJob29rLXNlY3JldC1vZi0zMi1ieXRlcyE=";
/// The first session secret of every test app.
pub const SESSION_SECRET: &str = "test-session-secret-of-at-least-32-bytes";
/// The administrator of every test app.
pub const ADMIN_TOKEN: &str = "test-admin-token";

/// A running service. Dropping this stops it and removes its database.
pub struct TestApp {
    // Dropped in this order: the process before its database, the database before its directory.
    process: Process,
    pub database: TestDatabase,
    pub dir: tempfile::TempDir,
    config: toml::Table,
    variables: Vec<(String, String)>,
    is_dev: bool,
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub http: reqwest::Client,
}

/// How an app will be started.
pub struct Builder {
    database: Database,
    config: toml::Table,
    log: String,
    variables: Vec<(String, String)>,
    is_piped: bool,
    is_dev: bool,
}

impl Builder {
    /// Sets a configuration key, `section.key`.
    pub fn set(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        set(&mut self.config, key, value.into());
        self
    }

    /// Sets `RUST_LOG`.
    pub fn log(mut self, filter: &str) -> Self {
        filter.clone_into(&mut self.log);
        self
    }

    /// Sets another variable of its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes its standard error a pipe, see [`TestApp::log_reader`].
    pub fn log_through_a_pipe(mut self) -> Self {
        self.is_piped = true;
        self
    }

    /// With `--dev`: the demo page is there.
    pub fn dev(mut self) -> Self {
        self.is_dev = true;
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> TestApp {
        let dir = tempfile::tempdir().expect("a directory");
        let database = self.database.create(dir.path());
        let url = database.url();
        self.start_with(dir, database, &url).await
    }

    /// Starts it on the test's own database at this URL, and waits until it is ready.
    pub async fn start_with(
        mut self,
        dir: tempfile::TempDir,
        database: TestDatabase,
        url: &str,
    ) -> TestApp {
        set(&mut self.config, "database.url", url.into());
        write_config(dir.path(), &self.config);
        self.variables.push(("RUST_LOG".to_owned(), self.log));
        let mut process = spawn(dir.path(), &self.variables, self.is_piped, self.is_dev);
        let (public, internal) = process.addresses().await;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .expect("a client");
        let (config, variables, is_dev) = (self.config, self.variables, self.is_dev);
        TestApp {
            process,
            database,
            dir,
            config,
            variables,
            is_dev,
            public,
            internal,
            http,
        }
    }

    /// Creates directory and configuration, for a database that is there already.
    pub fn prepare_at(mut self, url: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        set(&mut self.config, "database.url", url.into());
        write_config(dir.path(), &self.config);
        dir
    }

    /// Creates directory, database and configuration without starting the service.
    pub fn prepare(mut self) -> (tempfile::TempDir, TestDatabase) {
        let dir = tempfile::tempdir().expect("a directory");
        let database = self.database.create(dir.path());
        set(&mut self.config, "database.url", database.url().into());
        write_config(dir.path(), &self.config);
        (dir, database)
    }
}

impl TestApp {
    /// An app with the default configuration of tests, not started yet.
    pub fn on(database: Database) -> Builder {
        let log = "info,balance_coordinator=debug".to_owned();
        let builder = Builder {
            database,
            config: toml::Table::new(),
            log,
            variables: Vec::new(),
            is_piped: false,
            is_dev: false,
        };
        builder
            .set("server.public_addr", "127.0.0.1:0")
            .set("server.internal_addr", "127.0.0.1:0")
            .set("auth.webhook_secrets", vec![WEBHOOK_SECRET])
            .set("auth.session_secrets", vec![SESSION_SECRET])
            .set("auth.admin_tokens", vec![ADMIN_TOKEN])
    }

    /// A started app.
    pub async fn start(database: Database) -> Self {
        Self::on(database).start().await
    }

    /// The running process's log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The reader of its log, when that is a pipe.
    pub fn log_reader(&mut self) -> &mut LogReader {
        self.process.log_reader()
    }

    /// The id of the running process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// SIGKILL; keeps the database and the ports.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for the process to end by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        self.process.wait(PATIENCE).await
    }

    /// SIGTERM and waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.process.wait(Duration::from_secs(30)).await
    }

    /// Starts it again on the same database and ports, and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.spawn_again();
        self.ready().await;
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self) {
        assert_eq!(self.process.addresses().await, (self.public, self.internal));
    }

    /// Starts it again and does not wait.
    pub fn spawn_again(&mut self) {
        set(
            &mut self.config,
            "server.public_addr",
            self.public.to_string().into(),
        );
        set(
            &mut self.config,
            "server.internal_addr",
            self.internal.to_string().into(),
        );
        write_config(self.dir.path(), &self.config);
        self.process = spawn(self.dir.path(), &self.variables, false, self.is_dev);
    }

    /// Changes a configuration key for the next start.
    pub fn reconfigure(&mut self, key: &str, value: impl Into<toml::Value>) {
        set(&mut self.config, key, value.into());
    }

    /// Takes a configuration key out for the next start.
    pub fn unset(&mut self, key: &str) {
        let (section, key) = key.split_once('.').expect("a key");
        let section = self.config.get_mut(section).expect("a section");
        section.as_table_mut().expect("a table").remove(key);
    }

    /// Writes the configuration as it was changed, and has the running service read it: what it logs of that.
    pub async fn reload(&self) -> Vec<String> {
        write_config(self.dir.path(), &self.config);
        self.hang_up().await
    }

    /// Has the running service read its configuration: what it logs of that.
    pub async fn hang_up(&self) -> Vec<String> {
        let before = hangups(&self.log());
        self.signal("HUP");
        super::eventually("the configuration is read again", async || {
            let lines = hangups(&self.log());
            let is_last = |line: &String| {
                line.contains("was read again") || line.contains("nothing has changed: ")
            };
            (lines.len() > before.len() && lines.last().is_some_and(is_last))
                .then(|| lines[before.len()..].to_vec())
        })
        .await
    }

    /// Where its configuration is.
    pub fn directory(&self) -> &Path {
        self.dir.path()
    }

    /// Runs another command of the program with this app's configuration.
    pub fn command(&self, name: &str) -> Output {
        run_program(
            self.dir.path(),
            &[name, "--config", "config.toml"],
            &[],
            b"",
        )
    }

    /// Asserts that `verify` finds nothing.
    #[track_caller]
    pub fn assert_ledger_holds(&self) {
        let output = self.command("verify");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{printed}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The id of the process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Files and sockets that the process has open.
    pub fn open_files(&self) -> Option<usize> {
        self.process.open_files()
    }

    /// Sockets that the process has open.
    pub fn open_sockets(&self) -> Option<usize> {
        self.process.open_sockets()
    }

    /// Resident memory of the process.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.process.resident_bytes()
    }
}

/// The lines of the log that tell of a configuration that was read again.
fn hangups(log: &str) -> Vec<String> {
    let is_it = |line: &&str| line.contains("] SIGHUP: ") || line.contains("\"SIGHUP: ");
    let lines = log.lines().filter(is_it);
    lines.map(str::to_owned).collect()
}

fn spawn(dir: &Path, variables: &[(String, String)], is_piped: bool, is_dev: bool) -> Process {
    let mut arguments = ["serve", "--config", "config.toml"]
        .map(OsString::from)
        .to_vec();
    arguments.extend(is_dev.then(|| "--dev".into()));
    let start = if is_piped {
        Process::start_piped
    } else {
        Process::start
    };
    start(dir, &arguments, variables, &dir.join("service.log"))
}

fn set(config: &mut toml::Table, key: &str, value: toml::Value) {
    let mut table = config;
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().expect("a key");
    for part in parts {
        let section = table
            .entry(part)
            .or_insert_with(|| toml::Table::new().into());
        table = section.as_table_mut().expect("a section");
    }
    table.insert(last.to_owned(), value);
}

fn write_config(dir: &Path, config: &toml::Table) {
    std::fs::write(dir.join("config.toml"), config.to_string())
        .expect("the configuration is written");
}
