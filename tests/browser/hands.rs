//! Other ways to use the page: by keyboard, by ear, in another language, without motion, and with a clean console.

use fantoccini::key::Key;
use serde_json::json;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::Database;

in_a_browser![
    a_keyboard_reaches_every_button_and_shows_where_it_is,
    a_screen_reader_hears_end_values_alone,
    the_language_can_be_switched_and_is_kept,
    without_motion_the_number_changes_at_once,
    older_entries_are_shown_when_they_are_asked_for,
];

async fn press(browser: &Browser, key: Key) {
    let active = browser
        .client()
        .active_element()
        .await
        .expect("something has the focus");
    active.send_keys(&key.to_string()).await.expect("pressed");
}

async fn a_keyboard_reaches_every_button_and_shows_where_it_is() {
    let app = dev(Database::Sqlite).start().await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "0.000000000").await;
    let buttons = browser
        .value("document.querySelectorAll('button:enabled:not([hidden]), input').length")
        .await;
    let mut reached = Vec::new();
    for _ in 0..buttons.as_u64().expect("a count") {
        press(&browser, Key::Tab).await;
        let focus = browser
            .value(
                "[document.activeElement.outerHTML, document.activeElement.matches(':focus-visible') && \
            getComputedStyle(document.activeElement).outlineStyle]",
            )
            .await;
        assert_eq!(focus[1], "solid", "{focus}");
        assert!(!reached.contains(&focus[0]), "{focus} again");
        reached.push(focus[0].clone());
        if browser
            .value("document.activeElement.dataset.send === 'deposit'")
            .await
            == true
        {
            press(&browser, Key::Enter).await;
            browser.until_balance("TON", "0.100000000").await;
        }
    }
    assert!(reached.len() > 7, "{reached:?}");
    browser.close(false).await;
}

async fn a_screen_reader_hears_end_values_alone() {
    let app = dev(Database::Sqlite).start().await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "0.000000000").await;
    browser
        .client()
        .execute(
            "window.heard = []; const said = document.getElementById('announcement'); \
             new MutationObserver(() => heard.push(said.textContent)).observe(said, { childList: true, characterData: true, subtree: true })",
            vec![],
        )
        .await
        .expect("listening");
    app.accepted("deposits", USER, "d1", "7.5").await;
    browser.until_balance("TON", "7.500000000").await;
    assert!(browser.shown("TON").await.len() > 3, "it counts");
    assert_eq!(
        browser.value("heard").await,
        json!(["7.5 TON, 0 UNI. +7.5 TON · deposit"])
    );
    let live = "[said => said.getAttribute('aria-live'), said => said.closest('[aria-hidden]')].map((ask) => ask(document.getElementById('announcement')))";
    assert_eq!(browser.value(live).await, json!(["polite", null]));
    assert_eq!(
        browser
            .value("document.getElementById('balances').getAttribute('aria-hidden')")
            .await,
        "true"
    );
    browser.close(false).await;
}

async fn the_language_can_be_switched_and_is_kept() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1234.5").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "1234.500000000").await;
    browser
        .until("document.querySelectorAll('.entry').length === 1")
        .await;
    assert_eq!(
        (
            browser.text("h1").await.as_str(),
            browser.text(".entry .what").await.as_str()
        ),
        ("Balance", "Deposit")
    );
    browser.click("[data-language=ru]").await;
    let russian = async || {
        assert_eq!(browser.value("document.documentElement.lang").await, "ru");
        assert_eq!(browser.text("h1").await, "Баланс");
        assert_eq!(browser.text("#state").await, "На связи");
        assert_eq!(
            browser.text(".amount .digits").await.replace('\u{a0}', " "),
            "1 234,50"
        );
    };
    russian().await;
    assert_eq!(browser.text(".entry .what").await, "Пополнение");
    // No English word is left, but for what has no other name.
    let words = browser
        .value("document.body.innerText.match(/[A-Za-z]{2,}/g)")
        .await;
    let words: Vec<&str> = words
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|word| word.as_str())
        .collect();
    assert!(
        words
            .iter()
            .all(|word| ["EN", "RU", "TON", "UNI"].contains(word)),
        "{words:?}"
    );
    browser.client().refresh().await.expect("reloaded");
    browser.until_state("live").await;
    russian().await;
    browser.close(false).await;
}

async fn without_motion_the_number_changes_at_once() {
    let app = dev(Database::Sqlite).start().await;
    let browser = Browser::start().await;
    browser.prefer(true, "light").await;
    browser.open(&app).await;
    browser.until_balance("TON", "0.000000000").await;
    app.accepted("deposits", USER, "d1", "7.5").await;
    browser.until_balance("TON", "7.500000000").await;
    assert_eq!(browser.shown("TON").await, [0, 75_000]);
    assert_eq!(browser.value("document.getAnimations().length").await, 0);
    browser.close(false).await;
}

async fn older_entries_are_shown_when_they_are_asked_for() {
    let app = dev(Database::Sqlite).start().await;
    for n in 1..=8 {
        app.accepted("deposits", USER, &format!("d{n}"), "1").await;
    }
    let browser = Browser::start().await;
    browser.open(&app).await;
    let versions =
        "[...document.querySelectorAll('.entry')].map((entry) => Number(entry.dataset.version))";
    browser
        .until(&format!("{versions}.join() === '8,7,6,5,4,3'"))
        .await;
    browser.click("#more").await;
    browser
        .until(&format!("{versions}.join() === '8,7,6,5,4,3,2,1'"))
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('more').hidden")
            .await,
        true
    );
    app.accepted("withdrawals", USER, "w1", "0.5").await;
    browser
        .until(&format!("{versions}.join() === '9,8,7,6,5,4,3,2,1'"))
        .await;
    assert_eq!(browser.text(".entry .much").await, "−0.5 TON");
    assert_eq!(browser.text(".entry .after").await, "balance 7.5");
    browser.close(false).await;
}
