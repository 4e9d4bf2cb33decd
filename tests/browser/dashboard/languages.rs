//! The dashboard in two languages, at the time zone of the one who looks, and in browsers that lack something.

use serde_json::json;

use super::{USER, go, live_a_little, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;

in_a_browser![
    the_language_can_be_switched_and_is_kept,
    findings_are_told_in_russian_with_their_evidence,
    times_are_those_of_whoever_looks,
    a_browser_language_that_is_no_tag_changes_nothing,
    without_charts_one_signs_in_and_reads_the_figures,
    without_intl_one_signs_in_and_reads_the_figures,
];

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
    for view in [
        "#overview",
        "#user",
        "#user/184",
        "#events",
        "#conflicts",
        "#canary",
    ] {
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

async fn findings_are_told_in_russian_with_their_evidence() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start_in("ru-RU").await;
    sign_in(&browser, &app, "").await;
    let evidence = "document.querySelector('[data-code=conflicts] .evidence')";
    browser
        .until(&format!(
            "{evidence}?.textContent.replaceAll('\u{a0}', ' ').startsWith('1 отказ с запуска (пополнение 1)')"
        ))
        .await;
    let english =
        "[...document.querySelectorAll('#findings [lang=en]')].map((one) => one.textContent)";
    assert_eq!(browser.value(english).await, json!([]));
    // In English it is the service's own.
    browser.click("[data-language=en]").await;
    browser
        .until(&format!(
            "{evidence}.querySelector('[lang=en]').textContent.startsWith('1 since the start')"
        ))
        .await;
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

async fn without_intl_one_signs_in_and_reads_the_figures() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start_in("ru-RU").await;
    let source = "delete globalThis.Intl";
    browser
        .devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({"source": source}),
        )
        .await;
    sign_in(&browser, &app, "").await;
    browser
        .until("document.querySelector('#last-entries tbody') && document.querySelector('[data-tile=drift] .is-good')")
        .await;
    assert_eq!(browser.text("[data-tile=drift] h2").await, "Нарушения");
    browser
        .until("document.getElementById('link').textContent === 'на связи'")
        .await;
    for (view, is_whole) in [
        (
            "#user/184",
            "document.querySelectorAll('#user-entries tbody tr').length === 2",
        ),
        (
            "#events",
            "document.querySelectorAll('#event-list tbody tr').length === 2",
        ),
        ("#conflicts", "document.querySelector('.conflict')"),
    ] {
        go(&browser, view).await;
        browser.until(is_whole).await;
    }
    browser.click("[data-language=en]").await;
    browser
        .until("document.getElementById('link').textContent === 'live'")
        .await;
    assert_eq!(browser.value("record.errors").await, json!([]));
    browser.close(false).await;
}
