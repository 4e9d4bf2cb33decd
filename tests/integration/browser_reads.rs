//! `/api` on the public listener: shapes, caching, origins.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, TestApp, on_both_databases, on_sqlite, token};
use crate::{assert_keys, assert_timestamp, balances, entry};

on_both_databases![
    a_balance_has_its_exact_shape_and_an_etag,
    a_read_waits_for_the_version_it_names,
    a_version_that_never_comes_is_a_conflict,
    a_browser_pages_its_own_entries_only,
];
on_sqlite![
    foreign_origins_are_refused,
    allowed_origins_are_accepted_with_cors_headers,
    telegram_sign_in_is_off_unless_configured
];

async fn a_balance_has_its_exact_shape_and_an_etag(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "0.1").await;
    let answer = app.browser("/api/v1/balance", &token(1), &[]).await;
    let balance = answer.ok();
    assert_keys(
        &balance,
        &["user_id", "epoch", "version", "balances", "as_of", "stale"],
    );
    assert_eq!(
        (&balance["user_id"], &balance["version"], &balance["stale"]),
        (&json!(1), &json!(1), &json!(false))
    );
    assert_eq!(balance["balances"], balances("0.100000000", "0.000000000"));
    assert_timestamp(&balance["as_of"]);
    let etag = format!("\"{}.1\"", balance["epoch"].as_str().expect("a string"));
    assert_eq!(
        (answer.header("etag"), answer.header("cache-control")),
        (etag.as_str(), "private, no-cache")
    );

    // Another user at the same version has the same tag.
    assert!(
        answer.header("vary").contains("authorization"),
        "{answer:?}"
    );
    for known in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"x.1\", {etag}"),
    ] {
        let same = app
            .browser("/api/v1/balance", &token(1), &[("if-none-match", &known)])
            .await;
        assert_eq!(
            (same.status, same.text.as_str(), same.header("etag")),
            (304, "", etag.as_str()),
            "{known}"
        );
    }
    app.accepted("rewards", 1, "r", "1").await;
    let changed = app
        .browser("/api/v1/balance", &token(1), &[("if-none-match", &etag)])
        .await;
    assert_eq!(changed.ok()["version"], 2);
    assert_eq!(
        app.browser("/api/v1/balance?fresh=true", &token(1), &[])
            .await
            .ok()["version"],
        2
    );
    assert_eq!(
        app.browser("/api/v1/balance", &token(2), &[]).await.ok()["version"],
        0
    );
}

async fn a_read_waits_for_the_version_it_names(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d1", "1").await;
    let token = token(1);
    let waiting = app.browser("/api/v1/balance?min_version=2", &token, &[]);
    let acting = async {
        // The actor's counter shows that the reader is waiting; a late reader would find the
        // version at once.
        for _ in 0..200 {
            let actor = app.admin("/admin/v1/actors/1").await;
            if actor.status == 200 && actor.json()["counters"]["version_waiters"] == 1 {
                break;
            }
        }
        app.accepted("deposits", 1, "d2", "1").await
    };
    let (read, _) = tokio::join!(waiting, acting);
    let read = read.ok();
    assert_eq!(
        (&read["version"], &read["balances"]["TON"]),
        (&json!(2), &json!("2.000000000"))
    );
    assert_eq!(
        app.browser("/api/v1/balance?min_version=1", &token, &[])
            .await
            .ok()["version"],
        2
    );
}

async fn a_version_that_never_comes_is_a_conflict(database: Database) {
    let app = TestApp::start(database).await;
    app.browser("/api/v1/balance?min_version=1", &token(1), &[])
        .await
        .problem(409, "version_not_reached");
}

async fn a_browser_pages_its_own_entries_only(database: Database) {
    let app = TestApp::start(database).await;
    for n in 1..=4 {
        app.accepted("deposits", 1, &format!("mine{n}"), "1").await;
    }
    app.accepted("deposits", 2, "yours", "1").await;
    let answer = app
        .browser("/api/v1/entries?limit=2&before_version=4", &token(1), &[])
        .await
        .ok();
    let entries = answer["entries"].as_array().expect("a list");
    let ids: Vec<&Value> = entries.iter().map(|entry| &entry["event_id"]).collect();
    assert_eq!(ids, ["mine3", "mine2"]);
    for key in [
        "event_id",
        "user_id",
        "version",
        "kind",
        "currency",
        "amount",
        "balance_after",
        "source",
        "committed_at",
    ] {
        assert_ne!(entries[0][key], Value::Null, "{key} in {answer}");
    }
    let bad = app.browser("/api/v1/entries?limit=0", &token(1), &[]).await;
    assert_eq!(bad.problem(422, "invalid_field")["field"], "limit");
}

async fn foreign_origins_are_refused(database: Database) {
    let app = TestApp::start(database).await;
    let own = format!("http://{}", app.public);
    app.browser("/api/v1/balance", &token(1), &[("origin", &own)])
        .await
        .ok();
    let other_port = format!("http://127.0.0.1:{}", app.internal.port());
    for foreign in [
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        other_port.as_str(),
    ] {
        for path in ["/api/v1/balance", "/api/v1/entries"] {
            let answer = app.browser(path, &token(1), &[("origin", foreign)]).await;
            answer.problem(403, "origin_not_allowed");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
}

async fn preflight(app: &TestApp, origin: &str) -> Answer {
    let request = app
        .public_request(Method::OPTIONS, "/api/v1/balance")
        .header("origin", origin)
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization");
    Answer::read(request.send().await.expect("an answer"))
        .await
        .expect("a whole answer")
}

async fn allowed_origins_are_accepted_with_cors_headers(database: Database) {
    let friend = "https://app.example.org";
    let app = TestApp::on(database)
        .set("server.allowed_origins", vec![friend])
        .start()
        .await;
    app.post("deposits", entry("e", 1, "TON", "1")).await.ok();
    let answer = app
        .browser("/api/v1/balance", &token(1), &[("origin", friend)])
        .await;
    assert_eq!(answer.ok()["version"], 1);
    assert_eq!(answer.header("access-control-allow-origin"), friend);
    assert!(
        answer.header("vary").to_lowercase().contains("origin"),
        "{answer:?}"
    );
    let asked = preflight(&app, friend).await;
    assert!((200..300).contains(&asked.status), "{asked:?}");
    assert_eq!(asked.header("access-control-allow-origin"), friend);
    assert!(
        asked
            .header("access-control-allow-headers")
            .to_lowercase()
            .contains("authorization"),
        "{asked:?}"
    );
    preflight(&app, "https://evil.example")
        .await
        .problem(403, "origin_not_allowed");
    app.browser(
        "/api/v1/balance",
        &token(1),
        &[("origin", "https://evil.example")],
    )
    .await
    .problem(403, "origin_not_allowed");
    // Pages of an allowed origin can read refusals as well.
    let refused = app
        .browser("/api/v1/balance", "no token", &[("origin", friend)])
        .await;
    refused.problem(401, "unauthorized");
    assert_eq!(refused.header("access-control-allow-origin"), friend);
}

async fn telegram_sign_in_is_off_unless_configured(database: Database) {
    let app = TestApp::start(database).await;
    let request = app
        .public_request(Method::POST, "/api/v1/sessions")
        .json(&json!({"init_data": "user=1&hash=00"}));
    let answer = Answer::read(request.send().await.expect("an answer"))
        .await
        .expect("a whole answer");
    answer.problem(404, "not_found");
}
