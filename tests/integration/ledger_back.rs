//! The ledger goes back below the running service: what a failover to a copy that lacks commits, or a restore, does.

use serde_json::{Value, json};

use crate::support::{Database, TestApp, eventually, on_both_databases, token};

on_both_databases![
    a_read_below_what_is_known_is_never_answered_as_fresh_and_everything_starts_over,
    a_commit_below_what_is_known_starts_everything_over_and_is_shown,
    an_atomic_batch_below_what_is_known_starts_everything_over,
    a_waiting_reader_finds_out_and_is_not_told_what_was_lost,
    a_new_epoch_beside_the_running_service_is_followed_without_a_question,
    a_restart_stays_in_the_epoch_that_has_begun,
];

/// User 1 with six deposits of 1 TON and a session that has been sent all of them.
async fn known_at_six(database: Database) -> (TestApp, crate::support::Ws, Value) {
    let app = TestApp::on(database)
        .set("pacing.direct_interval_ms", 0)
        .start()
        .await;
    let (mut ws, first) = app.session(1).await;
    for n in 1..=6 {
        app.accepted("deposits", 1, &format!("d{n}"), "1").await;
        assert_eq!(ws.next_frame("balance_update").await["version"], n);
    }
    (app, ws, first["epoch"].clone())
}

/// Takes user 1 back to version 3, as if the entries behind it had never been written.
fn go_back(app: &TestApp) {
    app.database.sql(
        "BEGIN; DELETE FROM entries WHERE user_id = 1 AND version > 3; \
         UPDATE balances SET amount = 3000000000 WHERE user_id = 1 AND currency = 'TON'; \
         UPDATE accounts SET version = 3 WHERE user_id = 1; COMMIT",
    );
}

/// The session ends with 1001, and a new one is greeted in another epoch with this state.
async fn starts_over(app: &TestApp, mut ws: crate::support::Ws, epoch: &Value, version: i64) {
    ws.assert_closed(1001, "going_away").await;
    let (_ws, snapshot) = app.session(1).await;
    assert_ne!(snapshot["epoch"], *epoch);
    let expected = format!("{version}.000000000");
    assert_eq!(
        (
            &snapshot["version"],
            &snapshot["balances"]["TON"],
            &snapshot["stale"]
        ),
        (&json!(version), &json!(expected), &json!(false))
    );
    let registry = app.admin("/admin/v1/registry").await.ok();
    assert_eq!(registry["epoch"], snapshot["epoch"]);
    let metrics = app.metrics().await;
    assert_eq!(metrics.value("balance_ledger_went_back_total"), 1.0);
    app.assert_ledger_holds();
}

async fn fresh(app: &TestApp) -> Value {
    app.browser("/api/v1/balance?fresh=true", &token(1), &[])
        .await
        .ok()
}

async fn a_read_below_what_is_known_is_never_answered_as_fresh_and_everything_starts_over(
    database: Database,
) {
    let (app, ws, epoch) = known_at_six(database).await;
    go_back(&app);
    let answer = fresh(&app).await;
    assert_eq!(
        (
            &answer["version"],
            &answer["balances"]["TON"],
            &answer["stale"]
        ),
        (&json!(3), &json!("3.000000000"), &json!(false))
    );
    assert_ne!(answer["epoch"], epoch, "{answer}");
    starts_over(&app, ws, &epoch, 3).await;
}

async fn a_commit_below_what_is_known_starts_everything_over_and_is_shown(database: Database) {
    let (app, ws, epoch) = known_at_six(database).await;
    go_back(&app);
    let answer = app.accepted("deposits", 1, "after", "1").await;
    assert_eq!(
        (&answer["version"], &answer["balances"]["TON"]),
        (&json!(4), &json!("4.000000000"))
    );
    starts_over(&app, ws, &epoch, 4).await;
    let (mut ws, _) = app.session(1).await;
    for version in 5..=6 {
        app.accepted("deposits", 1, &format!("after {version}"), "1")
            .await;
        let update = ws.next_frame("balance_update").await;
        assert_eq!(
            (&update["version"], &update["entries"]),
            (&json!(version), &json!(1)),
            "the numbers were used before"
        );
    }
}

async fn an_atomic_batch_below_what_is_known_starts_everything_over(database: Database) {
    let (app, ws, epoch) = known_at_six(database).await;
    go_back(&app);
    // More entries than were lost: the versions pass what was known.
    let entries: Vec<Value> = (0..5)
        .map(|n| {
            json!({"kind": "deposit", "event_id": format!("b{n}"), "user_id": 1,
                   "currency": "TON", "amount": "1"})
        })
        .collect();
    let request = crate::support::Signed::post(
        "/internal/v1/batch?atomic=true",
        &json!({ "entries": entries }),
    );
    app.send(request).await.ok();
    starts_over(&app, ws, &epoch, 8).await;
}

async fn a_waiting_reader_finds_out_and_is_not_told_what_was_lost(database: Database) {
    let (app, ws, epoch) = known_at_six(database).await;
    go_back(&app);
    app.browser("/api/v1/balance?min_version=7", &token(1), &[])
        .await
        .problem(409, "version_not_reached");
    starts_over(&app, ws, &epoch, 3).await;
}

async fn a_new_epoch_beside_the_running_service_is_followed_without_a_question(database: Database) {
    let (app, ws, epoch) = known_at_six(database).await;
    app.database
        .sql("UPDATE ledger_info SET epoch = 'restored'");
    starts_over(&app, ws, &epoch, 6).await;
    assert_eq!(fresh(&app).await["epoch"], "restored");
}

async fn a_restart_stays_in_the_epoch_that_has_begun(database: Database) {
    let (mut app, ws, epoch) = known_at_six(database).await;
    go_back(&app);
    let begun = fresh(&app).await["epoch"].clone();
    starts_over(&app, ws, &epoch, 3).await;
    app.stop().await;
    app.start_again().await;
    let answer = eventually("it answers again", async || {
        let answer = app.browser("/api/v1/balance", &token(1), &[]).await;
        (answer.status == 200).then(|| answer.ok())
    })
    .await;
    assert_eq!((&answer["epoch"], &answer["version"]), (&begun, &json!(3)));
}
