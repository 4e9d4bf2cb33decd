//! The limits of sessions: message rate, number, silence.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Database, Event, TestApp, on_sqlite, token};

on_sqlite![
    a_session_that_sends_too_fast_is_warned_once_and_closed_by_4429,
    within_its_burst_a_session_may_send_as_it_likes,
    the_seventeenth_session_closes_the_oldest,
    beyond_the_session_limit_upgrades_are_refused_until_one_ends,
    a_silent_peer_is_closed_by_4408,
    a_peer_that_answers_pings_stays,
    a_peer_that_stops_reading_costs_bounded_memory_and_delays_no_other,
    a_peer_that_asks_and_never_reads_is_cut_off,
    a_stopping_server_closes_sessions_by_1001,
    an_administrator_closes_a_users_sessions_by_4510,
];

async fn a_session_that_sends_too_fast_is_warned_once_and_closed_by_4429(database: Database) {
    let app = TestApp::on(database)
        .set("limits.ws_messages_burst", 5)
        .set("limits.ws_messages_per_s", 1)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    for id in 0..40 {
        // The server may have closed already.
        if !ws
            .try_send(Message::text(json!({"type": "ping", "id": id}).to_string()))
            .await
        {
            break;
        }
    }
    let (mut pongs, mut errors) = (0, 0);
    for _ in 0..100 {
        match ws.next().await {
            Event::Frame(frame) if frame["type"] == "pong" => pongs += 1,
            Event::Frame(frame) => {
                assert_eq!(
                    (&frame["type"], &frame["code"]),
                    (&json!("error"), &json!("rate_limited")),
                    "{frame}"
                );
                // The messages before it were answered in their order.
                assert_eq!(frame["id"], pongs, "{frame}");
                let retry_after_ms = frame["retry_after_ms"].as_u64().unwrap_or(0);
                assert!((1..=1000).contains(&retry_after_ms), "{frame}");
                errors += 1;
            }
            Event::Closed { code, reason } => {
                assert_eq!((code, reason.as_str()), (4429, "too_fast"));
                assert_eq!(errors, 1);
                assert!((5..40).contains(&pongs), "{pongs}");
                return;
            }
            Event::Broken => panic!("the connection broke without a close frame"),
        }
    }
    panic!("never closed");
}

async fn within_its_burst_a_session_may_send_as_it_likes(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    for id in 0..40 {
        ws.send_json(json!({"type": "ping", "id": id})).await;
    }
    for id in 0..40 {
        assert_eq!(ws.next_frame("pong").await["id"], id);
    }
}

async fn the_seventeenth_session_closes_the_oldest(database: Database) {
    let app = TestApp::start(database).await;
    let (mut oldest, _) = app.session(1).await;
    let mut others = Vec::new();
    for _ in 0..15 {
        others.push(app.session(1).await.0);
    }
    oldest.assert_quiet().await;
    let (mut newest, _) = app.session(1).await;
    oldest.assert_closed(4509, "too_many_sessions").await;
    let (mut stranger, _) = app.session(2).await;
    app.accepted("deposits", 1, "d", "1").await;
    for ws in others.iter_mut().chain([&mut newest]) {
        assert_eq!(ws.next_frame("balance_update").await["version"], 1);
    }
    stranger.assert_quiet().await;
}

async fn beyond_the_session_limit_upgrades_are_refused_until_one_ends(database: Database) {
    let app = TestApp::on(database)
        .set("limits.sessions", 3)
        .start()
        .await;
    let mut open = Vec::new();
    for user_id in 1..=3 {
        open.push(app.session(user_id).await.0);
    }
    let bearer = format!("Bearer {}", token(4));
    let Err(refused) = app.try_ws(&[("authorization", &bearer)]).await else {
        panic!("a fourth was let in")
    };
    refused.problem(503, "overloaded");
    open.pop().expect("three are open").close().await;
    crate::support::eventually("there is room again", async || {
        app.try_ws(&[("authorization", &bearer)]).await.ok()
    })
    .await
    .next_frame("hello")
    .await;
}

async fn a_silent_peer_is_closed_by_4408(database: Database) {
    let app = TestApp::on(database)
        .set("limits.heartbeat_ms", 50)
        .set("limits.idle_timeout_ms", 300)
        .start()
        .await;
    let mut peer = app.silent_peer(1).await;
    // It receives pings and does not answer.
    let mut pings = 0;
    for _ in 0..1000 {
        match peer.next().await {
            Some((9, _)) => pings += 1,
            Some((8, payload)) => {
                assert!(pings > 0, "closed without ever being pinged");
                assert_eq!(u16::from_be_bytes([payload[0], payload[1]]), 4408);
                assert_eq!(&payload[2..], b"heartbeat_lost");
                return;
            }
            Some((1, _)) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("never closed");
}

async fn a_peer_that_answers_pings_stays(database: Database) {
    let app = TestApp::on(database)
        .set("limits.heartbeat_ms", 100)
        .set("limits.idle_timeout_ms", 3000)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    // Reading answers the pings; five seconds exceed the allowed silence.
    for _ in 0..50 {
        assert!(ws.next_within(Duration::from_millis(100)).await.is_none());
    }
    ws.assert_quiet().await;
}

async fn a_peer_that_stops_reading_costs_bounded_memory_and_delays_no_other(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.direct_interval_ms", 0)
        .set("limits.write_timeout_ms", 1000)
        .set("limits.heartbeat_ms", 200)
        .set("limits.idle_timeout_ms", 1000)
        .log("info")
        .start()
        .await;
    let _deaf = app.silent_peer(1).await;
    let (mut reader, _) = app.session(1).await;
    let before = app.resident_bytes().unwrap_or(0);
    let mut last = 0;
    for n in 1..=300_u64 {
        let version = app.accepted("deposits", 1, &format!("e{n}"), "1").await["version"]
            .as_u64()
            .expect("a number");
        assert_eq!(version, n);
        while last < version {
            let update = reader.next_frame("balance_update").await;
            last = update["version"].as_u64().expect("a number");
        }
    }
    let grown = app.resident_bytes().unwrap_or(0).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    // The session that does not read is cut off, the other one stays.
    crate::support::eventually("only the reader is left", async || {
        // Reading answers the pings.
        let frame = reader.next_within(Duration::from_millis(50)).await;
        assert!(frame.is_none(), "{frame:?}");
        (app.admin("/admin/v1/registry").await.ok()["sessions"] == 1).then_some(())
    })
    .await;
}

async fn a_peer_that_asks_and_never_reads_is_cut_off(database: Database) {
    let app = TestApp::on(database)
        .set("limits.ws_messages_per_s", 100_000)
        .set("limits.ws_messages_burst", 100_000)
        .set("limits.write_timeout_ms", 1000)
        .log("info")
        .start()
        .await;
    let (mut reader, _) = app.session(1).await;
    let before = app.resident_bytes().unwrap_or(0);
    let mut deaf = app.silent_peer(1).await;
    let ping = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(4000));
    // 80 MB of answers, more than the kernel's buffers: at some point the server stops reading its
    // messages.
    let sent = deaf.send_until_refused(ping.as_bytes(), 20_000).await;
    let grown = app.resident_bytes().unwrap_or(0).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more after {sent} messages");
    crate::support::eventually("only the reader is left", async || {
        (app.admin("/admin/v1/registry").await.ok()["sessions"] == 1).then_some(())
    })
    .await;
    assert!(sent < 20_000, "all was taken");
    app.accepted("deposits", 1, "d", "1").await;
    assert_eq!(reader.next_frame("balance_update").await["version"], 1);
}

async fn an_administrator_closes_a_users_sessions_by_4510(database: Database) {
    let app = TestApp::start(database).await;
    let (mut first, mut second) = (app.session(1).await.0, app.session(1).await.0);
    let mut other = app.session(2).await.0;
    assert_eq!(
        app.admin_post("/admin/v1/actors/1/disconnect").await.status,
        204
    );
    for ws in [&mut first, &mut second] {
        ws.assert_closed(4510, "closed_by_administrator").await;
    }
    app.accepted("deposits", 2, "d", "1").await;
    assert_eq!(other.next_frame("balance_update").await["version"], 1);
}

async fn a_stopping_server_closes_sessions_by_1001(database: Database) {
    let mut app = TestApp::start(database).await;
    let mut sessions = Vec::new();
    for user_id in 1..=5 {
        sessions.push(app.session(user_id).await.0);
    }
    let waiting = app.ws(&[]).await;
    sessions.push(waiting);
    app.signal("TERM");
    for ws in &mut sessions {
        ws.assert_closed(1001, "going_away").await;
    }
    assert_eq!(app.wait().await.code(), Some(0));
}
