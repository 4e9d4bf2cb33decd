//! What the page does when the service goes away, when nobody looks, and with tokens.

use serde_json::json;

use super::{USER, go, live_a_little, open, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::support::{ADMIN_TOKEN, TestApp, eventually};

in_a_browser![
    after_a_restart_the_page_comes_back_by_itself,
    a_hidden_page_listens_to_nothing_and_goes_on_when_it_is_seen,
    a_wrong_token_is_refused_and_a_right_one_is_kept_nowhere,
    a_token_that_is_withdrawn_ends_what_is_shown,
    what_was_enlarged_stays_so_while_time_goes_on,
];

const AT: &str = "document.getElementById('view-overview').dataset.at";
const LENGTH: &str = "document.querySelector('#charts .chart-body').chart.data[0].length";

async fn attempt(browser: &Browser, token: &str) {
    browser
        .value(&format!(
            "document.getElementById('token').value = '{token}'"
        ))
        .await;
    browser.click("#sign-in button").await;
}

async fn after_a_restart_the_page_comes_back_by_itself() {
    let mut app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    let counted =
        "document.querySelector('[data-field=\"counters.entries.deposit.accepted\"]').textContent";
    browser
        .until(&format!("{LENGTH} > 2 && {counted} === '1'"))
        .await;
    app.stop().await;
    let link = "document.getElementById('link')";
    // At first it may only have fallen silent.
    let said = "no live data: the service can not be reached";
    browser
        .until(&format!(
            "{link}.className === 'is-bad' && {link}.textContent === '{said}'"
        ))
        .await;
    let at = browser.value(AT).await;
    app.start_again().await;
    browser
        .until(&format!("{AT} > {at} && {link}.className === ''"))
        .await;
    // The new process counts from 0. What was before stays in sight, with a gap and a mark between.
    assert_eq!(browser.value(counted).await, "0");
    browser.until(&format!("{LENGTH} > 1")).await;
    let chart = "document.querySelector('#charts .chart-body').chart.data";
    let drawn = format!(
        "{chart}[0][0] < Date.parse({at}) / 1000 && {chart}[1].every((rate) => rate === null || rate >= 0)"
    );
    assert_eq!(browser.value(&drawn).await, true);
    browser
        .until("document.getElementById('marks').textContent.includes('the process started')")
        .await;

    // The same while a user is looked at; the events are those of the new process.
    go(&browser, &format!("#user/{USER}")).await;
    app.accepted("deposits", USER, "d2", "1").await;
    browser
        .until("document.querySelectorAll('#happenings tbody tr').length === 1")
        .await;
    app.stop().await;
    browser
        .until(&format!("{link}.className === 'is-bad'"))
        .await;
    app.start_again().await;
    browser
        .until(
            "document.getElementById('happenings').textContent.startsWith('This process has seen nothing')",
        )
        .await;
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 3")
        .await;
    assert_eq!(browser.value("record.errors").await, json!([]));
    browser.close(true).await;
}

/// As when another tab comes to the front, which no page without a screen is told of.
async fn hide(browser: &Browser, is_hidden: bool) {
    let hide = format!(
        "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {is_hidden} }}), \
         document.dispatchEvent(new Event('visibilitychange'))"
    );
    browser.value(&hide).await;
}

async fn a_hidden_page_listens_to_nothing_and_goes_on_when_it_is_seen() {
    let app = slow().start().await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    browser.until(&format!("{LENGTH} > 1")).await;
    // With the page all places are taken.
    let mut others = Vec::new();
    for _ in 1..LISTENERS_MAX {
        others.push(listen(&app, 3600).await.expect("a place"));
    }
    eventually("all places are taken", async || {
        listen(&app, 1).await.is_none().then_some(())
    })
    .await;
    hide(&browser, true).await;
    let (at, asked) = (
        browser.value(AT).await,
        browser.value("record.asked.length").await,
    );
    let place = eventually("the page has left its place", async || {
        listen(&app, 3).await
    })
    .await;
    // The service would have told it of more.
    place.text().await.expect("three snapshots");
    assert_eq!(
        (
            browser.value(AT).await,
            browser.value("record.asked.length").await
        ),
        (at.clone(), asked.clone())
    );
    hide(&browser, false).await;
    browser.until(&format!("{AT} > {at}")).await;
    let since = browser.value(&format!("record.asked.slice({asked})")).await;
    assert!(
        since
            .as_array()
            .expect("a list")
            .iter()
            .all(|path| path == "v1/live"
                || path == "../readyz"
                || path
                    .as_str()
                    .is_some_and(|path| path.starts_with("v1/history"))),
        "{since}"
    );
    eventually("it has its place again", async || {
        listen(&app, 1).await.is_none().then_some(())
    })
    .await;
    browser.close(false).await;
}

const LISTENERS_MAX: usize = 32;

/// Another listener, when there is a place.
async fn listen(app: &TestApp, snapshots: u32) -> Option<reqwest::Response> {
    let live = app.http.get(format!(
        "http://{}/admin/v1/live?snapshots={snapshots}",
        app.internal
    ));
    let answer = live
        .bearer_auth(ADMIN_TOKEN)
        .send()
        .await
        .expect("an answer");
    answer.status().is_success().then_some(answer)
}

async fn a_wrong_token_is_refused_and_a_right_one_is_kept_nowhere() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    open(&browser, &app, "").await;
    attempt(&browser, "wrong").await;
    browser.until("document.getElementById('sign-in-error').textContent === 'No administrator has this token.'").await;
    assert_eq!(
        browser
            .value("document.getElementById('view-overview').hidden")
            .await,
        true
    );
    attempt(&browser, ADMIN_TOKEN).await;
    browser
        .until("!document.getElementById('view-overview').hidden")
        .await;
    browser.until(&format!("{LENGTH} > 1")).await;
    let kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state, \
                document.documentElement.outerHTML, document.getElementById('token').value, record.asked])";
    let kept = browser.value(kept).await;
    assert!(
        !kept.as_str().expect("a text").contains(ADMIN_TOKEN),
        "{kept}"
    );
    // Signing out leaves a page that has nothing of what was seen.
    browser.click("#sign-out").await;
    browser
        .until("!document.getElementById('sign-in').hidden && document.getElementById('tiles').childElementCount === 0")
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('view-overview').hidden")
            .await,
        true
    );
    browser.close(true).await;
}

async fn a_token_that_is_withdrawn_ends_what_is_shown() {
    let mut app = slow().start().await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    browser.until(&format!("{LENGTH} > 1")).await;
    app.stop().await;
    app.reconfigure("auth.admin_tokens", vec!["another-token"]);
    app.start_again().await;
    browser
        .until("!document.getElementById('sign-in').hidden")
        .await;
    assert_eq!(
        browser.text("#sign-in-error").await,
        "No administrator has this token."
    );
    assert_eq!(
        browser
            .value("document.getElementById('view-overview').hidden")
            .await,
        true
    );
    attempt(&browser, "another-token").await;
    browser
        .until("!document.getElementById('view-overview').hidden")
        .await;
    browser.close(true).await;
}

async fn what_was_enlarged_stays_so_while_time_goes_on() {
    let app = slow().start().await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    browser.until(&format!("{LENGTH} > 1")).await;
    let scales = "[...document.querySelectorAll('#charts .chart-body')].map(({ chart }) => [chart.scales.x.min, chart.scales.x.max])";
    browser.click("[data-range='300']").await;
    let is_wide = format!("{scales}.every(([from, to]) => Math.round(to - from) === 300)");
    browser.until(&is_wide).await;
    let place = "(({ left, top, width, height }) => [left, top + height / 2, width])(document.querySelector('#charts .u-over').getBoundingClientRect())";
    let place = browser.value(place).await;
    for (kind, part) in [
        ("mouseMoved", 0.2),
        ("mousePressed", 0.2),
        ("mouseMoved", 0.4),
        ("mouseMoved", 0.6),
        ("mouseReleased", 0.6),
    ] {
        let x = place[0]
            .as_f64()
            .zip(place[2].as_f64())
            .map(|(left, width)| left + part * width);
        let buttons = u8::from(kind != "mouseMoved" || part > 0.2);
        let mouse = json!({"type": kind, "x": x, "y": place[1], "button": "left", "buttons": buttons, "clickCount": 1});
        browser.devtools("Input.dispatchMouseEvent", mouse).await;
    }
    browser
        .until(&format!("{scales}.every(([from, to]) => to - from < 150)"))
        .await;
    let narrow = browser.value(scales).await;
    let at = browser.value(AT).await;
    browser.until(&format!("{AT} > {at}")).await;
    assert_eq!(browser.value(&format!("{scales}[0]")).await, narrow[0]);
    browser
        .value("document.querySelector('#charts .u-over').dispatchEvent(new MouseEvent('dblclick', { bubbles: true }))")
        .await;
    browser.until(&is_wide).await;
    // The same by buttons alone: earlier, and back to now.
    browser.click("#range-earlier").await;
    browser
        .until(&format!(
            "{scales}[0][1] < Date.parse({AT}) / 1000 - 140 && !document.getElementById('range-now').disabled"
        ))
        .await;
    browser.click("#range-now").await;
    browser
        .until(&format!("{scales}[0][1] >= Date.parse({AT}) / 1000 - 5"))
        .await;
    browser.close(false).await;
}
