//! Reads for systems that follow the ledger: an entry by its key, all balances, and the feed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Database, Signed, TestApp, TonHash, on_both_databases, on_sqlite};
use crate::{assert_keys, balances, entry, with};

on_both_databases![
    an_entry_is_found_by_each_of_its_keys_and_says_what_is_left,
    a_key_that_cannot_be_used_is_refused_by_its_parameter,
    administrators_find_entries_histories_and_what_was_refused,
    all_balances_come_page_by_page,
    the_feed_gives_every_entry_once_in_order,
    a_follower_waits_for_the_first_entry,
    many_followers_wait_without_a_connection_of_the_pool,
    a_cursor_of_another_epoch_is_told_apart,
];
on_sqlite![
    a_waiting_follower_is_answered_when_the_service_stops,
    more_followers_than_may_wait_are_refused,
    a_cursor_is_good_after_a_restart,
];

const FEED: &str = "/internal/v1/feed";

/// A page of the feed: its entries by their event ids, and the next cursor.
async fn page(app: &TestApp, query: &str) -> (Vec<String>, String) {
    let answer = app.backend(&format!("{FEED}{query}")).await.ok();
    assert_keys(&answer, &["epoch", "entries", "next"]);
    let entries = answer["entries"].as_array().expect("a list");
    let event = |entry: &Value| entry["event_id"].as_str().expect("a text").to_owned();
    let next = answer["next"].as_str().expect("a cursor").to_owned();
    (entries.iter().map(event).collect(), next)
}

async fn an_entry_is_found_by_each_of_its_keys_and_says_what_is_left(database: Database) {
    let app = TestApp::start(database).await;
    let hash = TonHash::of("d");
    let deposit = with(
        &entry("d", 1, "TON", "5"),
        json!({"tx_hash": hash.hex(), "metadata": {"rate": 1.50}}),
    );
    app.post("deposits", deposit).await.ok();
    let mut in_history = app.entries(1).await.remove(0);
    in_history["left"] = "5.000000000".into();
    let by_hash = hash.five_spellings().map(|spelling| {
        let escaped: String = form_urlencoded::byte_serialize(spelling.as_bytes()).collect();
        format!("tx_hash={escaped}")
    });
    let by_event = [
        "event_id=d".to_owned(),
        format!("event_id=ton:{}", hash.hex()),
    ];
    for query in by_hash.iter().chain(&by_event) {
        let found = app.backend(&format!("/internal/v1/entries?{query}")).await;
        assert_eq!(found.ok(), in_history, "{query}");
    }
    let back = json!({"event_id": "r", "user_id": 1, "reverses": "d", "amount": "2"});
    app.post("reversals", back).await.ok();
    let found = app.backend("/internal/v1/entries?event_id=d").await.ok();
    assert_eq!(found["left"], "3.000000000");
    let reversal = app.backend("/internal/v1/entries?event_id=r").await.ok();
    assert_eq!(
        (&reversal["reverses"], reversal.get("left")),
        (&json!("d"), None)
    );
    let rest = json!({"event_id": "r2", "user_id": 1, "reverses": "d"});
    app.post("reversals", rest).await.ok();
    let found = app.backend("/internal/v1/entries?event_id=d").await.ok();
    assert_eq!(found["left"], "0.000000000");
}

async fn a_key_that_cannot_be_used_is_refused_by_its_parameter(database: Database) {
    let app = TestApp::start(database).await;
    let hash = TonHash::of("none").hex();
    for (path, status, code, field) in [
        (
            "internal/v1/entries".to_owned(),
            422,
            "invalid_field",
            "event_id",
        ),
        (
            format!("internal/v1/entries?event_id=a&tx_hash={hash}"),
            422,
            "invalid_field",
            "tx_hash",
        ),
        (
            "internal/v1/entries?event_id=".into(),
            422,
            "invalid_field",
            "event_id",
        ),
        (
            "internal/v1/entries?event_id=%0a".into(),
            422,
            "invalid_field",
            "event_id",
        ),
        (
            "internal/v1/entries?tx_hash=ab".into(),
            422,
            "invalid_tx_hash",
            "tx_hash",
        ),
        (
            "internal/v1/entries?id=a".into(),
            422,
            "invalid_field",
            "id",
        ),
        (
            "internal/v1/entries?event_id=a".into(),
            404,
            "unknown_entry",
            "event_id",
        ),
        (
            format!("internal/v1/entries?tx_hash={hash}"),
            404,
            "unknown_entry",
            "tx_hash",
        ),
        (
            "internal/v1/balances?limit=0".into(),
            422,
            "invalid_field",
            "limit",
        ),
        (
            "internal/v1/balances?limit=1001".into(),
            422,
            "invalid_field",
            "limit",
        ),
        (
            "internal/v1/balances?after=-1".into(),
            422,
            "invalid_field",
            "after",
        ),
        (
            "internal/v1/balances?after=9007199254740992".into(),
            422,
            "invalid_field",
            "after",
        ),
        (
            "internal/v1/balances?after=x".into(),
            422,
            "invalid_field",
            "after",
        ),
        (
            "internal/v1/feed?limit=0".into(),
            422,
            "invalid_field",
            "limit",
        ),
        (
            "internal/v1/feed?limit=1001".into(),
            422,
            "invalid_field",
            "limit",
        ),
        (
            "internal/v1/feed?wait_ms=30001".into(),
            422,
            "invalid_field",
            "wait_ms",
        ),
        (
            "internal/v1/feed?wait_ms=-1".into(),
            422,
            "invalid_field",
            "wait_ms",
        ),
        (
            "internal/v1/feed?after=".into(),
            422,
            "invalid_field",
            "after",
        ),
        (
            "internal/v1/feed?after=17".into(),
            422,
            "invalid_field",
            "after",
        ),
        (
            "internal/v1/feed?after=latest&after=latest".into(),
            422,
            "invalid_field",
            "after",
        ),
    ] {
        let problem = app.backend(&format!("/{path}")).await.problem(status, code);
        assert_eq!(problem["field"], field, "{path}: {problem}");
    }
}

async fn administrators_find_entries_histories_and_what_was_refused(database: Database) {
    let app = TestApp::start(database).await;
    let (known, refused) = (TonHash::of("known"), TonHash::of("refused"));
    let deposit = |event: &str, hash: &TonHash, amount: &str| {
        with(
            &entry(event, 1, "TON", amount),
            json!({"tx_hash": hash.hex()}),
        )
    };
    app.post("deposits", deposit("d", &known, "5")).await.ok();
    app.accepted("rewards", 1, "r", "1").await;
    let conflict = app.post("deposits", deposit("d", &refused, "7")).await;
    conflict.problem(409, "idempotency_conflict");
    let find = async |query: String| app.admin(&format!("/admin/v1/entries?{query}")).await;
    for query in ["event_id=d".to_owned(), format!("tx_hash={}", known.hex())] {
        let found = find(query).await.ok();
        assert_eq!(
            (&found["event_id"], &found["left"]),
            (&json!("d"), &json!("5.000000000"))
        );
    }
    let history = find("user_id=1&limit=1".into()).await.ok();
    assert_eq!(history["entries"][0]["event_id"], "r", "{history}");
    let older = find("user_id=1&before_version=2".into()).await.ok();
    assert_eq!(older["entries"][0]["event_id"], "d", "{older}");
    let found = find(format!("tx_hash={}", refused.hex()))
        .await
        .problem(404, "unknown_entry");
    let conflicts = found["conflicts"].as_array().expect("a list");
    assert_eq!(conflicts.len(), 1, "{found}");
    assert_eq!(conflicts[0]["second"]["amount"], "7.000000000");
    assert_eq!(conflicts[0]["first"]["event_id"], "d");
    let nowhere = find("event_id=nowhere".into())
        .await
        .problem(404, "unknown_entry");
    assert_eq!(nowhere["conflicts"], json!([]), "{nowhere}");
    for (query, field) in [
        ("", "event_id"),
        ("event_id=d&user_id=1", "user_id"),
        ("event_id=d&limit=1", "limit"),
        ("event_id=d&before_version=1", "before_version"),
        ("user_id=0", "user_id"),
        ("user_id=1&limit=0", "limit"),
        ("user_id=1&before_version=0", "before_version"),
    ] {
        let problem = find(query.into()).await.problem(422, "invalid_field");
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
    app.backend("/admin/v1/entries?event_id=d")
        .await
        .problem(401, "unauthorized");
}

async fn all_balances_come_page_by_page(database: Database) {
    let app = TestApp::start(database).await;
    let empty = app.backend("/internal/v1/balances").await.ok();
    assert_eq!(empty, json!({"balances": [], "next": null}));
    for user_id in [7, 3, 5] {
        app.accepted("deposits", user_id, &format!("d{user_id}"), "2")
            .await;
    }
    app.accepted("withdrawals", 5, "w", "2").await;
    let made = Signed::new(reqwest::Method::PUT, "/internal/v1/users/4").body("{}");
    app.send(made).await.ok();
    let row = |user_id: u64, version: u64, ton: &str| json!({"user_id": user_id, "version": version, "balances": balances(ton, "0.000000000")});
    let (two, zero) = ("2.000000000", "0.000000000");
    let all = json!([
        row(3, 1, two),
        row(4, 0, zero),
        row(5, 2, zero),
        row(7, 1, two)
    ]);
    let whole = app.backend("/internal/v1/balances").await.ok();
    assert_eq!(whole, json!({"balances": all, "next": null}));
    let exact = app.backend("/internal/v1/balances?limit=4").await.ok();
    assert_eq!(exact["next"], json!(null), "no page is empty");
    let mut read = Vec::new();
    let mut query = "?limit=3".to_owned();
    loop {
        let page = app
            .backend(&format!("/internal/v1/balances{query}"))
            .await
            .ok();
        read.extend(page["balances"].as_array().expect("a list").clone());
        match page["next"].as_u64() {
            Some(next) => query = format!("?limit=3&after={next}"),
            None => break,
        }
    }
    assert_eq!(Value::Array(read), all);
}

async fn the_feed_gives_every_entry_once_in_order(database: Database) {
    let app = TestApp::start(database).await;
    let (nothing, start) = page(&app, "").await;
    assert!(nothing.is_empty());
    let hash = TonHash::of("d");
    let body = with(
        &entry("e0", 1, "TON", "5"),
        json!({"tx_hash": hash.hex(), "source": "ton"}),
    );
    app.post("deposits", body).await.ok();
    let back = json!({"event_id": "e1", "user_id": 1, "reverses": "e0", "amount": "1"});
    app.post("reversals", back).await.ok();
    let items: Value = (2..40)
        .map(|n| {
            with(
                &entry(&format!("e{n}"), 1 + n % 3, "TON", "1"),
                json!({"kind": "reward"}),
            )
        })
        .collect();
    assert_eq!(app.batch(items).await.ok()["rejected"], 0);
    // A duplicate and a refused entry are no entries.
    app.post("rewards", entry("e2", 3, "TON", "1")).await.ok();
    app.post("withdrawals", entry("w", 9, "TON", "1"))
        .await
        .problem(422, "insufficient_funds");
    let whole = app.backend(FEED).await.ok();
    let entries = whole["entries"].as_array().expect("a list").clone();
    assert_eq!(entries.len(), 40);
    let mut histories = Vec::new();
    for user_id in 1..=3_u64 {
        let mut history = app.entries(user_id).await;
        history.reverse();
        let of_user = |entry: &&Value| entry["user_id"] == user_id;
        let fed: Vec<Value> = entries.iter().filter(of_user).cloned().collect();
        assert_eq!(fed, history, "as in the history, in the order of versions");
        histories.extend(history);
    }
    assert_eq!(histories.len(), 40);
    let in_whole: Vec<String> = entries
        .iter()
        .map(|entry| entry["event_id"].as_str().expect("a text").to_owned())
        .collect();
    for (first, limit) in [(String::new(), 7), (format!("&after={start}"), 1)] {
        let mut read = Vec::new();
        let mut after = first;
        loop {
            let (events, next) = page(&app, &format!("?limit={limit}{after}")).await;
            let again = page(&app, &format!("?limit={limit}{after}")).await;
            assert_eq!(again, (events.clone(), next.clone()), "asked twice");
            if events.is_empty() {
                break;
            }
            read.extend(events);
            after = format!("&after={next}");
        }
        assert_eq!(read, in_whole);
    }
    let (none, now) = page(&app, "?after=latest&wait_ms=30000").await;
    assert!(none.is_empty());
    app.accepted("rewards", 1, "new", "1").await;
    let (events, _) = page(&app, &format!("?after={now}")).await;
    assert_eq!(events, ["new"]);
}

async fn a_follower_waits_for_the_first_entry(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("rewards", 1, "old", "1").await;
    let (_, now) = page(&app, "?after=latest").await;
    let (nothing, same) = page(&app, &format!("?after={now}&wait_ms=50")).await;
    assert_eq!((nothing.len(), &same), (0, &now), "the time is over");
    let query = format!("?after={now}&wait_ms=30000");
    let posted = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        app.accepted("rewards", 1, "new", "1").await
    };
    let (waited, _) = tokio::join!(page(&app, &query), posted);
    assert_eq!(waited.0, ["new"]);
}

async fn many_followers_wait_without_a_connection_of_the_pool(database: Database) {
    let app = TestApp::on(database)
        .set("database.pool_size", 1)
        .start()
        .await;
    let (_, now) = page(&app, "?after=latest").await;
    let query = format!("?after={now}&wait_ms=30000");
    let waiting = futures_util::future::join_all((0..40).map(|_| page(&app, &query)));
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Reads go on meanwhile.
        app.backend("/internal/v1/users/1/balance?fresh=true")
            .await
            .ok();
        assert!(app.entries(1).await.is_empty());
        app.accepted("rewards", 1, "new", "1").await
    };
    let (pages, _) = tokio::join!(waiting, others);
    assert!(
        pages.iter().all(|(events, _)| events == &["new"]),
        "{pages:?}"
    );
}

async fn a_cursor_of_another_epoch_is_told_apart(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("rewards", 1, "a", "1").await;
    let (_, cursor) = page(&app, "").await;
    let (epoch, _) = cursor.split_once('.').expect("an epoch");
    let refused =
        async |cursor: &str| -> Answer { app.backend(&format!("{FEED}?after={cursor}")).await };
    refused("0123456789abcdef.1")
        .await
        .problem(409, "another_epoch");
    // Of a copy of this ledger that had more entries.
    refused(&format!("{epoch}.2"))
        .await
        .problem(409, "another_epoch");
    app.database
        .sql("UPDATE ledger_info SET epoch = 'fedcba9876543210'");
    let problem = refused(&cursor).await.problem(409, "another_epoch");
    assert_eq!(problem["field"], "after");
    let (events, next) = page(&app, "").await;
    assert_eq!(events, ["a"]);
    assert_eq!(next.split('.').next(), Some("fedcba9876543210"));
}

async fn a_waiting_follower_is_answered_when_the_service_stops(database: Database) {
    let mut app = TestApp::start(database).await;
    let sender = app.sender();
    let path = format!("{FEED}?wait_ms=30000");
    let waiting = tokio::spawn(async move { sender.try_send(Signed::get(&path)).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = std::time::Instant::now();
    assert_eq!(app.stop().await.code(), Some(0));
    let answer = waiting.await.expect("no panic").expect("an answer").ok();
    assert_eq!(answer["entries"], json!([]));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "not after its wait"
    );
}

async fn more_followers_than_may_wait_are_refused(database: Database) {
    let app = TestApp::start(database).await;
    let (_, now) = page(&app, "?after=latest").await;
    let path = format!("{FEED}?after={now}&wait_ms=30000");
    let service = &app;
    let waiting = (0..270).map(|_| {
        let path = path.clone();
        async move {
            let app = service;
            let answer = app.backend(&path).await;
            if answer.status == 503 {
                // The first that is refused lets the others go.
                app.post("rewards", entry("new", 1, "TON", "1")).await.ok();
            }
            answer
        }
    });
    let answers = futures_util::future::join_all(waiting).await;
    let (mut refused, mut served) = (0, 0);
    for answer in answers {
        match answer.status {
            503 => {
                answer.problem(503, "overloaded");
                refused += 1;
            }
            _ => {
                assert_eq!(answer.ok()["entries"][0]["event_id"], "new");
                served += 1;
            }
        }
    }
    assert!(refused >= 1 && served >= 256, "{refused} {served}");
}

async fn a_cursor_is_good_after_a_restart(database: Database) {
    let mut app = TestApp::start(database).await;
    app.accepted("rewards", 1, "a", "1").await;
    let (_, cursor) = page(&app, "").await;
    app.accepted("rewards", 1, "b", "1").await;
    app.kill();
    app.wait().await;
    app.start_again().await;
    app.accepted("rewards", 1, "c", "1").await;
    let (events, _) = page(&app, &format!("?after={cursor}")).await;
    assert_eq!(events, ["b", "c"]);
}
