//! A client behind two proxies: an example in front of an example.

use std::net::{IpAddr, Ipv4Addr};

use super::{EXAMPLES, Front, HOST, SPOOFS, listed_address};
use crate::support::{Database, ProxyKind, TestApp, TlsTunnel, on_sqlite};

on_sqlite![
    behind_two_proxies_the_client_is_known_when_both_are_trusted_and_the_nearest_stranger_otherwise,
];

/// From where the outer proxy speaks to the inner one.
const OUTER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Two proxies in a row, TLS between them.
struct Chain {
    outer: Front,
    _between: TlsTunnel,
    names: (ProxyKind, ProxyKind),
}

impl Chain {
    async fn start(outer: ProxyKind, inner: &Front) -> Self {
        let to = (Ipv4Addr::LOCALHOST, inner.port).into();
        let between = TlsTunnel::start(OUTER.into(), to, HOST, &inner.authority.certificate).await;
        Self {
            outer: Front::start(outer, between.addr).await,
            _between: between,
            names: (outer, inner.kind),
        }
    }
}

/// The inner proxy, told of the outer one where its example says so.
async fn inner(kind: ProxyKind, app: &TestApp) -> Front {
    Front::start_with(kind, app.public, |example| match kind {
        ProxyKind::Caddy => example.set(
            "# trusted_proxies 203.0.113.0/24",
            format!("trusted_proxies {OUTER}/32"),
        ),
        ProxyKind::Nginx | ProxyKind::Haproxy => example,
    })
    .await
}

async fn behind_two_proxies_the_client_is_known_when_both_are_trusted_and_the_nearest_stranger_otherwise(
    database: Database,
) {
    let mut app = TestApp::start(database).await;
    let kinds = ProxyKind::installed(&EXAMPLES);
    let mut inners = Vec::new();
    for kind in &kinds {
        inners.push(inner(*kind, &app).await);
    }
    let mut chains = Vec::new();
    for inner in &inners {
        for kind in &kinds {
            chains.push(Chain::start(*kind, inner).await);
        }
    }
    let mut user_id = 0;
    for (trusted, known) in [
        (vec!["127.0.0.1/32", "127.0.0.3/32"], None),
        (vec!["127.0.0.1/32"], Some(OUTER)),
        (vec!["127.0.0.3/32"], Some(Ipv4Addr::LOCALHOST)),
        (vec![], Some(Ipv4Addr::LOCALHOST)),
    ] {
        app.reconfigure("server.trusted_proxies", trusted.clone());
        assert!(app.stop().await.success());
        app.start_again().await;
        for chain in &chains {
            for address in chain.outer.families() {
                let client = chain.outer.client(address).await;
                for headers in SPOOFS {
                    user_id += 1;
                    let mut ws = client.session(user_id, headers).await;
                    let expected = known.map_or(address, IpAddr::from);
                    assert_eq!(
                        listed_address(&app, user_id).await,
                        expected.to_string(),
                        "{:?} {trusted:?} {address} {headers:?}",
                        chain.names
                    );
                    let event_id = format!("d{user_id}");
                    app.accepted("deposits", user_id, &event_id, "1").await;
                    ws.next_frame("balance_update").await;
                }
            }
        }
    }
}
