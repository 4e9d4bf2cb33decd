//! The Standard Webhooks signature of every internal request.

use serde_json::{Value, json};

use crate::entry;
use crate::support::{Answer, Database, Signed, TestApp, WEBHOOK_SECRET, now_s, on_sqlite};

on_sqlite![
    nothing_is_accepted_without_all_three_headers,
    a_header_that_is_there_is_not_called_missing,
    a_signature_of_anything_else_is_refused,
    any_configured_secret_verifies,
    one_right_signature_among_several_is_enough,
    the_signature_comes_first_then_the_timestamp_then_the_body,
    exactly_the_tolerance_is_inside,
    a_webhook_id_is_no_idempotency_key,
    reads_are_signed_over_the_empty_body,
];

const OTHER_SECRET: &str = "whsec_YW5vdGhlci13ZWJob29rLXNlY3JldC1mb3Itcm90YXRpb24=";

fn deposit(event_id: &str) -> Signed {
    Signed::post("/internal/v1/deposits", &entry(event_id, 1, "TON", "1"))
}

async fn nothing_is_accepted_without_all_three_headers(database: Database) {
    let app = TestApp::start(database).await;
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        app.send(deposit("e").without(header))
            .await
            .problem(401, "missing_signature");
    }
    for path in ["rewards", "withdrawals", "adjustments", "batch", "tokens"] {
        let request =
            Signed::post(&format!("/internal/v1/{path}"), &json!({})).without("webhook-signature");
        app.send(request).await.problem(401, "missing_signature");
    }
    let link = Signed::new(reqwest::Method::PUT, "/internal/v1/users/1")
        .body("{}")
        .signature("v1,AAAA");
    app.send(link).await.problem(401, "invalid_signature");
    assert!(app.entries(1).await.is_empty());
}

async fn a_header_that_is_there_is_not_called_missing(database: Database) {
    let app = TestApp::start(database).await;
    let path = "/internal/v1/deposits";
    for (index, name) in ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .into_iter()
        .enumerate()
    {
        for (value, what) in [
            (&b"\xc3\xa9"[..], "printable ASCII"),
            (b"msg_\xff", "printable ASCII"),
            (b"", "is empty"),
            (b"   ", "is empty"),
        ] {
            let now = now_s().to_string();
            let body = entry("e", 1, "TON", "1").to_string();
            let signature = crate::support::sign(WEBHOOK_SECRET, "msg_1", &now, body.as_bytes());
            let mut values = [b"msg_1".to_vec(), now.into_bytes(), signature.into_bytes()];
            values[index] = value.to_vec();
            let mut request = app.http.post(format!("http://{}{path}", app.internal));
            for (name, value) in ["webhook-id", "webhook-timestamp", "webhook-signature"]
                .into_iter()
                .zip(values)
            {
                request = request.header(name, value);
            }
            let answer = request.body(body).send().await.expect("an answer");
            let problem = Answer::read(answer)
                .await
                .expect("whole")
                .problem(401, "invalid_signature");
            assert_eq!(problem["field"], name, "{problem}");
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(what), "{value:?}: {problem}");
        }
    }
    assert!(app.entries(1).await.is_empty());
}

async fn a_signature_of_anything_else_is_refused(database: Database) {
    let app = TestApp::start(database).await;
    let right = deposit("e").id("msg_1");
    let signature = right.right_signature();
    let bare = signature.trim_start_matches("v1,").to_owned();
    for (what, spoiled) in [
        ("another secret", right.clone().secret(OTHER_SECRET)),
        (
            "another body",
            right.clone().body("{}").signature(&signature),
        ),
        (
            "another id",
            right.clone().id("msg_2").signature(&signature),
        ),
        (
            "another timestamp",
            right.clone().timestamp(now_s() + 1).signature(&signature),
        ),
        ("no version", right.clone().signature(&bare)),
        (
            "another version",
            right.clone().signature(format!("v2,{bare}")),
        ),
        (
            "a part of it",
            right.clone().signature(&signature[..signature.len() - 4]),
        ),
        ("not base64", right.clone().signature("v1,???")),
        ("empty base64", right.clone().signature("v1,")),
        ("only spaces", right.clone().signature("v1 , ")),
    ] {
        let answer = app.send(spoiled).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (401, Some("invalid_signature")),
            "{what}"
        );
    }
    app.send(right).await.ok();
}

async fn any_configured_secret_verifies(database: Database) {
    let app = TestApp::on(database)
        .set("auth.webhook_secrets", vec![OTHER_SECRET, WEBHOOK_SECRET])
        .start()
        .await;
    app.send(deposit("e1").secret(WEBHOOK_SECRET)).await.ok();
    app.send(deposit("e2").secret(OTHER_SECRET)).await.ok();
    let third = deposit("e3").secret("whsec_c29tZS1vdGhlci1zZWNyZXQtb2Ytbm9ib2R5");
    app.send(third).await.problem(401, "invalid_signature");
}

async fn one_right_signature_among_several_is_enough(database: Database) {
    let app = TestApp::start(database).await;
    let request = deposit("e").id("msg_1");
    let right = request.right_signature();
    let wrong = request.clone().secret(OTHER_SECRET).right_signature();
    for list in [
        format!("{wrong} {right}"),
        format!("{right} {wrong}"),
        format!("v1a,xyz v2,abc nonsense {right}"),
    ] {
        app.send(request.clone().signature(list)).await.ok();
    }
    let none = request.signature(format!("{wrong} v2,abc {wrong}"));
    app.send(none).await.problem(401, "invalid_signature");
}

async fn the_signature_comes_first_then_the_timestamp_then_the_body(database: Database) {
    let app = TestApp::start(database).await;
    let old = deposit("e")
        .body("no json at all")
        .timestamp(now_s() - 3600);
    app.send(old.clone().signature("v1,AAAA"))
        .await
        .problem(401, "invalid_signature");
    app.send(old.clone())
        .await
        .problem(401, "timestamp_out_of_range");
    app.send(old.timestamp(now_s()))
        .await
        .problem(400, "invalid_json");
    for timestamp in ["", "soon", "1e9", "-1", "99999999999999999999"] {
        let answer = app.send(deposit("e").timestamp(timestamp)).await;
        assert_eq!(answer.status, 401, "{timestamp:?}: {answer:?}");
    }
    assert!(app.entries(1).await.is_empty());
}

/// Sends with a timestamp `offset_s` away from now, again if the second changed meanwhile.
async fn at_offset(app: &TestApp, offset_s: i64) -> Answer {
    for _ in 0..100 {
        let before = now_s();
        let answer = app.send(deposit("e").timestamp(before + offset_s)).await;
        if now_s() == before {
            return answer;
        }
    }
    panic!("no answer ever came within one second");
}

async fn exactly_the_tolerance_is_inside(database: Database) {
    let app = TestApp::on(database)
        .set("auth.webhook_tolerance_s", 10)
        .start()
        .await;
    for offset_s in [-10, 10, 0] {
        at_offset(&app, offset_s).await.ok();
    }
    for offset_s in [-11, 11] {
        at_offset(&app, offset_s)
            .await
            .problem(401, "timestamp_out_of_range");
    }
}

async fn a_webhook_id_is_no_idempotency_key(database: Database) {
    let app = TestApp::start(database).await;
    for event_id in ["e1", "e2"] {
        assert_eq!(
            app.send(deposit(event_id).id("msg_same")).await.ok()["duplicate"],
            false
        );
    }
    assert_eq!(
        app.send(deposit("e2").id("msg_new")).await.ok()["duplicate"],
        true
    );
}

async fn reads_are_signed_over_the_empty_body(database: Database) {
    let app = TestApp::start(database).await;
    for path in [
        "/internal/v1/users/1/balance",
        "/internal/v1/users/1/entries",
    ] {
        app.send(Signed::get(path)).await.ok();
        app.send(Signed::get(path).without("webhook-signature"))
            .await
            .problem(401, "missing_signature");
        app.send(Signed::get(path).secret(OTHER_SECRET))
            .await
            .problem(401, "invalid_signature");
        app.send(Signed::get(path).timestamp(now_s() - 3600))
            .await
            .problem(401, "timestamp_out_of_range");
    }
    let token = app
        .send(Signed::post(
            "/internal/v1/tokens",
            &json!({"user_id": 1, "ttl_s": 60}),
        ))
        .await
        .ok();
    assert_ne!(token["token"], Value::Null);
}
