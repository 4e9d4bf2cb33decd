//! A page whose connections come to one node after another.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Row, Three, USER, ton, version_in};
use crate::support::{Database, Event, Nats, Witness, on_postgres, token};

on_postgres![a_page_that_moves_between_nodes_is_never_shown_anything_older];

/// Moves in each state of the bus.
const MOVES: usize = 30;

async fn a_page_that_moves_between_nodes_is_never_shown_anything_older(database: Database) {
    let nats = Nats::start();
    let mut three = Three::start(database, |_, app| app.set("cluster.url", nats.url())).await;
    three.sessions.clear();
    moves(&mut three, "page_moves").await;
    nats.end("KILL");
    moves(&mut three, "page_moves_without_a_bus").await;
    nats.start_again();
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}

/// The page is at one node, a commit happens at another, and the page moves on to a third one or back: before or after it
/// was shown the commit.
async fn moves(three: &mut Three, row: &'static str) {
    // "At once": a read of the ledger.
    let mut row = Row::new(row, Duration::from_millis(100));
    let mut page = Witness::default();
    for n in 0..MOVES {
        let (at, commits_at) = (n % 3, (n / 3) % 3);
        let begun = Instant::now();
        let (mut ws, snapshot) = three.apps[at].session(USER).await;
        row.took(begun.elapsed());
        // Everything that was answered anywhere is in it. The witness checks it against what the page was shown.
        page.see(&snapshot);
        assert_eq!(version_in(&snapshot), three.version, "{snapshot}");
        assert_eq!(snapshot["balances"]["TON"], ton(three.version));
        assert_eq!(snapshot["stale"], false, "{snapshot}");
        three.commit(commits_at, "deposits").await;
        // A page reads what it has just done at whatever node it meets.
        let after = (commits_at + 1) % 3;
        let path = format!("/api/v1/balance?min_version={}", three.version);
        let read = three.apps[after].browser(&path, &token(USER), &[]).await;
        assert_eq!(version_in(&read.ok()), three.version);
        if n % 2 == 0 {
            let Event::Frame(update) = ws.next().await else {
                panic!("the commit is pushed");
            };
            page.see(&update);
            // Counted from the snapshot, not from what another node's sessions have seen.
            assert_eq!(
                (&update["version"], &update["entries"], &update["changes"]),
                (
                    &json!(three.version),
                    &json!(1),
                    &json!({"TON": "1.000000000"})
                ),
                "{update}"
            );
        }
        ws.close().await;
    }
    row.end();
}
