//! The grammar of amounts.

use serde_json::json;

use crate::support::{Database, TestApp, on_both_databases, on_sqlite};
use crate::{entry, with};

on_sqlite![
    an_amount_has_one_grammar,
    currencies_have_the_decimals_of_the_configuration
];
on_both_databases![good_amounts_are_stored_to_the_last_digit];

async fn an_amount_has_one_grammar(database: Database) {
    let app = TestApp::start(database).await;
    let base = entry("e", 1, "TON", "1");
    for bad in [
        "",
        " ",
        " 1",
        "1 ",
        "1.",
        ".5",
        ".",
        "-",
        "+1",
        "1e3",
        "1E3",
        "0x10",
        "1,5",
        "1_000",
        "--1",
        "1.2.3",
        "NaN",
        "Infinity",
        "null",
        "\u{0661}",
        "1.0000000001",
        "0",
        "0.0",
        "-0",
        "000.000",
        "-1",
        "1\u{0}",
    ] {
        app.post("deposits", with(&base, json!({"amount": bad})))
            .await
            .problem(422, "invalid_amount");
    }
    for number in [json!(1), json!(0.1), json!(-1)] {
        app.post("deposits", with(&base, json!({"amount": number})))
            .await
            .problem(422, "invalid_amount");
    }
    for what in ["rewards", "withdrawals"] {
        app.post(what, with(&base, json!({"amount": "-1"})))
            .await
            .problem(422, "invalid_amount");
    }
    let zero = with(&base, json!({"amount": "-0.0", "reason": "r"}));
    app.post("adjustments", zero)
        .await
        .problem(422, "invalid_amount");
    assert!(app.entries(1).await.is_empty());
}

async fn good_amounts_are_stored_to_the_last_digit(database: Database) {
    let app = TestApp::start(database).await;
    for (index, (amount, shown)) in [
        ("1", "1.000000000"),
        ("0.1", "0.100000000"),
        ("0.000004250", "0.000004250"),
        ("0.000000001", "0.000000001"),
        ("0007.5", "7.500000000"),
        ("9007199254.740993", "9007199254.740993000"),
    ]
    .into_iter()
    .enumerate()
    {
        let user_id = 100 + index as u64;
        let answer = app
            .accepted("deposits", user_id, &format!("e{index}"), amount)
            .await;
        assert_eq!(answer["balances"]["TON"], shown, "{amount}");
        assert_eq!(app.entries(user_id).await[0]["amount"], shown, "{amount}");
    }
}

async fn currencies_have_the_decimals_of_the_configuration(database: Database) {
    let app = TestApp::on(database)
        .set("currencies.STARS.decimals", 0)
        .set("currencies.EUR.decimals", 2)
        .start()
        .await;
    let answer = app.post("deposits", entry("s", 1, "STARS", "3")).await.ok();
    assert_eq!(answer["balances"], json!({"STARS": "3", "EUR": "0.00"}));
    app.post("deposits", entry("s2", 1, "STARS", "3.0"))
        .await
        .problem(422, "invalid_amount");
    app.post("deposits", entry("e", 1, "EUR", "1.001"))
        .await
        .problem(422, "invalid_amount");
    app.post("deposits", entry("t", 1, "TON", "1"))
        .await
        .problem(422, "unknown_currency");
}
