//! The database goes away and comes back.

use serde_json::json;

use crate::balances;
use crate::support::{Database, Passes, Relay, TestApp, eventually, on_postgres, token};

on_postgres![
    a_refresh_while_the_ledger_is_away_shows_the_last_known_balance_as_stale,
    a_session_of_an_unknown_user_is_told_that_the_ledger_is_away,
    entries_are_refused_while_the_ledger_is_away_and_accepted_again,
    reads_never_invent_a_balance,
    a_pool_full_of_slow_reads_does_not_fail_health_checks,
    an_outage_that_another_user_met_marks_what_is_in_memory,
    an_entry_that_is_not_committed_in_time_marks_what_is_in_memory,
    an_entry_that_waits_for_a_row_of_its_user_marks_nobody_else,
];

async fn start(database: Database) -> TestApp {
    TestApp::on(database)
        .set("database.timeout_ms", 1000)
        .start()
        .await
}

async fn a_refresh_while_the_ledger_is_away_shows_the_last_known_balance_as_stale(
    database: Database,
) {
    let app = start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let (mut ws, snapshot) = app.session(1).await;
    app.database.cut();
    for id in 0..3 {
        let balance = ws.refresh(json!(id)).await;
        assert_eq!(
            (&balance["stale"], &balance["version"]),
            (&json!(true), &json!(1)),
            "{balance}"
        );
        assert_eq!(balance["balances"], balances("1.000000000", "0.000000000"));
        // Its age is the true one: since the ledger was last read.
        assert_eq!(balance["as_of"], snapshot["as_of"], "{balance}");
    }
    app.database.mend();
    let recovered = ws.next_frame("balance").await;
    assert_eq!(
        (&recovered["reason"], &recovered["stale"]),
        (&json!("recovered"), &json!(false)),
        "{recovered}"
    );
    assert_eq!(
        (&recovered["version"], &recovered["id"]),
        (&json!(1), &json!(null))
    );
    assert_eq!(ws.refresh(json!("after")).await["stale"], false);
    ws.assert_quiet().await;
}

async fn a_session_of_an_unknown_user_is_told_that_the_ledger_is_away(database: Database) {
    let app = start(database).await;
    app.database.cut();
    let mut ws = app.ws_of(1).await;
    ws.next_frame("hello").await;
    let error = ws.next_frame("error").await;
    assert_eq!(error["code"], "ledger_unavailable", "{error}");
    assert!(
        error["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0),
        "{error}"
    );
    app.database.mend();
    let balance = ws.next_frame("balance").await;
    assert_eq!(
        (&balance["version"], &balance["stale"]),
        (&json!(0), &json!(false)),
        "{balance}"
    );
}

async fn entries_are_refused_while_the_ledger_is_away_and_accepted_again(database: Database) {
    let app = start(database).await;
    app.accepted("deposits", 1, "before", "1").await;
    app.database.cut();
    let deposit = crate::entry("during", 1, "TON", "1");
    let refused = app.post("deposits", deposit.clone()).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    refused.problem(503, "ledger_unavailable");
    for addr in [app.public, app.internal] {
        assert_eq!(app.plain_get(addr, "/healthz").await.status, 200);
        assert_eq!(app.plain_get(addr, "/readyz").await.status, 503);
    }
    app.database.mend();
    let answer = eventually("the ledger takes entries again", async || {
        let answer = app.post("deposits", deposit.clone()).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.ok()["version"], 2);
    eventually("it is ready again", async || {
        (app.plain_get(app.public, "/readyz").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(app.entries(1).await.len(), 2);
    app.assert_ledger_holds();
}

async fn reads_never_invent_a_balance(database: Database) {
    let app = start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    app.database.cut();
    let known = app
        .browser("/api/v1/balance?fresh=true", &token(1), &[])
        .await
        .ok();
    assert_eq!(
        (
            &known["stale"],
            &known["version"],
            &known["balances"]["TON"]
        ),
        (&json!(true), &json!(1), &json!("1.000000000"))
    );
    app.browser("/api/v1/balance", &token(2), &[])
        .await
        .problem(503, "ledger_unavailable");
    app.browser("/api/v1/entries", &token(1), &[])
        .await
        .problem(503, "ledger_unavailable");
    app.backend("/internal/v1/users/2/balance")
        .await
        .problem(503, "ledger_unavailable");
    app.database.mend();
    eventually("reads are answered again", async || {
        (app.browser("/api/v1/balance", &token(2), &[]).await.status == 200).then_some(())
    })
    .await;
}

async fn a_pool_full_of_slow_reads_does_not_fail_health_checks(database: Database) {
    let app = TestApp::on(database)
        .set("database.pool_size", 2)
        .start()
        .await;
    let lock = app
        .database
        // Writers do not need it.
        .hold("LOCK TABLE conflicts IN ACCESS EXCLUSIVE MODE");
    let reads = (1..=6).map(|_| app.admin("/admin/v1/conflicts"));
    let checks = async {
        let waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND database = \
             (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("all connections of the pool wait", async || {
            (app.database.number(waiting) >= 2).then_some(())
        })
        .await;
        for _ in 0..5 {
            for listener in [app.public, app.internal] {
                app.plain_get(listener, "/readyz").await.ok();
            }
        }
        drop(lock);
    };
    let (reads, ()) =
        futures_util::future::join(futures_util::future::join_all(reads), checks).await;
    for read in reads {
        read.ok();
    }
}

async fn an_outage_that_another_user_met_marks_what_is_in_memory(database: Database) {
    let app = start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let before = app.browser("/api/v1/balance", &token(1), &[]).await.ok();
    assert_eq!(before["stale"], false);
    app.database.cut();
    app.browser("/api/v1/balance", &token(2), &[])
        .await
        .problem(503, "ledger_unavailable");
    for answer in [
        app.browser("/api/v1/balance", &token(1), &[]).await.ok(),
        app.backend("/internal/v1/users/1/balance").await.ok(),
    ] {
        assert_eq!(
            (&answer["stale"], &answer["version"], &answer["as_of"]),
            (&json!(true), &json!(1), &before["as_of"])
        );
    }
    let (mut ws, snapshot) = app.session(1).await;
    assert_eq!(
        (&snapshot["stale"], &snapshot["as_of"]),
        (&json!(true), &before["as_of"])
    );
    app.database.mend();
    let recovered = ws.next_frame("balance").await;
    assert_eq!(
        (&recovered["reason"], &recovered["stale"]),
        (&json!("recovered"), &json!(false))
    );
}

async fn an_entry_that_is_not_committed_in_time_marks_what_is_in_memory(database: Database) {
    let dir = tempfile::tempdir().expect("a directory");
    let database_of_test = database.create(dir.path());
    let relay = Relay::start(database_of_test.addr()).await;
    let url = database_of_test.url().replace(
        &database_of_test.addr().to_string(),
        &relay.addr.to_string(),
    );
    let app = TestApp::on(database)
        .set("database.timeout_ms", 1000)
        .start_with(dir, database_of_test, &url)
        .await;
    for (n, kind) in ["single", "batch", "atomic"].into_iter().enumerate() {
        app.accepted("deposits", 1, kind, "1").await;
        let before = app.browser("/api/v1/balance", &token(1), &[]).await.ok();
        assert_eq!(before["stale"], false, "{kind}");
        // Statements and answers are held up; connections stay open.
        relay.set(Passes::NONE);
        let item = json!({"kind": "deposit", "event_id": format!("late {kind}"), "user_id": 2 + n, "currency": "TON", "amount": "1"});
        match kind {
            "single" => {
                let mut body = item.clone();
                body.as_object_mut().expect("an object").remove("kind");
                app.post("deposits", body).await
            }
            _ => {
                let what = format!("batch?atomic={}", kind == "atomic");
                app.post(&what, json!({"entries": [item]})).await
            }
        }
        .problem(503, "ledger_unavailable");
        let answer = app.browser("/api/v1/balance", &token(1), &[]).await.ok();
        assert_eq!(
            (&answer["stale"], &answer["version"], &answer["as_of"]),
            (&json!(true), &before["version"], &before["as_of"]),
            "{kind}"
        );
        relay.set(Passes::ALL);
        eventually("the ledger is back", async || {
            let answer = app
                .browser("/api/v1/balance?fresh=true", &token(1), &[])
                .await;
            (answer.status == 200 && answer.json()["stale"] == false).then_some(())
        })
        .await;
    }
    app.assert_ledger_holds();
}

async fn an_entry_that_waits_for_a_row_of_its_user_marks_nobody_else(database: Database) {
    let app = start(database).await;
    for (user, event_id) in [(1, "one"), (2, "two")] {
        app.accepted("deposits", user, event_id, "1").await;
    }
    let held = app
        .database
        .hold("SELECT 1 FROM accounts WHERE user_id = 2 FOR UPDATE");
    let body = json!({"event_id": "late", "user_id": 2, "currency": "TON", "amount": "1"});
    app.post("deposits", body)
        .await
        .problem(503, "ledger_unavailable");
    let answer = app.browser("/api/v1/balance", &token(1), &[]).await.ok();
    assert_eq!(answer["stale"], false, "{answer}");
    drop(held);
    app.assert_ledger_holds();
}
