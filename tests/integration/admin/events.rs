//! `GET /admin/v1/events`: the latest entries and pushes.

use serde_json::{Value, json};

use crate::support::{Database, TestApp, eventually, on_both_databases, on_sqlite};
use crate::{assert_keys, assert_timestamp};

on_both_databases![a_change_is_traced_from_commit_to_page];
on_sqlite![
    entries_of_every_way_are_events,
    events_are_numbered_and_asked_for_by_user_and_number,
    events_are_asked_for_by_kind,
];

async fn a_change_is_traced_from_commit_to_page(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1.5").await;
    ws.next_frame("balance_update").await;
    ws.send_json(json!({"type": "displayed", "version": 1}))
        .await;
    let events = eventually("all three are noted", async || {
        let answer = app.admin("/admin/v1/events").await.ok();
        (answer["latest_seq"] == 3).then(|| answer["events"].clone())
    })
    .await;
    let [displayed, push, entry] = events.as_array().expect("a list").as_slice() else {
        panic!("{events}")
    };
    for event in [displayed, push, entry] {
        assert_timestamp(&event["at"]);
        assert_eq!(
            (&event["user_id"], &event["version"]),
            (&json!(1), &json!(1)),
            "{event}"
        );
    }
    assert_keys(
        entry,
        &[
            "seq", "at", "user_id", "version", "what", "event_id", "kind", "currency", "amount",
            "source",
        ],
    );
    assert_eq!(
        (&entry["what"], &entry["kind"], &entry["source"]),
        (&json!("entry"), &json!("deposit"), &json!("deposit"))
    );
    assert_eq!(
        (&entry["currency"], &entry["amount"]),
        (&json!("TON"), &json!("1.500000000"))
    );
    assert_keys(
        push,
        &[
            "seq",
            "at",
            "user_id",
            "version",
            "what",
            "mode",
            "entries",
            "sessions",
            "waited_ms",
        ],
    );
    assert_eq!(
        (&push["what"], &push["mode"]),
        (&json!("push"), &json!("direct"))
    );
    assert_eq!(
        (&push["entries"], &push["sessions"]),
        (&json!(1), &json!(1))
    );
    assert_keys(
        displayed,
        &[
            "seq",
            "at",
            "user_id",
            "version",
            "what",
            "session_id",
            "mode",
            "took_ms",
        ],
    );
    assert_eq!(displayed["what"], "displayed");
    assert!(
        displayed["took_ms"].as_f64() >= push["waited_ms"].as_f64(),
        "{events}"
    );
}

async fn entries_of_every_way_are_events(database: Database) {
    let app = TestApp::start(database).await;
    let item = |event: &str, kind: &str, amount: &str| json!({"kind": kind, "event_id": event, "user_id": 5, "currency": "UNI", "amount": amount});
    app.batch(json!([
        item("a", "reward", "3"),
        item("b", "withdrawal", "1")
    ]))
    .await
    .ok();
    let atomic = json!({"entries": [item("c", "deposit", "2")]});
    app.send(crate::support::Signed::post(
        "/internal/v1/batch?atomic=true",
        &atomic,
    ))
    .await
    .ok();
    let events = eventually("all three are noted", async || {
        let answer = app.admin("/admin/v1/events").await.ok();
        (answer["latest_seq"] == 3).then(|| answer["events"].clone())
    })
    .await;
    let seen: Vec<_> = events
        .as_array()
        .expect("a list")
        .iter()
        .rev()
        .map(|e| (&e["kind"], &e["amount"]))
        .collect();
    let amounts = ["3.000000000", "-1.000000000", "2.000000000"].map(Value::from);
    let kinds = ["reward", "withdrawal", "deposit"].map(Value::from);
    assert_eq!(seen, kinds.iter().zip(&amounts).collect::<Vec<_>>());
}

async fn events_are_numbered_and_asked_for_by_user_and_number(database: Database) {
    let app = TestApp::start(database).await;
    for (n, user_id) in [1, 2, 1, 2, 1].into_iter().enumerate() {
        app.accepted("deposits", user_id, &format!("d{n}"), "1")
            .await;
    }
    let numbers = async |query: &str| -> Vec<u64> {
        let answer = app.admin(&format!("/admin/v1/events{query}")).await.ok();
        answer["events"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|e| e["seq"].as_u64().expect("a number"))
            .collect()
    };
    assert_eq!(numbers("").await, [5, 4, 3, 2, 1]);
    assert_eq!(numbers("?limit=2").await, [5, 4]);
    assert_eq!(numbers("?after=3").await, [5, 4]);
    assert_eq!(numbers("?user_id=2").await, [4, 2]);
    app.admin("/admin/v1/events?user_id=0")
        .await
        .problem(422, "invalid_field");
    app.admin("/admin/v1/events?limit=1001")
        .await
        .problem(422, "invalid_field");
}

async fn events_are_asked_for_by_kind(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.next_frame("balance_update").await;
    app.accepted("rewards", 2, "r", "1").await;
    app.accepted("withdrawals", 2, "w", "1").await;
    let whats = async |query: &str| -> Vec<String> {
        let answer = app.admin(&format!("/admin/v1/events?{query}")).await.ok();
        assert_eq!(answer["latest_seq"], 4, "of all");
        let events = answer["events"].as_array().expect("a list").iter();
        let what = |event: &Value| {
            let named = [&event["kind"], &event["what"]].map(Value::as_str);
            named
                .into_iter()
                .flatten()
                .next()
                .expect("a name")
                .to_owned()
        };
        events.map(what).collect()
    };
    eventually("all are noted", async || {
        let answer = app.admin("/admin/v1/events").await.ok();
        (answer["latest_seq"] == 4).then_some(())
    })
    .await;
    assert_eq!(whats("kind=deposit").await, ["deposit"]);
    assert_eq!(whats("kind=push").await, ["push"]);
    assert_eq!(
        whats("kind=withdrawal,deposit").await,
        ["withdrawal", "deposit"]
    );
    assert_eq!(
        whats("kind=deposit,withdrawal,push&user_id=1").await,
        ["push", "deposit"]
    );
    assert_eq!(
        whats("kind=reward,withdrawal&limit=1").await,
        ["withdrawal"]
    );
    assert_eq!(whats("kind=displayed,reversal").await, [""; 0]);
    for wrong in [
        "",
        "nope",
        "deposit,",
        "deposit,nope",
        "Deposit",
        "entry",
        "deposit%20",
    ] {
        let answer = app.admin(&format!("/admin/v1/events?kind={wrong}")).await;
        answer.problem(422, "invalid_field");
        assert_eq!(answer.json()["field"], "kind", "{wrong}");
    }
}
