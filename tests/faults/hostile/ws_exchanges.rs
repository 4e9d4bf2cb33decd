//! Runs generated WebSocket exchanges and checks the answers, session after session.

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::support::{Raw, RawFrame, TestApp, frame, upgrade_request};

use super::source;
use super::ws_model::{After, Exchange, Expected, Session};
use super::{ws_frames, ws_messages};

/// The most exchanges of one session.
const PER_SESSION_MAX: usize = 40;

/// Opens one session and runs at most `left` exchanges; returns how many.
pub async fn session(app: &TestApp, rng: &mut StdRng, peer: usize, left: usize) -> usize {
    let user_id = 1000 + peer as u64 * 10;
    let from = Some(source(peer));
    let is_signed_in = rng.random_bool(0.8);
    let mut raw = if is_signed_in {
        Raw::open_session(app.public, from, None, user_id)
            .await
            .expect("it opens")
    } else {
        let mut raw = Raw::connect(app.public, from, None)
            .await
            .expect("it connects");
        assert!(raw.send(upgrade_request("").as_bytes()).await);
        assert_eq!(raw.answer().await.expect("an answer").status, 101);
        raw
    };
    if is_signed_in {
        check(&mut raw, &Expected::Greeting, user_id, "opening").await;
    }
    let mut session = Session::new(user_id, is_signed_in);
    for count in 1..=left.min(PER_SESSION_MAX) {
        let is_about_frames = rng.random_bool(0.4);
        let exchange = if is_about_frames {
            ws_frames::exchange(rng, &mut session)
        } else {
            ws_messages::exchange(rng, &mut session)
        };
        // An exchange without an answer is verified by the next answer.
        let is_last = exchange.is_last();
        raw = match carry_out(raw, exchange, &session).await {
            Some(raw) => raw,
            None => return count,
        };
        assert!(!is_last, "the session goes on");
    }
    raw.reset();
    left.min(PER_SESSION_MAX)
}

/// Runs one exchange; returns the connection when it stays open.
async fn carry_out(mut raw: Raw, exchange: Exchange, session: &Session) -> Option<Raw> {
    for piece in &exchange.writes {
        // Ignore errors: the peer may have closed.
        if !raw.send(piece).await {
            break;
        }
    }
    match exchange.after {
        After::Listens => {}
        After::SendsNoMore => raw.finish().await,
        After::Resets => {
            raw.reset();
            return None;
        }
    }
    let is_last = exchange.is_last();
    for expected in &exchange.expected {
        check(&mut raw, expected, session.user_id, exchange.name).await;
    }
    if is_last {
        return None;
    }
    if session.is_signed_in && exchange.expected.is_empty() {
        assert!(
            raw.send(&frame(
                0x81,
                br#"{"type":"ping","id":"there?"}"#,
                [1, 2, 3, 4]
            ))
            .await
        );
        check(
            &mut raw,
            &Expected::Pong(Some("\"there?\"".to_owned())),
            session.user_id,
            exchange.name,
        )
        .await;
    }
    Some(raw)
}

async fn check(raw: &mut Raw, expected: &Expected, user_id: u64, name: &str) {
    match expected {
        Expected::Invalid => {
            let frame = text(raw, name).await;
            let frame = parse(&frame, name);
            assert_eq!(
                (&frame["type"], &frame["code"]),
                (&"error".into(), &"invalid_message".into()),
                "{name}: {frame}"
            );
        }
        Expected::Pong(id) => {
            let frame = text(raw, name).await;
            let id = id
                .as_ref()
                .map_or(String::new(), |id| format!(r#","id":{id}"#));
            assert_eq!(frame, format!(r#"{{"type":"pong"{id}}}"#), "{name}");
        }
        Expected::Refreshed(id) => {
            let frame = parse(&text(raw, name).await, name);
            let id: Value = id
                .as_ref()
                .map_or(Value::Null, |id| serde_json::from_str(id).expect("JSON"));
            assert_eq!(
                (&frame["reason"], &frame["id"]),
                (&"refresh".into(), &id),
                "{name}: {frame}"
            );
            assert_eq!(
                (&frame["user_id"], &frame["version"]),
                (&user_id.into(), &0.into()),
                "{name}: {frame}"
            );
        }
        Expected::Greeting => {
            let hello = parse(&text(raw, name).await, name);
            assert_eq!(
                (&hello["type"], &hello["user_id"]),
                (&"hello".into(), &user_id.into()),
                "{name}: {hello}"
            );
            let snapshot = parse(&text(raw, name).await, name);
            assert_eq!(snapshot["reason"], "snapshot", "{name}: {snapshot}");
            assert_eq!(
                (&snapshot["user_id"], &snapshot["version"]),
                (&user_id.into(), &0.into()),
                "{name}: {snapshot}"
            );
        }
        Expected::PongFrame(payload) => {
            assert_eq!(raw.frame().await, RawFrame::Pong(payload.clone()), "{name}");
        }
        Expected::Closed(allowed) => {
            let RawFrame::Close(code, reason) = raw.frame().await else {
                panic!("{name}: no close frame")
            };
            assert!(
                allowed.contains(&(code, &*reason)),
                "{name}: {code} {reason}, allowed {allowed:?}"
            );
            end(raw, name).await;
        }
        Expected::End => end(raw, name).await,
    }
}

/// Only the end is left. Without our own close, the server would wait a second for it.
async fn end(raw: &mut Raw, name: &str) {
    raw.finish().await;
    for _ in 0..100 {
        if raw.frame().await == RawFrame::End {
            return;
        }
    }
    panic!("{name}: the connection goes on");
}

async fn text(raw: &mut Raw, name: &str) -> String {
    match raw.frame().await {
        RawFrame::Text(text) => text,
        other => panic!("{name}: {other:?}"),
    }
}

fn parse(text: &str, name: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error} in {text}"))
}
