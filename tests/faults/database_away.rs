//! A database server that stops and returns under load: every acknowledged entry is stored exactly
//! once.

use std::time::Duration;

use rand::Rng as _;

use crate::load::{Load, assert_ledger_is};
use crate::support::{Database, Dice, TestApp, on_postgres};

on_postgres![no_acknowledged_entry_is_lost_or_doubled_when_the_database_goes_away_under_load];

const ROUNDS: usize = 8;
/// The most requests that are answered before the database goes away again.
const REQUESTS_MAX: usize = 100;
/// The longest outage.
const AWAY_MS_MAX: u64 = 2000;
/// Half of the outages are longer, so that some senders are answered 503.
const TIMEOUT_MS: i64 = 1000;

async fn no_acknowledged_entry_is_lost_or_doubled_when_the_database_goes_away_under_load(
    database: Database,
) {
    let mut dice = Dice::new("cargo test --test faults database_away::");
    let app = TestApp::on(database)
        .log("info")
        .set("database.timeout_ms", TIMEOUT_MS)
        .start()
        .await;
    let load = Load::start(&app);
    for round in 0..ROUNDS {
        let rng = dice.of(round);
        load.go_on(rng.random_range(1..=REQUESTS_MAX)).await;
        app.database.cut();
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..=AWAY_MS_MAX))).await;
        app.database.mend();
        load.assert_acknowledged_are_there(&app);
    }
    let record = load.finish().await;
    println!(
        "{ROUNDS} times away: {} entries acknowledged, {} repeats",
        record.acknowledged.len(),
        record.repeats
    );
    assert_ledger_is(&app, &record).await;
}
