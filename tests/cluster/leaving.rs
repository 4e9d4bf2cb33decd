//! A process that ends, in order or not, is never forgotten before what it committed has been looked for.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::json;

use crate::beside;
use crate::support::{Database, Nats, PATIENCE, Process, Signed, TestApp, eventually, on_postgres};
use crate::with_bus::{are_covered, settings, start_on};

on_postgres![
    what_a_process_commits_that_comes_and_goes_between_two_looks_is_found,
    what_others_commit_while_a_process_stands_still_is_found,
    what_a_node_commits_that_is_never_heard_is_found_though_it_leaves_in_order,
    a_row_stays_while_its_process_may_still_commit,
    a_process_that_cannot_be_told_of_is_not_started,
];

/// A row in the table of processes that no other process can have missed any more.
const MAKE_OLD: &str = "UPDATE nodes SET started_at_us = started_at_us - 10000000 WHERE node = 'b'";

const ROWS_OF_B: &str = "SELECT count(*) FROM nodes WHERE node = 'b'";

/// The second process lives only while the first one stands still.
async fn what_a_process_commits_that_comes_and_goes_between_two_looks_is_found(database: Database) {
    let first = TestApp::on(database).set("cluster.node", "a").start().await;
    let (mut ws, _) = first.session(1).await;
    first.signal("STOP");
    let mut second = beside(&first, "b").await;
    second.accepted("deposits", 1, "d1", "5").await;
    assert!(second.stop().await.success());
    first.signal("CONT");
    assert_eq!(ws.next_frame("balance_update").await["version"], 1);
}

/// It stands still for longer than the row of a process that has gone is kept.
async fn what_others_commit_while_a_process_stands_still_is_found(database: Database) {
    let first = TestApp::on(database).set("cluster.node", "a").start().await;
    let (mut ws, _) = first.session(1).await;
    first.signal("STOP");
    let mut second = beside(&first, "b").await;
    second.accepted("deposits", 1, "d1", "5").await;
    tokio::time::sleep(Duration::from_millis(6_500)).await;
    assert!(second.stop().await.success());
    assert_eq!(first.database.number(ROWS_OF_B), 0, "everyone has seen it");
    first.signal("CONT");
    assert_eq!(ws.next_frame("balance_update").await["version"], 1);
}

/// The bus of the second one is not there, and the first one looks only for what it knows to be missing.
async fn what_a_node_commits_that_is_never_heard_is_found_though_it_leaves_in_order(
    database: Database,
) {
    let nats = Nats::start();
    let first = settings(TestApp::on(database), "a", nats.url());
    let first = [first.set("cluster.check_s", 600).start().await];
    are_covered(&first).await;
    let [first] = first;
    let (mut ws, _) = first.session(1).await;
    let nowhere = "nats://127.0.0.1:9";
    for n in 1..=2 {
        let second = settings(TestApp::on(database), "b", nowhere);
        let mut second = start_on(second, &first.database.url()).await;
        second.accepted("deposits", 1, &format!("d{n}"), "5").await;
        assert!(second.stop().await.success());
        assert_eq!(ws.next_frame("balance_update").await["version"], n);
    }
}

/// Its last entry waits for a lock of another program when it is told to stop, and is committed or given up.
async fn a_row_stays_while_its_process_may_still_commit(database: Database) {
    let first = TestApp::on(database).set("cluster.node", "a").start().await;
    let (mut ws, _) = first.session(1).await;
    for (round, is_freed) in [(1, true), (2, false)] {
        let second = TestApp::on(database)
            .set("cluster.node", "b")
            .set("server.shutdown_timeout_s", 6)
            .set("database.timeout_ms", 30_000);
        let mut second = start_on(second, &first.database.url()).await;
        second
            .accepted("deposits", 1, &format!("first:{round}"), "1")
            .await;
        first.database.sql(MAKE_OLD);
        let lock = "SELECT 1 FROM accounts WHERE user_id = 1 FOR UPDATE";
        let mut lock = Some(first.database.hold(lock));
        let event_id = format!("last:{round}");
        let last = json!({"event_id": event_id, "user_id": 1, "currency": "TON", "amount": "1"});
        let last = Signed::post("/internal/v1/deposits", &last);
        let sender = second.sender();
        let sent = tokio::spawn(async move { sender.try_send(last).await });
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("it waits for the lock", async || {
            (first.database.number(waits) > 0).then_some(())
        })
        .await;
        second.signal("TERM");
        eventually("it ends with an entry that is not decided", async || {
            let log = second.log();
            log.contains("stopping with unanswered requests")
                .then_some(())
        })
        .await;
        if is_freed {
            lock.take();
        }
        assert!(second.stop().await.success());
        let entries = first.database.entries(Some(&[event_id]));
        let is_committed = !entries.is_empty();
        let is_left = first.database.number(ROWS_OF_B) == 1;
        // On a busy machine its last 2.5 s may not be enough for the entry, or for the row.
        assert!(is_freed || !is_committed);
        assert!(
            is_left || is_committed,
            "what it gave up may still be committed"
        );
        sent.abort();
        let all = first.database.number("SELECT count(*) FROM entries");
        while ws.next_frame("balance_update").await["version"] != all {}
    }
}

/// Others would not know of it, and it would commit what they never look for.
async fn a_process_that_cannot_be_told_of_is_not_started(database: Database) {
    let first = TestApp::on(database).set("cluster.node", "a").start().await;
    first.database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON nodes FOR EACH ROW WHEN (NEW.node = 'b') EXECUTE FUNCTION refuse()",
    );
    let second = TestApp::on(database).set("cluster.node", "b");
    let dir = second.prepare_at(&first.database.url());
    let arguments = ["serve", "--config", "config.toml"].map(OsString::from);
    for (signal, code) in [(Some("TERM"), 0), (None, 1)] {
        let log = dir.path().join(format!("ends-with-{code}.log"));
        let mut process = Process::start(dir.path(), &arguments, &[], &log);
        eventually("it says what it tries", async || {
            let said = "this process can't be entered in the table of nodes";
            process.log().contains(said).then_some(())
        })
        .await;
        if let Some(signal) = signal {
            process.signal(signal);
        }
        let status = process.wait(3 * PATIENCE).await;
        assert_eq!(status.code(), Some(code), "{}", process.log());
    }
}
