//! `/api` on the public listener: shapes, caching, origins.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, Signed, TestApp, on_both_databases, on_sqlite, token};
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
    a_user_who_asks_too_often_is_limited_alone,
    a_parameter_that_can_not_be_read_is_named,
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

async fn a_user_who_asks_too_often_is_limited_alone(database: Database) {
    let app = TestApp::on(database)
        .set("limits.api_requests_per_s", 1)
        .set("limits.api_requests_burst", 5)
        .start()
        .await;
    app.accepted("deposits", 1, "d", "1").await;
    let paths = [
        "/api/v1/balance",
        "/api/v1/balance?fresh=true",
        "/api/v1/balance?min_version=1",
        "/api/v1/entries",
        // The rate comes before the parameters.
        "/api/v1/balance?min_version=x",
    ];
    let mut answered = 0;
    let limited = loop {
        let answer = app
            .browser(paths[answered % paths.len()], &token(1), &[])
            .await;
        if answer.status == 429 {
            break answer;
        }
        assert!(matches!(answer.status, 200 | 422), "{answer:?}");
        answered += 1;
        assert!(answered < 1000, "never limited");
    };
    assert!(answered >= 5, "{answered} are within the burst");
    limited.problem(429, "rate_limited");
    // Other users, sessions and back ends are not.
    app.browser("/api/v1/balance", &token(2), &[]).await.ok();
    app.session(1).await;
    for _ in 0..20 {
        app.backend("/internal/v1/users/1/balance").await.ok();
    }
    crate::support::eventually("the user may ask again", async || {
        let answer = app.browser("/api/v1/balance", &token(1), &[]).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn a_parameter_that_can_not_be_read_is_named(database: Database) {
    let app = TestApp::start(database).await;
    for (path, field) in [
        ("/api/v1/balance?fresh=true&fresh=true", "fresh"),
        ("/api/v1/balance?fresh=1", "fresh"),
        ("/api/v1/balance?min_version=1&min_version=2", "min_version"),
        ("/api/v1/balance?user_id=2", "user_id"),
        ("/api/v1/entries?limit=1&limit=1", "limit"),
        ("/api/v1/entries?limit=ten", "limit"),
        ("/api/v1/entries?before=1", "before"),
    ] {
        let answer = app.browser(path, &token(1), &[]).await;
        assert_eq!(
            answer.problem(422, "invalid_field")["field"],
            field,
            "{path}"
        );
    }
    for (path, field) in [
        (
            "/internal/v1/users/1/balance?fresh=true&fresh=true",
            "fresh",
        ),
        ("/internal/v1/users/1/entries?limit=x", "limit"),
        ("/internal/v1/users/1/entries?limit=1&Limit=2", "Limit"),
    ] {
        let answer = app.send(Signed::get(path)).await;
        assert_eq!(
            answer.problem(422, "invalid_field")["field"],
            field,
            "{path}"
        );
    }
    for (path, field) in [
        ("/admin/v1/actors?sort=name", "sort"),
        ("/admin/v1/actors?sort=user_id&sort=user_id", "sort"),
        ("/admin/v1/actors/1?activate=yes", "activate"),
        ("/admin/v1/events?after=-1", "after"),
        ("/admin/v1/live?snapshots=1&snapshots=2", "snapshots"),
        ("/admin/v1/log?all=true", "all"),
        ("/admin/v1/registry?limit=1", "limit"),
        ("/admin/v1/audit?user_id=1", "user_id"),
        ("/admin/v1/canary?latest", "latest"),
    ] {
        let answer = app.admin(path).await;
        assert_eq!(
            answer.problem(422, "invalid_field")["field"],
            field,
            "{path}"
        );
    }
    let batch = json!({"entries": [{"kind": "deposit"}]});
    for (query, field) in [
        ("atomic=true&atomic=false", "atomic"),
        ("atomic=true&atomic=true", "atomic"),
        ("atomic", "atomic"),
        ("Atomic=true", "Atomic"),
        ("atomic=true&dry_run=true", "dry_run"),
    ] {
        let request = Signed::post(&format!("/internal/v1/batch?{query}"), &batch);
        let problem = app.send(request).await.problem(422, "invalid_field");
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
}

async fn preflight(app: &TestApp, origin: &str) -> Answer {
    let request = app
        .public_request(Method::OPTIONS, "/api/v1/balance")
        .header("origin", origin)
        .header("access-control-request-method", "GET")
        .header(
            "access-control-request-headers",
            "authorization,baggage,sentry-trace,traceparent,tracestate,x-request-id",
        );
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
    let allowed = asked.header("access-control-allow-headers").to_lowercase();
    let allowed: Vec<&str> = allowed.split(", ").collect();
    for name in [
        "authorization",
        "content-type",
        "if-none-match",
        "baggage",
        "sentry-trace",
        "traceparent",
        "tracestate",
        "x-request-id",
    ] {
        assert!(allowed.contains(&name), "{name} in {asked:?}");
    }
    let foreign = preflight(&app, "https://evil.example").await;
    foreign.problem(403, "origin_not_allowed");
    assert_eq!(foreign.header("access-control-allow-headers"), "");
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
