//! `--dev`: loopback only, and the demo only there.

use std::ffi::OsString;
use std::path::Path;

use serde_json::json;

use crate::support::{Answer, PATIENCE, Process, run_program};

/// Addresses that other machines could reach; 192.0.2.0/24 and 2001:db8::/32 are reserved for
/// documentation.
const ELSEWHERE: [&str; 6] = [
    "0.0.0.0:0",
    "[::]:0",
    "192.0.2.1:0",
    "[2001:db8::1]:0",
    "[::ffff:0.0.0.0]:0",
    "[::ffff:192.0.2.1]:0",
];

const KEYS: [(&str, &str); 2] = [
    ("public_addr", "BALANCE_SERVER__PUBLIC_ADDR"),
    ("internal_addr", "BALANCE_SERVER__INTERNAL_ADDR"),
];

pub(super) fn start_dev(dir: &Path) -> Process {
    let any_port = |name: &str| (name.to_owned(), "127.0.0.1:0".to_owned());
    let variables = KEYS.map(|(_, name)| any_port(name));
    Process::start(
        dir,
        &["serve", "--dev"].map(OsString::from),
        &variables,
        &dir.join("service.log"),
    )
}

#[test]
fn development_refuses_every_address_that_others_could_reach_and_names_the_key() {
    let dir = tempfile::tempdir().expect("a directory");
    for address in ELSEWHERE {
        for (key, variable) in KEYS {
            std::fs::write(
                dir.path().join("c.toml"),
                format!("[server]\n{key} = \"{address}\""),
            )
            .expect("written");
            let by_file = run_program(
                dir.path(),
                &["serve", "--dev", "--config", "c.toml"],
                &[],
                b"",
            );
            let by_variable = run_program(
                dir.path(),
                &["serve", "--dev"],
                &[(variable.to_owned(), address.to_owned())],
                b"",
            );
            for output in [by_file, by_variable] {
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(2), "{address}: {error}");
                assert!(
                    error.contains(&format!(
                        "server.{key}: must be on loopback in development mode"
                    )),
                    "{error}"
                );
            }
        }
    }
    assert!(!dir.path().join("balance.db").exists(), "nothing was begun");
}

#[tokio::test]
async fn development_listens_on_loopback_says_so_and_has_the_demo() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut service = start_dev(dir.path());
    let (public, internal) = service.addresses().await;
    assert!(
        public.ip().is_loopback() && internal.ip().is_loopback(),
        "{public} {internal}"
    );
    let printed = crate::support::eventually("the banner", async || {
        Some(service.printed()).filter(|printed| printed.contains("curl"))
    })
    .await;
    for part in [
        "loopback only",
        &format!("http://{internal}/admin/\n"),
        &format!("http://{public}/\n"),
        &format!("http://{internal}\n"),
    ] {
        assert!(printed.contains(part), "{part} in\n{printed}");
    }

    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("a client");
    let get = async |url: String| {
        http.get(url)
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(get(format!("http://{public}/")).await, 200);
    assert_eq!(get(format!("http://{internal}/")).await, 404);
    let sign_in = async |host: &str, origin: Option<&str>| {
        let mut request = http
            .post(format!("http://{public}/dev/v1/token"))
            .header("host", host)
            .json(&json!({"user_id": 7}));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        Answer::read(request.send().await.expect("an answer"))
            .await
            .expect("whole")
    };
    // Pages of a development server on this machine are let in.
    let page = Some("http://localhost:5173");
    let signed_in = sign_in(&public.to_string(), page).await;
    assert_eq!(
        (
            signed_in.status,
            signed_in.header("access-control-allow-origin")
        ),
        (200, "http://localhost:5173")
    );
    sign_in(
        &public.to_string(),
        Some("http://localhost.evil.example:5173"),
    )
    .await
    .problem(403, "origin_not_allowed");
    // A website that resolves to this machine, or sends requests to it, gets no token.
    sign_in("evil.example", None)
        .await
        .problem(403, "origin_not_allowed");
    sign_in("127.0.0.1.evil.example", None)
        .await
        .problem(403, "origin_not_allowed");
    sign_in(&public.to_string(), Some("https://evil.example"))
        .await
        .problem(403, "origin_not_allowed");
    sign_in("evil.example", Some("http://evil.example"))
        .await
        .problem(403, "origin_not_allowed");
    let token = sign_in(&public.to_string(), None).await.ok()["token"].clone();
    let balance = http
        .get(format!("http://{public}/api/v1/balance"))
        .bearer_auth(token.as_str().expect("a token"));
    assert_eq!(
        Answer::read(balance.send().await.expect("an answer"))
            .await
            .expect("whole")
            .ok()["user_id"],
        7
    );
    let elsewhere = http
        .post(format!("http://{internal}/dev/v1/token"))
        .json(&json!({"user_id": 7}));
    assert_eq!(elsewhere.send().await.expect("an answer").status(), 404);

    // The banner goes to standard output; the log contains none of its secrets.
    let secrets = std::fs::read_to_string(dir.path().join("balance.dev.toml")).expect("made");
    let log = service.log();
    for secret in secrets.lines().filter_map(|line| line.split('"').nth(1)) {
        assert!(!log.contains(secret), "a secret in\n{log}");
    }
}
