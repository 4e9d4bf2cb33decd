//! The log for machines (`log.format = "json"`), and requests that are followed in it by their `traceparent`.

use serde_json::{Value, json};

use crate::entry;
use crate::support::{
    ADMIN_TOKEN, Answer, Database, SESSION_SECRET, Signed, TestApp, WEBHOOK_SECRET, eventually,
    on_sqlite, run_program, token,
};

on_sqlite![
    every_line_is_a_json_object_whatever_it_tells,
    a_deposit_is_followed_from_the_webhook_to_the_push,
    a_push_of_several_requests_names_all_of_them,
    an_entry_of_a_batch_is_followed_too,
    a_read_is_followed_to_the_actor,
    a_problem_has_the_id_of_its_request,
    a_start_that_fails_says_so_in_the_format_of_the_log,
];

/// The trace id of a test's n-th request.
fn id(number: u32) -> String {
    format!("4bf92f3577b34da6a3ce929d{number:08x}")
}

fn traceparent(number: u32) -> String {
    format!("00-{}-00f067aa0ba902b7-01", id(number))
}

fn deposit(event_id: &str, user_id: u64) -> Signed {
    Signed::post(
        "/internal/v1/deposits",
        &entry(event_id, user_id, "TON", "1"),
    )
}

async fn send(app: &TestApp, request: Signed, number: u32) -> Answer {
    let request = request.header("traceparent", &traceparent(number));
    app.send(request).await
}

/// Every line of a JSON log, read.
fn lines(log: &str) -> Vec<Value> {
    let read = |line: &str| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    log.lines().map(read).collect()
}

/// Whether a line belongs to a request.
fn is_of(line: &Value, number: u32) -> bool {
    let id = json!(id(number));
    line["request_id"] == id
        || line["request_ids"]
            .as_array()
            .is_some_and(|all| all.contains(&id))
}

/// Waits for a line of a request with this in its message.
async fn until_line(app: &TestApp, number: u32, part: &str) -> Value {
    eventually(part, async || {
        // The last line may be half written.
        let log = app.log();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let is_it = |line: &Value| {
            is_of(line, number)
                && line["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(part))
        };
        lines(whole).into_iter().find(is_it)
    })
    .await
}

async fn every_line_is_a_json_object_whatever_it_tells(database: Database) {
    let mut app = TestApp::on(database)
        .set("log.format", "json")
        .set("pacing.debounce_ms", 50)
        .log("trace")
        .start()
        .await;
    let (mut ws, _) = app.session(7).await;
    let hostile = "\"},{\"level\":\"ERROR\" \\ ' </script> %0a";
    send(&app, deposit(hostile, 7), 1).await.ok();
    ws.next_frame("balance_update").await;
    app.post("rewards", entry("r", 7, "TON", "1")).await.ok();
    ws.next_frame("balance_update").await;
    app.post("deposits", entry("a\nb\r\u{2028}c", 7, "TON", "1"))
        .await
        .problem(422, "invalid_field");
    for origin in [
        "https://evil.example/\"}\\",
        "null",
        "https://\u{e9}\u{85}.example",
    ] {
        let request = app
            .public_request(reqwest::Method::GET, "/api/v1/balance?x=\"%0a}")
            .header("origin", origin)
            .header("user-agent", "\"}\\{");
        assert_eq!(request.send().await.expect("an answer").status(), 403);
    }
    ws.send_text("{\"type\":\"\n\u{2028}\"}").await;
    app.browser("/api/v1/balance", "no.to\\\"ken", &[])
        .await
        .problem(401, "unauthorized");
    app.hang_up().await;
    app.stop().await;
    let log = app.log();
    let lines = lines(&log);
    for line in &lines {
        let fields = line.as_object().expect("an object");
        for (name, value) in fields {
            match name.as_str() {
                "time" => crate::assert_timestamp(value),
                "level" => assert!(
                    ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"]
                        .contains(&value.as_str().expect("a text")),
                    "{line}"
                ),
                "target" | "message" => assert!(value.is_string(), "{line}"),
                "request_id" => assert_eq!(value, &json!(id(1)), "{line}"),
                other => panic!("{other} in {line}"),
            }
        }
        assert!(fields.len() >= 4, "{line}");
    }
    let has = |level: &str, parts: &[&str]| {
        let is_it = |line: &&Value| {
            let message = line["message"].as_str().expect("a text");
            line["level"] == level && parts.iter().all(|part| message.contains(part))
        };
        lines.iter().any(|line| is_it(&line))
    };
    assert!(has(
        "INFO",
        &["effective configuration:\n", "[log]\nformat = \"json\""]
    ));
    assert!(has("INFO", &["DIRECT_BALANCE_UPDATE", "balance_update"]));
    assert!(has("INFO", &["BalanceCoordinator", "balance_update"]));
    assert!(has("DEBUG", &["[BalanceCache] Cache"]));
    assert!(has("INFO", &["SIGHUP: the configuration was read again"]));
    assert!(has("INFO", &["stopped"]));
    for secret in [&WEBHOOK_SECRET[6..], SESSION_SECRET, ADMIN_TOKEN, &token(7)] {
        assert!(!log.contains(secret), "{secret}");
    }
}

async fn a_deposit_is_followed_from_the_webhook_to_the_push(database: Database) {
    for format in ["json", "text"] {
        let app = TestApp::on(database)
            .set("log.format", format)
            .start()
            .await;
        let (mut ws, _) = app.session(7).await;
        app.send(deposit("without", 7)).await.ok();
        ws.next_frame("balance_update").await;
        send(&app, deposit("d", 7), 1).await.ok();
        ws.next_frame("balance_update").await;
        send(&app, deposit("d", 7), 2).await.ok();
        let parts = [
            (
                1,
                "DIRECT_BALANCE_UPDATE balance_update user_id=7 version=2 entries=1",
            ),
            (
                1,
                "entry committed event_id=\"d\" user_id=7 version=2 kind=deposit",
            ),
            (
                1,
                "answered POST /internal/v1/deposits on the internal listener: 200 after",
            ),
            (2, "entry is a duplicate event_id=\"d\" user_id=7 version=2"),
            (
                2,
                "answered POST /internal/v1/deposits on the internal listener: 200 after",
            ),
        ];
        for (number, part) in parts {
            if format == "json" {
                until_line(&app, number, part).await;
                continue;
            }
            let named = format!(" request_id={}] {part}", id(number));
            eventually(&named, async || app.log().contains(&named).then_some(())).await;
        }
        let log = app.log();
        let strange = log
            .lines()
            .filter(|line| line.contains("\"without\"") && line.contains("request_id"));
        assert_eq!(strange.count(), 0, "{log}");
        let of_first = log.lines().filter(|line| line.contains(&id(1))).count();
        assert_eq!(of_first, 3, "{log}");
    }
}

async fn a_push_of_several_requests_names_all_of_them(database: Database) {
    let app = TestApp::on(database)
        .set("log.format", "json")
        .set("pacing.debounce_ms", 1000)
        .start()
        .await;
    let (mut ws, _) = app.session(7).await;
    for number in 1..=3 {
        let body = entry(&format!("r{number}"), 7, "TON", "1");
        send(&app, Signed::post("/internal/v1/rewards", &body), number)
            .await
            .ok();
    }
    let push = ws.next_frame("balance_update").await;
    assert_eq!(push["entries"], 3, "{push}");
    let line = until_line(&app, 3, "BalanceCoordinator balance_update").await;
    assert_eq!(line["request_id"], json!(id(1)));
    assert_eq!(line["request_ids"], json!([id(1), id(2), id(3)]));
    // What was told is not told again.
    send(&app, deposit("d", 7), 4).await.ok();
    let line = until_line(&app, 4, "DIRECT_BALANCE_UPDATE").await;
    assert_eq!(
        (&line["request_id"], line.get("request_ids")),
        (&json!(id(4)), None)
    );
}

async fn an_entry_of_a_batch_is_followed_too(database: Database) {
    let app = TestApp::on(database)
        .set("log.format", "json")
        .start()
        .await;
    let (mut ws, _) = app.session(7).await;
    // The second one is long enough to be read on another thread.
    for (number, path, items) in [
        (1, "/internal/v1/batch", 1),
        (2, "/internal/v1/batch", 600),
        (3, "/internal/v1/batch?atomic=true", 2),
    ] {
        let item = |index: u64| {
            let mut item = entry(&format!("{number}:{index}"), 7 + index, "TON", "1");
            item["kind"] = json!("deposit");
            item
        };
        let entries: Vec<Value> = (0..items).map(item).collect();
        let batch = Signed::post(path, &json!({ "entries": entries }));
        let answer = send(&app, batch, number).await.ok();
        assert_eq!(answer["accepted"], items, "{answer}");
        ws.next_frame("balance_update").await;
        until_line(
            &app,
            number,
            "DIRECT_BALANCE_UPDATE balance_update user_id=7",
        )
        .await;
        let committed = format!("entry committed event_id=\"{number}:{}\"", items - 1);
        until_line(&app, number, &committed).await;
    }
}

async fn a_read_is_followed_to_the_actor(database: Database) {
    let app = TestApp::on(database)
        .set("log.format", "json")
        .start()
        .await;
    for (number, part) in [
        (1, "[BalanceCache] Cache miss"),
        (2, "[BalanceCache] Cache hit"),
    ] {
        let traceparent = traceparent(number);
        let headers = [("traceparent", traceparent.as_str())];
        app.browser("/api/v1/balance", &token(7), &headers)
            .await
            .ok();
        until_line(&app, number, part).await;
        until_line(
            &app,
            number,
            "answered GET /api/v1/balance on the public listener",
        )
        .await;
    }
}

async fn a_problem_has_the_id_of_its_request(database: Database) {
    let app = TestApp::on(database).start().await;
    let problems = async |header: &str| {
        let signed = |request: Signed| request.header("traceparent", header);
        let bad = entry("d", 7, "NONE", "1");
        let mut found = vec![
            app.send(signed(Signed::post("/internal/v1/deposits", &bad)))
                .await,
            app.send(signed(deposit("d", 7).signature("v1,x"))).await,
            app.send(signed(deposit("d", 7).without("webhook-id")))
                .await,
            app.send(signed(Signed::get("/internal/v1/nothing"))).await,
            app.send(signed(Signed::get("/internal/v1/deposits"))).await,
        ];
        let headers = [("traceparent", header), ("origin", "https://evil.example")];
        found.push(app.browser("/api/v1/balance", "wrong", &headers[..1]).await);
        found.push(app.browser("/api/v1/balance", &token(7), &headers).await);
        found.push(app.browser("/nothing", &token(7), &headers[..1]).await);
        found.push(app.browser("/ws", &token(7), &headers[..1]).await);
        found
    };
    let codes = [
        "unknown_currency",
        "invalid_signature",
        "missing_signature",
        "not_found",
        "method_not_allowed",
        "unauthorized",
        "origin_not_allowed",
        "not_found",
        "upgrade_required",
    ];
    for (header, expected) in [
        (traceparent(1), Some(id(1))),
        (traceparent(2), Some(id(2))),
        ("garbage".to_owned(), None),
        (traceparent(3).to_uppercase(), None),
        (format!("{}, {}", traceparent(3), traceparent(4)), None),
        (traceparent(3).replace(&id(3), &"0".repeat(32)), None),
    ] {
        let answers = problems(&header).await;
        assert_eq!(answers.len(), codes.len());
        for (answer, code) in answers.iter().zip(codes) {
            let body = answer.json();
            assert_eq!(body["code"], code, "{body}");
            let id = body
                .get("request_id")
                .map(|id| id.as_str().expect("a text").to_owned());
            assert_eq!(id, expected, "{header} {body}");
        }
    }
    let answer = app.plain_get(app.internal, "/nothing").await;
    assert_eq!(answer.json().get("request_id"), None);
}

async fn a_start_that_fails_says_so_in_the_format_of_the_log(_: Database) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |text: &str| std::fs::write(dir.path().join("config.toml"), text).expect("written");
    let as_json = [("BALANCE_LOG__FORMAT".to_owned(), "json".to_owned())];
    let as_text = [("BALANCE_LOG__FORMAT".to_owned(), "text".to_owned())];
    for (text, variables, is_json) in [
        ("", &[][..], false),
        ("", &as_json, true),
        ("[log]\nformat = \"json\"", &[], true),
        ("[log]\nformat = \"json\"\n[server]\nnope = 1", &[], true),
        ("[log]\nformat = \"json\"", &as_text, false),
        ("[log]\nformat = \"xml\"", &[], false),
        ("[log", &as_json, true),
    ] {
        file(text);
        let output = run_program(
            dir.path(),
            &["serve", "--config", "config.toml"],
            variables,
            b"",
        );
        assert_eq!(output.status.code(), Some(2));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(log.lines().count(), 1, "{log}");
        let message = if is_json {
            let line = lines(&log).remove(0);
            assert_eq!(line["level"], "ERROR");
            line["message"].as_str().expect("a text").to_owned()
        } else {
            log
        };
        assert!(message.starts_with("balance-coordinator: "), "{message}");
    }
}
