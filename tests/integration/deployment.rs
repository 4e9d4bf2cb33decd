//! Alert rules and dashboard use only existing metrics.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Database, Scrape, TestApp, eventually, on_sqlite};

on_sqlite![
    rules_and_dashboard_ask_only_for_metrics_that_are_there,
    rules_and_dashboard_ask_only_for_labels_that_are_there,
    promtool_accepts_the_metrics,
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/balance-coordinator.json")).expect("JSON")
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .filter(|panel| panel["type"] != "row")
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_metric = |word: &&str| {
        ["balance_", "http_", "process_", "log_"]
            .iter()
            .any(|prefix| word.starts_with(prefix))
            && word.len() > 8
    };
    words.filter(is_metric).map(str::to_owned).collect()
}

async fn scrape(database: Database) -> (TestApp, Scrape) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let scrape = app.metrics().await;
    (app, scrape)
}

async fn rules_and_dashboard_ask_only_for_metrics_that_are_there(database: Database) {
    let (_app, scrape) = scrape(database).await;
    let bases = |name: &str| {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        base.filter(|base| {
            scrape
                .types
                .get(*base)
                .is_some_and(|kind| kind == "histogram")
        })
        .unwrap_or(name)
        .to_owned()
    };
    let dashboard = dashboard();
    let exprs: Vec<&str> = panels(&dashboard)
        .flat_map(|panel| panel["targets"].as_array().expect("targets"))
        .map(|target| target["expr"].as_str().expect("an expression"))
        .collect();
    let on_dashboard: BTreeSet<String> = named(&exprs.join(" "))
        .iter()
        .map(|name| bases(name))
        .collect();
    let in_rules = named(&read("deploy/prometheus/alerts.yaml"));
    assert!(
        in_rules.len() > 10 && in_rules.contains("balance_sessions_limit"),
        "{in_rules:?}"
    );
    for name in in_rules
        .iter()
        .map(|name| bases(name))
        .chain(on_dashboard.clone())
    {
        assert!(scrape.types.contains_key(&name), "there is no {name}");
    }
    for name in scrape
        .types
        .keys()
        .filter(|name| name.starts_with("balance_"))
    {
        assert!(
            on_dashboard.contains(name),
            "the dashboard does not show {name}"
        );
    }
    let documented = named(&read("docs/metrics.md"));
    for name in scrape.types.keys() {
        assert!(
            documented.contains(name),
            "docs/metrics.md does not explain {name}"
        );
    }
}

/// The labels that an expression selects of a metric: `name{label="value"}`.
fn selected(expr: &str) -> Vec<(String, String)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in expr.match_indices('{') {
        let name = expr[..at].rsplit(|c| !word(c)).next().expect("a part");
        let inside = expr[at + 1..].split('}').next().expect("a part");
        // Our label values contain no comma and no equals sign.
        let labels = inside
            .split(',')
            .map(|matcher| matcher.trim().split(['=', '!']).next().expect("a part"));
        found.extend(labels.map(|label| (name.to_owned(), label.trim().to_owned())));
    }
    found
}

/// The labels that an expression groups or joins by.
fn grouped(expr: &str) -> Vec<String> {
    let lists = ["by (", "on ("]
        .iter()
        .flat_map(|word| expr.split(word).skip(1));
    let labels = lists.flat_map(|rest| rest.split(')').next().expect("a part").split(','));
    labels
        .map(|label| label.trim().to_owned())
        .filter(|label| !label.is_empty())
        .collect()
}

async fn rules_and_dashboard_ask_only_for_labels_that_are_there(database: Database) {
    let (app, _) = scrape(database).await;
    // Series with a label per failure are missing until the first failure.
    let unsigned = app
        .http
        .post(format!("http://{}/internal/v1/deposits", app.internal))
        .send()
        .await;
    assert_eq!(unsigned.expect("an answer").status(), 401);
    let without_token = app
        .http
        .get(format!("http://{}/admin/v1/registry", app.internal))
        .send()
        .await;
    assert_eq!(without_token.expect("an answer").status(), 401);
    drop(app.session(1).await);
    let foreign = app
        .http
        .get(format!("http://{}/ws", app.public))
        .header("origin", "http://elsewhere.example");
    assert_eq!(foreign.send().await.expect("an answer").status(), 403);
    let scrape = eventually("the session is closed", async || {
        let scrape = app.metrics().await;
        (scrape.series("balance_sessions_closed_total").count() > 0).then_some(scrape)
    })
    .await;
    let labels_of = |name: &str| -> BTreeSet<String> {
        let of_prometheus = ["instance", "job"].map(str::to_owned);
        let series = scrape
            .samples
            .keys()
            .filter(|series| series.split('{').next() == Some(name));
        let own = series
            .flat_map(|series| selected(series))
            .map(|(_, label)| label);
        own.chain(of_prometheus).collect()
    };
    let dashboard = dashboard();
    let targets =
        panels(&dashboard).flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let mut asked: Vec<(String, Vec<String>)> = Vec::new();
    for target in targets {
        let legend = target["legendFormat"].as_str().unwrap_or_default();
        let shown = legend
            .split("{{")
            .skip(1)
            .map(|rest| rest.split("}}").next().expect("a part").trim().to_owned());
        asked.push((
            target["expr"].as_str().expect("an expression").to_owned(),
            shown.collect(),
        ));
    }
    let rules = read("deploy/prometheus/alerts.yaml");
    let rules = rules
        .split("expr: ")
        .skip(1)
        .map(|rest| rest.split("labels: {").next().expect("a part").to_owned());
    asked.extend(rules.map(|expr| (expr, Vec::new())));
    assert!(asked.len() > 40, "{}", asked.len());
    // The watcher's metrics are its own: see tests/watcher/people.rs.
    asked.retain(|(expr, _)| !expr.contains("ton_watcher_"));
    for (expr, shown) in asked {
        for (name, label) in selected(&expr) {
            assert!(
                labels_of(&name).contains(&label),
                "{name} has no label {label}: {expr}"
            );
        }
        let metrics = named(&expr);
        for label in grouped(&expr).into_iter().chain(shown) {
            assert!(
                metrics.iter().any(|name| labels_of(name).contains(&label)),
                "nothing has a label {label}: {expr}"
            );
        }
    }
}

async fn promtool_accepts_the_metrics(database: Database) {
    let (app, _) = scrape(database).await;
    let text = app.metrics_answer(None).await.text;
    let mut command = Command::new("promtool");
    command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        // Written past the test runner's capture, so that the skip is visible.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: needs promtool (Debian's package prometheus)"
        );
        return;
    };
    promtool
        .stdin
        .take()
        .expect("piped")
        .write_all(text.as_bytes())
        .expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn every_alert_is_in_the_operations_document() {
    let (rules, told) = (
        read("deploy/prometheus/alerts.yaml"),
        read("docs/operations.md"),
    );
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(
            told.contains(&format!("`{alert}`")),
            "docs/operations.md says nothing of {alert}"
        );
    }
}

#[test]
fn the_dashboard_can_be_loaded() {
    let dashboard = dashboard();
    assert!(
        dashboard["schemaVersion"]
            .as_i64()
            .is_some_and(|version| version >= 36)
    );
    assert!(dashboard["id"].is_null(), "Grafana gives the number");
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .expect("variables")
        .iter()
        .map(|variable| variable["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(variables, ["datasource", "instance"]);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_i64().expect("an id")), "{panel}");
        assert!(
            panel["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty()),
            "{panel}"
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "two panels at one place: {panel}");
            }
        }
    }
    for panel in panels(&dashboard) {
        let targets = panel["targets"].as_array().expect("targets");
        let refs: BTreeSet<&str> = targets
            .iter()
            .map(|target| target["refId"].as_str().expect("an id"))
            .collect();
        assert!(
            !targets.is_empty() && refs.len() == targets.len(),
            "{panel}"
        );
        assert!(targets.iter().all(|target| {
            target["expr"]
                .as_str()
                // A watcher is another instance.
                .is_some_and(|expr| expr.contains("$instance") || expr.contains("ton_watcher_"))
        }));
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
    }
}

#[test]
fn a_reload_of_a_unit_is_a_hangup() {
    for unit in ["balance-coordinator", "balance-watcher"] {
        let unit = read(&format!("deploy/systemd/{unit}.service"));
        let reload = "ExecReload=/bin/kill -HUP $MAINPID";
        assert!(unit.lines().any(|line| line == reload), "{unit}");
    }
}
