//! Reads by back ends, and users that they create.

use serde_json::{Value, json};

use crate::support::{
    Answer, Database, Signed, TestApp, TestDatabase, eventually, on_both_databases,
};
use crate::{assert_timestamp, balances, entry};

on_both_databases![
    a_user_without_entries_has_version_0_and_a_zero_of_each_currency,
    a_balance_is_answered_with_its_version,
    entries_are_paged_newest_first,
    a_fresh_read_sees_what_was_changed_behind_the_service,
    a_telegram_id_is_linked_to_one_user_only,
    many_senders_that_retry_do_not_keep_readers_waiting,
];

async fn a_user_without_entries_has_version_0_and_a_zero_of_each_currency(database: Database) {
    let app = TestApp::start(database).await;
    for query in ["", "?fresh=true"] {
        let balance = app
            .backend(&format!("/internal/v1/users/184/balance{query}"))
            .await
            .ok();
        assert_eq!(
            (&balance["user_id"], &balance["version"]),
            (&json!(184), &json!(0))
        );
        assert_eq!(balance["balances"], balances("0.000000000", "0.000000000"));
    }
    assert_eq!(
        app.backend("/internal/v1/users/184/entries").await.ok(),
        json!({"entries": []})
    );
}

async fn a_balance_is_answered_with_its_version(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "0.1").await;
    for query in ["", "?fresh=true", "?fresh=false"] {
        let balance = app
            .backend(&format!("/internal/v1/users/1/balance{query}"))
            .await
            .ok();
        assert_eq!(
            (&balance["user_id"], &balance["version"], &balance["stale"]),
            (&json!(1), &json!(1), &json!(false))
        );
        assert_eq!(balance["balances"], balances("0.100000000", "0.000000000"));
        assert_timestamp(&balance["as_of"]);
        assert!(balance["epoch"].is_string(), "{balance}");
    }
}

async fn entries_are_paged_newest_first(database: Database) {
    let app = TestApp::start(database).await;
    let items: Vec<Value> = (1..=60)
        .map(|n| json!({"kind": "reward", "event_id": format!("e{n}"), "user_id": 1, "currency": "TON", "amount": "1"}))
        .collect();
    app.batch(json!(items)).await.ok();
    let page = async |query: &str| -> Vec<u64> {
        let answer = app
            .backend(&format!("/internal/v1/users/1/entries{query}"))
            .await
            .ok();
        let entries = answer["entries"].as_array().expect("a list").clone();
        entries
            .iter()
            .map(|entry| entry["version"].as_u64().expect("a version"))
            .collect()
    };
    assert_eq!(
        page("").await,
        (11..=60).rev().collect::<Vec<_>>(),
        "50 by default"
    );
    assert_eq!(page("?limit=3").await, [60, 59, 58]);
    assert_eq!(page("?limit=3&before_version=58").await, [57, 56, 55]);
    assert_eq!(page("?before_version=3&limit=1000").await, [2, 1]);
    assert_eq!(page("?before_version=1").await, [0_u64; 0]);
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "before_version=x",
        "before_version=0",
        "before_version=-1",
    ] {
        let answer = app
            .backend(&format!("/internal/v1/users/1/entries?{bad}"))
            .await;
        let field = bad.split('=').next();
        assert_eq!(
            answer.problem(422, "invalid_field")["field"].as_str(),
            field,
            "{bad}"
        );
    }
}

async fn a_fresh_read_sees_what_was_changed_behind_the_service(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    app.backend("/internal/v1/users/1/balance").await.ok();
    app.database.sql(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
         VALUES (1, 2, 'deposit', 'by-hand', 'TON', 500000000, 1500000000, 'by hand', 1754301900000000); \
         UPDATE accounts SET version = 2 WHERE user_id = 1; \
         UPDATE balances SET amount = 1500000000 WHERE user_id = 1 AND currency = 'TON'",
    );
    let fresh = app
        .backend("/internal/v1/users/1/balance?fresh=true")
        .await
        .ok();
    assert_eq!(
        (&fresh["version"], &fresh["balances"]["TON"]),
        (&json!(2), &json!("1.500000000"))
    );
    // From now on every reader sees it.
    let now = app.backend("/internal/v1/users/1/balance").await.ok();
    assert_eq!(
        (&now["version"], &now["balances"]),
        (&fresh["version"], &fresh["balances"])
    );
    app.assert_ledger_holds();
}

async fn a_telegram_id_is_linked_to_one_user_only(database: Database) {
    let app = TestApp::on(database)
        .set("accounts.auto_create", false)
        .start()
        .await;
    let put = async |user_id: u64, body: Value| -> Answer {
        let request = Signed::new(
            reqwest::Method::PUT,
            &format!("/internal/v1/users/{user_id}"),
        );
        app.send(request.body(body.to_string())).await
    };
    let is_done = |answer: &Answer| assert!((200..300).contains(&answer.status), "{answer:?}");
    is_done(&put(1, json!({})).await);
    is_done(&put(1, json!({"telegram_id": 777})).await);
    is_done(&put(1, json!({"telegram_id": 777})).await);
    put(2, json!({"telegram_id": 777}))
        .await
        .problem(409, "already_linked");
    is_done(&put(2, json!({"telegram_id": 778})).await);
    assert_eq!(
        put(3, json!({"telegram_id": "779"}))
            .await
            .problem(422, "invalid_field")["field"],
        "telegram_id"
    );
    put(3, json!({"telegram": 1}))
        .await
        .problem(422, "unknown_field");
    put(3, json!({"telegram_id": 777}))
        .await
        .problem(409, "already_linked");
    app.backend("/internal/v1/users/3/entries")
        .await
        .problem(404, "unknown_user");
    app.post("deposits", entry("e", 1, "TON", "1")).await.ok();
    app.assert_ledger_holds();
}

async fn many_senders_that_retry_do_not_keep_readers_waiting(database: Database) {
    const ENTRIES: u32 = 50_000;
    // Nothing but the senders and the readers reads entries.
    let app = TestApp::on(database)
        .set("audit.users_per_s", 0)
        .start()
        .await;
    let numbers = match &app.database {
        TestDatabase::Sqlite(_) => format!(
            "(WITH RECURSIVE n(v) AS (SELECT 2 UNION ALL SELECT v + 1 FROM n WHERE v < {ENTRIES}) SELECT v FROM n)"
        ),
        TestDatabase::Postgres { .. } => {
            format!("(SELECT v FROM generate_series(2, {ENTRIES}) AS v)")
        }
    };
    // The only entry in UNI is the oldest one.
    app.database.sql(&format!(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, other_balances, event_id, \
         committed_at_us) \
         SELECT 1, v, 'deposit', 's', 'TON', 1, v - 1, '{{\"UNI\":1}}', 'e' || v, 1 FROM {numbers} AS numbers \
         UNION ALL SELECT 1, 1, 'deposit', 's', 'UNI', 1, 1, NULL, 'e1', 1; \
         INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES (1, {ENTRIES}, 1, 1); \
         INSERT INTO balances (user_id, currency, amount) VALUES (1, 'TON', {ENTRIES} - 1), (1, 'UNI', 1)"
    ));
    if database == Database::Postgres {
        app.database.sql("ANALYZE entries");
    }
    let senders = (0..100).map(|_| async {
        for _ in 0..5 {
            let again = entry(&format!("e{ENTRIES}"), 1, "TON", "0.000000001");
            let answer = app.post("deposits", again).await.ok();
            assert_eq!(
                (&answer["duplicate"], &answer["balances"]),
                (&json!(true), &balances("0.000049999", "0.000000001"))
            );
        }
    });
    let readers = async {
        for user_id in 1..=20 {
            let path = format!("/internal/v1/users/{user_id}/balance?fresh=true");
            assert_eq!(app.backend(&path).await.ok()["stale"], false);
            app.plain_get(app.internal, "/readyz").await.ok();
        }
    };
    futures_util::future::join(futures_util::future::join_all(senders), readers).await;
    if database == Database::Postgres {
        // One for each duplicate; the history has a hundred times as many.
        let read = || {
            app.database.number(
                "SELECT CAST(SUM(idx_tup_read) AS BIGINT) FROM pg_stat_user_indexes WHERE indexrelname = 'entries_user_version'",
            )
        };
        eventually("the reads of all duplicates are counted", async || {
            (read() >= 500).then_some(())
        })
        .await;
        assert!(read() < i64::from(ENTRIES));
    }
    app.assert_ledger_holds();
}
