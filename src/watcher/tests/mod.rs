//! What each shape of a transaction is, from the API's own JSON to the verdict.

mod clock;

use regex::Regex;
use serde_json::{Value, json};

use crate::domain::{Amount, TonAddress};
use crate::watcher::cells::Body;
use crate::watcher::cells::tests::{boc, text, transfer};
use crate::watcher::transaction::{Page, Transaction};
use crate::watcher::verdict::{Rules, Verdict};

/// The empty body as the API writes it.
const EMPTY: &str = "te6cckEBAQEAAgAAAEysuc0=";

fn raw(fill: u8) -> String {
    format!("0:{}", hex::encode_upper([fill; 32]))
}

/// A simple transfer with a comment, as `GET /transactions` writes it.
fn transaction() -> Value {
    json!({
        "account": raw(1),
        "hash": "qwJtSlQz8CKdqfxJXrOe7R4MUPRQ0u0Nx3f3mIkUf1s=",
        "lt": "51000000000003",
        "now": 1_764_300_000,
        "orig_status": "active",
        "end_status": "active",
        "mc_block_seqno": 41_000_000,
        "trace_id": "qwJtSlQz8CKdqfxJXrOe7R4MUPRQ0u0Nx3f3mIkUf1s=",
        "prev_trans_hash": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "prev_trans_lt": "0",
        "description": {
            "type": "ord", "aborted": false, "destroyed": false, "credit_first": true,
            "storage_ph": {"storage_fees_collected": "53", "status_change": "unchanged"},
            "credit_ph": {"credit": "1500000000"},
            "compute_ph": {"skipped": false, "success": true, "exit_code": 0}
        },
        "in_msg": {
            "hash": "0lOf0MXNtJZnzCDYIvCwM5Nh0yWGrhJxyCQvdHrdGTM=",
            "source": raw(7),
            "destination": raw(1),
            "value": "1500000000",
            "fwd_fee": "266669",
            "created_lt": "51000000000002",
            "created_at": "1764300000",
            "opcode": "0x00000000",
            "bounce": true,
            "bounced": false,
            "message_content": {
                "hash": "0lOf0MXNtJZnzCDYIvCwM5Nh0yWGrhJxyCQvdHrdGTM=",
                "body": text(b"184"),
                "decoded": {"type": "text_comment", "@type": "text_comment", "comment": "184"}
            },
            "init_state": null
        },
        "out_msgs": [],
        "emulated": false,
        "finality": "finalized"
    })
}

fn rules(is_jetton: bool) -> Rules {
    Rules {
        is_jetton,
        user_pattern: Regex::new(r"^\s*(?:user[:# ]?)?([1-9][0-9]{0,15})\s*$").expect("a pattern"),
        min_amount: None,
    }
}

/// Changes a transaction: each change is a JSON pointer and what is there then.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut changed = transaction();
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        let parent = changed.pointer_mut(parent).expect("it is there");
        parent[name] = value.clone();
    }
    changed
}

fn read(transaction: &Value) -> Result<Transaction, String> {
    let page: Result<Page, _> = serde_json::from_value(json!({"transactions": [transaction]}));
    let mut page = page.map_err(|error| error.to_string())?;
    Ok(page.transactions.remove(0))
}

/// `deposit USER UNITS`, `unmatched REASON UNITS` or `ignored REASON`.
fn judged(rules: &Rules, transaction: &Value) -> String {
    match rules.judge(&read(transaction).expect("as the API writes it")) {
        Verdict::Deposit {
            user_id, amount, ..
        } => format!("deposit {user_id} {}", amount.minor()),
        Verdict::Unmatched { reason, arrival } => format!("unmatched {reason} {}", arrival.units),
        Verdict::Ignored(why) => format!("ignored {why:?}"),
    }
}

/// A change of body, without what the API decodes of it.
fn body(body: &str) -> Vec<(&'static str, Value)> {
    vec![(
        "/in_msg/message_content",
        json!({"body": body, "decoded": null}),
    )]
}

/// A comment that is in the body and decoded.
fn comment(comment: &str) -> Vec<(&'static str, Value)> {
    body(&text(comment.as_bytes()))
}

#[test]
fn every_shape_has_its_verdict() {
    let aborted = |bounce: Value| {
        let description = json!({"type": "ord", "aborted": true, "compute_ph": {"skipped": true, "reason": "no_state"}, "bounce": bounce});
        vec![("/description", description)]
    };
    let value = |value: &str| vec![("/in_msg/value", json!(value))];
    let decoded = |body: Value| {
        vec![(
            "/in_msg/message_content",
            json!({"body": body, "decoded": {"type": "text_comment", "comment": "77"}}),
        )]
    };
    let out = json!({"hash": "0lOf0MXNtJZnzCDYIvCwM5Nh0yWGrhJxyCQvdHrdGTM=", "source": raw(1), "destination": raw(7), "value": "5"});
    for (what, changes, expected) in [
        ("a transfer", vec![], "deposit 184 1500000000"),
        (
            "several messages go out",
            vec![("/out_msgs", json!([out, out]))],
            "deposit 184 1500000000",
        ),
        (
            "a word before it",
            comment("user:9007199254740991"),
            "deposit 9007199254740991 1500000000",
        ),
        (
            "space around it",
            comment(" user 5\n"),
            "deposit 5 1500000000",
        ),
        (
            "past the last user",
            comment("9007199254740992"),
            "unmatched no_user_in_comment 1500000000",
        ),
        (
            "a leading zero",
            comment("0184"),
            "unmatched no_user_in_comment 1500000000",
        ),
        (
            "a sign",
            comment("-184"),
            "unmatched no_user_in_comment 1500000000",
        ),
        (
            "two numbers",
            comment("184 185"),
            "unmatched no_user_in_comment 1500000000",
        ),
        (
            "other digits",
            comment("١٨٤"),
            "unmatched no_user_in_comment 1500000000",
        ),
        (
            "another text",
            comment("for the shoes"),
            "unmatched no_user_in_comment 1500000000",
        ),
        (
            "an empty comment",
            comment(""),
            "unmatched no_user_in_comment 1500000000",
        ),
        ("no comment", body(EMPTY), "unmatched no_comment 1500000000"),
        (
            "no content",
            vec![("/in_msg/message_content", Value::Null)],
            "unmatched no_comment 1500000000",
        ),
        (
            "not UTF-8",
            body(&text(b"\xff184")),
            "unmatched comment_not_utf8 1500000000",
        ),
        (
            "encrypted",
            body(&boc(|cell| cell.store_u32(0x2167_da4b).expect("room"))),
            "unmatched comment_encrypted 1500000000",
        ),
        (
            "an operation",
            body(&boc(|cell| cell.store_u32(0xd532_76db).expect("room"))),
            "unmatched contract_operation 1500000000",
        ),
        (
            "no cells",
            body("!"),
            "unmatched body_unreadable 1500000000",
        ),
        (
            "decoded, and the body is empty",
            decoded(json!(EMPTY)),
            "deposit 77 1500000000",
        ),
        (
            "decoded, and there is no body",
            decoded(Value::Null),
            "deposit 77 1500000000",
        ),
        (
            "decoded, and the body says another",
            decoded(json!(text(b"184"))),
            "deposit 184 1500000000",
        ),
        (
            "decoded, and the body is an operation",
            decoded(json!(boc(|cell| cell.store_u32(9).expect("room")))),
            "unmatched contract_operation 1500000000",
        ),
        (
            "bounced",
            vec![("/in_msg/bounced", json!(true))],
            "ignored Bounced",
        ),
        (
            "aborted and sent back",
            aborted(json!({"type": "ok"})),
            "ignored SentBack",
        ),
        (
            "aborted and kept",
            aborted(Value::Null),
            "unmatched aborted 1500000000",
        ),
        (
            "aborted, with too little to send back",
            aborted(json!({"type": "nofunds"})),
            "unmatched aborted 1500000000",
        ),
        (
            "not final",
            vec![("/emulated", json!(true))],
            "unmatched not_final 1500000000",
        ),
        (
            "pending",
            vec![("/finality", json!("pending"))],
            "unmatched not_final 1500000000",
        ),
        (
            "an older API does not tell",
            vec![("/finality", Value::Null)],
            "deposit 184 1500000000",
        ),
        (
            "from outside",
            vec![
                ("/in_msg/source", Value::Null),
                ("/in_msg/value", Value::Null),
            ],
            "ignored External",
        ),
        (
            "by itself",
            vec![("/in_msg", Value::Null)],
            "ignored NoMessage",
        ),
        (
            "to another contract",
            vec![("/in_msg/destination", json!(raw(2)))],
            "ignored Elsewhere",
        ),
        ("nothing", value("0"), "ignored Zero"),
        ("one nanoton", value("1"), "deposit 184 1"),
        (
            "the most",
            value("9223372036854775807"),
            "deposit 184 9223372036854775807",
        ),
        (
            "more than that",
            value("9223372036854775808"),
            "unmatched too_large 9223372036854775808",
        ),
        (
            "what looks like jettons on the owner's account",
            body(&transfer(5, Some(7), b"184", false)),
            "unmatched contract_operation 1500000000",
        ),
    ] {
        assert_eq!(judged(&rules(false), &with(&changes)), expected, "{what}");
    }
}

#[test]
fn jettons_count_when_they_arrive_at_our_wallet() {
    let aborted = |bounce: &str| {
        let description = json!({"type": "ord", "aborted": true, "bounce": {"type": bounce}});
        vec![("/description", description)]
    };
    for (what, changes, expected) in [
        (
            "inside",
            body(&transfer(12_500_000_000, Some(9), b"184", false)),
            "deposit 184 12500000000",
        ),
        (
            "in a reference",
            body(&transfer(1, Some(9), b"184", true)),
            "deposit 184 1",
        ),
        (
            "a mint",
            body(&transfer(5, None, b"184", true)),
            "deposit 184 5",
        ),
        (
            "no user",
            body(&transfer(5, Some(9), b"", true)),
            "unmatched no_user_in_comment 5",
        ),
        (
            "none",
            body(&transfer(0, Some(9), b"184", true)),
            "ignored Zero",
        ),
        (
            "more than can be stored",
            body(&transfer(1 << 100, Some(9), b"184", true)),
            "unmatched too_large 1267650600228229401496703205376",
        ),
        ("a comment for Toncoin", comment("184"), "ignored NoJettons"),
        (
            "aborted, with too little to send back",
            [
                body(&transfer(5, Some(9), b"184", true)),
                aborted("nofunds"),
            ]
            .concat(),
            "ignored NoJettons",
        ),
        (
            "aborted and sent back",
            [body(&transfer(5, Some(9), b"184", true)), aborted("ok")].concat(),
            "ignored SentBack",
        ),
        (
            "a notification",
            body(&boc(|cell| cell.store_u32(0x7362_d09c).expect("room"))),
            "ignored NoJettons",
        ),
    ] {
        assert_eq!(judged(&rules(true), &with(&changes)), expected, "{what}");
    }
    let arrived = with(&body(&transfer(5, Some(9), b"184", true)));
    let Verdict::Deposit { arrival, .. } = rules(true).judge(&read(&arrived).expect("read")) else {
        panic!("no deposit");
    };
    // The owner who sent them, not the wallet that the message came from.
    assert_eq!(arrival.sender, TonAddress::parse(&raw(9)).ok());
    assert_eq!(arrival.comment.as_deref(), Some("184"));
}

#[test]
fn less_than_the_least_amount_waits_for_a_person() {
    let rules = Rules {
        min_amount: Some(Amount::from_minor(1_500_000_000)),
        ..rules(false)
    };
    assert_eq!(judged(&rules, &transaction()), "deposit 184 1500000000");
    let less = with(&[("/in_msg/value", json!("1499999999"))]);
    assert_eq!(judged(&rules, &less), "unmatched too_small 1499999999");
}

#[test]
fn every_spelling_of_a_transaction_is_one() {
    let same = with(&[
        ("/account", json!(raw(1).to_lowercase())),
        (
            "/hash",
            json!("qwJtSlQz8CKdqfxJXrOe7R4MUPRQ0u0Nx3f3mIkUf1s"),
        ),
        ("/lt", json!(51_000_000_000_003_u64)),
    ]);
    assert_eq!(read(&same), read(&transaction()));
}

#[test]
fn what_is_not_written_as_expected_is_no_transaction() {
    for (pointer, value) in [
        ("/lt", json!("")),
        ("/lt", json!("-1")),
        ("/lt", json!("9223372036854775808")),
        ("/lt", Value::Null),
        ("/hash", json!("abc")),
        ("/account", json!("")),
        ("/prev_trans_hash", Value::Null),
        ("/description", Value::Null),
        ("/in_msg/value", json!("1e9")),
        ("/in_msg/value", json!("1.5")),
        ("/in_msg/value", json!(-1)),
        ("/in_msg/source", json!("somebody")),
    ] {
        let broken = read(&with(&[(pointer, value.clone())]));
        assert!(broken.is_err(), "{pointer} {value}: {broken:?}");
    }
    let without: Result<Page, _> = serde_json::from_value(json!({"ok": false}));
    assert!(without.is_err());
    assert_eq!(Body::parse(EMPTY), Body::Empty);
}
