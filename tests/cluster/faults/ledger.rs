//! PostgreSQL is away from one node alone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Row, Three, USER, balance, ton, version_in};
use crate::support::{Database, Mode, Nats, Proxy, TestApp, eventually, on_postgres};
use crate::with_bus::{NODES, start_on};

on_postgres![
    a_node_whose_ledger_refuses_shows_what_it_hears_as_old,
    a_node_whose_ledger_hangs_shows_what_it_hears_as_old,
];

/// As for a single node: the next try, a quarter of a second later, or the one that replaces a hanging one.
const BACK: Duration = Duration::from_secs(2);

async fn a_node_whose_ledger_refuses_shows_what_it_hears_as_old(database: Database) {
    is_away(database, Mode::Refuse, "ledger_refuses_one_node").await;
}

async fn a_node_whose_ledger_hangs_shows_what_it_hears_as_old(database: Database) {
    is_away(database, Mode::BlackHole, "ledger_hangs_for_one_node").await;
}

async fn is_away(database: Database, mode: Mode, row: &'static str) {
    let nats = Nats::start();
    let app = |node| {
        super::quick(TestApp::on(database))
            .set("cluster.node", node)
            .set("cluster.url", nats.url())
            .set("database.timeout_ms", 1500)
    };
    let first = app(NODES[0]).start().await;
    let url = first.database.url();
    let proxy = Proxy::start(first.database.addr()).await;
    let second = start_on(app(NODES[1]), &proxy.url(&url)).await;
    let third = start_on(app(NODES[2]), &url).await;
    let mut three = Three::of(vec![first, second, third]).await;
    three.see(1, "deposits").await;

    proxy.set(mode);
    eventually("the node is not ready", async || {
        let answer = three.apps[1].plain_get(three.apps[1].public, "/readyz");
        (answer.await.status == 503).then_some(())
    })
    .await;
    let mut heard = Row::new("heard_while_the_ledger_is_away", Duration::from_millis(500));
    for at in [0, 2] {
        for what in ["deposits", "rewards"] {
            heard.took(three.see(at, what).await[1]);
        }
    }
    heard.end();
    assert_old(&mut three).await;
    for at in [0, 2] {
        let app = &three.apps[at];
        assert_eq!(app.plain_get(app.public, "/readyz").await.status, 200);
    }

    proxy.set(Mode::Pass);
    let back = Instant::now();
    let frame = three.sessions[1].next_frame("balance").await;
    let mut row = Row::new(row, BACK);
    row.took(back.elapsed());
    row.end();
    assert_eq!(
        (&frame["reason"], &frame["stale"], version_in(&frame)),
        (&json!("recovered"), &json!(false), three.version),
        "{frame}"
    );
    eventually("the node is ready", async || {
        let answer = three.apps[1].plain_get(three.apps[1].public, "/readyz");
        (answer.await.status == 200).then_some(())
    })
    .await;
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}

/// What the node shows is what it heard, with the time of that commit, and marked.
async fn assert_old(three: &mut Three) {
    let newest = three.apps[0].entries(USER).await.swap_remove(0);
    let read = three.apps[1].backend(&balance(USER)).await.ok();
    let refreshed = three.sessions[1].refresh(json!("away")).await;
    let fields = |shown: &Value| {
        [
            shown["version"].clone(),
            shown["balances"]["TON"].clone(),
            shown["stale"].clone(),
            shown["as_of"].clone(),
        ]
    };
    for shown in [read, refreshed] {
        assert_eq!(
            fields(&shown),
            [
                json!(three.version),
                json!(ton(three.version)),
                json!(true),
                newest["committed_at"].clone()
            ],
            "{shown}"
        );
    }
}
