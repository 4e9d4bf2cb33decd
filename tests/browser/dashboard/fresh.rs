//! Old data looks old: the banner and the dimming on every view, with the service stopped and with the ledger locked; and the
//! search, which is on every view.

use serde_json::json;

use super::{USER, go, live_a_little, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;

in_a_browser![
    a_service_that_is_away_is_told_on_every_view_and_nothing_keeps_its_strength,
    a_ledger_that_is_locked_is_told_and_comes_back_by_itself,
    the_search_is_on_every_view,
];

/// What is shown in the view in sight at full strength.
const STRONG: &str = "[...document.querySelectorAll('.view:not([hidden]) :is(.tile, .chart, .panel:not(#find-user))')]\
    .filter((one) => one.offsetParent && getComputedStyle(one).opacity === '1').map((one) => one.className)";
const BANNER: &str = "document.getElementById('banner')";

async fn a_service_that_is_away_is_told_on_every_view_and_nothing_keeps_its_strength() {
    let mut app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('[data-tile=drift] .is-good') && document.querySelector('#charts .chart')")
        .await;
    browser.until(&format!("{BANNER}.hidden")).await;
    let good = "getComputedStyle(document.querySelector('[data-tile=drift] .is-good')).color";
    let text = "getComputedStyle(document.querySelector('[data-tile=uptime] p')).color";
    assert_ne!(browser.value(good).await, browser.value(text).await);
    go(&browser, &format!("#user/{USER}")).await;
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 2")
        .await;
    go(&browser, "#conflicts").await;
    browser.until("document.querySelector('.conflict')").await;
    app.stop().await;
    browser.until(&format!("!{BANNER}.hidden")).await;
    assert!(
        browser
            .text("#banner-text")
            .await
            .starts_with("No live data since")
    );
    for view in ["#conflicts", "#overview", "#canary"] {
        go(&browser, view).await;
        browser
            .until(&format!("!{BANNER}.hidden && ({STRONG}).length === 0"))
            .await;
    }
    go(&browser, "#overview").await;
    assert_eq!(browser.value(good).await, browser.value(text).await);
    let age =
        "getComputedStyle(document.querySelector('.tile'), '::after').content.includes('ago')";
    assert_eq!(browser.value(age).await, true);
    app.start_again().await;
    browser
        .until(&format!("{BANNER}.hidden && ({STRONG}).length > 10"))
        .await;
    browser.close(true).await;
}

async fn a_ledger_that_is_locked_is_told_and_comes_back_by_itself() {
    let app = slow().set("database.timeout_ms", 500).start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('[data-tile=drift] .is-good')")
        .await;
    let lock = app.database.lock_writes();
    // Reads still succeed, so writes have to keep failing.
    let reward = json!({"event_id": "r2", "user_id": USER, "currency": "TON", "amount": "1"});
    let writing = async {
        loop {
            app.post("rewards", reward.clone()).await;
        }
    };
    let told = format!(
        "!{BANNER}.hidden && document.getElementById('banner-text').textContent.startsWith('The ledger has not answered since') && \
         getComputedStyle(document.querySelector('[data-tile=drift]')).opacity !== '1' && \
         getComputedStyle(document.querySelector('[data-tile=uptime]')).opacity === '1'"
    );
    tokio::select! {
        () = writing => {}
        () = browser.until(&told) => {}
    }
    drop(lock);
    browser.until(&format!("{BANNER}.hidden")).await;
    browser.close(true).await;
}

async fn the_search_is_on_every_view() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    for view in ["#overview", "#user", "#conflicts", "#canary"] {
        go(&browser, view).await;
        browser
            .value("document.getElementById('find-text').value = 'd1'")
            .await;
        browser.click("#find-entry button").await;
        browser
            .until("document.getElementById('found').textContent.includes('In the ledger: d1')")
            .await;
        assert_eq!(browser.value("location.hash").await, "#find=d1");
    }
    browser.close(false).await;
}
