//! A thousand sessions that never read, beside a thousand that read, and one that reads a byte a
//! second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::{Database, Raw, TestApp, Witness, eventually, on_sqlite};

use super::{size, source};

on_sqlite![a_session_that_never_reads_is_cut_off_and_delays_no_other];

/// Sessions that read, and as many that never read, unless `HOSTILE_SILENT` is set.
const SESSIONS: usize = 1000;
/// Sessions per user of each sort; together the limit per user.
const PER_USER: usize = 8;
/// Rounds of a deposit to every user: before the silent sessions open, and beside them.
const ROUNDS: (usize, usize) = (12, 24);
const BETWEEN_ROUNDS: Duration = Duration::from_millis(200);
/// `limits.write_timeout_ms`
const WRITE_TIMEOUT_MS: u64 = 3000;
/// Allowed delay: the kernel checks a stalled connection at growing intervals, and the machine may
/// be busy.
const GONE_WITHIN: Duration = Duration::from_secs(15);
/// A direct push is due at most 100 ms after the one before; the rest is for a busy machine.
/// Measured: some ten milliseconds.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// The receive buffer of a session that never reads; the kernel raises it to its minimum, about 2
/// KiB.
const RECEIVE_BYTES: u32 = 1;
/// Allowed memory per silent session: an actor, an outbox of 16 frames, the connection's buffers of
/// at most 32 KiB each way. The kernel bounds its own buffers.
const SESSION_BYTES_MAX: u64 = 96 * 1024;

async fn a_session_that_never_reads_is_cut_off_and_delays_no_other(database: Database) {
    let sessions = size("HOSTILE_SILENT", SESSIONS);
    println!(
        "again: HOSTILE_SILENT={sessions} cargo test --test faults hostile::silent_readers -- --nocapture"
    );
    let app = TestApp::on(database)
        .set("limits.write_timeout_ms", WRITE_TIMEOUT_MS.cast_signed())
        .log("info,balance_coordinator::coordinator=warn")
        .start()
        .await;
    let mut readers = JoinSet::new();
    for raw in open(&app, sessions, None).await {
        readers.spawn(read_all(raw));
    }
    deposits(&app, sessions, ROUNDS.0, 0).await;
    let before = app.resident_bytes().unwrap_or(0);

    let silent = open(&app, sessions, Some(RECEIVE_BYTES)).await;
    let dribbler = dribble(&app).await;
    let start = Instant::now();
    deposits(&app, sessions, ROUNDS.1, ROUNDS.0).await;
    let grown = app.resident_bytes().unwrap_or(0).saturating_sub(before);
    println!(
        "{} silent sessions cost {} KiB each",
        sessions,
        (grown >> 10) / sessions as u64
    );
    assert!(
        grown <= SESSION_BYTES_MAX * sessions as u64,
        "{grown} bytes more"
    );
    eventually("only the readers are left", async || {
        (app.admin("/admin/v1/registry").await.ok()["sessions"] == sessions).then_some(())
    })
    .await;
    let gone = start.elapsed();
    println!(
        "the silent ones are gone {gone:.1?} after the first push to them; write_timeout_ms is {WRITE_TIMEOUT_MS}"
    );
    assert!(
        gone < Duration::from_millis(WRITE_TIMEOUT_MS) + GONE_WITHIN + BETWEEN_ROUNDS * 24,
        "{gone:?}"
    );
    // It still has earlier bytes to read; the service does not wait for that.
    dribbler.abort();
    drop(silent);

    let mut latencies = (Vec::new(), Vec::new());
    for (_, alone, beside) in readers.join_all().await {
        latencies.0.extend(alone);
        latencies.1.extend(beside);
    }
    let alone = shown("alone", &mut latencies.0);
    let beside = shown("beside those that never read", &mut latencies.1);
    assert!(alone.max(beside) < SHOWN_WITHIN, "{alone:?} {beside:?}");
    app.assert_ledger_holds();
}

/// Opens sessions of users from 1 on, fifty at a time.
async fn open(app: &TestApp, count: usize, receive_bytes: Option<u32>) -> Vec<Raw> {
    let mut all = Vec::new();
    for chunk in (0..count).collect::<Vec<_>>().chunks(50) {
        let opening = chunk.iter().map(|&n| {
            let user_id = (n / PER_USER + 1) as u64;
            Raw::open_session(app.public, Some(source(n / 1000)), receive_bytes, user_id)
        });
        all.extend(
            join_all(opening)
                .await
                .into_iter()
                .map(|raw| raw.expect("it opens")),
        );
    }
    all
}

/// Posts rounds of a deposit to every user.
async fn deposits(app: &TestApp, sessions: usize, rounds: usize, first: usize) {
    for round in first..first + rounds {
        let items: Vec<Value> = (1..=sessions.div_ceil(PER_USER))
            .map(|user_id| {
                json!({"kind": "deposit", "event_id": format!("{user_id}:{round}"), "user_id": user_id, "currency": "TON",
                    "amount": "0.5"})
            })
            .collect();
        assert_eq!(app.batch(json!(items)).await.ok()["accepted"], items.len());
        tokio::time::sleep(BETWEEN_ROUNDS).await;
    }
}

/// Reads until all deposits of both phases have arrived; returns the delay of each after its
/// commit, and the session.
async fn read_all(mut raw: Raw) -> (Raw, Vec<Duration>, Vec<Duration>) {
    let mut witness = Witness::default();
    let mut latencies = (Vec::new(), Vec::new());
    while witness.entries < (ROUNDS.0 + ROUNDS.1) as u64 {
        let frame = raw.json().await.expect("a reader's session stays");
        witness.see(&frame);
        if frame["type"] == "balance_update" {
            let is_alone = witness.entries <= ROUNDS.0 as u64;
            if is_alone {
                &mut latencies.0
            } else {
                &mut latencies.1
            }
            .push(since(&frame["first_committed_at"]));
        }
    }
    assert_eq!(
        witness.version, witness.entries,
        "the newest state after every entry"
    );
    assert_eq!(
        witness.balances["TON"],
        format!("{}.000000000", (ROUNDS.0 + ROUNDS.1) / 2)
    );
    (raw, latencies.0, latencies.1)
}

fn since(timestamp: &Value) -> Duration {
    let then = chrono::DateTime::parse_from_rfc3339(timestamp.as_str().expect("a timestamp"))
        .expect("RFC 3339");
    let then = Duration::from_micros(then.timestamp_micros().unsigned_abs());
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .saturating_sub(then)
}

fn shown(what: &str, latencies: &mut [Duration]) -> Duration {
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 1000];
    let (median, high, most) = (at(500), at(990), at(1000));
    println!(
        "commit to frame, {what}: median {median:.1?}, 99 % {high:.1?}, all {most:.1?}, {} frames",
        latencies.len()
    );
    most
}

/// Reads a byte a second, which frees no room for a frame either.
async fn dribble(app: &TestApp) -> JoinHandle<()> {
    let user_id = 1_000_000;
    app.accepted("deposits", user_id, "dribbler", "1").await;
    let mut raw = Raw::open_session(app.public, None, Some(RECEIVE_BYTES), user_id)
        .await
        .expect("it opens");
    // Requests more than its buffer holds.
    for _ in 0..30 {
        assert!(
            raw.send(&crate::support::frame(
                0x81,
                br#"{"type":"refresh"}"#,
                [0; 4]
            ))
            .await
        );
    }
    tokio::spawn(async move {
        while raw.dribble().await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}
