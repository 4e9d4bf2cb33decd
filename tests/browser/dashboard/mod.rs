//! The operators' dashboard in a browser. `figures` compares what stands in the page with what the API says; the others are
//! the views and what a person does in them.

mod cluster;
mod events;
mod figures;
mod find;
mod fresh;
mod hands;
mod header;
mod languages;
mod looks;
mod overview;
mod stream;
mod user;
mod views;

use serde_json::json;

use crate::driver::Browser;
use crate::page::dev;
use crate::support::{ADMIN_TOKEN, Builder, Database, TestApp};

/// Whom the tests look at.
const USER: u64 = 184;

/// Opens a view of the dashboard, signed in.
async fn sign_in(browser: &Browser, app: &TestApp, view: &str) {
    open(browser, app, view).await;
    browser
        .value(&format!(
            "document.getElementById('token').value = '{ADMIN_TOKEN}'"
        ))
        .await;
    browser.click("#sign-in button").await;
    browser
        .until("document.getElementById('sign-in').hidden")
        .await;
}

/// Opens it and does not sign in.
async fn open(browser: &Browser, app: &TestApp, view: &str) {
    // An address that differs in its hash alone would not load anything.
    browser.goto("about:blank").await;
    browser
        .goto(&format!("http://{}/admin/{view}", app.internal))
        .await;
    browser
        .until("document.activeElement?.id === 'token'")
        .await;
}

async fn go(browser: &Browser, view: &str) {
    browser.value(&format!("location.hash = '{view}'")).await;
    browser
        .until(&format!(
            "!document.getElementById('view-{}').hidden",
            view.trim_start_matches('#')
                .split(['/', '='])
                .next()
                .expect("a name")
        ))
        .await;
}

/// A service in which what is paced waits for long, and sessions that say nothing stay.
fn slow() -> Builder {
    dev(Database::Sqlite)
        .set("pacing.debounce_ms", 600_000)
        .set("pacing.min_interval_ms", 900_000)
        .set("limits.idle_timeout_ms", 3_600_000)
}

/// Something of everything: two entries, one refused as a conflict and one as too much.
async fn live_a_little(app: &TestApp) {
    app.accepted("deposits", USER, "d1", "1.5").await;
    app.accepted("rewards", USER, "r1", "2").await;
    let other = json!({"event_id": "d1", "user_id": USER, "currency": "TON", "amount": "9"});
    app.post("deposits", other)
        .await
        .problem(409, "idempotency_conflict");
    let much = json!({"event_id": "w1", "user_id": USER, "currency": "TON", "amount": "1000"});
    app.post("withdrawals", much)
        .await
        .problem(422, "insufficient_funds");
}
