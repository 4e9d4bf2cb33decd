//! Entries by single webhooks: answers, duplicates, conflicts, transaction hashes, floors and ceilings.

use serde_json::{Value, json};

use crate::support::{Database, TestApp, TonHash, on_both_databases};
use crate::{assert_keys, assert_timestamp, balances, entry, with};

on_both_databases![
    an_accepted_entry_is_answered_in_its_exact_shape,
    every_kind_has_its_sign_and_the_versions_count_all_of_them,
    a_duplicate_is_answered_as_the_first_time,
    the_same_event_with_other_content_is_a_conflict,
    one_hash_in_five_spellings_is_one_deposit,
    five_spellings_at_once_are_one_deposit,
    a_rush_of_new_users_is_accepted,
    a_deposit_with_both_is_known_by_both,
    an_event_of_one_deposit_with_the_hash_of_another_is_a_conflict,
    an_entry_refused_for_insufficient_funds_may_succeed_later,
    an_adjustment_never_goes_below_zero,
    a_balance_stops_at_the_storable_range,
    unknown_users_are_refused_without_auto_create,
    a_created_user_is_readable_at_once,
    a_balance_is_stored_whether_its_row_is_there_or_not,
];

async fn an_accepted_entry_is_answered_in_its_exact_shape(database: Database) {
    let app = TestApp::start(database).await;
    let body = json!({
        "event_id": "farm:184:2025-08-04T10:05Z", "user_id": 184, "currency": "UNI", "amount": "12.5",
        "source": "farming", "occurred_at": "2025-08-04T10:05:00Z", "metadata": {"rate": "0.01"}
    });
    let first = app.post("rewards", body).await.ok();
    assert_keys(
        &first,
        &[
            "event_id",
            "user_id",
            "version",
            "duplicate",
            "balances",
            "committed_at",
        ],
    );
    assert_eq!(first["event_id"], "farm:184:2025-08-04T10:05Z");
    assert_eq!(
        (&first["user_id"], &first["version"]),
        (&json!(184), &json!(1))
    );
    assert_eq!(first["duplicate"], false);
    assert_eq!(first["balances"], balances("0.000000000", "12.500000000"));
    assert_timestamp(&first["committed_at"]);
    let second = app
        .post("deposits", entry("e2", 184, "TON", "0.1"))
        .await
        .ok();
    assert_eq!(second["version"], 2);
    assert_eq!(second["balances"], balances("0.100000000", "12.500000000"));
    let other = app
        .post("deposits", entry("e3", 185, "TON", "7"))
        .await
        .ok();
    assert_eq!(
        (&other["version"], &other["balances"]),
        (&json!(1), &balances("7.000000000", "0.000000000"))
    );
    app.assert_ledger_holds();
}

async fn every_kind_has_its_sign_and_the_versions_count_all_of_them(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "10").await;
    app.accepted("rewards", 1, "r", "0.5").await;
    app.accepted("withdrawals", 1, "w", "3.25").await;
    for (event_id, amount) in [("a+", "1.75"), ("a-", "-9")] {
        let body = with(
            &entry(event_id, 1, "TON", amount),
            json!({"reason": "support case 7"}),
        );
        app.post("adjustments", body).await.ok();
    }
    let entries = app.entries(1).await;
    let seen: Vec<[&str; 3]> = entries
        .iter()
        .map(|e| ["kind", "amount", "balance_after"].map(|key| e[key].as_str().expect(key)))
        .collect();
    assert_eq!(
        seen,
        [
            ["adjustment", "-9.000000000", "0.000000000"],
            ["adjustment", "1.750000000", "9.000000000"],
            ["withdrawal", "-3.250000000", "7.250000000"],
            ["reward", "0.500000000", "10.500000000"],
            ["deposit", "10.000000000", "10.000000000"],
        ]
    );
    let versions: Vec<&Value> = entries.iter().map(|e| &e["version"]).collect();
    assert_eq!(versions, [5, 4, 3, 2, 1]);
    assert_eq!(entries[0]["reason"], "support case 7");
    app.assert_ledger_holds();
}

async fn a_duplicate_is_answered_as_the_first_time(database: Database) {
    let app = TestApp::start(database).await;
    let body = with(
        &entry("first", 1, "TON", "1.5"),
        json!({"source": "a", "metadata": {"n": 1}}),
    );
    let first = app.post("deposits", body.clone()).await.ok();
    app.accepted("deposits", 1, "second", "2").await;
    app.accepted("withdrawals", 1, "third", "0.5").await;
    // Only user, kind, currency and amount are compared; another spelling of the amount is the same
    // amount.
    let other_words = with(
        &body,
        json!({"amount": "01.50", "source": "b", "metadata": null}),
    );
    for again in [body, other_words] {
        let duplicate = app.post("deposits", again).await.ok();
        assert_eq!(duplicate, with(&first, json!({"duplicate": true})));
    }
    let now = app.backend("/internal/v1/users/1/balance").await.ok();
    assert_eq!(
        (&now["version"], &now["balances"]),
        (&json!(3), &balances("3.000000000", "0.000000000"))
    );
    assert_eq!(app.entries(1).await.len(), 3);
}

async fn the_same_event_with_other_content_is_a_conflict(database: Database) {
    let app = TestApp::start(database).await;
    let body = entry("e", 1, "TON", "1");
    app.post("deposits", body.clone()).await.ok();
    for (what, change) in [
        ("deposits", json!({"amount": "2"})),
        ("deposits", json!({"currency": "UNI"})),
        ("deposits", json!({"user_id": 2})),
        ("rewards", json!({})),
        ("withdrawals", json!({})),
        (
            "deposits",
            json!({"tx_hash": TonHash::of("another").hex(), "amount": "3"}),
        ),
    ] {
        app.post(what, with(&body, change))
            .await
            .problem(409, "idempotency_conflict");
    }
    assert_eq!(app.entries(1).await.len(), 1);
    assert_eq!(
        app.backend("/internal/v1/users/2/balance").await.ok()["version"],
        0
    );
    assert_eq!(app.post("deposits", body).await.ok()["duplicate"], true);
    app.assert_ledger_holds();
}

async fn one_hash_in_five_spellings_is_one_deposit(database: Database) {
    let app = TestApp::start(database).await;
    let hash = TonHash::of("a deposit");
    let deposit = |tx_hash: &str| {
        json!({"tx_hash": tx_hash, "user_id": 1, "currency": "TON", "amount": "0.1", "lt": "46000000000001",
            "account": "Ef8zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM0vF"})
    };
    let [first_spelling, others @ ..] = hash.five_spellings();
    let first = app.post("deposits", deposit(&first_spelling)).await.ok();
    assert_eq!(first["event_id"], format!("ton:{}", hash.hex()));
    for spelling in others.iter().chain([&hash.unpadded()]) {
        let again = app.post("deposits", deposit(spelling)).await.ok();
        assert_eq!(
            again,
            with(&first, json!({"duplicate": true})),
            "{spelling}"
        );
    }
    let entries = app.entries(1).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (&entries[0]["tx_hash"], &entries[0]["lt"]),
        (&json!(hash.hex()), &json!("46000000000001"))
    );
    assert_eq!(entries[0]["account"], format!("-1:{}", "3".repeat(64)));
    // A known hash with a new event id is also a duplicate; with another amount it is a conflict.
    let named = with(
        &deposit(&first_spelling),
        json!({"event_id": "named later"}),
    );
    let again = app.post("deposits", named).await.ok();
    assert_eq!(
        (&again["duplicate"], &again["version"]),
        (&json!(true), &json!(1))
    );
    let more = with(&deposit(&first_spelling), json!({"amount": "0.2"}));
    app.post("deposits", more)
        .await
        .problem(409, "idempotency_conflict");
    assert_eq!(app.entries(1).await.len(), 1);
}

async fn five_spellings_at_once_are_one_deposit(database: Database) {
    let app = TestApp::start(database).await;
    let hash = TonHash::of("a race");
    let bodies: Vec<Value> = (0..4)
        .flat_map(|_| hash.five_spellings())
        .map(|tx_hash| json!({"tx_hash": tx_hash, "user_id": 1, "currency": "TON", "amount": "1"}))
        .collect();
    let answers =
        futures_util::future::join_all(bodies.into_iter().map(|body| app.post("deposits", body)))
            .await;
    let first_ones = answers
        .iter()
        .filter(|answer| answer.ok()["duplicate"] == false)
        .count();
    assert_eq!(first_ones, 1);
    assert!(answers.iter().all(|answer| answer.ok()["version"] == 1));
    assert_eq!(app.entries(1).await.len(), 1);
}

async fn a_rush_of_new_users_is_accepted(database: Database) {
    let app = TestApp::start(database).await;
    for user_id in 1..=10 {
        let rush = (0..100).map(|n| {
            app.post(
                "deposits",
                entry(&format!("{user_id}.{n}"), user_id, "TON", "1"),
            )
        });
        let answers = futures_util::future::join_all(rush).await;
        let refused: Vec<&str> = answers
            .iter()
            .filter(|a| a.status != 200)
            .map(|a| a.text.as_str())
            .collect();
        assert!(
            refused.is_empty(),
            "{} of 100 refused: {}",
            refused.len(),
            refused[0]
        );
        assert_eq!(
            app.backend(&format!("/internal/v1/users/{user_id}/balance"))
                .await
                .ok()["version"],
            100
        );
    }
}

async fn a_deposit_with_both_is_known_by_both(database: Database) {
    let app = TestApp::start(database).await;
    let (hash, other) = (TonHash::of("one").hex(), TonHash::of("two").hex());
    let both = with(&entry("mine", 1, "TON", "1"), json!({"tx_hash": hash}));
    let first = app.post("deposits", both.clone()).await.ok();
    assert_eq!(
        (&first["event_id"], &first["duplicate"]),
        (&json!("mine"), &json!(false))
    );
    let by_hash = with(&both, json!({"event_id": null}));
    let by_event = with(&both, json!({"tx_hash": null}));
    for known in [&both, &by_hash, &by_event] {
        let again = app.post("deposits", known.clone()).await.ok();
        assert_eq!(
            (&again["duplicate"], &again["version"]),
            (&json!(true), &json!(1)),
            "{known}"
        );
    }
    app.post("deposits", with(&both, json!({"tx_hash": other})))
        .await
        .problem(409, "idempotency_conflict");
    assert_eq!(app.entries(1).await.len(), 1);
    // The hash's own event id, spelled out.
    let spelled_out = entry(&format!("ton:{other}"), 1, "TON", "2");
    app.post(
        "deposits",
        with(&spelled_out, json!({"event_id": null, "tx_hash": other})),
    )
    .await
    .ok();
    assert_eq!(
        app.post("deposits", spelled_out).await.ok()["duplicate"],
        true
    );
    assert_eq!(app.entries(1).await.len(), 2);
}

async fn an_event_of_one_deposit_with_the_hash_of_another_is_a_conflict(database: Database) {
    let app = TestApp::start(database).await;
    let (one, two) = (TonHash::of("one").hex(), TonHash::of("two").hex());
    let deposit =
        |event: &str, hash: &str| with(&entry(event, 1, "TON", "1"), json!({"tx_hash": hash}));
    app.post("deposits", deposit("A", &one)).await.ok();
    app.post("deposits", deposit("B", &two)).await.ok();
    app.post("deposits", deposit("A", &two))
        .await
        .problem(409, "idempotency_conflict");
    app.post("deposits", deposit("B", &one))
        .await
        .problem(409, "idempotency_conflict");
    assert_eq!(app.entries(1).await.len(), 2);
    app.assert_ledger_holds();
}

async fn an_entry_refused_for_insufficient_funds_may_succeed_later(database: Database) {
    let app = TestApp::start(database).await;
    let withdrawal = entry("w", 1, "TON", "5");
    let problem = app
        .post("withdrawals", withdrawal.clone())
        .await
        .problem(422, "insufficient_funds");
    assert_eq!(problem["available"], "0.000000000");
    app.accepted("deposits", 1, "d1", "4.999999999").await;
    let problem = app
        .post("withdrawals", withdrawal.clone())
        .await
        .problem(422, "insufficient_funds");
    assert_eq!(problem["available"], "4.999999999");
    app.accepted("deposits", 1, "d2", "0.000000001").await;
    let answer = app.post("withdrawals", withdrawal.clone()).await.ok();
    assert_eq!(
        (&answer["version"], &answer["balances"]["TON"]),
        (&json!(3), &json!("0.000000000"))
    );
    assert_eq!(
        app.post("withdrawals", withdrawal).await.ok()["duplicate"],
        true
    );
    app.assert_ledger_holds();
}

async fn an_adjustment_never_goes_below_zero(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let body = with(
        &entry("a", 1, "TON", "-1.000000001"),
        json!({"reason": "mistake"}),
    );
    let problem = app
        .post("adjustments", body)
        .await
        .problem(422, "insufficient_funds");
    assert_eq!(problem["available"], "1.000000000");
    assert_eq!(app.entries(1).await.len(), 1);
}

async fn a_balance_stops_at_the_storable_range(database: Database) {
    let app = TestApp::start(database).await;
    let top = app
        .accepted("deposits", 1, "top", "9223372036.854775807")
        .await;
    assert_eq!(top["balances"]["TON"], "9223372036.854775807");
    app.post("deposits", entry("more", 1, "TON", "0.000000001"))
        .await
        .problem(422, "amount_overflow");
    app.post("deposits", entry("alone", 2, "TON", "9223372036.854775808"))
        .await
        .problem(422, "amount_overflow");
    app.accepted("withdrawals", 1, "less", "1").await;
    assert_eq!(
        app.accepted("deposits", 1, "more", "0.000000001").await["version"],
        3
    );
    app.assert_ledger_holds();
}

async fn unknown_users_are_refused_without_auto_create(database: Database) {
    let app = TestApp::on(database)
        .set("accounts.auto_create", false)
        .start()
        .await;
    app.post("deposits", entry("e", 1, "TON", "1"))
        .await
        .problem(404, "unknown_user");
    app.backend("/internal/v1/users/1/balance")
        .await
        .problem(404, "unknown_user");
    let made = app
        .send(crate::support::Signed::new(reqwest::Method::PUT, "/internal/v1/users/1").body("{}"))
        .await;
    assert!((200..300).contains(&made.status), "{made:?}");
    assert_eq!(app.accepted("deposits", 1, "e", "1").await["version"], 1);
    app.post("deposits", entry("e2", 2, "TON", "1"))
        .await
        .problem(404, "unknown_user");
    app.assert_ledger_holds();
}

async fn a_created_user_is_readable_at_once(database: Database) {
    let app = TestApp::on(database)
        .set("accounts.auto_create", false)
        .start()
        .await;
    app.backend("/internal/v1/users/1/balance")
        .await
        .problem(404, "unknown_user");
    app.backend("/internal/v1/users/1/entries")
        .await
        .problem(404, "unknown_user");
    let made = app
        .send(crate::support::Signed::new(reqwest::Method::PUT, "/internal/v1/users/1").body("{}"))
        .await;
    assert!((200..300).contains(&made.status), "{made:?}");
    assert_eq!(
        app.backend("/internal/v1/users/1/entries").await.ok()["entries"],
        json!([])
    );
    assert_eq!(
        app.backend("/internal/v1/users/1/balance").await.ok()["version"],
        0
    );
}

async fn a_balance_is_stored_whether_its_row_is_there_or_not(database: Database) {
    let app = TestApp::start(database).await;
    // A person has left it, without an account.
    app.database
        .sql("INSERT INTO balances (user_id, currency, amount) VALUES (9, 'TON', 77)");
    let users = [1, 2, 3, 9];
    let sums = [
        (
            "deposits",
            "TON",
            "5",
            balances("5.000000000", "0.000000000"),
        ),
        (
            "deposits",
            "UNI",
            "2",
            balances("5.000000000", "2.000000000"),
        ),
        (
            "withdrawals",
            "TON",
            "5",
            balances("0.000000000", "2.000000000"),
        ),
        (
            "deposits",
            "TON",
            "1",
            balances("1.000000000", "2.000000000"),
        ),
        (
            "deposits",
            "TON",
            "1",
            balances("2.000000000", "2.000000000"),
        ),
    ];
    for (n, (what, currency, amount, after)) in sums.into_iter().enumerate() {
        for user in users {
            let body = entry(&format!("{user}:{n}"), user, currency, amount);
            let answer = app.post(what, body).await.ok();
            assert_eq!(answer["balances"], after, "{answer}");
        }
    }
    // All kinds of rows in one transaction, and a balance that is nothing in between.
    let item = |event_id: &str, user_id: u64, kind: &str, amount: &str| json!({"kind": kind, "event_id": event_id, "user_id": user_id, "currency": "TON", "amount": amount});
    let items = json!([
        // The first user's writer has met nothing unexpected.
        item("d2", 2, "deposit", "1"),
        item("w1", 1, "withdrawal", "2"),
        item("d1", 1, "deposit", "3"),
        item("d8", 8, "deposit", "4"),
        item("w3", 3, "withdrawal", "2"),
    ]);
    let batch =
        crate::support::Signed::post("/internal/v1/batch?atomic=true", &json!({"entries": items}));
    assert_eq!(app.send(batch).await.ok()["rejected"], 0);
    app.assert_ledger_holds();
    for (user, after) in [(1, "3"), (2, "3"), (3, "0"), (8, "4"), (9, "2")] {
        let path = format!("/internal/v1/users/{user}/balance?fresh=true");
        let balance = app.backend(&path).await.ok();
        assert_eq!(balance["balances"]["TON"], format!("{after}.000000000"));
    }
}
