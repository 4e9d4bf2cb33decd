//! Many changes at once: the page is painted at the pace of the pushes, and never flickers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::{Database, TestApp};

/// Least time between two paced pushes.
const INTERVAL_MS: u64 = 400;

in_a_browser![
    fifty_rewards_in_a_second_repaint_the_page_no_more_often_than_they_are_pushed,
    fifty_rewards_in_a_second_never_make_the_number_flicker,
];

/// Fifty rewards, one each 20 ms, and how long all of them took.
async fn fifty_rewards(app: &TestApp) -> Duration {
    let start = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for n in 1..=50 {
        tick.tick().await;
        let reward = json!({"event_id": format!("t{n}"), "user_id": USER, "currency": "UNI", "amount": "0.5"});
        app.post("rewards", reward).await.ok();
    }
    start.elapsed()
}

async fn paced() -> TestApp {
    let app = dev(Database::Sqlite)
        .set("pacing.min_interval_ms", INTERVAL_MS as i64)
        .set("pacing.debounce_ms", 100);
    app.start().await
}

async fn fifty_rewards_in_a_second_repaint_the_page_no_more_often_than_they_are_pushed() {
    let app = paced().await;
    let browser = Browser::start().await;
    browser.prefer(true, "light").await;
    browser.open(&app).await;
    browser.until_balance("UNI", "0.000000000").await;
    browser.forget_shown().await;
    let took = fifty_rewards(&app).await;
    browser.until_balance("UNI", "25.000000000").await;
    let repaints = browser.shown("UNI").await;
    let pushes = browser
        .value("record.frames.filter(({ frame }) => frame.type === 'balance_update').length")
        .await;
    let pushes = pushes.as_u64().expect("a count");
    // A busy machine takes longer for them, and then more may be due.
    let paced_max = took.as_millis() as u64 / INTERVAL_MS + 2;
    println!(
        "50 rewards in {took:.1?}: {pushes} pushes, {} repaints",
        repaints.len()
    );
    assert!(pushes <= paced_max, "{pushes} pushes in {took:?}");
    assert!(
        repaints.len() as u64 <= pushes,
        "{repaints:?}, {pushes} pushes"
    );
    assert!(repaints.is_sorted(), "{repaints:?}");
    browser.close(false).await;
}

async fn fifty_rewards_in_a_second_never_make_the_number_flicker() {
    let app = paced().await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("UNI", "0.000000000").await;
    browser.forget_shown().await;
    fifty_rewards(&app).await;
    browser.until_balance("UNI", "25.000000000").await;
    let shown = browser.shown("UNI").await;
    assert!(
        shown.is_sorted() && shown.last() == Some(&250_000),
        "{shown:?}"
    );
    assert_eq!(browser.states().await, ["live"]);
    // The other number did not move at all.
    assert_eq!(browser.shown("TON").await, [] as [i64; 0]);
    browser.close(false).await;
}
