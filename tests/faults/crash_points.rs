//! SIGKILL at random moments under load: during transactions, between a commit and its answer,
//! during start-up and recovery.
//!
//! A round starts the senders, kills the service after a random number of answers and a random time
//! of a few milliseconds, sometimes kills it again while it starts, restarts it, and then checks:
//! `verify` finds nothing, and each acknowledged entry is stored once, with the answered version.
//! At the end the whole ledger is compared with all answers. The senders never stop; they repeat
//! requests without a final answer.

use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::load::{Load, assert_ledger_is};
use crate::support::{Database, Dice, TestApp, on_both_databases};

on_both_databases![no_acknowledged_entry_is_lost_or_doubled_by_kills_at_random_moments];

/// Kills, each followed by a check; `CRASH_KILLS` overrides the number.
const KILLS_ON_SQLITE: u64 = 100;
const KILLS_ON_POSTGRES: u64 = 30;
/// The most requests that are answered between the last check and the next kill.
const REQUESTS_MAX: usize = 30;
/// The longest time from the last of these answers to the kill.
const KILL_DELAY_US_MAX: u64 = 4000;
/// The longest time from a start to its kill; a start takes about as long, so most kills hit it.
const START_DELAY_US_MAX: u64 = 30_000;
/// Share of rounds that kill the service again while it starts.
const START_KILLS: f64 = 0.3;

/// What the kills interrupted.
#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    start_kills: u64,
    /// Of those, how many came before the service was ready.
    start_kills_before_ready: u64,
    down: Duration,
}

async fn no_acknowledged_entry_is_lost_or_doubled_by_kills_at_random_moments(database: Database) {
    let default = if database == Database::Sqlite {
        KILLS_ON_SQLITE
    } else {
        KILLS_ON_POSTGRES
    };
    let rounds = crate::size("CRASH_KILLS", default);
    let mut dice = Dice::new(&format!(
        "CRASH_KILLS={rounds} cargo test --test faults crash_points::"
    ));
    let mut app = TestApp::on(database).log("info").start().await;
    let load = Load::start(&app);
    let mut figures = Figures::default();
    let start = Instant::now();
    for round in 1..=rounds {
        let rng = dice.of(usize::try_from(round).expect("few"));
        load.go_on(rng.random_range(0..=REQUESTS_MAX)).await;
        kill(&mut app, rng, &mut figures).await;
        load.assert_acknowledged_are_there(&app);
        app.assert_ledger_holds();
        if round % 100 == 0 {
            println!("{round} kills, {:.0} s", start.elapsed().as_secs_f64());
        }
    }
    let record = load.finish().await;
    println!(
        "{database:?}: {} kills under load and {} of a starting service ({} before it was ready), in {:.1} s; \
         a start took {:.0} ms on the average; {} entries acknowledged, {} of them found to be stored by an earlier \
         attempt, {} refused, {} requests repeated",
        figures.kills,
        figures.start_kills,
        figures.start_kills_before_ready,
        start.elapsed().as_secs_f64(),
        figures.down.as_secs_f64() * 1000.0 / figures.kills as f64,
        record.acknowledged.len(),
        record.duplicates,
        record.refused.len(),
        record.repeats,
    );
    assert_ledger_is(&app, &record).await;
}

/// Kills the service, sometimes again while it starts, and waits until it is ready.
async fn kill(app: &mut TestApp, rng: &mut StdRng, figures: &mut Figures) {
    pass(Duration::from_micros(
        rng.random_range(0..=KILL_DELAY_US_MAX),
    ))
    .await;
    app.kill();
    figures.kills += 1;
    if rng.random_bool(START_KILLS) {
        app.spawn_again();
        pass(Duration::from_micros(
            rng.random_range(0..=START_DELAY_US_MAX),
        ))
        .await;
        app.kill();
        figures.start_kills += 1;
        figures.start_kills_before_ready += u64::from(!app.log().contains("listening on"));
    }
    let down = Instant::now();
    app.start_again().await;
    figures.down += down.elapsed();
}

/// Waits more exactly than a timer, while other tasks run.
async fn pass(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        tokio::task::yield_now().await;
    }
}
