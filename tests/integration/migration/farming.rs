//! "Run beside" of docs/migration.md: the webhook within the old transaction, by the page's own JavaScript.

use serde_json::json;

use super::old_application::OldApplication;
use super::{OLD_TABLES, balance};
use crate::support::{Answer, Database, TestApp, on_postgres};

on_postgres![
    a_farming_tick_is_sent_within_the_old_transaction_and_counts_there_when_the_service_is_away
];

async fn a_farming_tick_is_sent_within_the_old_transaction_and_counts_there_when_the_service_is_away(
    database: Database,
) {
    let mut app = TestApp::start(database).await;
    let old = Database::Postgres.create(app.dir.path());
    old.sql(OLD_TABLES);
    old.sql("INSERT INTO users VALUES (1, 0, 0)");
    let Some(application) = OldApplication::start(&app, &old.url()) else {
        return;
    };
    let http = app.http.clone();
    let farm = async |period: &str| {
        let url = format!("http://{}/farm/1/0.5/{period}", application.addr);
        let answer = http.post(url).send().await.expect("an answer");
        Answer::read(answer).await.expect("whole").ok()
    };
    let old_balance = || old.number("SELECT (balance_uni * 10)::bigint FROM users WHERE id = 1");
    assert_eq!(farm("1").await, json!({"failures": []}));
    assert_eq!(balance(&app, 1, "UNI").await, "0.500000000");
    assert_eq!(old_balance(), 5);
    app.kill();
    assert_eq!(farm("2").await, json!({"failures": ["connection_failed"]}));
    assert_eq!(old_balance(), 10);
    app.start_again().await;
    assert_eq!(balance(&app, 1, "UNI").await, "0.500000000");
    assert_eq!(farm("3").await, json!({"failures": []}));
    assert_eq!(balance(&app, 1, "UNI").await, "1.000000000");
    let entries = app.entries(1).await;
    let ids: Vec<_> = entries
        .iter()
        .map(|entry| entry["event_id"].clone())
        .collect();
    assert_eq!(ids, ["farm:1:3", "farm:1:1"]);
}
