//! PostgreSQL fails over to a copy that lacks the latest commits.

use serde_json::json;

use crate::support::{Cluster, Database, TestApp, eventually, on_postgres, token};

use super::app_on;

on_postgres![a_failover_that_loses_commits_starts_everybody_over];

/// Posts deposits of 1 TON to user 1, as senders do: until each is accepted.
async fn deposit(app: &TestApp, events: std::ops::RangeInclusive<u32>) {
    for n in events {
        let body =
            json!({"event_id": format!("d{n}"), "user_id": 1, "currency": "TON", "amount": "1"});
        eventually("it is accepted", async || {
            let answer = app.post("deposits", body.clone()).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

/// The balance of a user, once the ledger answers.
async fn fresh(app: &TestApp, user: u64) -> serde_json::Value {
    eventually("the ledger answers", async || {
        let token = token(user);
        let answer = app.browser("/api/v1/balance?fresh=true", &token, &[]).await;
        (answer.status == 200)
            .then(|| answer.ok())
            .filter(|balance| balance["stale"] == false)
    })
    .await
}

async fn a_failover_that_loses_commits_starts_everybody_over(_: Database) {
    let cluster = Cluster::start();
    let app = app_on(&cluster, None).await;
    deposit(&app, 1..=3).await;
    cluster.stop("fast");
    cluster.keep_copy();
    cluster.start_again();
    deposit(&app, 4..=6).await;
    let before = fresh(&app, 1).await;
    assert_eq!(before["version"], 6);
    let (mut ws, _) = app.session(1).await;
    // Nothing that this one was shown is lost, and it starts over all the same.
    let (mut other, _) = app.session(2).await;
    cluster.fail_over();
    let after = fresh(&app, 1).await;
    assert_eq!(
        (&after["version"], &after["balances"]["TON"]),
        (&json!(3), &json!("3.000000000"))
    );
    assert_ne!(after["epoch"], before["epoch"]);
    ws.assert_closed(1001, "going_away").await;
    other.assert_closed(1001, "going_away").await;
    let (mut ws, snapshot) = app.session(1).await;
    assert_eq!(
        (&snapshot["version"], &snapshot["epoch"]),
        (&json!(3), &after["epoch"])
    );
    // The senders repeat what they sent; what is missing is committed and pushed.
    deposit(&app, 1..=6).await;
    let update = loop {
        let update = ws.next_frame("balance_update").await;
        if update["version"] == 6 {
            break update;
        }
    };
    assert_eq!(update["balances"]["TON"], "6.000000000");
    let metrics = app.metrics().await;
    assert_eq!(metrics.value("balance_ledger_went_back_total"), 1.0);
    app.assert_ledger_holds();
}
