//! The overview as a whole: each figure, tile and point of a chart is made of what the API told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::figures::{all_in, differences, read, shows, shows_duration};
use super::{USER, live_a_little, sign_in};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::dev;
use crate::support::{ADMIN_TOKEN, Database, TestApp, eventually};

in_a_browser![every_figure_of_the_overview_is_what_the_api_told];

/// The snapshots of the stream by their times, as another listener hears them: all have the same.
struct Listener {
    heard: Arc<Mutex<BTreeMap<String, Value>>>,
    task: JoinHandle<()>,
}

impl Listener {
    fn start(app: &TestApp) -> Self {
        let heard = Arc::<Mutex<BTreeMap<String, Value>>>::default();
        let (kept, http, url) = (
            heard.clone(),
            app.http.clone(),
            format!("http://{}/admin/v1/live?snapshots=30", app.internal),
        );
        let task = tokio::spawn(async move {
            loop {
                let mut stream = http
                    .get(&url)
                    .bearer_auth(ADMIN_TOKEN)
                    .send()
                    .await
                    .expect("an answer");
                let mut text = String::new();
                while let Ok(Some(chunk)) = stream.chunk().await {
                    text.push_str(std::str::from_utf8(&chunk).expect("whole characters"));
                    while let Some((event, rest)) = text.split_once("\n\n") {
                        let data = event
                            .strip_prefix("event: snapshot\ndata: ")
                            .expect("a snapshot");
                        let snapshot: Value = serde_json::from_str(data).expect("JSON");
                        let at = snapshot["at"].as_str().expect("a time").to_owned();
                        kept.lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .insert(at, snapshot);
                        text = rest.to_owned();
                    }
                }
            }
        });
        Self { heard, task }
    }

    fn all(&self) -> BTreeMap<String, Value> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All that the overview shows, at one moment; a chart's points with the times that they are at.
fn seen() -> String {
    format!(
        "(() => ({{ at: document.getElementById('view-overview').dataset.at, figures: {}, \
           tiles: Object.fromEntries([...document.querySelectorAll('.tile')].map((one) => [one.dataset.tile, one.querySelector('p').textContent])), \
           lately: document.querySelector('[data-tile=hitRatio] small').textContent, \
           charts: [...document.querySelectorAll('#charts .chart-body')].map(({{ chart }}) => chart.data), \
           legends: [...document.querySelectorAll('#charts .chart-body')].map((one) => \
             [...one.querySelectorAll('.u-legend .u-series:not(:first-child) .u-value')].map((value) => value.textContent)) }}))()",
        all_in("#view-overview")
    )
}

const KINDS: [&str; 5] = ["deposit", "reward", "withdrawal", "adjustment", "reversal"];
const FAILURES: [&str; 3] = ["webhook_rejected", "ws_rejected", "ledger"];

async fn every_figure_of_the_overview_is_what_the_api_told() {
    let app = dev(Database::Sqlite)
        .set("pacing.direct_interval_ms", 0)
        .set("canary.every_s", 1)
        .set("canary.user_id", 900)
        .set("canary.watch_s", 0)
        .start()
        .await;
    let (mut ws, _) = app.session(USER).await;
    live_a_little(&app).await;
    let listener = Listener::start(&app);
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    for n in 0..12 {
        let answer = app.accepted("deposits", USER, &format!("n{n}"), "1").await;
        ws.next_frame("balance_update").await;
        ws.send_json(json!({"type": "displayed", "version": answer["version"]}))
            .await;
        // Some in each second for some seconds, whatever the seconds are.
        let length = browser
            .value("document.querySelector('#charts .chart-body').chart.data[0].length")
            .await;
        if n % 3 == 0 {
            let next = format!(
                "document.querySelector('#charts .chart-body').chart.data[0].length > {length}"
            );
            browser.until(&next).await;
        }
    }
    browser
        .until("document.querySelector('[data-tile=latestCanary] time') !== null")
        .await;
    browser
        .until("document.querySelector('[data-tile=displayedP99] p').textContent !== '–'")
        .await;
    let (page, told, times) = eventually("both have heard of the same", async || {
        let page = browser.value(&seen()).await;
        let told = listener.all();
        if !told.contains_key(page["at"].as_str()?) {
            return None;
        }
        let times = times_of(&browser, &told).await;
        let both = |pair: &[Value]| pair.iter().all(|at| times.contains(&at.to_string()));
        let pairs = page["charts"][0][0].as_array()?.windows(2);
        (pairs.filter(|pair| both(pair)).count() >= 2).then_some((page, told, times))
    })
    .await;
    let now = &told[page["at"].as_str().expect("a time")];
    let figures = read(&page["figures"]);
    assert_eq!(differences(&figures, now), Vec::<String>::new());
    assert_complete(
        &figures
            .iter()
            .map(|figure| figure.path.as_str())
            .collect::<Vec<_>>(),
    );

    let by_time: BTreeMap<String, &Value> = times.into_iter().zip(told.values()).collect();
    assert_charts(&page, &by_time);
    assert_tiles(&page, &by_time, now);
    assert_eq!(browser.value("record.errors").await, json!([]));
    drop(listener);
    browser.close(false).await;
}

/// The times of snapshots, as charts have them.
async fn times_of(browser: &Browser, told: &BTreeMap<String, Value>) -> Vec<String> {
    let at: Vec<&String> = told.keys().collect();
    let parsed = browser
        .value(&format!("{}.map((at) => Date.parse(at) / 1000)", json!(at)))
        .await;
    let times = parsed.as_array().expect("a list").iter();
    times.map(Value::to_string).collect()
}

/// Nothing of these is left out.
fn assert_complete(paths: &[&str]) {
    let mut wanted: Vec<String> = [
        "sessions",
        "actors",
        "actors_with_sessions",
        "cache_hit_ratio",
        "queue_single",
        "queue_bulk",
        "uptime_s",
    ]
    .map(|name| format!("registry.{name}"))
    .into();
    wanted.extend(
        [
            "counters.sessions_limit",
            "counters.drift",
            "counters.last_entry_at_s.deposit",
        ]
        .map(str::to_owned),
    );
    wanted.extend(
        ["insufficient_funds", "idempotency_conflict"]
            .map(|code| format!("counters.errors.webhook_rejected.{code}")),
    );
    wanted.extend(
        ["users_per_s", "users_total", "violations_total"].map(|name| format!("audit.{name}")),
    );
    for kind in KINDS {
        wanted.extend(
            ["accepted", "duplicate", "rejected"]
                .map(|outcome| format!("counters.entries.{kind}.{outcome}")),
        );
    }
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|path| !paths.contains(&path.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {paths:?}");
}

type ByTime<'a> = BTreeMap<String, &'a Value>;

/// A number of a snapshot; what never happened is 0.
fn number(snapshot: &Value, path: &str) -> f64 {
    super::figures::at(snapshot, path).as_f64().unwrap_or(0.0)
}

fn failures(snapshot: &Value, place: &str) -> f64 {
    let codes = snapshot["counters"]["errors"][place]
        .as_object()
        .expect("by code");
    codes.values().filter_map(Value::as_f64).sum()
}

/// Every line of every chart, at each time of which the listener has heard with the one before.
fn assert_charts(page: &Value, by_time: &ByTime<'_>) {
    let charts = page["charts"].as_array().expect("a list");
    assert_eq!(charts.len(), 10);
    let rate = |path: String| {
        move |old: &Value, new: &Value, s: f64| Some((number(new, &path) - number(old, &path)) / s)
    };
    let level = |path: &'static str| move |_: &Value, new: &Value, _: f64| Some(number(new, path));
    let time = |name: &'static str, part: f64| {
        move |old: &Value, new: &Value, _: f64| quantile(part, &buckets(old, new, name), new, name)
    };
    let mut compared = 0;
    let mut line = |chart: usize, row: usize, of: &dyn Fn(&Value, &Value, f64) -> Option<f64>| {
        let (times, values) = (
            charts[chart][0].as_array().expect("times"),
            &charts[chart][row + 1],
        );
        for index in 1..times.len() {
            let pair = (
                by_time.get(&times[index - 1].to_string()),
                by_time.get(&times[index].to_string()),
            );
            let (Some(old), Some(new)) = pair else {
                continue;
            };
            let passed =
                times[index].as_f64().expect("a time") - times[index - 1].as_f64().expect("a time");
            let expected = if passed > 12.0 && chart < 8 {
                None
            } else {
                of(old, new, passed)
            };
            let same = match (values[index].as_f64(), expected) {
                (Some(shown), Some(expected)) => {
                    (shown - expected).abs() < 1e-9 * expected.abs().max(1.0)
                }
                (shown, expected) => shown.is_none() && expected.is_none(),
            };
            assert!(
                same,
                "chart {chart}, line {row}, {index}: {} instead of {expected:?}",
                values[index]
            );
            compared += 1;
        }
        let legend = page["legends"][chart][row]
            .as_str()
            .expect("words")
            .replace('\u{a0}', " ");
        let last = values
            .as_array()
            .expect("values")
            .last()
            .and_then(Value::as_f64);
        assert!(
            last.map_or(legend == "–", |last| shows(
                &legend,
                last,
                if last < 10.0 { 0.005 } else { 0.5 }
            ) || shows_duration(
                &legend,
                last * 1000.0
            )),
            "{legend}, {last:?}"
        );
    };
    for (row, kind) in KINDS.iter().enumerate() {
        line(0, row, &rate(format!("counters.entries.{kind}.accepted")));
    }
    line(1, 0, &rate("registry.pushes_direct".into()));
    line(1, 1, &rate("registry.pushes_paced".into()));
    for (chart, name) in [
        (2, "commit"),
        (4, "commit_to_displayed"),
        (6, "commit_to_push"),
    ] {
        line(chart, 0, &time(name, 0.5));
        line(chart, 1, &time(name, 0.99));
    }
    for (row, place) in FAILURES.into_iter().enumerate() {
        line(7, row, &move |old, new, s| {
            Some((failures(new, place) - failures(old, place)) / s)
        });
    }
    line(8, 0, &level("registry.queue_single"));
    line(8, 1, &level("registry.queue_bulk"));
    line(9, 0, &level("registry.sessions"));
    line(9, 1, &level("registry.actors"));
    assert!(compared >= 2 * 19, "{compared}");
}

/// The tiles that no single value of the API is in.
fn assert_tiles(page: &Value, by_time: &ByTime<'_>, now: &Value) {
    let times = page["charts"][0][0].as_array().expect("times");
    let latest = times.last().expect("one").as_f64().expect("a time");
    let first = times
        .iter()
        .find(|at| at.as_f64().expect("a time") >= latest - 60.0)
        .expect("one");
    // The page may have heard of one before the listener.
    let Some(old) = by_time.get(&first.to_string()) else {
        return;
    };
    let tile = |name: &str| {
        page["tiles"][name]
            .as_str()
            .expect(name)
            .replace('\u{a0}', " ")
    };
    let failed: f64 = FAILURES
        .into_iter()
        .map(|place| failures(now, place) - failures(old, place))
        .sum();
    assert!(
        shows(&tile("errorsLately"), failed, 0.0),
        "{} {failed}",
        tile("errorsLately")
    );
    for (name, histogram) in [
        ("commitP99", "commit"),
        ("displayedP99", "commit_to_displayed"),
    ] {
        let p99 =
            quantile(0.99, &buckets(old, now, histogram), now, histogram).expect("some came in");
        assert!(
            shows_duration(&tile(name), p99 * 1000.0),
            "{} {p99}",
            tile(name)
        );
    }
    let grown = |name: &str| {
        number(now, &format!("registry.{name}")) - number(old, &format!("registry.{name}"))
    };
    let (hits, misses) = (grown("cache_hits"), grown("cache_misses"));
    let lately = page["lately"]
        .as_str()
        .expect("words")
        .replace('\u{a0}', " ");
    let ratio = lately
        .strip_prefix("last minute: ")
        .expect("words")
        .trim_end_matches(" %");
    let is_right = if hits + misses > 0.0 {
        shows(ratio, 100.0 * hits / (hits + misses), 0.05)
    } else {
        ratio == "–"
    };
    assert!(is_right, "{lately}, {hits}, {misses}");
    let canary = &now["canary"]["latest"]["ok"];
    assert_eq!(
        tile("latestCanary"),
        if *canary == true {
            "all well"
        } else {
            "deviated"
        }
    );
}

/// How many came into each bucket between two snapshots, of both modes when there are two.
fn buckets(old: &Value, new: &Value, name: &str) -> Vec<f64> {
    let of = |snapshot: &Value| {
        let histogram = &snapshot["counters"][name];
        let parts = if histogram["count"].is_null() {
            vec![&histogram["direct"], &histogram["paced"]]
        } else {
            vec![histogram]
        };
        let all = parts.iter().map(|part| {
            let below = part["at_most"]
                .as_array()
                .expect("a list")
                .iter()
                .chain([&part["count"]]);
            below
                .map(|count| count.as_f64().expect("a count"))
                .collect::<Vec<_>>()
        });
        all.reduce(|a, b| a.iter().zip(b).map(|(a, b)| a + b).collect())
            .expect("one part")
    };
    let grown: Vec<f64> = of(new)
        .iter()
        .zip(of(old))
        .map(|(new, old)| new - old)
        .collect();
    (0..grown.len())
        .map(|index| grown[index] - index.checked_sub(1).map_or(0.0, |before| grown[before]))
        .collect()
}

/// As Prometheus' `histogram_quantile` does it.
fn quantile(part: f64, counts: &[f64], snapshot: &Value, name: &str) -> Option<f64> {
    let histogram = &snapshot["counters"][name];
    let bounds = if histogram["count"].is_null() {
        &histogram["direct"]["le_s"]
    } else {
        &histogram["le_s"]
    };
    let bounds: Vec<f64> = bounds
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    let rank = part * counts.iter().sum::<f64>();
    let mut below = 0.0;
    for (index, count) in counts.iter().enumerate().take(bounds.len()) {
        if *count > 0.0 && below + count >= rank {
            let from = index.checked_sub(1).map_or(0.0, |before| bounds[before]);
            return Some(from + (bounds[index] - from) * (rank - below) / count);
        }
        below += count;
    }
    (counts.iter().sum::<f64>() > 0.0).then(|| *bounds.last().expect("some"))
}
