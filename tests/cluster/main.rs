//! Several processes on one PostgreSQL: what one commits is on the sessions of all. And the bus between them alone: a real NATS
//! server (`.ci/nats` starts it) behind a relay of the tests' own.
//!
//! Bounds of time of the bus are proved by the tracker's own tests, in virtual time. Here it is shown that each fault is noticed
//! at all, whatever the client library says, and that everything is right again afterwards. [`faults`] has each row of the
//! table of faults, and measures it.

#[path = "../support/mod.rs"]
mod support;

mod balancers;
#[path = "../faults/bank/mod.rs"]
mod bank;
mod bus_faults;
mod faults;
mod leaving;
#[path = "../faults/linearizability/mod.rs"]
mod linearizability;
mod nodes;
mod orders;
mod permissions;
mod through_faults;
mod trying;
mod with_bus;
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
