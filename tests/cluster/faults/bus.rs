//! No fault, and those of the one NATS server: killed, stopped, black-holed, cut in one direction, publishing denied.

use std::time::Duration;

use super::{A_SECOND_AND_A_ROUND, Row, Three, metric};
use crate::support::{Builder, Database, Nats, Passes, Relay, on_postgres};

on_postgres![
    without_a_fault_sessions_everywhere_hear_of_a_commit_at_once,
    a_bus_that_is_killed_or_stopped_is_made_up_for,
    a_bus_that_is_black_holed_or_cut_in_one_direction_is_made_up_for,
    a_process_that_may_not_publish_is_made_up_for,
];

fn on_bus(app: Builder, url: &str) -> Builder {
    app.set("cluster.url", url)
}

async fn without_a_fault_sessions_everywhere_hear_of_a_commit_at_once(database: Database) {
    let nats = Nats::start();
    let mut three = Three::start(database, |_, app| on_bus(app, nats.url())).await;
    let mut row = Row::new("none", Duration::from_millis(1));
    for n in 0..60 {
        // The session of the committing node is read first.
        let at = n % 3;
        three.sessions.swap(0, at);
        let took = three.see(at, "deposits").await;
        three.sessions.swap(0, at);
        row.took(took[2].saturating_sub(took[0]));
    }
    row.end();
    three.assert_reads().await;
    for app in &three.apps {
        assert_eq!(metric(app, "balance_cluster_covered").await, 1.0);
        assert_eq!(metric(app, "balance_cluster_healed_total").await, 0.0);
    }
    three.apps[0].assert_ledger_holds();
}

/// Changes are shown while it lasts, and all is well after it.
async fn lasts(three: &mut Three, row: &'static str) {
    let mut row = Row::new(row, A_SECOND_AND_A_ROUND);
    three.see_all(&mut row).await;
    three.are_uncovered().await;
    three.see_all(&mut row).await;
    three.assert_reads().await;
    row.end();
}

async fn a_bus_that_is_killed_or_stopped_is_made_up_for(database: Database) {
    let nats = Nats::start();
    let mut three = Three::start(database, |_, app| on_bus(app, nats.url())).await;
    nats.end("KILL");
    lasts(&mut three, "bus_killed").await;
    nats.start_again();
    three.are_well().await;
    nats.signal("STOP");
    lasts(&mut three, "bus_stopped").await;
    nats.signal("CONT");
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}

async fn a_bus_that_is_black_holed_or_cut_in_one_direction_is_made_up_for(database: Database) {
    let nats = Nats::start();
    let relay = Relay::start(nats.addr()).await;
    let relayed = format!("nats://{}", relay.addr);
    // One node alone: the others hear each other, and know that they don't hear all.
    let mut three = Three::start(database, |node, app| {
        on_bus(app, if node == "b" { &relayed } else { nats.url() })
    })
    .await;
    for (row, to_server, to_client) in [
        ("bus_black_holed_at_a_node", false, false),
        ("bus_cut_towards_the_server", false, true),
        ("bus_cut_towards_the_node", true, false),
    ] {
        relay.set(Passes {
            to_server,
            to_client,
        });
        lasts(&mut three, row).await;
        relay.set(Passes::ALL);
        three.are_well().await;
    }
    three.apps[0].assert_ledger_holds();
}

async fn a_process_that_may_not_publish_is_made_up_for(database: Database) {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("nats.conf");
    let users = |b_may: &str| {
        let users = format!(
            "accounts {{ BALANCE {{ users: [ {{ user: a, password: a }}, {{ user: c, password: c }}, \
             {{ user: b, password: b, permissions {{ publish: {{ {b_may}: \"balance.>\" }} }} }} ] }} }}"
        );
        std::fs::write(&config, users).expect("written");
    };
    users("allow");
    let nats = Nats::with_config(&config, &[]);
    let mut three = Three::start(database, |node, app| {
        on_bus(app, nats.url())
            .set("cluster.user", node)
            .set("cluster.password", node)
    })
    .await;
    users("deny");
    nats.signal("HUP");
    lasts(&mut three, "bus_denies_publishing").await;
    users("allow");
    nats.signal("HUP");
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}
