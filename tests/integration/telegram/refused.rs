//! Refused sign-ins: damaged, old and foreign init data, too many attempts, and a service without a
//! bot.

use futures_util::future::join_all;
use serde_json::json;

use super::{assert_refused, auth, post, read, sign_in, telegram, upgrade};
use crate::support::{BOT_TOKEN, Database, InitData, TestApp, on_sqlite, run_program};

on_sqlite![
    bad_init_data_is_refused_at_every_endpoint,
    a_request_for_a_session_is_an_object_with_init_data,
    failures_turn_to_429_and_hold_no_right_sign_in_up,
    sign_ins_of_one_address_are_bounded,
    without_the_bots_token_telegrams_own_signature_counts,
    without_a_bot_there_is_no_such_endpoint,
    a_start_without_an_identity_is_refused_by_its_key,
];

/// An example of Telegram's own signature, from the documentation of Telegram Mini Apps, made in 2024 for this bot.
const SIGNED: (i64, &str) = (
    7_342_037_359,
    "user=%7B%22id%22%3A279058397%2C%22first_name%22%3A%22Vladislav%20%2B%20-%20%3F%20%5C%2F%22%2C%22last_name%22%3A%22\
     Kibenko%22%2C%22username%22%3A%22vdkfrost%22%2C%22language_code%22%3A%22ru%22%2C%22is_premium%22%3Atrue%2C%22\
     allows_write_to_pm%22%3Atrue%2C%22photo_url%22%3A%22https%3A%5C%2F%5C%2Ft.me%5C%2Fi%5C%2Fuserpic%5C%2F320%5C%2F\
     4FPEE4tmP3ATHa57u6MqTDih13LTOiMoKoLDRG4PnSA.svg%22%7D&chat_instance=8134722200314281151&chat_type=private\
     &auth_date=1733584787&hash=2174df5b000556d044f3f020384e879c8efcab55ddea2ced4eb752e93e7080d6\
     &signature=zL-ucjNyREiHDE8aihFwpfR9aggP2xiAo3NSpfe-p7IbCisNlDKlo7Kb6G4D0Ao2mBrSgEk4maLSdv6MLIlADQ",
);

async fn bad_init_data_is_refused_at_every_endpoint(database: Database) {
    let app = telegram(database, "user_id").start().await;
    let good = InitData::of(184).text();
    for bad in [
        InitData::of(184).by("7000000001:another-token").text(),
        InitData::of(184).aged(-120).text(),
        good.replace("184", "185"),
        good.replace("&hash=", "&hash=0"),
        format!("{good}&user=%7B%22id%22%3A185%7D"),
        "x".to_owned(),
    ] {
        assert_refused(&app, &bad, "unauthenticated").await;
    }
    // Expired init data has its own reason: the app has to be opened again.
    let old = InitData::of(184).aged(3602).text();
    auth(&app, &old)
        .await
        .assert_closed(4501, "token_expired")
        .await;
    upgrade(&app, &old)
        .await
        .assert_closed(4501, "token_expired")
        .await;
    auth(&app, "")
        .await
        .assert_closed(4501, "unauthenticated")
        .await;
    // No user was created, and valid init data is still accepted.
    assert_eq!(sign_in(&app, &good).await.ok()["user_id"], 184);
}

async fn a_request_for_a_session_is_an_object_with_init_data(database: Database) {
    let app = telegram(database, "user_id").start().await;
    post(&app, json!({"init_data": ""}))
        .await
        .problem(401, "unauthorized");
    assert_eq!(
        post(&app, json!({})).await.problem(422, "invalid_field")["field"],
        "init_data"
    );
    post(&app, json!({"init_data": null}))
        .await
        .problem(422, "invalid_field");
    post(&app, json!({"init_data": "x", "user_id": 1}))
        .await
        .problem(422, "unknown_field");
    post(&app, json!(["x"])).await.problem(400, "invalid_json");
    post(&app, json!({"init_data": "x".repeat(8193)}))
        .await
        .problem(401, "unauthorized");
    post(&app, json!({"init_data": "x".repeat(20_000)}))
        .await
        .problem(413, "body_too_large");
    let path = format!("http://{}/api/v1/sessions", app.public);
    let form = app
        .http
        .post(&path)
        .header("content-type", "text/plain")
        .body("{}");
    assert_eq!(form.send().await.expect("an answer").status(), 415);
    assert_eq!(
        app.http
            .get(&path)
            .send()
            .await
            .expect("an answer")
            .status(),
        405
    );
    let foreign = app
        .http
        .post(&path)
        .header("origin", "https://evil.example")
        .json(&json!({"init_data": "x"}));
    assert_eq!(foreign.send().await.expect("an answer").status(), 403);
}

async fn failures_turn_to_429_and_hold_no_right_sign_in_up(database: Database) {
    let app = telegram(database, "user_id").start().await;
    let (bad, good) = (InitData::of(1).by("1:other").text(), InitData::of(1).text());
    let mut failures = 0;
    let limited = loop {
        let answer = if failures % 2 == 0 {
            sign_in(&app, &bad).await
        } else {
            read(&app, &bad).await
        };
        if answer.status == 429 {
            break answer;
        }
        answer.problem(401, "unauthorized");
        failures += 1;
        assert!(failures < 1000, "never limited");
    };
    assert!(failures >= 20, "{failures} failures are free");
    limited.problem(429, "rate_limited");
    sign_in(&app, &good).await.ok();
    read(&app, &good).await.ok();
}

async fn sign_ins_of_one_address_are_bounded(database: Database) {
    let app = telegram(database, "user_id").start().await;
    let good = InitData::of(1).text();
    let mut answers = Vec::new();
    for _ in 0..100 {
        answers.extend(join_all((0..32).map(|_| sign_in(&app, &good))).await);
        if answers.iter().any(|answer| answer.status == 429) {
            break;
        }
    }
    let (let_in, limited): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert!(let_in.len() >= 500, "{} were let in", let_in.len());
    limited
        .first()
        .expect("some are limited")
        .problem(429, "rate_limited");
    assert!(limited.iter().all(|answer| answer.status == 429));
}

async fn without_the_bots_token_telegrams_own_signature_counts(database: Database) {
    let (bot_id, signed) = SIGNED;
    let app = TestApp::on(database)
        .set("auth.telegram_bot_id", bot_id)
        .set("auth.telegram_identity", "user_id")
        .start()
        .await;
    // Telegram's signature is valid but old; any changed copy is refused as invalid, not as old.
    assert_refused(&app, signed, "token_expired").await;
    for (from, to) in [
        ("279058397", "1"),
        ("signature=z", "signature=A"),
        ("chat_type=private", "chat_type=group"),
    ] {
        assert_refused(&app, &signed.replace(from, to), "unauthenticated").await;
    }
    // A hash is not a signature.
    assert_refused(&app, &InitData::of(1).text(), "unauthenticated").await;
}

async fn without_a_bot_there_is_no_such_endpoint(database: Database) {
    let app = TestApp::start(database).await;
    let good = InitData::of(1).text();
    sign_in(&app, &good).await.problem(404, "not_found");
    read(&app, &good).await.problem(401, "unauthorized");
    auth(&app, &good)
        .await
        .assert_closed(4501, "unauthenticated")
        .await;
    upgrade(&app, &good)
        .await
        .assert_closed(4501, "unauthenticated")
        .await;
}

async fn a_start_without_an_identity_is_refused_by_its_key(database: Database) {
    for (key, value) in [
        ("auth.telegram_bot_token", BOT_TOKEN.into()),
        ("auth.telegram_bot_id", toml::Value::from(7)),
    ] {
        let (dir, _database) = TestApp::on(database).set(key, value).prepare();
        let output = run_program(dir.path(), &["serve", "--config", "config.toml"], &[], b"");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("auth.telegram_identity: must be set") && !error.contains(BOT_TOKEN),
            "{error}"
        );
    }
}
