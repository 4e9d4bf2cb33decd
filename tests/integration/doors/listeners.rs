//! Endpoints of one listener do not exist on the other, with any credentials and any spelling of
//! the path.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::routes::{BOTH, DEVELOPMENT, INTERNAL, PUBLIC, TELEGRAM};
use crate::support::{
    ADMIN_TOKEN, Answer, Database, PATIENCE, TestApp, WEBHOOK_SECRET, now_s, on_sqlite, sign, token,
};

on_sqlite![
    nothing_internal_exists_on_the_public_listener,
    nothing_public_exists_on_the_internal_listener,
    no_spelling_of_a_path_leads_to_the_other_listener,
    health_is_on_both_listeners_and_the_demo_on_neither,
    a_wrong_method_is_answered_with_the_allowed_ones,
    no_listener_speaks_http_2,
];

/// A body that is valid for each signed endpoint except a batch.
const BODY: &str = r#"{"event_id":"e","user_id":7,"currency":"TON","amount":"1"}"#;

/// Sends a request unchanged, with all valid credentials, and reads status and body.
pub async fn raw(
    to: SocketAddr,
    method: &str,
    target: &str,
    bearer: &str,
    more: &str,
) -> (u16, String) {
    let body = if matches!(method, "GET" | "HEAD") {
        ""
    } else {
        BODY
    };
    let (id, at) = ("msg_1", now_s().to_string());
    let signature = sign(WEBHOOK_SECRET, id, &at, body.as_bytes());
    let host = if more.starts_with("Host: ") {
        String::new()
    } else {
        format!("Host: {to}\r\n")
    };
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\n{host}{more}Authorization: Bearer {bearer}\r\nwebhook-id: {id}\r\n\
         webhook-timestamp: {at}\r\nwebhook-signature: {signature}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.expect("it connects");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        // A refusal of the request line may end with a reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = timeout(PATIENCE, exchange)
        .await
        .expect("an answer in time");
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    (
        status.unwrap_or_else(|| panic!("{method} {target}: {answer:?}")),
        answer,
    )
}

async fn nothing_internal_exists_on_the_public_listener(database: Database) {
    let app = TestApp::start(database).await;
    for bearer in [ADMIN_TOKEN, &token(7)] {
        for (listed, path) in INTERNAL {
            for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
                let (status, answer) = raw(app.public, method, path, bearer, "").await;
                assert_eq!(status, 404, "{method} {path}: {answer}");
                assert!(
                    method == "HEAD" || answer.contains("\"not_found\""),
                    "{method} {path}: {answer}"
                );
            }
            // The same request is accepted on its own listener.
            let path = if *path == "/admin/v1/live" {
                "/admin/v1/live?snapshots=1"
            } else {
                path
            };
            let (status, answer) = raw(app.internal, listed, path, ADMIN_TOKEN, "").await;
            assert!(
                status != 404 || answer.contains("not resident"),
                "{listed} {path}: {answer}"
            );
            assert!(status != 401 && status != 405, "{listed} {path}: {answer}");
        }
    }
    // A deposit; the other kinds share its event id and are conflicts. All came through the
    // internal listener.
    assert_eq!(app.entries(7).await.len(), 1);
}

async fn nothing_public_exists_on_the_internal_listener(database: Database) {
    let app = TestApp::start(database).await;
    for (listed, path) in PUBLIC {
        for method in ["GET", "POST", "PUT", "OPTIONS"] {
            let (status, answer) = raw(app.internal, method, path, &token(7), "").await;
            assert_eq!(status, 404, "{method} {path}: {answer}");
        }
        let (status, answer) = raw(app.public, listed, path, &token(7), "").await;
        assert!(
            status == 200 || answer.contains("upgrade_required"),
            "{path}: {answer}"
        );
    }
}

async fn health_is_on_both_listeners_and_the_demo_on_neither(database: Database) {
    let app = TestApp::start(database).await;
    for listener in [app.public, app.internal] {
        for (method, path) in BOTH {
            assert_eq!(raw(listener, method, path, "", "").await.0, 200, "{path}");
        }
        // The dashboard shares some files with the demo page.
        let is_absent =
            |(_, path): &&(&str, &str)| listener == app.public || !path.starts_with("/shared/");
        for (_, path) in DEVELOPMENT.iter().filter(is_absent).chain(TELEGRAM) {
            for method in ["GET", "POST"] {
                let (status, answer) = raw(listener, method, path, &token(7), "").await;
                assert_eq!(
                    status, 404,
                    "neither --dev nor Telegram: {method} {path}: {answer}"
                );
            }
        }
    }
}

/// The program links a version of `h2` with a known flaw (see deny.toml), so nothing may reach it.
async fn no_listener_speaks_http_2(database: Database) {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const NO_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let app = TestApp::start(database).await;
    for listener in [app.public, app.internal] {
        let exchange = async {
            let mut stream = TcpStream::connect(listener).await.expect("it connects");
            let request = [PREFACE, NO_SETTINGS].concat();
            stream.write_all(&request).await.expect("sent");
            let mut answer = Vec::new();
            // A refusal may end by a reset.
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        let answer = timeout(PATIENCE, exchange).await.expect("it is closed");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer:?}"
        );
    }
}

/// Spellings of a path that a proxy might normalise to the plain one.
pub fn spellings(path: &str, internal: SocketAddr) -> Vec<String> {
    let rest = path.trim_start_matches('/');
    let (first, behind) = rest.split_once('/').expect("more than one part");
    let escaped = |c: char| format!("%{:02x}", u32::from(c));
    let initial = first.chars().next().expect("not empty");
    vec![
        format!("/{path}"),
        format!("//{rest}"),
        format!("/./{rest}"),
        format!("/%2e/{rest}"),
        format!("/api/../{rest}"),
        format!("/api/v1/../../{rest}"),
        format!("/api/v1/%2e%2e/%2e%2e/{rest}"),
        format!("/api/v1/..%2f..%2f{rest}"),
        format!("/api/v1/..;/..;/{rest}"),
        format!("/api/v1/balance/../../../{rest}"),
        format!("/ws/../{rest}"),
        format!("/healthz/../{rest}"),
        format!("/api\\..\\{rest}"),
        format!("/{}{}/{behind}", escaped(initial), &first[1..]),
        format!("/{first}%2f{behind}"),
        format!("/{}/{behind}", first.to_uppercase()),
        format!("{path}/"),
        format!("{path}."),
        format!("{path}%20"),
        format!("{path}%00"),
        format!("{path};a=b"),
        format!("/;{path}"),
        format!("{path}?x=1"),
        format!("{path}#x"),
        format!("http://{internal}{path}"),
        format!("HTTP://{internal}{path}"),
        format!("http://user@{internal}{path}"),
        format!("https://internal{path}"),
    ]
}

async fn no_spelling_of_a_path_leads_to_the_other_listener(database: Database) {
    let app = TestApp::start(database).await;
    let internal = app.internal;
    let paths = [
        ("POST", "/internal/v1/deposits"),
        ("GET", "/admin/v1/registry"),
        ("POST", "/internal/v1/tokens"),
    ];
    let mut asked = 0;
    for (method, path) in paths {
        for target in spellings(path, internal) {
            let (status, answer) = raw(app.public, method, &target, ADMIN_TOKEN, "").await;
            assert!(matches!(status, 400 | 404), "{method} {target}: {answer}");
            asked += 1;
        }
        for more in [
            format!("Host: {internal}\r\n"),
            format!("X-Forwarded-Host: {internal}\r\n"),
            format!(
                "X-Forwarded-Port: {}\r\nX-Forwarded-For: 127.0.0.1\r\n",
                internal.port()
            ),
            format!("Forwarded: for=127.0.0.1;host={internal};proto=http\r\n"),
            format!(
                "X-Original-URL: {path}\r\nX-Rewrite-URL: {path}\r\nX-Forwarded-Prefix: /internal\r\n"
            ),
        ] {
            for target in [path, "/", "/api/v1"] {
                let (status, answer) = raw(app.public, method, target, ADMIN_TOKEN, &more).await;
                assert_eq!(status, 404, "{method} {target} with {more}: {answer}");
                asked += 1;
            }
        }
        let (status, answer) = raw(
            app.public,
            "CONNECT",
            &internal.to_string(),
            ADMIN_TOKEN,
            "",
        )
        .await;
        assert!((400..500).contains(&status), "CONNECT: {answer}");
    }
    assert!(asked > 100, "{asked} ways were tried");
    assert!(app.entries(7).await.is_empty());
}

async fn a_wrong_method_is_answered_with_the_allowed_ones(database: Database) {
    let app = TestApp::start(database).await;
    for (listener, routes) in [
        (app.public, [BOTH, PUBLIC]),
        (app.internal, [BOTH, INTERNAL]),
    ] {
        for (method, path) in routes.concat() {
            let answer = app
                .http
                .delete(format!("http://{listener}{path}"))
                .send()
                .await
                .expect("an answer");
            let answer = Answer::read(answer).await.expect("whole");
            answer.problem(405, "method_not_allowed");
            let allowed: Vec<&str> = answer.header("allow").split(", ").collect();
            assert!(allowed.contains(&method), "{method} {path}: {allowed:?}");
            // HEAD comes with GET.
            let ways = |method: &str| if method == "GET" { 2 } else { 1 };
            let listed: usize = routes
                .concat()
                .iter()
                .filter(|(_, other)| *other == path)
                .map(|(method, _)| ways(method))
                .sum();
            assert_eq!(allowed.len(), listed, "{path}: {allowed:?}");
            assert_eq!(allowed.contains(&"HEAD"), allowed.contains(&"GET"));
        }
    }
}
