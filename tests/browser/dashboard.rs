//! The operators' dashboard in a browser: what it shows is what the API says, in each view, and orders ask first.

use serde_json::{Value, json};

use crate::driver::Browser;
use crate::in_a_browser;
use crate::looks::assert_accessible;
use crate::page::dev;
use crate::support::{ADMIN_TOKEN, Database, TestApp};

in_a_browser![
    every_view_of_the_dashboard_shows_what_the_api_says,
    a_wrong_token_is_refused_and_a_right_one_is_kept_nowhere,
    an_order_is_given_only_when_it_is_confirmed,
];

const USER: u64 = 184;

async fn sign_in(browser: &Browser, app: &TestApp, token: &str, view: &str) {
    browser.goto(&format!("http://{}/admin/{view}", app.internal)).await;
    let fill = format!(
        "document.getElementById('token').value = '{token}', document.querySelector('#sign-in button').click()"
    );
    browser.value(&fill).await;
}

async fn lively() -> TestApp {
    let app =
        dev(Database::Sqlite).set("pacing.debounce_ms", 600_000).set("pacing.min_interval_ms", 900_000).start().await;
    app.accepted("deposits", USER, "d1", "1.5").await;
    app.accepted("rewards", USER, "r1", "2").await;
    let other = json!({"event_id": "d1", "user_id": USER, "currency": "TON", "amount": "9"});
    app.post("deposits", other).await.problem(409, "idempotency_conflict");
    app
}

/// A number of the page, without what a language puts between its digits.
async fn shown(browser: &Browser, field: &str) -> Value {
    browser
        .value(&format!("document.querySelector('[data-field=\"{field}\"]').textContent.replace(/[^0-9.]/g, '')"))
        .await
}

async fn picture(browser: &Browser, name: &str) {
    browser.picture(name).await;
    assert_accessible(browser, name).await;
}

async fn every_view_of_the_dashboard_shows_what_the_api_says() {
    let app = lively().await;
    let (_ws, _) = app.session(USER).await;
    let mut deposits = 1;
    for (language, short) in [("en-US", "en"), ("ru-RU", "ru")] {
        let browser = Browser::start_in(language).await;
        for (is_phone, scheme) in [(false, "light"), (true, "dark")] {
            let look = format!("admin-{}-{scheme}-{short}", if is_phone { "phone" } else { "desktop" });
            if is_phone {
                browser.on_a_phone(390).await;
            }
            browser.prefer(false, scheme).await;
            sign_in(&browser, &app, ADMIN_TOKEN, "").await;
            browser.until("document.querySelectorAll('.chart canvas').length === 9").await;
            browser.until("document.querySelector('[data-field=sessions]')?.textContent > '0'").await;
            assert_eq!(browser.value("document.documentElement.lang").await, short);
            browser.until("document.querySelector('.tile p').textContent !== '–'").await;
            deposits += 1;
            app.accepted("deposits", USER, &look, "0.1").await;
            let counted = "document.querySelector('#last-entries tbody td:nth-child(4)')";
            browser.until(&format!("{counted}.textContent === '{deposits}'")).await;
            let registry = app.admin("/admin/v1/registry").await.ok();
            for field in ["sessions", "actors"] {
                assert_eq!(shown(&browser, field).await, registry[field].to_string(), "{field}");
            }
            picture(&browser, &format!("{look}-overview")).await;

            browser.value(&format!("location.hash = '#user/{USER}'")).await;
            browser.until("document.querySelectorAll('#user-sessions tbody tr').length === 1").await;
            let actor = app.admin(&format!("/admin/v1/actors/{USER}")).await.ok();
            assert_eq!(shown(&browser, "version").await, actor["version"].to_string());
            let ton = browser.value("document.querySelector('[data-field=\"balance.TON\"]').textContent").await;
            assert_eq!(ton, actor["balances"]["TON"]);
            browser.until("document.querySelectorAll('#timeline canvas').length === 1").await;
            picture(&browser, &format!("{look}-user")).await;

            browser.value("location.hash = '#conflicts'").await;
            browser.until("document.querySelectorAll('.conflict').length === 1").await;
            let differs =
                "[...document.querySelectorAll('.conflict tbody tr:has(.differs) th')].map((one) => one.textContent)";
            assert_eq!(browser.value(differs).await, json!(["amount"]));
            picture(&browser, &format!("{look}-conflicts")).await;

            browser.value("location.hash = '#canary'").await;
            browser.until("document.getElementById('canary-runs').textContent !== ''").await;
            picture(&browser, &format!("{look}-canary")).await;
            let widths = browser.value("[document.documentElement.scrollWidth, innerWidth]").await;
            assert!(widths[0].as_u64() <= widths[1].as_u64(), "{look}: {widths}");
            assert_eq!(browser.value("record.errors").await, json!([]), "{look}");
        }
        browser.close(false).await;
    }
}

async fn a_wrong_token_is_refused_and_a_right_one_is_kept_nowhere() {
    let app = lively().await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "wrong", "").await;
    browser.until("document.getElementById('sign-in-error').textContent !== ''").await;
    assert_eq!(browser.value("document.getElementById('overview').hidden").await, true);
    sign_in(&browser, &app, ADMIN_TOKEN, "").await;
    browser.until("!document.getElementById('overview').hidden").await;
    let kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, document.documentElement.outerHTML, \
                document.getElementById('token').value])";
    let kept = browser.value(kept).await;
    assert!(!kept.as_str().expect("a text").contains(ADMIN_TOKEN), "{kept}");
    browser.goto(&format!("http://{}/admin/", app.internal)).await;
    browser.until("!document.getElementById('sign-in').hidden && document.getElementById('overview').hidden").await;
    browser.close(true).await;
}

async fn an_order_is_given_only_when_it_is_confirmed() {
    let app = lively().await;
    let (mut ws, _) = app.session(USER).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, ADMIN_TOKEN, &format!("#user/{USER}")).await;
    browser.until("document.querySelectorAll('#user-sessions tbody tr').length === 1").await;
    browser.click("[data-order=disconnect]").await;
    browser.until("document.getElementById('confirm').open").await;
    assert_eq!(browser.value("document.activeElement.id").await, "confirm-no");
    browser.click("#confirm-no").await;
    browser.until("!document.getElementById('confirm').open").await;
    assert_eq!(app.admin("/admin/v1/log").await.ok()["log"], json!([]), "nothing was ordered");
    browser.click("[data-order=disconnect]").await;
    browser.until("document.getElementById('confirm').open").await;
    browser.click("#confirm-yes").await;
    ws.assert_closed(4510, "closed_by_administrator").await;
    browser.until("document.querySelectorAll('#user-sessions tbody tr').length === 0").await;
    assert_eq!(app.admin("/admin/v1/log").await.ok()["log"][0]["action"], "disconnect");
    browser.close(false).await;
}
