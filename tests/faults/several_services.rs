//! Several services on one ledger: each must notice the other's writes.

use serde_json::{Value, json};

use crate::load::{Load, USERS, assert_ledger_is};
use crate::support::{Database, TestApp, TestDatabase, fresh_seed, on_postgres};

on_postgres![
    an_account_changed_by_another_service_is_decided_on_its_current_state,
    two_services_that_post_to_the_same_users_neither_lose_nor_double_nor_overdraw,
    conflicts_of_two_services_are_counted_together_and_bounded,
];

/// Requests that are answered before the load ends.
const REQUESTS: usize = 600;

/// A second service on the first one's database.
pub async fn beside(first: &TestApp) -> TestApp {
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

/// Batches of conflicts in opposite orders, for a user without an account: no row keeps the two services apart.
async fn conflicts_of_two_services_are_counted_together_and_bounded(database: Database) {
    const EVENTS: i64 = 50;
    const BATCHES: i64 = 10;
    let first = TestApp::on(database)
        .log("info")
        .set("database.conflicts_max", 70)
        .start()
        .await;
    let second = beside(&first).await;
    let batch = |user_id: u64, amount: i64, backwards: bool| -> Value {
        let item = |n| {
            let n = if backwards { EVENTS - 1 - n } else { n };
            json!({"kind": "deposit", "event_id": format!("e{n}"), "user_id": user_id, "currency": "TON",
                   "amount": amount.to_string()})
        };
        (0..EVENTS).map(item).collect()
    };
    let accepted = first.batch(batch(1, 1, false)).await.ok();
    assert_eq!(accepted["accepted"], EVENTS);
    let refusing = |app, backwards| {
        let batch = &batch;
        async move {
            let app: &TestApp = app;
            for _ in 0..BATCHES {
                let answer = app.batch(batch(2, 2, backwards)).await.ok();
                assert_eq!(answer["rejected"], EVENTS, "{answer}");
            }
        }
    };
    futures_util::future::join(refusing(&first, false), refusing(&second, true)).await;
    let number = |query: &str| first.database.number(query);
    assert_eq!(number("SELECT COUNT(*) FROM conflicts"), EVENTS);
    assert_eq!(
        number("SELECT CAST(SUM(count) AS BIGINT) FROM conflicts"),
        2 * BATCHES * EVENTS
    );
    let adding = |app, of: i64| {
        let batch = &batch;
        async move {
            let app: &TestApp = app;
            for n in 0..BATCHES {
                app.batch(batch(2, of + n, false)).await.ok();
            }
        }
    };
    futures_util::future::join(adding(&first, 100), adding(&second, 200)).await;
    // Two services may prune the same rows at once. The next that are added prune the rest.
    for n in 0..BATCHES {
        first.batch(batch(2, 300 + n, false)).await.ok();
        if number("SELECT COUNT(*) FROM conflicts") == 70 {
            return;
        }
    }
    panic!("{} conflicts", number("SELECT COUNT(*) FROM conflicts"));
}
