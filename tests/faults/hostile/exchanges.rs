//! A hundred thousand hostile exchanges, in two equal rounds, beside a user that must not be
//! affected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::Rng as _;
use serde_json::json;

use crate::support::{
    Database, Raw, RawAnswer, TestApp, dice_of, eventually, fresh_seed, on_sqlite,
};

use super::entries::{KNOWN_EVENT, OWNER};
use super::http_exchanges::{BODY_BYTES_MAX, Fate, Request, request};
use super::ws_model::After;
use super::{size, source, ws_exchanges};

on_sqlite![hostile_exchanges_change_nothing_and_cost_nothing_that_stays];

/// Exchanges in all, unless `HOSTILE_EXCHANGES` says otherwise.
const EXCHANGES: usize = 100_000;
/// Peers at the same time.
const PEERS: usize = 48;
/// The share of WebSocket exchanges.
const WS_SHARE: f64 = 0.55;
/// Allowed growth of memory in the second round. The allocator returns pages at its own time; a
/// leak of 1 KiB per exchange would exceed this.
const GROWTH_BYTES_MAX: u64 = 24 << 20;
/// The user that must not be affected.
const BYSTANDER: u64 = 5;

async fn hostile_exchanges_change_nothing_and_cost_nothing_that_stays(database: Database) {
    let seed = fresh_seed();
    let exchanges = size("HOSTILE_EXCHANGES", EXCHANGES);
    println!(
        "again: BALANCE_TEST_SEED={seed} HOSTILE_EXCHANGES={exchanges} cargo test --test faults hostile::exchanges"
    );
    let app = TestApp::on(database)
        .set("limits.ws_messages_per_s", 100_000)
        .set("limits.ws_messages_burst", 100_000)
        .set("limits.api_requests_per_s", 1_000_000)
        .set("limits.api_requests_burst", 1_000_000)
        .set(
            "limits.body_bytes",
            i64::try_from(BODY_BYTES_MAX).expect("small"),
        )
        .log("info")
        .start()
        .await;
    app.accepted("deposits", OWNER, KNOWN_EVENT, "1").await;
    let (process_id, sockets) = (app.process_id(), app.open_sockets());

    let mut memory = Vec::new();
    for round in 1..=2 {
        let start = Instant::now();
        let is_over = AtomicBool::new(false);
        let bystander = bystander(&app, round, &is_over);
        let peers = (0..PEERS).map(|peer| one_peer(&app, peer, (exchanges / 2).div_ceil(PEERS)));
        let hostile = async {
            futures_util::future::join_all(peers).await;
            is_over.store(true, Ordering::Relaxed);
        };
        let (deposits, slowest) = tokio::join!(bystander, hostile).0;
        everything_is_closed(&app, sockets).await;
        memory.push(app.resident_bytes().unwrap_or(0));
        println!(
            "round {round}: {} exchanges in {:.1?}; {deposits} deposits beside them, the slowest shown after {slowest:.1?}; \
             {} MiB",
            exchanges / 2,
            start.elapsed(),
            memory[memory.len() - 1] >> 20
        );
    }
    assert!(
        memory[1] <= memory[0] + GROWTH_BYTES_MAX,
        "memory grew: {memory:?}"
    );

    assert_eq!(app.process_id(), process_id);
    assert!(!app.log().contains("panicked"), "a panic in the log");
    let registry = app.admin("/admin/v1/registry").await.ok();
    assert_eq!(
        (&registry["actors_rebuilt"], &registry["queue_single"]),
        (&json!(0), &json!(0)),
        "{registry}"
    );
    let entries = app.entries(OWNER).await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["event_id"], KNOWN_EVENT);
    app.assert_ledger_holds();
}

/// One of the peers; its seed determines its exchanges.
async fn one_peer(app: &TestApp, peer: usize, exchanges: usize) {
    let mut rng = dice_of(peer);
    let mut done = 0;
    let mut connections = [None, None];
    while done < exchanges {
        if rng.random_bool(WS_SHARE / 3.0) {
            done += ws_exchanges::session(app, &mut rng, peer, exchanges - done).await;
        } else {
            let request = request(&mut rng);
            let slot = &mut connections[usize::from(request.is_internal)];
            let raw = match slot.take() {
                Some(raw) => raw,
                None => connect(app, request.is_internal, peer).await,
            };
            *slot = ask(app, raw, request, peer).await;
            done += 1;
        }
    }
}

async fn connect(app: &TestApp, is_internal: bool, peer: usize) -> Raw {
    let to = if is_internal {
        app.internal
    } else {
        app.public
    };
    Raw::connect(to, Some(source(peer)), None)
        .await
        .expect("it connects")
}

/// Sends one request; returns the connection when it can be reused.
async fn ask(app: &TestApp, mut raw: Raw, request: Request, peer: usize) -> Option<Raw> {
    let Some(first) = exchange(&mut raw, &request).await else {
        // A kept connection may have been closed for idleness, as the protocol allows; a new one
        // must answer.
        if request.after == After::Resets {
            return None;
        }
        let mut raw = connect(app, request.is_internal, peer).await;
        let answer = exchange(&mut raw, &request).await;
        return judge(raw, &request, answer).await;
    };
    judge(raw, &request, Some(first)).await
}

async fn exchange(raw: &mut Raw, request: &Request) -> Option<RawAnswer> {
    for piece in &request.writes {
        if !raw.send(piece).await {
            break;
        }
    }
    match request.after {
        After::Listens => {}
        After::SendsNoMore => raw.finish().await,
        After::Resets => return None,
    }
    raw.answer().await
}

async fn judge(mut raw: Raw, request: &Request, answer: Option<RawAnswer>) -> Option<Raw> {
    let name = request.name;
    let shown = || {
        String::from_utf8_lossy(&request.writes.concat())
            .chars()
            .take(2000)
            .collect::<String>()
    };
    match (request.fate, answer) {
        (Fate::Refused, None) => None,
        (Fate::Refused, Some(answer)) => {
            assert!(
                (400..500).contains(&answer.status),
                "{name}: {answer:?}\n{}",
                shown()
            );
            None
        }
        (Fate::OneReadThenRefused, Some(answer)) => {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            if let Some(second) = raw.answer().await {
                assert!(
                    (400..500).contains(&second.status),
                    "{name}: {second:?}\n{}",
                    shown()
                );
            }
            None
        }
        (Fate::Read, Some(answer)) => {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            (!answer.is_last()).then_some(raw)
        }
        (Fate::Problem(status, code), Some(answer)) => {
            assert_eq!(
                (answer.status, &*answer.code()),
                (status, code),
                "{name}: {answer:?}\n{}",
                shown()
            );
            (!answer.is_last() && request.after == After::Listens).then_some(raw)
        }
        (fate, None) => panic!("{name}: no answer, expected {fate:?}\n{}", shown()),
    }
}

/// Posts deposits to one user, each of which that user's session must receive; returns the number
/// and the slowest.
async fn bystander(app: &TestApp, round: u32, is_over: &AtomicBool) -> (u32, Duration) {
    let (mut ws, _) = app.session(BYSTANDER).await;
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let start = Instant::now();
        let answer = app
            .accepted(
                "deposits",
                BYSTANDER,
                &format!("bystander:{round}:{count}"),
                "0.001",
            )
            .await;
        let update = ws.next_frame("balance_update").await;
        assert_eq!(update["version"], answer["version"]);
        slowest = slowest.max(start.elapsed());
        count += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ws.close().await;
    (count, slowest)
}

/// Asserts that no session is left, and no socket except those of the test's own client.
async fn everything_is_closed(app: &TestApp, sockets: Option<usize>) {
    eventually("no session and no socket is left", async || {
        let registry = app.admin("/admin/v1/registry").await.ok();
        let is_as_before = match (app.open_sockets(), sockets) {
            (Some(now), Some(before)) => now <= before + 8,
            _ => true,
        };
        (registry["sessions"] == 0 && is_as_before).then_some(())
    })
    .await;
}
