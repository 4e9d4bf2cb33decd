//! The dashboard of a node among others: who hears everything, who is gone, and a user whose sessions are at several.

use serde_json::json;

use super::figures::until_equal;
use super::{USER, go, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::support::{Builder, Database, Nats, TestApp, TestDatabase, eventually, on_postgres};

on_postgres![
    nodes_are_shown_as_each_tells_and_one_that_is_killed_stays_named,
    a_user_at_several_nodes_is_seen_whole_and_orders_tell_what_each_did,
];

in_a_browser![a_process_that_is_alone_shows_nothing_of_nodes];

/// Three nodes on one database and one bus, each of which knows of the others.
async fn three(more: impl Fn(Builder) -> Builder) -> (Vec<TestApp>, Nats) {
    let nats = Nats::start();
    let node = |name| {
        more(TestApp::on(Database::Postgres))
            .set("cluster.node", name)
            .set("cluster.url", nats.url())
    };
    let mut apps = vec![node("a").start().await];
    for name in ["b", "c"] {
        let dir = tempfile::tempdir().expect("a directory");
        let none = TestDatabase::Sqlite(dir.path().join("none.db"));
        let url = apps[0].database.url();
        apps.push(node(name).start_with(dir, none, &url).await);
    }
    for app in &apps {
        eventually("all nodes hear each other", async || {
            let shown = app.admin("/admin/v1/cluster").await.ok();
            let others = shown["nodes"].as_array().map_or(0, Vec::len);
            (shown["covered"] == true && others == 2).then_some(())
        })
        .await;
    }
    (apps, nats)
}

/// Waits until a cell of a table, in the row of a node, begins so.
async fn until_cell(browser: &Browser, table: &str, node: &str, column: usize, words: &str) {
    let row = format!(
        "[...document.querySelectorAll('#{table} tbody tr')].find((row) => row.cells[0].textContent.startsWith('{node}'))"
    );
    let words = json!(words);
    browser
        .until(&format!(
            "{row}?.cells[{column}]?.textContent.startsWith({words})"
        ))
        .await;
}

async fn until_summary(browser: &Browser, words: &str) {
    let words = json!(words);
    browser
        .until(&format!(
            "document.getElementById('nodes-summary').textContent.replaceAll('\u{a0}', ' ').startsWith({words})"
        ))
        .await;
}

async fn nodes_are_shown_as_each_tells_and_one_that_is_killed_stays_named(_: Database) {
    if !Browser::is_there() {
        return;
    }
    let (apps, _nats) = three(|app| app).await;
    let (_at_b, _) = apps[1].session(USER).await;
    let browser = Browser::start().await;
    sign_in(&browser, &apps[0], "").await;
    until_summary(
        &browser,
        "3 nodes: each hears everything that the others commit.",
    )
    .await;
    for node in ["a", "b", "c"] {
        until_cell(&browser, "node-list", node, 1, "yes").await;
    }
    until_cell(&browser, "node-list", "a (this one)", 2, "no page is open").await;
    until_cell(
        &browser,
        "node-list",
        "b",
        2,
        "current; compared with the ledger ",
    )
    .await;
    until_equal(
        &browser,
        "#nodes",
        7,
        async || json!({"cluster": apps[0].admin("/admin/v1/cluster").await.ok()}),
    )
    .await;
    browser.picture("admin-cluster").await;

    // Stopped: it is silent, and so neither of the others hears all.
    apps[1].signal("STOP");
    until_cell(&browser, "node-list", "b", 1, "silent since ").await;
    for node in ["a", "c"] {
        until_cell(&browser, "node-list", node, 1, "no").await;
    }
    until_summary(&browser, "3 nodes: none hears everything").await;
    browser.picture("admin-cluster-stopped").await;
    apps[1].signal("CONT");
    until_summary(&browser, "3 nodes: each hears everything").await;

    // Killed: when its lease has ended, the others hear all again, and it is named.
    apps[2].signal("KILL");
    until_cell(&browser, "node-list", "c", 1, "gone since ").await;
    until_summary(
        &browser,
        "2 nodes: each hears everything that the others commit. Gone lately: 1.",
    )
    .await;
    browser.picture("admin-cluster-killed").await;
    // Also by a page that is opened afterwards.
    sign_in(&browser, &apps[0], "").await;
    until_cell(&browser, "node-list", "c", 1, "gone since ").await;
    browser.click("[data-language=ru]").await;
    until_summary(&browser, "2 узла: каждый слышит всё").await;
    until_cell(&browser, "node-list", "c", 1, "пропал в ").await;
    browser.close(true).await;
}

async fn a_user_at_several_nodes_is_seen_whole_and_orders_tell_what_each_did(_: Database) {
    if !Browser::is_there() {
        return;
    }
    let paced = |app: Builder| {
        app.set("pacing.debounce_ms", 600_000)
            .set("pacing.min_interval_ms", 900_000)
    };
    let (apps, _nats) = three(paced).await;
    let (mut at_b, _) = apps[1].session(USER).await;
    let (mut at_c, _) = apps[2].session(USER).await;
    let browser = Browser::start().await;
    sign_in(&browser, &apps[0], &format!("#user/{USER}")).await;
    for (node, in_memory, sessions) in [
        ("a", "no", "0\u{a0}sessions"),
        ("b", "yes", "1\u{a0}session"),
        ("c", "yes", "1\u{a0}session"),
    ] {
        until_cell(&browser, "user-nodes", node, 1, in_memory).await;
        until_cell(&browser, "user-nodes", node, 2, sessions).await;
    }
    browser
        .until("document.getElementById('inside').textContent.startsWith('Not in memory at this node')")
        .await;
    for node in ["b", "c"] {
        until_cell(&browser, "user-sessions", node, 1, "0").await;
    }
    apps[1].accepted("rewards", USER, "r1", "1").await;
    for node in ["b", "c"] {
        until_cell(&browser, "user-nodes", node, 4, "1\u{a0}change").await;
    }
    // The asked node has heard of no version of this user, and the entry is shown all the same.
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 1")
        .await;
    browser.picture("admin-user-at-nodes").await;

    order(&browser, "push", "Push now: a: nothing waited; ").await;
    let told = browser.text("#order-outcome").await;
    assert!(
        told.contains("b: done") && told.contains("c: done"),
        "{told}"
    );
    at_b.next_frame("balance_update").await;
    at_c.next_frame("balance_update").await;

    // One that does not answer is named, and it is not said to have done nothing.
    apps[2].signal("STOP");
    order(&browser, "refresh", "Refresh: a: done; ").await;
    let told = browser.text("#order-outcome").await;
    assert!(told.contains("no answer from c"), "{told}");
    until_cell(&browser, "user-nodes", "c", 1, "did not answer").await;
    apps[2].signal("CONT");
    until_cell(&browser, "user-nodes", "c", 1, "yes").await;

    order(
        &browser,
        "disconnect",
        "Disconnect: a: no session was open; ",
    )
    .await;
    let told = browser.text("#order-outcome").await;
    assert!(
        told.contains("b: 1\u{a0}session closed") && told.contains("c: 1\u{a0}session closed"),
        "{told}"
    );
    assert_eq!((at_b.closed().await.0, at_c.closed().await.0), (4510, 4510));
    browser.close(true).await;
}

/// Gives an order, and waits until it is told what became of it.
async fn order(browser: &Browser, order: &str, words: &str) {
    browser
        .value("document.getElementById('order-outcome').textContent = ''")
        .await;
    browser.click(&format!("[data-order={order}]")).await;
    browser.click("#confirm-yes").await;
    let words = json!(words);
    browser
        .until(&format!(
            "document.getElementById('order-outcome').textContent.startsWith({words})"
        ))
        .await;
}

async fn a_process_that_is_alone_shows_nothing_of_nodes() {
    let app = slow().start().await;
    let (_ws, _) = app.session(USER).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('#tiles .tile')")
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('nodes').hidden")
            .await,
        true
    );
    go(&browser, &format!("#user/{USER}")).await;
    browser
        .until("document.querySelectorAll('#user-sessions tbody tr').length === 1")
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('user-nodes-panel').hidden")
            .await,
        true
    );
    browser.close(false).await;
}
