//! A database that refuses one entry: the others are stored.

use serde_json::{Value, json};

use crate::support::{Database, TestApp, on_both_databases};

on_both_databases![an_entry_that_the_database_refuses_fails_alone];

fn item(event_id: &str, user_id: u64) -> Value {
    json!({"kind": "reward", "event_id": event_id, "user_id": user_id, "currency": "TON", "amount": "1"})
}

async fn an_entry_that_the_database_refuses_fails_alone(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "before", "1").await;
    app.database.poison("poisoned");
    // In a batch, with neighbours of the same user before and after it, and of others.
    let items: Vec<Value> = (0..60)
        .map(|n| match n {
            30 => item("poisoned", 1),
            n => item(&format!("e{n}"), 1 + n % 6),
        })
        .collect();
    let answer = app.batch(json!(items)).await.ok();
    for (index, result) in answer["results"]
        .as_array()
        .expect("results")
        .iter()
        .enumerate()
    {
        let expected = if index == 30 { "rejected" } else { "accepted" };
        assert_eq!(result["status"], expected, "{result}");
    }
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(59), &json!(1))
    );
    let metrics = app.metrics().await;
    let code = answer["results"][30]["code"].as_str().expect("a code");
    let refused = format!("balance_entry_refusals_total{{code=\"{code}\",kind=\"reward\"}}");
    assert_eq!(metrics.value(&refused), 1.0, "{code}");
    // Among concurrent single webhooks.
    let singles = (0..30).map(|n| {
        let event_id = if n == 15 {
            "poisoned".to_owned()
        } else {
            format!("single{n}")
        };
        let body =
            json!({"event_id": event_id, "user_id": 1 + n % 6, "currency": "TON", "amount": "1"});
        app.post("rewards", body)
    });
    for (n, answer) in futures_util::future::join_all(singles)
        .await
        .iter()
        .enumerate()
    {
        if n == 15 {
            assert!(
                answer.status >= 400,
                "the poisoned one was answered {answer:?}"
            );
            answer.problem(
                answer.status,
                answer.json()["code"].as_str().expect("a code"),
            );
        } else {
            answer.ok();
        }
    }
    let mut stored = 0;
    for user_id in 1..=6 {
        let entries = app.entries(user_id).await;
        stored += entries.len();
        assert!(entries.iter().all(|entry| entry["event_id"] != "poisoned"));
        let versions: Vec<u64> = entries
            .iter()
            .rev()
            .map(|e| e["version"].as_u64().expect("a version"))
            .collect();
        assert_eq!(versions, (1..=entries.len() as u64).collect::<Vec<_>>());
    }
    assert_eq!(stored, 1 + 59 + 29);
    app.assert_ledger_holds();
}
