//! The dashboard by keyboard and in two languages, and orders with their questions.

use fantoccini::key::Key;
use serde_json::{Value, json};

use super::{USER, go, live_a_little, open, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::support::ADMIN_TOKEN;

in_a_browser![
    everything_can_be_done_by_keyboard_alone,
    an_order_is_given_only_when_it_is_confirmed,
    every_order_tells_what_became_of_it,
    the_language_can_be_switched_and_is_kept,
    times_are_those_of_whoever_looks,
    a_browser_language_that_is_no_tag_changes_nothing,
    without_charts_one_signs_in_and_reads_the_figures,
];

async fn press(browser: &Browser, key: Key) {
    write(browser, &key.to_string()).await;
}

async fn write(browser: &Browser, keys: &str) {
    let active = browser
        .client()
        .active_element()
        .await
        .expect("something has the focus");
    active.send_keys(keys).await.expect("pressed");
}

/// Presses Tab until it is there; everything on the way shows where the focus is.
async fn tab_to(browser: &Browser, selector: &str) -> Vec<Value> {
    let mut passed = Vec::new();
    for _ in 0..60 {
        press(browser, Key::Tab).await;
        let focus = "(() => { const one = document.activeElement, style = getComputedStyle(one); \
                     return [one.id || one.textContent.slice(0, 20), one.matches(':focus-visible') && style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2] })()";
        let focus = browser.value(focus).await;
        assert_eq!(
            focus[1], true,
            "{focus} does not show that it has the focus"
        );
        assert!(
            !passed.contains(&focus),
            "{focus} again, and never {selector}: {passed:?}"
        );
        passed.push(focus);
        if browser
            .value(&format!("document.activeElement.matches(\"{selector}\")"))
            .await
            == true
        {
            return passed;
        }
    }
    panic!("{selector} is not reached: {passed:?}");
}

async fn everything_can_be_done_by_keyboard_alone() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let (mut ws, _) = app.session(USER).await;
    let browser = Browser::start().await;
    open(&browser, &app, "").await;
    write(&browser, ADMIN_TOKEN).await;
    press(&browser, Key::Enter).await;
    browser
        .until("document.activeElement.getAttribute('aria-current') === 'page'")
        .await;
    browser
        .until("document.querySelector('#last-entries tbody')")
        .await;
    let passed = tab_to(&browser, "#errors").await;
    let names: Vec<&str> = passed.iter().filter_map(|one| one[0].as_str()).collect();
    assert_eq!(
        names,
        [
            "User",
            "Conflicts",
            "Canary",
            "find-text",
            "Find",
            "EN",
            "RU",
            "sign-out",
            "5 min",
            "15 min",
            "1 h",
            "range-earlier",
            "last-entries",
            "errors"
        ]
    );

    browser
        .value("document.querySelector('#views a').focus()")
        .await;
    tab_to(&browser, "[href='#user']").await;
    press(&browser, Key::Enter).await;
    browser
        .until("document.activeElement.id === 'user-id'")
        .await;
    write(&browser, &format!("{USER}")).await;
    press(&browser, Key::Enter).await;
    browser
        .until("document.querySelectorAll('#user-sessions tbody tr').length === 1")
        .await;
    tab_to(&browser, "[data-order=disconnect]").await;

    // Escape refuses, and the focus comes back.
    press(&browser, Key::Enter).await;
    browser
        .until("document.activeElement.id === 'confirm-no'")
        .await;
    press(&browser, Key::Escape).await;
    browser
        .until("!document.getElementById('confirm').open && document.activeElement.dataset.order === 'disconnect'")
        .await;
    // So does Enter at once.
    press(&browser, Key::Enter).await;
    browser
        .until("document.activeElement.id === 'confirm-no'")
        .await;
    press(&browser, Key::Enter).await;
    browser
        .until("!document.getElementById('confirm').open")
        .await;
    assert_eq!(
        app.admin("/admin/v1/log").await.ok()["log"],
        json!([]),
        "nothing was ordered"
    );

    press(&browser, Key::Enter).await;
    browser
        .until("document.activeElement.id === 'confirm-no'")
        .await;
    write(&browser, &format!("{}{}", Key::Shift, Key::Tab)).await;
    browser
        .until("document.activeElement.id === 'confirm-yes'")
        .await;
    press(&browser, Key::Enter).await;
    ws.assert_closed(4510, "closed_by_administrator").await;
    browser.close(false).await;
}

async fn an_order_is_given_only_when_it_is_confirmed() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let (mut ws, _) = app.session(USER).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, &format!("#user/{USER}")).await;
    browser
        .until("document.querySelectorAll('#user-sessions tbody tr').length === 1")
        .await;
    browser.click("[data-order=disconnect]").await;
    browser
        .until("document.getElementById('confirm').open")
        .await;
    assert_eq!(
        browser.text("#confirm-text").await,
        "Close all sessions of user 184?"
    );
    assert_eq!(
        browser.value("document.activeElement.id").await,
        "confirm-no"
    );
    browser.click("#confirm-no").await;
    browser
        .until("!document.getElementById('confirm').open")
        .await;
    assert_eq!(
        app.admin("/admin/v1/log").await.ok()["log"],
        json!([]),
        "nothing was ordered"
    );
    browser.click("[data-order=disconnect]").await;
    browser.click("#confirm-yes").await;
    ws.assert_closed(4510, "closed_by_administrator").await;
    browser.until("document.getElementById('user-sessions').textContent === 'No page of this user is open.'").await;
    assert_eq!(
        app.admin("/admin/v1/log").await.ok()["log"][0]["action"],
        "disconnect"
    );
    browser.close(false).await;
}

async fn every_order_tells_what_became_of_it() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, &format!("#user/{USER}")).await;
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 2")
        .await;
    for (order, outcome) in [
        ("refresh", "Refresh: done"),
        ("push", "Push now: nothing waited"),
        ("retire", "Retire: done"),
        ("retire", "Retire: not in memory"),
    ] {
        browser
            .value("document.getElementById('order-outcome').textContent = ''")
            .await;
        browser.click(&format!("[data-order={order}]")).await;
        browser.click("#confirm-yes").await;
        browser
            .until(&format!(
                "document.getElementById('order-outcome').textContent === '{outcome}'"
            ))
            .await;
    }
    let log = app.admin("/admin/v1/log").await.ok()["log"].clone();
    let given: Vec<&str> = log
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["action"].as_str())
        .collect();
    assert_eq!(given, ["retire", "retire", "push", "refresh"]);
    browser.close(false).await;
}

/// Words of Latin letters that may stand in a Russian page.
const NAMES: &str = "/^(EN|RU|TON|UNI|Prometheus|metrics|UTC|GMT|deposit|reward|canary|d\\d|r\\d|p\\d\\d|audit|users_per_s|every_s|event_id|user_id|version|kind|currency|\
     amount|balance_after|source|committed_at|reason|occurred_at|metadata|idempotency_conflict|insufficient_funds|admin)$/";

async fn the_language_can_be_switched_and_is_kept() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let (_ws, _) = app.session(USER).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('#errors tbody')")
        .await;
    for view in ["#overview", "#user", "#user/184", "#conflicts", "#canary"] {
        go(&browser, view).await;
        browser.click("[data-language=ru]").await;
        browser
            .until("document.documentElement.lang === 'ru'")
            .await;
        // Evidence is the service's own, marked as English; next steps name settings and metrics.
        let own = "[...document.querySelectorAll('main [lang=en], main .next-step')].map((one) => one.innerText) \
                   .reduce((all, own) => all.replace(own, ''), document.querySelector('main').innerText)";
        let foreign = format!(
            "({own}).match(/[A-Za-z_]{{2,}}\\d*/g)?.filter((word) => !{NAMES}.test(word)) ?? []"
        );
        browser.until(&format!("({foreign}).length === 0")).await;
        browser
            .until("document.querySelector('#link').textContent.startsWith('на связи')")
            .await;
        browser.click("[data-language=en]").await;
        browser
            .until("document.documentElement.lang === 'en'")
            .await;
        browser
            .until("!/[а-яё]/i.test(document.querySelector('main').innerText)")
            .await;
        // A key that has no words would stand there as it is.
        let keys = "document.querySelector('main').innerText.match(/\\b[a-z]+[A-Z]\\w*/g) ?? []";
        assert_eq!(browser.value(keys).await, json!([]), "{view}");
    }
    browser.click("[data-language=ru]").await;
    assert!(
        browser
            .value("document.title")
            .await
            .as_str()
            .is_some_and(|title| title.starts_with("Канарейка"))
    );
    sign_in(&browser, &app, "").await;
    assert_eq!(browser.text("#sign-out").await, "Выйти");
    assert_eq!(browser.value("record.errors").await, json!([]));
    browser.close(false).await;
}

async fn times_are_those_of_whoever_looks() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    browser
        .devtools(
            "Emulation.setTimezoneOverride",
            json!({"timezoneId": "Asia/Kolkata"}),
        )
        .await;
    sign_in(&browser, &app, &format!("#user/{USER}")).await;
    browser
        .until("document.querySelectorAll('#user-entries tbody time').length === 2")
        .await;
    let entry = &app.entries(USER).await[0];
    let at = entry["committed_at"].as_str().expect("a time");
    let seen = browser
        .value("(({ textContent, title }) => [textContent, title])(document.querySelector('#user-entries time'))")
        .await;
    assert_eq!(seen[1], at, "exact, and in UTC");
    let part = |range: std::ops::Range<usize>| at[range].parse::<u32>().expect("digits");
    let minutes = (part(11..13) * 60 + part(14..16) + 330) % (24 * 60);
    let there = format!(
        "{:02}:{:02}:{:02}",
        minutes / 60,
        minutes % 60,
        part(17..19)
    );
    assert!(
        seen[0]
            .as_str()
            .is_some_and(|shown| shown.ends_with(&there)),
        "{seen}, {there}"
    );
    assert!(
        browser
            .text("#zone")
            .await
            .contains("Asia/Calcutta (GMT+05:30)")
            || browser
                .text("#zone")
                .await
                .contains("Asia/Kolkata (GMT+05:30)")
    );
    browser.close(false).await;
}

async fn a_browser_language_that_is_no_tag_changes_nothing() {
    let app = slow().start().await;
    let browser = Browser::start().await;
    let source = "Object.defineProperty(Navigator.prototype, 'language', { get: () => 'en-US@posix', configurable: true })";
    browser
        .devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": source}),
        )
        .await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('#charts .chart-body')?.chart.data[0].length > 1")
        .await;
    assert_eq!(browser.value("record.errors").await, json!([]));
    browser.close(false).await;
}

async fn without_charts_one_signs_in_and_reads_the_figures() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    browser.devtools("Network.enable", json!({})).await;
    browser
        .devtools(
            "Network.setBlockedURLs",
            json!({"urls": ["*/vendor/uplot.js"]}),
        )
        .await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('#last-entries tbody')")
        .await;
    browser.until("document.getElementById('charts').textContent.startsWith('The charts could not be loaded')").await;
    go(&browser, &format!("#user/{USER}")).await;
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 2")
        .await;
    browser.close(true).await;
}
