//! Commits that no node tells of: by hand, and of a process without a bus.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{A_SECOND_AND_A_ROUND, Row, Three, USER, quick, shown, ton};
use crate::support::{Database, Event, Nats, TestApp, eventually, on_postgres};
use crate::with_bus::{by_hand, start_on};

on_postgres![
    a_commit_by_hand_is_found_by_the_check,
    a_process_without_a_bus_is_named_and_made_up_for,
];

/// `cluster.check_s`
const CHECK: Duration = Duration::from_secs(30);
/// A process's row is read by the others each two seconds.
const LEARNT: Duration = Duration::from_secs(2);

async fn a_commit_by_hand_is_found_by_the_check(database: Database) {
    let nats = Nats::start();
    let mut three = Three::start(database, |_, app| app.set("cluster.url", nats.url())).await;
    three.see(0, "deposits").await;
    by_hand(&three.apps[0], USER, 1);
    let committed = Instant::now();
    three.version = 2;
    let mut row = Row::new("commit_by_hand", CHECK);
    for ws in &mut three.sessions {
        let Some(Event::Frame(update)) = ws.next_within(2 * CHECK).await else {
            panic!("it is not found");
        };
        row.took(committed.elapsed());
        assert_eq!(
            (&update["version"], &update["sources"], &update["mode"]),
            (&json!(2), &json!(["by_hand"]), &json!("direct")),
            "{update}"
        );
        assert_eq!(update["balances"]["TON"], ton(2), "{update}");
    }
    row.end();
    three.assert_reads().await;
    three.apps[0].assert_ledger_holds();
}

async fn a_process_without_a_bus_is_named_and_made_up_for(database: Database) {
    let nats = Nats::start();
    let mut three = Three::start(database, |_, app| app.set("cluster.url", nats.url())).await;
    three.see(0, "deposits").await;
    let url = three.apps[0].database.url();
    let without = quick(TestApp::on(database).set("cluster.node", "d"));
    let mut without = start_on(without, &url).await;
    let mut row = Row::new(
        "process_without_a_bus_begins",
        LEARNT + A_SECOND_AND_A_ROUND,
    );
    commit(&without, &mut three, &mut row).await;
    row.end();
    three.are_uncovered().await;
    let told = three.apps[0].admin("/admin/v1/cluster").await.ok();
    let nodes = told["nodes"].as_array().expect("a list");
    let d = nodes.iter().find(|node| node["node"] == "d");
    assert_eq!(d.expect("it is named")["has_bus"], false, "{told}");

    let mut row = Row::new("process_without_a_bus", A_SECOND_AND_A_ROUND);
    let (ws, _) = without.session(USER).await;
    three.sessions.push(ws);
    for what in ["deposits", "rewards"] {
        commit(&without, &mut three, &mut row).await;
        let took = three.see(1, what).await;
        took.into_iter().for_each(|took| row.took(took));
    }
    row.end();
    three.assert_reads().await;
    three.sessions.pop();
    assert!(without.stop().await.success());
    eventually("it is missed no more", async || {
        let told = three.apps[0].admin("/admin/v1/cluster").await.ok();
        let nodes = told["nodes"].as_array().expect("a list");
        nodes.iter().all(|node| node["node"] != "d").then_some(())
    })
    .await;
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}

/// A deposit at a process is seen on all sessions.
async fn commit(at: &TestApp, three: &mut Three, row: &mut Row) {
    three.version += 1;
    let event_id = format!("e{}", three.version);
    at.accepted("deposits", USER, &event_id, "1").await;
    let answered = Instant::now();
    for ws in &mut three.sessions {
        shown(ws, three.version, "deposits").await;
        row.took(answered.elapsed());
    }
}
