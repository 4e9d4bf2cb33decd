//! How the page looks and feels: phones, languages, light and dark, keyboards, screen readers, and what axe finds.

use serde_json::Value;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::{Database, TestApp};

in_a_browser![
    every_look_of_the_page_is_pictured_and_axe_finds_nothing_serious,
];

/// Something of everything in the history.
async fn live_a_little(app: &TestApp) {
    app.accepted("deposits", USER, "d1", "12.5").await;
    app.accepted("withdrawals", USER, "w1", "2.05").await;
    for tick in 0..9 {
        let entry = serde_json::json!({"event_id": format!("t{tick}"), "user_id": USER, "currency": "UNI", "amount": "137.125",
            "source": "farming"});
        app.post("rewards", entry).await.ok();
    }
    app.accepted("deposits", USER, "d2", "0.1").await;
}

async fn every_look_of_the_page_is_pictured_and_axe_finds_nothing_serious() {
    let app = dev(Database::Sqlite).start().await;
    live_a_little(&app).await;
    for (language, short) in [("en-US", "en"), ("ru-RU", "ru")] {
        let browser = Browser::start_in(language).await;
        for (is_phone, device) in [(false, "desktop"), (true, "phone")] {
            if is_phone {
                browser.on_a_phone().await;
            }
            for scheme in ["light", "dark"] {
                browser.prefer(false, scheme).await;
                browser.open(&app).await;
                assert_eq!(browser.value("document.documentElement.lang").await, short);
                browser.until("document.querySelectorAll('.entry').length === 10").await;
                browser.click("[data-send=deposit]").await;
                browser.until("document.querySelectorAll('.sent .step').length === 3").await;
                browser.click("[data-send=again]").await;
                browser.until("document.querySelectorAll('.sent li').length === 2").await;
                browser.picture(&format!("{device}-{scheme}-{short}")).await;
                assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth").await, true, "{device}");
                assert_eq!(browser.value("record.errors").await, Value::Array(vec![]));
            }
        }
        browser.close(false).await;
    }
}
