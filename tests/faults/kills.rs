//! The service killed by SIGKILL, or its database taken away, under load: whatever was acknowledged is in the ledger
//! exactly once.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::support::{Database, Sender, Signed, TestApp, eventually, on_both_databases, on_postgres};

on_both_databases![no_acknowledged_entry_is_lost_or_doubled_by_kills_under_load];
on_postgres![no_acknowledged_entry_is_lost_or_doubled_when_the_database_goes_away_under_load];

const ROUNDS: usize = 4;
const SENDERS: usize = 16;
const USERS: u64 = 12;
/// Entries that each sender sends in all.
const PER_SENDER: usize = 240;
/// Entries of a request of every second sender; the others send single webhooks.
const BATCH: usize = 20;

/// Each acknowledged event, its user and its version.
type Acknowledged = Mutex<BTreeMap<String, (u64, u64)>>;

fn seed() -> u64 {
    std::env::var("BALANCE_TEST_SEED").ok().map_or(20_250_804, |seed| seed.parse().expect("a number"))
}

/// The requests of one sender, each a list of items.
fn work(sender: usize, rng: &mut StdRng) -> Vec<Vec<Value>> {
    let items: Vec<Value> = (0..PER_SENDER)
        .map(|n| {
            json!({
                "kind": if rng.random_bool(0.2) { "deposit" } else { "reward" },
                "event_id": format!("s{sender}:{n}"),
                "user_id": rng.random_range(1..=USERS),
                "currency": if rng.random_bool(0.5) { "TON" } else { "UNI" },
                "amount": format!("0.{:09}", rng.random_range(1..1_000_000_000_u32)),
            })
        })
        .collect();
    let size = if sender.is_multiple_of(2) { 1 } else { BATCH };
    items.chunks(size).map(<[Value]>::to_vec).collect()
}

/// Sends some items until they are acknowledged, and notes which versions they have.
async fn send(sender: &Sender, items: &[Value], acknowledged: &Acknowledged) {
    let versions: Vec<u64> = if let [one] = items {
        let mut body = one.clone();
        let kind = body.as_object_mut().and_then(|fields| fields.remove("kind")).expect("a kind");
        let path = format!("/internal/v1/{}s", kind.as_str().expect("text"));
        vec![sender.insist(Signed::post(&path, &body)).await["version"].as_u64().expect("a version")]
    } else {
        let answer = sender.insist(Signed::post("/internal/v1/batch", &json!({"entries": items}))).await;
        assert_eq!(answer["rejected"], 0, "{answer}");
        let results = answer["results"].as_array().expect("results");
        results.iter().map(|result| result["version"].as_u64().expect("a version")).collect()
    };
    assert_eq!(versions.len(), items.len());
    let mut acknowledged = acknowledged.lock().expect("no panic holds it");
    for (item, version) in items.iter().zip(versions) {
        let event_id = item["event_id"].as_str().expect("text").to_owned();
        acknowledged.insert(event_id, (item["user_id"].as_u64().expect("an id"), version));
    }
}

/// What happens in the middle of the load.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    DatabaseAway,
}

async fn no_acknowledged_entry_is_lost_or_doubled_by_kills_under_load(database: Database) {
    run(database, Fault::Kill).await;
}

async fn no_acknowledged_entry_is_lost_or_doubled_when_the_database_goes_away_under_load(database: Database) {
    run(database, Fault::DatabaseAway).await;
}

async fn run(database: Database, fault: Fault) {
    let seed = seed();
    println!("again: BALANCE_TEST_SEED={seed} cargo test --test faults  # {fault:?} on {database:?}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut app = TestApp::on(database).log("info").start().await;
    let acknowledged = Acknowledged::default();
    let plans: Vec<Vec<Vec<Value>>> = (0..SENDERS).map(|sender| work(sender, &mut rng)).collect();
    let all_items: Vec<Value> = plans.iter().flatten().flatten().cloned().collect();
    // Killed when so many entries are acknowledged: in the middle of the load on any machine.
    let share = all_items.len() / (ROUNDS + 1);
    let kill_points: Vec<usize> = (0..ROUNDS).map(|n| n * share + rng.random_range(1..share)).collect();

    let sender = app.sender();
    let (sender, acknowledged_by_all) = (&sender, &acknowledged);
    let sending = plans.iter().map(|plan| async move {
        for items in plan {
            send(sender, items, acknowledged_by_all).await;
        }
    });
    let sending = futures_util::future::join_all(sending);
    let killing = async {
        for point in kill_points {
            let count = || acknowledged.lock().expect("no panic holds it").len();
            eventually("the load goes on", async || (count() >= point).then_some(())).await;
            match fault {
                Fault::Kill => {
                    app.kill();
                    app.start_again().await;
                }
                Fault::DatabaseAway => {
                    app.database.cut();
                    app.database.mend();
                }
            }
            println!("{fault:?} with {} of {} acknowledged", count(), all_items.len());
        }
    };
    tokio::join!(sending, killing);

    let acknowledged = acknowledged.into_inner().expect("no panic holds it");
    assert_eq!(acknowledged.len(), all_items.len());
    let mut stored = BTreeMap::new();
    for user_id in 1..=USERS {
        let entries = app.entries(user_id).await;
        for entry in &entries {
            let event_id = entry["event_id"].as_str().expect("text").to_owned();
            let version = entry["version"].as_u64().expect("a version");
            assert_eq!(stored.insert(event_id, (user_id, version)), None, "twice: {entry}");
        }
        assert_balance(&app, user_id, &all_items, entries.len()).await;
    }
    assert_eq!(stored, acknowledged, "each acknowledged entry is there once, with the version that was answered");
    app.assert_ledger_holds();
}

/// The balance is the sum of what was sent for the user.
async fn assert_balance(app: &TestApp, user_id: u64, items: &[Value], entries: usize) {
    let sum = |currency: &str| {
        let of_user = items.iter().filter(|item| item["user_id"] == user_id && item["currency"] == currency);
        let minor = |item: &Value| item["amount"].as_str().expect("text")[2..].parse::<u64>().expect("nine digits");
        let total: u64 = of_user.map(minor).sum();
        format!("{}.{:09}", total / 1_000_000_000, total % 1_000_000_000)
    };
    let balance = app.backend(&format!("/internal/v1/users/{user_id}/balance?fresh=true")).await.ok();
    assert_eq!(balance["version"], entries);
    assert_eq!(balance["balances"], json!({"TON": sum("TON"), "UNI": sum("UNI")}));
}
