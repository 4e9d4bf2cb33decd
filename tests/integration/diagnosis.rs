//! The diagnosis: it finds risks and errors, names the evidence, and changes nothing.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::entry;
use crate::support::{
    ADMIN_TOKEN, Database, SESSION_SECRET, TestApp, WEBHOOK_SECRET, eventually, on_both_databases,
    on_sqlite, run_program,
};

on_both_databases![
    a_healthy_service_is_described_and_unchanged,
    problems_are_found_with_their_evidence
];
on_sqlite![
    risky_settings_are_found_without_a_service,
    fragments_of_a_log_are_counted,
    no_secret_is_in_the_report,
    unreadable_input_fails,
    a_wrong_token_is_one_finding,
    an_endless_answer_is_a_finding_and_the_report_goes_on,
    foreign_text_is_cut_short,
];

fn diagnose(app: &TestApp, more: &[&str], input: &[u8]) -> Output {
    let (url, internal_url) = (
        format!("http://{}", app.public),
        format!("http://{}", app.internal),
    );
    let mut arguments = vec![
        "diagnose",
        "--config",
        "config.toml",
        "--url",
        &url,
        "--internal-url",
        &internal_url,
    ];
    arguments.extend(more);
    run_program(app.dir.path(), &arguments, &[], input)
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The findings that contain this text.
fn with<'a>(report: &'a Value, text: &str) -> Vec<&'a Value> {
    report["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|f| f.to_string().contains(text))
        .collect()
}

#[track_caller]
fn assert_found(report: &Value, severity: &str, evidence: &str) {
    let found = with(report, evidence);
    let [finding] = found.as_slice() else {
        panic!("{evidence}: {found:#?} in {:#}", report["findings"])
    };
    assert_eq!(finding["severity"], severity, "{finding}");
    for key in ["what", "evidence", "next_step"] {
        assert!(
            finding[key].as_str().is_some_and(|text| !text.is_empty()),
            "{finding}"
        );
    }
}

async fn a_healthy_service_is_described_and_unchanged(database: Database) {
    let app = TestApp::on(database)
        .set("audit.users_per_s", 0)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.next_frame("balance_update").await;
    ws.send_json(json!({"type": "displayed", "version": 1}))
        .await;
    eventually("it is measured", async || {
        let shown = app
            .metrics()
            .await
            .value("balance_commit_to_displayed_seconds_count{mode=\"direct\"}");
        (shown == 1.0).then_some(())
    })
    .await;
    let before = app.admin("/admin/v1/actors").await.ok()["actors"][0]["entries"].clone();
    let report = json_of(&diagnose(&app, &["--format", "json"], b""));
    let severe = with(&report, "\"severity\":\"high\"");
    assert!(severe.is_empty(), "{severe:#?}");
    assert_found(&report, "low", "audit.users_per_s 0");
    let facts = &report["facts"];
    assert_eq!(
        (
            &facts["service"]["readiness"]["status"],
            &facts["state"]["sessions"]
        ),
        (&json!("ready"), &json!(1))
    );
    assert_eq!(
        facts["update frequency"]["pushes"]["direct"], 1.0,
        "{facts}"
    );
    assert_eq!(facts["websockets"]["open"], 1.0);
    for fact in [
        "commit",
        "commit to push, direct",
        "commit to displayed, direct",
    ] {
        for quantile in ["p50_ms", "p95_ms", "p99_ms"] {
            assert!(
                facts[fact][quantile].as_f64().is_some_and(|ms| ms > 0.0),
                "{fact} {quantile} in {facts}"
            );
        }
    }
    assert_eq!(
        facts["commit to push, paced"]["p50_ms"],
        Value::Null,
        "there was none"
    );
    assert!(
        facts["seconds since the latest entry, by kind"]["deposit"].is_number(),
        "{facts}"
    );
    assert_eq!(report["log"], Value::Null);
    let page = String::from_utf8(diagnose(&app, &[], b"").stdout).expect("text");
    for part in [
        "# Diagnosis\n",
        "## Findings\n",
        "## Websockets\n",
        "## Configuration\n",
        "audit.users_per_s 0",
    ] {
        assert!(page.contains(part), "{part} in\n{page}");
    }
    ws.assert_quiet().await;
    assert_eq!(
        app.admin("/admin/v1/actors").await.ok()["actors"][0]["entries"],
        before
    );
    assert_eq!(app.admin("/admin/v1/log").await.ok(), json!({"log": []}));
}

async fn problems_are_found_with_their_evidence(database: Database) {
    let app = TestApp::on(database)
        .set("audit.users_per_s", 100_000)
        .start()
        .await;
    app.accepted("deposits", 7, "d", "1").await;
    app.post("deposits", entry("d", 7, "TON", "2"))
        .await
        .problem(409, "idempotency_conflict");
    app.database
        .sql("UPDATE balances SET amount = 5 WHERE user_id = 7 AND currency = 'TON'");
    eventually("the audit finds it", async || {
        let state = app.admin("/admin/v1/audit").await.ok();
        (state["violations_total"].as_u64() > Some(0)).then_some(())
    })
    .await;
    let wrong = crate::support::Signed::get("/internal/v1/users/7/balance").signature("v1,AAAA");
    app.send(wrong).await.problem(401, "invalid_signature");
    let posted = crate::support::Signed::post("/internal/v1/deposits", &entry("e", 7, "TON", "1"))
        .signature("v1,AAAA");
    app.send(posted).await.problem(401, "invalid_signature");
    let report = json_of(&diagnose(&app, &["--format", "json"], b""));
    assert_found(&report, "high", "the audit has found");
    assert_found(
        &report,
        "medium",
        "1 since the start (deposit 1), of user 7",
    );
    assert_found(&report, "medium", "wrong signature or time");
    let severities: Vec<_> = report["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|f| &f["severity"])
        .collect();
    let rank = |severity: &Value| {
        ["high", "medium", "low"]
            .iter()
            .position(|known| severity == known)
            .expect("known")
    };
    assert!(
        severities.is_sorted_by_key(|severity| rank(severity)),
        "the worst first: {severities:?}"
    );
    assert_eq!(
        report["facts"]["users with the most conflicts"],
        json!([[7, 1]])
    );
    assert_eq!(
        report["facts"]["update frequency"]["refused_by_code"],
        json!({"idempotency_conflict": 1.0})
    );
}

async fn risky_settings_are_found_without_a_service(database: Database) {
    let (dir, _database) = TestApp::on(database)
        .set("server.public_addr", "127.0.0.1:1")
        .set("server.internal_addr", "0.0.0.0:2")
        .set("server.allowed_origins", vec!["*"])
        .set("cache.ttl_s", 10)
        .set("pacing.debounce_ms", 9000)
        .set("client_cache.min_age_s", 10)
        .set("auth.webhook_tolerance_s", 3600)
        .prepare();
    let arguments = [
        "diagnose",
        "--config",
        "config.toml",
        "--format",
        "json",
        "--internal-url",
        "http://127.0.0.1:2",
    ];
    let report = json_of(&run_program(dir.path(), &arguments, &[], b""));
    assert_found(&report, "high", "server.allowed_origins has *");
    assert_found(&report, "high", "server.internal_addr 0.0.0.0:2");
    assert_found(
        &report,
        "medium",
        "client_cache.ttl_s 60 + client_cache.stale_while_revalidate_s 30 > cache.ttl_s 10",
    );
    assert_found(
        &report,
        "low",
        "client_cache.min_age_s 10 s > pacing.debounce_ms 9000 ms",
    );
    assert_found(
        &report,
        "medium",
        "pacing.debounce_ms 9000 > pacing.min_interval_ms 5000",
    );
    assert_found(&report, "low", "auth.webhook_tolerance_s 3600");
    assert_found(&report, "low", "1 of 1 in auth.admin_tokens have no name");
    assert_found(&report, "high", "GET http://127.0.0.1:2/readyz");
    assert_eq!(report["facts"]["state"], Value::Null);
}

async fn fragments_of_a_log_are_counted(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 20)
        .set("pacing.min_interval_ms", 40)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    for n in 0..3 {
        app.accepted("deposits", 1, &format!("d{n}"), "1").await;
        ws.next_frame("balance_update").await;
    }
    app.accepted("rewards", 1, "r", "1").await;
    ws.next_frame("balance_update").await;
    app.backend("/internal/v1/users/1/balance").await.ok();
    let log = eventually("all is logged", async || {
        let log = app.log();
        (log.contains("BalanceCoordinator") && log.contains("[BalanceCache] Cache hit"))
            .then_some(log)
    })
    .await;
    std::fs::write(app.dir.path().join("some.log"), &log).expect("written");
    let count = |fragment: &str| log.lines().filter(|line| line.contains(fragment)).count();
    let fragments = [
        "DIRECT_BALANCE_UPDATE",
        "BalanceCoordinator",
        "balance_update",
        "[BalanceCache] Cache hit",
        "[BalanceCache] Cache miss",
    ];
    let expected = fragments.map(count);
    assert_eq!((expected[0], expected[1], expected[2]), (3, 1, 4));
    for (file, input) in [("some.log", ""), ("-", log.as_str())] {
        let report = json_of(&diagnose(
            &app,
            &["--format", "json", "--log", file],
            input.as_bytes(),
        ));
        let counted = &report["log"];
        assert_eq!(
            (&counted["totals"], &counted["fragments"]),
            (&json!(expected), &json!(fragments))
        );
        assert_eq!(counted["lines"], log.lines().count(), "{counted}");
        let ratio = expected[3] as f64 / (expected[3] + expected[4]) as f64;
        assert_eq!(counted["hit_ratio"], ratio);
        assert!(
            counted["busiest_hours"]
                .as_array()
                .is_some_and(|hours| !hours.is_empty()),
            "{counted}"
        );
    }
}

async fn no_secret_is_in_the_report(database: Database) {
    let app = TestApp::on(database)
        .set("auth.metrics_token", "the-metrics-token")
        .start()
        .await;
    for format in ["json", "markdown"] {
        let output = diagnose(&app, &["--format", format], b"");
        let text = String::from_utf8(output.stdout).expect("text")
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            text.contains("balance_pushes") || text.contains("pushes"),
            "{text}"
        );
        for secret in [
            ADMIN_TOKEN,
            SESSION_SECRET,
            WEBHOOK_SECRET,
            "the-metrics-token",
        ] {
            assert!(!text.contains(secret), "{secret} in\n{text}");
        }
        assert!(!text.contains("/metrics: 401"), "it has the token: {text}");
    }
}

async fn unreadable_input_fails(database: Database) {
    let app = TestApp::start(database).await;
    let output = diagnose(&app, &["--log", "no-such.log"], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("no-such.log"),
        "{said}"
    );
    let output = diagnose(&app, &["--format", "xml"], b"");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

async fn a_wrong_token_is_one_finding(database: Database) {
    let app = TestApp::start(database).await;
    let variables = [(
        "BALANCE_AUTH__ADMIN_TOKENS".to_owned(),
        "another-token-than-the-service-has".to_owned(),
    )];
    let (url, internal_url) = (
        format!("http://{}", app.public),
        format!("http://{}", app.internal),
    );
    let arguments = [
        "diagnose",
        "--config",
        "config.toml",
        "--format",
        "json",
        "--url",
        &url,
        "--internal-url",
    ];
    let report = json_of(&run_program(
        app.dir.path(),
        &[&arguments[..], &[&internal_url]].concat(),
        &variables,
        b"",
    ));
    assert_found(&report, "high", "/admin/v1/registry: 401");
    assert_eq!(with(&report, ": 401").len(), 1, "{:#}", report["findings"]);
}

/// A fake service: answers each connection with a head and then a piece, repeated `times` times.
async fn stranger(
    head: &'static str,
    piece: Vec<u8>,
    times: u32,
    pause: Duration,
) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(head.as_bytes()).await;
            for _ in 0..times {
                // Ignore errors: the peer may have closed.
                if stream.write_all(&piece).await.is_err() {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        }
    });
    (url, serving)
}

async fn report_on(url: &str, app: &TestApp) -> Value {
    let (dir, url) = (app.dir.path().to_owned(), url.to_owned());
    let running = tokio::task::spawn_blocking(move || {
        let arguments = [
            "diagnose",
            "--config",
            "config.toml",
            "--format",
            "json",
            "--url",
            &url,
            "--internal-url",
            &url,
        ];
        run_program(&dir, &arguments, &[], b"")
    });
    json_of(&running.await.expect("it ends"))
}

async fn an_endless_answer_is_a_finding_and_the_report_goes_on(database: Database) {
    let app = TestApp::start(database).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    let (url, serving) = stranger(head, b"x".to_vec(), 600, Duration::from_millis(100)).await;
    let report = report_on(&url, &app).await;
    serving.abort();
    // One finding: a service that does not answer is not asked again.
    assert_found(&report, "high", "no whole answer within");
}

async fn foreign_text_is_cut_short(database: Database) {
    let app = TestApp::start(database).await;
    let head = "HTTP/1.1 500 No\r\ncontent-length: 4000000\r\nconnection: close\r\n\r\n";
    let piece = b"| # `\x1b[2J\n".repeat(40_000);
    let (url, serving) = stranger(head, piece, 10, Duration::ZERO).await;
    let report = report_on(&url, &app).await;
    serving.abort();
    let found = with(&report, "/admin/v1/registry: 500: | # `");
    let evidence = found.first().expect("a finding")["evidence"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(
        evidence.len() < 600 && !evidence.contains(['\n', '\x1b']),
        "{evidence}"
    );
}
