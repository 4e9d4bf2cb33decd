//! Every refusal of an entry's body, and the entry that a valid body becomes.

use crate::http::entries::body::*;

const HASH: &str = "fbff3e0a1b2c3d4e5f60718293a4b5c6d7e8f90011223344556677889900aabb";

fn parse(kind: Kind, json: &str) -> Result<NewEntry, Problem> {
    parse_entry(
        &EntryObject::parse(json.as_bytes(), &FIELDS)?,
        kind,
        false,
        &Currencies::default(),
    )
}

fn minor(entry: &NewEntry) -> i64 {
    let (_, amount) = entry.change.plain().expect("no reversal");
    amount.minor()
}

/// The base body with some members replaced; an empty value removes a member.
fn body(changes: &[(&str, &str)]) -> String {
    let mut members = vec![
        ("event_id", r#""e""#),
        ("user_id", "184"),
        ("currency", r#""UNI""#),
        ("amount", r#""12.5""#),
    ];
    for (name, value) in changes {
        members.retain(|(known, _)| known != name);
        if !value.is_empty() {
            members.push((name, value));
        }
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!(r#""{name}": {value}"#))
        .collect();
    format!("{{{}}}", members.join(", "))
}

#[test]
fn a_body_becomes_an_entry_with_the_sign_of_its_kind() {
    let reward = parse(
        Kind::Reward,
        &body(&[
            ("occurred_at", r#""2025-08-04T10:05:00Z""#),
            ("metadata", r#"{"rate":"0.01"}"#),
        ]),
    );
    let reward = reward.expect("good");
    assert_eq!(
        (minor(&reward), reward.source.as_str()),
        (12_500_000_000, "reward")
    );
    let details = reward.details.expect("some");
    assert_eq!(
        (details.occurred_at_us, details.metadata.as_deref()),
        (Some(1_754_301_900_000_000), Some(r#"{"rate":"0.01"}"#))
    );
    assert_eq!(
        minor(&parse(Kind::Withdrawal, &body(&[])).expect("good")),
        -12_500_000_000
    );
    let adjustment = parse(
        Kind::Adjustment,
        &body(&[("amount", r#""-1""#), ("reason", r#""a \"typo\"""#)]),
    )
    .expect("good");
    assert_eq!(minor(&adjustment), -1_000_000_000);
    assert_eq!(
        adjustment
            .details
            .and_then(|details| details.reason)
            .as_deref(),
        Some(r#"a "typo""#)
    );
}

#[test]
fn a_deposit_may_have_a_hash_instead_of_an_event_id() {
    let hash = format!(r#""{}""#, HASH.to_uppercase());
    let deposit = parse(
        Kind::Deposit,
        &body(&[("event_id", ""), ("tx_hash", &hash), ("lt", r#""47""#)]),
    )
    .expect("good");
    assert_eq!(deposit.event_id.as_str(), format!("ton:{HASH}"));
    assert_eq!(
        deposit.tx_hash.map(|hash| hash.to_string()).as_deref(),
        Some(HASH)
    );
}

#[test]
fn every_refusal_names_its_code_and_field() {
    let long_name = body(&[(&"x".repeat(200), "1")]);
    let shown_name = "x".repeat(64);
    let large = format!(r#"{{"a": "{}"}}"#, "x".repeat(4096));
    let change = |changes: &[(&str, &str)]| body(changes);
    use Code::{
        AmountOverflow, InvalidAmount, InvalidField, InvalidJson, InvalidTxHash, UnknownCurrency,
        UnknownField,
    };
    for (kind, json, code, field) in [
        (Kind::Reward, "[]".to_owned(), InvalidJson, None),
        (Kind::Reward, "{".to_owned(), InvalidJson, None),
        (Kind::Reward, "{} {}".to_owned(), InvalidJson, None),
        (
            Kind::Reward,
            long_name,
            UnknownField,
            Some(shown_name.as_str()),
        ),
        (
            Kind::Reward,
            change(&[("ammount", "1")]),
            UnknownField,
            Some("ammount"),
        ),
        (
            Kind::Reward,
            change(&[("kind", r#""reward""#)]),
            UnknownField,
            Some("kind"),
        ),
        (
            Kind::Reward,
            change(&[("tx_hash", r#""x""#)]),
            UnknownField,
            Some("tx_hash"),
        ),
        (
            Kind::Deposit,
            change(&[("reason", r#""x""#)]),
            UnknownField,
            Some("reason"),
        ),
        (
            Kind::Reward,
            r#"{"event_id":"a","event_id":"b"}"#.to_owned(),
            InvalidField,
            Some("event_id"),
        ),
        (
            Kind::Reward,
            change(&[("event_id", "")]),
            InvalidField,
            Some("event_id"),
        ),
        (
            Kind::Reward,
            change(&[("event_id", "null")]),
            InvalidField,
            Some("event_id"),
        ),
        (
            Kind::Reward,
            change(&[("event_id", r#""""#)]),
            InvalidField,
            Some("event_id"),
        ),
        (
            Kind::Reward,
            change(&[("user_id", r#""184""#)]),
            InvalidField,
            Some("user_id"),
        ),
        (
            Kind::Reward,
            change(&[("user_id", "184.0")]),
            InvalidField,
            Some("user_id"),
        ),
        (
            Kind::Reward,
            change(&[("user_id", "9007199254740992")]),
            InvalidField,
            Some("user_id"),
        ),
        (
            Kind::Reward,
            change(&[("currency", "7")]),
            InvalidField,
            Some("currency"),
        ),
        (
            Kind::Reward,
            change(&[("currency", r#""EUR""#)]),
            UnknownCurrency,
            Some("currency"),
        ),
        (
            Kind::Reward,
            change(&[("amount", "")]),
            InvalidField,
            Some("amount"),
        ),
        (
            Kind::Reward,
            change(&[("amount", "true")]),
            InvalidField,
            Some("amount"),
        ),
        (
            Kind::Reward,
            change(&[("amount", "12.5")]),
            InvalidAmount,
            Some("amount"),
        ),
        (
            Kind::Reward,
            change(&[("amount", r#""0""#)]),
            InvalidAmount,
            Some("amount"),
        ),
        (
            Kind::Reward,
            change(&[("amount", r#""-1""#)]),
            InvalidAmount,
            Some("amount"),
        ),
        (
            Kind::Withdrawal,
            change(&[("amount", r#""-1""#)]),
            InvalidAmount,
            Some("amount"),
        ),
        (
            Kind::Reward,
            change(&[("amount", r#""9223372036.854775808""#)]),
            AmountOverflow,
            Some("amount"),
        ),
        (
            Kind::Reward,
            change(&[("source", r#""Farming""#)]),
            InvalidField,
            Some("source"),
        ),
        (
            Kind::Reward,
            change(&[("occurred_at", r#""yesterday""#)]),
            InvalidField,
            Some("occurred_at"),
        ),
        (
            Kind::Reward,
            change(&[("metadata", "[]")]),
            InvalidField,
            Some("metadata"),
        ),
        (
            Kind::Reward,
            change(&[("metadata", &large)]),
            InvalidField,
            Some("metadata"),
        ),
        (
            Kind::Deposit,
            change(&[("tx_hash", r#""te6cckEBAQEAAgAAAEysuc0=""#)]),
            InvalidTxHash,
            Some("tx_hash"),
        ),
        (
            Kind::Deposit,
            change(&[("tx_hash", "7")]),
            InvalidField,
            Some("tx_hash"),
        ),
        (
            Kind::Deposit,
            change(&[("lt", r#""x""#)]),
            InvalidField,
            Some("lt"),
        ),
        (
            Kind::Deposit,
            change(&[("account", r#""x""#)]),
            InvalidField,
            Some("account"),
        ),
        (Kind::Adjustment, change(&[]), InvalidField, Some("reason")),
        (
            Kind::Adjustment,
            change(&[("reason", r#""a\u0000b""#)]),
            InvalidField,
            Some("reason"),
        ),
    ] {
        let problem = parse(kind, &json).expect_err(&json);
        assert_eq!(
            (problem.code(), problem.field_name()),
            (code, field),
            "{json}"
        );
    }
}
