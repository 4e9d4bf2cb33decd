//! The network between the service and PostgreSQL: it swallows all traffic, refuses connections, or
//! is slow.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Cluster, Database, Mode, Proxy, TestApp, eventually, on_postgres};

use super::{Reads, Scene, app_on, connections_of};

on_postgres![
    a_black_hole_before_the_server_hangs_no_request_and_leaves_no_trace,
    refused_connections_are_an_outage_and_a_slow_network_is_none,
    a_refresh_during_a_hanging_read_waits_for_no_second_one,
];

async fn a_black_hole_before_the_server_hangs_no_request_and_leaves_no_trace(_: Database) {
    let cluster = Cluster::start();
    let proxy = Proxy::start(cluster.addr()).await;
    let mut scene = Scene::open(app_on(&cluster, Some(&proxy)).await).await;
    for round in 0..2 {
        proxy.set(Mode::BlackHole);
        scene.during(Reads::Away).await;
        scene.during(Reads::Away).await;
        if round == 1 {
            // The earlier connections are dead when the network is back.
            proxy.sever();
        }
        proxy.set(Mode::Pass);
        scene
            .recovers(
                "PostgreSQL behind a black hole",
                Instant::now(),
                Reads::Away,
            )
            .await;
    }
    scene.close(Some(&cluster)).await;
}

async fn refused_connections_are_an_outage_and_a_slow_network_is_none(_: Database) {
    let cluster = Cluster::start();
    let proxy = Proxy::start(cluster.addr()).await;
    let mut scene = Scene::open(app_on(&cluster, Some(&proxy)).await).await;
    proxy.set(Mode::Refuse);
    scene.during(Reads::Away).await;
    proxy.set(Mode::Pass);
    scene
        .recovers(
            "PostgreSQL refusing connections",
            Instant::now(),
            Reads::Away,
        )
        .await;
    // Slow, but within the time-out: sessions receive nothing about it.
    let refused = *scene.load.told.refused.lock().expect("no panic holds it");
    for delays in [(5, 20), (20, 5)] {
        proxy.set(Mode::Delay(
            Duration::from_millis(delays.0),
            Duration::from_millis(delays.1),
        ));
        scene.load_goes_on().await;
    }
    proxy.set(Mode::Pass);
    assert_eq!(
        refused,
        *scene.load.told.refused.lock().expect("no panic holds it"),
        "a slow network is no outage"
    );
    scene.close(Some(&cluster)).await;
}

/// Both are answered when the first read times out: within one time-out, not two.
async fn a_refresh_during_a_hanging_read_waits_for_no_second_one(database: Database) {
    const TIMEOUT: Duration = Duration::from_secs(6);
    let cluster = Cluster::start();
    let proxy = Proxy::start(cluster.addr()).await;
    let (of_ledger, dir) = (
        cluster.create_database(),
        tempfile::tempdir().expect("a directory"),
    );
    let url = proxy.url(&of_ledger.url());
    let builder = TestApp::on(database)
        .set("database.timeout_ms", 6000)
        .set("database.pool_size", 2);
    // It has its own connection.
    let builder = builder.set("audit.users_per_s", 0);
    let app = builder
        .set("database.writers", 1)
        .start_with(dir, of_ledger, &url)
        .await;
    app.accepted("deposits", 1, "d", "1").await;
    // Both reads must hang on existing connections.
    eventually("the pool is full", async || {
        let reads =
            [1, 2].map(|user_id| format!("/internal/v1/users/{user_id}/balance?fresh=true"));
        tokio::join!(app.backend(&reads[0]), app.backend(&reads[1]));
        // The writer has one, and so has what renews the row of this process.
        (connections_of(&app) == 4).then_some(())
    })
    .await;
    let (mut ws, _) = app.session(1).await;
    proxy.set(Mode::BlackHole);
    ws.send_json(json!({"type": "refresh", "id": 1})).await;
    eventually("the read hangs", async || {
        (app.admin("/admin/v1/actors/1").await.ok()["in_flight"] == 1).then_some(())
    })
    .await;
    ws.send_json(json!({"type": "refresh", "id": 2})).await;
    let mut answered = Vec::new();
    for id in 1..=2 {
        let balance = ws.next_frame("balance").await;
        assert_eq!(
            (&balance["id"], &balance["stale"]),
            (&json!(id), &json!(true)),
            "{balance}"
        );
        answered.push(Instant::now());
    }
    let gap = answered[1] - answered[0];
    assert!(gap < TIMEOUT / 2, "the second came {gap:?} after the first");
    proxy.set(Mode::Pass);
    let recovered = ws.next_frame("balance").await;
    assert_eq!(
        (&recovered["reason"], &recovered["stale"]),
        (&json!("recovered"), &json!(false)),
        "{recovered}"
    );
}
