//! (b) 50 TON deposits, their hashes in five spellings, each 10 times, all at once.

use std::time::Instant;

use serde_json::json;

use crate::Report;
use crate::support::{TestApp, TonHash};

/// Deposits, one for each of the first users.
pub const DEPOSITS: u64 = 50;
/// How often each is sent.
const TIMES: usize = 10;
/// The amount of each.
pub const DEPOSIT: &str = "1.5";

pub async fn rush(app: &TestApp, report: &mut Report) {
    let start = Instant::now();
    let requests = (0..TIMES).flat_map(|time| (1..=DEPOSITS).map(move |user_id| (time, user_id)));
    let sending = requests.map(|(time, user_id)| {
        let [spelling, ..] = {
            let mut spellings = TonHash::of(&format!("deposit of {user_id}")).five_spellings();
            spellings.rotate_left(time % 5);
            spellings
        };
        let body = json!({"tx_hash": spelling, "user_id": user_id, "currency": "TON", "amount": DEPOSIT,
            "lt": (46_000_000_000_000 + user_id).to_string()});
        app.post("deposits", body)
    });
    let answers = futures_util::future::join_all(sending).await;
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    let duplicates = answers
        .iter()
        .filter(|answer| answer.ok()["duplicate"] == true)
        .count();
    assert_eq!(
        answers.len() - duplicates,
        50,
        "each deposit is credited once"
    );
    for user_id in 1..=DEPOSITS {
        let entries = app.entries(user_id).await;
        let deposits = entries
            .iter()
            .filter(|entry| entry["kind"] == "deposit")
            .count();
        assert_eq!(deposits, 1, "user {user_id}");
    }
    let sent = answers.len();
    report.line(
        "deposits in five spellings",
        format!("{sent} sent at once, 50 credited, {duplicates} duplicates, {ms:.0} ms"),
    );
}
