//! Reversals: an earlier entry taken back, all of it or a part.

use serde_json::{Value, json};

use crate::support::{Database, Signed, TestApp, TonHash, on_both_databases};
use crate::{balances, entry, with};

on_both_databases![
    a_rejected_withdrawal_is_taken_back_and_pushed_at_once,
    an_entry_is_taken_back_in_parts_and_never_more_than_it_has,
    a_reversal_sent_again_is_a_duplicate_and_anything_else_a_conflict,
    every_refusal_names_its_code_and_field,
    a_deposit_is_taken_back_by_either_name,
    a_batch_takes_back_what_it_has_posted,
    an_atomic_batch_takes_back_all_or_nothing,
    many_reversals_of_one_entry_at_once_take_no_more_than_it_has,
    an_amount_is_one_of_the_currency_of_the_entry,
];

fn reversal(event_id: &str, user_id: u64, reverses: &str) -> Value {
    json!({"event_id": event_id, "user_id": user_id, "reverses": reverses})
}

async fn a_rejected_withdrawal_is_taken_back_and_pushed_at_once(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "10").await;
    app.accepted("withdrawals", 1, "w", "4").await;
    let (mut session, _) = app.session(1).await;
    let body = with(
        &reversal("r", 1, "w"),
        json!({"reason": "the bank said no", "source": "payouts", "metadata": {"case": 7}}),
    );
    let answer = app.post("reversals", body).await.ok();
    assert_eq!(answer["reverses"], "w");
    assert_eq!(
        (&answer["version"], &answer["duplicate"]),
        (&json!(3), &json!(false))
    );
    assert_eq!(answer["balances"], balances("10.000000000", "0.000000000"));
    let push = session.next_frame("balance_update").await;
    assert_eq!(push["mode"], "direct", "{push}");
    assert_eq!(push["changes"], json!({"TON": "4.000000000"}));
    let entries = app.entries(1).await;
    let newest = &entries[0];
    assert_eq!(newest["kind"], "reversal");
    assert_eq!(newest["reverses"], "w");
    assert_eq!(newest["amount"], "4.000000000");
    assert_eq!(
        (&newest["reason"], &newest["source"]),
        (&json!("the bank said no"), &json!("payouts"))
    );
    assert!(entries[1].get("reverses").is_none(), "{entries:?}");
    let deposit = app.post("rewards", entry("x", 1, "TON", "1")).await.ok();
    assert!(deposit.get("reverses").is_none(), "{deposit}");
    app.assert_ledger_holds();
}

async fn an_entry_is_taken_back_in_parts_and_never_more_than_it_has(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("rewards", 1, "gift", "5").await;
    app.accepted("rewards", 1, "more", "100").await;
    let part = |event_id: &str, amount: &str| {
        with(&reversal(event_id, 1, "gift"), json!({"amount": amount}))
    };
    let first = app.post("reversals", part("r1", "2")).await.ok();
    assert_eq!(first["balances"], balances("103.000000000", "0.000000000"));
    let refused = app.post("reversals", part("r2", "3.000000001")).await;
    let refused = refused.problem(422, "exceeds_original");
    assert_eq!(refused["left"], "3.000000000", "{refused}");
    let rest = app.post("reversals", reversal("r3", 1, "gift")).await.ok();
    assert_eq!(rest["balances"], balances("100.000000000", "0.000000000"));
    let nothing = app.post("reversals", reversal("r4", 1, "gift")).await;
    let nothing = nothing.problem(422, "exceeds_original");
    assert_eq!(nothing["left"], "0.000000000", "{nothing}");
    app.assert_ledger_holds();
}

async fn a_reversal_sent_again_is_a_duplicate_and_anything_else_a_conflict(database: Database) {
    let app = TestApp::start(database).await;
    for event_id in ["a", "b"] {
        app.accepted("rewards", 1, event_id, "5").await;
    }
    app.accepted("rewards", 2, "of another", "5").await;
    let body = reversal("r", 1, "a");
    let first = app.post("reversals", body.clone()).await.ok();
    app.accepted("rewards", 1, "later", "1").await;
    for again in [
        json!({}),
        json!({"amount": "5.0", "currency": "TON"}),
        json!({"reason": "another word"}),
    ] {
        let duplicate = app.post("reversals", with(&body, again)).await.ok();
        assert_eq!(duplicate, with(&first, json!({"duplicate": true})));
    }
    for other in [
        json!({"reverses": "b"}),
        json!({"reverses": "there is none"}),
        json!({"amount": "4"}),
        json!({"currency": "UNI"}),
        json!({"user_id": 2}),
    ] {
        let answer = app.post("reversals", with(&body, other)).await;
        answer.problem(409, "idempotency_conflict");
    }
    let reward = app.post("rewards", entry("r", 1, "TON", "5")).await;
    reward.problem(409, "idempotency_conflict");
    let taken = app.post("reversals", reversal("b", 1, "a")).await;
    taken.problem(409, "idempotency_conflict");
    let conflicts = app.admin("/admin/v1/conflicts").await.ok();
    let seconds: Vec<&Value> = conflicts["conflicts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|conflict| &conflict["second"])
        .filter(|second| second["kind"] == "reversal" && second["event_id"] == "r")
        .collect();
    assert!(
        seconds
            .iter()
            .any(|second| second["reverses"] == "b" && second.get("amount").is_none()),
        "{conflicts}"
    );
    assert_eq!(app.entries(1).await.len(), 4);
    app.assert_ledger_holds();
}

async fn every_refusal_names_its_code_and_field(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("rewards", 1, "gift", "5").await;
    app.accepted("withdrawals", 1, "spent", "4").await;
    app.accepted("rewards", 2, "of another", "5").await;
    app.post(
        "reversals",
        with(&reversal("r", 1, "spent"), json!({"amount": "1"})),
    )
    .await
    .ok();
    let base = reversal("new", 1, "gift");
    for (changes, status, code, field) in [
        (json!({"reverses": null}), 422, "invalid_field", "reverses"),
        (json!({"reverses": ""}), 422, "invalid_field", "reverses"),
        (json!({"reverses": 5}), 422, "invalid_field", "reverses"),
        (
            json!({"reverses": "none"}),
            404,
            "unknown_entry",
            "reverses",
        ),
        (
            json!({"reverses": "of another"}),
            404,
            "unknown_entry",
            "reverses",
        ),
        (json!({"reverses": "new"}), 404, "unknown_entry", "reverses"),
        (json!({"user_id": 3}), 404, "unknown_entry", "reverses"),
        (json!({"reverses": "r"}), 422, "not_reversible", "reverses"),
        (json!({"currency": "UNI"}), 422, "invalid_field", "currency"),
        (
            json!({"currency": "EUR"}),
            422,
            "unknown_currency",
            "currency",
        ),
        (json!({"amount": "6"}), 422, "exceeds_original", "amount"),
        (json!({"amount": "0"}), 422, "invalid_amount", "amount"),
        (json!({"amount": "-1"}), 422, "invalid_amount", "amount"),
        (json!({"amount": 1}), 422, "invalid_amount", "amount"),
        (
            json!({"amount": "0.0000000001"}),
            422,
            "invalid_amount",
            "amount",
        ),
        (
            json!({"amount": "9".repeat(60)}),
            422,
            "amount_overflow",
            "amount",
        ),
        (json!({"amount": true}), 422, "invalid_field", "amount"),
        (json!({"reason": ""}), 422, "invalid_field", "reason"),
        (
            json!({"tx_hash": "ab".repeat(32)}),
            422,
            "unknown_field",
            "tx_hash",
        ),
        (json!({}), 422, "insufficient_funds", "amount"),
    ] {
        let answer = app.post("reversals", with(&base, changes.clone())).await;
        let problem = answer.problem(status, code);
        assert_eq!(problem["field"], field, "{changes}: {problem}");
    }
    let refused = app.post(
        "rewards",
        with(&entry("n", 1, "TON", "1"), json!({"reverses": "gift"})),
    );
    refused.await.problem(422, "unknown_field");
    // What was refused may succeed later.
    app.accepted("rewards", 1, "more", "10").await;
    app.post("reversals", base).await.ok();
    app.assert_ledger_holds();
}

async fn a_deposit_is_taken_back_by_either_name(database: Database) {
    let app = TestApp::start(database).await;
    let hash = TonHash::of("d");
    let name = format!("ton:{}", hash.hex());
    let body = with(&entry("d", 1, "TON", "5"), json!({"tx_hash": hash.hex()}));
    app.post("deposits", body).await.ok();
    let by_hash = with(&reversal("r", 1, &name), json!({"amount": "2"}));
    let first = app.post("reversals", by_hash.clone()).await.ok();
    assert_eq!(first["reverses"], "d", "the entry's own event id");
    let again = with(&by_hash, json!({"reverses": "d"}));
    let again = app.post("reversals", again).await.ok();
    assert_eq!(again, with(&first, json!({"duplicate": true})));
    let rest = app.post("reversals", reversal("r2", 1, "d")).await.ok();
    assert_eq!(rest["balances"], balances("0.000000000", "0.000000000"));
    let over = app.post("reversals", reversal("r3", 1, &name)).await;
    over.problem(422, "exceeds_original");
    app.assert_ledger_holds();
}

fn item(kind: &str, body: Value) -> Value {
    with(&body, json!({"kind": kind}))
}

async fn a_batch_takes_back_what_it_has_posted(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("rewards", 2, "known", "7").await;
    let entries = json!([
        item("reversal", reversal("early", 1, "gift")),
        item("reward", entry("gift", 1, "TON", "5")),
        item(
            "reversal",
            with(&reversal("r1", 1, "gift"), json!({"amount": "2"}))
        ),
        item("reversal", reversal("r2", 1, "gift")),
        item("reversal", reversal("r3", 1, "gift")),
        item("reversal", reversal("r2", 1, "gift")),
        item("reversal", reversal("r4", 2, "known")),
        item("reversal", reversal("r5", 2, "gift")),
    ]);
    let answer = app.batch(entries.clone()).await.ok();
    let told = |answer: &Value| -> Vec<String> {
        let results = answer["results"].as_array().expect("results");
        let word = |result: &Value| {
            let code = result["code"].as_str();
            code.unwrap_or_else(|| result["status"].as_str().expect("a status"))
                .to_owned()
        };
        results.iter().map(word).collect()
    };
    assert_eq!(
        told(&answer),
        [
            "unknown_entry",
            "accepted",
            "accepted",
            "accepted",
            "exceeds_original",
            "duplicate",
            "accepted",
            "unknown_entry"
        ]
    );
    let again = app.batch(entries).await.ok();
    assert_eq!(
        told(&again),
        [
            "exceeds_original",
            "duplicate",
            "duplicate",
            "duplicate",
            "exceeds_original",
            "duplicate",
            "duplicate",
            "unknown_entry"
        ]
    );
    app.assert_ledger_holds();
}

async fn an_atomic_batch_takes_back_all_or_nothing(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("rewards", 1, "gift", "5").await;
    let atomic = async |entries: Value| {
        let body = json!({"entries": entries});
        app.send(Signed::post("/internal/v1/batch?atomic=true", &body))
            .await
    };
    let refused = atomic(json!([
        item(
            "reversal",
            with(&reversal("r1", 1, "gift"), json!({"amount": "4"}))
        ),
        item("reward", entry("new", 2, "TON", "1")),
        item(
            "reversal",
            with(&reversal("r2", 1, "gift"), json!({"amount": "2"}))
        ),
    ]))
    .await
    .problem(422, "exceeds_original");
    assert_eq!(refused["left"], "1.000000000", "{refused}");
    assert_eq!(refused["field"], "entries[2].amount");
    assert_eq!(app.entries(1).await.len(), 1);
    let accepted = atomic(json!([
        item("reversal", reversal("r1", 1, "gift")),
        item("reward", entry("new", 2, "TON", "1")),
        item("reversal", reversal("r2", 2, "new")),
    ]))
    .await
    .ok();
    assert_eq!(accepted["accepted"], 3, "{accepted}");
    app.assert_ledger_holds();
}

async fn many_reversals_of_one_entry_at_once_take_no_more_than_it_has(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("rewards", 1, "gift", "10").await;
    app.accepted("rewards", 1, "rest", "100").await;
    let posted = futures_util::future::join_all((0..24).map(|n| {
        let body = with(
            &reversal(&format!("r{n}"), 1, "gift"),
            json!({"amount": "0.7"}),
        );
        app.post("reversals", body)
    }))
    .await;
    let accepted = posted.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(accepted, 14, "ten in parts of 0.7");
    for refused in posted.into_iter().filter(|answer| answer.status != 200) {
        let refused = refused.problem(422, "exceeds_original");
        assert_eq!(refused["left"], "0.200000000");
    }
    app.assert_ledger_holds();
}

async fn an_amount_is_one_of_the_currency_of_the_entry(database: Database) {
    let app = TestApp::on(database)
        .set("currencies.STARS.decimals", 0)
        .set("currencies.TON.decimals", 9)
        .start()
        .await;
    app.post("rewards", entry("stars", 1, "STARS", "50"))
        .await
        .ok();
    let part =
        |event: &str, amount: &str| with(&reversal(event, 1, "stars"), json!({"amount": amount}));
    app.post("reversals", part("r1", "1.5"))
        .await
        .problem(422, "invalid_amount");
    let taken = app.post("reversals", part("r2", "20")).await.ok();
    assert_eq!(taken["balances"]["STARS"], "30");
    let over = app.post("reversals", part("r3", "31")).await;
    assert_eq!(over.problem(422, "exceeds_original")["left"], "30");
    app.assert_ledger_holds();
}
