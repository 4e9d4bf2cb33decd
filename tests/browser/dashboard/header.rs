//! The head of the dashboard: on a small screen it leaves room for the rest, in both languages.

use serde_json::json;

use super::{go, live_a_little, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;

in_a_browser![
    the_head_is_one_row_at_1280_and_two_on_a_phone,
    amounts_are_whole_on_a_phone,
];

/// In how many rows the parts of the head stand: those whose middles are level are in one.
const ROWS: &str = "(() => { const parts = [...document.querySelectorAll('.top > *')].filter((one) => one.offsetParent && one.offsetWidth > 1); \
                    const middles = parts.map((one) => one.getBoundingClientRect()).map(({ top, height }) => top + height / 2).sort((a, b) => a - b); \
                    return middles.filter((at, index) => index === 0 || at - middles[index - 1] > 12).length })()";

/// Parts of the head that are cut or lie outside of the window.
const CUT: &str = "[...document.querySelectorAll('.top a, .top button, .top input, .top nav, #link-time')].filter((one) => one.offsetParent && one.offsetWidth > 1) \
                   .filter((one) => { const { left, right } = one.getBoundingClientRect(); return left < 0 || right > document.documentElement.clientWidth + 1 || one.scrollWidth > one.clientWidth + 1 && one.tagName !== 'INPUT' }) \
                   .map((one) => one.textContent || one.id)";

async fn the_head_is_one_row_at_1280_and_two_on_a_phone() {
    let mut app = slow().start().await;
    for language in ["en-US", "ru-RU"] {
        let browser = Browser::start_in(language).await;
        sign_in(&browser, &app, "").await;
        let is_live = "document.getElementById('link-time').textContent !== ''";
        browser.until(is_live).await;
        assert_eq!(browser.value("innerWidth").await, 1280);
        assert_eq!(browser.value(ROWS).await, 1, "{language}");
        assert_eq!(browser.value(CUT).await, json!([]), "{language}");
        // The longest that it ever says.
        app.stop().await;
        browser
            .until("document.getElementById('link').className === 'is-bad'")
            .await;
        assert_eq!(browser.value(ROWS).await, 1, "{language}, away");
        browser
            .picture(&format!("admin-head-{language}-away"))
            .await;
        app.start_again().await;
        browser.until(is_live).await;
        browser.on_a_phone(360).await;
        browser.until("innerWidth === 360").await;
        assert_eq!(browser.value(ROWS).await, 2, "{language}, phone");
        assert_eq!(browser.value(CUT).await, json!([]), "{language}, phone");
        // The other language and the way out are there.
        let other = browser.value("document.documentElement.lang").await == "ru";
        let other = if other { "en" } else { "ru" };
        browser.click(&format!("[data-language={other}]")).await;
        browser
            .until(&format!("document.documentElement.lang === '{other}'"))
            .await;
        browser.click("#sign-out").await;
        browser
            .until("document.activeElement?.id === 'token' && !document.getElementById('sign-in').hidden")
            .await;
        browser.close(true).await;
    }
}

async fn amounts_are_whole_on_a_phone() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let (_ws, _) = app.session(184).await;
    let browser = Browser::start_in("ru-RU").await;
    browser.on_a_phone(360).await;
    sign_in(&browser, &app, "").await;
    // Whole: neither wider than its place nor outside of what is seen without scrolling to the side.
    let cut = "[...document.querySelectorAll('main td')].filter((one) => one.offsetParent) \
               .filter((one) => { const { right } = one.getBoundingClientRect(); return right > innerWidth || one.scrollWidth > one.clientWidth + 1 }).map((one) => one.textContent)";
    for (view, is_whole) in [
        ("#overview", "document.querySelector('#errors tbody')"),
        (
            "#user/184",
            "document.querySelectorAll('#user-entries tbody tr').length === 2",
        ),
        (
            "#events",
            "document.querySelectorAll('#event-list tbody tr').length === 2",
        ),
        ("#find=d1", "document.querySelector('#found table')"),
        ("#conflicts", "document.querySelector('.conflict')"),
    ] {
        go(&browser, view).await;
        browser.until(is_whole).await;
        assert_eq!(browser.value(cut).await, json!([]), "{view}");
    }
    browser.close(false).await;
}
