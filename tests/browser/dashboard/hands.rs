//! The dashboard by keyboard, and orders with their questions.

use fantoccini::key::Key;
use serde_json::{Value, json};

use super::{USER, live_a_little, open, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::support::ADMIN_TOKEN;

in_a_browser![
    everything_can_be_done_by_keyboard_alone,
    an_order_is_given_only_when_it_is_confirmed,
    every_order_tells_what_became_of_it,
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
            "Events",
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
