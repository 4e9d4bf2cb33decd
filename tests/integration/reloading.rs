//! SIGHUP: who may come in changes while the service runs; sessions stay open, and values are never logged.

use std::collections::BTreeSet;

use balance_coordinator::config::reloaded_keys;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::entry;
use crate::support::{
    ADMIN_TOKEN, Answer, BOT_TOKEN, Builder, Database, InitData, SESSION_SECRET, Signed, TestApp,
    WEBHOOK_SECRET, claims, eventually, mint, now_s, on_sqlite, token,
};

on_sqlite![
    each_key_that_is_reloaded_changes_what_the_service_does,
    sessions_outlast_the_secrets_that_opened_them,
    the_stream_of_an_administrator_ends_with_the_token,
    a_configuration_that_would_not_start_the_service_changes_nothing,
    what_needs_a_restart_is_named_and_stays,
    what_the_environment_sets_is_named,
    many_hangups_refuse_no_request,
    a_hangup_during_the_start_is_remembered,
    hangups_during_the_stop_change_nothing,
];

const NEW_WEBHOOK_SECRET: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMuLi4h";
const NEW_SESSION_SECRET: &str = "another-session-secret-of-at-least-32-bytes";
const NEW_ADMIN_TOKEN: &str = "another-admin-token";

/// A key that SIGHUP changes.
struct Row {
    key: &'static str,
    /// Other keys, set before the start.
    also: &'static [(&'static str, &'static str)],
    value: toml::Value,
    /// What a request shows before and after.
    shows: (&'static str, &'static str),
}

/// A row for each of them.
fn rows() -> Vec<Row> {
    const TELEGRAM: &[(&str, &str)] = &[
        ("auth.telegram_bot_token", BOT_TOKEN),
        ("auth.telegram_identity", "user_id"),
    ];
    let row = |key, also, value: toml::Value, shows| Row {
        key,
        also,
        value,
        shows,
    };
    let list = |item: &str| toml::Value::from(vec![item.to_owned()]);
    let identity = &TELEGRAM[1..];
    vec![
        row(
            "auth.webhook_secrets",
            &[],
            list(NEW_WEBHOOK_SECRET),
            ("200 401", "401 200"),
        ),
        row(
            "auth.session_secrets",
            &[],
            list(NEW_SESSION_SECRET),
            ("200 401", "401 200"),
        ),
        row(
            "auth.admin_tokens",
            &[],
            list(NEW_ADMIN_TOKEN),
            ("200 401", "401 200"),
        ),
        row("auth.metrics_token", &[], "secret".into(), ("200", "401")),
        row(
            "auth.telegram_bot_token",
            identity,
            BOT_TOKEN.into(),
            ("404", "200"),
        ),
        row(
            "auth.telegram_bot_id",
            identity,
            7_000_000_001_i64.into(),
            ("404", "401"),
        ),
        row(
            "auth.telegram_identity",
            TELEGRAM,
            "linked".into(),
            ("200", "401"),
        ),
        row(
            "auth.telegram_max_age_s",
            TELEGRAM,
            60.into(),
            ("200", "401"),
        ),
        row("auth.session_ttl_s", &[], 60.into(), ("3600", "60")),
        row("auth.session_user_claim", &[], "uid".into(), ("401", "200")),
        row("auth.webhook_tolerance_s", &[], 60.into(), ("200", "401")),
        row(
            "server.allowed_origins",
            &[],
            list("https://app.example.org"),
            ("403", "200"),
        ),
        row(
            "server.trusted_proxies",
            &[],
            list("127.0.0.0/8"),
            ("127.0.0.1", "198.51.100.7"),
        ),
    ]
}

/// What a request shows of a key.
async fn shown(app: &TestApp, key: &str) -> String {
    let balance = "/api/v1/balance";
    let status = |answer: Answer| answer.status.to_string();
    match key {
        "auth.webhook_secrets" => {
            let signed = || Signed::get("/internal/v1/users/7/balance");
            let old = app.send(signed()).await.status;
            let new = app.send(signed().secret(NEW_WEBHOOK_SECRET)).await.status;
            format!("{old} {new}")
        }
        "auth.session_secrets" => {
            let old = app.browser(balance, &token(7), &[]).await.status;
            let new = app.browser(balance, &new_token(7), &[]).await.status;
            format!("{old} {new}")
        }
        "auth.admin_tokens" => {
            let old = admin(app, ADMIN_TOKEN).await.status;
            format!("{old} {}", admin(app, NEW_ADMIN_TOKEN).await.status)
        }
        "auth.metrics_token" => status(app.plain_get(app.internal, "/metrics").await),
        "auth.telegram_max_age_s" => status(sign_in(app, &InitData::of(7).aged(600)).await),
        key if key.starts_with("auth.telegram_") => status(sign_in(app, &InitData::of(7)).await),
        "auth.session_ttl_s" => {
            let made = app.post("tokens", json!({"user_id": 7})).await.ok();
            let claims = made["token"].as_str().expect("a token").split('.').nth(1);
            let claims = URL_SAFE_NO_PAD
                .decode(claims.expect("claims"))
                .expect("base64");
            let claims: Value = serde_json::from_slice(&claims).expect("JSON");
            let time = |name: &str| claims[name].as_i64().expect("a time");
            (time("exp") - time("iat")).to_string()
        }
        "auth.session_user_claim" => {
            let claims = json!({"uid": 7, "exp": now_s() + 600});
            let token = mint(&json!({"alg": "HS256"}), &claims, SESSION_SECRET);
            status(app.browser(balance, &token, &[]).await)
        }
        "auth.webhook_tolerance_s" => {
            let signed = Signed::get("/internal/v1/users/7/balance").timestamp(now_s() - 120);
            status(app.send(signed).await)
        }
        "server.allowed_origins" => {
            let origin = ("origin", "https://app.example.org");
            status(app.browser(balance, &token(7), &[origin]).await)
        }
        "server.trusted_proxies" => {
            let bearer = format!("Bearer {}", token(7));
            let headers = [
                ("authorization", &*bearer),
                ("x-forwarded-for", "198.51.100.7"),
            ];
            let mut ws = app.ws(&headers).await;
            ws.next_frame("hello").await;
            ws.next_frame("balance").await;
            let sessions = app.admin("/admin/v1/sessions").await.ok();
            let address = sessions["sessions"][0]["address"].as_str();
            address.expect("an address").to_owned()
        }
        other => panic!("{other}: a key without a request that shows it"),
    }
}

fn new_token(user_id: u64) -> String {
    let header = json!({"alg": "HS256"});
    mint(&header, &claims(user_id, 600), NEW_SESSION_SECRET)
}

async fn admin(app: &TestApp, token: &str) -> Answer {
    let url = format!("http://{}/admin/v1/registry", app.internal);
    let answer = app.http.get(url).bearer_auth(token).send().await;
    Answer::read(answer.expect("an answer"))
        .await
        .expect("whole")
}

async fn sign_in(app: &TestApp, init_data: &InitData) -> Answer {
    let request = app
        .public_request(Method::POST, "/api/v1/sessions")
        .json(&json!({ "init_data": init_data.text() }));
    let answer = request.send().await.expect("an answer");
    Answer::read(answer).await.expect("whole")
}

fn with(builder: Builder, keys: &[(&str, &str)]) -> Builder {
    keys.iter()
        .fold(builder, |builder, (key, value)| builder.set(key, *value))
}

/// Asserts that exactly one line of these is on this level and ends with this text.
#[track_caller]
fn assert_told(lines: &[String], level: &str, end: &str) {
    let is_it = |line: &&String| line.contains(&format!(" {level} ")) && line.ends_with(end);
    assert_eq!(
        lines.iter().filter(is_it).count(),
        1,
        "{level} … {end}: {lines:#?}"
    );
}

async fn each_key_that_is_reloaded_changes_what_the_service_does(database: Database) {
    let rows = rows();
    let tested: BTreeSet<&str> = rows.iter().map(|row| row.key).collect();
    assert_eq!(tested, reloaded_keys().collect(), "each key has a row");
    for row in rows {
        let mut app = with(TestApp::on(database), row.also).start().await;
        app.accepted("deposits", 7, "d", "1").await;
        assert_eq!(
            shown(&app, row.key).await,
            row.shows.0,
            "{} before",
            row.key
        );
        app.reconfigure(row.key, row.value);
        let lines = app.reload().await;
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert_told(&lines, "INFO ", &format!("changed: {}", row.key));
        assert_eq!(shown(&app, row.key).await, row.shows.1, "{} after", row.key);
        assert!(app.stop().await.success());
    }
}

/// Every secret of another value.
fn change_all(app: &mut TestApp) {
    app.reconfigure("auth.webhook_secrets", vec![NEW_WEBHOOK_SECRET]);
    app.reconfigure("auth.session_secrets", vec![NEW_SESSION_SECRET]);
    app.reconfigure("auth.admin_tokens", vec![NEW_ADMIN_TOKEN]);
}

async fn sessions_outlast_the_secrets_that_opened_them(database: Database) {
    let mut app = TestApp::on(database).log("trace").start().await;
    let (mut ws, _) = app.session(7).await;
    change_all(&mut app);
    app.reconfigure("auth.metrics_token", "a-token-for-metrics");
    app.reconfigure("auth.telegram_bot_token", BOT_TOKEN);
    app.reconfigure("auth.telegram_identity", "user_id");
    let lines = app.reload().await;
    let keys = "auth.admin_tokens, auth.metrics_token, auth.session_secrets, auth.telegram_bot_token, \
                auth.telegram_identity, auth.webhook_secrets";
    assert_told(&lines, "INFO ", &format!("changed: {keys}"));

    // The old token opens nothing more; the session that it opened hears of the next deposit.
    app.browser("/api/v1/balance", &token(7), &[])
        .await
        .problem(401, "unauthorized");
    let mut refused = app.ws_of(7).await;
    refused.assert_closed(4501, "unauthenticated").await;
    let deposit = Signed::post("/internal/v1/deposits", &entry("d", 7, "TON", "1"));
    let old = app.send(deposit.clone()).await;
    old.problem(401, "invalid_signature");
    app.send(deposit.secret(NEW_WEBHOOK_SECRET)).await.ok();
    let push = ws.next_frame("balance_update").await;
    assert_eq!(push["version"], 1, "{push}");
    // With a new token it goes on beyond the end of the old one.
    ws.send_json(json!({"type": "auth", "token": new_token(7)}))
        .await;
    ws.send_json(json!({"type": "ping", "id": "after"})).await;
    ws.next_frame("pong").await;

    app.stop().await;
    let log = app.log();
    for secret in [
        WEBHOOK_SECRET.trim_start_matches("whsec_"),
        NEW_WEBHOOK_SECRET.trim_start_matches("whsec_"),
        SESSION_SECRET,
        NEW_SESSION_SECRET,
        ADMIN_TOKEN,
        NEW_ADMIN_TOKEN,
        "a-token-for-metrics",
        BOT_TOKEN,
    ] {
        let found: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(found.is_empty(), "{secret} in {found:?}");
    }
}

async fn the_stream_of_an_administrator_ends_with_the_token(database: Database) {
    let mut app = TestApp::on(database)
        .set("auth.admin_tokens", vec![ADMIN_TOKEN, NEW_ADMIN_TOKEN])
        .start()
        .await;
    let open = async |token: &str| {
        let url = format!("http://{}/admin/v1/live", app.internal);
        let answer = app.http.get(url).bearer_auth(token).send().await;
        answer.expect("an answer").error_for_status().expect("200")
    };
    let (mut old, mut kept) = (open(ADMIN_TOKEN).await, open(NEW_ADMIN_TOKEN).await);
    for stream in [&mut old, &mut kept] {
        stream.chunk().await.expect("it reads").expect("a snapshot");
    }
    app.reconfigure("auth.admin_tokens", vec![NEW_ADMIN_TOKEN]);
    app.reload().await;
    while old.chunk().await.expect("it reads").is_some() {}
    for _ in 0..3 {
        kept.chunk().await.expect("it reads").expect("a snapshot");
    }
}

async fn a_configuration_that_would_not_start_the_service_changes_nothing(database: Database) {
    let mut app = TestApp::start(database).await;
    let file = app.directory().join("config.toml");
    let good = std::fs::read_to_string(&file).expect("it is there");
    change_all(&mut app);
    app.reconfigure("limits.sessions", 0);
    let lines = app.reload().await;
    assert_told(
        &lines,
        "ERROR",
        "limits.sessions: must be 1 to 1000000, is 0",
    );
    app.unset("limits.sessions");
    for (key, value, end) in [
        (
            "auth.webhook_secrets",
            vec!["geheim"],
            "must be whsec_ and then the base64 of at least 16 bytes",
        ),
        (
            "auth.session_secrets",
            vec!["geheim"],
            "auth.session_secrets[0]: must be 32 to 1024 bytes",
        ),
        (
            "auth.admin_tokens",
            vec!["ge heim"],
            "auth.admin_tokens[0]: must be 1 to 1024 printable ASCII characters without spaces",
        ),
        (
            "server.trusted_proxies",
            vec!["geheim"],
            "that of a single address ends with /32 or /128",
        ),
        (
            "server.allowed_origins",
            vec!["geheim"],
            "without path, final slash, user, space and wildcard",
        ),
        (
            "auth.sessions_secrets",
            vec!["geheim"],
            "auth.sessions_secrets: there is no such key",
        ),
        (
            "auth.session_ttl_s",
            vec!["geheim"],
            "auth.session_ttl_s: must be an integer, not negative",
        ),
    ] {
        app.reconfigure(key, value);
        let lines = app.reload().await;
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert_told(&lines, "ERROR", end);
        assert!(
            lines[0].contains(key) && !lines[0].contains("heim"),
            "{lines:#?}"
        );
        app.unset(key);
        change_all(&mut app);
    }
    app.unset("auth.session_secrets");
    let lines = app.reload().await;
    assert_told(
        &lines,
        "ERROR",
        "missing: auth.session_secrets (set in the configuration file, or as BALANCE_AUTH__SESSION_SECRETS)",
    );
    std::fs::write(&file, "[auth]\nadmin_tokens = [\"geheim").expect("written");
    let lines = app.hang_up().await;
    assert!(lines[0].contains("config.toml: line 2, column ") && !lines[0].contains("geheim"));
    std::fs::remove_file(&file).expect("removed");
    assert_told(
        &app.hang_up().await,
        "ERROR",
        "config.toml: No such file or directory (os error 2)",
    );

    // All of the old is at work, and nothing of the new.
    for key in [
        "auth.webhook_secrets",
        "auth.session_secrets",
        "auth.admin_tokens",
    ] {
        assert_eq!(shown(&app, key).await, "200 401", "{key}");
    }
    std::fs::write(&file, good).expect("written");
    assert_told(&app.hang_up().await, "INFO ", "; nothing has changed");
}

async fn what_needs_a_restart_is_named_and_stays(database: Database) {
    let mut app = TestApp::start(database).await;
    app.reconfigure("auth.admin_tokens", vec![NEW_ADMIN_TOKEN]);
    app.reconfigure("limits.body_bytes", 10);
    app.reconfigure("currencies.TON.decimals", 9);
    app.reconfigure("cluster.password", "geheim");
    app.reconfigure("cluster.user", "balance");
    app.reconfigure("database.timeout_ms", 5000);
    for changed in ["changed: auth.admin_tokens", "; nothing has changed"] {
        let lines = app.reload().await;
        let keys = "cluster.password, cluster.user, currencies.UNI.decimals, limits.body_bytes";
        assert_told(&lines, "WARN ", &format!("only at the next start: {keys}"));
        assert_told(&lines, "INFO ", changed);
        assert!(!app.log().contains("geheim"));
        app.accepted("deposits", 7, changed, "1").await;
    }
    for key in ["limits.body_bytes", "cluster.password", "cluster.user"] {
        app.unset(key);
    }
    app.reconfigure("currencies.UNI.decimals", 9);
    let lines = app.reload().await;
    assert_eq!(
        lines.len(),
        1,
        "what is as it runs needs no restart: {lines:#?}"
    );
}

async fn what_the_environment_sets_is_named(database: Database) {
    let mut app = TestApp::on(database)
        .variable("BALANCE_AUTH__ADMIN_TOKENS", ADMIN_TOKEN)
        .variable("BALANCE_LIMITS__BODY_BYTES", "1000")
        .start()
        .await;
    change_all(&mut app);
    let lines = app.reload().await;
    assert_told(
        &lines,
        "INFO ",
        "changed: auth.session_secrets, auth.webhook_secrets",
    );
    assert_told(&lines, "INFO ", "no file changes: auth.admin_tokens");
    assert_eq!(shown(&app, "auth.admin_tokens").await, "200 401");
    assert!(!app.log().contains(ADMIN_TOKEN));
}

async fn many_hangups_refuse_no_request(database: Database) {
    let mut app = TestApp::start(database).await;
    let file = app.directory().join("config.toml");
    app.reconfigure("auth.admin_tokens", vec![NEW_ADMIN_TOKEN, ADMIN_TOKEN]);
    app.reload().await;
    let both = std::fs::read_to_string(&file).expect("it is there");
    let other = both.replace("admin-token\"]", "admin-token\", \"third\"]");
    assert_ne!(both, other);
    let beside = app.directory().join("beside.toml");
    for round in 0..200 {
        std::fs::write(&beside, if round % 2 == 0 { &other } else { &both }).expect("written");
        std::fs::rename(&beside, &file).expect("renamed");
        app.signal("HUP");
        assert_eq!(shown(&app, "auth.admin_tokens").await, "200 200", "{round}");
    }
    // Signals that come while one is handled are one. The last state of the file is at work.
    app.reconfigure("auth.admin_tokens", vec![NEW_ADMIN_TOKEN]);
    app.reload().await;
    eventually("the last configuration", async || {
        (shown(&app, "auth.admin_tokens").await == "401 200").then_some(())
    })
    .await;
    assert!(!app.log().contains(" ERROR "), "{}", app.log());
}

async fn a_hangup_during_the_start_is_remembered(database: Database) {
    let mut app = TestApp::start(database).await;
    app.stop().await;
    app.spawn_again();
    eventually("the first line", async || {
        app.log().contains("effective configuration").then_some(())
    })
    .await;
    app.reconfigure("auth.admin_tokens", vec![NEW_ADMIN_TOKEN]);
    // Also before it is ready: the signal ends nothing, and is not lost.
    let lines = app.reload().await;
    assert_told(&lines, "INFO ", "changed: auth.admin_tokens");
    app.ready().await;
    assert_eq!(shown(&app, "auth.admin_tokens").await, "401 200");
}

async fn hangups_during_the_stop_change_nothing(database: Database) {
    let mut app = TestApp::start(database).await;
    let (mut ws, _) = app.session(7).await;
    app.signal("TERM");
    for _ in 0..50 {
        app.signal("HUP");
    }
    assert!(app.wait().await.success());
    ws.assert_closed(1001, "going_away").await;
}
