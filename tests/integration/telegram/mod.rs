//! Sign-in by Telegram Mini App: over HTTP and WebSocket, with a bot's token or its id alone.

mod linked;
mod refused;
mod signing_in;

use serde_json::{Value, json};

use crate::support::{Answer, BOT_TOKEN, Builder, Database, InitData, Signed, TestApp, Ws};

fn telegram(database: Database, identity: &str) -> Builder {
    TestApp::on(database)
        .set("auth.telegram_bot_token", BOT_TOKEN)
        .set("auth.telegram_identity", identity)
}

/// `POST /api/v1/sessions`
async fn sign_in(app: &TestApp, init_data: &str) -> Answer {
    post(app, json!({"init_data": init_data})).await
}

async fn post(app: &TestApp, body: Value) -> Answer {
    let request = app
        .public_request(reqwest::Method::POST, "/api/v1/sessions")
        .json(&body);
    Answer::read(request.send().await.expect("an answer"))
        .await
        .expect("a whole answer")
}

/// `GET /api/v1/balance` with `Authorization: tma`.
async fn read(app: &TestApp, init_data: &str) -> Answer {
    let request = app.public_request(reqwest::Method::GET, "/api/v1/balance");
    let request = request.header("authorization", format!("tma {init_data}"));
    Answer::read(request.send().await.expect("an answer"))
        .await
        .expect("a whole answer")
}

/// A WebSocket whose first message is init data.
async fn auth(app: &TestApp, init_data: &str) -> Ws {
    let mut ws = app.ws(&[("sec-websocket-protocol", "balance.v1")]).await;
    ws.send_json(json!({"type": "auth", "init_data": init_data}))
        .await;
    ws
}

/// A WebSocket whose upgrade has init data in its header.
async fn upgrade(app: &TestApp, init_data: &str) -> Ws {
    app.ws(&[("authorization", &format!("tma {init_data}"))])
        .await
}

async fn link(app: &TestApp, user_id: u64, telegram_id: u64) {
    let request = Signed::new(
        reqwest::Method::PUT,
        &format!("/internal/v1/users/{user_id}"),
    );
    app.send(request.body(json!({"telegram_id": telegram_id}).to_string()))
        .await
        .ok();
}

/// Asserts that every endpoint accepts this init data as this user.
async fn assert_admitted(app: &TestApp, init_data: &InitData, user_id: u64) {
    let text = init_data.text();
    assert_eq!(sign_in(app, &text).await.ok()["user_id"], user_id);
    assert_eq!(read(app, &text).await.ok()["user_id"], user_id);
    for mut ws in [auth(app, &text).await, upgrade(app, &text).await] {
        assert_eq!(ws.next_frame("hello").await["user_id"], user_id);
        assert_eq!(ws.next_frame("balance").await["user_id"], user_id);
    }
}

/// Asserts that every endpoint refuses this init data.
async fn assert_refused(app: &TestApp, init_data: &str, reason: &str) {
    sign_in(app, init_data).await.problem(401, "unauthorized");
    read(app, init_data).await.problem(401, "unauthorized");
    auth(app, init_data).await.assert_closed(4501, reason).await;
    upgrade(app, init_data)
        .await
        .assert_closed(4501, reason)
        .await;
}
