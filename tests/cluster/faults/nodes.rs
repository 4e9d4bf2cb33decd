//! Nodes that are killed between COMMIT and publish, and that are stopped for a while.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{A_SECOND_AND_A_ROUND, Row, Three, USER, shown, until_shown, version_in};
use crate::support::{
    CommitFault, Database, Nats, Proxy, Signed, TestApp, eventually, on_postgres, size,
};
use crate::with_bus::{NODES, are_covered, start_on};

on_postgres![
    a_commit_of_a_node_that_dies_before_it_tells_of_it_is_shown,
    a_node_that_is_stopped_holds_no_one_up_and_shows_nothing_older_when_it_goes_on,
];

/// How long a node is stopped; longer than its row in the ledger counts. `STOPPED_SECONDS` overrides it.
const STOPPED_SECONDS: u64 = 8;

/// Three processes of which the last reaches PostgreSQL through a proxy, with one writer, so that a fault that is planned
/// happens to the next entry.
async fn behind_a_proxy(database: Database, nats: &Nats) -> (Three, Proxy) {
    let app = |node| {
        super::quick(TestApp::on(database))
            .set("cluster.node", node)
            .set("cluster.url", nats.url())
            .set("database.writers", 1)
    };
    let first = app(NODES[0]).start().await;
    let url = first.database.url();
    let proxy = Proxy::start(first.database.addr()).await;
    let second = start_on(app(NODES[1]), &url).await;
    let third = start_on(app(NODES[2]), &proxy.url(&url)).await;
    (Three::of(vec![first, second, third]).await, proxy)
}

fn deposit(version: i64) -> Signed {
    let body = json!({"event_id": format!("e{version}"), "user_id": USER, "currency": "TON", "amount": "1"});
    Signed::post("/internal/v1/deposits", &body)
}

async fn a_commit_of_a_node_that_dies_before_it_tells_of_it_is_shown(database: Database) {
    let nats = Nats::start();
    let (mut three, proxy) = behind_a_proxy(database, &nats).await;
    let mut row = Row::new("killed_between_commit_and_publish", A_SECOND_AND_A_ROUND);
    for _ in 0..3 {
        three.see(2, "deposits").await;
        three.version += 1;
        proxy.plan_commits([Some(CommitFault::AnswerHeld)]);
        let sender = three.apps[2].sender();
        let sending = tokio::spawn(async move { sender.try_send(deposit(three.version)).await });
        eventually("it is committed", async || {
            let query = format!("SELECT version FROM accounts WHERE user_id = {USER}");
            (three.apps[0].database.number(&query) == three.version).then_some(())
        })
        .await;
        three.apps[2].kill();
        let killed = Instant::now();
        sending
            .await
            .expect("no panic")
            .expect_err("it was never answered");
        for ws in &mut three.sessions[..2] {
            shown(ws, three.version, "deposits").await;
            row.took(killed.elapsed());
        }
        // The page of the killed node reconnects elsewhere.
        let (_ws, snapshot) = three.apps[1].session(USER).await;
        assert_eq!(version_in(&snapshot), three.version, "{snapshot}");
        // Its sender asks again, and is told the same.
        let again = three.apps[0].send(deposit(three.version)).await.ok();
        assert_eq!(
            (&again["duplicate"], &again["version"]),
            (&json!(true), &json!(three.version)),
            "{again}"
        );
        three.apps[2].start_again().await;
        are_covered(&three.apps).await;
        three.sessions[2] = three.apps[2].session(USER).await.0;
    }
    row.end();
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}

async fn a_node_that_is_stopped_holds_no_one_up_and_shows_nothing_older_when_it_goes_on(
    database: Database,
) {
    let nats = Nats::start();
    let (mut three, proxy) = behind_a_proxy(database, &nats).await;
    three.see(2, "deposits").await;
    // Stopped in the middle of a transaction: the row of the user is locked.
    proxy.plan_commits([Some(CommitFault::Held)]);
    let (sender, version) = (three.apps[2].sender(), three.version + 1);
    let sending = tokio::spawn(async move { sender.try_send(deposit(version)).await });
    eventually("its COMMIT is held", async || {
        (proxy.commits_cut().0 == 1).then_some(())
    })
    .await;
    three.apps[2].signal("STOP");
    let stopped = Instant::now();
    let mut locked = Row::new("locks_of_a_stopped_node", Duration::from_secs(1));
    three.apps[0].sender().insist(deposit(version)).await;
    locked.took(stopped.elapsed());
    locked.end();
    three.version = version;
    let mut row = Row::new("others_while_a_node_is_stopped", A_SECOND_AND_A_ROUND);
    let mut of_stopped = three.sessions.pop().expect("three");
    for ws in &mut three.sessions {
        shown(ws, version, "deposits").await;
    }
    let seconds = size("STOPPED_SECONDS", STOPPED_SECONDS);
    while stopped.elapsed() < Duration::from_secs(seconds) {
        for at in 0..2 {
            let took = three.see(at, "deposits").await;
            took.into_iter().for_each(|took| row.took(took));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    row.end();
    three.apps[2].signal("CONT");
    let goes_on = Instant::now();
    let read = three.apps[2].backend(&super::balance(USER)).await.ok();
    assert_eq!(version_in(&read), three.version, "{read}");
    let mut row = Row::new("stopped_node_goes_on", A_SECOND_AND_A_ROUND);
    until_shown(&mut of_stopped, 1, three.version).await;
    row.took(goes_on.elapsed());
    row.end();
    three.sessions.push(of_stopped);
    // What its sender is told is true: not committed here, or committed by the other attempt.
    if let Ok(answer) = sending.await.expect("no panic") {
        match answer.status {
            200 => assert_eq!(answer.ok()["version"], version),
            status => assert_eq!(status, 503, "{answer:?}"),
        }
    }
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}
