//! Refusals independent of an entry's content: size, type, path, load.

use serde_json::json;

use crate::entry;
use crate::support::{Database, Raw, Signed, TestApp, eventually, on_both_databases, on_sqlite};

on_sqlite![
    a_body_that_is_too_large_is_refused,
    another_media_type_is_refused,
    unknown_paths_are_problems_too,
    the_internal_endpoints_are_not_on_the_public_listener,
    health_is_told_on_both_listeners,
    unfinished_batches_have_bounded_memory,
    a_stopping_service_reports_it,
];
on_both_databases![
    beyond_its_queue_the_service_is_overloaded_and_loses_nothing,
    entries_accepted_before_the_stop_are_answered_and_stored,
];

async fn a_body_that_is_too_large_is_refused(database: Database) {
    let app = TestApp::on(database)
        .set("limits.body_bytes", 500)
        .set("limits.batch_body_bytes", 2000)
        .start()
        .await;
    let mut large = entry("e", 1, "TON", "1");
    large["metadata"] = json!({"k": "x".repeat(600)});
    app.post("deposits", large.clone())
        .await
        .problem(413, "body_too_large");
    large["kind"] = json!("deposit");
    app.batch(json!([large])).await.ok();
    large["metadata"] = json!({"k": "x".repeat(2000)});
    app.batch(json!([large]))
        .await
        .problem(413, "body_too_large");
    app.post("deposits", entry("small", 1, "TON", "1"))
        .await
        .ok();
    assert_eq!(app.entries(1).await.len(), 2);
}

async fn another_media_type_is_refused(database: Database) {
    let app = TestApp::start(database).await;
    let request = |content_type| {
        Signed::post("/internal/v1/deposits", &entry("e", 1, "TON", "1")).content_type(content_type)
    };
    for bad in [
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonx"),
    ] {
        app.send(request(bad))
            .await
            .problem(415, "unsupported_media_type");
    }
    for good in ["application/json; charset=utf-8", "Application/JSON"] {
        app.send(request(Some(good))).await.ok();
    }
}

async fn unknown_paths_are_problems_too(database: Database) {
    let app = TestApp::start(database).await;
    for addr in [app.public, app.internal] {
        for path in ["/nowhere", "/api/v2/balance", "/internal/v1/nowhere"] {
            app.plain_get(addr, path).await.problem(404, "not_found");
        }
    }
}

async fn the_internal_endpoints_are_not_on_the_public_listener(database: Database) {
    let app = TestApp::start(database).await;
    for path in [
        "/admin/",
        "/admin/v1/registry",
        "/metrics",
        "/internal/v1/users/1/balance",
    ] {
        app.plain_get(app.public, path)
            .await
            .problem(404, "not_found");
    }
    for path in [
        "/internal/v1/deposits",
        "/internal/v1/batch",
        "/internal/v1/tokens",
    ] {
        let answer = app
            .public_request(reqwest::Method::POST, path)
            .json(&json!({}))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), 404, "{path}");
    }
}

async fn health_is_told_on_both_listeners(database: Database) {
    let app = TestApp::start(database).await;
    for addr in [app.public, app.internal] {
        let health = app.plain_get(addr, "/healthz").await.ok();
        assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
        assert!(health["build"].is_string(), "{health}");
        assert_eq!(app.plain_get(addr, "/readyz").await.status, 200);
    }
}

async fn beyond_its_queue_the_service_is_overloaded_and_loses_nothing(database: Database) {
    let app = TestApp::on(database)
        .set("limits.queue_entries", 4)
        .set("database.timeout_ms", 2000)
        .start()
        .await;
    let lock = app.database.lock_writes();
    let deposits = (0..40_u64).map(|n| {
        let app = &app;
        async move {
            (
                n,
                app.post("deposits", entry(&format!("e{n}"), n + 1, "TON", "1"))
                    .await,
            )
        }
    });
    let answers = futures_util::future::join_all(deposits).await;
    let count = |code: &str| {
        answers
            .iter()
            .filter(|(_, a)| a.status == 503 && a.json()["code"] == code)
            .count()
    };
    let (overloaded, unavailable) = (count("overloaded"), count("ledger_unavailable"));
    assert!(overloaded > 0, "{answers:?}");
    assert_eq!(overloaded + unavailable, 40, "{answers:?}");
    for (_, answer) in &answers {
        let code = answer.json()["code"].as_str().expect("a code").to_owned();
        answer.problem(503, &code);
    }
    drop(lock);
    // Sending again with the same event id is always safe.
    for (n, _) in answers {
        let answer = eventually("the ledger takes entries again", async || {
            let answer = app
                .post("deposits", entry(&format!("e{n}"), n + 1, "TON", "1"))
                .await;
            (answer.status == 200).then_some(answer)
        })
        .await;
        assert_eq!(answer.ok()["version"], 1);
        assert_eq!(app.entries(n + 1).await.len(), 1);
    }
    app.assert_ledger_holds();
}

async fn unfinished_batches_have_bounded_memory(database: Database) {
    // Six of them use up the part of the 64 MiB that batches may take.
    const LENGTH: u32 = 8 << 20;
    let app = TestApp::on(database)
        .set("limits.batch_body_bytes", LENGTH)
        .start()
        .await;
    let signature = crate::support::sign(crate::support::WEBHOOK_SECRET, "x", "1", b"");
    let head = format!(
        "POST /internal/v1/batch HTTP/1.1\r\nHost: x\r\nwebhook-id: x\r\nwebhook-timestamp: 1\r\n\
         webhook-signature: {signature}\r\nContent-Length: {LENGTH}\r\n\r\n"
    );
    let endless = (0..10).map(|_| async {
        let mut raw = Raw::connect(app.internal, None, None)
            .await
            .expect("it connects");
        assert!(raw.send(head.as_bytes()).await);
        // The service need not read the rest of a refused body.
        raw.send(" ".repeat(LENGTH as usize - 1).as_bytes()).await;
        raw
    });
    let peers = futures_util::future::join_all(endless).await;
    eventually("four of them are refused", async || {
        let refused =
            r#"http_requests_total{listener="internal",route="/internal/v1/batch",status="503"}"#;
        app.metrics()
            .await
            .samples
            .get(refused)
            .filter(|count| **count >= 4.0)
            .map(drop)
    })
    .await;
    let mut item = entry("e", 1, "TON", "1");
    item["kind"] = json!("deposit");
    // A short body finds room.
    app.batch(json!([item])).await.ok();
    let long = vec![item; 1000];
    drop(peers);
    eventually("their room is given back", async || {
        (app.batch(json!(long)).await.status == 200).then_some(())
    })
    .await;
}

async fn a_stopping_service_reports_it(database: Database) {
    let mut app = TestApp::start(database).await;
    // A reader that waits for a version keeps the service from exiting at once.
    let waiting = app.backend("/internal/v1/users/1/balance?min_version=1");
    let stopping = async {
        eventually("the reader waits", async || {
            let actor = app.admin("/admin/v1/actors/1").await;
            (actor.status == 200 && actor.json()["counters"]["version_waiters"] == 1).then_some(())
        })
        .await;
        app.signal("TERM");
        eventually("it is not ready any more", async || {
            (app.plain_get(app.internal, "/readyz").await.status == 503).then_some(())
        })
        .await;
        for path in ["/readyz", "/internal/v1/deposits"] {
            let answer = match path {
                "/readyz" => app.plain_get(app.public, path).await,
                _ => app.post("deposits", entry("late", 1, "TON", "1")).await,
            };
            answer.problem(503, "shutting_down");
            assert!(!answer.header("retry-after").is_empty());
        }
    };
    let (answer, ()) = tokio::join!(waiting, stopping);
    answer.problem(409, "version_not_reached");
    assert_eq!(app.wait().await.code(), Some(0));
}

async fn entries_accepted_before_the_stop_are_answered_and_stored(database: Database) {
    let mut app = TestApp::start(database).await;
    let lock = app.database.lock_writes();
    let waiting = (0..8_u64).map(|n| {
        app.try_send(Signed::post(
            "/internal/v1/deposits",
            &entry(&format!("e{n}"), 1, "TON", "1"),
        ))
    });
    let all = futures_util::future::join_all(waiting);
    let end = async {
        // All eight have arrived when they are in the actor of user 1 or in the ledger's queue.
        eventually("the deposits are in the service", async || {
            let registry = app.admin("/admin/v1/registry").await.ok();
            (registry["actors"] == 1).then_some(())
        })
        .await;
        app.signal("TERM");
        eventually("it is stopping", async || {
            let ready = app.plain_get(app.internal, "/readyz").await;
            (ready.status == 503 && ready.json()["code"] == "shutting_down").then_some(())
        })
        .await;
        drop(lock);
    };
    let (answers, ()) = tokio::join!(all, end);
    let mut kept = 0;
    for answer in answers.into_iter().flatten() {
        match answer.status {
            200 => kept += 1,
            _ => drop(answer.problem(503, "shutting_down")),
        }
    }
    assert!(kept > 0, "none was answered");
    assert_eq!(app.wait().await.code(), Some(0));
    app.start_again().await;
    assert!(
        app.entries(1).await.len() >= kept,
        "an answer means committed"
    );
    app.assert_ledger_holds();
}
