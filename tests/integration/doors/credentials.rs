//! Every route of the internal listener and of `/api` refuses a request without its credential, whatever else is wrong with it.
//!
//! The routes come from the list that a test compares with the router, so a new route without a check fails here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use reqwest::{Client, Method};

use super::routes::{INTERNAL, PUBLIC};
use crate::support::{ADMIN_TOKEN, Answer, Database, PATIENCE, TestApp, on_sqlite, token};

on_sqlite![
    every_internal_route_refuses_a_request_without_its_credential,
    every_api_route_refuses_a_request_without_its_credential,
];

/// Files and documents without secrets.
const OPEN: [&str; 5] = [
    "/admin/",
    "/admin/admin.js",
    "/admin/vendor/uplot.js",
    "/shared/text.js",
    "/openapi.json",
];

/// Sends a request from an address of its own, so that no rate limit hides the refusal.
async fn ask(
    to: SocketAddr,
    from: u8,
    (method, path): (&str, &str),
    bearer: Option<&str>,
) -> Answer {
    let client = Client::builder()
        .local_address(IpAddr::V4(Ipv4Addr::new(127, 0, 9, from)))
        .timeout(PATIENCE)
        .no_proxy()
        .build()
        .expect("a client");
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = client.request(method, format!("http://{to}{path}"));
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    let answer = request.send().await.expect("an answer");
    Answer::read(answer).await.expect("whole")
}

/// The same route with a user that can't be read and a parameter that is not known: neither may be looked at.
fn spoiled(path: &str) -> String {
    format!("{}?unknown=1", path.replace("/7", "/none"))
}

async fn every_internal_route_refuses_a_request_without_its_credential(database: Database) {
    let app = TestApp::on(database)
        .set("auth.metrics_token", "a-token-of-the-metrics")
        .start()
        .await;
    let session = token(7);
    for ((method, path), from) in INTERNAL.iter().zip(1..) {
        if OPEN.contains(path) {
            continue;
        }
        let (code, others) = match *path {
            path if path.starts_with("/internal/") => ("missing_signature", ADMIN_TOKEN),
            path if path.starts_with("/admin/v1/") => ("unauthorized", session.as_str()),
            "/metrics" => ("unauthorized", ADMIN_TOKEN),
            path => panic!("{path}: a route without a rule"),
        };
        for path in [(*path).to_owned(), spoiled(path)] {
            for bearer in [None, Some(others)] {
                ask(app.internal, from, (method, &path), bearer)
                    .await
                    .problem(401, code);
            }
        }
    }
    let log = app.admin("/admin/v1/log").await.ok();
    assert_eq!(log["log"], serde_json::json!([]), "no action was logged");
    assert!(app.entries(7).await.is_empty());
}

async fn every_api_route_refuses_a_request_without_its_credential(database: Database) {
    let app = TestApp::start(database).await;
    let api = PUBLIC.iter().filter(|(_, path)| path.starts_with("/api/"));
    for ((method, path), from) in api.zip(1..) {
        for path in [(*path).to_owned(), spoiled(path)] {
            for bearer in [None, Some(ADMIN_TOKEN)] {
                ask(app.public, from, (method, &path), bearer)
                    .await
                    .problem(401, "unauthorized");
            }
        }
    }
}
