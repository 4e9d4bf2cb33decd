//! Several tabs of one user.

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::Database;

in_a_browser![two_tabs_have_one_socket_and_the_second_goes_on_when_the_first_is_closed];

async fn two_tabs_have_one_socket_and_the_second_goes_on_when_the_first_is_closed() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    let first = browser.client().window().await.expect("a tab");
    let second = browser
        .client()
        .new_window(true)
        .await
        .expect("another tab")
        .handle;
    browser
        .client()
        .switch_to_window(second.clone())
        .await
        .expect("there");
    browser.prepare_tab().await;
    browser.open(&app).await;
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
