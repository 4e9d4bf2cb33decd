//! The bank with three nodes, each request and each session at any of them, while nodes and the bus between them fail.
//!
//! Every answer, first balance and refresh, at whatever node, has to agree with one order of all entries: none is older
//! than what was answered before at any other.

use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::bank::{Open, settings};
use crate::support::{Database, Dice, on_postgres, size};
use crate::with_bus::{Cluster, are_covered};

on_postgres![
    money_that_is_moved_through_failing_nodes_is_conserved_and_no_node_shows_less_than_another
];

/// Duration of the load; `BANK_SECONDS` overrides it.
const SECONDS: u64 = 24;
/// Time in which nothing fails, and time for which something is away.
const CALM: Duration = Duration::from_secs(2);
const AWAY: Duration = Duration::from_secs(2);

async fn money_that_is_moved_through_failing_nodes_is_conserved_and_no_node_shows_less_than_another(
    database: Database,
) {
    let seconds = size("BANK_SECONDS", SECONDS);
    let mut dice = Dice::new(&format!(
        "BANK_SECONDS={seconds} cargo test --test cluster through_faults::"
    ));
    let mut cluster = Cluster::start_with(database, settings).await;
    let apps: Vec<_> = cluster.apps.iter().collect();
    let bank = Open::start(&apps, &mut dice).await;
    let (start, mut round) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(CALM).await;
        let node = dice.of(round).random_range(0..cluster.apps.len());
        fail(&mut cluster, round, node).await;
        round += 1;
    }
    are_covered(&cluster.apps).await;
    let apps: Vec<_> = cluster.apps.iter().collect();
    bank.close(&apps, &format!("three nodes, {round} faults"))
        .await;
}

/// The faults take turns; a node's is at any of them.
async fn fail(cluster: &mut Cluster, round: usize, node: usize) {
    let app = &mut cluster.apps[node];
    match round % 4 {
        0 => {
            app.kill();
            app.start_again().await;
        }
        1 => {
            cluster.nats.end("KILL");
            tokio::time::sleep(AWAY).await;
            cluster.nats.start_again();
        }
        2 => {
            app.signal("STOP");
            tokio::time::sleep(AWAY).await;
            app.signal("CONT");
        }
        _ => {
            cluster.nats.signal("STOP");
            tokio::time::sleep(AWAY).await;
            cluster.nats.signal("CONT");
        }
    }
}
