//! Whose balance it is: tokens that end, signing out, and somebody else at the same browser.

use serde_json::json;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::Database;

in_a_browser![
    a_token_that_ends_is_followed_by_another_and_nobody_notices,
    a_balance_does_not_survive_its_user,
];

async fn a_token_that_ends_is_followed_by_another_and_nobody_notices() {
    let app = dev(Database::Sqlite)
        // Long enough for a machine that does other things, too.
        .set("auth.session_ttl_s", 8)
        .start()
        .await;
    app.accepted("deposits", USER, "d1", "1").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    // The third token is sent when the first has ended.
    browser
        .until("record.frames.filter(({ frame }) => frame.type === 'auth').length === 3")
        .await;
    app.accepted("deposits", USER, "d2", "1").await;
    browser.until_balance("TON", "2.000000000").await;
    assert_eq!(browser.states().await, ["connecting", "live"]);
    assert_eq!(browser.value("record.sockets").await, 1);
    browser.close(false).await;
}

async fn a_balance_does_not_survive_its_user() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "5").await;
    app.accepted("deposits", 7, "d2", "2").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "5.000000000").await;
    browser
        .until("document.querySelectorAll('.entry').length === 1")
        .await;
    let stored =
        "Object.keys(localStorage).filter((key) => key.startsWith('balance-client')).length";
    assert_eq!(browser.value(stored).await, 1);

    browser.click("#sign-out").await;
    browser.until_state("signedOut").await;
    assert_eq!(browser.text("#balances").await, "—");
    assert_eq!(browser.text("#who").await, "");
    assert_eq!(browser.text("#announcement").await, "No balance yet");
    assert_eq!(
        browser
            .value("document.querySelectorAll('.entry').length")
            .await,
        0
    );
    assert_eq!(
        browser
            .value("document.getElementById('history').hidden")
            .await,
        true,
        "nothing is known of it"
    );
    assert_eq!(browser.value(stored).await, 0);
    // What comes for the first user now is nobody's here.
    app.accepted("deposits", USER, "d3", "1").await;

    browser.forget_shown().await;
    browser
        .value("document.getElementById('user').value = '7'")
        .await;
    browser.click("#sign-in [type=submit]").await;
    browser.until_balance("TON", "2.000000000").await;
    assert_eq!(browser.shown("TON").await, [20_000]);
    assert_eq!(browser.text("#who").await, "User 7");

    // And without signing out before.
    browser.forget_shown().await;
    browser
        .value(&format!("document.getElementById('user').value = '{USER}'"))
        .await;
    browser.click("#sign-in [type=submit]").await;
    browser.until_balance("TON", "6.000000000").await;
    assert_eq!(browser.shown("TON").await, [60_000]);
    browser
        .until("document.querySelectorAll('.entry').length === 2")
        .await;
    let kept = browser.value("JSON.stringify(localStorage)").await;
    assert!(
        !kept.as_str().expect("a text").contains("2.000000000"),
        "{kept}"
    );
    assert_eq!(
        browser
            .value("new URL(location).searchParams.get('user')")
            .await,
        json!(USER.to_string())
    );
    browser.close(false).await;
}
