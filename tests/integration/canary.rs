//! The canary: a healthy service passes, and deviations are found.

use std::ffi::OsString;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{
    Database, PATIENCE, Process, TestApp, eventually, on_both_databases, on_sqlite, run_program,
};
use crate::{assert_timestamp, balances};

on_both_databases![
    a_healthy_service_passes_and_is_unchanged,
    a_foreign_entry_is_found
];
on_sqlite![
    a_jumping_balance_is_found,
    a_service_that_is_not_there_fails,
    an_impossible_canary_is_refused,
    the_service_tests_itself_as_often_as_it_is_told,
    a_browser_that_is_not_there_is_named,
    an_interrupted_canary_withdraws_its_deposit,
    a_canary_interrupted_twice_ends_and_names_its_deposit,
    a_stopping_service_withdraws_its_canarys_deposit,
];

const USER: u64 = 900;

fn canary(app: &TestApp, more: &[&str]) -> Output {
    let (url, internal_url) = (
        format!("http://{}", app.public),
        format!("http://{}", app.internal),
    );
    let mut arguments = vec![
        "canary",
        "--config",
        "config.toml",
        "--user",
        "900",
        "--url",
        &url,
    ];
    arguments.extend(["--internal-url", &internal_url]);
    arguments.extend(more);
    run_program(app.dir.path(), &arguments, &[], b"")
}

fn report(app: &TestApp, output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = std::fs::read_to_string(app.dir.path().join("report.json"))
        .unwrap_or_else(|e| panic!("{e}: {said}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

async fn a_healthy_service_passes_and_is_unchanged(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", USER, "before", "2").await;
    let output = canary(
        &app,
        &[
            "--watch",
            "2s",
            "--out",
            "report.json",
            "--out",
            "report.md",
        ],
    );
    let report = report(&app, &output);
    assert_eq!(
        (output.status.code(), &report["ok"]),
        (Some(0), &json!(true)),
        "{report}"
    );
    assert_eq!(report["deviations"], json!([]));
    assert_timestamp(&report["started_at"]);
    for key in ["answer_ms", "frame_ms", "push_ms"] {
        assert!(
            report[key].as_f64().is_some_and(|ms| ms >= 0.0),
            "{key} in {report}"
        );
    }
    let balance = app
        .backend(&format!("/internal/v1/users/{USER}/balance"))
        .await
        .ok();
    assert_eq!(
        (&balance["version"], &balance["balances"]),
        (&json!(3), &balances("2.000000000", "0.000000000"))
    );
    let entries = app.entries(USER).await;
    let of: Vec<_> = entries
        .iter()
        .map(|entry| (&entry["kind"], &entry["amount"], &entry["source"]))
        .collect();
    let canary = json!("canary");
    assert_eq!(
        of[0],
        (&json!("withdrawal"), &json!("-0.100000000"), &canary)
    );
    assert_eq!(of[1], (&json!("deposit"), &json!("0.100000000"), &canary));
    let page = std::fs::read_to_string(app.dir.path().join("report.md")).expect("a page");
    assert_eq!(
        page.trim_end(),
        String::from_utf8_lossy(&output.stdout).trim_end(),
        "the terminal shows the same"
    );
    assert!(
        page.starts_with("# Canary: all well\n") && page.contains("| webhook → frame 1 |"),
        "{page}"
    );
    eventually("its sessions are closed", async || {
        (app.admin("/admin/v1/registry").await.ok()["sessions"] == 0).then_some(())
    })
    .await;
    app.assert_ledger_holds();
}

/// Waits until both of its sessions have received the deposit.
async fn both_sessions_have_the_deposit(app: &TestApp) {
    eventually("it watches", async || {
        let sessions = app.admin("/admin/v1/sessions").await.ok()["sessions"].clone();
        let told = sessions
            .as_array()
            .expect("a list")
            .iter()
            .filter(|s| s["last_version"] == 1)
            .count();
        (told == 2).then_some(())
    })
    .await;
}

/// Runs it and calls `then` as soon as it watches.
async fn while_it_watches(app: &TestApp, act: impl AsyncFnOnce()) -> (Output, Value) {
    let output = std::thread::scope(|scope| {
        let running = scope.spawn(|| canary(app, &["--watch", "5s", "--out", "report.json"]));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                both_sessions_have_the_deposit(app).await;
                act().await;
            });
        });
        running.join().expect("it ends")
    });
    let report = report(app, &output);
    (output, report)
}

fn deviations(report: &Value) -> String {
    report["deviations"].to_string()
}

async fn a_foreign_entry_is_found(database: Database) {
    let app = TestApp::start(database).await;
    let (output, report) = while_it_watches(&app, async || {
        app.accepted("deposits", USER, "else", "1").await;
    })
    .await;
    assert_eq!(
        (output.status.code(), &report["ok"]),
        (Some(1), &json!(false)),
        "{report}"
    );
    assert!(
        deviations(&report).contains("another program writes to this user"),
        "{report}"
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("## Deviations"));
    let balance = app
        .backend(&format!("/internal/v1/users/{USER}/balance"))
        .await
        .ok();
    assert_eq!(
        balance["balances"]["TON"], "1.000000000",
        "its own deposit is taken back all the same"
    );
}

async fn a_jumping_balance_is_found(database: Database) {
    let app = TestApp::start(database).await;
    let (output, report) = while_it_watches(&app, async || {
        app.database.sql(
            "UPDATE balances SET amount = amount + 7 WHERE user_id = 900 AND currency = 'TON'",
        );
    })
    .await;
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(deviations(&report).contains("0.100000007"), "{report}");
}

async fn a_service_that_is_not_there_fails(database: Database) {
    let mut app = TestApp::start(database).await;
    app.stop().await;
    let output = canary(&app, &["--watch", "0s", "--out", "report.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(deviations(&report(&app, &output)).contains("GET http://127.0.0.1:"));
}

async fn an_impossible_canary_is_refused(database: Database) {
    let app = TestApp::start(database).await;
    for more in [
        &["--amount", "0"][..],
        &["--amount", "-1"],
        &["--amount", "0.0000000001"],
        &["--currency", "NOPE"],
        &["--watch", "5"],
        &["--url", "ftp://x"],
        &["--user", "0"],
    ] {
        let output = canary(&app, more);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{more:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(app.entries(USER).await, Vec::<Value>::new());
}

async fn the_service_tests_itself_as_often_as_it_is_told(database: Database) {
    let app = TestApp::on(database)
        .set("canary.every_s", 1)
        .set("canary.user_id", 900)
        .set("canary.watch_s", 0)
        .start()
        .await;
    let runs = eventually("two runs", async || {
        let answer = app.admin("/admin/v1/canary").await.ok();
        (answer["runs"].as_array().expect("a list").len() >= 2).then_some(answer)
    })
    .await;
    assert_eq!(runs["every_s"], 1);
    for run in runs["runs"].as_array().expect("a list") {
        assert_eq!(
            (&run["ok"], &run["user_id"]),
            (&json!(true), &json!(USER)),
            "{run}"
        );
    }
    let metrics = app.metrics().await;
    assert!(metrics.value("balance_canary_runs_total{outcome=\"ok\"}") >= 2.0);
    assert_eq!(
        metrics.value("balance_canary_runs_total{outcome=\"deviation\"}"),
        0.0
    );
    assert!(metrics.value("balance_canary_seconds{step=\"frame\"}") > 0.0);
}

async fn a_browser_that_is_not_there_is_named(database: Database) {
    let app = TestApp::start(database).await;
    let output = canary(&app, &["--browser", "--chromium", "/nowhere/chromium"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("there is no Chromium at /nowhere/chromium"),
        "{said}"
    );
    // A browser that exits at once: its output is reported, and nothing was deposited.
    std::fs::write(
        app.dir.path().join("broken"),
        "#!/bin/sh\necho no display >&2\nexit 3\n",
    )
    .expect("written");
    assert!(
        std::process::Command::new("chmod")
            .args(["+x"])
            .arg(app.dir.path().join("broken"))
            .status()
            .is_ok()
    );
    let output = canary(
        &app,
        &[
            "--browser",
            "--chromium",
            "./broken",
            "--out",
            "report.json",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(deviations(&report(&app, &output)).contains("it has ended: no display"));
    assert_eq!(app.entries(USER).await, Vec::<Value>::new());
}

/// Starts a canary that watches for an hour, and waits until it watches.
async fn started(app: &TestApp) -> Process {
    let (url, internal_url) = (
        format!("http://{}", app.public),
        format!("http://{}", app.internal),
    );
    let arguments = [
        "canary",
        "--config",
        "config.toml",
        "--user",
        "900",
        "--url",
        &url,
        "--internal-url",
        &internal_url,
    ];
    let more = ["--watch", "1h", "--out", "report.json"];
    let arguments: Vec<OsString> = arguments.iter().chain(&more).map(OsString::from).collect();
    let running = Process::start(
        app.dir.path(),
        &arguments,
        &[],
        &app.dir.path().join("canary.log"),
    );
    both_sessions_have_the_deposit(app).await;
    running
}

fn written_report(app: &TestApp) -> Value {
    let text = std::fs::read_to_string(app.dir.path().join("report.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

async fn an_interrupted_canary_withdraws_its_deposit(database: Database) {
    for signal in ["INT", "TERM"] {
        let app = TestApp::start(database).await;
        let mut running = started(&app).await;
        running.signal(signal);
        assert_eq!(running.wait(PATIENCE).await.code(), Some(1), "{signal}");
        let report = written_report(&app);
        assert_eq!(report["deviations"], json!(["interrupted"]), "{report}");
        let balance = app
            .backend(&format!("/internal/v1/users/{USER}/balance"))
            .await
            .ok();
        assert_eq!(
            (&balance["version"], &balance["balances"]["TON"]),
            (&json!(2), &json!("0.000000000"))
        );
    }
}

async fn a_canary_interrupted_twice_ends_and_names_its_deposit(database: Database) {
    let app = TestApp::start(database).await;
    let mut running = started(&app).await;
    // The service hangs, so the deposit can't be withdrawn.
    app.signal("STOP");
    let pid = running.pid();
    eventually("it gives up", async || {
        running.signal("INT");
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // An ended child remains as a zombie until its parent waits for it.
        stat.contains(") Z ").then_some(())
    })
    .await;
    assert_eq!(running.wait(PATIENCE).await.code(), Some(1));
    app.signal("CONT");
    let report = written_report(&app);
    let deposit = app.entries(USER).await.last().expect("the deposit")["event_id"].clone();
    let deposit = deposit.as_str().expect("a string").to_owned();
    let said = deviations(&report);
    assert!(
        said.contains(&format!(
            "left behind: 0.100000000 TON of deposit {deposit}"
        )),
        "{said}"
    );
    assert!(said.contains(&deposit.replace(":in", ":out")), "{said}");
}

async fn a_stopping_service_withdraws_its_canarys_deposit(database: Database) {
    let mut app = TestApp::on(database)
        .set("canary.every_s", 1)
        .set("canary.user_id", 900)
        .set("canary.watch_s", 3600)
        .start()
        .await;
    both_sessions_have_the_deposit(&app).await;
    assert_eq!(app.stop().await.code(), Some(0));
    let amounts: Vec<i64> = app
        .database
        .entries(None)
        .iter()
        .map(|entry| entry.amount)
        .collect();
    assert_eq!(amounts, [100_000_000, -100_000_000]);
    app.assert_ledger_holds();
}
