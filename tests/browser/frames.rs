//! What goes over the socket of a real page is what docs/asyncapi.yaml describes.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::driver::{Browser, artefacts, npm_packages};
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::Database;

in_a_browser![the_frames_of_a_live_page_are_as_described];

async fn the_frames_of_a_live_page_are_as_described() {
    let Some(packages) = npm_packages() else {
        return;
    };
    let app = dev(Database::Sqlite)
        .set("pacing.debounce_ms", 50)
        .start()
        .await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "0.000000000").await;
    app.accepted("deposits", USER, "d1", "1").await;
    browser.until_balance("TON", "1.000000000").await;
    let reward = json!({"event_id": "t1", "user_id": USER, "currency": "UNI", "amount": "2.5", "source": "farming"});
    app.post("rewards", reward).await.ok();
    browser.until_balance("UNI", "2.500000000").await;
    browser.click("#refresh").await;
    browser
        .until("record.frames.some(({ frame }) => frame.reason === 'refresh')")
        .await;
    // A page that is shown again asks whether its connection lives.
    browser
        .value("document.dispatchEvent(new Event('visibilitychange'))")
        .await;
    browser
        .until("record.frames.some(({ frame }) => frame.type === 'pong')")
        .await;
    browser
        .until(
            "record.frames.some(({ frame }) => frame.type === 'displayed' && frame.version === 2)",
        )
        .await;

    let frames = browser.value("record.frames").await;
    let lines: Vec<String> = frames
        .as_array()
        .expect("a list")
        .iter()
        .map(ToString::to_string)
        .collect();
    let path = artefacts().join("frames.jsonl");
    std::fs::write(&path, lines.join("\n") + "\n").expect("written");
    check(&packages, &path);
    browser.close(false).await;
}

fn check(packages: &Path, frames: &Path) {
    let folder = packages.parent().expect("a folder");
    let mut node = Command::new("node");
    node.args(["--test", "unit/asyncapi.test.mjs"])
        .current_dir(folder)
        .env("BALANCE_TEST_FRAMES", frames);
    let output = node.output().expect("node runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
