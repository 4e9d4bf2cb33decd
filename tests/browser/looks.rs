//! How the page looks: pictures of it for people, and what can be checked without eyes. Phones, light and dark, languages,
//! Telegram's colours, large numbers, and whatever axe knows.

use serde_json::{Value, json};

use crate::driver::{Browser, npm_packages};
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::{Database, TestApp};

in_a_browser![
    every_look_of_the_page_is_pictured_and_axe_finds_nothing_serious,
    axe_finds_nothing_serious_in_other_states,
    everything_on_a_phone_can_be_touched,
    nothing_is_cut_on_a_small_phone_in_either_language,
    the_largest_numbers_fit_the_smallest_phone,
    the_colours_are_telegrams_where_it_gives_some,
];

/// Something of everything in the history.
async fn live_a_little(app: &TestApp) {
    app.accepted("deposits", USER, "d1", "12.5").await;
    for tick in 0..9 {
        reward(app, &format!("t{tick}"), "137.125").await;
    }
    app.accepted("withdrawals", USER, "w1", "2.05").await;
    let correction = json!({"event_id": "a1", "user_id": USER, "currency": "UNI", "amount": "-0.125", "reason": "typo"});
    app.post("adjustments", correction).await.ok();
    reward(app, "t9", "2.5").await;
}

async fn reward(app: &TestApp, event_id: &str, amount: &str) {
    let entry = json!({"event_id": event_id, "user_id": USER, "currency": "UNI", "amount": amount, "source": "farming"});
    app.post("rewards", entry).await.ok();
}

/// What axe finds serious in the page, which are rules of WCAG and good habits.
pub async fn assert_accessible(browser: &Browser, of: &str) {
    let found = axe(browser).await;
    let is_serious = |one: &&Value| one[0] == "serious" || one[0] == "critical";
    let serious: Vec<&Value> = found.iter().filter(is_serious).collect();
    assert!(serious.is_empty(), "{of}: {serious:#?}");
    assert_eq!(browser.value("record.errors").await, json!([]), "{of}");
}

/// All that axe finds: how serious it is, the rule, and where; nothing when axe is not there.
pub async fn axe(browser: &Browser) -> Vec<Value> {
    let Some(packages) = npm_packages() else {
        return Vec::new();
    };
    let axe = std::fs::read_to_string(packages.join("axe-core/axe.min.js")).expect("it is there");
    browser
        .client()
        .execute(&axe, vec![])
        .await
        .expect("axe runs");
    let run = "const done = arguments[0]; axe.run().then(({ violations }) => done(violations.map((one) => \
               [one.impact, one.id, one.nodes.map((node) => node.html + ' ' + node.failureSummary)])))";
    let found = browser
        .client()
        .execute_async(run, vec![])
        .await
        .expect("axe answers");
    found.as_array().expect("a list").clone()
}

async fn assert_fits(browser: &Browser, of: &str) {
    let widths = browser
        .value("[document.documentElement.scrollWidth, innerWidth]")
        .await;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{of}: {widths}");
    let cut = "[...document.querySelectorAll('.card *, .entry *, .tiles *')].filter((one) => one.scrollWidth > \
               one.clientWidth + 1 && getComputedStyle(one).display !== 'inline' && !one.closest('svg, .unseen'))\
               .map((one) => one.outerHTML)";
    assert_eq!(browser.value(cut).await, json!([]), "{of}");
}

async fn every_look_of_the_page_is_pictured_and_axe_finds_nothing_serious() {
    let app = dev(Database::Sqlite).start().await;
    live_a_little(&app).await;
    for (language, short) in [("en-US", "en"), ("ru-RU", "ru")] {
        let browser = Browser::start_in(language).await;
        for (is_phone, device) in [(false, "desktop"), (true, "phone")] {
            if is_phone {
                browser.on_a_phone(390).await;
            }
            for scheme in ["light", "dark"] {
                let look = format!("{device}-{scheme}-{short}");
                browser.prefer(false, scheme).await;
                browser.open(&app).await;
                assert_eq!(browser.value("document.documentElement.lang").await, short);
                browser
                    .until("document.querySelectorAll('.entry').length === 6")
                    .await;
                browser.click("[data-send=deposit]").await;
                browser
                    .until("document.querySelectorAll('.sent .step').length === 3")
                    .await;
                browser.click("[data-send=again]").await;
                let is_sent = "document.querySelectorAll('.sent .step').length === 4 && !document.getElementById('sent').innerText.includes('…')";
                browser.until(is_sent).await;
                browser.until("document.getAnimations().length === 0").await;
                browser.picture(&look).await;
                assert_fits(&browser, &look).await;
                assert_accessible(&browser, &look).await;
            }
        }
        browser.close(false).await;
    }
}

async fn axe_finds_nothing_serious_in_other_states() {
    let app = dev(Database::Sqlite).start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    for scheme in ["light", "dark"] {
        browser.prefer(true, scheme).await;
        browser.open(&app).await;
        browser.click("#cut").await;
        browser.until_state("offline stale").await;
        browser.click("[data-send=deposit]").await;
        browser
            .until("document.querySelectorAll('.sent .step').length === 2")
            .await;
        assert_accessible(&browser, "offline").await;
        browser.picture(&format!("offline-{scheme}")).await;
        browser.click("#cut").await;
        browser.until_state("live").await;
        browser.click("#sign-out").await;
        browser.until_state("signedOut").await;
        assert_accessible(&browser, "signed out").await;
        browser.picture(&format!("signed-out-{scheme}")).await;
    }
    browser.close(false).await;
}

async fn everything_on_a_phone_can_be_touched() {
    let app = dev(Database::Sqlite).start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    browser.on_a_phone(390).await;
    browser.open(&app).await;
    browser
        .until("document.querySelectorAll('.entry').length === 6")
        .await;
    let small = "[...document.querySelectorAll('button, input')].filter((one) => { const box = one.getBoundingClientRect(); \
                 return Math.min(box.width, box.height) < 44 }).map((one) => one.outerHTML)";
    assert_eq!(browser.value(small).await, json!([]));
    // The balance stays in sight at the bench, and hides nothing that is used.
    browser.click("[data-send=deposit]").await;
    let top = "document.getElementById('card').getBoundingClientRect().top >= 0";
    browser.until(top).await;
    browser
        .until("document.querySelectorAll('.sent .step').length === 3")
        .await;
    assert_eq!(browser.value(top).await, true);
    browser.close(false).await;
}

async fn nothing_is_cut_on_a_small_phone_in_either_language() {
    let app = dev(Database::Sqlite).start().await;
    live_a_little(&app).await;
    for language in ["en-US", "ru-RU"] {
        let browser = Browser::start_in(language).await;
        browser.on_a_phone(360).await;
        browser.open(&app).await;
        browser
            .until("document.querySelectorAll('.entry').length === 6")
            .await;
        // A word that is wider than its place sticks out of it and is no overflow of an inline box.
        let past = "[...document.querySelectorAll('.tiles button')].flatMap((button) => [...button.querySelectorAll('span, small')]\
                    .filter((one) => { const range = document.createRange(); range.selectNodeContents(one); \
                    return range.getBoundingClientRect().right > button.getBoundingClientRect().right - 4 }).map((one) => one.textContent))";
        assert_eq!(browser.value(past).await, json!([]), "{language}");
        assert_fits(&browser, language).await;
        // What scrolls below the card does not show above it or beside its corners.
        browser.value("scrollTo(0, 400)").await;
        let beside = "(() => { const box = document.getElementById('card').getBoundingClientRect(); \
                      return [[box.left + 1, box.top + 1], [box.right - 2, box.top + 1], [box.left + 1, box.bottom - 2], [box.left + 40, box.top - 4]]\
                      .every(([x, y]) => document.elementFromPoint(x, Math.max(0, y)).closest('.pinned')) })()";
        browser.until(beside).await;
        browser
            .client()
            .execute("scrollTo(0, 400)", vec![])
            .await
            .expect("scrolled");
        browser.screen(&format!("small-phone-{language}")).await;
        browser.close(false).await;
    }
}

async fn the_largest_numbers_fit_the_smallest_phone() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "9123456789.123456789")
        .await;
    reward(&app, "t1", "9123456789.123456789").await;
    let browser = Browser::start().await;
    browser.on_a_phone(320).await;
    browser.open(&app).await;
    browser.until_balance("TON", "9123456789.123456789").await;
    browser
        .until("document.querySelectorAll('.entry').length === 2")
        .await;
    assert_eq!(
        browser.text(".amount .digits").await,
        "9,123,456,789.123456789"
    );
    browser.picture("large-numbers").await;
    assert_fits(&browser, "large numbers").await;
    browser.close(false).await;
}

async fn the_colours_are_telegrams_where_it_gives_some() {
    let app = dev(Database::Sqlite).start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    browser.on_a_phone(390).await;
    browser.open(&app).await;
    browser
        .until("document.querySelectorAll('.entry').length === 6")
        .await;
    // As Telegram's own script does.
    browser
        .client()
        .execute(
            "for (const [name, colour] of Object.entries(arguments[0])) \
             document.documentElement.style.setProperty(`--tg-theme-${name}`, colour)",
            vec![json!({
                "bg-color": "#1d2733", "secondary-bg-color": "#151e27", "section-bg-color": "#1d2733", "text-color": "#ffffff",
                "hint-color": "#8a9aa9", "subtitle-text-color": "#8a9aa9", "link-color": "#b8a1ff", "button-color": "#7c5cd6",
                "button-text-color": "#ffffff", "section-separator-color": "#0d141b", "destructive-text-color": "#ff8f8a",
            })],
        )
        .await
        .expect("set");
    assert_eq!(
        browser
            .value("getComputedStyle(document.body).backgroundColor")
            .await,
        "rgb(21, 30, 39)"
    );
    assert_eq!(
        browser.value("getComputedStyle(document.body).color").await,
        "rgb(255, 255, 255)"
    );
    browser.picture("telegram-colours").await;
    browser.close(false).await;
}
