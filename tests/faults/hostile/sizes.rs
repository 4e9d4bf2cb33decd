//! Limits on sizes and rates that the generated exchanges do not cover.

use std::time::Duration;

use crate::support::{Database, Raw, RawFrame, TestApp, eventually, frame, on_sqlite};

on_sqlite![
    heads_and_urls_have_limits_and_what_is_below_them_is_answered,
    a_frame_is_refused_by_its_header_and_what_follows_costs_no_memory,
    frames_that_say_nothing_count_as_messages,
    the_answers_to_pings_do_not_count_as_messages,
    hostile_input_is_no_error_in_the_log,
];

/// As documented.
const HEADERS_MAX: usize = 96;
const HEAD_BYTES_MAX: usize = 128 * 1024;
const URL_BYTES_MAX: usize = 65_534;

async fn heads_and_urls_have_limits_and_what_is_below_them_is_answered(database: Database) {
    let app = TestApp::start(database).await;
    let request = |url: usize, headers: usize, value: usize| {
        let url = format!("/healthz?{}", "u".repeat(url));
        let more = "X-More: x\r\n".repeat(headers);
        format!(
            "GET {url} HTTP/1.1\r\nHost: x\r\n{more}X-Long: {}\r\n\r\n",
            "v".repeat(value)
        )
    };
    for (what, text, is_answered) in [
        (
            "as many headers as possible",
            request(0, HEADERS_MAX - 2, 1),
            true,
        ),
        ("one header more", request(0, HEADERS_MAX - 1, 1), false),
        ("a thousand headers", request(0, 1000, 1), false),
        ("a long header", request(0, 0, HEAD_BYTES_MAX - 1000), true),
        (
            "a header that is too long",
            request(0, 0, HEAD_BYTES_MAX + 1),
            false,
        ),
        (
            "a header that is far too long",
            request(0, 0, 10 * HEAD_BYTES_MAX),
            false,
        ),
        ("a long URL", request(URL_BYTES_MAX - 100, 0, 1), true),
        (
            "a URL that is too long",
            request(URL_BYTES_MAX + 1, 0, 1),
            false,
        ),
    ] {
        for to in [app.public, app.internal] {
            let mut raw = Raw::connect(to, None, None).await.expect("it connects");
            // Oversized input may be refused before it is completely sent.
            let _ = raw.send(text.as_bytes()).await;
            let answer = raw.answer().await;
            println!("{what}: {:?}", answer.as_ref().map(|answer| answer.status));
            match answer {
                Some(answer) if is_answered => assert_eq!(answer.status, 200, "{what}: {answer:?}"),
                Some(answer) => assert!(
                    [400, 414, 431].contains(&answer.status),
                    "{what}: {answer:?}"
                ),
                // The refusal may be lost while the rest is still being sent.
                None => assert!(!is_answered, "{what}: no answer"),
            }
        }
    }
}

async fn a_frame_is_refused_by_its_header_and_what_follows_costs_no_memory(database: Database) {
    let app = TestApp::on(database).log("info").start().await;
    let mut raw = Raw::open_session(app.public, None, None, 1)
        .await
        .expect("it opens");
    let (_, _) = (
        raw.json().await.expect("hello"),
        raw.json().await.expect("a snapshot"),
    );
    let before = app.resident_bytes().unwrap_or(0);
    let announced = [
        &[0x81, 0x80 | 127][..],
        &(1_u64 << 40).to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    assert!(raw.send(&announced).await);
    assert_eq!(
        raw.frame().await,
        RawFrame::Close(1009, "message_too_big".to_owned())
    );
    let megabyte = vec![0; 1 << 20];
    let mut sent = 0;
    // Bytes may be accepted until the connection has ended.
    while sent < 256 && raw.send(&megabyte).await {
        sent += 1;
    }
    let grown = app.resident_bytes().unwrap_or(0).saturating_sub(before);
    println!(
        "{sent} MiB were taken behind it, {} KiB more memory",
        grown >> 10
    );
    assert!(grown < 16 << 20, "{grown} bytes more");
    eventually("it is gone", async || {
        (app.admin("/admin/v1/registry").await.ok()["sessions"] == 0).then_some(())
    })
    .await;
}

async fn frames_that_say_nothing_count_as_messages(database: Database) {
    let app = TestApp::start(database).await;
    let (empty_start, empty, pong) = (
        frame(0x01, b"", [0; 4]),
        frame(0x00, b"", [0; 4]),
        frame(0x8a, b"", [0; 4]),
    );
    for (what, first, again) in [
        ("empty fragments", &empty_start, &empty),
        ("pongs", &pong, &pong),
    ] {
        let mut raw = Raw::open_session(app.public, None, None, 1)
            .await
            .expect("it opens");
        let (_, _) = (
            raw.json().await.expect("hello"),
            raw.json().await.expect("a snapshot"),
        );
        assert!(raw.send(first).await);
        // Sixty in much less than a second, where twenty are allowed.
        for _ in 0..60 {
            if !raw.send(again).await {
                break;
            }
        }
        let warning = raw
            .json()
            .await
            .unwrap_or_else(|| panic!("{what}: no warning"));
        assert_eq!(warning["code"], "rate_limited", "{what}: {warning}");
        assert_eq!(
            raw.frame().await,
            RawFrame::Close(4429, "too_fast".to_owned()),
            "{what}"
        );
    }
}

async fn the_answers_to_pings_do_not_count_as_messages(database: Database) {
    let app = TestApp::on(database)
        .set("limits.heartbeat_ms", 20)
        .set("limits.ws_messages_per_s", 1)
        .set("limits.ws_messages_burst", 20)
        .start()
        .await;
    let mut raw = Raw::open_session(app.public, None, None, 1)
        .await
        .expect("it opens");
    let mut answered = 0;
    while answered < 200 {
        match raw.frame().await {
            RawFrame::Ping(payload) => {
                assert!(raw.send(&frame(0x8a, &payload, [0; 4])).await);
                answered += 1;
            }
            RawFrame::Text(text) => assert!(!text.contains("error"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

async fn hostile_input_is_no_error_in_the_log(database: Database) {
    let app = TestApp::on(database).log("info").start().await;
    for text in [
        "\u{0}\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut raw = Raw::connect(app.public, None, None)
            .await
            .expect("it connects");
        assert!(raw.send(text.as_bytes()).await);
        assert_eq!(raw.answer().await.expect("an answer").status, 400);
        assert!(raw.ends_within(Duration::from_secs(20)).await);
    }
    let mut raw = Raw::open_session(app.public, None, None, 1)
        .await
        .expect("it opens");
    assert!(
        raw.send(&frame(0x09, b"a fragment of a ping", [0; 4]))
            .await
    );
    assert!(raw.ends_within(Duration::from_secs(20)).await);
    let log = app.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}
