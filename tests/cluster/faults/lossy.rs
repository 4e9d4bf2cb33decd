//! Single messages of commits that are lost, doubled, late, or out of order.

use std::time::{Duration, Instant};

use super::{Row, Three, USER, metric, until_shown};
use crate::support::{BusProxy, Database, MessageFault, Nats, eventually, on_postgres};

on_postgres![
    lost_and_late_messages_are_made_up_for,
    doubled_and_swapped_messages_change_nothing,
];

/// How often each fault happens.
const TIMES: usize = 8;
/// Longer than it takes to notice.
const LATE: Duration = Duration::from_millis(600);

async fn start(database: Database) -> (Three, BusProxy, Nats) {
    let nats = Nats::start();
    let proxy = BusProxy::start(nats.addr()).await;
    let proxied = format!("nats://{}", proxy.addr);
    let three = Three::start(database, |node, app| {
        app.set(
            "cluster.url",
            if node == "b" { &proxied } else { nats.url() },
        )
    })
    .await;
    (three, proxy, nats)
}

async fn lost_and_late_messages_are_made_up_for(database: Database) {
    let (mut three, proxy, _nats) = start(database).await;
    for (row, fault) in [
        ("message_lost", MessageFault::Lost),
        ("message_late", MessageFault::Late(LATE)),
    ] {
        let mut row = Row::new(row, Duration::from_millis(500));
        for n in 0..TIMES {
            proxy.plan(fault);
            let what = if n % 2 == 0 { "deposits" } else { "rewards" };
            let took = three.see(0, what).await;
            assert_eq!(proxy.left(), 0, "the fault has happened");
            row.took(took[1]);
        }
        row.end();
    }
    let b = &three.apps[1];
    // What came late was ignored.
    eventually("all late ones have come", async || {
        let doubled = metric(b, "balance_cluster_gaps_total{reason=\"doubled\"}").await;
        (doubled >= TIMES as f64).then_some(())
    })
    .await;
    three.sessions[1].assert_quiet().await;
    let scrape = b.metrics().await;
    let gaps = |reason| {
        scrape.value(&format!(
            "balance_cluster_gaps_total{{reason=\"{reason}\"}}"
        ))
    };
    assert!(gaps("beat") + gaps("sequence") >= 2.0 * TIMES as f64);
    three.are_well().await;
    three.apps[0].assert_ledger_holds();
}

async fn doubled_and_swapped_messages_change_nothing(database: Database) {
    let (mut three, proxy, _nats) = start(database).await;
    let mut row = Row::new("message_doubled", Duration::from_millis(500));
    for _ in 0..TIMES {
        proxy.plan(MessageFault::Doubled);
        let took = three.see(0, "deposits").await;
        row.took(took[1]);
        three.sessions[1].assert_quiet().await;
    }
    row.end();
    let b = &three.apps[1];
    let doubled = metric(b, "balance_cluster_gaps_total{reason=\"doubled\"}").await;
    assert!(doubled >= TIMES as f64, "{doubled}");

    let mut row = Row::new("messages_out_of_order", Duration::from_millis(500));
    for _ in 0..TIMES {
        let before = three.version;
        proxy.plan(MessageFault::Swapped);
        three.commit(0, "deposits").await;
        three.commit(0, "deposits").await;
        let answered = Instant::now();
        until_shown(&mut three.sessions[1], before, three.version).await;
        row.took(answered.elapsed());
        assert_eq!(proxy.left(), 0, "the fault has happened");
        // Both are direct, and the other sessions had them in order.
        for at in [0, 2] {
            until_shown(&mut three.sessions[at], before, three.version).await;
        }
    }
    row.end();
    three.are_well().await;
    assert_eq!(
        three.apps[1].entries(USER).await.len() as i64,
        three.version
    );
    three.apps[0].assert_ledger_holds();
}
