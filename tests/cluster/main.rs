//! Several processes on one PostgreSQL: what one commits is on the sessions of all.

#[path = "../support/mod.rs"]
mod support;

mod without_bus;

use support::{Database, TestApp, TestDatabase};

/// Another service on the first one's database.
async fn beside(first: &TestApp, node: &str) -> TestApp {
    let dir = tempfile::tempdir().expect("a directory");
    // The first service owns the database.
    let none = TestDatabase::Sqlite(dir.path().join("none.db"));
    TestApp::on(Database::Postgres)
        .set("cluster.node", node)
        .start_with(dir, none, &first.database.url())
        .await
}
