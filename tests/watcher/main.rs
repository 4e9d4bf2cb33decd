//! The TON watcher as a black box: the real program between an imitation of the API and the real service.

#[path = "../support/mod.rs"]
mod support;

mod deposits;
mod faults;
mod people;
mod reloading;

use std::ffi::OsString;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::chain::Chain;
use support::{Database, PATIENCE, Process, TestApp, run_program};

/// What a test sets: keys of `[watcher]`, in the program's environment.
pub struct Watching<'a> {
    chain: &'a Chain,
    app: &'a TestApp,
    settings: Vec<(String, String)>,
}

impl<'a> Watching<'a> {
    /// A watcher of one account, which starts at the first transaction, as fast as can be.
    pub fn of(chain: &'a Chain, app: &'a TestApp, accounts: &str) -> Self {
        let watching = Self {
            chain,
            app,
            settings: Vec::new(),
        };
        watching
            .set("ACCOUNTS", accounts)
            .set("START", "0")
            .set("REQUESTS_PER_S", "200")
            .set("POLL_MS", "20")
    }

    /// Sets a key of `[watcher]`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        let name = format!("BALANCE_WATCHER__{key}");
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
        self
    }

    fn variables(&self) -> Vec<(String, String)> {
        let own = [
            (
                "BALANCE_AUTH__WEBHOOK_SECRETS",
                support::WEBHOOK_SECRET.to_owned(),
            ),
            ("BALANCE_WATCHER__API_URL", self.chain.url.clone()),
            (
                "BALANCE_WATCHER__INTERNAL_URL",
                format!("http://{}", self.app.internal),
            ),
            ("RUST_LOG", "info".to_owned()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        // What a test sets comes last, and wins.
        own.into_iter().chain(self.settings.clone()).collect()
    }

    fn dir(&self) -> &Path {
        self.app.dir.path()
    }

    /// Starts it.
    pub fn start(&self) -> Process {
        let log = self.dir().join("watcher.log");
        Process::start(
            self.dir(),
            &[OsString::from("watch")],
            &self.variables(),
            &log,
        )
    }

    /// Runs `watch` with these arguments to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let arguments = [&["watch"], arguments].concat();
        run_program(self.dir(), &arguments, &self.variables(), b"")
    }

    /// Runs it until it is up to date.
    pub fn once(&self) {
        let output = self.run(&["--once"]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What waits for a person.
    pub fn unmatched(&self) -> Vec<Value> {
        let output = self.run(&["unmatched"]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON lines"))
            .collect()
    }
}

/// The balance of a user, as the service says it.
pub async fn balance(app: &TestApp, user_id: u64) -> String {
    let path = format!("/internal/v1/users/{user_id}/balance?fresh=true");
    let answer = app.backend(&path).await.ok();
    answer["balances"]["TON"]
        .as_str()
        .expect("a balance")
        .to_owned()
}

/// Waits until a user has this balance.
pub async fn until_balance(app: &TestApp, user_id: u64, expected: &str) {
    let start = Instant::now();
    loop {
        let found = balance(app, user_id).await;
        if found == expected {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "user {user_id} has {found}, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A service on SQLite.
pub async fn service() -> TestApp {
    TestApp::start(Database::Sqlite).await
}
