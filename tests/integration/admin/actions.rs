//! Administrators' orders: their effects, and that each is logged first.

use serde_json::{Value, json};

use crate::support::{Answer, Database, TestApp, on_both_databases, on_postgres, on_sqlite};
use crate::{assert_keys, assert_timestamp, balances};

on_both_databases![
    every_order_is_logged_with_the_name_of_its_token,
    a_refresh_asks_the_ledger_and_tells_the_sessions,
];
on_sqlite![
    a_push_order_sends_pending_changes_at_once,
    a_retired_actor_loses_nothing,
    sessions_come_back_to_the_actor_after_the_one_that_retired,
    an_order_without_a_token_is_neither_done_nor_logged,
];
on_postgres![an_order_that_cannot_be_logged_is_not_carried_out];

const ACTIONS: [&str; 4] = ["refresh", "push", "retire", "disconnect"];

/// Pacing so long that rewards are pushed only on order.
async fn slow(database: Database) -> TestApp {
    TestApp::on(database)
        .set("pacing.debounce_ms", 600_000)
        .set("pacing.min_interval_ms", 900_000)
        .start()
        .await
}

async fn order(app: &TestApp, token: &str, user_id: u64, action: &str) -> Answer {
    let url = format!("http://{}/admin/v1/actors/{user_id}/{action}", app.internal);
    Answer::read(
        app.http
            .post(url)
            .bearer_auth(token)
            .send()
            .await
            .expect("an answer"),
    )
    .await
    .expect("whole")
}

async fn log(app: &TestApp) -> Vec<Value> {
    app.admin("/admin/v1/log").await.ok()["log"]
        .as_array()
        .expect("a list")
        .clone()
}

async fn every_order_is_logged_with_the_name_of_its_token(database: Database) {
    let alice = toml::Table::from_iter([
        ("name".into(), "alice".into()),
        ("token".into(), "alices-token".into()),
    ]);
    let plain = crate::support::ADMIN_TOKEN;
    let tokens = vec![toml::Value::from(plain), toml::Value::from(alice)];
    let mut app = TestApp::on(database)
        .set("auth.admin_tokens", tokens)
        .start()
        .await;
    for (n, action) in ACTIONS.iter().enumerate() {
        let token = if n % 2 == 0 { plain } else { "alices-token" };
        let answer = order(&app, token, 7 + n as u64, action).await;
        assert_eq!(answer.status / 100, 2, "{answer:?}");
    }
    // The entry is durable.
    app.kill();
    app.start_again().await;
    let rows = log(&app).await;
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (&row["admin"], &row["action"], &row["user_id"]))
        .collect();
    let (first, second) = (json!("admin-1"), json!("alice"));
    let actions = ACTIONS.map(|action| json!(action));
    let expected = [
        (&second, &actions[3], &json!(10)),
        (&first, &actions[2], &json!(9)),
        (&second, &actions[1], &json!(8)),
        (&first, &actions[0], &json!(7)),
    ];
    assert_eq!(shown, expected);
    for row in &rows {
        assert_keys(row, &["at", "admin", "action", "user_id"]);
        assert_timestamp(&row["at"]);
    }
    assert_eq!(
        app.admin("/admin/v1/log?limit=1").await.ok()["log"],
        json!([rows[0]])
    );
}

async fn a_refresh_asks_the_ledger_and_tells_the_sessions(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 10)
        .set("pacing.min_interval_ms", 20)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.next_frame("balance_update").await;
    app.database.sql(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
         VALUES (1, 2, 'reward', 'hand', 'TON', 500000000, 1500000000, 'by-hand', 1); \
         UPDATE balances SET amount = 1500000000 WHERE user_id = 1 AND currency = 'TON'; \
         UPDATE accounts SET version = 2 WHERE user_id = 1;",
    );
    let answer = app.admin_post("/admin/v1/actors/1/refresh").await.ok();
    assert_eq!(
        (&answer["version"], &answer["stale"]),
        (&json!(2), &json!(false)),
        "{answer}"
    );
    assert_eq!(answer["balances"], balances("1.500000000", "0.000000000"));
    assert_eq!(ws.next_frame("balance_update").await["version"], 2);
}

async fn a_push_order_sends_pending_changes_at_once(database: Database) {
    let app = slow(database).await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("rewards", 1, "r", "2").await;
    assert_eq!(
        app.admin_post("/admin/v1/actors/1/push").await.ok(),
        json!({"pushed": true})
    );
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["version"], &update["mode"]),
        (&json!(1), &json!("paced"))
    );
    assert_eq!(
        app.admin_post("/admin/v1/actors/1/push").await.ok(),
        json!({"pushed": false}),
        "nothing waits"
    );
    assert_eq!(
        app.admin_post("/admin/v1/actors/2/push").await.ok(),
        json!({"pushed": false}),
        "no session is open"
    );
    ws.assert_quiet().await;
}

async fn a_retired_actor_loses_nothing(database: Database) {
    let app = slow(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    assert_eq!(
        app.admin_post("/admin/v1/actors/1/retire").await.ok(),
        json!({"retired": true})
    );
    app.admin("/admin/v1/actors/1")
        .await
        .problem(404, "not_found");
    let again = app.admin_post("/admin/v1/actors/1/retire").await.ok();
    assert_eq!(again, json!({"retired": false, "reason": "not_resident"}));
    let answer = app.accepted("deposits", 1, "e", "1").await;
    assert_eq!(
        (&answer["version"], &answer["balances"]["TON"]),
        (&json!(2), &json!("2.000000000"))
    );
}

async fn sessions_come_back_to_the_actor_after_the_one_that_retired(database: Database) {
    let app = slow(database).await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("rewards", 1, "r", "1").await;
    assert_eq!(
        app.admin_post("/admin/v1/actors/1/retire").await.ok(),
        json!({"retired": true})
    );
    let snapshot = ws.next_frame("balance").await;
    assert_eq!(
        (&snapshot["reason"], &snapshot["version"]),
        (&json!("snapshot"), &json!(1)),
        "what waited is not lost"
    );
    app.accepted("deposits", 1, "d", "1").await;
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["version"], &update["balances"]["TON"]),
        (&json!(2), &json!("2.000000000"))
    );
}

async fn an_order_without_a_token_is_neither_done_nor_logged(database: Database) {
    let app = slow(database).await;
    let (mut ws, _) = app.session(1).await;
    for action in ACTIONS {
        order(&app, "wrong", 1, action)
            .await
            .problem(401, "unauthorized");
        order(&app, crate::support::ADMIN_TOKEN, 0, action)
            .await
            .problem(422, "invalid_field");
    }
    ws.assert_quiet().await;
    assert_eq!(log(&app).await, Vec::<Value>::new());
}

async fn an_order_that_cannot_be_logged_is_not_carried_out(database: Database) {
    let app = TestApp::on(database)
        .set("database.timeout_ms", 1000)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    app.database.cut();
    for action in ACTIONS {
        app.admin_post(&format!("/admin/v1/actors/1/{action}"))
            .await
            .problem(503, "ledger_unavailable");
    }
    ws.assert_quiet().await;
    app.admin("/admin/v1/actors/1").await.ok();
    app.database.mend();
}
