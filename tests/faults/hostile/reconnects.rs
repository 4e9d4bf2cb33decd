//! All sessions drop at once and reconnect within seconds, and again after a restart: every session
//! gets its snapshot, and the ledger is read once per user at most.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Database, Raw, RawFrame, TestApp, on_sqlite};

use super::{size, source};

on_sqlite![ten_thousand_sessions_drop_and_come_back_with_one_read_per_user];

/// Sessions, unless `HOSTILE_RECONNECTS` is set; this process and the service may have 20,000 files
/// each.
const SESSIONS: usize = 10_000;
/// Sessions per user.
const PER_USER: usize = 4;
/// Connecting at the same time.
const AT_ONCE: usize = 400;
/// Sessions from one address, because a pair of addresses has a limited number of ports.
const PER_ADDRESS: usize = 2000;
/// The longest time for all of them to receive their balance.
const PATIENCE: Duration = Duration::from_secs(60);

async fn ten_thousand_sessions_drop_and_come_back_with_one_read_per_user(database: Database) {
    let sessions = size("HOSTILE_RECONNECTS", SESSIONS);
    let users = sessions.div_ceil(PER_USER);
    println!(
        "again: HOSTILE_RECONNECTS={sessions} cargo test --test faults hostile::reconnects -- --nocapture"
    );
    let mut app = TestApp::on(database)
        .set("server.shutdown_timeout_s", 60)
        .set("cache.max_entries", 5_000_000)
        .log("info,balance_coordinator=warn,balance_coordinator::app=info")
        .start()
        .await;
    deposit_to_all(&app, users).await;

    let first = open_all(&app, sessions, "come").await;
    let misses = cache_misses(&app).await;
    drop_all(first);
    let again = open_all(&app, sessions, "drop at once and come back").await;
    let read = cache_misses(&app).await - misses;
    println!("{read} reads of the ledger for {users} users");
    assert!(read <= users as u64, "{read} reads for {users} users");
    nobody_is_left_over(&app, sessions).await;

    let start = Instant::now();
    app.signal("TERM");
    hear_of_the_end(again).await;
    println!("all were told that it stops within {:.1?}", start.elapsed());
    assert_eq!(app.wait().await.code(), Some(0));
    app.start_again().await;
    let back = open_all(&app, sessions, "come back after a restart").await;
    let read = cache_misses(&app).await;
    println!("{read} reads of the ledger for {users} users");
    assert!(read <= users as u64, "{read} reads for {users} users");
    assert!(!app.log().contains("panicked"));
    app.accepted("deposits", 1, "after", "1").await;
    drop_all(back);
    nobody_is_left_over(&app, 0).await;
    app.assert_ledger_holds();
}

async fn deposit_to_all(app: &TestApp, users: usize) {
    for chunk in (1..=users).collect::<Vec<_>>().chunks(5000) {
        let items: Vec<Value> = chunk
            .iter()
            .map(|user_id| {
                json!({"kind": "reward", "event_id": format!("first:{user_id}"), "user_id": user_id, "currency": "TON",
                    "amount": format!("{user_id}")})
            })
            .collect();
        assert_eq!(app.batch(json!(items)).await.ok()["accepted"], items.len());
    }
}

/// Opens all sessions; each must receive its user's balance.
async fn open_all(app: &TestApp, sessions: usize, what: &str) -> Vec<Raw> {
    let start = Instant::now();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let opening = (0..AT_ONCE.min(sessions)).map(|_| async {
        let mut opened = Vec::new();
        loop {
            let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if n >= sessions {
                return opened;
            }
            opened.push(open(app, n, sessions).await);
        }
    });
    let all: Vec<Raw> = join_all(opening).await.into_iter().flatten().collect();
    let took = start.elapsed();
    println!(
        "{} sessions {what} within {took:.1?}: {:.0} a second",
        all.len(),
        sessions as f64 / took.as_secs_f64()
    );
    assert!(took < PATIENCE, "{what}: {took:?}");
    all
}

async fn open(app: &TestApp, n: usize, sessions: usize) -> Raw {
    let user_id = (n % sessions.div_ceil(PER_USER) + 1) as u64;
    let mut raw = Raw::open_session(
        app.public,
        Some(source(256 * (n / PER_ADDRESS) + 1)),
        None,
        user_id,
    )
    .await
    .expect("it opens");
    let hello = raw.json().await.expect("hello");
    assert_eq!(
        (&hello["type"], &hello["user_id"]),
        (&json!("hello"), &json!(user_id)),
        "{hello}"
    );
    let snapshot = raw.json().await.expect("a snapshot");
    assert_eq!(
        (&snapshot["reason"], &snapshot["version"]),
        (&json!("snapshot"), &json!(1)),
        "{snapshot}"
    );
    assert_eq!(snapshot["balances"]["TON"], format!("{user_id}.000000000"));
    raw
}

/// Every second one by a reset, the others without a close frame.
fn drop_all(sessions: Vec<Raw>) {
    for (n, raw) in sessions.into_iter().enumerate() {
        if n % 2 == 0 {
            raw.reset();
        }
    }
}

async fn hear_of_the_end(sessions: Vec<Raw>) {
    let hearing = sessions.into_iter().map(|mut raw| async move {
        loop {
            match raw.frame().await {
                RawFrame::Close(code, reason) => {
                    assert_eq!((code, &*reason), (1001, "going_away"));
                    return;
                }
                RawFrame::End => panic!("no close frame"),
                _ => {}
            }
        }
    });
    tokio::time::timeout(PATIENCE, join_all(hearing))
        .await
        .expect("all are told in time");
}

async fn cache_misses(app: &TestApp) -> u64 {
    app.admin("/admin/v1/registry").await.ok()["cache_misses"]
        .as_u64()
        .expect("a number")
}

/// Asserts that registry and actors have removed the dropped sessions.
async fn nobody_is_left_over(app: &TestApp, sessions: usize) {
    crate::support::eventually("only the open sessions are left", async || {
        (app.admin("/admin/v1/registry").await.ok()["sessions"] == sessions).then_some(())
    })
    .await;
}
