//! The events of the process: chosen by kind and user, followed, and held still.

use serde_json::{Value, json};

use super::{USER, go, live_a_little, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;

in_a_browser![events_are_followed_chosen_and_held_still];

/// What stands in a column of the list, from above.
async fn column(browser: &Browser, index: usize) -> Value {
    let cells = format!(
        "[...document.querySelectorAll('#event-list tbody tr')].map((row) => row.cells[{index}].textContent)"
    );
    browser.value(&cells).await
}

async fn until_rows(browser: &Browser, count: usize) {
    browser
        .until(&format!(
            "document.querySelectorAll('#event-list tbody tr').length === {count}"
        ))
        .await;
}

/// Sets a field as a person does.
async fn set(browser: &Browser, id: &str, value: &str) {
    let change = format!(
        "(() => {{ const one = document.getElementById('{id}'); one.value = '{value}'; one.dispatchEvent(new Event('change')) }})()"
    );
    browser.value(&change).await;
}

async fn events_are_followed_chosen_and_held_still() {
    let app = slow().start().await;
    live_a_little(&app).await;
    app.accepted("deposits", 7, "of-another", "3").await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "#events").await;
    until_rows(&browser, 3).await;
    let what = |kinds: &[&str]| json!(kinds);
    assert_eq!(
        column(&browser, 2).await,
        what(&["deposit", "reward", "deposit"])
    );
    assert_eq!(
        column(&browser, 1).await,
        what(&["User 7", "User 184", "User 184"])
    );
    assert_eq!(browser.text("#events-state").await, "live: 3\u{a0}events");

    // It is followed.
    app.accepted("rewards", USER, "r9", "4").await;
    until_rows(&browser, 4).await;
    assert_eq!(
        column(&browser, 4).await[0],
        "4.000000000 TON, reward, r9",
        "with a way to its entry"
    );

    set(&browser, "events-kind", "reward").await;
    until_rows(&browser, 2).await;
    assert_eq!(column(&browser, 2).await, what(&["reward", "reward"]));
    let entries = "deposit,reward,withdrawal,adjustment,reversal";
    set(&browser, "events-kind", entries).await;
    until_rows(&browser, 4).await;
    set(&browser, "events-kind", "").await;
    set(&browser, "events-user", "7").await;
    until_rows(&browser, 1).await;
    assert_eq!(browser.text("#events-state").await, "live: 1\u{a0}event");
    set(&browser, "events-kind", "push").await;
    browser
        .until("document.getElementById('event-list').textContent.startsWith('Nothing of it')")
        .await;
    set(&browser, "events-kind", "").await;
    set(&browser, "events-user", "").await;
    until_rows(&browser, 4).await;

    // Held still, it only counts.
    browser.click("#events-pause").await;
    app.accepted("deposits", 7, "later", "1").await;
    browser
        .until("document.getElementById('events-state').textContent === 'held still: 4\u{a0}events; newer: 1'")
        .await;
    until_rows(&browser, 4).await;
    let pressed = "document.getElementById('events-pause').getAttribute('aria-pressed')";
    assert_eq!(browser.value(pressed).await, "true");
    browser.picture("admin-events-held").await;
    browser.click("#events-pause").await;
    until_rows(&browser, 5).await;
    assert_eq!(column(&browser, 1).await[0], "User 7");

    // By the address, of one user; and from there to the entry.
    go(&browser, "#conflicts").await;
    go(&browser, "#events/7").await;
    until_rows(&browser, 2).await;
    browser.click("#event-list .entry-link").await;
    browser
        .until("document.getElementById('found').textContent.includes('In the ledger: later')")
        .await;
    assert_eq!(browser.value("record.errors").await, json!([]));
    browser.close(false).await;
}
