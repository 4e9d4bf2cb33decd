//! How the service meets its PostgreSQL server: one that does not fit, a pooler in front of it, the schema of the tables,
//! and a start that has to wait.

mod fitness;
mod poolers;
mod schemas;
mod starts;

use std::ffi::OsString;
use std::path::Path;

use crate::support::{Database, PATIENCE, Process, TestApp, TestDatabase};

/// Runs a command of the program, which has to end with 1, and returns what it said.
async fn refused(dir: &Path, command: &str) -> String {
    let mut process = spawn(dir, command);
    let status = process.wait(PATIENCE).await;
    let said = process.log();
    assert_eq!(status.code(), Some(1), "{command}: {said}");
    said
}

fn spawn(dir: &Path, command: &str) -> Process {
    let arguments = [command, "--config", "config.toml"].map(OsString::from);
    Process::start(dir, &arguments, &[], &dir.join(format!("{command}.log")))
}

/// A running service on a database at a URL that may not be the database's own.
async fn app_at(database: TestDatabase, url: &str) -> TestApp {
    let dir = tempfile::tempdir().expect("a directory");
    TestApp::on(Database::Postgres)
        .log("info")
        .start_with(dir, database, url)
        .await
}

/// Posts a deposit of one TON and asserts that it is accepted and in the ledger.
async fn works(app: &TestApp, event_id: &str) {
    app.accepted("deposits", 184, event_id, "1").await;
    let read = app.backend("/internal/v1/users/184/balance?fresh=true");
    assert_eq!(read.await.ok()["stale"], false);
    app.assert_ledger_holds();
}
