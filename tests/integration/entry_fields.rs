//! The fields of an entry: their names, allowed values, and storage.

use serde_json::{Value, json};

use crate::support::{Database, Signed, TestApp, on_both_databases, on_sqlite};
use crate::{assert_timestamp, entry, with};

on_both_databases![
    optional_fields_are_stored_and_returned,
    bodies_at_their_limits_are_kept
];
on_sqlite![
    a_field_that_is_missing_or_wrong_is_named,
    unknown_fields_are_refused,
    unknown_currencies_are_refused,
    a_malformed_hash_is_refused,
    a_body_that_is_no_json_object_is_refused,
];

async fn optional_fields_are_stored_and_returned(database: Database) {
    let app = TestApp::start(database).await;
    let metadata = json!({"rate": "0.01", "nested": {"list": [1, 2.5, null, "ü"]}});
    let more = json!({"source": "farming:v2_a.b-c", "occurred_at": "2025-08-04T12:05:00.25+02:00", "metadata": metadata});
    app.post("rewards", with(&entry("all", 1, "UNI", "12.5"), more))
        .await
        .ok();
    app.post("rewards", entry("none", 1, "UNI", "1")).await.ok();
    let entries = app.entries(1).await;
    let [plain, full] = entries.as_slice() else {
        panic!("two entries: {entries:?}")
    };
    assert_eq!(full["source"], "farming:v2_a.b-c");
    assert_eq!(full["occurred_at"], "2025-08-04T10:05:00.250000Z");
    assert_eq!(full["metadata"], metadata);
    assert_timestamp(&full["committed_at"]);
    for entry in [plain, full] {
        assert_eq!(
            (&entry["user_id"], &entry["currency"], &entry["kind"]),
            (&json!(1), &json!("UNI"), &json!("reward"))
        );
    }
    assert_eq!(plain["source"], "reward");
    for absent in [
        "reason",
        "occurred_at",
        "metadata",
        "tx_hash",
        "lt",
        "account",
    ] {
        assert_eq!(plain[absent], Value::Null, "{absent}");
    }
}

async fn bodies_at_their_limits_are_kept(database: Database) {
    let app = TestApp::start(database).await;
    let event_id = "e".repeat(128);
    let filler = "m".repeat(4096 - r#"{"k":""}"#.len());
    let more = json!({"source": "s".repeat(64), "metadata": {"k": filler}, "user_id": 9_007_199_254_740_991_u64});
    let answer = app
        .post("rewards", with(&entry(&event_id, 1, "TON", "1"), more))
        .await
        .ok();
    assert_eq!(
        (&answer["event_id"], &answer["user_id"]),
        (&json!(event_id), &json!(9_007_199_254_740_991_u64))
    );
    let entries = app.entries(9_007_199_254_740_991).await;
    assert_eq!(
        entries[0]["metadata"]["k"].as_str().map(str::len),
        Some(filler.len())
    );
}

async fn a_field_that_is_missing_or_wrong_is_named(database: Database) {
    let app = TestApp::start(database).await;
    let base = entry("e", 1, "TON", "1");
    let long = |n: usize| "x".repeat(n);
    for (what, field, value) in [
        ("deposits", "event_id", Value::Null),
        ("deposits", "event_id", json!("")),
        ("deposits", "event_id", json!(long(129))),
        ("deposits", "event_id", json!("\u{7f}")),
        ("deposits", "event_id", json!("tab\there")),
        ("deposits", "event_id", json!("ünïcode")),
        ("deposits", "event_id", json!(7)),
        ("rewards", "event_id", Value::Null),
        ("deposits", "user_id", Value::Null),
        ("deposits", "user_id", json!("1")),
        ("deposits", "user_id", json!(0)),
        ("deposits", "user_id", json!(-1)),
        ("deposits", "user_id", json!(1.5)),
        ("deposits", "user_id", json!(9_007_199_254_740_992_u64)),
        ("deposits", "user_id", json!(u64::MAX)),
        ("deposits", "currency", Value::Null),
        ("deposits", "currency", json!(["TON"])),
        ("deposits", "amount", Value::Null),
        ("deposits", "amount", json!({"minor": 1})),
        ("deposits", "source", json!("")),
        ("deposits", "source", json!(long(65))),
        ("deposits", "source", json!("Upper")),
        ("deposits", "source", json!("with space")),
        ("deposits", "occurred_at", json!("yesterday")),
        ("deposits", "occurred_at", json!("2025-08-04")),
        ("deposits", "occurred_at", json!(1_754_301_900)),
        ("deposits", "metadata", json!([])),
        ("deposits", "metadata", json!("text")),
        ("deposits", "metadata", json!({"k": long(4096)})),
        ("deposits", "tx_hash", json!(12)),
        ("deposits", "lt", json!("12a")),
        ("deposits", "lt", json!(12)),
        ("deposits", "account", json!("nobody")),
        ("adjustments", "reason", Value::Null),
        ("adjustments", "reason", json!(5)),
    ] {
        let body = with(&base, json!({field: value}));
        let problem = app
            .post(what, body.clone())
            .await
            .problem(422, "invalid_field");
        assert_eq!(problem["field"], field, "{body}");
    }
    assert!(app.entries(1).await.is_empty());
}

async fn unknown_fields_are_refused(database: Database) {
    let app = TestApp::start(database).await;
    let hash = "ab".repeat(32);
    for (what, field, value) in [
        ("deposits", "ammount", json!("1")),
        ("deposits", "kind", json!("deposit")),
        ("deposits", "reason", json!("because")),
        ("rewards", "reason", json!("because")),
        ("withdrawals", "reason", json!("because")),
        ("rewards", "tx_hash", json!(hash)),
        ("withdrawals", "lt", json!("1")),
        ("adjustments", "account", json!(format!("0:{hash}"))),
    ] {
        let body = with(&entry("e", 1, "TON", "1"), json!({field: value}));
        let body = if what == "adjustments" {
            with(&body, json!({"reason": "r"}))
        } else {
            body
        };
        app.post(what, body).await.problem(422, "unknown_field");
    }
}

async fn unknown_currencies_are_refused(database: Database) {
    let app = TestApp::start(database).await;
    for currency in ["EUR", "ton", "", "TON "] {
        app.post("deposits", entry("e", 1, currency, "1"))
            .await
            .problem(422, "unknown_currency");
    }
}

async fn a_malformed_hash_is_refused(database: Database) {
    let app = TestApp::start(database).await;
    let hex = "ab".repeat(32);
    for bad in [
        "",
        "0x12",
        "te6cckEBAQEAAgAAAEysuc0=",
        &hex[1..],
        &format!("{hex}00"),
        &"z".repeat(64),
        &"+_".repeat(22),
    ] {
        let body = with(&entry("e", 1, "TON", "1"), json!({"tx_hash": bad}));
        app.post("deposits", body)
            .await
            .problem(422, "invalid_tx_hash");
    }
    assert!(app.entries(1).await.is_empty());
}

async fn a_body_that_is_no_json_object_is_refused(database: Database) {
    let app = TestApp::start(database).await;
    let deep = "[".repeat(10_000);
    for body in [
        "",
        "{",
        "nonsense",
        "[]",
        "1",
        "null",
        "\"text\"",
        "{\"a\":1}}",
        "{\"a\":\u{1}}",
        deep.as_str(),
    ] {
        for path in ["deposits", "rewards", "withdrawals", "adjustments", "batch"] {
            let request = Signed::post(&format!("/internal/v1/{path}"), &json!({})).body(body);
            app.send(request).await.problem(400, "invalid_json");
        }
    }
    let not_utf8 =
        Signed::post("/internal/v1/deposits", &json!({})).body(b"{\"event_id\":\"\xff\"}".to_vec());
    app.send(not_utf8).await.problem(400, "invalid_json");
}
