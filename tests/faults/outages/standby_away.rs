//! A synchronous standby that is away: PostgreSQL's COMMIT waits for it without a bound.

use serde_json::json;

use crate::support::{Cluster, Database, TestApp, eventually, on_postgres};

use super::app_on;

on_postgres![a_commit_that_waits_for_a_standby_is_logged_shown_and_not_ready];

async fn readiness(app: &TestApp) -> u16 {
    app.plain_get(app.internal, "/readyz").await.status
}

async fn a_commit_that_waits_for_a_standby_is_logged_shown_and_not_ready(_: Database) {
    let cluster = Cluster::start();
    let app = app_on(&cluster, None).await;
    app.accepted("deposits", 1, "before", "1").await;
    assert_eq!(readiness(&app).await, 200);
    app.database
        .sql("ALTER SYSTEM SET synchronous_standby_names = 'away'");
    app.database.sql("SELECT pg_reload_conf()");
    let deposit =
        |event: &str| json!({"event_id": event, "user_id": 1, "currency": "TON", "amount": "1"});
    // The server takes its new settings in a moment: what it commits until then is answered.
    let mut events = (1..).map(|number| format!("during-{number}"));
    let during = eventually("the server waits for its standby", async || {
        let event = events.next()?;
        (app.post("deposits", deposit(&event)).await.status == 503).then_some(event)
    })
    .await;
    let (_, number) = during.split_once('-').expect("numbered");
    // The one before, and those before this one.
    let answered: u64 = number.parse().expect("a number");
    eventually("it is logged", async || {
        let log = app.log();
        let line = log
            .lines()
            .find(|line| line.contains("for the database: commit"))?;
        assert!(line.contains(" WARN "), "{line}");
        Some(())
    })
    .await;
    let metrics = app.metrics().await;
    let age = metrics.value("balance_ledger_step_seconds{step=\"commit\"}");
    assert!(age >= 2.0, "{age}");
    assert_eq!(readiness(&app).await, 503);
    // Reads go on; what hangs is not shown.
    let balance = app.backend("/internal/v1/users/1/balance?fresh=true").await;
    assert_eq!(balance.ok()["version"], answered);
    app.database
        .sql("ALTER SYSTEM RESET synchronous_standby_names");
    app.database.sql("SELECT pg_reload_conf()");
    eventually("it is ready again", async || {
        (readiness(&app).await == 200).then_some(())
    })
    .await;
    // It was committed when the server went on.
    let again = app.post("deposits", deposit(&during)).await.ok();
    assert_eq!(
        (&again["version"], &again["duplicate"]),
        (&json!(answered + 1), &json!(true))
    );
    eventually("its end is logged", async || {
        app.log().contains("goes on, after about").then_some(())
    })
    .await;
    app.assert_ledger_holds();
}
