//! Several services on one ledger: each must notice the other's writes.

use serde_json::json;

use crate::load::{Load, USERS, assert_ledger_is};
use crate::support::{Database, TestApp, TestDatabase, fresh_seed, on_postgres};

on_postgres![
    an_account_changed_by_another_service_is_decided_on_its_current_state,
    two_services_that_post_to_the_same_users_neither_lose_nor_double_nor_overdraw,
];

/// Requests that are answered before the load ends.
const REQUESTS: usize = 600;

/// A second service on the first one's database.
async fn beside(first: &TestApp) -> TestApp {
    let dir = tempfile::tempdir().expect("a directory");
    // The first service owns the database.
    let none = TestDatabase::Sqlite(dir.path().join("none.db"));
    TestApp::on(Database::Postgres)
        .log("info")
        .start_with(dir, none, &first.database.url())
        .await
}

async fn an_account_changed_by_another_service_is_decided_on_its_current_state(database: Database) {
    let first = TestApp::on(database).log("info").start().await;
    let second = beside(&first).await;
    let told = first.accepted("deposits", 1, "a", "5").await;
    assert_eq!(told["version"], 1, "{told}");
    second.accepted("withdrawals", 1, "b", "5").await;
    // The first service's cache has version five.
    let body = json!({"event_id": "c", "user_id": 1, "currency": "TON", "amount": "5"});
    first
        .post("withdrawals", body)
        .await
        .problem(422, "insufficient_funds");
    second.accepted("deposits", 1, "d", "2").await;
    let told = first.accepted("deposits", 1, "e", "1").await;
    assert_eq!(
        (&told["version"], &told["balances"]["TON"]),
        (&json!(4), &json!("3.000000000")),
        "{told}"
    );
    // The other service's entries are known here as well.
    let body = json!({"event_id": "d", "user_id": 1, "currency": "TON", "amount": "2"});
    assert_eq!(first.post("deposits", body).await.ok()["duplicate"], true);
    first.assert_ledger_holds();
}

async fn two_services_that_post_to_the_same_users_neither_lose_nor_double_nor_overdraw(
    database: Database,
) {
    let first = TestApp::on(database).log("info").start().await;
    let second = beside(&first).await;
    let seed = fresh_seed();
    println!("again: BALANCE_TEST_SEED={seed} cargo test --test faults several_services::");
    let load = Load::over(&[&first, &second]);
    load.go_on(REQUESTS).await;
    load.assert_acknowledged_are_there(&first);
    let record = load.finish().await;
    assert!(
        !record.acknowledged.is_empty() && !record.refused.is_empty(),
        "both were met"
    );
    assert_ledger_is(&first, &record).await;
    for user_id in 1..=USERS {
        let path = format!("/internal/v1/users/{user_id}/balance?fresh=true");
        let (one, other) = (
            first.backend(&path).await.ok(),
            second.backend(&path).await.ok(),
        );
        assert_eq!(
            (&one["version"], &one["balances"]),
            (&other["version"], &other["balances"])
        );
    }
}
