//! Clients behind proxies (`server.trusted_proxies`): the address in lists of sessions, limits and logs is the client's.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    ADMIN_TOKEN, Answer, BOT_TOKEN, Builder, Database, InitData, TestApp, eventually, on_sqlite,
    token,
};

on_sqlite![
    a_session_has_the_address_of_its_client,
    a_peer_that_is_no_trusted_proxy_can_claim_no_address,
    users_behind_a_proxy_do_not_share_a_limit,
    administrators_behind_a_proxy_are_limited_and_named_by_their_own_address,
];

/// The test speaks from 127.0.0.1, as a proxy would.
fn behind_a_proxy(database: Database) -> Builder {
    TestApp::on(database).set(
        "server.trusted_proxies",
        vec![
            "127.0.0.0/8".to_owned(),
            "10.0.0.0/8".to_owned(),
            "fd00::/8".to_owned(),
        ],
    )
}

/// The address that the administrators' list has of a session with these headers.
async fn address_of_session(app: &TestApp, user_id: u64, forwarded: &[&str]) -> String {
    let bearer = format!("Bearer {}", token(user_id));
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(forwarded.iter().map(|list| ("x-forwarded-for", *list)));
    let mut ws = app.ws(&headers).await;
    ws.next_frame("hello").await;
    ws.next_frame("balance").await;
    let sessions = app.admin("/admin/v1/sessions").await.ok();
    let sessions = sessions["sessions"].as_array().expect("a list").clone();
    let own = sessions
        .iter()
        .find(|session| session["user_id"] == user_id);
    let address = &own.expect("it is listed")["address"];
    address.as_str().expect("an address").to_owned()
}

async fn a_session_has_the_address_of_its_client(database: Database) {
    let app = behind_a_proxy(database).start().await;
    for (user_id, forwarded, expected) in [
        (1, &[][..], "127.0.0.1"),
        (2, &["198.51.100.1"], "198.51.100.1"),
        (
            3,
            &["203.0.113.9, 198.51.100.2:5678, 10.0.0.7"],
            "198.51.100.2",
        ),
        (
            4,
            &["203.0.113.9", "[2001:db8::4]:443", "fd00::7"],
            "2001:db8::4",
        ),
        (5, &["203.0.113.9, nonsense, 10.0.0.7"], "10.0.0.7"),
        (6, &["nonsense"], "127.0.0.1"),
    ] {
        assert_eq!(
            address_of_session(&app, user_id, forwarded).await,
            expected,
            "{forwarded:?}"
        );
    }
}

async fn a_peer_that_is_no_trusted_proxy_can_claim_no_address(database: Database) {
    let app = TestApp::on(database)
        .set("server.trusted_proxies", vec!["10.0.0.0/8".to_owned()])
        .start()
        .await;
    assert_eq!(
        address_of_session(&app, 1, &["198.51.100.1"]).await,
        "127.0.0.1"
    );
    assert_eq!(
        address_of_session(&app, 2, &["198.51.100.1, 10.0.0.7"]).await,
        "127.0.0.1"
    );
}

/// The answers to sign-ins of many users, each from an address of its own.
async fn sign_ins(app: &TestApp, users: u64) -> Vec<Answer> {
    let mut answers = Vec::new();
    for first in (1..=users).step_by(50) {
        let batch = (first..(first + 50).min(users + 1)).map(async |user_id| {
            let address = format!("198.51.{}.{}", user_id / 250, user_id % 250);
            let request = app
                .public_request(Method::POST, "/api/v1/sessions")
                .header("x-forwarded-for", address)
                .json(&json!({ "init_data": InitData::of(user_id).text() }));
            let answer = request.send().await.expect("an answer");
            Answer::read(answer).await.expect("a whole answer")
        });
        answers.extend(join_all(batch).await);
    }
    answers
}

async fn users_behind_a_proxy_do_not_share_a_limit(database: Database) {
    let app = behind_a_proxy(database)
        .set("auth.telegram_bot_token", BOT_TOKEN)
        .set("auth.telegram_identity", "user_id")
        .start()
        .await;
    let answers = sign_ins(&app, 2_000).await;
    let refused = answers.iter().filter(|answer| answer.status != 200).count();
    assert_eq!(refused, 0, "of {} right sign-ins", answers.len());
}

async fn administrators_behind_a_proxy_are_limited_and_named_by_their_own_address(
    database: Database,
) {
    let app = behind_a_proxy(database).start().await;
    let from = async |address: &str, method: Method, path: &str, token: &str| {
        let request = app
            .http
            .request(method, format!("http://{}{path}", app.internal))
            .header("x-forwarded-for", address)
            .bearer_auth(token);
        Answer::read(request.send().await.expect("an answer"))
            .await
            .expect("whole")
    };
    let guess =
        async |address: &str| from(address, Method::GET, "/admin/v1/registry", "guess").await;
    let mut failures = 0;
    let limited = loop {
        let answer = guess("198.51.100.1").await;
        if answer.status != 401 {
            break answer;
        }
        failures += 1;
        assert!(failures < 1_000, "never limited");
    };
    assert_eq!(limited.header("retry-after"), "1");
    limited.problem(429, "rate_limited");
    guess("198.51.100.2").await.problem(401, "unauthorized");
    let path = "/admin/v1/actors/1/disconnect";
    let order = from("198.51.100.3", Method::POST, path, ADMIN_TOKEN).await;
    assert_eq!(order.status, 204, "{order:?}");
    eventually("the log has the order with its address", async || {
        let log = app.log();
        log.lines()
            .any(|line| line.ends_with("disconnect of user 1, from 198.51.100.3"))
            .then_some(())
    })
    .await;
}
