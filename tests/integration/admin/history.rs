//! The dashboard's history, and what the service finds wrong.

use serde_json::{Value, json};

use crate::entry;
use crate::support::{Database, TestApp, eventually, on_both_databases, on_sqlite};

on_both_databases![the_history_fills_without_a_listener];
on_sqlite![
    only_seconds_of_an_hour_can_be_asked_for,
    a_conflict_is_a_finding_of_service_and_snapshot,
];

fn finding<'a>(answer: &'a Value, code: &str) -> Option<&'a Value> {
    let all = answer["findings"].as_array().expect("findings");
    all.iter().find(|finding| finding["code"] == code)
}

async fn the_history_fills_without_a_listener(database: Database) {
    let app = TestApp::start(database).await;
    let history = eventually("a snapshot", async || {
        let history = app.admin("/admin/v1/history").await.ok();
        (!history["snapshots"].as_array()?.is_empty()).then_some(history)
    })
    .await;
    assert_eq!(
        (&history["step_s"], &history["seconds"]),
        (&5.into(), &3600.into())
    );
    assert_eq!(history["marks"][0]["what"], "started");
    assert_eq!(history["marks"][0]["detail"], Value::Null);
    let snapshot = &history["snapshots"][0];
    for part in [
        "at", "registry", "counters", "audit", "canary", "cluster", "findings",
    ] {
        assert!(!snapshot[part].is_null(), "{part} in {snapshot}");
    }
    assert_eq!(snapshot["ledger"]["is_away"], false);
    assert_eq!(snapshot["ledger"]["since"], Value::Null);
    assert_eq!(snapshot["cluster"]["covered"], true);
    let bytes = snapshot.to_string().len();
    assert!(bytes <= 8 * 1024, "{bytes} bytes: an hour would not fit");
}

async fn only_seconds_of_an_hour_can_be_asked_for(database: Database) {
    let app = TestApp::start(database).await;
    for seconds in ["0", "3601", "-1"] {
        let path = format!("/admin/v1/history?seconds={seconds}");
        assert_eq!(app.admin(&path).await.status, 422, "{seconds}");
    }
    let zero = app.admin("/admin/v1/history?seconds=0").await;
    zero.problem(422, "invalid_field");
    for seconds in ["1", "3600"] {
        app.admin(&format!("/admin/v1/history?seconds={seconds}"))
            .await
            .ok();
    }
}

async fn a_conflict_is_a_finding_of_service_and_snapshot(database: Database) {
    let app = TestApp::start(database).await;
    let before = app.admin("/admin/v1/findings").await.ok();
    assert!(finding(&before, "conflicts").is_none(), "{before}");
    app.accepted("deposits", 1, "d", "1").await;
    app.post("deposits", entry("d", 1, "TON", "2"))
        .await
        .problem(409, "idempotency_conflict");
    let after = app.admin("/admin/v1/findings").await.ok();
    let conflict = finding(&after, "conflicts").expect("a finding");
    assert_eq!(conflict["severity"], "medium");
    assert_eq!(conflict["values"]["by_kind"], json!({"deposit": 1.0}));
    for key in ["title", "evidence", "next_step", "since"] {
        assert!(conflict[key].is_string(), "{key} in {conflict}");
    }
    let found = eventually("a snapshot", async || {
        let history = app.admin("/admin/v1/history").await.ok();
        let latest = history["snapshots"].as_array()?.last()?.clone();
        finding(&latest, "conflicts").cloned()
    })
    .await;
    assert_eq!(found["since"], conflict["since"], "since the first look");
    // Items of a batch that is answered 200 are conflicts, too.
    let items = |amount: &str| -> Value {
        let item = |n| json!({"kind": "reward", "event_id": format!("r{n}"), "user_id": 2, "currency": "TON", "amount": amount});
        (0..3).map(item).collect()
    };
    app.batch(items("1")).await.ok();
    app.batch(items("2")).await.ok();
    let after = app.admin("/admin/v1/findings").await.ok();
    let conflict = finding(&after, "conflicts").expect("a finding");
    let by_kind = &conflict["values"]["by_kind"];
    assert_eq!(*by_kind, json!({"deposit": 1.0, "reward": 3.0}));
}
