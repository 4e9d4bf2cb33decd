//! Ten thousand forged session tokens over HTTP, and a sample over WebSocket: none is accepted, and
//! the valid one still is.

use rand::Rng as _;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;

use super::forge::{Forged, Wire, dice, forgeries, send, storm};
use super::token_forgeries::{KINDS, assert_forged, forge};
use crate::support::{
    ADMIN_TOKEN, Answer, Database, SESSION_SECRET, TestApp, WEBHOOK_SECRET, Ws, claims, mint,
    now_s, on_sqlite, token,
};
use crate::with;

on_sqlite![
    ten_thousand_forged_tokens_open_nothing,
    a_sample_of_forged_tokens_opens_no_session_either,
    nothing_but_subject_and_expiry_is_trusted_or_asked_for,
    a_token_has_one_way_to_be_sent,
    no_other_credential_is_an_administrators,
    headers_and_parameters_that_sound_like_a_back_door_change_nothing,
];

/// The users whose tokens are forged.
const USERS: u64 = 9;

/// Rounds through all forgeries, for the WebSocket sample.
const SESSION_ROUNDS: usize = 15;

/// The longest token that fits a message of a session.
const MESSAGE_TOKEN_MAX: usize = 3_000;

fn get(path: &str, headers: &[(&'static str, &str)]) -> Wire {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes().to_vec()))
        .collect();
    Wire {
        method: Method::GET,
        path: path.to_owned(),
        headers,
        body: Vec::new(),
    }
}

async fn ten_thousand_forged_tokens_open_nothing(database: Database) {
    let app = TestApp::start(database).await;
    let mut dice = dice();
    let mut forged: Vec<Forged> = Vec::new();
    for n in 0..forgeries() {
        let rng = dice.of(n / KINDS);
        let user = rng.random_range(1..=USERS);
        let (what, token) = forge(rng, n % KINDS, user);
        assert_forged(what, &token);
        let path = if rng.random_bool(0.5) {
            "/api/v1/balance"
        } else {
            "/api/v1/entries"
        };
        forged.push(Forged {
            what,
            wire: get(path, &[("authorization", &format!("Bearer {token}"))]),
            code: "unauthorized",
        });
    }
    storm(&app, app.public, forged).await;
    // No actor was created, and valid tokens are still accepted.
    assert_eq!(app.admin("/admin/v1/registry").await.ok()["actors"], 0);
    for user in 1..=USERS {
        assert_eq!(
            app.browser("/api/v1/balance", &token(user), &[]).await.ok()["user_id"],
            user
        );
    }
}

/// Opens a session with a token that must be refused, in one of the three ways.
async fn refused_session(app: &TestApp, way: usize, token: &str) -> Ws {
    let fits_a_list = token
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match way {
        0 if HeaderValue::from_str(token).is_ok() => {
            app.ws(&[("authorization", &format!("Bearer {token}"))])
                .await
        }
        1 if fits_a_list => {
            app.ws(&[(
                "sec-websocket-protocol",
                &format!("balance.v1, bearer.{token}"),
            )])
            .await
        }
        _ => {
            let mut ws = app.ws(&[]).await;
            ws.send_json(json!({"type": "auth", "token": token})).await;
            ws
        }
    }
}

async fn a_sample_of_forged_tokens_opens_no_session_either(database: Database) {
    let app = TestApp::start(database).await;
    let mut dice = dice();
    for n in 0..SESSION_ROUNDS * KINDS {
        let (what, token) = forge(dice.of(n / KINDS), n % KINDS, 1);
        if token.len() > MESSAGE_TOKEN_MAX {
            continue;
        }
        // Each forgery is tried in each of the three ways to sign in.
        let mut ws = refused_session(&app, n / KINDS % 3, &token).await;
        let (code, reason) = ws.closed().await;
        assert_eq!(code, 4501, "{what}: {token}");
        assert!(
            reason == "unauthenticated" || what == "expired" || what == "an expiry that is none",
            "{what}: {reason}"
        );
    }
    assert_eq!(app.admin("/admin/v1/registry").await.ok()["actors"], 0);
    app.session(1).await;
}

async fn nothing_but_subject_and_expiry_is_trusted_or_asked_for(database: Database) {
    let app = TestApp::start(database).await;
    let far = now_s() + 1_000_000;
    for more in [
        json!({"iat": null}),
        json!({"iat": far}),
        json!({"nbf": far}),
        json!({"aud": "somebody else", "iss": "https://evil.example", "jti": 7}),
        json!({"user_id": 2, "admin": true, "scope": ["*"]}),
    ] {
        let good = mint(
            &json!({"alg": "HS256"}),
            &with(&claims(1, 60), more.clone()),
            SESSION_SECRET,
        );
        assert_eq!(
            app.browser("/api/v1/balance", &good, &[]).await.ok()["user_id"],
            1,
            "{more}"
        );
    }
    for header in [
        json!({"alg": "HS256", "typ": "at+jwt"}),
        json!({"alg": "HS256", "kid": "../../../dev/null"}),
        json!({"alg": "HS256", "jku": "http://127.0.0.1:9/", "sub": "2"}),
    ] {
        let good = mint(&header, &claims(1, 60), SESSION_SECRET);
        assert_eq!(
            app.browser("/api/v1/balance", &good, &[]).await.ok()["user_id"],
            1,
            "{header}"
        );
    }
}

async fn a_token_has_one_way_to_be_sent(database: Database) {
    let app = TestApp::start(database).await;
    let token = token(1);
    // The scheme has any case, and several spaces are allowed (RFC 9110, 11.4).
    for good in ["Bearer ", "bearer ", "BEARER ", "Bearer  "] {
        let wire = get(
            "/api/v1/balance",
            &[("authorization", &format!("{good}{token}"))],
        );
        assert_eq!(
            send(&app, app.public, &wire).await.ok()["user_id"],
            1,
            "{good:?}"
        );
    }
    for bad in [
        "",
        "Bearer",
        "Bearer\t",
        "Bearer \t",
        "Bearer:",
        "Bearer: ",
        "Bearer,",
        "Basic ",
        "Token ",
        "JWT ",
        "Bearer Bearer ",
        "Bearer token=",
        "Bearer \"",
        "X Bearer ",
    ] {
        let wire = get(
            "/api/v1/balance",
            &[("authorization", &format!("{bad}{token}"))],
        );
        send(&app, app.public, &wire)
            .await
            .problem(401, "unauthorized");
    }
    let bearer = format!("Bearer {token}");
    for headers in [
        &[
            ("authorization", bearer.as_str()),
            ("authorization", "Bearer x"),
        ][..],
        &[("authorization", "Bearer x"), ("authorization", &bearer)],
        &[("authorization", &bearer), ("authorization", &bearer)],
        &[("authorization", &format!("{bearer}, Basic eDp5"))],
        &[("x-authorization", &bearer)],
        &[("proxy-authorization", &bearer)],
        &[("cookie", &format!("token={token}; authorization={bearer}"))],
        &[(
            "sec-websocket-protocol",
            &format!("balance.v1, bearer.{token}"),
        )],
    ] {
        send(&app, app.public, &get("/api/v1/balance", headers))
            .await
            .problem(401, "unauthorized");
    }
    for query in ["token", "access_token", "authorization", "jwt"] {
        send(
            &app,
            app.public,
            &get(&format!("/api/v1/balance?{query}={token}"), &[]),
        )
        .await
        .problem(401, "unauthorized");
    }
}

async fn no_other_credential_is_an_administrators(database: Database) {
    let app = TestApp::start(database).await;
    let admin = mint(
        &json!({"alg": "HS256"}),
        &with(&claims(1, 60), json!({"admin": true, "sub": "admin-1"})),
        SESSION_SECRET,
    );
    let shorter = &ADMIN_TOKEN[..ADMIN_TOKEN.len() - 1];
    let longer = format!("{ADMIN_TOKEN}x");
    let upper = ADMIN_TOKEN.to_uppercase();
    // Fewer failures than the limit per address.
    for bad in [
        &token(1),
        &admin,
        SESSION_SECRET,
        WEBHOOK_SECRET,
        shorter,
        &longer,
        &upper,
        "admin-1",
        "",
        "*",
    ] {
        let wire = get(
            "/admin/v1/registry",
            &[("authorization", &format!("Bearer {bad}"))],
        );
        send(&app, app.internal, &wire)
            .await
            .problem(401, "unauthorized");
    }
    app.admin("/admin/v1/registry").await.ok();
    app.browser("/api/v1/balance", ADMIN_TOKEN, &[])
        .await
        .problem(401, "unauthorized");
}

async fn headers_and_parameters_that_sound_like_a_back_door_change_nothing(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 2, "of user 2", "7").await;
    let bearer = format!("Bearer {}", token(1));
    for (name, value) in [
        ("x-debug", "1"),
        ("x-user-id", "2"),
        ("x-telegram-id", "2"),
        ("x-forwarded-user", "2"),
        ("x-admin", "true"),
        ("x-internal", "1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;host=internal"),
        ("x-http-method-override", "PUT"),
        ("x-original-url", "/admin/v1/registry"),
        ("cookie", "user_id=2; debug=1"),
    ] {
        let without = send(&app, app.public, &get("/api/v1/balance", &[(name, value)])).await;
        without.problem(401, "unauthorized");
        let with = send(
            &app,
            app.public,
            &get(
                "/api/v1/balance",
                &[("authorization", &bearer), (name, value)],
            ),
        )
        .await
        .ok();
        assert_eq!(
            (&with["user_id"], &with["version"]),
            (&json!(1), &json!(0)),
            "{name}"
        );
        let unsigned = app
            .http
            .post(format!("http://{}/internal/v1/deposits", app.internal))
            .header(name, value);
        let answer = unsigned
            .json(&crate::entry("forged", 2, "TON", "1"))
            .send()
            .await
            .expect("an answer");
        Answer::read(answer)
            .await
            .expect("whole")
            .problem(401, "missing_signature");
        send(
            &app,
            app.internal,
            &get("/admin/v1/registry", &[(name, value)]),
        )
        .await
        .problem(401, "unauthorized");
    }
    for query in ["user_id=2", "debug=1", "admin=true", "sub=2", "id=2"] {
        send(
            &app,
            app.public,
            &get(&format!("/api/v1/balance?{query}"), &[]),
        )
        .await
        .problem(401, "unauthorized");
        let asked = send(
            &app,
            app.public,
            &get(
                &format!("/api/v1/balance?{query}"),
                &[("authorization", &bearer)],
            ),
        )
        .await;
        asked.problem(422, "invalid_field");
    }
    assert_eq!(app.entries(2).await.len(), 1);
}
