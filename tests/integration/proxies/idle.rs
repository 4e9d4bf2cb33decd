//! Connections between the examples and the service: they are kept, and the proxy is the one that closes them.

use std::path::Path;

use futures_util::future::join_all;

use super::{EXAMPLES, Front, HOST, TRUSTED, client_address};
use crate::support::{
    Database, Example, ProxyKind, Raw, Relay, TestApp, eventually, on_sqlite, token,
};

on_sqlite![
    requests_of_a_connection_share_one_to_the_service,
    idle_connections_to_the_service_are_closed_by_the_proxy,
];

async fn requests_of_a_connection_share_one_to_the_service(database: Database) {
    let app = TestApp::on(database)
        .set("server.trusted_proxies", vec![TRUSTED])
        .start()
        .await;
    for kind in ProxyKind::installed(&EXAMPLES) {
        let relay = Relay::start(app.public).await;
        let front = Front::start(kind, relay.addr).await;
        let client = front.client(client_address(1)).await;
        let mut raw = Raw::connect(client.tunnel.addr, None, None)
            .await
            .expect("connected");
        let request = format!(
            "GET /api/v1/balance HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {}\r\n\r\n",
            token(1)
        );
        for number in 0..20 {
            assert!(raw.send(request.as_bytes()).await);
            let answer = raw.answer().await;
            let answer = answer.unwrap_or_else(|| panic!("{kind:?} has closed after {number}"));
            assert_eq!(
                (answer.status, answer.is_last()),
                (200, false),
                "{kind:?} {answer:?}"
            );
        }
        assert_eq!(relay.accepted(), 1, "{kind:?}");
    }
}

#[test]
fn the_examples_close_idle_connections_before_the_service_does() {
    let keep_alive_s = 75;
    for (path, name, rounds) in [
        (
            "deploy/nginx/balance-coordinator.conf",
            "keepalive_timeout ",
            1,
        ),
        ("deploy/nginx/cluster.conf", "keepalive_timeout ", 1),
        ("deploy/caddy/Caddyfile", "keepalive ", 1),
        // HAProxy closes half of them each time: all of 2,000 after twelve times.
        (
            "deploy/haproxy/balance-coordinator.cfg",
            "pool-purge-delay ",
            12,
        ),
        ("deploy/haproxy/cluster.cfg", "pool-purge-delay ", 12),
    ] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        let text = text.expect("an example");
        let figures = text.split(name).skip(1);
        let figures = figures.filter_map(|rest| rest.split_once('s')?.0.parse::<u32>().ok());
        let figures: Vec<u32> = figures.collect();
        assert!(!figures.is_empty(), "{path}");
        assert!(
            figures.iter().all(|s| s * rounds < keep_alive_s),
            "{path}: {figures:?}"
        );
    }
}

/// The example with a shorter time for idle connections: the test does not wait for a minute.
fn sooner(kind: ProxyKind, example: Example) -> Example {
    match kind {
        ProxyKind::Nginx => example.set("keepalive_timeout 60s", "keepalive_timeout 1s"),
        ProxyKind::Haproxy => example.set("pool-purge-delay 5s", "pool-purge-delay 1s"),
        ProxyKind::Caddy => example.set("keepalive 60s", "keepalive 1s"),
    }
}

async fn idle_connections_to_the_service_are_closed_by_the_proxy(database: Database) {
    // The service would keep them for 75 s.
    let app = TestApp::on(database)
        .set("server.trusted_proxies", vec![TRUSTED])
        .start()
        .await;
    for kind in ProxyKind::installed(&EXAMPLES) {
        let relay = Relay::start(app.public).await;
        let front = Front::start_with(kind, relay.addr, |example| sooner(kind, example)).await;
        let client = front.client(client_address(1)).await;
        let token = token(1);
        let asked = (0..8).map(|_| client.balance(&token, &[]));
        for answer in join_all(asked).await {
            assert_eq!(answer.status, 200, "{kind:?}: {answer:?}");
        }
        assert!(relay.accepted() >= 1);
        eventually("the proxy closes them", async || {
            (relay.open() == 0).then_some(())
        })
        .await;
        // The client's connections are still there.
        assert_eq!(client.balance(&token, &[]).await.status, 200, "{kind:?}");
    }
}
