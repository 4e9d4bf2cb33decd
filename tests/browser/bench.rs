//! The bench beside the balance: each of its buttons does what it says, through the signed webhooks.

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::Database;

in_a_browser![
    each_button_sends_what_it_says_and_tells_how_long_it_took,
    a_cut_connection_is_shown_as_it_is_and_mended_by_the_same_button,
];

/// The lines of what was sent, newest first.
async fn sent(browser: &Browser, lines: usize) -> Vec<String> {
    browser
        .until(&format!(
            "document.querySelectorAll('.sent li').length === {lines}"
        ))
        .await;
    browser
        .until("!document.querySelector('.sent').textContent.includes('sending')")
        .await;
    let lines = browser
        .value("[...document.querySelectorAll('.sent li')].map((line) => line.innerText)")
        .await;
    lines
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| line.as_str().expect("a text").to_owned())
        .collect()
}

async fn each_button_sends_what_it_says_and_tells_how_long_it_took() {
    let app = dev(Database::Sqlite)
        .set("pacing.debounce_ms", 50)
        .start()
        .await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "0.000000000").await;
    assert_eq!(
        browser
            .value("document.querySelector('[data-send=again]').disabled")
            .await,
        true
    );

    browser.click("[data-send=withdrawal]").await;
    assert!(sent(&browser, 1).await[0].contains("refused: the balance is too low"));
    browser.click("[data-send=deposit]").await;
    browser.until_balance("TON", "0.100000000").await;
    browser
        .until("document.querySelectorAll('.sent li:first-child .step').length === 3")
        .await;
    let line = sent(&browser, 2).await.remove(0);
    for part in [
        "+0.1 TON",
        "committed ",
        "on screen ",
        "counted ",
        "\u{a0}ms",
    ] {
        assert!(line.contains(part), "{line}");
    }
    browser.click("[data-send=again]").await;
    assert!(sent(&browser, 3).await[0].contains("known already as version 1: nothing moves"));
    browser.click("[data-send=reward]").await;
    browser.until_balance("UNI", "2.500000000").await;
    assert_eq!(browser.text("#change").await, "+2.5 UNI · farming");
    browser.click("[data-send=withdrawal]").await;
    browser.until_balance("TON", "0.050000000").await;

    let kinds: Vec<String> = app
        .entries(USER)
        .await
        .iter()
        .map(|entry| format!("{}", entry["kind"]))
        .collect();
    assert_eq!(kinds, ["\"withdrawal\"", "\"reward\"", "\"deposit\""]);
    assert_eq!(browser.shown("TON").await.iter().max(), Some(&1_000));
    app.assert_ledger_holds();
    browser.close(false).await;
}

async fn a_cut_connection_is_shown_as_it_is_and_mended_by_the_same_button() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.prefer(true, "light").await;
    browser.open(&app).await;
    browser.until_balance("TON", "1.000000000").await;
    browser.click("#cut").await;
    browser.until_state("offline stale").await;
    assert_eq!(
        browser
            .value("document.getElementById('cut').getAttribute('aria-pressed')")
            .await,
        "true"
    );
    browser.forget_shown().await;
    for lines in 1..=2 {
        browser.click("[data-send=deposit]").await;
        assert!(sent(&browser, lines).await[0].contains("waits for the page"));
    }
    browser.picture("cut").await;
    browser.click("#cut").await;
    browser.until_balance("TON", "1.200000000").await;
    browser.until_state("live").await;
    assert_eq!(browser.shown("TON").await, [12_000]);
    browser
        .until("document.querySelectorAll('.entry').length === 3")
        .await;
    browser.close(false).await;
}
