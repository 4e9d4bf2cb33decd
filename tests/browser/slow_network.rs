//! How long a page takes to its first balance on a slow network, with a cold cache. A bench: it prints, and no run of the
//! tests starts it.
//!
//! `cargo test --test browser first_balance -- --ignored --nocapture`. The network is that of DevTools' preset
//! "Slow 3G": 400 kbit/s in each direction, and 2,000 ms before each answer. Chromium imitates it itself, so a
//! name, a TCP connection and TLS cost nothing here, and a busy machine adds little.

use serde_json::{Value, json};

use crate::driver::Browser;
use crate::page::{USER, dev};
use crate::site::Site;
use crate::support::Database;

/// As in DevTools: 400 ms, and five times that for each request.
const LATENCY_MS: u32 = 2_000;
/// 400 kbit/s.
const BYTES_PER_S: u32 = 50_000;
/// The median of so many runs counts.
const RUNS: usize = 5;
/// The longest that the median may be.
const GOAL_MS: i64 = 6_000;

/// When the parts of a page's start were there, in milliseconds since it was asked for.
const PARTS: &str = "(() => {
    const parts = [];
    const tell = (what, beganMs, endedMs, bytes) => parts.push({ what, beganMs: Math.round(beganMs), endedMs: Math.round(endedMs), bytes });
    const [page] = performance.getEntriesByType('navigation');
    tell('page', page.requestStart, page.responseEnd, page.transferSize);
    for (const one of performance.getEntriesByType('resource')) {
        tell(new URL(one.name).pathname, one.startTime, one.responseEnd, one.transferSize);
    }
    const since = (atMs) => atMs - performance.timeOrigin;
    for (const { begunMs, openMs } of record.opened) tell('socket', since(begunMs), since(openMs));
    for (const { from, atMs, frame } of record.frames) tell(`${from}: ${frame.type}`, since(atMs), since(atMs));
    tell('balance painted', since(record.first.paintedMs), since(record.first.paintedMs));
    return parts.filter(({ beganMs }) => beganMs <= Math.round(since(record.first.paintedMs))).sort((a, b) => a.beganMs - b.beganMs);
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a bench, not a test"]
async fn first_balance_on_slow_3g() {
    if !Browser::is_there() {
        return;
    }
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let demo = format!("http://{}/?user={USER}", app.public);
    measure("the demo page", &demo).await;
    for (name, has_head) in [("of docs/browser.md", true), ("without its head", false)] {
        let site = Site::documented(&app, has_head).await;
        measure(&format!("the plain page {name}"), &site.origin).await;
    }
}

/// Measures one page, and prints the parts of its first run.
async fn measure(name: &str, url: &str) {
    println!("{name}:");
    let mut first_ms = Vec::new();
    for run in 0..RUNS {
        let parts = started(url).await;
        if run == 0 {
            parts.iter().for_each(|part| println!("  {}", told(part)));
        }
        let last = parts.last().expect("the painting");
        first_ms.push(last["endedMs"].as_i64().expect("a number"));
    }
    first_ms.sort_unstable();
    let median = first_ms[RUNS / 2];
    println!("  first balance after {median} ms, median of {first_ms:?}; the goal is {GOAL_MS} ms");
}

fn told(part: &Value) -> String {
    let what = part["what"].as_str().expect("a text");
    let size = part["bytes"].as_u64().filter(|bytes| *bytes > 0);
    let size = size.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
    format!(
        "{:>5} to {:>5} ms: {what}{size}",
        part["beganMs"], part["endedMs"]
    )
}

/// Opens a page with an empty cache and answers with its parts, the painted balance last.
async fn started(url: &str) -> Vec<Value> {
    let browser = Browser::start().await;
    let conditions = json!({
        "offline": false, "latency": LATENCY_MS, "downloadThroughput": BYTES_PER_S, "uploadThroughput": BYTES_PER_S,
    });
    browser.devtools("Network.enable", json!({})).await;
    browser
        .devtools("Network.emulateNetworkConditions", conditions)
        .await;
    browser.goto(url).await;
    browser.until("record.first?.paintedMs").await;
    let parts = browser.value(PARTS).await;
    browser.close(true).await;
    parts.as_array().expect("a list").clone()
}
