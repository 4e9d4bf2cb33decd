//! The messages of a session and their answers.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::{Database, TestApp, on_both_databases, on_sqlite};
use crate::{assert_keys, entry};

on_both_databases![
    a_refresh_is_answered_from_the_ledger_whatever_the_cache_holds,
    many_refreshes_at_once_are_all_answered
];
on_sqlite![
    ids_are_returned_unchanged,
    the_fifth_bad_message_ends_the_session,
    binary_frames_end_the_session,
    messages_that_are_too_large_end_the_session,
    text_that_is_not_utf8_ends_the_session,
    fragmented_messages_are_whole_messages,
    a_close_is_answered,
    a_displayed_version_is_seen_by_the_administrator,
    no_message_can_name_another_user,
];

async fn a_refresh_is_answered_from_the_ledger_whatever_the_cache_holds(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let (mut ws, _) = app.session(1).await;
    app.database.sql(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
         VALUES (1, 2, 'deposit', 'by-hand', 'TON', 500000000, 1500000000, 'by hand', 1754301900000000); \
         UPDATE accounts SET version = 2 WHERE user_id = 1; \
         UPDATE balances SET amount = 1500000000 WHERE user_id = 1 AND currency = 'TON'",
    );
    let balance = ws.refresh(json!(1)).await;
    assert_keys(
        &balance,
        &[
            "type", "reason", "id", "user_id", "epoch", "version", "balances", "as_of", "stale",
        ],
    );
    assert_eq!(
        (&balance["version"], &balance["balances"]["TON"]),
        (&json!(2), &json!("1.500000000"))
    );
    // Without an id, the answer has none.
    ws.send_json(json!({"type": "refresh"})).await;
    let balance = ws.next_frame("balance").await;
    assert_keys(
        &balance,
        &[
            "type", "reason", "user_id", "epoch", "version", "balances", "as_of", "stale",
        ],
    );
}

async fn many_refreshes_at_once_are_all_answered(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let (mut ws, _) = app.session(1).await;
    for id in 0..30 {
        ws.send_json(json!({"type": "refresh", "id": id})).await;
    }
    let mut answered: Vec<i64> = Vec::new();
    for _ in 0..30 {
        let balance = ws.next_frame("balance").await;
        assert_eq!(
            (&balance["reason"], &balance["version"]),
            (&json!("refresh"), &json!(1))
        );
        answered.push(balance["id"].as_i64().expect("a number"));
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..30).collect::<Vec<_>>());
}

async fn ids_are_returned_unchanged(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    for id in [
        "7",
        "-1",
        "2.50",
        "\"text\"",
        "\"\"",
        "\"q\\\"uote \u{fc}\"",
        "12345678901234567890",
    ] {
        for (message, answer) in [("ping", "pong"), ("refresh", "balance")] {
            ws.send_text(&format!(r#"{{"type":"{message}","id":{id}}}"#))
                .await;
            let frame = ws.next_frame(answer).await;
            assert_eq!(
                frame["id"],
                serde_json::from_str::<Value>(id).expect("JSON"),
                "{message}"
            );
        }
    }
}

async fn the_fifth_bad_message_ends_the_session(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    for bad in ["no json", "[]", r#"{"type":"dance","id":3}"#, r#"{"id":1}"#] {
        ws.send_text(bad).await;
        let error = ws.next_frame("error").await;
        assert_eq!(error["code"], "invalid_message", "{bad}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{error}"
        );
        // Good messages between do not reset the count.
        ws.assert_quiet().await;
    }
    ws.send_text(r#"{"type":"refresh","id":{}}"#).await;
    ws.assert_closed(4500, "bad_messages").await;
    // Each of these is a bad message.
    for bad in [
        r#"{"type":"displayed"}"#,
        r#"{"type":"displayed","version":"1"}"#,
        r#"{"type":"ping","id":[1]}"#,
        r#"{"type":"auth"}"#,
        r#"{"type":7}"#,
        "null",
        "",
        "{\"type\":\"ping\",\"id\":1",
    ] {
        let (mut ws, _) = app.session(1).await;
        ws.send_text(bad).await;
        assert_eq!(
            ws.next_frame("error").await["code"],
            "invalid_message",
            "{bad}"
        );
    }
}

async fn binary_frames_end_the_session(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    ws.send(Message::binary(br#"{"type":"ping","id":1}"#.to_vec()))
        .await;
    ws.assert_closed(1003, "unsupported_data").await;
}

async fn messages_that_are_too_large_end_the_session(database: Database) {
    let app = TestApp::start(database).await;
    let padded = |length: usize| {
        let empty = r#"{"type":"ping","id":""}"#.len();
        format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(length - empty))
    };
    let (mut ws, _) = app.session(1).await;
    ws.send_text(&padded(4096)).await;
    ws.next_frame("pong").await;
    ws.send_text(&padded(4097)).await;
    ws.assert_closed(1009, "message_too_big").await;
    // Also when it arrives in small fragments, or is much larger.
    let (mut ws, _) = app.session(1).await;
    let text = padded(6000).into_bytes();
    ws.send(Message::Frame(Frame::message(
        text[..3000].to_vec(),
        OpCode::Data(Data::Text),
        false,
    )))
    .await;
    ws.send(Message::Frame(Frame::message(
        text[3000..].to_vec(),
        OpCode::Data(Data::Continue),
        true,
    )))
    .await;
    ws.assert_closed(1009, "message_too_big").await;
    let (mut ws, _) = app.session(1).await;
    ws.send_text(&padded(70_000)).await;
    ws.assert_closed(1009, "message_too_big").await;
}

async fn text_that_is_not_utf8_ends_the_session(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    let bytes = b"{\"type\":\"ping\",\"id\":\"\xff\"}".to_vec();
    ws.send(Message::Frame(Frame::message(
        bytes,
        OpCode::Data(Data::Text),
        true,
    )))
    .await;
    ws.assert_closed(1007, "invalid_utf8").await;
}

async fn fragmented_messages_are_whole_messages(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    // Split inside a character, with a control frame between.
    let text = r#"{"type":"ping","id":"ü"}"#.as_bytes();
    let inside = text
        .iter()
        .position(|byte| !byte.is_ascii())
        .expect("there is one")
        + 1;
    ws.send(Message::Frame(Frame::message(
        text[..5].to_vec(),
        OpCode::Data(Data::Text),
        false,
    )))
    .await;
    ws.send(Message::Ping(b"between".to_vec().into())).await;
    ws.send(Message::Frame(Frame::message(
        text[5..inside].to_vec(),
        OpCode::Data(Data::Continue),
        false,
    )))
    .await;
    ws.send(Message::Frame(Frame::message(
        text[inside..].to_vec(),
        OpCode::Data(Data::Continue),
        true,
    )))
    .await;
    assert_eq!(ws.next_frame("pong").await["id"], "ü");
    ws.assert_quiet().await;
}

async fn a_close_is_answered(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    ws.send(Message::Close(None)).await;
    ws.closed().await;
    crate::support::eventually("the session is gone", async || {
        (app.admin("/admin/v1/registry").await.ok()["sessions"] == 0).then_some(())
    })
    .await;
}

async fn a_displayed_version_is_seen_by_the_administrator(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    app.post("deposits", entry("e", 1, "TON", "1")).await.ok();
    assert_eq!(ws.next_frame("balance_update").await["version"], 1);
    ws.send_json(json!({"type": "displayed", "version": 1}))
        .await;
    ws.assert_quiet().await;
    let actor = app.admin("/admin/v1/actors/1").await.ok();
    assert_eq!(actor["sessions"][0]["displayed_version"], 1, "{actor}");
    assert_eq!(actor["sessions"][0]["last_version"], 1, "{actor}");
}

async fn no_message_can_name_another_user(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 2, "theirs", "5").await;
    let (mut ws, _) = app.session(1).await;
    ws.send_json(json!({"type": "refresh", "id": 1, "user_id": 2}))
        .await;
    let crate::support::Event::Frame(frame) = ws.next().await else {
        panic!("no frame")
    };
    assert!(frame["type"] == "error" || frame["user_id"] == 1, "{frame}");
    app.accepted("deposits", 2, "theirs too", "5").await;
    ws.assert_quiet().await;
}
