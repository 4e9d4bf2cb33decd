//! How a session begins, and which credentials it needs.

use serde_json::{Value, json};

use crate::support::{
    Database, Event, SESSION_SECRET, TestApp, Ws, claims, mint, now_s, on_both_databases,
    on_sqlite, token,
};
use crate::{assert_keys, assert_timestamp, balances, with};

on_both_databases![a_session_begins_with_hello_and_a_snapshot_unasked];
on_sqlite![
    all_three_ways_to_sign_in_lead_to_the_same_session,
    a_bad_token_is_closed_by_4501,
    a_session_that_does_not_sign_in_is_closed_by_4501,
    a_session_ends_when_its_token_expires,
    a_fresh_token_extends_a_session_without_an_answer,
    a_token_of_another_user_ends_the_session,
    a_foreign_origin_is_refused_at_the_door,
    nothing_is_answered_before_authentication,
    a_request_that_is_no_upgrade_is_refused,
];

async fn a_session_begins_with_hello_and_a_snapshot_unasked(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 700)
        .start()
        .await;
    app.accepted("deposits", 184, "d", "0.1").await;
    let mut ws = app.ws_of(184).await;
    assert_eq!(ws.protocol.as_deref(), Some("balance.v1"));
    let hello = ws.next_frame("hello").await;
    assert_keys(
        &hello,
        &[
            "type",
            "session_id",
            "user_id",
            "epoch",
            "protocol",
            "heartbeat_ms",
            "client_cache",
            "pacing",
        ],
    );
    assert_eq!(
        (&hello["user_id"], &hello["protocol"]),
        (&json!(184), &json!("balance.v1"))
    );
    assert_eq!(hello["heartbeat_ms"], 25_000);
    let policy =
        json!({"ttl_ms": 60_000, "stale_while_revalidate_ms": 30_000, "min_age_ms": 3_000});
    assert_eq!(hello["client_cache"], policy);
    assert_eq!(
        hello["pacing"],
        json!({"debounce_ms": 700, "min_interval_ms": 5_000})
    );
    let snapshot = ws.next_frame("balance").await;
    assert_keys(
        &snapshot,
        &[
            "type", "reason", "user_id", "epoch", "version", "balances", "as_of", "stale",
        ],
    );
    assert_eq!(
        (&snapshot["reason"], &snapshot["version"]),
        (&json!("snapshot"), &json!(1))
    );
    assert_eq!(snapshot["balances"], balances("0.100000000", "0.000000000"));
    assert_eq!(
        (&snapshot["epoch"], &snapshot["stale"]),
        (&hello["epoch"], &json!(false))
    );
    assert_timestamp(&snapshot["as_of"]);
    ws.assert_quiet().await;
    // On every connection, also for a user without entries; each session has its own id.
    let mut again = app.ws_of(184).await;
    assert_ne!(
        again.next_frame("hello").await["session_id"],
        hello["session_id"]
    );
    assert_eq!(again.next_frame("balance").await["version"], 1);
    let (_, empty) = app.session(999).await;
    assert_eq!(
        (&empty["version"], &empty["balances"]),
        (&json!(0), &balances("0.000000000", "0.000000000"))
    );
}

async fn all_three_ways_to_sign_in_lead_to_the_same_session(database: Database) {
    let app = TestApp::start(database).await;
    let token = token(5);
    let offered = format!("balance.v1, bearer.{token}");
    let by_header = app
        .ws(&[("authorization", &format!("Bearer {token}"))])
        .await;
    let by_protocol = app.ws(&[("sec-websocket-protocol", &offered)]).await;
    assert_eq!(
        by_protocol.protocol.as_deref(),
        Some("balance.v1"),
        "the token is never sent back"
    );
    let mut by_message = app.ws(&[("sec-websocket-protocol", "balance.v1")]).await;
    by_message
        .send_json(json!({"type": "auth", "token": token}))
        .await;
    let mut by_message_with_space = app.ws(&[]).await;
    by_message_with_space
        .send_json(json!({"type": "auth", "token": format!(" {token}\r\n")}))
        .await;
    for mut ws in [by_header, by_protocol, by_message, by_message_with_space] {
        assert_eq!(ws.next_frame("hello").await["user_id"], 5);
        assert_eq!(ws.next_frame("balance").await["user_id"], 5);
    }
}

async fn a_bad_token_is_closed_by_4501(database: Database) {
    let app = TestApp::start(database).await;
    let expired = mint(&json!({"alg": "HS256"}), &claims(1, -10), SESSION_SECRET);
    let forged = mint(
        &json!({"alg": "HS256"}),
        &claims(1, 60),
        "a secret that is configured nowhere",
    );
    for bad in [expired, forged, "nonsense".to_owned()] {
        let mut ws = app.ws(&[("authorization", &format!("Bearer {bad}"))]).await;
        assert_eq!(ws.closed().await.0, 4501, "by header");
        let mut ws = app
            .ws(&[(
                "sec-websocket-protocol",
                &format!("balance.v1, bearer.{bad}"),
            )])
            .await;
        assert_eq!(ws.closed().await.0, 4501, "by subprotocol");
        let mut ws = app.ws(&[]).await;
        ws.send_json(json!({"type": "auth", "token": bad})).await;
        assert_eq!(ws.closed().await.0, 4501, "by message");
    }
    let mut ws = app.ws(&[]).await;
    ws.send_json(json!({"type": "auth", "token": "nonsense"}))
        .await;
    ws.assert_closed(4501, "unauthenticated").await;
    // Telegram is not configured.
    let mut ws = app.ws(&[]).await;
    ws.send_json(json!({"type": "auth", "init_data": "user=1&hash=00"}))
        .await;
    ws.assert_closed(4501, "unauthenticated").await;
}

async fn a_session_that_does_not_sign_in_is_closed_by_4501(database: Database) {
    let app = TestApp::on(database)
        .set("limits.auth_timeout_ms", 200)
        .start()
        .await;
    app.ws(&[])
        .await
        .assert_closed(4501, "unauthenticated")
        .await;
    // Another message does not authenticate.
    let mut ws = app.ws(&[]).await;
    ws.send_json(json!({"type": "ping", "id": 1})).await;
    assert_eq!(ws.closed().await.0, 4501);
    // A session that signed in in time stays open.
    let (mut ws, _) = app.session(1).await;
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    ws.assert_quiet().await;
}

fn short_lived(user_id: u64, seconds: i64) -> String {
    mint(
        &json!({"alg": "HS256"}),
        &claims(user_id, seconds),
        SESSION_SECRET,
    )
}

async fn a_session_ends_when_its_token_expires(database: Database) {
    let app = TestApp::start(database).await;
    let expiry = now_s() + 2;
    let token = mint(
        &json!({"alg": "HS256"}),
        &with(&claims(1, 0), json!({"exp": expiry})),
        SESSION_SECRET,
    );
    let mut ws = app
        .ws(&[("authorization", &format!("Bearer {token}"))])
        .await;
    ws.next_frame("hello").await;
    ws.assert_closed(4501, "token_expired").await;
    assert!(now_s() >= expiry, "not before its time");
}

async fn a_fresh_token_extends_a_session_without_an_answer(database: Database) {
    let app = TestApp::start(database).await;
    let short = short_lived(1, 3);
    let mut ws = app
        .ws(&[("authorization", &format!("Bearer {short}"))])
        .await;
    ws.next_frame("hello").await;
    ws.next_frame("balance").await;
    ws.send_json(json!({"type": "auth", "token": token(1)}))
        .await;
    ws.assert_quiet().await;
    // A second session with the same short token shows when its time has passed.
    let mut witness = app
        .ws(&[("authorization", &format!("Bearer {short}"))])
        .await;
    witness.assert_closed(4501, "token_expired").await;
    ws.assert_quiet().await;
    assert_eq!(ws.refresh(json!(1)).await["user_id"], 1);
}

async fn a_token_of_another_user_ends_the_session(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    ws.send_json(json!({"type": "auth", "token": token(2)}))
        .await;
    ws.assert_closed(4501, "unauthenticated").await;
    let (mut ws, _) = app.session(1).await;
    ws.send_json(json!({"type": "auth", "token": "nonsense"}))
        .await;
    assert_eq!(ws.closed().await.0, 4501);
}

async fn a_foreign_origin_is_refused_at_the_door(database: Database) {
    let app = TestApp::on(database)
        .set("server.allowed_origins", vec!["https://app.example.org"])
        .start()
        .await;
    let bearer = format!("Bearer {}", token(1));
    let own = format!("http://{}", app.public);
    for good in [own.as_str(), "https://app.example.org"] {
        let mut ws = app
            .ws(&[("authorization", &bearer), ("origin", good)])
            .await;
        ws.next_frame("hello").await;
    }
    for foreign in [
        "https://evil.example",
        "null",
        "https://app.example.org.evil.example",
        "http://app.example.org",
    ] {
        let refused = app
            .try_ws(&[("authorization", &bearer), ("origin", foreign)])
            .await;
        let Err(answer) = refused else {
            panic!("{foreign} was let in")
        };
        answer.problem(403, "origin_not_allowed");
    }
}

async fn nothing_is_answered_before_authentication(database: Database) {
    let app = TestApp::start(database).await;
    let mut ws: Ws = app.ws(&[]).await;
    ws.send_json(json!({"type": "refresh", "id": 1, "user_id": 1}))
        .await;
    ws.send_json(json!({"type": "auth", "token": token(7)}))
        .await;
    for _ in 0..10 {
        match ws.next().await {
            // It may receive an error for the message, but no balance.
            Event::Frame(frame) if frame["type"] == "error" => {}
            Event::Frame(frame) => {
                assert_eq!(frame["type"], "hello", "{frame}");
                assert_eq!(ws.next_frame("balance").await["reason"], "snapshot");
                return;
            }
            Event::Closed { code, .. } => return assert_eq!(code, 4501),
            Event::Broken => panic!("broken"),
        }
    }
    panic!("no hello");
}

async fn a_request_that_is_no_upgrade_is_refused(database: Database) {
    let app = TestApp::start(database).await;
    let answer = app.browser("/ws", &token(1), &[]).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert_eq!(
        answer.header("content-type").split(';').next(),
        Some("application/problem+json"),
        "{answer:?}"
    );
    assert_ne!(answer.json()["code"], Value::Null);
}
