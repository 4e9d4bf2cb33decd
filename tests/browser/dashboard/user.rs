//! A user's view: the actor's inside, what waits and until when, and what happened.

use serde_json::{Value, json};

use super::figures::{all_in, read, until_equal};
use super::{USER, go, live_a_little, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::support::TestApp;

in_a_browser![
    every_figure_of_a_user_is_what_the_api_says,
    a_change_that_waits_tells_which_rule_it_waits_for_and_until_when,
    a_user_who_is_not_in_memory_has_a_past_and_can_be_loaded,
    the_search_begins_with_who_is_in_memory,
    a_user_is_looked_at_without_asking_again_and_again,
];

/// What the view shows, asked for by the endpoints of their own.
async fn told(app: &TestApp, user_id: u64) -> Value {
    let actor = app.admin(&format!("/admin/v1/actors/{user_id}")).await;
    let events = app
        .admin(&format!("/admin/v1/events?user_id={user_id}&limit=200"))
        .await
        .ok();
    let entries = app
        .admin(&format!("/admin/v1/actors/{user_id}/entries?limit=20"))
        .await
        .ok();
    let actor = if actor.status == 404 {
        Value::Null
    } else {
        actor.ok()
    };
    json!({"actor": actor, "events": events["events"], "entries": entries["entries"]})
}

async fn every_figure_of_a_user_is_what_the_api_says() {
    let app = slow().set("pacing.direct_interval_ms", 0).start().await;
    let (mut first, _) = app.session(USER).await;
    let (_second, _) = app.session(USER).await;
    live_a_little(&app).await;
    first.next_frame("balance_update").await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, &format!("#user/{USER}")).await;
    // Before and after more has happened while it is looked at.
    for round in 0..3 {
        let answer = app
            .accepted("deposits", USER, &format!("more{round}"), "1234.5")
            .await;
        first.next_frame("balance_update").await;
        first
            .send_json(json!({"type": "displayed", "version": answer["version"]}))
            .await;
        app.accepted("rewards", USER, &format!("reward{round}"), "0.000000001")
            .await;
        // Of the actor, of each session, of what waits, of each entry, of each event.
        let at_least = 10 + 2 * 6 + 6 + (4 + 2 * round) * 8 + (7 + 4 * round) * 3;
        until_equal(&browser, "#user-found", at_least, || told(&app, USER)).await;
    }
    let figures = read(&browser.value(&all_in("#user-found")).await);
    let paths: Vec<&str> = figures.iter().map(|figure| figure.path.as_str()).collect();
    for wanted in [
        "actor.version",
        "actor.balances.TON",
        "actor.balances.UNI",
        "actor.verified_at",
        "actor.last_push_at",
        "actor.in_flight",
        "actor.mailbox.queued",
        "actor.counters.entries",
        "actor.pending.entries",
        "actor.pending.first",
        "actor.pending.waits_for",
        "actor.sessions.1.displayed_version",
        "entries.7.balance_after",
        "events.0.what",
    ] {
        assert!(paths.contains(&wanted), "{wanted} of {paths:?}");
    }
    // Commits, pushes and what was displayed stand on rows of their own, each at its time.
    let events = told(&app, USER).await["events"].clone();
    let points = "document.querySelector('#timeline .chart-body').chart.data.slice(1).map((row) => row.filter((at) => at !== null).length)";
    let of = |what: &str| {
        let times = events
            .as_array()
            .expect("a list")
            .iter()
            .filter(|event| event["what"] == what);
        times
            .map(|event| event["at"].as_str().expect("a time")[..23].to_owned())
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert_eq!(
        browser.value(points).await,
        json!([of("entry"), of("push"), of("displayed")])
    );
    browser.close(false).await;
}

/// Seconds of `9:58`.
const LEFT_S: &str = "document.getElementById('countdown').textContent.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)";

async fn a_change_that_waits_tells_which_rule_it_waits_for_and_until_when() {
    let app = slow().start().await;
    let (mut ws, _) = app.session(USER).await;
    app.accepted("rewards", USER, "r1", "2").await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, &format!("#user/{USER}")).await;
    let rule = "document.querySelector('[data-field=\"actor.pending.waits_for\"]')";
    browser
        .until(&format!("{rule}?.textContent.startsWith('debounce')"))
        .await;
    let due = app.admin(&format!("/admin/v1/actors/{USER}")).await.ok()["pending"]["next_push_at"]
        .clone();
    // Never sooner than it will be, and by and by just that.
    let left = format!("[{LEFT_S}, (Date.parse({due}) - Date.now()) / 1000]");
    let seen = browser.value(&left).await;
    assert!(
        seen[0].as_f64() >= seen[1].as_f64().map(|left| left - 1.0),
        "{seen}"
    );
    browser
        .until(&format!(
            "(([shown, left]) => Math.abs(shown - left) < 2)({left})"
        ))
        .await;
    let before = browser.value(LEFT_S).await;
    assert!(
        before
            .as_f64()
            .is_some_and(|left| left > 0.0 && left <= 600.0),
        "{before}"
    );
    browser.until(&format!("{LEFT_S} < {before}")).await;

    browser.click("[data-order=push]").await;
    browser.click("#confirm-yes").await;
    let push = ws.next_frame("balance_update").await;
    assert_eq!(
        (&push["version"], &push["mode"]),
        (&json!(1), &json!("paced"))
    );
    browser
        .until("document.getElementById('pending').textContent === 'Nothing waits to be pushed.'")
        .await;
    browser
        .until("document.querySelector('#happenings tbody').textContent.includes('push')")
        .await;
    until_equal(&browser, "#user-found", 20, || told(&app, USER)).await;

    // Now another rule: the interval since that push.
    app.accepted("rewards", USER, "r2", "2").await;
    browser
        .until(&format!(
            "{rule}?.textContent === 'the least interval between pushes'"
        ))
        .await;
    browser.until(&format!("{LEFT_S} > 600")).await;
    // And what every session knows already does not wait.
    ws.refresh(json!(1)).await;
    browser
        .until("document.getElementById('pending').textContent === 'Nothing waits to be pushed.'")
        .await;
    until_equal(&browser, "#user-found", 20, || told(&app, USER)).await;
    browser.close(false).await;
}

async fn a_user_who_is_not_in_memory_has_a_past_and_can_be_loaded() {
    let mut app = slow().start().await;
    live_a_little(&app).await;
    app.stop().await;
    app.start_again().await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, "#user").await;
    browser
        .until("document.activeElement.id === 'user-id'")
        .await;
    browser
        .value(&format!(
            "document.getElementById('user-id').value = '{USER}'"
        ))
        .await;
    browser.click("#find-user button").await;
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 2")
        .await;
    browser
        .until("document.getElementById('inside').textContent.startsWith('Not in memory')")
        .await;
    until_equal(&browser, "#user-found", 16, || told(&app, USER)).await;
    assert_eq!(
        app.admin(&format!("/admin/v1/actors/{USER}")).await.status,
        404,
        "looking at it loads nothing"
    );
    browser.click("#activate").await;
    browser
        .until("document.getElementById('activate').hidden")
        .await;
    until_equal(&browser, "#user-found", 26, || told(&app, USER)).await;
    // Taken out again, by another administrator.
    app.admin_post(&format!("/admin/v1/actors/{USER}/retire"))
        .await
        .ok();
    browser
        .until("!document.getElementById('activate').hidden")
        .await;
    // Nothing is left of one user at the next.
    go(&browser, "#user/7").await;
    browser
        .until(
            "document.getElementById('user-entries').textContent === 'This user has no entries.'",
        )
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('user-id').value")
            .await,
        "7"
    );
    browser.close(false).await;
}

async fn the_search_begins_with_who_is_in_memory() {
    let app = slow().start().await;
    let (_ws, _) = app.session(7).await;
    live_a_little(&app).await;
    app.admin_post(&format!("/admin/v1/actors/{USER}/refresh"))
        .await
        .ok();
    let browser = Browser::start().await;
    sign_in(&browser, &app, "#user").await;
    let users =
        "[...document.querySelectorAll('#residents tbody a')].map((one) => one.textContent).join()";
    browser
        .until(&format!("{users} === 'User 7,User {USER}'"))
        .await;
    browser.value("(() => { const sort = document.getElementById('sort'); sort.value = 'entries'; sort.dispatchEvent(new Event('change')) })()").await;
    browser
        .until(&format!("{users} === 'User {USER},User 7'"))
        .await;
    let counts = "[...document.querySelectorAll('#residents tbody tr')].map((row) => [...row.cells].slice(1, 3).map((cell) => cell.textContent).join()).join(';')";
    assert_eq!(browser.value(counts).await, "0,2;1,0");
    browser
        .until("document.getElementById('order-log').textContent.includes('admin-1Refresh')")
        .await;
    browser
        .click(&format!("#residents a[href='#user/{USER}']"))
        .await;
    until_equal(&browser, "#user-found", 26, || told(&app, USER)).await;
    browser.close(false).await;
}

/// What the page has asked for.
const ASKED: &str = "(() => { const of = (start) => record.asked.filter((path) => path.startsWith(start)).length; \
     return { streams: of('v1/live'), entries: of('v1/actors/184/entries'), \
       others: record.asked.filter((path) => path !== '../readyz' && !/^v1\\/(live|actors\\/184\\/entries)/.test(path)) } })()";

async fn a_user_is_looked_at_without_asking_again_and_again() {
    let app = slow().start().await;
    live_a_little(&app).await;
    let browser = Browser::start().await;
    sign_in(&browser, &app, &format!("#user/{USER}")).await;
    let observed = "document.querySelector('#inside tr:last-child time').dateTime";
    browser.until(observed).await;
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 2")
        .await;
    for _ in 0..3 {
        let at = browser.value(observed).await;
        browser.until(&format!("{observed} !== {at}")).await;
    }
    // The stream tells; what is in the ledger is read once for each stream, of which there is one unless it was cut.
    let asked = browser.value(ASKED).await;
    let once = json!(["v1/registry", "v1/history?seconds=3600"]);
    assert_eq!(asked["others"], once);
    assert!(
        asked["entries"].as_u64() <= asked["streams"].as_u64(),
        "{asked}"
    );
    // A new entry is read once.
    app.accepted("deposits", USER, "d2", "1").await;
    browser
        .until("document.querySelectorAll('#user-entries tbody tr').length === 3")
        .await;
    let asked = browser.value(ASKED).await;
    let once = json!(["v1/registry", "v1/history?seconds=3600"]);
    assert_eq!(asked["others"], once);
    assert!(
        asked["entries"].as_u64() <= asked["streams"].as_u64().map(|streams| streams + 1),
        "{asked}"
    );
    // What was selected stays selected while the rest is written again.
    browser
        .value("getSelection().selectAllChildren(document.querySelector('#user-entries tbody tr td:last-child'))")
        .await;
    let at = browser.value(observed).await;
    browser.until(&format!("{observed} !== {at}")).await;
    assert_eq!(browser.value("getSelection().toString()").await, "d2");
    browser.close(false).await;
}
