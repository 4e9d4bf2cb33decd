//! Slow peers: each is cut off after a bounded time. That takes real seconds, so all run side by
//! side.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{
    Database, Raw, RawFrame, TestApp, WEBHOOK_SECRET, frame, now_s, on_sqlite, sign,
    upgrade_request,
};

on_sqlite![a_silent_or_slow_peer_is_cut_off];

/// Documented limits in seconds: the head of a first request, of a later one, and a body.
const FIRST_HEAD_S: u64 = 5;
/// `server.keep_alive_s`
const KEEP_ALIVE_S: u64 = 5;
const LATER_HEAD_S: u64 = 15;
const BODY_S: u64 = 30;
/// Allowance for a busy machine.
const MARGIN_S: u64 = 10;
/// Time between two bytes of a slow peer.
const PAUSE: Duration = Duration::from_millis(250);

const READ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
/// A session without a handshake.
const NO_HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n";

/// A slow peer.
struct Slow {
    what: &'static str,
    to: SocketAddr,
    /// Sent at once; a complete request is answered before the slow part.
    before: Vec<u8>,
    /// Sent a byte at a time, repeatedly; nothing when empty.
    drips: &'static [u8],
    gone_after_s: u64,
    /// Expected text of the answer, if there is one.
    answer: &'static str,
}

async fn a_silent_or_slow_peer_is_cut_off(database: Database) {
    let app = TestApp::on(database)
        .set("server.keep_alive_s", KEEP_ALIVE_S as u32)
        .set("limits.body_bytes", 1 << 20)
        .set("limits.auth_timeout_ms", 2000)
        .set("limits.heartbeat_ms", 1000)
        .set("limits.idle_timeout_ms", 4000)
        .start()
        .await;
    let sockets = app.open_sockets();
    let mut all = Vec::new();
    for to in [app.public, app.internal] {
        let slow = |what, before: &[u8], drips, gone_after_s, answer| Slow {
            what,
            to,
            before: before.to_vec(),
            drips,
            gone_after_s,
            answer,
        };
        all.push(slow(
            "sends nothing",
            b"",
            b"",
            FIRST_HEAD_S,
            "HTTP/1.1 408",
        ));
        all.push(slow(
            "sends a first head slowly",
            b"",
            b"x",
            FIRST_HEAD_S,
            "HTTP/1.1 408",
        ));
        all.push(slow(
            "sends an endless header slowly",
            b"GET / HTTP/1.1\r\nX: ",
            b"x",
            FIRST_HEAD_S,
            "HTTP/1.1 408",
        ));
        all.push(slow("asks once and stays", READ, b"", KEEP_ALIVE_S, ""));
        all.push(slow(
            "asks once and sends a second head slowly",
            READ,
            b"x",
            LATER_HEAD_S,
            "",
        ));
        all.push(slow(
            "is refused a session and sends a second head slowly",
            NO_HANDSHAKE,
            b"x",
            LATER_HEAD_S,
            "",
        ));
    }
    all.extend(slow_bodies(app.internal));
    let (requests, unsigned, signed) = tokio::join!(
        join_all(all.into_iter().map(be_slow)),
        slow_session(&app, None, 4501, "unauthenticated"),
        slow_session(&app, Some(1), 4408, "heartbeat_lost"),
    );
    for line in requests {
        println!("{line}");
    }
    println!(
        "a session that never signs in: {unsigned:.1?}; one that sends a frame slowly: {signed:.1?}"
    );
    crate::support::eventually("their sockets are closed", async || {
        (app.open_sockets() <= sockets.map(|before| before + 8)).then_some(())
    })
    .await;
    assert_eq!(app.entries(7).await.len(), 0);
    app.accepted("deposits", 7, "after", "1").await;
}

fn slow_bodies(to: SocketAddr) -> Vec<Slow> {
    let (length, chunked) = (
        "Content-Length: 100000\r\n",
        "Transfer-Encoding: chunked\r\n",
    );
    let (chunk, too_slow) = (&b"1\r\n \r\n"[..], "\"code\":\"request_timeout\"");
    let slow = |what, more: &str, drips, gone_after_s, answer| Slow {
        what,
        to,
        before: signed_head(more),
        drips,
        gone_after_s,
        answer,
    };
    let mut too_large = slow(
        "sends unwanted chunks",
        chunked,
        chunk,
        LATER_HEAD_S,
        "body_too_large",
    );
    too_large
        .before
        .extend(format!("{:x}\r\n{}\r\n", (1 << 20) + 1, " ".repeat((1 << 20) + 1)).bytes());
    vec![
        slow("sends a body slowly", length, b" ", BODY_S, too_slow),
        slow("sends no body", length, b"", BODY_S, too_slow),
        slow(
            "waits to be asked for the body",
            &format!("{length}Expect: 100-continue\r\n"),
            b"",
            BODY_S,
            too_slow,
        ),
        // The rest of a chunked body is read and discarded for a while.
        slow(
            "sends chunks slowly",
            chunked,
            chunk,
            BODY_S + LATER_HEAD_S,
            too_slow,
        ),
        too_large,
    ]
}

async fn be_slow(slow: Slow) -> String {
    let mut raw = Raw::connect(slow.to, None, None)
        .await
        .expect("it connects");
    if !slow.before.is_empty() {
        assert!(raw.send(&slow.before).await);
    }
    if slow.before == READ || slow.before == NO_HANDSHAKE {
        let status = raw.answer().await.expect("an answer").status;
        assert!(matches!(status, 200 | 404 | 426), "{status}");
    }
    let start = Instant::now();
    let mut drips = slow.drips.iter().cycle();
    while !raw.ends_within(PAUSE).await {
        if let Some(byte) = drips.next() {
            // Ignore errors: the connection is ending.
            raw.send_some(&[*byte]);
        }
        let limit = Duration::from_secs(slow.gone_after_s + MARGIN_S);
        assert!(
            start.elapsed() < limit,
            "a peer that {} is connected after {limit:?}",
            slow.what
        );
    }
    let took = start.elapsed();
    let answer = raw.take_received();
    // A reset may overtake the answer.
    assert!(
        answer.is_empty() || answer.contains(slow.answer),
        "a peer that {}: {answer}",
        slow.what
    );
    format!(
        "a peer that {} is gone after {took:.1?}: {}",
        slow.what,
        answer.lines().next().unwrap_or_default()
    )
}

/// A session that sends a frame a byte at a time and never completes it.
async fn slow_session(app: &TestApp, user_id: Option<u64>, code: u16, reason: &str) -> Duration {
    let start = Instant::now();
    let mut raw = match user_id {
        Some(user_id) => Raw::open_session(app.public, None, None, user_id)
            .await
            .expect("it opens"),
        None => {
            let mut raw = Raw::connect(app.public, None, None)
                .await
                .expect("it connects");
            assert!(raw.send(upgrade_request("").as_bytes()).await);
            assert_eq!(raw.answer().await.expect("an answer").status, 101);
            raw
        }
    };
    for byte in frame(0x81, &[b' '; 4000], [0; 4]) {
        if raw.ends_within(PAUSE).await {
            break;
        }
        raw.send_some(&[byte]);
    }
    for _ in 0..100 {
        match raw.frame().await {
            RawFrame::Close(found_code, found_reason) => {
                assert_eq!((found_code, &*found_reason), (code, reason));
                return start.elapsed();
            }
            RawFrame::End => panic!("no close frame with {code}"),
            _ => {}
        }
    }
    panic!("never closed with {code}");
}

fn signed_head(more: &str) -> Vec<u8> {
    let body =
        json!({"event_id": "slow", "user_id": 7, "currency": "TON", "amount": "1"}).to_string();
    let now = now_s().to_string();
    let signature = sign(WEBHOOK_SECRET, "slow", &now, body.as_bytes());
    format!(
        "POST /internal/v1/deposits HTTP/1.1\r\nHost: x\r\nwebhook-id: slow\r\nwebhook-timestamp: {now}\r\n\
         webhook-signature: {signature}\r\n{more}\r\n"
    )
    .into_bytes()
}
