//! What the server lets a node do, and what it makes sure of: `deploy/nats/nats.conf`, denied subjects, TLS.

use std::path::{Path, PathBuf};

use balance_coordinator::cluster::nats::NatsOptions;
use balance_coordinator::config::{Cluster, Secret};

use crate::nodes::{Node, Table, covered, heard_by_all, settings};
use crate::support::{Authority, Nats, eventually};

const USER: i64 = 184;

pub fn deployed() -> Nats {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nats/nats.conf");
    Nats::with_config(&config, &[("BALANCE_NATS_PASSWORD", "\"12345\"")])
}

fn with_password(url: &str, password: &str) -> Cluster {
    Cluster {
        user: Some("balance".into()),
        password: Some(Secret::new(password)),
        ..settings(url)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deployed_configuration_serves_its_cluster_alone() {
    let nats = deployed();
    let table = Table::default();
    let own = with_password(nats.url(), "12345");
    NatsOptions::of(&own)
        .expect("good settings")
        .first_contact()
        .await
        .expect("the server takes the user");
    let (a, b) = (
        Node::start("a", &own, &table),
        Node::start("b", &own, &table),
    );
    covered(&[&a, &b]).await;
    heard_by_all(&[&a, &b], USER).await;

    let other = Cluster {
        name: "other".into(),
        ..own
    };
    let c = Node::start("c", &other, &Table::default());
    eventually("it is connected", async || c.is_connected().then_some(())).await;
    eventually("the server denies its subjects", async || {
        nats.log().contains("Publish Violation").then_some(())
    })
    .await;
    assert!(!c.is_covered(), "{}", nats.log());
    assert!(a.is_covered() && b.is_covered());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_named_by_its_key_and_a_server_that_is_away_is_not() {
    let nats = deployed();
    let contact = async |settings: &Cluster| {
        let options = NatsOptions::of(settings).expect("good settings");
        options
            .first_contact()
            .await
            .map_err(|error| error.to_string())
    };
    let refused = contact(&with_password(nats.url(), "geheim")).await;
    assert_eq!(
        refused,
        Err("cluster.password: the server refuses the user".into())
    );
    assert_eq!(
        contact(&settings(nats.url())).await,
        Err("cluster.url: the server refuses the user".into())
    );
    nats.end("KILL");
    assert_eq!(contact(&with_password(nats.url(), "geheim")).await, Ok(()));
}

/// The server says nothing to a client but once, and the client goes on as if nothing were wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_not_publish_is_not_covered_and_neither_are_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("nats.conf");
    let users = |b_may: &str| {
        format!(
            "accounts {{ BALANCE {{ users: [ {{ user: a, password: a }}, \
             {{ user: b, password: b, permissions {{ publish: {{ {b_may}: \"balance.>\" }} }} }} ] }} }}"
        )
    };
    std::fs::write(&config, users("deny")).expect("written");
    let nats = Nats::with_config(&config, &[]);
    let of = |user: &str| Cluster {
        user: Some(user.into()),
        password: Some(Secret::new(user)),
        ..settings(nats.url())
    };
    let table = Table::default();
    let (a, b) = (
        Node::start("a", &of("a"), &table),
        Node::start("b", &of("b"), &table),
    );
    eventually("b hears a", async || {
        let version = a.commit(USER);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        b.has_heard(USER, version).then_some(())
    })
    .await;
    assert!(!b.is_covered(), "its own beats do not come back");
    eventually("a is not covered", async || (!a.is_covered()).then_some(())).await;
    std::fs::write(&config, users("allow")).expect("written");
    nats.signal("HUP");
    covered(&[&a, &b]).await;
}

#[test]
fn a_file_that_holds_something_else_is_named_by_its_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let authority = Authority::new(&dir.path().join("ca.pem"));
    let garbage = file("garbage", b"geheim");
    let (certificate, key) = authority.issue(dir.path(), "node");
    let base = settings("nats://127.0.0.1:1");
    let of = |key: &str, path: PathBuf| {
        let mut settings = base.clone();
        match key {
            "credentials_file" => settings.credentials_file = Some(path),
            "tls_ca_file" => settings.tls_ca_file = Some(path),
            "tls_cert_file" => {
                settings.tls_cert_file = Some(path);
                settings.tls_key_file = Some(dir.path().join("node.key"));
            }
            _ => {
                settings.tls_cert_file = Some(dir.path().join("node.pem"));
                settings.tls_key_file = Some(path);
            }
        }
        NatsOptions::of(&settings).map(drop)
    };
    for name in [
        "credentials_file",
        "tls_ca_file",
        "tls_cert_file",
        "tls_key_file",
    ] {
        for path in [garbage.clone(), dir.path().join("nowhere")] {
            let error = of(name, path.clone()).expect_err(name).to_string();
            let begins = format!("cluster.{name}: {}: ", path.display());
            assert!(error.starts_with(&begins), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }
    of("tls_cert_file", certificate).expect("a certificate");
    of("tls_key_file", key).expect("a key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_both_sides_show_certificates_of_the_same_authority() {
    let dir = tempfile::tempdir().expect("a directory");
    let ca = dir.path().join("ca.pem");
    let authority = Authority::new(&ca);
    let (server_certificate, server_key) = authority.issue(dir.path(), "server");
    let (node_certificate, node_key) = authority.issue(dir.path(), "node");
    let config = dir.path().join("nats.conf");
    let tls = format!(
        "tls {{ cert_file: {server_certificate:?}, key_file: {server_key:?}, ca_file: {ca:?}, verify: true }}"
    );
    std::fs::write(&config, tls).expect("written");
    let nats = Nats::with_config(&config, &[]);
    let url = nats.url().replace("nats://", "tls://");
    let good = Cluster {
        tls_ca_file: Some(ca.clone()),
        tls_cert_file: Some(node_certificate),
        tls_key_file: Some(node_key),
        ..settings(&url)
    };
    let table = Table::default();
    let (a, b) = (
        Node::start("a", &good, &table),
        Node::start("b", &good, &table),
    );
    covered(&[&a, &b]).await;
    heard_by_all(&[&a, &b], USER).await;

    let other_ca = dir.path().join("other.pem");
    Authority::new(&other_ca);
    let without_certificate = Cluster {
        tls_cert_file: None,
        tls_key_file: None,
        ..good.clone()
    };
    let of_another_authority = Cluster {
        tls_ca_file: Some(other_ca),
        ..good
    };
    let plain = Nats::start();
    let without_tls = Cluster {
        tls_ca_file: Some(ca),
        ..settings(plain.url())
    };
    let refused = [without_certificate, of_another_authority, without_tls];
    let refused = refused.map(|settings| Node::start("c", &settings, &Table::default()));
    // Each has tried more than once: a client ends after some attempts, and is replaced.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(refused.iter().all(|node| !node.is_covered()));
    assert!(a.is_covered() && b.is_covered());
}
