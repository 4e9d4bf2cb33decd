//! The controlled test with a browser: what is painted is timed and compared, and nothing of the browser is left.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::in_a_browser;
use crate::support::{Database, TestApp, eventually, run_program};

in_a_browser![
    a_page_in_a_browser_is_timed_until_it_is_painted_and_nothing_of_it_is_left,
    a_session_that_is_sent_away_for_the_page_is_told_and_the_deposit_taken_back,
];

/// Runs the canary with a browser whose profile is below `dir`; answers its exit code and its report.
fn canary(app: &TestApp, dir: &Path, url: &str) -> (Option<i32>, Value) {
    let internal_url = format!("http://{}", app.internal);
    let arguments = [
        "canary",
        "--config",
        "config.toml",
        "--user",
        "900",
        "--watch",
        "2s",
        "--browser",
        "--url",
        url,
    ];
    let more = [
        "--internal-url",
        &internal_url,
        "--out",
        "report.json",
        "--out",
        "report.md",
    ];
    let variables = [("TMPDIR".to_owned(), dir.to_str().expect("UTF-8").to_owned())];
    let output = run_program(
        app.dir.path(),
        &[&arguments[..], &more].concat(),
        &variables,
        b"",
    );
    let text = fs::read_to_string(app.dir.path().join("report.json"));
    let text =
        text.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (
        output.status.code(),
        serde_json::from_str(&text).expect("JSON"),
    )
}

fn processes_with(dir: &Path) -> usize {
    let name = dir.to_string_lossy();
    let lines = fs::read_dir("/proc")
        .expect("a directory")
        .flatten()
        .map(|entry| fs::read(entry.path().join("cmdline")));
    lines
        .flatten()
        .filter(|line| String::from_utf8_lossy(line).contains(&*name))
        .count()
}

async fn assert_nothing_is_left(dir: &Path) {
    eventually("the browser is gone", async || {
        (processes_with(dir) == 0).then_some(())
    })
    .await;
    let left: Vec<_> = fs::read_dir(dir)
        .expect("a directory")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

async fn a_page_in_a_browser_is_timed_until_it_is_painted_and_nothing_of_it_is_left() {
    // As in production: no demo page, and no origin beside the service's own.
    let app = TestApp::start(Database::Sqlite).await;
    app.accepted("rewards", 900, "before", "2.5").await;
    let dir = tempfile::tempdir().expect("a directory");
    let (code, report) = canary(&app, dir.path(), &format!("http://{}", app.public));
    assert_eq!(
        (code, &report["ok"], &report["deviations"]),
        (Some(0), &json!(true), &json!([])),
        "{report}"
    );
    let steps = report["steps"].as_array().expect("a list");
    let step = |name: &str| {
        steps
            .iter()
            .find(|step| step["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {report}"))
    };
    for name in ["browser → painted", "webhook → painted", "reload → painted"] {
        assert!(
            step(name)["ms"].as_f64().is_some_and(|ms| ms > 0.0),
            "{report}"
        );
    }
    assert_eq!(report["painted_ms"], step("webhook → painted")["ms"]);
    assert!(
        step("webhook → painted")["seen"]
            .as_str()
            .is_some_and(|seen| seen.contains("version 2")),
        "{report}"
    );
    let page = fs::read_to_string(app.dir.path().join("report.md")).expect("a page");
    assert!(page.contains("| webhook → painted |"), "{page}");
    // The page told the service, too, as every page with the library does.
    let metrics = app.metrics().await;
    assert!(metrics.value("balance_commit_to_displayed_seconds_count{mode=\"direct\"}") >= 1.0);
    assert_nothing_is_left(dir.path()).await;
}

async fn a_session_that_is_sent_away_for_the_page_is_told_and_the_deposit_taken_back() {
    let app = TestApp::on(Database::Sqlite)
        .set("limits.sessions_per_user", 2)
        .start()
        .await;
    let dir = tempfile::tempdir().expect("a directory");
    // The page is the third session of two: the first one is sent away, which the canary has to see.
    let (code, report) = canary(&app, dir.path(), &format!("http://{}", app.public));
    assert_eq!((code, &report["ok"]), (Some(1), &json!(false)), "{report}");
    assert!(
        report["deviations"]
            .to_string()
            .contains("session 1: closed by the other side"),
        "{report}"
    );
    let balance = app.backend("/internal/v1/users/900/balance").await.ok();
    assert_eq!(
        balance["balances"]["TON"], "0.000000000",
        "what was deposited is taken back"
    );
    assert_nothing_is_left(dir.path()).await;
}
