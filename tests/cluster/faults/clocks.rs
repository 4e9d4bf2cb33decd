//! Nodes whose clocks differ. The programs run with libfaketime in front of the system's clock; the monotonic one is left
//! as it is, since time goes on as everywhere.

use std::path::PathBuf;

use super::{A_SECOND_AND_A_ROUND, Row, Three, USER, metric, version_in};
use crate::support::{Database, Nats, eventually, on_postgres};

on_postgres![clocks_that_differ_bend_neither_order_nor_pacing_nor_coverage];

/// How much the clocks are ahead, in seconds; less than webhooks' timestamps may be off.
const AHEAD_S: [i64; 3] = [0, 90, -90];

/// Debian's libfaketime; `None`, said aloud, where it is missing.
fn library() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib")
        .expect("a directory")
        .flatten();
    let mut found = found.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let library = found.find(|path| path.exists());
    if library.is_none() {
        assert!(std::env::var_os("CI").is_none(), "libfaketime is missing");
        println!("SKIPPED: needs Debian's package libfaketime");
    }
    library
}

async fn clocks_that_differ_bend_neither_order_nor_pacing_nor_coverage(database: Database) {
    let Some(library) = library() else { return };
    let library = library.to_str().expect("a text");
    let nats = Nats::start();
    let mut three = Three::start(database, |node, app| {
        let app = app.set("cluster.url", nats.url());
        match AHEAD_S[usize::from(node.as_bytes()[0] - b'a')] {
            0 => app,
            ahead_s => app
                .variable("LD_PRELOAD", library)
                .variable("FAKETIME", &format!("{ahead_s:+}"))
                .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .variable("DONT_FAKE_MONOTONIC", "1"),
        }
    })
    .await;
    for (app, ahead_s) in three.apps.iter().zip(AHEAD_S) {
        eventually("the difference is shown", async || {
            let skew = metric(app, "balance_cluster_clock_skew_seconds").await;
            ((skew - ahead_s as f64).abs() < 5.0).then_some(())
        })
        .await;
    }
    let mut row = Row::new("clocks_differ", A_SECOND_AND_A_ROUND);
    for _ in 0..5 {
        three.see_all(&mut row).await;
    }
    row.end();
    for app in &three.apps {
        assert_eq!(metric(app, "balance_cluster_covered").await, 1.0);
        assert_eq!(metric(app, "balance_cluster_healed_total").await, 0.0);
    }
    // What the check finds has times of another clock, too.
    nats.end("KILL");
    three.are_uncovered().await;
    let mut row = Row::new("clocks_differ_without_a_bus", A_SECOND_AND_A_ROUND);
    three.see_all(&mut row).await;
    row.end();
    for app in &three.apps {
        let (_ws, snapshot) = app.session(USER).await;
        assert_eq!(version_in(&snapshot), three.version, "{snapshot}");
    }
    nats.start_again();
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}
