//! The log lines that operators count, and what must never be logged.

use serde_json::json;

use crate::entry;
use crate::support::{
    ADMIN_TOKEN, Database, SESSION_SECRET, Signed, TestApp, WEBHOOK_SECRET, claims, mint,
    on_both_databases, on_sqlite, token,
};

on_both_databases![the_lines_that_operators_count_are_there_and_no_secret_is];
on_sqlite![a_refusal_at_the_door_is_explained_once_a_minute_and_to_operators_alone];

async fn the_lines_that_operators_count_are_there_and_no_secret_is(database: Database) {
    let mut app = TestApp::on(database)
        .log("trace")
        .set("pacing.debounce_ms", 50)
        .set("pacing.min_interval_ms", 100)
        .start()
        .await;
    let token = token(1);
    let by_message = {
        let mut ws = app.ws(&[]).await;
        ws.send_json(json!({"type": "auth", "token": token})).await;
        ws.next_frame("hello").await;
        ws
    };
    let mut ws = app
        .ws(&[(
            "sec-websocket-protocol",
            &format!("balance.v1, bearer.{token}"),
        )])
        .await;
    ws.next_frame("hello").await;
    ws.next_frame("balance").await;
    let deposit = Signed::post("/internal/v1/deposits", &entry("d", 1, "TON", "1"));
    let signature = deposit.right_signature();
    app.send(deposit.clone()).await.ok();
    ws.next_frame("balance_update").await;
    app.accepted("rewards", 1, "r", "1").await;
    ws.next_frame("balance_update").await;
    for _ in 0..2 {
        app.browser("/api/v1/balance", &token, &[]).await.ok();
        app.browser("/api/v1/balance", &token[1..], &[])
            .await
            .problem(401, "unauthorized");
    }
    app.backend("/internal/v1/users/77/balance").await.ok();
    app.backend("/internal/v1/users/77/balance").await.ok();
    app.send(deposit.signature(&signature[..20]))
        .await
        .problem(401, "invalid_signature");
    let made = app
        .post("tokens", json!({"user_id": 1, "ttl_s": 60}))
        .await
        .ok();
    app.admin("/admin/v1/registry").await.ok();
    drop(by_message);
    app.stop().await;
    let log = app.log();
    let line_with = |parts: &[&str]| {
        log.lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    };
    assert!(
        line_with(&["DIRECT_BALANCE_UPDATE", "balance_update", "INFO"]),
        "{log}"
    );
    assert!(
        line_with(&["BalanceCoordinator", "balance_update", "INFO"]),
        "{log}"
    );
    assert!(
        line_with(&["[BalanceCache] Cache hit", "DEBUG"])
            && line_with(&["[BalanceCache] Cache miss", "DEBUG"])
    );
    let made = made["token"].as_str().expect("a token").to_owned();
    let bare_secret = WEBHOOK_SECRET.trim_start_matches("whsec_");
    let bare_signature = signature.trim_start_matches("v1,");
    let part = |token: &str| token.rsplit('.').next().expect("a signature").to_owned();
    for secret in [
        bare_secret,
        SESSION_SECRET,
        ADMIN_TOKEN,
        &token,
        &made,
        bare_signature,
        &part(&token),
        &part(&made),
    ] {
        let found: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(found.is_empty(), "{secret} in {found:?}");
    }
}

async fn a_refusal_at_the_door_is_explained_once_a_minute_and_to_operators_alone(
    database: Database,
) {
    let mut app = TestApp::on(database)
        .set(
            "server.allowed_origins",
            vec!["https://App.example.org:443"],
        )
        .set("auth.telegram_bot_token", "7000000001:AA-test-bot")
        .set("auth.telegram_identity", "user_id")
        .start()
        .await;
    let good = claims(1, 3600);
    let mut numeric = good.clone();
    numeric["sub"] = json!(1);
    let mut endless = good.clone();
    endless["exp"] = json!(null);
    let header = json!({"alg": "HS256"});
    let refused = [
        (
            "its sub is a number",
            mint(&header, &numeric, SESSION_SECRET),
        ),
        ("it has no exp", mint(&header, &endless, SESSION_SECRET)),
        (
            "another algorithm",
            mint(&json!({"alg": "HS512"}), &good, SESSION_SECRET),
        ),
        (
            "none of auth.session_secrets has signed it",
            mint(&header, &good, "another-secret-of-at-least-32-bytes"),
        ),
    ];
    let mut told = Vec::new();
    for (_, token) in &refused {
        for _ in 0..2 {
            let answer = app.browser("/api/v1/balance", token, &[]).await;
            answer.problem(401, "unauthorized");
            told.push(answer.json()["detail"].clone());
        }
    }
    let mut ws = app.ws(&[]).await;
    ws.send_json(json!({"type": "auth", "token": refused[0].1}))
        .await;
    ws.assert_closed(4501, "unauthenticated").await;
    told.dedup();
    assert_eq!(told.len(), 1, "clients are told one thing: {told:?}");
    for init_data in [
        "no init data",
        "user=%7B%22id%22%3A1%7D&auth_date=1&hash=00",
    ] {
        for _ in 0..2 {
            let request = app
                .public_request(reqwest::Method::GET, "/api/v1/balance")
                .header("authorization", format!("tma {init_data}"));
            assert_eq!(request.send().await.expect("an answer").status(), 401);
        }
    }
    let of_page = |origin: &'static str| [("origin", origin)];
    for foreign in ["https://evil.example", "http://app.example.org"] {
        app.browser("/api/v1/balance", &token(1), &of_page(foreign))
            .await
            .problem(403, "origin_not_allowed");
    }
    app.browser(
        "/api/v1/balance",
        &token(1),
        &of_page("https://app.example.org"),
    )
    .await
    .ok();
    app.stop().await;
    let log = app.log();
    let lines_with = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    for (cause, token) in &refused {
        assert_eq!(lines_with(cause), 1, "{cause} in {log}");
        assert!(!log.contains(token.as_str()), "{log}");
    }
    for cause in [
        "init data is refused: it is not the unchanged text",
        "init data is refused: its hash or signature",
    ] {
        assert_eq!(lines_with(cause), 1, "{cause} in {log}");
    }
    assert!(!log.contains("auth_date=1"), "{log}");
    assert_eq!(lines_with("add it to server.allowed_origins"), 1, "{log}");
    assert_eq!(lines_with("\"https://evil.example\""), 1, "{log}");
}
