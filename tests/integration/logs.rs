//! The log lines that operators count, and what must never be logged.

use serde_json::json;

use crate::entry;
use crate::support::{
    ADMIN_TOKEN, Database, SESSION_SECRET, Signed, TestApp, WEBHOOK_SECRET, on_both_databases,
    token,
};

on_both_databases![the_lines_that_operators_count_are_there_and_no_secret_is];

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
