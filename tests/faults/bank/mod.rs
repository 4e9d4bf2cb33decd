//! Money is moved between users and read, over HTTP and WebSockets, by clients that know one service or several on the
//! same ledger, and take any of them for each request.
//!
//! Each move is a withdrawal, `move:<n>:out`, and once that is accepted a deposit, `move:<n>:in`, or a reversal of it,
//! `move:<n>:back`;
//! both are sent until they are answered. In the end every move is complete, so the total over all
//! users is unchanged, every balance that a client received is checked by
//! [`crate::linearizability`], and every session has been shown its user's newest version.
//! `through_kills` and the cluster's tests say what happens meanwhile.

mod movers;
mod readers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::linearizability::{History, Ledger, Operation, State, What, violations};
use crate::support::{Builder, Dice, Sender, StoredEntry, TestApp, Visitor};

const HOT_USERS: u64 = 8;
const COLD_USERS: u64 = 1000;
/// Share of choices that fall on hot users.
const HOT_CHOICES: f64 = 0.7;
const MOVERS: usize = 32;
const READERS: usize = 8;
/// Sessions of each hot user, and of as many cold users in all.
const SESSIONS_PER_HOT_USER: u64 = 2;
const SESSIONS_OF_COLD_USERS: u64 = 8;
/// For each service. Small and short, so that the actors of cold users retire and are created again all the time.
const CACHE_ENTRIES_MAX: i64 = 100;
/// TON of every user: a few moves exhaust it, so some are refused.
const OPENING_MINOR: i64 = 100_000_000_000;

/// Shared by all clients.
#[derive(Debug)]
struct Bank {
    start: Instant,
    /// No move begins any more, and nothing is read over HTTP.
    is_over: AtomicBool,
    /// The last version of each user, when all moves are complete.
    settled: OnceLock<BTreeMap<u64, u64>>,
    senders: Vec<Sender>,
    visitors: Vec<Visitor>,
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

    /// Whether a session of a user that was shown this version has nothing to wait for.
    fn is_settled(&self, user_id: u64, version: u64) -> bool {
        let settled = self.settled.get();
        settled.is_some_and(|versions| versions.get(&user_id).copied().unwrap_or(0) == version)
    }

    fn sender(&self, rng: &mut StdRng) -> &Sender {
        self.senders.choose(rng).expect("a service")
    }

    fn visitor(&self, rng: &mut StdRng) -> &Visitor {
        self.visitors.choose(rng).expect("a service")
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

fn cold_users(rng: &mut StdRng) -> Vec<u64> {
    (0..SESSIONS_OF_COLD_USERS)
        .map(|_| rng.random_range(HOT_USERS + 1..=HOT_USERS + COLD_USERS))
        .collect()
}

/// The settings of each service.
pub fn settings(app: Builder) -> Builder {
    app.log("info")
        .set("cache.max_entries", CACHE_ENTRIES_MAX)
        .set("cache.ttl_s", 1)
        .set("cache.sweep_s", 1)
        .set("limits.api_requests_per_s", 1_000_000)
        .set("limits.api_requests_burst", 1_000_000)
}

/// A bank that is being used.
pub struct Open {
    bank: Arc<Bank>,
    seen: History,
    movers: Vec<JoinHandle<History>>,
    readers: Vec<JoinHandle<History>>,
    start: Instant,
}

impl Open {
    /// Gives every user the opening balance, and starts the clients.
    pub async fn start(apps: &[&TestApp], dice: &mut Dice) -> Self {
        let bank = Arc::new(Bank {
            start: Instant::now(),
            is_over: AtomicBool::new(false),
            settled: OnceLock::new(),
            senders: apps.iter().map(|app| app.sender()).collect(),
            visitors: apps.iter().map(|app| app.visitor()).collect(),
            moves: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
        });
        let seen = open(apps[0], &bank).await;
        let start = Instant::now();
        let movers = (0..MOVERS).map(|index| {
            let rng = StdRng::from_rng(dice.of(index));
            tokio::spawn(movers::run(bank.clone(), rng))
        });
        let movers = movers.collect();
        let over_http = (0..READERS).map(|index| {
            let rng = StdRng::from_rng(dice.of(index));
            tokio::spawn(readers::over_http(bank.clone(), rng))
        });
        let mut readers: Vec<_> = over_http.collect();
        let hot_users = (0..SESSIONS_PER_HOT_USER).flat_map(|_| 1..=HOT_USERS);
        let watched = hot_users.chain(cold_users(dice.of(1)));
        for (index, user_id) in watched.enumerate() {
            let rng = StdRng::from_rng(dice.of(index));
            let reader = readers::over_a_session(bank.clone(), user_id, rng);
            readers.push(tokio::spawn(reader));
        }
        Self {
            bank,
            seen,
            movers,
            readers,
            start,
        }
    }

    /// Lets all moves be completed and all sessions be shown the end, and compares what was seen with the ledger. All
    /// services run; the first one owns the database.
    pub async fn close(mut self, apps: &[&TestApp], what: &str) {
        self.bank.is_over.store(true, Ordering::Relaxed);
        for client in self.movers {
            self.seen.join(client.await.expect("no mover panicked"));
        }
        let moved_for = self.start.elapsed();
        let entries = apps[0].database.entries(None);
        let versions = states(&entries).into_iter();
        let versions = versions.map(|(user_id, states)| (user_id, states.len() as u64));
        let settled = self.bank.settled.set(versions.collect());
        settled.expect("a bank closes once");
        for client in self.readers {
            self.seen.join(client.await.expect("no reader panicked"));
        }
        print_figures(what, &self.bank, &self.seen, moved_for);
        check(apps, &entries, &self.seen).await;
    }
}

fn print_figures(what: &str, bank: &Bank, seen: &History, moved_for: Duration) {
    let operations = || seen.operations.iter();
    let writes = operations()
        .filter(|operation| matches!(operation.what, What::Write { .. }))
        .count();
    let unasked = operations().filter(|operation| operation.sent == 0).count();
    println!(
        "{what}: {} moves, {} of them refused, {} repeats in {:.1} s; {writes} writes acknowledged, \
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

/// Compares everything that clients received, and what each service reads, with the ledger.
async fn check(apps: &[&TestApp], entries: &[StoredEntry], seen: &History) {
    apps[0].assert_ledger_holds();
    assert_moves_are_whole(entries);
    let ledger = states(entries);
    let total: i64 = ledger
        .values()
        .map(|states| states.last().expect("an opening").balances[0])
        .sum();
    assert_eq!(
        total,
        OPENING_MINOR * (HOT_USERS + COLD_USERS) as i64,
        "the total is conserved"
    );
    for (app, user_id) in apps
        .iter()
        .flat_map(|app| users().map(move |user_id| (app, user_id)))
    {
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
