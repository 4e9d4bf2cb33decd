//! Crowds of idle connections up to the limit of open files, and answers that are not read.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Database, Raw, TestApp, WEBHOOK_SECRET, eventually, now_s, on_sqlite, sign};

on_sqlite![
    beyond_the_systems_file_limit_sessions_live_on_and_others_wait_for_a_few_seconds,
    unread_answers_are_given_up,
];

/// Files that the service may open in addition.
const FILES_LEFT: usize = 60;
/// Idle connections.
const CROWD: usize = 80;
/// As documented, a connection whose last answer is not read ends after 15 s; the rest is for a
/// busy machine.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(15 + 15);

async fn beyond_the_systems_file_limit_sessions_live_on_and_others_wait_for_a_few_seconds(
    database: Database,
) {
    let app = TestApp::on(database).log("info").start().await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "before", "1").await;
    assert_eq!(ws.next_frame("balance_update").await["version"], 1);
    let files = app.open_files().expect("a system with /proc");
    let limit = format!("--nofile={0}:{0}", files + FILES_LEFT);
    let status = Command::new("prlimit")
        .args(["--pid", &app.process_id().to_string(), &limit])
        .status();
    assert!(status.expect("prlimit runs").success());

    let connecting = (0..CROWD).map(|_| Raw::connect(app.public, None, None));
    let mut crowd: Vec<Raw> = join_all(connecting)
        .await
        .into_iter()
        .map(|raw| raw.expect("it connects"))
        .collect();
    let start = Instant::now();
    // Each over its own new connection.
    for n in 2..=6 {
        let answer = app
            .accepted("deposits", 1, &format!("beside:{n}"), "1")
            .await;
        assert_eq!(answer["version"], n);
        assert_eq!(ws.next_frame("balance_update").await["version"], n);
        let (late, _) = app.session(2).await;
        late.close().await;
        println!("{n}: let in and served after {:.1?}", start.elapsed());
    }
    let ended = join_all(
        crowd
            .iter_mut()
            .map(|raw| raw.ends_within(Duration::from_secs(60))),
    )
    .await;
    assert!(
        ended.iter().all(|is_over| *is_over),
        "the whole crowd is sent away"
    );
    println!("the crowd of {CROWD} is gone after {:.1?}", start.elapsed());
    ws.assert_quiet().await;
    let log = app.log();
    assert!(!log.contains("panicked"));
    assert!(
        log.lines().count() < 1000,
        "{} lines in the log",
        log.lines().count()
    );
    app.assert_ledger_holds();
}

async fn unread_answers_are_given_up(database: Database) {
    let app = TestApp::on(database).log("info").start().await;
    let text = "x".repeat(4000);
    let items: Vec<Value> = (0..1000)
        .map(|n| {
            json!({"kind": "reward", "event_id": format!("large:{n}"), "user_id": 1, "currency": "TON", "amount": "1",
                "metadata": {"text": text}})
        })
        .collect();
    assert_eq!(app.batch(json!(items)).await.ok()["accepted"], 1000);
    let sockets = app.open_sockets();
    let now = now_s().to_string();
    let signature = sign(WEBHOOK_SECRET, "unread", &now, b"");
    let request = format!(
        "GET /internal/v1/users/1/entries?limit=1000 HTTP/1.1\r\nHost: x\r\nwebhook-id: unread\r\n\
         webhook-timestamp: {now}\r\nwebhook-signature: {signature}\r\n\r\n"
    );
    let mut unread = Vec::new();
    for _ in 0..10 {
        let mut raw = Raw::connect(app.internal, None, Some(1))
            .await
            .expect("it connects");
        assert!(raw.send(request.as_bytes()).await);
        unread.push(raw);
    }
    let start = Instant::now();
    eventually("they are being answered", async || {
        (app.open_sockets() > sockets).then_some(())
    })
    .await;
    while app.open_sockets() > sockets.map(|before| before + 2) {
        assert!(
            start.elapsed() < GIVEN_UP_WITHIN,
            "still open: {:?}, before {sockets:?}",
            app.open_sockets()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "unread answers of 4 MB are given up after {:.1?}",
        start.elapsed()
    );
    drop(unread);
    app.accepted("deposits", 1, "after", "1").await;
}
