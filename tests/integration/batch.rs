//! Batches.

use serde_json::{Value, json};

use crate::support::{Answer, Database, Signed, TestApp, TonHash, on_both_databases, on_sqlite};
use crate::{assert_keys, entry, with};

on_both_databases![
    items_of_one_user_apply_in_their_order,
    one_bad_item_never_stops_the_others,
    repeats_inside_one_batch_and_of_earlier_ones_are_duplicates,
    an_atomic_batch_with_a_bad_item_stores_nothing,
    an_atomic_batch_without_a_bad_item_is_a_batch,
    a_batch_of_many_users_is_answered_in_request_order,
];
on_sqlite![a_malformed_batch_is_refused];

fn item(kind: &str, event_id: &str, user_id: u64, amount: &str) -> Value {
    with(
        &entry(event_id, user_id, "TON", amount),
        json!({"kind": kind}),
    )
}

async fn atomic(app: &TestApp, entries: Value) -> Answer {
    app.send(Signed::post(
        "/internal/v1/batch?atomic=true",
        &json!({"entries": entries}),
    ))
    .await
}

fn statuses(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().expect("results");
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], index, "{answer}");
    }
    results
        .iter()
        .map(|result| result["status"].as_str().expect("a status"))
        .collect()
}

async fn items_of_one_user_apply_in_their_order(database: Database) {
    let app = TestApp::start(database).await;
    let answer = app
        .batch(json!([
            item("deposit", "d", 1, "5"),
            item("withdrawal", "w1", 1, "5"),
            item("withdrawal", "w2", 1, "1"),
            item("reward", "r", 1, "1.5"),
            with(
                &item("adjustment", "a", 1, "-0.5"),
                json!({"reason": "too much"})
            ),
        ]))
        .await
        .ok();
    assert_keys(&answer, &["accepted", "duplicates", "rejected", "results"]);
    assert_eq!(
        (
            &answer["accepted"],
            &answer["duplicates"],
            &answer["rejected"]
        ),
        (&json!(4), &json!(0), &json!(1))
    );
    assert_eq!(
        statuses(&answer),
        ["accepted", "accepted", "rejected", "accepted", "accepted"]
    );
    let results = &answer["results"];
    assert_eq!(results[2]["code"], "insufficient_funds");
    for (index, version, event_id) in [(0, 1, "d"), (1, 2, "w1"), (3, 3, "r"), (4, 4, "a")] {
        assert_eq!(
            (&results[index]["version"], &results[index]["event_id"]),
            (&json!(version), &json!(event_id))
        );
    }
    let after: Vec<Value> = app
        .entries(1)
        .await
        .into_iter()
        .rev()
        .map(|e| e["balance_after"].clone())
        .collect();
    assert_eq!(
        after,
        ["5.000000000", "0.000000000", "1.500000000", "1.000000000"]
    );
    app.assert_ledger_holds();
}

async fn one_bad_item_never_stops_the_others(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 9, "known", "1").await;
    let good = |event: &str| item("reward", event, 1, "1");
    let bad = [
        (
            with(&good("b1"), json!({"amount": "1.0000000001"})),
            "invalid_amount",
        ),
        (with(&good("b2"), json!({"amount": 1})), "invalid_amount"),
        (
            with(&good("b3"), json!({"currency": "EUR"})),
            "unknown_currency",
        ),
        (with(&good("b4"), json!({"user_id": 0})), "invalid_field"),
        (with(&good("b5"), json!({"kind": "gift"})), "invalid_field"),
        (with(&good("b6"), json!({"kind": null})), "invalid_field"),
        (with(&good("b7"), json!({"colour": "red"})), "unknown_field"),
        (
            with(&good("b8"), json!({"tx_hash": "ab".repeat(32)})),
            "unknown_field",
        ),
        (
            with(&item("deposit", "b9", 1, "1"), json!({"tx_hash": "ab"})),
            "invalid_tx_hash",
        ),
        (item("adjustment", "b10", 1, "1"), "invalid_field"),
        (item("withdrawal", "b11", 77, "1"), "insufficient_funds"),
        (item("deposit", "known", 9, "2"), "idempotency_conflict"),
        (
            with(&good("b12"), json!({"event_id": null})),
            "invalid_field",
        ),
    ];
    let mut items = vec![json!("no object")];
    for (index, (body, _)) in bad.iter().enumerate() {
        items.extend([good(&format!("g{index}")), body.clone()]);
    }
    let answer = app.batch(json!(items)).await.ok();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(bad.len()), &json!(bad.len() + 1))
    );
    assert_eq!(answer["results"][0]["status"], "rejected");
    for (index, (body, code)) in bad.iter().enumerate() {
        let (good, refused) = (
            &answer["results"][2 * index + 1],
            &answer["results"][2 * index + 2],
        );
        assert_eq!(
            (&good["status"], &good["version"]),
            (&json!("accepted"), &json!(index + 1))
        );
        assert_eq!(
            (&refused["status"], &refused["code"]),
            (&json!("rejected"), &json!(code)),
            "{body}"
        );
    }
    assert_eq!(app.entries(1).await.len(), bad.len());
    app.assert_ledger_holds();
}

async fn repeats_inside_one_batch_and_of_earlier_ones_are_duplicates(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("rewards", 1, "before", "1").await;
    let hash = TonHash::of("in a batch");
    let [hex, _, base64, ..] = hash.five_spellings();
    let deposit = |tx_hash: &str| json!({"kind": "deposit", "tx_hash": tx_hash, "user_id": 2, "currency": "TON", "amount": "3"});
    let entries = json!([
        item("reward", "before", 1, "1"),
        item("reward", "twice", 1, "2"),
        item("reward", "twice", 1, "2"),
        item("reward", "twice", 1, "3"),
        deposit(&hex),
        deposit(&base64),
    ]);
    let answer = app.batch(entries.clone()).await.ok();
    assert_eq!(
        statuses(&answer),
        [
            "duplicate",
            "accepted",
            "duplicate",
            "rejected",
            "accepted",
            "duplicate"
        ]
    );
    assert_eq!(
        (
            &answer["accepted"],
            &answer["duplicates"],
            &answer["rejected"]
        ),
        (&json!(2), &json!(3), &json!(1))
    );
    let results = &answer["results"];
    assert_eq!(results[3]["code"], "idempotency_conflict");
    assert_eq!(
        (
            &results[0]["version"],
            &results[1]["version"],
            &results[2]["version"]
        ),
        (&json!(1), &json!(2), &json!(2))
    );
    assert_eq!(results[4]["event_id"], format!("ton:{}", hash.hex()));
    let again = app.batch(entries).await.ok();
    assert_eq!(
        (&again["accepted"], &again["duplicates"], &again["rejected"]),
        (&json!(0), &json!(5), &json!(1))
    );
    assert_eq!(
        (app.entries(1).await.len(), app.entries(2).await.len()),
        (2, 1)
    );
    app.assert_ledger_holds();
}

async fn an_atomic_batch_with_a_bad_item_stores_nothing(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "start", "2").await;
    for (bad, status, code) in [
        (item("withdrawal", "w", 1, "100"), 422, "insufficient_funds"),
        (
            with(&item("deposit", "x", 1, "1"), json!({"amount": "x"})),
            422,
            "invalid_amount",
        ),
        (
            item("deposit", "start", 1, "3"),
            409,
            "idempotency_conflict",
        ),
    ] {
        let entries = json!([
            item("deposit", "a", 1, "1"),
            item("reward", "b", 2, "1"),
            bad,
            item("reward", "c", 3, "1")
        ]);
        let problem = atomic(&app, entries).await.problem(status, code);
        assert_eq!(
            statuses(&problem),
            ["not_applied", "not_applied", "rejected", "not_applied"]
        );
        assert_eq!(problem["results"][2]["code"], code);
        for (user_id, entries) in [(1, 1), (2, 0), (3, 0)] {
            assert_eq!(
                app.entries(user_id).await.len(),
                entries,
                "user {user_id} after {code}"
            );
        }
    }
    let now = app.backend("/internal/v1/users/1/balance").await.ok();
    assert_eq!(
        (&now["version"], &now["balances"]["TON"]),
        (&json!(1), &json!("2.000000000"))
    );
    app.assert_ledger_holds();
}

async fn an_atomic_batch_without_a_bad_item_is_a_batch(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "start", "2").await;
    let entries = json!([
        item("deposit", "start", 1, "2"),
        item("withdrawal", "w", 1, "2"),
        item("reward", "r", 2, "2")
    ]);
    let answer = atomic(&app, entries.clone()).await.ok();
    assert_eq!(statuses(&answer), ["duplicate", "accepted", "accepted"]);
    assert_eq!(
        statuses(&atomic(&app, entries).await.ok()),
        ["duplicate", "duplicate", "duplicate"]
    );
    app.assert_ledger_holds();
}

async fn a_batch_of_many_users_is_answered_in_request_order(database: Database) {
    let app = TestApp::start(database).await;
    let entries: Vec<Value> = (0..3000)
        .map(|n| item("reward", &format!("e{n}"), 1 + n % 700, "0.5"))
        .collect();
    let answer = app.batch(json!(entries)).await.ok();
    assert_eq!(
        (
            &answer["accepted"],
            answer["results"].as_array().map(Vec::len)
        ),
        (&json!(3000), Some(3000))
    );
    for (index, result) in answer["results"]
        .as_array()
        .expect("results")
        .iter()
        .enumerate()
    {
        assert_eq!(result["event_id"], format!("e{index}"));
        assert_eq!(
            (&result["index"], &result["version"]),
            (&json!(index), &json!(1 + index / 700)),
            "{result}"
        );
    }
    app.assert_ledger_holds();
}

async fn a_malformed_batch_is_refused(database: Database) {
    let app = TestApp::on(database)
        .set("limits.batch_entries", 3)
        .start()
        .await;
    let send = |body: Value| app.send(Signed::post("/internal/v1/batch", &body));
    for body in [
        json!({}),
        json!({"entries": []}),
        json!({"entries": {}}),
        json!({"entries": null}),
        json!({"entries": "x"}),
    ] {
        assert_eq!(
            send(body).await.problem(422, "invalid_field")["field"],
            "entries"
        );
    }
    send(json!({"entries": [], "mode": 1}))
        .await
        .problem(422, "unknown_field");
    let many = |n: usize| {
        (0..n)
            .map(|n| item("reward", &format!("e{n}"), 1, "1"))
            .collect::<Vec<_>>()
    };
    send(json!({"entries": many(4)}))
        .await
        .problem(422, "batch_too_large");
    assert!(app.entries(1).await.is_empty());
    assert_eq!(send(json!({"entries": many(3)})).await.ok()["accepted"], 3);
}
