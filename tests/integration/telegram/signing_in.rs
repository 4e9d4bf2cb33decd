//! Sign-in with `user_id`: tokens, headers, sessions, and their lifetimes.

use serde_json::json;

use super::{assert_admitted, auth, read, sign_in, telegram};
use crate::support::{
    Database, InitData, SESSION_SECRET, TestApp, claims, mint, now_s, on_both_databases, on_sqlite,
    token,
};
use crate::{assert_keys, assert_timestamp};

on_both_databases![every_endpoint_accepts_a_mini_app_as_the_user_with_its_telegram_id];
on_sqlite![
    init_data_is_exchanged_for_a_session_token,
    a_session_by_init_data_ends_when_its_time_is_over,
    fresh_init_data_extends_a_session_and_that_of_another_ends_it,
    the_scheme_of_init_data_has_any_case_and_one_header,
];

async fn start(database: Database) -> TestApp {
    telegram(database, "user_id").start().await
}

async fn every_endpoint_accepts_a_mini_app_as_the_user_with_its_telegram_id(database: Database) {
    let app = start(database).await;
    app.accepted("deposits", 184, "d", "0.1").await;
    assert_admitted(&app, &InitData::of(184), 184).await;
    assert_eq!(
        read(&app, &InitData::of(184).text()).await.ok()["version"],
        1
    );
    assert_admitted(
        &app,
        &InitData::of(9_007_199_254_740_991),
        9_007_199_254_740_991,
    )
    .await;
    // One minute before it expires, and with a clock slightly ahead of ours.
    assert_admitted(&app, &InitData::of(185).aged(3540), 185).await;
    assert_admitted(&app, &InitData::of(186).aged(-5), 186).await;
}

async fn init_data_is_exchanged_for_a_session_token(database: Database) {
    let app = telegram(database, "user_id")
        .set("auth.session_ttl_s", 600)
        .start()
        .await;
    let before_s = now_s();
    let answer = sign_in(&app, &InitData::of(7).text()).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.ok();
    assert_keys(&made, &["token", "expires_at", "user_id"]);
    assert_timestamp(&made["expires_at"]);
    assert_eq!(made["user_id"], 7);
    let text = made["expires_at"].as_str().expect("checked");
    let expires_at_s = chrono::DateTime::parse_from_rfc3339(text)
        .expect("RFC 3339")
        .timestamp();
    assert!(
        (before_s + 600..=now_s() + 600).contains(&expires_at_s),
        "{text}"
    );
    let token = made["token"].as_str().expect("a token");
    assert_eq!(
        app.browser("/api/v1/balance", token, &[]).await.ok()["user_id"],
        7
    );
    let mut ws = app
        .ws(&[("authorization", &format!("Bearer {token}"))])
        .await;
    assert_eq!(ws.next_frame("hello").await["user_id"], 7);
}

async fn a_session_by_init_data_ends_when_its_time_is_over(database: Database) {
    let app = telegram(database, "user_id")
        .set("auth.session_ttl_s", 1)
        .start()
        .await;
    let init_data = InitData::of(1).text();
    let before_s = now_s();
    let mut ws = auth(&app, &init_data).await;
    ws.next_frame("hello").await;
    ws.assert_closed(4501, "token_expired").await;
    assert!(now_s() > before_s, "not before its time");
    // The same init data, not yet expired, opens another session.
    auth(&app, &init_data).await.next_frame("hello").await;
}

async fn fresh_init_data_extends_a_session_and_that_of_another_ends_it(database: Database) {
    let app = start(database).await;
    let short = mint(&json!({"alg": "HS256"}), &claims(1, 3), SESSION_SECRET);
    let mut ws = app
        .ws(&[("authorization", &format!("Bearer {short}"))])
        .await;
    ws.next_frame("hello").await;
    ws.next_frame("balance").await;
    ws.send_json(json!({"type": "auth", "init_data": InitData::of(1).text()}))
        .await;
    ws.assert_quiet().await;
    // A second session with the same short token shows when its time has passed.
    let mut witness = app
        .ws(&[("authorization", &format!("Bearer {short}"))])
        .await;
    witness.assert_closed(4501, "token_expired").await;
    ws.assert_quiet().await;
    ws.send_json(json!({"type": "auth", "init_data": InitData::of(2).text()}))
        .await;
    ws.assert_closed(4501, "unauthenticated").await;
}

async fn the_scheme_of_init_data_has_any_case_and_one_header(database: Database) {
    let app = start(database).await;
    let init_data = InitData::of(1).text();
    let get = async |headers: &[String]| {
        let request = app.public_request(reqwest::Method::GET, "/api/v1/balance");
        let request = headers.iter().fold(request, |request, value| {
            request.header("authorization", value)
        });
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(get(&[format!("TMA  {init_data}")]).await, 200);
    assert_eq!(
        get(&[format!("tma {init_data}"), format!("Bearer {}", token(1))]).await,
        401
    );
    assert_eq!(get(&[format!("Bearer {init_data}")]).await, 401);
    assert_eq!(get(&[format!("tma {}", token(1))]).await, 401);
    // The administration and the internal listener accept none.
    let admin = app
        .http
        .get(format!("http://{}/admin/v1/registry", app.internal));
    let admin = admin.header("authorization", format!("tma {init_data}"));
    assert_eq!(admin.send().await.expect("an answer").status(), 401);
}
