//! Money is moved between users and read, over HTTP and WebSockets, while the service is killed
//! repeatedly.
//!
//! Each move is a withdrawal, `move:<n>:out`, and once that is accepted a deposit, `move:<n>:in`, or a reversal of it,
//! `move:<n>:back`;
//! both are sent until they are answered. In the end every move is complete, so the total over all
//! users is unchanged, and every balance that a client received is checked by
//! [`crate::linearizability`].

mod movers;
mod readers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::linearizability::{History, Ledger, Operation, State, What, violations};
use crate::support::{Database, Dice, StoredEntry, TestApp, on_both_databases};

on_both_databases![
    money_that_is_moved_through_kills_is_conserved_and_every_balance_shown_is_in_order
];

/// Duration of the load; `BANK_SECONDS` overrides it.
const SECONDS: u64 = 20;
/// Time between two kills.
const KILL_EVERY: Duration = Duration::from_secs(5);
const HOT_USERS: u64 = 8;
const COLD_USERS: u64 = 1000;
/// Share of choices that fall on hot users.
const HOT_CHOICES: f64 = 0.7;
const MOVERS: usize = 32;
const READERS: usize = 8;
/// Sessions of each hot user, and of as many cold users in all.
const SESSIONS_PER_HOT_USER: u64 = 2;
const SESSIONS_OF_COLD_USERS: u64 = 8;
/// Small and short, so that the actors of cold users retire and are created again all the time.
const CACHE_ENTRIES_MAX: i64 = 100;
/// TON of every user: a few moves exhaust it, so some are refused.
const OPENING_MINOR: i64 = 100_000_000_000;

/// Shared by all clients.
#[derive(Debug)]
struct Bank {
    start: Instant,
    is_over: AtomicBool,
    moves: AtomicU64,
    /// Requests and sessions without an answer or with a 503, which were repeated.
    repeats: AtomicU64,
}

impl Bank {
    /// Nanoseconds on the test's clock; never 0.
    fn now(&self) -> u64 {
        1 + u64::try_from(self.start.elapsed().as_nanos()).expect("a short test")
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn repeat(&self) {
        self.repeats.fetch_add(1, Ordering::Relaxed);
    }
}

/// Records a balance that a client received.
fn note_read(seen: &mut History, shown: &Value, sent: u64, answered: u64) {
    let user_id = shown["user_id"]
        .as_u64()
        .unwrap_or_else(|| panic!("a user in {shown}"));
    let version = shown["version"]
        .as_u64()
        .unwrap_or_else(|| panic!("a version in {shown}"));
    let sent = if shown["stale"] == true { 0 } else { sent };
    let what = What::Read {
        balances: ["TON", "UNI"].map(|currency| minor(&shown["balances"][currency])),
    };
    seen.operations.push(Operation {
        user_id,
        version,
        what,
        sent,
        answered,
    });
}

/// Records an acknowledged entry.
fn note_write(
    seen: &mut History,
    user_id: u64,
    event_id: String,
    version: &Value,
    times: (u64, u64),
) {
    let version = version.as_u64().expect("a version");
    let what = What::Write { event_id };
    seen.operations.push(Operation {
        user_id,
        version,
        what,
        sent: times.0,
        answered: times.1,
    });
}

fn users() -> impl Iterator<Item = u64> {
    1..=HOT_USERS + COLD_USERS
}

/// Usually a hot user.
fn random_user(rng: &mut StdRng) -> u64 {
    if rng.random_bool(HOT_CHOICES) {
        rng.random_range(1..=HOT_USERS)
    } else {
        rng.random_range(HOT_USERS + 1..=HOT_USERS + COLD_USERS)
    }
}

/// `"1.000000000"` in the smallest unit.
fn minor(amount: &Value) -> i64 {
    let text = amount
        .as_str()
        .unwrap_or_else(|| panic!("an amount, not {amount}"));
    let (whole, parts) = text.split_once('.').expect("a point");
    assert_eq!(parts.len(), 9, "{text}");
    format!("{whole}{parts}").parse().expect("digits")
}

fn amount(minor: i64) -> String {
    format!("{}.{:09}", minor / 1_000_000_000, minor % 1_000_000_000)
}

/// Gives every user the opening balance.
async fn open(app: &TestApp, bank: &Bank) -> History {
    let item = |user_id| {
        json!({"kind": "deposit", "event_id": format!("open:{user_id}"), "user_id": user_id, "currency": "TON",
               "amount": amount(OPENING_MINOR)})
    };
    let sent = bank.now();
    let answer = app.batch(users().map(item).collect()).await.ok();
    let times = (sent, bank.now());
    let mut seen = History::default();
    for (user_id, result) in users().zip(answer["results"].as_array().expect("results")) {
        assert_eq!(result["status"], "accepted", "{result}");
        note_write(
            &mut seen,
            user_id,
            format!("open:{user_id}"),
            &result["version"],
            times,
        );
    }
    seen
}

async fn money_that_is_moved_through_kills_is_conserved_and_every_balance_shown_is_in_order(
    database: Database,
) {
    let seconds = crate::size("BANK_SECONDS", SECONDS);
    let mut dice = Dice::new(&format!(
        "BANK_SECONDS={seconds} cargo test --test faults bank::"
    ));
    let mut app = TestApp::on(database)
        .log("info")
        .set("cache.max_entries", CACHE_ENTRIES_MAX)
        .set("cache.ttl_s", 1)
        .set("cache.sweep_s", 1)
        .set("limits.api_requests_per_s", 1_000_000)
        .set("limits.api_requests_burst", 1_000_000)
        .start()
        .await;
    let bank = Arc::new(Bank {
        start: Instant::now(),
        is_over: AtomicBool::new(false),
        moves: AtomicU64::new(0),
        repeats: AtomicU64::new(0),
    });
    let mut seen = open(&app, &bank).await;
    let start = Instant::now();
    let movers: Vec<_> = (0..MOVERS)
        .map(|index| {
            tokio::spawn(movers::run(
                bank.clone(),
                app.sender(),
                StdRng::from_rng(dice.of(index)),
            ))
        })
        .collect();
    let mut readers: Vec<_> = (0..READERS)
        .map(|index| {
            tokio::spawn(readers::over_http(
                bank.clone(),
                app.visitor(),
                StdRng::from_rng(dice.of(index)),
            ))
        })
        .collect();
    let watched = (0..SESSIONS_PER_HOT_USER)
        .flat_map(|_| 1..=HOT_USERS)
        .chain(cold_users(dice.of(1)));
    for (index, user_id) in watched.collect::<Vec<_>>().into_iter().enumerate() {
        let rng = StdRng::from_rng(dice.of(index));
        readers.push(tokio::spawn(readers::over_a_session(
            bank.clone(),
            app.visitor(),
            user_id,
            rng,
        )));
    }
    let kills = (seconds / KILL_EVERY.as_secs()).saturating_sub(1).max(1);
    kill_again_and_again(&mut app, kills).await;
    bank.is_over.store(true, Ordering::Relaxed);
    for client in movers {
        seen.join(client.await.expect("no mover panicked"));
    }
    let moved_for = start.elapsed();
    for client in readers {
        seen.join(client.await.expect("no reader panicked"));
    }
    print_figures(&format!("{database:?}"), &bank, &seen, kills, moved_for);
    check(&app, &seen).await;
}

fn cold_users(rng: &mut StdRng) -> Vec<u64> {
    (0..SESSIONS_OF_COLD_USERS)
        .map(|_| rng.random_range(HOT_USERS + 1..=HOT_USERS + COLD_USERS))
        .collect()
}

/// Kills and restarts the service after each round under load; a final round follows.
async fn kill_again_and_again(app: &mut TestApp, kills: u64) {
    for _ in 0..kills {
        tokio::time::sleep(KILL_EVERY).await;
        app.kill();
        app.start_again().await;
    }
    tokio::time::sleep(KILL_EVERY).await;
}

fn print_figures(database: &str, bank: &Bank, seen: &History, kills: u64, moved_for: Duration) {
    let operations = || seen.operations.iter();
    let writes = operations()
        .filter(|operation| matches!(operation.what, What::Write { .. }))
        .count();
    let unasked = operations().filter(|operation| operation.sent == 0).count();
    println!(
        "{database}: {} moves, {} of them refused, {kills} kills, {} repeats in {:.1} s; {writes} writes acknowledged, \
         {:.0} /s; {} reads asked for, {unasked} pushes, {} sessions",
        bank.moves.load(Ordering::Relaxed),
        seen.refusals.len(),
        bank.repeats.load(Ordering::Relaxed),
        moved_for.as_secs_f64(),
        writes as f64 / moved_for.as_secs_f64(),
        operations().count() - writes - unasked,
        seen.sessions.len(),
    );
}

/// Compares everything that clients received with the ledger.
async fn check(app: &TestApp, seen: &History) {
    app.assert_ledger_holds();
    let entries = app.database.entries(None);
    assert_moves_are_whole(&entries);
    let ledger = states(&entries);
    let total: i64 = ledger
        .values()
        .map(|states| states.last().expect("an opening").balances[0])
        .sum();
    assert_eq!(
        total,
        OPENING_MINOR * (HOT_USERS + COLD_USERS) as i64,
        "the total is conserved"
    );
    for user_id in users() {
        let shown = app
            .backend(&format!("/internal/v1/users/{user_id}/balance"))
            .await
            .ok();
        let states = &ledger[&user_id];
        let balance = states.last().expect("an opening").balances[0];
        assert_eq!(
            (&shown["version"], minor(&shown["balances"]["TON"])),
            (&json!(states.len()), balance),
            "{shown}"
        );
    }
    let found = violations(&ledger, seen);
    assert!(
        found.is_empty(),
        "{} violations, the first ones: {:#?}",
        found.len(),
        &found[..found.len().min(20)]
    );
}

/// Every withdrawal has its deposit or its reversal of the same amount, and vice versa.
fn assert_moves_are_whole(entries: &[StoredEntry]) {
    let mut open: BTreeMap<&str, i64> = BTreeMap::new();
    for entry in entries {
        if let Some((number, _)) = entry
            .event_id
            .strip_prefix("move:")
            .and_then(|rest| rest.split_once(':'))
        {
            *open.entry(number).or_default() += entry.amount;
            assert_eq!(
                entry.amount < 0,
                entry.event_id.ends_with(":out"),
                "{entry:?}"
            );
        }
    }
    let torn: Vec<_> = open.iter().filter(|(_, sum)| **sum != 0).collect();
    assert!(torn.is_empty(), "moves that are not whole: {torn:?}");
}

/// Each user's states, from entries in the order of versions.
fn states(entries: &[StoredEntry]) -> Ledger {
    let mut ledger = Ledger::new();
    for entry in entries {
        let states = ledger
            .entry(u64::try_from(entry.user_id).expect("positive"))
            .or_default();
        let mut balances = states.last().map_or([0, 0], |state: &State| state.balances);
        assert_eq!(entry.version, states.len() as i64 + 1, "no gap: {entry:?}");
        assert_eq!(entry.currency, "TON", "{entry:?}");
        balances[0] += entry.amount;
        assert_eq!(entry.balance_after, balances[0], "{entry:?}");
        states.push(State {
            event_id: entry.event_id.clone(),
            balances,
        });
    }
    ledger
}
