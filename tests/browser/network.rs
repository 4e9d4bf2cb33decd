//! Reloads, networks that go and come, pages that are left and come back, and a service that is started again.

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::Database;

in_a_browser![
    a_reload_shows_the_last_value_as_stale_and_then_live,
    deposits_while_offline_are_one_end_value_when_online,
    a_service_that_is_started_again_is_found_again,
    a_page_from_the_back_forward_cache_comes_up_to_date,
];

async fn a_reload_shows_the_last_value_as_stale_and_then_live() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "2.5").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "2.500000000").await;
    browser.client().refresh().await.expect("reloaded");
    browser.until_state("live").await;
    let states = browser.states().await;
    let at = |name: &str| states.iter().position(|state| state == name);
    assert!(
        at("connecting stale").is_some() && at("connecting stale") < at("live"),
        "{states:?}"
    );
    assert_eq!(browser.shown("TON").await, [25_000]);
    browser.close(false).await;
}

async fn deposits_while_offline_are_one_end_value_when_online() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.prefer(true, "light").await;
    browser.open(&app).await;
    browser.until_balance("TON", "1.000000000").await;
    browser.network(false).await;
    browser.until_state("offline stale").await;
    assert!(browser.text("#as-of").await.starts_with("as of "));
    browser.forget_shown().await;
    for n in 2..=4 {
        app.accepted("deposits", USER, &format!("d{n}"), "1").await;
    }
    browser.picture("offline").await;
    browser.network(true).await;
    browser.until_balance("TON", "4.000000000").await;
    browser.until_state("live").await;
    assert_eq!(browser.shown("TON").await, [40_000]);
    browser.close(true).await;
}

async fn a_service_that_is_started_again_is_found_again() {
    let mut app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "1.000000000").await;
    assert!(app.stop().await.success());
    browser.until_state("offline stale").await;
    app.start_again().await;
    browser.until_state("live").await;
    // And one that was killed.
    app.kill();
    browser.until_state("offline stale").await;
    app.start_again().await;
    app.accepted("deposits", USER, "d2", "0.5").await;
    browser.until_balance("TON", "1.500000000").await;
    let shown = browser.shown("TON").await;
    assert!(shown.is_sorted() && shown[0] == 10_000, "{shown:?}");
    browser.close(true).await;
}

async fn a_page_from_the_back_forward_cache_comes_up_to_date() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "1.000000000").await;
    browser
        .until("document.querySelectorAll('.entry').length === 1")
        .await;
    browser.goto("about:blank").await;
    app.accepted("deposits", USER, "d2", "0.5").await;
    browser.client().back().await.expect("back");
    browser.until("record.restored === 1").await;
    browser.until_balance("TON", "1.500000000").await;
    browser.until_state("live").await;
    let shown = browser.shown("TON").await;
    assert!(shown.is_sorted(), "{shown:?}");
    // It was put away as what it no longer is: known to be right.
    assert!(browser.states().await.contains(&"offline stale".to_owned()));
    browser.close(false).await;
}
