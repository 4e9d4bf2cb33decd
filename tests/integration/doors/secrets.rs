//! The log contains no secret, token, signature or password, at any level of any crate, whatever
//! the requests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::entry;
use crate::support::{
    ADMIN_TOKEN, BOT_TOKEN, Database, InitData, SESSION_SECRET, Signed, TestApp, WEBHOOK_SECRET,
    claims, mint, on_both_databases, run_program, token,
};

on_both_databases![nothing_secret_is_logged_by_any_crate_at_any_level];

/// A password that needs escapes in a URL, and its escaped form.
const PASSWORD: (&str, &str) = ("geheim@db/pass", "geheim%40db%2Fpass");

/// Prometheus' token.
const METRICS_TOKEN: &str = "geheim-metrics-token";

/// Everything that must not be in the log, by name.
#[derive(Default)]
struct Hidden(Vec<(String, String)>);

impl Hidden {
    /// A text in every form in which a program might print it.
    fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes());
        self.0.push((name.to_owned(), text.to_owned()));
        let escaped = format!("{text:?}");
        self.0.push((
            format!("{name}, escaped"),
            escaped[1..escaped.len() - 1].to_owned(),
        ));
    }

    /// Bytes in every form in which a program might print them.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        let listed = format!("{:?}", &bytes[..bytes.len().min(8)]);
        for (form, shown) in [
            ("hex", hex::encode(bytes)),
            ("capital hex", hex::encode_upper(bytes)),
            ("base64", STANDARD_NO_PAD.encode(bytes)),
            ("padded base64", STANDARD.encode(bytes)),
            ("base64url", URL_SAFE_NO_PAD.encode(bytes)),
            ("padded base64url", URL_SAFE.encode(bytes)),
            ("a list of bytes", listed.trim_end_matches(']').to_owned()),
        ] {
            self.0.push((format!("{name}, {form}"), shown));
        }
    }

    /// The secret parts of a session token: claims and signature, together and alone.
    fn token(&mut self, name: &str, token: &str) {
        self.text(name, token);
        for part in token.split('.').skip(1).filter(|part| part.len() > 10) {
            self.0.push((format!("a part of {name}"), part.to_owned()));
        }
    }

    /// The secret parts of init data: the whole, its proofs, and the person in it.
    fn init_data(&mut self, name: &str, init_data: &str) {
        self.text(name, init_data);
        for part in init_data
            .split('&')
            .map(|pair| pair.split_once('=').expect("a pair").1)
        {
            // A time is not a secret, and every line has one.
            if !part.bytes().all(|b| b.is_ascii_digit()) {
                self.0.push((format!("a part of {name}"), part.to_owned()));
            }
        }
    }

    /// A webhook signature and the MAC in it.
    fn signature(&mut self, name: &str, signature: &str) {
        let bare = signature.trim_start_matches("v1,");
        self.text(name, bare);
        self.bytes(name, &STANDARD.decode(bare).expect("base64"));
    }

    fn assert_absent(&self, from: &str, log: &str) {
        for (name, shown) in &self.0 {
            let found: Vec<&str> = log
                .lines()
                .filter(|line| line.contains(shown))
                .take(3)
                .collect();
            assert!(found.is_empty(), "{name} is in {from}: {found:#?}");
        }
        assert!(!log.contains("geheim"), "a part of a password is in {from}");
    }
}

/// A database URL with a password in it, where the database has one.
fn with_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    match rest.split_once('@') {
        Some((user, behind)) => format!("{scheme}://{user}:{}@{behind}", PASSWORD.1),
        None => url.to_owned(),
    }
}

fn configured() -> Hidden {
    let mut hidden = Hidden::default();
    let bare = WEBHOOK_SECRET.trim_start_matches("whsec_");
    hidden.text("the webhook secret", bare);
    hidden.bytes(
        "the webhook secret's bytes",
        &STANDARD.decode(bare).expect("base64"),
    );
    hidden.text(
        "the webhook secret's text",
        &String::from_utf8_lossy(&STANDARD.decode(bare).expect("base64")),
    );
    hidden.text("the session secret", SESSION_SECRET);
    hidden.text("the admin token", ADMIN_TOKEN);
    hidden.text("the metrics token", METRICS_TOKEN);
    hidden.text("the bot's token", BOT_TOKEN);
    hidden.text("the password", PASSWORD.0);
    hidden.text("the escaped password", PASSWORD.1);
    hidden
}

async fn webhooks(app: &TestApp, hidden: &mut Hidden) {
    let good = Signed::post("/internal/v1/deposits", &entry("d", 1, "TON", "1"));
    let right = good.right_signature();
    hidden.signature("a signature", &right);
    app.send(good.clone()).await.ok();
    let old = good.clone().timestamp(1_000_000_000);
    hidden.signature("a signature of long ago", &old.right_signature());
    app.send(old).await.problem(401, "timestamp_out_of_range");
    let stranger = good
        .clone()
        .secret("whsec_YW5vdGhlci13ZWJob29rLXNlY3JldC1mb3Itcm90YXRpb24=");
    hidden.signature("a signature of a stranger", &stranger.right_signature());
    app.send(stranger).await.problem(401, "invalid_signature");
    app.send(good.clone().id("msg_other").signature(&right))
        .await
        .problem(401, "invalid_signature");
    app.send(good.clone().signature(format!("{right} {right} nonsense")))
        .await
        .ok();
    let broken = good.clone().body("{ no json");
    hidden.signature("a signature of no JSON", &broken.right_signature());
    app.send(broken).await.problem(400, "invalid_json");
    let made = app
        .post("tokens", json!({"user_id": 1, "ttl_s": 60}))
        .await
        .ok();
    hidden.token(
        "a token made here",
        made["token"].as_str().expect("a token"),
    );
    app.batch(json!([entry("b", 1, "TON", "1")])).await.ok();
    app.backend("/internal/v1/users/1/entries").await.ok();
}

async fn browsers(app: &TestApp, hidden: &mut Hidden) {
    let good = token(1);
    let expired = mint(&json!({"alg": "HS256"}), &claims(1, -10), SESSION_SECRET);
    let forged = mint(
        &json!({"alg": "HS256"}),
        &claims(1, 77),
        "a secret that is configured nowhere",
    );
    for (name, token) in [
        ("a token", &good),
        ("an expired token", &expired),
        ("a forged token", &forged),
    ] {
        hidden.token(name, token);
        app.browser("/api/v1/balance", token, &[]).await;
        app.browser(
            "/api/v1/balance",
            token,
            &[("authorization", &format!("Bearer {token}"))],
        )
        .await;
        app.plain_get(app.public, &format!("/api/v1/balance?token={token}"))
            .await
            .problem(401, "unauthorized");
        app.plain_get(app.public, &format!("/ws?token={token}"))
            .await;
        for headers in [
            &[("authorization", format!("Bearer {token}"))][..],
            &[(
                "sec-websocket-protocol",
                format!("balance.v1, bearer.{token}"),
            )],
            &[("sec-websocket-protocol", "balance.v1".to_owned())],
        ] {
            let headers: Vec<(&'static str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let mut ws = app.ws(&headers).await;
            // Signs in and extends the session; oversized, binary and broken messages with the
            // token close it.
            ws.send_json(json!({"type": "auth", "token": token})).await;
            ws.try_send(tokio_tungstenite::tungstenite::Message::text(format!(
                "{{\"type\":\"auth\",\"token\":\"{token}\""
            )))
            .await;
            ws.try_send(tokio_tungstenite::tungstenite::Message::binary(
                token.clone().into_bytes(),
            ))
            .await;
            ws.closed().await;
        }
    }
}

/// Init data that is valid, old, damaged or of another bot, at every endpoint.
async fn mini_apps(app: &TestApp, hidden: &mut Hidden) {
    let good = InitData::of(7);
    let link =
        Signed::new(reqwest::Method::PUT, "/internal/v1/users/1").body(r#"{"telegram_id":7}"#);
    app.send(link).await.ok();
    for (name, init_data) in [
        ("init data", good.text()),
        ("old init data", good.clone().aged(100_000).text()),
        (
            "init data of another bot",
            good.clone().by("7000000002:another").text(),
        ),
        (
            "spoiled init data",
            good.text().replace("auth_date=1", "auth_date=2"),
        ),
    ] {
        hidden.init_data(name, &init_data);
        let sign_in = app.public_request(reqwest::Method::POST, "/api/v1/sessions");
        let signed_in = sign_in
            .json(&json!({"init_data": init_data}))
            .send()
            .await
            .expect("an answer");
        assert_eq!(signed_in.status() == 200, name == "init data", "{name}");
        if let Some(token) = signed_in.json::<Value>().await.expect("JSON")["token"].as_str() {
            hidden.token("a token for a Mini App", token);
        }
        let header = format!("tma {init_data}");
        app.browser("/api/v1/balance", "", &[("authorization", &header)])
            .await;
        let balance = app
            .public_request(reqwest::Method::GET, "/api/v1/balance")
            .header("authorization", &header);
        balance.send().await.expect("an answer");
        app.plain_get(
            app.public,
            &format!("/api/v1/balance?init_data={init_data}"),
        )
        .await;
        for headers in [&[("authorization", header.as_str())][..], &[]] {
            let mut ws = app.ws(headers).await;
            ws.send_json(json!({"type": "auth", "init_data": init_data}))
                .await;
            ws.try_send(tokio_tungstenite::tungstenite::Message::binary(
                init_data.clone().into_bytes(),
            ))
            .await;
            ws.closed().await;
        }
    }
}

async fn administrators(app: &TestApp, hidden: &mut Hidden) {
    let guess = "a-guess-of-an-administrators-token";
    hidden.text("a guessed admin token", guess);
    for path in [
        "/admin/v1/registry",
        "/admin/v1/actors",
        "/admin/v1/actors/1?activate=true",
        "/admin/v1/conflicts",
        "/admin/v1/nothing",
    ] {
        app.admin(path).await;
        let guessed = app
            .http
            .get(format!("http://{}{path}", app.internal))
            .bearer_auth(guess);
        guessed.send().await.expect("an answer");
    }
    app.admin_post("/admin/v1/actors/1/disconnect").await;
    app.metrics_answer(Some(guess))
        .await
        .problem(401, "unauthorized");
    let metrics = app.metrics_answer(Some(METRICS_TOKEN)).await;
    assert_eq!(metrics.status, 200);
    hidden.assert_absent("the metrics", &metrics.text);
}

async fn nothing_secret_is_logged_by_any_crate_at_any_level(database: Database) {
    let mut app = TestApp::on(database)
        .set("auth.telegram_bot_token", BOT_TOKEN)
        .set("auth.telegram_identity", "linked")
        .log("trace")
        .start()
        .await;
    let url = with_password(&app.database.url());
    app.stop().await;
    app.reconfigure("database.url", url.clone());
    app.reconfigure("auth.metrics_token", METRICS_TOKEN);
    app.start_again().await;
    let mut hidden = configured();
    webhooks(&app, &mut hidden).await;
    browsers(&app, &mut hidden).await;
    mini_apps(&app, &mut hidden).await;
    administrators(&app, &mut hidden).await;
    app.stop().await;
    let log = app.log();
    assert!(
        log.contains("TRACE actix") && log.contains("effective configuration"),
        "the log is at trace:\n{log}"
    );
    hidden.assert_absent("the log", &log);
    println!(
        "{} forms of secrets looked for in {} lines",
        hidden.0.len(),
        log.lines().count()
    );

    // A failing start reports its reason and shows no secret either.
    let trace = ("RUST_LOG".to_owned(), "trace".to_owned());
    for (name, value) in [
        (
            "BALANCE_AUTH__WEBHOOK_SECRETS",
            "geheim-no-webhook-secret".to_owned(),
        ),
        ("BALANCE_AUTH__SESSION_SECRETS", "geheim".to_owned()),
        (
            "BALANCE_AUTH__ADMIN_TOKENS",
            "geheim with spaces".to_owned(),
        ),
        (
            "BALANCE_AUTH__TELEGRAM_BOT_TOKEN",
            "7:geheim with spaces".to_owned(),
        ),
        ("BALANCE_AUTH__TELEGRAM_BOT_ID", "8".to_owned()),
        (
            "BALANCE_DATABASE__URL",
            format!("postgres://u:{}@127.0.0.1:1/db", PASSWORD.1),
        ),
        (
            "BALANCE_DATABASE__URL",
            "postgres://u:geheim%zz@127.0.0.1:1/db".to_owned(),
        ),
        (
            "BALANCE_DATABASE__URL",
            "postgres://u:geheim@[::1/db".to_owned(),
        ),
        (
            "BALANCE_DATABASE__URL",
            "postgres://u:geheim@127.0.0.1:1/db?geheim".to_owned(),
        ),
        ("BALANCE_DATABASE__URL", "postgres://u:geheim/db".to_owned()),
        (
            "BALANCE_DATABASE__URL",
            "postgres://u:geheim@127.0.0.1:1/db?sslmode=verify-full&sslrootcert=/nowhere"
                .to_owned(),
        ),
    ] {
        let variables = [trace.clone(), (name.to_owned(), value.clone())];
        let output = run_program(
            app.dir.path(),
            &["verify", "--config", "config.toml"],
            &variables,
            b"",
        );
        let shown = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{name}={value}: {shown}"
        );
        hidden.assert_absent("what a failed start says", &shown);
    }
}
