//! How the dashboard looks: pictures of each view for people, and what can be checked without eyes.

use serde_json::{Value, json};

use super::{USER, go, live_a_little, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::looks::axe;
use crate::support::TestApp;

in_a_browser![
    every_view_is_pictured_fits_and_axe_finds_nothing,
    large_numbers_and_long_names_fit_the_smallest_phone,
    a_change_of_the_scheme_is_drawn_at_once,
];

/// The views, and what tells that each is whole.
const VIEWS: [(&str, &str); 8] = [
    (
        "overview",
        "document.querySelector('#errors tbody') && document.querySelector('#charts .chart-body').chart.data[0].length > 3",
    ),
    ("user", "document.querySelector('#residents tbody')"),
    (
        "user/184",
        "document.querySelectorAll('#user-entries tbody tr').length > 1 && document.getElementById('countdown')?.textContent",
    ),
    (
        "user/7",
        "document.getElementById('inside').textContent !== '' && document.getElementById('user-entries').textContent !== ''",
    ),
    (
        "find=d1",
        "document.querySelector('#found table') && !document.getElementById('view-find').hidden",
    ),
    (
        "events",
        "document.querySelectorAll('#event-list tbody tr').length > 3",
    ),
    ("conflicts", "document.querySelector('.conflict')"),
    ("canary", "document.querySelector('#canary-runs details')"),
];

async fn assert_fits(browser: &Browser, of: &str) {
    let widths = browser
        .value("[document.documentElement.scrollWidth, innerWidth]")
        .await;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{of}: {widths}");
    // What is wider than its place scrolls there, or is drawn.
    let cut = "[...document.querySelectorAll('main *')].filter((one) => one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1 && \
               getComputedStyle(one).display !== 'inline' && !one.closest('.wide, .conflict, .uplot'))";
    let cramped = "[...document.querySelectorAll('.chart-body')].filter(({ chart, clientWidth }) => clientWidth > 0 && chart.width !== clientWidth)";
    // A chart follows its place a frame later, so both are waited for.
    browser
        .until(&format!(
            "/* {of} */ {cramped}.length === 0 && {cut}.length === 0"
        ))
        .await;
}

async fn lively() -> TestApp {
    let app = slow()
        .set("canary.every_s", 1)
        .set("canary.user_id", 900)
        .set("canary.watch_s", 0)
        .start()
        .await;
    live_a_little(&app).await;
    app
}

async fn every_view_is_pictured_fits_and_axe_finds_nothing() {
    let app = lively().await;
    let (_ws, _) = app.session(USER).await;
    app.accepted("deposits", USER, "d2", "12.5").await;
    app.accepted("rewards", USER, "r2", "137.125").await;
    for (language, short) in [("en-US", "en"), ("ru-RU", "ru")] {
        let browser = Browser::start_in(language).await;
        for (is_phone, device) in [(false, "desktop"), (true, "phone")] {
            if is_phone {
                browser.on_a_phone(390).await;
            }
            sign_in(&browser, &app, "").await;
            assert_eq!(browser.value("document.documentElement.lang").await, short);
            for (view, is_whole) in VIEWS {
                go(&browser, &format!("#{view}")).await;
                browser.until(is_whole).await;
                for scheme in ["light", "dark"] {
                    browser.prefer(false, scheme).await;
                    let name =
                        format!("admin-{device}-{scheme}-{short}-{}", view.replace('/', "-"));
                    browser.picture(&name).await;
                    assert_fits(&browser, &name).await;
                    assert_eq!(axe(&browser).await, Vec::<Value>::new(), "{name}");
                    assert_eq!(browser.value("record.errors").await, json!([]), "{name}");
                }
            }
            let small = "[...document.querySelectorAll('button, input, select, nav a')].filter((one) => { const box = one.getBoundingClientRect(); \
                         return box.width > 0 && Math.min(box.width, box.height) < 40 }).map((one) => one.outerHTML)";
            assert_eq!(browser.value(small).await, json!([]), "{device}");
        }
        browser.close(false).await;
    }
}

async fn large_numbers_and_long_names_fit_the_smallest_phone() {
    let app = slow().start().await;
    let id = "x".repeat(128);
    let user_id = 9_007_199_254_740_991_u64;
    let whole = json!({"event_id": id, "user_id": user_id, "currency": "TON", "amount": "9123456789.123456789", "source": "s".repeat(64)});
    app.post("deposits", whole.clone()).await.ok();
    let mut other = whole;
    other["amount"] = json!("1");
    app.post("deposits", other)
        .await
        .problem(409, "idempotency_conflict");
    let browser = Browser::start().await;
    browser.on_a_phone(320).await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('#errors tbody')")
        .await;
    assert_fits(&browser, "overview").await;
    go(&browser, &format!("#user/{user_id}")).await;
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 1")
        .await;
    assert_eq!(
        browser.text("[data-field=\"actor.balances.TON\"]").await,
        "9123456789.123456789"
    );
    assert_fits(&browser, "user").await;
    browser.picture("admin-large-numbers").await;
    go(&browser, "#conflicts").await;
    browser.until("document.querySelector('.conflict')").await;
    assert_fits(&browser, "conflicts").await;
    browser.close(false).await;
}

async fn a_change_of_the_scheme_is_drawn_at_once() {
    let app = slow().start().await;
    let browser = Browser::start().await;
    browser.prefer(false, "light").await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('#charts .chart-body')?.chart.data[0].length > 2")
        .await;
    let marker = "getComputedStyle(document.querySelector('.u-legend .u-series:nth-child(2) .u-marker')).backgroundColor";
    // The brightest that is drawn: the grid by day, and nothing so bright by night.
    let drawn = "(() => { const { canvas } = document.querySelector('#charts .chart-body').chart.ctx; \
                 const copy = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height }); \
                 const ctx = copy.getContext('2d', { willReadFrequently: true }); ctx.drawImage(canvas, 0, 0); \
                 const { data } = ctx.getImageData(0, 0, copy.width, copy.height); let most = 0; \
                 for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) most = Math.max(most, data[at] + data[at + 1] + data[at + 2]); return most })()";
    let (light, before) = (browser.value(marker).await, browser.value(drawn).await);
    browser.prefer(false, "dark").await;
    browser.until(&format!("{drawn} < {before}")).await;
    assert_ne!(browser.value(marker).await, light);
    browser.close(false).await;
}
