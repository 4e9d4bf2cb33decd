//! What the number shows: at first, when something comes, and on its way there.

use std::time::SystemTime;

use serde_json::json;

use crate::driver::Browser;
use crate::in_a_browser;
use crate::page::{USER, dev};
use crate::support::Database;

in_a_browser![
    the_first_value_is_there_on_load_and_nothing_else_was_before_it,
    a_user_without_entries_has_the_ledgers_zero,
    a_reward_arrives_unasked,
    a_deposit_is_on_the_screen_soon_after_its_answer,
    the_number_only_goes_down_by_a_withdrawal_and_stays_between_the_two_values_on_its_way,
];

async fn the_first_value_is_there_on_load_and_nothing_else_was_before_it() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d1", "1.5").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "1.500000000").await;
    assert_eq!(browser.shown("TON").await, [15_000]);
    assert_eq!(browser.text("#announcement").await, "1.5 TON, 0 UNI");
    browser
        .until("document.querySelectorAll('.entry').length === 1")
        .await;
    browser.close(false).await;
}

async fn a_user_without_entries_has_the_ledgers_zero() {
    let app = dev(Database::Sqlite).start().await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "0.000000000").await;
    assert_eq!(
        browser
            .value("document.getElementById('history').innerText.includes('Nothing has happened')")
            .await,
        true
    );
    browser.close(false).await;
}

async fn a_reward_arrives_unasked() {
    let app = dev(Database::Sqlite)
        .set("pacing.debounce_ms", 50)
        .set("pacing.min_interval_ms", 200)
        .start()
        .await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    let reward = json!({"event_id": "t1", "user_id": USER, "currency": "UNI", "amount": "2.5", "source": "farming"});
    app.post("rewards", reward).await.ok();
    browser.until_balance("UNI", "2.500000000").await;
    assert_eq!(browser.text("#change").await, "+2.5 UNI · farming");
    assert_eq!(
        browser.text("#announcement").await,
        "0 TON, 2.5 UNI. +2.5 UNI · farming"
    );
    browser
        .until("document.querySelector('.entry .what')?.textContent === 'Farming'")
        .await;
    let asked = browser
        .value("record.frames.filter((one) => one.from === 'client').map((one) => one.frame.type)")
        .await;
    assert!(
        asked
            .as_array()
            .expect("a list")
            .iter()
            .all(|of| of == "auth" || of == "displayed"),
        "{asked}"
    );
    browser
        .until(
            "record.frames.some(({ frame }) => frame.type === 'displayed' && frame.version === 1)",
        )
        .await;
    browser.close(false).await;
}

async fn a_deposit_is_on_the_screen_soon_after_its_answer() {
    // Each is to be pushed at once, however soon it follows the one before.
    let app = dev(Database::Sqlite)
        .set("pacing.direct_interval_ms", 0)
        .start()
        .await;
    let browser = Browser::start().await;
    browser.prefer(true, "light").await;
    browser.open(&app).await;
    let mut took_ms = Vec::new();
    for n in 1..=20 {
        let answer = app
            .accepted("deposits", USER, &format!("d{n}"), "0.1")
            .await;
        let answered = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64()
            * 1e3;
        let amount = answer["balances"]["TON"]
            .as_str()
            .expect("an amount")
            .to_owned();
        browser.until_balance("TON", &amount).await;
        browser
            .until("record.exact.every(({ paintedMs }) => paintedMs)")
            .await;
        let (shown, painted_ms) = browser.exact("TON").await.pop().expect("it is there");
        assert_eq!(shown, amount);
        took_ms.push(painted_ms - answered);
    }
    took_ms.sort_by(f64::total_cmp);
    println!(
        "from the webhook's answer to painted, 20 deposits: median {:.1} ms, 90 % {:.1} ms, worst {:.1} ms",
        took_ms[10], took_ms[18], took_ms[19]
    );
    browser.close(false).await;
}

async fn the_number_only_goes_down_by_a_withdrawal_and_stays_between_the_two_values_on_its_way() {
    let app = dev(Database::Sqlite).start().await;
    app.accepted("deposits", USER, "d0", "1").await;
    let browser = Browser::start().await;
    browser.open(&app).await;
    browser.until_balance("TON", "1.000000000").await;
    browser.forget_shown().await;
    for n in 1..=8 {
        app.accepted("deposits", USER, &format!("d{n}"), "1.25")
            .await;
    }
    browser.until_balance("TON", "11.000000000").await;
    let up = browser.shown("TON").await;
    assert!(up.is_sorted() && up.len() > 3, "{up:?}");
    assert!(
        up.iter().all(|units| (10_000..=110_000).contains(units)),
        "{up:?}"
    );

    browser.forget_shown().await;
    app.accepted("withdrawals", USER, "w1", "10.5").await;
    browser.until_balance("TON", "0.500000000").await;
    let down = browser.shown("TON").await;
    assert!(down.iter().rev().is_sorted() && down.len() > 3, "{down:?}");
    assert!(
        down.iter().all(|units| (5_000..110_000).contains(units)),
        "{down:?}"
    );
    assert_eq!(browser.text("#change").await, "−10.5 TON · withdrawal");
    browser.close(false).await;
}
