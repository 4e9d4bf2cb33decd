//! Several tabs of one user.

use std::time::Instant;

use fantoccini::wd::WindowHandle;

use crate::driver::{Browser, signal};
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::{Database, TestApp, eventually};

in_a_browser![
    two_tabs_have_one_socket_and_the_second_goes_on_when_the_first_is_closed,
    a_tab_whose_process_hangs_is_replaced_and_until_then_nothing_is_called_live,
    a_sign_out_in_one_tab_is_one_in_all,
];

/// Opens a second tab for the same user, and puts it in front. Answers with the first.
async fn second_tab(browser: &Browser, app: &TestApp) -> WindowHandle {
    let first = browser.client().window().await.expect("a tab");
    let second = browser
        .client()
        .new_window(true)
        .await
        .expect("another tab")
        .handle;
    browser
        .client()
        .switch_to_window(second)
        .await
        .expect("there");
    browser.prepare_tab().await;
    browser.open(app).await;
    first
}

async fn a_tab_whose_process_hangs_is_replaced_and_until_then_nothing_is_called_live() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    let leader = browser.renderer().await;
    let first = second_tab(&browser, &app).await;
    assert_ne!(browser.renderer().await, leader, "a process for each tab");
    assert_eq!(browser.value("record.sockets").await, 0);

    browser.forget_shown().await;
    signal(leader, "STOP");
    let began = Instant::now();
    browser
        .until("record.states.includes('connecting stale')")
        .await;
    println!(
        "stale {} ms after the leader's process was stopped",
        began.elapsed().as_millis()
    );
    browser
        .until("record.states.at(-1) === 'live' && record.sockets === 1")
        .await;
    println!("live again after {} ms", began.elapsed().as_millis());
    app.accepted("deposits", USER, "d2", "0.5").await;
    browser.until_balance("TON", "1.500000000").await;
    assert_eq!(browser.states().await, ["live", "connecting stale", "live"]);

    signal(leader, "CONT");
    browser
        .client()
        .switch_to_window(first)
        .await
        .expect("there");
    browser.until_balance("TON", "1.500000000").await;
    browser.until_state("live").await;
    eventually("one connection", async || {
        Some(app.metrics().await.value("balance_sessions")).filter(|open| *open == 1.0)
    })
    .await;
    browser.close(false).await;
}

async fn a_sign_out_in_one_tab_is_one_in_all() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser
        .until("document.querySelectorAll('.entry').length === 1")
        .await;
    let first = second_tab(&browser, &app).await;
    browser.click("#sign-out").await;
    browser.until_state("signedOut").await;
    browser
        .client()
        .switch_to_window(first)
        .await
        .expect("there");
    browser.until_state("signedOut").await;
    assert_eq!(browser.text("#balances").await, "—");
    assert_eq!(
        browser
            .value("document.querySelectorAll('.entry').length")
            .await,
        0
    );
    let stored =
        "Object.keys(localStorage).filter((key) => key.startsWith('balance-client')).length";
    assert_eq!(browser.value(stored).await, 0);
    browser.close(false).await;
}

async fn two_tabs_have_one_socket_and_the_second_goes_on_when_the_first_is_closed() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    let first = second_tab(&browser, &app).await;
    let second = browser.client().window().await.expect("a tab");
    browser.until_balance("TON", "1.000000000").await;
    assert_eq!(
        browser.value("record.sockets").await,
        0,
        "the second tab listens to the first"
    );
    assert_eq!(app.metrics().await.value("balance_sessions"), 1.0);

    app.accepted("deposits", USER, "d2", "0.5").await;
    browser.until_balance("TON", "1.500000000").await;
    browser
        .client()
        .switch_to_window(first)
        .await
        .expect("there");
    browser.until_balance("TON", "1.500000000").await;
    assert_eq!(browser.value("record.sockets").await, 1);

    browser.client().close_window().await.expect("closed");
    browser
        .client()
        .switch_to_window(second)
        .await
        .expect("there");
    browser
        .until("record.sockets === 1 && record.states.at(-1) === 'live'")
        .await;
    app.accepted("deposits", USER, "d3", "0.5").await;
    browser.until_balance("TON", "2.000000000").await;
    let shown = browser.shown("TON").await;
    assert!(shown.is_sorted(), "{shown:?}");
    browser.close(false).await;
}
