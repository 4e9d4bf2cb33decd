//! How HTTP itself is spoken: `HEAD`, kept connections, versions, and bodies that are not wanted.

use std::time::Duration;

use serde_json::json;

use super::listeners::raw;
use super::routes::{BOTH, DEVELOPMENT, INTERNAL, PUBLIC};
use crate::entry;
use crate::support::{
    ADMIN_TOKEN, Database, Raw, TestApp, WEBHOOK_SECRET, eventually, now_s, on_sqlite, sign, token,
    upgrade_request,
};

on_sqlite![
    every_get_answers_head_with_the_same_head_and_no_body,
    the_pages_of_development_answer_head_too,
    a_kept_connection_outlasts_the_pauses_of_proxies,
    a_kept_connection_ends_after_its_setting,
    http_1_0_is_refused_a_session,
    unfinished_bodies_have_bounded_memory,
    no_body_is_read_for_headers_that_can_not_sign_it,
];

/// The value of a header, in an answer as it was received.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Asserts that both methods get the same answer, except for the body.
async fn assert_head(to: std::net::SocketAddr, path: &str, bearer: &str) {
    let (status, got) = raw(to, "GET", path, bearer, "").await;
    // The stream without an end would never be read to its end.
    let path = path.trim_end_matches("?snapshots=1");
    let (head_status, head) = raw(to, "HEAD", path, bearer, "").await;
    assert_eq!(head_status, status, "{path}: {head}");
    assert!(head.ends_with("\r\n\r\n"), "{path} has a body: {head}");
    for name in [
        "content-type",
        "etag",
        "cache-control",
        "transfer-encoding",
        "vary",
    ] {
        assert_eq!(header(&head, name), header(&got, name), "{name} of {path}");
    }
    let has_length = |answer| header(answer, "content-length").is_some_and(|text| text != "0");
    assert_eq!(has_length(&head), has_length(&got), "{path}: {head}");
}

async fn every_get_answers_head_with_the_same_head_and_no_body(database: Database) {
    let app = TestApp::start(database).await;
    let mut asked = 0;
    for (listener, routes, bearer) in [
        (app.public, [BOTH, PUBLIC], token(7)),
        (app.internal, [BOTH, INTERNAL], ADMIN_TOKEN.to_owned()),
    ] {
        for (method, path) in routes.concat() {
            if method != "GET" {
                let (status, answer) = raw(listener, "HEAD", path, &bearer, "").await;
                assert_eq!(status, 405, "{path}: {answer}");
                continue;
            }
            let path = match path {
                "/admin/v1/live" => "/admin/v1/live?snapshots=1",
                path => path,
            };
            assert_head(listener, path, &bearer).await;
            // Refusals have no body either.
            let (status, answer) = raw(listener, "HEAD", &format!("{path}/x"), "x", "").await;
            assert!(status == 404 || status == 401, "{path}/x: {answer}");
            assert!(answer.ends_with("\r\n\r\n"), "{path}/x: {answer}");
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked} paths were asked");
    // A kept connection stays in step: what follows HEAD is the next answer.
    let mut peer = Raw::connect(app.public, None, None)
        .await
        .expect("it connects");
    let head = b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let get = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(peer.send(&[&head[..], &get[..]].concat()).await);
    let answers = String::from_utf8(peer.until_end().await).expect("text");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(answers.matches("\"status\"").count(), 1, "{answers}");
    // Some clients ask for an upgrade to HTTP/2 beside it, as `curl -I` does.
    let upgrade = "Upgrade: h2c\r\nConnection: Upgrade\r\n";
    let (status, answer) = raw(app.public, "HEAD", "/healthz", "", upgrade).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(
        header(&answer, "content-length").is_some_and(|text| text != "0"),
        "{answer}"
    );
    // The listeners of the stream are free again: HEAD took no place for longer than its answer.
    for _ in 0..40 {
        let (status, _) = raw(app.internal, "HEAD", "/admin/v1/live", ADMIN_TOKEN, "").await;
        assert_eq!(status, 200);
    }
}

async fn the_pages_of_development_answer_head_too(database: Database) {
    let app = TestApp::on(database).dev().start().await;
    for (method, path) in DEVELOPMENT {
        if *method == "GET" && *path != "/dev/v1/token" {
            assert_head(app.public, path, "").await;
        }
    }
}

const READ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

async fn a_kept_connection_outlasts_the_pauses_of_proxies(database: Database) {
    let app = TestApp::start(database).await;
    let kept = async |to| {
        let mut peer = Raw::connect(to, None, None).await.expect("it connects");
        for pause_s in [6, 17] {
            assert!(peer.send(READ).await);
            let answer = peer.answer().await.expect("an answer");
            assert_eq!(answer.status, 200);
            assert!(
                answer.head.contains("keep-alive: timeout=75\r\n"),
                "{}",
                answer.head
            );
            // Longer than the time for a first head, and than that for a later one.
            let has_ended = peer.ends_within(Duration::from_secs(pause_s)).await;
            assert!(!has_ended, "closed within {pause_s} s");
        }
        assert!(peer.send(READ).await);
        assert_eq!(peer.answer().await.expect("an answer").status, 200);
    };
    let silent = async |to| {
        let mut peer = Raw::connect(to, None, None).await.expect("it connects");
        // It waits at most PATIENCE, much less than a kept connection may take.
        let answer = String::from_utf8(peer.until_end().await).expect("text");
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    };
    tokio::join!(
        kept(app.public),
        kept(app.internal),
        silent(app.public),
        silent(app.internal)
    );
    let (_, closing) = raw(app.public, "GET", "/healthz", "", "").await;
    assert_eq!(header(&closing, "keep-alive"), None, "{closing}");
}

async fn a_kept_connection_ends_after_its_setting(database: Database) {
    let app = TestApp::on(database)
        .set("server.keep_alive_s", 1)
        .start()
        .await;
    let mut peer = Raw::connect(app.public, None, None)
        .await
        .expect("it connects");
    for _ in 0..2 {
        assert!(peer.send(READ).await);
        let answer = peer.answer().await.expect("an answer");
        assert!(
            answer.head.contains("keep-alive: timeout=1\r\n"),
            "{}",
            answer.head
        );
    }
    let rest = peer.until_end().await;
    assert_eq!(String::from_utf8(rest).expect("text"), "");
}

async fn http_1_0_is_refused_a_session(database: Database) {
    let app = TestApp::start(database).await;
    let bearer = format!("Authorization: Bearer {}\r\n", token(1));
    let request = upgrade_request(&bearer);
    let mut old = Raw::connect(app.public, None, None)
        .await
        .expect("it connects");
    assert!(
        old.send(request.replace("HTTP/1.1", "HTTP/1.0").as_bytes())
            .await
    );
    let answer = old.answer().await.expect("an answer");
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (426, "upgrade_required")
    );
    assert!(old.until_end().await.is_empty(), "nothing follows");
    // Nor does HEAD open one.
    let mut head = Raw::connect(app.public, None, None)
        .await
        .expect("it connects");
    assert!(head.send(request.replace("GET", "HEAD").as_bytes()).await);
    let answer = String::from_utf8(head.until_end().await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 426"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    Raw::open_session(app.public, None, None, 1)
        .await
        .expect("HTTP/1.1 opens one");
    let registry = app.admin("/admin/v1/registry").await.ok();
    assert!(registry["sessions"].as_u64() <= Some(1), "{registry}");
}

/// The head of a webhook whose signature could be right, for a body of this length.
fn head_of(path: &str, length: usize) -> String {
    let (id, now) = ("msg_1", now_s().to_string());
    let signature = sign(WEBHOOK_SECRET, id, &now, b"another body");
    format!(
        "POST /internal/v1/{path} HTTP/1.1\r\nHost: x\r\nwebhook-id: {id}\r\nwebhook-timestamp: {now}\r\n\
         webhook-signature: {signature}\r\nContent-Length: {length}\r\n\r\n"
    )
}

async fn unfinished_bodies_have_bounded_memory(database: Database) {
    // 64 of them use up the 64 MiB.
    const LENGTH: usize = 1 << 20;
    const PEERS: usize = 600;
    let app = TestApp::on(database)
        .set("limits.body_bytes", LENGTH as u32)
        .set("limits.batch_body_bytes", LENGTH as u32)
        .log("info")
        .start()
        .await;
    let before = app.resident_bytes().unwrap_or(0);
    let body = vec![b' '; LENGTH - 1];
    let endless = (0..PEERS).map(|n| {
        let (app, body) = (&app, &body);
        async move {
            let path = ["deposits", "rewards", "batch", "tokens"][n % 4];
            let mut peer = Raw::connect(app.internal, None, None)
                .await
                .expect("it connects");
            assert!(peer.send(head_of(path, LENGTH).as_bytes()).await);
            // The service need not read the rest of a refused body.
            peer.send(body).await;
            peer
        }
    });
    let mut peers = futures_util::future::join_all(endless).await;
    let full = eventually("those without room are refused", async || {
        let metrics = app.metrics().await;
        let refused = metrics.samples.iter().filter(|(name, _)| {
            name.starts_with("http_requests_total") && name.contains("status=\"503\"")
        });
        let refused: f64 = refused.map(|(_, count)| *count).sum();
        (refused >= (PEERS - 64) as f64).then_some(refused)
    })
    .await;
    let grown = app.resident_bytes().unwrap_or(0).saturating_sub(before);
    // Beside the 64 MiB, the allocator keeps what bodies grew out of (as much again), and each connection has buffers
    // (some 150 KiB).
    assert!(
        grown < (PEERS as u64) * (LENGTH as u64) * 2 / 3,
        "{} MiB more, with {full} refused",
        grown >> 20
    );
    eventually("a refusal is read", async || {
        for peer in &mut peers {
            let _ = peer.ends_within(Duration::from_millis(1)).await;
            // A reset may overtake the answer.
            let answer = peer.take_received();
            if answer.contains("\"overloaded\"") {
                assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
                return Some(());
            }
        }
        None
    })
    .await;
    drop(peers);
    eventually("the room of those who went is given back", async || {
        let large = entry("e", 1, "TON", "1");
        let padded = format!("{}{}", large, " ".repeat(LENGTH / 2));
        let request = crate::support::Signed::post("/internal/v1/deposits", &large).body(padded);
        (app.send(request).await.status == 200).then_some(())
    })
    .await;
}

async fn no_body_is_read_for_headers_that_can_not_sign_it(database: Database) {
    let app = TestApp::start(database).await;
    let good = head_of("deposits", 60_000);
    let line = |name: &str| {
        let line = good.lines().find(|line| line.starts_with(name));
        format!("{}\r\n", line.expect("it is there"))
    };
    for path in ["deposits", "batch", "tokens"] {
        let good = head_of(path, 60_000);
        for (spoiled, code) in [
            (good.replace(&line("webhook-id"), ""), "missing_signature"),
            (
                good.replace("webhook-id: msg_1", "webhook-id:"),
                "invalid_signature",
            ),
            (good.replace("v1,", "v2,"), "invalid_signature"),
        ] {
            let mut peer = Raw::connect(app.internal, None, None)
                .await
                .expect("it connects");
            // The answer comes without one byte of the body.
            assert!(peer.send(spoiled.as_bytes()).await);
            let answer = peer.answer().await.expect("an answer");
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, code),
                "{spoiled}"
            );
        }
        let mut peer = Raw::connect(app.internal, None, None)
            .await
            .expect("it connects");
        let too_long = head_of(path, 17 << 20);
        assert!(peer.send(too_long.as_bytes()).await);
        let answer = peer.answer().await.expect("an answer");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (413, "body_too_large")
        );
    }
    let deposit = app.post("deposits", entry("e", 1, "TON", "1")).await.ok();
    assert_eq!(deposit["version"], json!(1));
}
