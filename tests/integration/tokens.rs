//! Session tokens: what makes one valid, and how they are issued.

use serde_json::{Value, json};

use crate::support::{
    Database, SESSION_SECRET, Signed, TestApp, claims, mint, now_s, on_sqlite, token,
};
use crate::{assert_keys, with};

on_sqlite![
    only_a_whole_token_of_a_known_secret_opens_a_balance,
    every_configured_secret_verifies_and_the_first_signs,
    a_token_made_by_the_service_works_until_it_expires,
    a_token_from_the_command_line_works,
    another_claim_may_name_the_user,
    a_malformed_token_request_is_refused,
];

const OLD_SECRET: &str = "an-older-session-secret-of-at-least-32-bytes";

fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

async fn only_a_whole_token_of_a_known_secret_opens_a_balance(database: Database) {
    let app = TestApp::start(database).await;
    let good = claims(1, 3600);
    let spoiled = |more: Value| mint(&header(), &with(&good, more), SESSION_SECRET);
    let whole = token(1);
    let unsigned = whole.rsplit_once('.').expect("three parts").0;
    for (what, bad) in [
        ("empty", String::new()),
        ("no token", "nonsense".to_owned()),
        ("another secret", mint(&header(), &good, OLD_SECRET)),
        (
            "no algorithm",
            mint(&json!({"alg": "none"}), &good, SESSION_SECRET),
        ),
        ("no algorithm and no signature", {
            let unsigned = mint(&json!({"alg": "none"}), &good, SESSION_SECRET);
            format!("{}.", unsigned.rsplit_once('.').expect("three parts").0)
        }),
        (
            "another algorithm",
            mint(&json!({"alg": "HS512"}), &good, SESSION_SECRET),
        ),
        ("no signature", format!("{unsigned}.")),
        ("expired", spoiled(json!({"exp": now_s() - 1}))),
        ("no expiry", spoiled(json!({"exp": null}))),
        (
            "an expiry that is no number",
            spoiled(json!({"exp": "tomorrow"})),
        ),
        ("no subject", spoiled(json!({"sub": null}))),
        (
            "a subject that is no id",
            spoiled(json!({"sub": "somebody"})),
        ),
        ("user 0", spoiled(json!({"sub": "0"}))),
        (
            "a user out of range",
            spoiled(json!({"sub": "9007199254740992"})),
        ),
        ("a signed id", spoiled(json!({"sub": "+1"}))),
    ] {
        let answer = app.browser("/api/v1/balance", &bad, &[]).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        answer.problem(401, "unauthorized");
    }
    let none = app.plain_get(app.public, "/api/v1/balance").await;
    none.problem(401, "unauthorized");
    // Nothing but the subject is trusted.
    let boastful = mint(
        &header(),
        &with(&good, json!({"user_id": 2, "admin": true, "aud": "x"})),
        SESSION_SECRET,
    );
    assert_eq!(
        app.browser("/api/v1/balance", &boastful, &[]).await.ok()["user_id"],
        1
    );
    let in_the_url = app
        .plain_get(app.public, &format!("/api/v1/balance?token={whole}"))
        .await;
    in_the_url.problem(401, "unauthorized");
}

async fn every_configured_secret_verifies_and_the_first_signs(database: Database) {
    let app = TestApp::on(database)
        .set("auth.session_secrets", vec![SESSION_SECRET, OLD_SECRET])
        .start()
        .await;
    for secret in [SESSION_SECRET, OLD_SECRET] {
        app.browser(
            "/api/v1/balance",
            &mint(&header(), &claims(1, 60), secret),
            &[],
        )
        .await
        .ok();
    }
    let made = app
        .post("tokens", json!({"user_id": 1, "ttl_s": 60}))
        .await
        .ok();
    let mut app = app;
    app.stop().await;
    app.reconfigure("auth.session_secrets", vec![SESSION_SECRET]);
    app.start_again().await;
    app.browser(
        "/api/v1/balance",
        made["token"].as_str().expect("a token"),
        &[],
    )
    .await
    .ok();
}

async fn a_token_made_by_the_service_works_until_it_expires(database: Database) {
    let app = TestApp::start(database).await;
    let made = app
        .post("tokens", json!({"user_id": 184, "ttl_s": 600}))
        .await
        .ok();
    assert_keys(&made, &["token", "expires_at"]);
    let expires = chrono::DateTime::parse_from_rfc3339(made["expires_at"].as_str().expect("text"))
        .expect("RFC 3339");
    let ttl_s = expires.timestamp() - now_s();
    assert!((500..=601).contains(&ttl_s), "{ttl_s} s");
    let token = made["token"].as_str().expect("a token");
    assert_eq!(
        app.browser("/api/v1/balance", token, &[]).await.ok()["user_id"],
        184
    );
    // Without a lifetime, the configured one applies.
    app.post("tokens", json!({"user_id": 184})).await.ok();

    let short = app
        .post("tokens", json!({"user_id": 184, "ttl_s": 1}))
        .await
        .ok();
    let short = short["token"].as_str().expect("a token").to_owned();
    crate::support::eventually("the token expires", async || {
        (app.browser("/api/v1/balance", &short, &[]).await.status == 401).then_some(())
    })
    .await;
}

async fn a_token_from_the_command_line_works(database: Database) {
    let app = TestApp::start(database).await;
    let arguments = [
        "token",
        "--user",
        "184",
        "--ttl-s",
        "60",
        "--config",
        "config.toml",
    ];
    let output = crate::support::run_program(app.dir.path(), &arguments, &[], b"");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let token = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        app.browser("/api/v1/balance", token.trim(), &[]).await.ok()["user_id"],
        184
    );
}

async fn another_claim_may_name_the_user(database: Database) {
    let app = TestApp::on(database)
        .set("auth.session_user_claim", "uid")
        .start()
        .await;
    let at = now_s() + 60;
    let mut tokens: Vec<String> = [
        json!({"uid": 184, "exp": at}),
        json!({"uid": "184", "exp": at}),
        json!({"uid": 184, "sub": "7", "exp": at}),
    ]
    .iter()
    .map(|claims| mint(&header(), claims, SESSION_SECRET))
    .collect();
    let made = app.post("tokens", json!({"user_id": 184})).await.ok();
    tokens.push(made["token"].as_str().expect("a token").to_owned());
    for token in tokens {
        let read = app.browser("/api/v1/balance", &token, &[]).await.ok();
        assert_eq!(read["user_id"], 184, "{token}");
        let mut ws = app.ws(&[]).await;
        ws.send_json(json!({"type": "auth", "token": token})).await;
        assert_eq!(ws.next_frame("hello").await["user_id"], 184);
    }
    for claims in [
        json!({"sub": "184", "exp": at}),
        json!({"uid": "0184", "exp": at}),
        json!({"uid": 184.5, "exp": at}),
        json!({"uid": [184], "exp": at}),
        json!({"uid": 0, "exp": at}),
    ] {
        let bad = mint(&header(), &claims, SESSION_SECRET);
        app.browser("/api/v1/balance", &bad, &[])
            .await
            .problem(401, "unauthorized");
    }
}

async fn a_malformed_token_request_is_refused(database: Database) {
    let app = TestApp::start(database).await;
    for (body, field) in [
        (json!({}), "user_id"),
        (json!({"user_id": 0}), "user_id"),
        (json!({"user_id": "1"}), "user_id"),
        (json!({"user_id": 1, "ttl_s": 0}), "ttl_s"),
        (json!({"user_id": 1, "ttl_s": -5}), "ttl_s"),
        (json!({"user_id": 1, "ttl_s": "1"}), "ttl_s"),
    ] {
        assert_eq!(
            app.post("tokens", body.clone())
                .await
                .problem(422, "invalid_field")["field"],
            field,
            "{body}"
        );
    }
    app.post("tokens", json!({"user_id": 1, "scope": "all"}))
        .await
        .problem(422, "unknown_field");
    app.send(Signed::post("/internal/v1/tokens", &json!([])))
        .await
        .problem(400, "invalid_json");
}
