//! Two NATS servers, routed to each other, that lose sight of each other while all processes reach PostgreSQL.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use balance_coordinator::clock::parse_rfc3339;
use serde_json::Value;

use super::{A_SECOND_AND_A_ROUND, Row, Three};
use crate::support::{Database, Nats, Passes, Relay, TestApp, eventually, on_postgres};

on_postgres![both_sides_of_a_split_bus_show_what_the_other_commits];

/// In the time between two looks a node is heard later by much more than this, in microseconds.
const BEATS_US: i64 = 500_000;

/// An address that is free now.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// A server that takes routes here, and makes these. Neither servers nor clients learn of another way.
fn server(dir: &Path, name: &str, listen: SocketAddr, routes: &str) -> Nats {
    let config = dir.join(format!("{name}.conf"));
    let text = format!(
        "server_name: {name}\ncluster {{ name: split, listen: \"{listen}\", no_advertise: true, \
         connect_retries: 100000, routes: [{routes}] }}\n"
    );
    std::fs::write(&config, text).expect("written");
    Nats::with_config(&config, &[])
}

async fn both_sides_of_a_split_bus_show_what_the_other_commits(database: Database) {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, other) = (free(), free());
    let mut relay = Relay::start(one).await;
    let first = server(dir.path(), "first", one, "");
    let route = format!("\"nats://{}\"", relay.addr);
    let second = server(dir.path(), "second", other, &route);
    let mut three = Three::start(database, |node, app| {
        app.set(
            "cluster.url",
            if node == "c" {
                second.url()
            } else {
                first.url()
            },
        )
    })
    .await;
    // Held up without an end, as by a firewall.
    relay.set(Passes::NONE);
    lasts(&mut three, "bus_split_silently").await;
    relay.set(Passes::ALL);
    three.are_well().await;
    relay.cut().await;
    lasts(&mut three, "bus_split").await;
    relay.mend().await;
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}

/// Each side shows what the other commits, and knows that it does not hear it.
async fn lasts(three: &mut Three, row: &'static str) {
    let mut row = Row::new(row, A_SECOND_AND_A_ROUND);
    three.see_all(&mut row).await;
    three.are_uncovered().await;
    three.see_all(&mut row).await;
    three.assert_reads().await;
    row.end();
    let looks = [(0, vec!["c"]), (1, vec!["c"]), (2, vec!["a", "b"])];
    for (at, silent) in looks {
        assert_eq!(silent_at(&three.apps[at]).await, silent);
    }
}

/// The nodes that are in PostgreSQL, renewed, and silent on the bus, as a connected process shows them.
async fn silent_at(app: &TestApp) -> Vec<String> {
    let look = async || -> Vec<Value> {
        let shown = app.admin("/admin/v1/cluster").await.ok();
        assert_eq!(shown["connected"], true, "{shown}");
        let mut nodes = shown["nodes"].as_array().expect("a list").clone();
        nodes.sort_by_key(|node| node["node"].to_string());
        nodes
    };
    let mut looks = vec![look().await];
    // From one renewal of all rows to the next, each node beats several times.
    for _ in 0..2 {
        let before = looks.last().expect("one").clone();
        let renewed = eventually("all rows are renewed", async || {
            let now = look().await;
            let mut pairs = now.iter().zip(&before);
            pairs
                .all(|(now, before)| now["seen_at"] != before["seen_at"])
                .then_some(now)
        });
        looks.push(renewed.await);
    }
    let pairs = looks[1].iter().zip(&looks[2]);
    let heard_us = |node: &Value| {
        let heard_at = node["heard_at"].as_str().expect("it was heard once");
        parse_rfc3339(heard_at).expect("a time")
    };
    pairs
        .filter(|(before, now)| heard_us(now) - heard_us(before) < BEATS_US)
        .map(|(_, now)| now["node"].as_str().expect("a name").to_owned())
        .collect()
}
