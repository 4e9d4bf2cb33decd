//! (c) 200 open sessions end with the ledger's balance, and their versions only rise.

use std::time::Instant;

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::Report;
use crate::deposits::{DEPOSIT, DEPOSITS};
use crate::rewards::REWARDS_PER_USER;
use crate::support::{Event, TestApp, Witness, eventually};

/// Sessions, each of its own user: those that get a deposit, and others.
pub const SESSIONS: u64 = 200;

/// A page that watches until its user's last entry.
pub struct Page {
    user_id: u64,
    watching: JoinHandle<Witness>,
}

/// Entries of a user in parts (a) and (b).
fn entries_of(user_id: u64) -> u64 {
    REWARDS_PER_USER + u64::from(user_id <= DEPOSITS)
}

/// Opens them all before anything happens.
pub async fn open(app: &TestApp, report: &mut Report) -> Vec<Page> {
    let start = Instant::now();
    let mut pages = Vec::new();
    for user_id in 1..=SESSIONS {
        let (mut ws, snapshot) = app.session(user_id).await;
        let watching = tokio::spawn(async move {
            let mut witness = Witness::of(&snapshot);
            while witness.version < entries_of(user_id) {
                match ws.next().await {
                    Event::Frame(frame) => witness.see(&frame),
                    other => panic!("user {user_id}: {other:?}"),
                }
            }
            ws.close().await;
            witness
        });
        pages.push(Page { user_id, watching });
    }
    assert_eq!(
        app.admin("/admin/v1/registry").await.ok()["sessions"],
        SESSIONS
    );
    report.line(
        "sessions opened",
        format!(
            "{SESSIONS} in {:.0} ms",
            start.elapsed().as_secs_f64() * 1000.0
        ),
    );
    pages
}

/// Waits until every page shows the last version, and compares with the ledger.
pub async fn settle(pages: Vec<Page>, app: &TestApp, report: &mut Report) {
    let start = Instant::now();
    let (mut updates, count) = (0, pages.len());
    for Page { user_id, watching } in pages {
        let witness = watching
            .await
            .unwrap_or_else(|error| panic!("the page of user {user_id}: {error}"));
        let ledger: Value = app
            .backend(&format!("/internal/v1/users/{user_id}/balance?fresh=true"))
            .await
            .ok();
        assert_eq!(ledger["version"], entries_of(user_id), "user {user_id}");
        assert_eq!(ledger["balances"]["UNI"], "0.062500000", "user {user_id}");
        assert_eq!(
            ledger["balances"]["TON"] == format!("{DEPOSIT}00000000"),
            user_id <= DEPOSITS,
            "user {user_id}"
        );
        assert_eq!(
            (witness.version, &witness.balances),
            (entries_of(user_id), &ledger["balances"]),
            "user {user_id}"
        );
        assert_eq!(
            witness.entries,
            entries_of(user_id),
            "each entry is in one update of user {user_id}"
        );
        updates += witness.updates;
    }
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    report.line(
        "sessions at the ledger's balance",
        format!(
            "{count} of {SESSIONS}, after {updates} updates, the last {ms:.0} ms after the rush"
        ),
    );
    eventually("every session is gone", async || {
        (app.admin("/admin/v1/registry").await.ok()["sessions"] == 0).then_some(())
    })
    .await;
}
