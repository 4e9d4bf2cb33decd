//! The operators' dashboard: its files and its event stream.

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    ADMIN_TOKEN, Answer, Database, TestApp, eventually, on_both_databases, on_sqlite, token,
};

on_both_databases![the_first_event_has_the_registrys_numbers];
on_sqlite![
    the_dashboard_is_on_the_internal_listener_alone_and_loads_nothing_from_elsewhere,
    a_stream_needs_an_administrators_token_and_has_a_length,
    a_stream_shows_one_users_events_each_once,
    a_stream_is_no_idle_connection,
    listeners_are_limited_and_free_their_places,
    a_stopping_service_does_not_wait_for_listeners,
];

const LISTENERS_MAX: usize = 32;

async fn open(app: &TestApp, query: &str, bearer: &str) -> Response {
    let url = format!("http://{}/admin/v1/live{query}", app.internal);
    app.http
        .request(Method::GET, url)
        .bearer_auth(bearer)
        .send()
        .await
        .expect("an answer")
}

/// Reads the next event: name and data.
async fn next(stream: &mut Response, buffer: &mut String) -> Option<(String, Value)> {
    while !buffer.contains("\n\n") {
        let chunk = stream.chunk().await.expect("the stream goes on or ends")?;
        buffer.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
    }
    let (event, rest) = buffer.split_once("\n\n").expect("it is whole");
    let (name, data) = event.split_once('\n').expect("two lines");
    let name = name.strip_prefix("event: ").expect("a name").to_owned();
    let data = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
    *buffer = rest.to_owned();
    Some((name, data))
}

async fn the_dashboard_is_on_the_internal_listener_alone_and_loads_nothing_from_elsewhere(
    database: Database,
) {
    let app = TestApp::start(database).await;
    for (path, kind) in [
        ("/admin/", "text/html; charset=utf-8"),
        ("/admin/admin.js", "text/javascript; charset=utf-8"),
        ("/admin/admin.css", "text/css; charset=utf-8"),
        ("/admin/vendor/uplot.js", "text/javascript; charset=utf-8"),
        (
            "/admin/vendor/uplot-license.txt",
            "text/plain; charset=utf-8",
        ),
    ] {
        let answer = app.plain_get(app.internal, path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, kind),
            "{path}"
        );
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && !policy.contains('*'),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(!answer.text.contains(ADMIN_TOKEN));
        app.plain_get(app.public, path)
            .await
            .problem(404, "not_found");
    }
    app.plain_get(app.internal, "/admin/nothing.js")
        .await
        .problem(404, "not_found");
    app.plain_get(app.internal, "/admin/index.html")
        .await
        .problem(404, "not_found");
    let page = app.plain_get(app.internal, "/admin/").await.text;
    let is_handler = |rest: &str| {
        rest.split_once('=')
            .is_some_and(|(name, _)| name.chars().all(char::is_alphabetic))
    };
    assert!(
        !page.contains("<style") && !page.contains(" style="),
        "no style inside the markup"
    );
    assert!(!page.split(" on").skip(1).any(is_handler), "and no script");
    for part in page
        .split("href=\"")
        .skip(1)
        .chain(page.split("src=\"").skip(1))
    {
        let target = part.split('"').next().expect("a part");
        if !target.starts_with('#') && target != "data:," {
            assert_eq!(
                app.plain_get(app.internal, &format!("/admin/{target}"))
                    .await
                    .status,
                200,
                "{target}"
            );
        }
    }
}

async fn the_first_event_has_the_registrys_numbers(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.direct_interval_ms", 0)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.next_frame("balance_update").await;
    app.accepted("rewards", 2, "r", "1").await;
    app.post("withdrawals", crate::entry("w", 2, "TON", "5"))
        .await
        .problem(422, "insufficient_funds");
    let mut stream = open(&app, "?snapshots=2", ADMIN_TOKEN).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-store");
    let mut buffer = String::new();
    let (name, first) = next(&mut stream, &mut buffer).await.expect("an event");
    assert_eq!(name, "snapshot");
    let mut registry = app.admin("/admin/v1/registry").await.ok();
    let mut shown = first["registry"].clone();
    for one in [&mut registry, &mut shown] {
        one.as_object_mut().expect("an object").remove("uptime_s");
    }
    assert_eq!(shown, registry);
    assert_eq!(
        (
            &shown["sessions"],
            &shown["actors"],
            &shown["pushes_direct"]
        ),
        (&json!(1), &json!(2), &json!(1))
    );
    let counters = &first["counters"];
    assert_eq!(
        counters["entries"]["deposit"],
        json!({"accepted": 1, "duplicate": 0, "rejected": 0})
    );
    assert_eq!(counters["entries"]["withdrawal"]["rejected"], 1);
    assert!(
        counters["last_entry_at_s"]["deposit"].is_number()
            && counters["last_entry_at_s"]["withdrawal"].is_null()
    );
    assert_eq!(
        counters["errors"]["webhook_rejected"],
        json!({"insufficient_funds": 1})
    );
    let scrape = app.metrics().await;
    assert_eq!(
        counters["commit"]["count"].as_f64(),
        Some(scrape.value("balance_commit_seconds_count"))
    );
    assert_eq!(counters["commit_to_push"]["direct"]["count"], 1);
    assert_eq!(
        first["audit"]["users_per_s"],
        app.admin("/admin/v1/audit").await.ok()["users_per_s"]
    );
    assert_eq!(first["canary"], json!({"every_s": 0, "latest": null}));

    let (_, second) = next(&mut stream, &mut buffer).await.expect("another");
    assert!(second["at"].as_str() > first["at"].as_str(), "{second}");
    assert_eq!(
        next(&mut stream, &mut buffer).await,
        None,
        "it was asked for two"
    );
}

async fn a_stream_needs_an_administrators_token_and_has_a_length(database: Database) {
    let app = TestApp::start(database).await;
    for query in [
        "?snapshots=0",
        "?snapshots=3601",
        "?snapshots=x",
        "?more=1",
        "?user_id=0",
        "?user_id=x",
        "?user_id=9007199254740992",
    ] {
        let answer = Answer::read(open(&app, query, ADMIN_TOKEN).await)
            .await
            .expect("whole");
        answer.problem(422, "invalid_field");
    }
    for bad in ["", "wrong", &token(1)] {
        let answer = Answer::read(open(&app, "", bad).await)
            .await
            .expect("whole");
        assert!(matches!(answer.status, 401 | 429), "{answer:?}");
    }
    app.plain_get(app.public, "/admin/v1/live")
        .await
        .problem(404, "not_found");
}

async fn a_stream_shows_one_users_events_each_once(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.direct_interval_ms", 0)
        .start()
        .await;
    let (mut stream, mut buffer) = (
        open(&app, "?snapshots=60&user_id=1", ADMIN_TOKEN).await,
        String::new(),
    );
    let mut look = async || {
        let (name, _) = next(&mut stream, &mut buffer).await.expect("an event");
        assert_eq!(name, "snapshot");
        let (name, data) = next(&mut stream, &mut buffer).await.expect("another");
        assert_eq!((name.as_str(), &data["user_id"]), ("user", &json!(1)));
        data
    };
    let first = look().await;
    assert_eq!(
        (&first["actor"], &first["events"]),
        (&Value::Null, &json!([])),
        "watching no user loads no actor"
    );

    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d1", "1").await;
    app.accepted("deposits", 2, "other", "1").await;
    ws.next_frame("balance_update").await;
    let second = look().await;
    let mut actor = app.admin("/admin/v1/actors/1").await.ok();
    let mut shown = second["actor"].clone();
    let members = actor.as_object_mut().expect("an object");
    for of_all_nodes in ["nodes", "not_heard_of"] {
        assert!(members.remove(of_all_nodes).is_some(), "{of_all_nodes}");
    }
    for one in [&mut actor, &mut shown] {
        for volatile in ["observed_at", "age_ms", "last_push_at", "mailbox"] {
            assert!(
                one.as_object_mut()
                    .expect("an object")
                    .remove(volatile)
                    .is_some_and(|value| !value.is_null())
            );
        }
    }
    assert_eq!(shown, actor);
    let events = app.admin("/admin/v1/events?user_id=1").await.ok()["events"].clone();
    assert_eq!(
        (events.as_array().map(Vec::len), &second["events"]),
        (Some(2), &events),
        "the commit and its push"
    );

    app.accepted("deposits", 1, "d2", "1").await;
    ws.next_frame("balance_update").await;
    let third = look().await;
    let whats: Vec<_> = third["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| (&e["what"], &e["version"]))
        .collect();
    assert_eq!(
        whats,
        [(&json!("push"), &json!(2)), (&json!("entry"), &json!(2))],
        "and what was told is not told again"
    );
    assert_eq!(look().await["events"], json!([]));
}

async fn a_stream_is_no_idle_connection(database: Database) {
    let app = TestApp::start(database).await;
    let (mut stream, mut buffer) = (
        open(&app, "?snapshots=18", ADMIN_TOKEN).await,
        String::new(),
    );
    for number in 1..=18 {
        let (name, _) = next(&mut stream, &mut buffer)
            .await
            .unwrap_or_else(|| panic!("it ended before {number}"));
        assert_eq!(name, "snapshot");
    }
    assert_eq!(next(&mut stream, &mut buffer).await, None);
}

async fn listeners_are_limited_and_free_their_places(database: Database) {
    let app = TestApp::start(database).await;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS_MAX {
        let mut listener = open(&app, "", ADMIN_TOKEN).await;
        assert_eq!(listener.status(), StatusCode::OK);
        next(&mut listener, &mut String::new())
            .await
            .expect("an event");
        listeners.push(listener);
    }
    let refused = Answer::read(open(&app, "", ADMIN_TOKEN).await)
        .await
        .expect("whole");
    refused.problem(503, "overloaded");
    listeners.pop();
    eventually("the place is free", async || {
        (open(&app, "?snapshots=1", ADMIN_TOKEN).await.status() == StatusCode::OK).then_some(())
    })
    .await;
}

async fn a_stopping_service_does_not_wait_for_listeners(database: Database) {
    let mut app = TestApp::start(database).await;
    let (mut stream, mut buffer) = (open(&app, "", ADMIN_TOKEN).await, String::new());
    next(&mut stream, &mut buffer).await.expect("an event");
    app.signal("TERM");
    while let Some((name, _)) = next(&mut stream, &mut buffer).await {
        assert_eq!(name, "snapshot", "it ends whole");
    }
    assert!(app.wait().await.success());
}
