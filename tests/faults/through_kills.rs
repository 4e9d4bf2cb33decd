//! The bank with one service, which is killed repeatedly.

use std::time::Duration;

use crate::bank::{Open, settings};
use crate::support::{Database, Dice, TestApp, on_both_databases};

on_both_databases![
    money_that_is_moved_through_kills_is_conserved_and_every_balance_shown_is_in_order
];

/// Duration of the load; `BANK_SECONDS` overrides it.
const SECONDS: u64 = 20;
/// Time between two kills.
const KILL_EVERY: Duration = Duration::from_secs(5);

async fn money_that_is_moved_through_kills_is_conserved_and_every_balance_shown_is_in_order(
    database: Database,
) {
    let seconds = crate::size("BANK_SECONDS", SECONDS);
    let mut dice = Dice::new(&format!(
        "BANK_SECONDS={seconds} cargo test --test faults through_kills::"
    ));
    let mut app = settings(TestApp::on(database)).start().await;
    let bank = Open::start(&[&app], &mut dice).await;
    let kills = (seconds / KILL_EVERY.as_secs()).saturating_sub(1).max(1);
    for _ in 0..kills {
        tokio::time::sleep(KILL_EVERY).await;
        app.kill();
        app.start_again().await;
    }
    tokio::time::sleep(KILL_EVERY).await;
    bank.close(&[&app], &format!("{database:?}, {kills} kills"))
        .await;
}
