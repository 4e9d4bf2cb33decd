//! The search: a deposit by its hash, an entry by its event id, a user; and what is told of what is not here.

use serde_json::json;

use super::{USER, go, sign_in, slow};
use crate::driver::Browser;
use crate::in_a_browser;
use crate::support::TonHash;

in_a_browser![
    a_deposit_is_found_by_its_hash_and_what_is_not_here_is_told_from_what_was_refused,
    an_entry_of_a_user_leads_to_what_is_left_of_it,
    what_was_found_stands_under_no_other_question,
];

/// Waits until the page says something of what was looked for.
async fn until_told(browser: &Browser, words: &str) {
    let words = json!(words);
    browser
        .until(&format!(
            "document.getElementById('found').textContent.includes({words})"
        ))
        .await;
}

async fn a_deposit_is_found_by_its_hash_and_what_is_not_here_is_told_from_what_was_refused() {
    let app = slow().start().await;
    let (known, refused) = (TonHash::of("known"), TonHash::of("refused"));
    let deposit = |hash: &TonHash, amount: &str| json!({"event_id": "d/1 #", "user_id": USER, "currency": "TON", "amount": amount, "tx_hash": hash.hex()});
    app.post("deposits", deposit(&known, "5")).await.ok();
    app.post("deposits", deposit(&refused, "7"))
        .await
        .problem(409, "idempotency_conflict");
    let browser = Browser::start().await;
    // From the address bar, in every spelling.
    let spellings = known.five_spellings();
    let escaped: String = form_urlencoded::byte_serialize(spellings[0].as_bytes()).collect();
    sign_in(&browser, &app, &format!("#find={escaped}")).await;
    until_told(&browser, "In the ledger: d/1 #").await;
    until_told(&browser, "5.000000000").await;
    for spelling in &spellings {
        go(&browser, "#find").await;
        until_told(&browser, "What became of a deposit").await;
        let text = json!(spelling);
        browser
            .value(&format!(
                "document.getElementById('find-text').value = {text}"
            ))
            .await;
        browser.click("#find-entry button").await;
        until_told(&browser, "In the ledger: d/1 #").await;
    }
    for (hash, words) in [
        (refused.hex(), "it was refused as a conflict"),
        (TonHash::of("nothing").hex(), "is not here"),
    ] {
        browser
            .value(&format!("location.hash = '#find={hash}'"))
            .await;
        until_told(&browser, words).await;
    }
    browser
        .value(&format!("location.hash = '#find={USER}'"))
        .await;
    until_told(&browser, &format!("User {USER}")).await;
    browser.click("#found .user-link").await;
    browser
        .until("!document.getElementById('view-user').hidden")
        .await;
}

async fn an_entry_of_a_user_leads_to_what_is_left_of_it() {
    let app = slow().start().await;
    app.accepted("rewards", USER, "gift", "5").await;
    let back = json!({"event_id": "back", "user_id": USER, "reverses": "gift", "amount": "2"});
    app.post("reversals", back).await.ok();
    let browser = Browser::start().await;
    sign_in(&browser, &app, &format!("#user/{USER}")).await;
    let reversed = "#user-entries [data-field='entries.0.reverses'] a";
    browser
        .until(&format!("document.querySelector(\"{reversed}\")"))
        .await;
    browser.click(reversed).await;
    until_told(&browser, "left to be reversed3.000000000").await;
}

async fn what_was_found_stands_under_no_other_question() {
    let app = slow().start().await;
    for event_id in ["first", "held"] {
        app.accepted("rewards", USER, event_id, "5").await;
    }
    let browser = Browser::start().await;
    sign_in(&browser, &app, "#find=first").await;
    until_told(&browser, "In the ledger: first").await;
    let hold = "(window.held = [], window.real = window.fetch, window.fetch = (url, ...rest) => `${url}`.includes('held') \
         ? new Promise((resolve, reject) => window.held.push(() => real(url, ...rest).then(resolve, reject).finally(() => setTimeout(() => (window.isTold = true), 100)))) : real(url, ...rest), 1)";
    browser.value(hold).await;
    browser.value("location.hash = '#find=held'").await;
    browser
        .until("window.held.length > 0 && document.getElementById('found').textContent === ''")
        .await;
    browser.value("location.hash = '#find=nothing'").await;
    until_told(&browser, "is not here").await;
    browser
        .value("(window.held.forEach((go) => go()), 1)")
        .await;
    browser.until("window.isTold").await;
    until_told(&browser, "is not here").await;
    assert!(!browser.text("#found").await.contains("held"));
    // What is not here is a 404 to the console.
    browser.close(true).await;
}
