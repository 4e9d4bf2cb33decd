//! The examples of load balancers in `deploy`, each in front of three processes: nothing but addresses and TLS is changed.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{
    Database, Example, ProxyKind, ReverseProxy, Signed, TestApp, Ws, on_postgres, on_sqlite, token,
};
use crate::with_bus::Cluster;

on_postgres![
    the_examples_of_load_balancers_serve_sessions_and_webhooks_and_know_users_by_their_parameter,
];

on_sqlite![a_follower_may_wait_behind_a_load_balancer_for_longer_than_others];

/// A running load balancer.
struct Balancer {
    _program: ReverseProxy,
    public: SocketAddr,
    internal: SocketAddr,
}

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound")
}

/// A load balancer with the addresses of this test, without TLS, and with what else a test changes.
async fn balancer(
    server: ProxyKind,
    apps: [&TestApp; 3],
    change: impl FnOnce(Example) -> Example,
) -> Balancer {
    let (public, internal) = (free(), free());
    let mut example = match server {
        ProxyKind::Nginx => Example::read("deploy/nginx/cluster.conf")
            .without("ssl_certificate")
            .without("listen [::]")
            .set("443 ssl", public),
        ProxyKind::Haproxy => Example::read("deploy/haproxy/cluster.cfg")
            .without("bind [::]")
            .set(":443 ssl crt /etc/haproxy/balance.example.org.pem", public),
        ProxyKind::Caddy => unreachable!("no example of several nodes"),
    };
    for (index, app) in apps.into_iter().enumerate() {
        let node = format!("10.0.0.{}", 11 + index);
        example = example
            .set(&format!("{node}:8080"), app.public)
            .set(&format!("{node}:8081"), app.internal);
    }
    let example = change(example.set("10.0.0.10:8081", internal));
    Balancer {
        _program: server.run(example, &[public, internal]).await,
        public,
        internal,
    }
}

/// How many entries each process has taken.
async fn taken(apps: &[TestApp]) -> Vec<u64> {
    let mut taken = Vec::new();
    for app in apps {
        let scrape = app.metrics().await;
        let name = "balance_entries_total{kind=\"deposit\",outcome=\"accepted\"}";
        taken.push(scrape.samples.get(name).map_or(0, |count| *count as u64));
    }
    taken
}

async fn the_examples_of_load_balancers_serve_sessions_and_webhooks_and_know_users_by_their_parameter(
    database: Database,
) {
    let Cluster {
        mut apps,
        nats: _nats,
    } = Cluster::start(database).await;
    let mut balancers = Vec::new();
    for server in ProxyKind::installed(&[ProxyKind::Nginx, ProxyKind::Haproxy]) {
        let nodes = [&apps[0], &apps[1], &apps[2]];
        let balancer = balancer(server, nodes, |example| example).await;
        balancers.push((format!("{server:?}"), balancer));
    }
    let mut version = 0;
    for (name, balancer) in &balancers {
        let bearer = format!("Bearer {}", token(1));
        let headers = [
            ("authorization", bearer.as_str()),
            ("sec-websocket-protocol", "balance.v1"),
        ];
        let dialled = Ws::dial(balancer.public, &headers)
            .await
            .expect("an answer");
        let mut ws = dialled.expect("a session");
        ws.next_frame("hello").await;
        let snapshot = ws.next_frame("balance").await;
        assert_eq!(snapshot["version"], version, "{name}");
        let sender = apps[0].sender_to(balancer.internal);
        let mut send = async |query: &str| {
            version += 1;
            let body = json!({"event_id": format!("d{version}"), "user_id": 1, "currency": "TON", "amount": "1"});
            let request = Signed::post(&format!("/internal/v1/deposits{query}"), &body);
            sender.insist(request).await;
        };
        let before = taken(&apps).await;
        for _ in 0..12 {
            send("?user=1").await;
        }
        let after = taken(&apps).await;
        let grown = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after);
        assert_eq!(
            grown.count(),
            1,
            "{name}: one node has them all: {before:?} {after:?}"
        );
        for _ in 0..24 {
            send("").await;
        }
        let spread = taken(&apps).await;
        assert!(
            after
                .iter()
                .zip(&spread)
                .all(|(before, after)| before < after),
            "{name}: {spread:?}"
        );
        let mut seen = 0;
        while seen < version {
            seen = ws.next_frame("balance_update").await["version"]
                .as_i64()
                .expect("a version");
        }
        let at = format!("http://{}/admin/v1/registry", balancer.internal);
        let status = reqwest::get(at).await.expect("an answer").status();
        assert_eq!(
            status, 404,
            "{name}: administrators ask the nodes themselves"
        );
    }
    // A node is removed: the others take its webhooks.
    assert!(apps[1].stop().await.success());
    for (name, balancer) in &balancers {
        let sender = apps[0].sender_to(balancer.internal);
        for n in 0..12 {
            let body = json!({"event_id": format!("{name}:{n}"), "user_id": 2 + n, "currency": "TON", "amount": "1"});
            sender
                .insist(Signed::post(
                    &format!("/internal/v1/deposits?user={}", 2 + n),
                    &body,
                ))
                .await;
        }
    }
    apps[0].assert_ledger_holds();
}

async fn a_follower_may_wait_behind_a_load_balancer_for_longer_than_others(database: Database) {
    let app = TestApp::start(database).await;
    for server in ProxyKind::installed(&[ProxyKind::Nginx, ProxyKind::Haproxy]) {
        // The time of all other requests is below the follower's wait: the test does not wait for 30 s.
        let limit = match server {
            ProxyKind::Nginx => "proxy_read_timeout",
            _ => "timeout server",
        };
        let shorter = (format!("{limit} 10s"), format!("{limit} 1s"));
        let sooner = |example: Example| example.set(&shorter.0, &shorter.1);
        let balancer = balancer(server, [&app, &app, &app], sooner).await;
        let sender = app.sender_to(balancer.internal);
        let follow = Signed::get("/internal/v1/feed?after=latest");
        let next = sender.try_send(follow).await.expect("an answer").ok()["next"].clone();
        let next = next.as_str().expect("a cursor");
        let follow = Signed::get(&format!("/internal/v1/feed?after={next}&wait_ms=3000"));
        let page = sender.try_send(follow).await.expect("an answer").ok();
        assert_eq!(page["entries"], json!([]), "{server:?}");
    }
}
