//! The continuous audit: it finds violations, and nothing else.

use serde_json::{Value, json};

use crate::support::{Database, TestApp, eventually, on_both_databases, on_sqlite};
use crate::{assert_keys, assert_timestamp};

on_both_databases![
    entries_that_are_written_meanwhile_are_no_violation,
    violations_in_the_ledger_are_found_and_left_unchanged,
    memory_that_differs_from_the_ledger_is_found_until_it_is_read_again,
    an_index_that_was_dropped_is_found,
];
on_sqlite![
    an_audit_that_is_off_checks_nothing,
    a_user_that_cannot_be_checked_does_not_stop_the_audit
];

const USERS: u64 = 12;

async fn fast(database: Database) -> TestApp {
    TestApp::on(database)
        .set("audit.users_per_s", 100_000)
        .start()
        .await
}

async fn state(app: &TestApp) -> Value {
    app.admin("/admin/v1/audit").await.ok()
}

/// Waits for a number of further rounds.
async fn rounds(app: &TestApp, count: u64) -> Value {
    let of = |state: &Value| state["round"].as_u64().expect("a number");
    let until = of(&state(app).await) + count;
    eventually("the audit goes round", async || {
        let state = state(app).await;
        (of(&state) > until).then_some(state)
    })
    .await
}

fn checked(state: &Value) -> u64 {
    state["users_total"].as_u64().expect("a number")
}

/// Posts several entries of every user at once.
async fn wave(app: &TestApp, wave: u64) {
    let posting = (1..=USERS).map(|user_id| async move {
        for (n, what) in ["deposits", "deposits", "withdrawals", "rewards"]
            .into_iter()
            .enumerate()
        {
            app.accepted(what, user_id, &format!("{user_id}.{wave}.{n}"), "0.5")
                .await;
        }
        if wave % 4 == user_id % 4 {
            app.admin_post(&format!("/admin/v1/actors/{user_id}/refresh"))
                .await
                .ok();
        }
    });
    futures_util::future::join_all(posting).await;
}

async fn entries_that_are_written_meanwhile_are_no_violation(database: Database) {
    let app = fast(database).await;
    let mut sessions = Vec::new();
    for user_id in 1..=4 {
        sessions.push(app.session(user_id).await);
    }
    wave(&app, 0).await;
    let before = checked(&rounds(&app, 1).await);
    let mut waves = 0;
    // Until each user was checked many times during writes.
    while checked(&state(&app).await) < before + 20 * USERS {
        waves += 1;
        assert!(waves < 1000, "the audit stands still");
        wave(&app, waves).await;
    }
    let state = rounds(&app, 2).await;
    assert_eq!(
        (&state["violations_total"], &state["violations"]),
        (&json!(0), &json!([])),
        "{state}"
    );
    assert_eq!(state["last_round"]["users"], USERS, "{state}");
    let metrics = app.metrics().await;
    assert_eq!(metrics.value("balance_drift_total"), 0.0);
    assert!(metrics.value("balance_audit_users_total") >= 20.0 * USERS as f64);
    assert!(
        !app.log().contains("audit:"),
        "nothing was found, and nothing failed"
    );
    app.assert_ledger_holds();
}

async fn violations_in_the_ledger_are_found_and_left_unchanged(database: Database) {
    let app = fast(database).await;
    for user_id in 1..=4 {
        app.accepted("deposits", user_id, &format!("a{user_id}"), "1")
            .await;
        app.accepted("deposits", user_id, &format!("b{user_id}"), "1")
            .await;
    }
    rounds(&app, 1).await;
    app.database.sql(
        "UPDATE balances SET amount = 3000000000 WHERE user_id = 1; UPDATE accounts SET version = 5 WHERE user_id = 2; \
         UPDATE entries SET balance_after = 7 WHERE user_id = 3 AND version = 2; \
         INSERT INTO balances (user_id, currency, amount) VALUES (99, 'UNI', 4);",
    );
    let wanted = [
        (
            1,
            "balance 3000000000 minor units, but the entries sum to 2000000000",
        ),
        (2, "version 5, but there are 2 entries"),
        (3, "version 2 says 7 minor units"),
        (99, "balance 4 minor units without any entry"),
    ];
    let found = eventually("all is found", async || {
        let state = state(&app).await;
        let shown = state["violations"].as_array().expect("a list").clone();
        let is_shown = |user_id: u64, text: &str| {
            let is_it = |v: &Value| {
                v["user_id"] == user_id && v["violation"].as_str().is_some_and(|v| v.contains(text))
            };
            shown.iter().any(is_it)
        };
        wanted
            .iter()
            .all(|(user_id, text)| is_shown(*user_id, text))
            .then_some(state)
    })
    .await;
    for violation in found["violations"].as_array().expect("a list") {
        assert_keys(violation, &["at", "user_id", "violation"]);
        assert_timestamp(&violation["at"]);
        assert_ne!(violation["user_id"], 4, "user 4 is in order: {violation}");
    }
    assert!(app.metrics().await.value("balance_drift_total") >= 4.0);
    assert!(
        app.log().contains("audit: user 2: version 5"),
        "operators see it in the log"
    );
    let still = app.command("verify");
    assert_eq!(still.status.code(), Some(1), "nothing was mended");
    assert!(
        rounds(&app, 1).await["violations"]
            .as_array()
            .is_some_and(|list| list.len() <= 100),
        "bounded"
    );
}

async fn memory_that_differs_from_the_ledger_is_found_until_it_is_read_again(database: Database) {
    let app = fast(database).await;
    app.accepted("deposits", 1, "a", "1").await;
    app.accepted("deposits", 1, "b", "1").await;
    // The ledger is consistent, and the version is unchanged.
    app.database.sql(
        "UPDATE entries SET amount = 2000000000, balance_after = 3000000000 WHERE user_id = 1 AND version = 2; \
         UPDATE balances SET amount = 3000000000 WHERE user_id = 1;",
    );
    app.assert_ledger_holds();
    let state = eventually("memory is found out", async || {
        let state = state(&app).await;
        (state["violations_total"].as_u64() > Some(0)).then_some(state)
    })
    .await;
    let line = state["violations"][0]["violation"].as_str().expect("words");
    assert!(
        line.contains("memory has 2000000000 minor units at version 2, the ledger 3000000000"),
        "{line}"
    );
    app.admin_post("/admin/v1/actors/1/refresh").await.ok();
    rounds(&app, 1).await;
    let before = app.metrics().await.value("balance_drift_total");
    rounds(&app, 2).await;
    assert_eq!(
        app.metrics().await.value("balance_drift_total"),
        before,
        "it was read again"
    );
}

async fn an_index_that_was_dropped_is_found(database: Database) {
    let app = fast(database).await;
    app.accepted("deposits", 1, "a", "1").await;
    rounds(&app, 1).await;
    app.database.sql("DROP INDEX entries_tx_hash");
    let state = eventually("it is found", async || {
        let state = state(&app).await;
        (state["violations_total"].as_u64() > Some(0)).then_some(state)
    })
    .await;
    assert_eq!(state["violations"][0]["user_id"], Value::Null);
    assert!(
        state["violations"][0]["violation"]
            .as_str()
            .is_some_and(|text| text.contains("entries_tx_hash")),
        "{state}"
    );
}

async fn an_audit_that_is_off_checks_nothing(database: Database) {
    let app = TestApp::on(database)
        .set("audit.users_per_s", 0)
        .start()
        .await;
    app.accepted("deposits", 1, "a", "1").await;
    let state = state(&app).await;
    assert_eq!(
        (
            &state["users_per_s"],
            &state["round"],
            &state["users_total"]
        ),
        (&json!(0), &json!(0), &json!(0))
    );
    assert_eq!(
        (&state["last_round"], &state["last_error"]),
        (&Value::Null, &Value::Null)
    );
}

async fn a_user_that_cannot_be_checked_does_not_stop_the_audit(database: Database) {
    let app = fast(database).await;
    for user_id in 1..=3 {
        app.accepted("deposits", user_id, &format!("d{user_id}"), "1")
            .await;
    }
    // Not a text, so the row can't be read.
    app.database
        .sql("UPDATE entries SET currency = CAST(x'ff' AS TEXT) WHERE user_id = 2");
    let state = eventually("a round without that user is over", async || {
        let state = state(&app).await;
        (state["last_round"]["users"] == 2 && !state["last_error"].is_null()).then_some(state)
    })
    .await;
    assert_timestamp(&state["last_error"]["at"]);
    assert!(
        app.log().contains("audit: user 2 could not be checked"),
        "{}",
        app.log()
    );
}
