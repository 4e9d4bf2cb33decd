//! Bodies of entries: accepted exactly when a model over plain JSON finds no fault, otherwise refused for one of its faults.

use proptest::prelude::*;
use serde_json::Value;

use crate::domain::{Amount, AmountError, Change, Currencies, Kind, NewEntry, TonAddress, TxHash};
use crate::http::entries::body::{EntryObject, FIELDS, parse_entry};
use crate::http::problem::Code;
use crate::tests::{Members, check, spoiled};

/// Names that are not fields, and one that is a field in escaped form.
const OTHER_NAMES: [&str; 4] = ["Amount", "\\u0061mount", "x", ""];

const VALUES: &[&str] = &[
    r#""e""#,
    r#""farm:184:2025-08-04T10:05Z""#,
    r#""\u0041""#,
    r#""é""#,
    r#""a\nb""#,
    r#""""#,
    r#"" ""#,
    r#""\ud800""#,
    "184",
    "0",
    "-1",
    "-0",
    "1.0",
    "1e3",
    "1e999",
    "9007199254740991",
    "9007199254740992",
    "18446744073709551616",
    r#""TON""#,
    r#""UNI""#,
    r#""ton""#,
    r#""1""#,
    r#""0.000000001""#,
    r#""0.0000000001""#,
    r#""9223372036.854775808""#,
    r#""-5""#,
    r#""-0""#,
    r#""+1""#,
    r#""1e3""#,
    "null",
    "true",
    "[]",
    "{}",
    r#"{"a":{"b":[1e999]}}"#,
    r#""farming""#,
    r#""Farming""#,
    r#""2025-08-04T10:05:00Z""#,
    r#""2025-08-04T10:05:00+02:00""#,
    r#""2025-02-30T10:05:00Z""#,
    r#""2025-08-04""#,
    r#""fbff3e0a1b2c3d4e5f60718293a4b5c6d7e8f90011223344556677889900aabb""#,
    r#""+/8+ChssPU5fYHGCk6S1xtfo+QARIjNEVWZ3iJkAqrs=""#,
    r#""te6cckEBAQEAAgAAAEysuc0=""#,
    r#""47000000000001""#,
    r#""123456789012345678901""#,
    r#""Ef8zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM0vF""#,
    r#""0:3333333333333333333333333333333333333333333333333333333333333333""#,
    r#""a \"typo\"""#,
    r#""\u0000""#,
];

fn body() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let names = [&FIELDS[..], &OTHER_NAMES[..]].concat();
    let changes = prop::collection::vec(
        (
            prop::sample::select(names),
            prop::sample::select(VALUES),
            any::<bool>(),
        ),
        0..4,
    );
    let space = prop::sample::select(&["", " ", "\n\t", "\r\n"][..]);
    (prop::sample::select(&Kind::ALL[..]), changes, space).prop_map(|(kind, changes, space)| {
        let mut members = vec![
            ("event_id", r#""e""#),
            ("user_id", "184"),
            ("currency", r#""UNI""#),
            ("amount", r#""12.5""#),
        ];
        if kind == Kind::Adjustment {
            members.push(("reason", r#""a correction""#));
        }
        if kind == Kind::Reversal {
            members.retain(|(name, _)| !matches!(*name, "currency" | "amount"));
            members.push(("reverses", r#""e""#));
        }
        for (name, value, replaces) in changes {
            if replaces {
                members.retain(|(known, _)| *known != name);
            }
            members.push((name, value));
        }
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("{space}\"{name}\":{space}{value}"))
            .collect();
        (
            kind,
            format!("{space}{{{}{space}}}{space}", members.join(",")).into_bytes(),
        )
    })
}

type Faults = Vec<(Code, Option<String>)>;

/// Every fault of a body. Amounts, hashes and addresses have tests of their own and are not read a second time.
fn faults(json: &[u8], kind: Kind) -> Faults {
    let Some(members) = Members::read(json) else {
        return vec![(Code::InvalidJson, None)];
    };
    let mut faults: Faults = Vec::new();
    let mut fault = |code: Code, name: &str| faults.push((code, Some(name.to_owned())));
    let is_known = |name: &str| FIELDS.contains(&name);
    for name in members.names() {
        let has_a_place = match name {
            "kind" | "entries" => false,
            "tx_hash" | "lt" | "account" => kind == Kind::Deposit,
            "reason" => matches!(kind, Kind::Adjustment | Kind::Reversal),
            "reverses" => kind == Kind::Reversal,
            name => is_known(name),
        };
        if !has_a_place {
            fault(
                Code::UnknownField,
                &name.chars().take(64).collect::<String>(),
            );
        }
        if members.has_repeated(|known| known == name) {
            fault(Code::InvalidField, name);
        }
    }
    let text = |name: &str| {
        members
            .value(name)
            .map(|value| value.as_str().map(str::to_owned))
    };
    let mut optional = |name: &str, fits: &dyn Fn(&str) -> bool| match text(name) {
        Some(found) if !found.as_deref().is_some_and(fits) => fault(Code::InvalidField, name),
        _ => {}
    };
    let of = |text: &str, alphabet: &str| text.chars().all(|c| alphabet.contains(c));
    let is_event = |text: &str| {
        (1..=128).contains(&text.len()) && text.chars().all(|c| (' '..='~').contains(&c))
    };
    optional("event_id", &is_event);
    optional("reverses", &is_event);
    let lower = "abcdefghijklmnopqrstuvwxyz0123456789_.:-";
    optional("source", &|text| {
        (1..=64).contains(&text.len()) && of(text, lower)
    });
    optional("occurred_at", &|text| {
        chrono::DateTime::parse_from_rfc3339(text).is_ok()
    });
    optional("lt", &|text| {
        (1..=20).contains(&text.len()) && of(text, "0123456789")
    });
    optional("account", &|text| TonAddress::parse(text).is_ok());
    optional("reason", &|text| {
        !text.trim().is_empty() && text.len() <= 1024 && !text.contains('\0')
    });
    match text("tx_hash") {
        Some(None) => fault(Code::InvalidField, "tx_hash"),
        Some(Some(hash)) if TxHash::parse(&hash).is_err() => fault(Code::InvalidTxHash, "tx_hash"),
        Some(Some(_)) => {}
        None if members.raw("event_id").is_none() => fault(Code::InvalidField, "event_id"),
        None => {}
    }
    if kind == Kind::Adjustment && members.raw("reason").is_none() {
        fault(Code::InvalidField, "reason");
    }
    let is_reversal = kind == Kind::Reversal;
    if is_reversal && members.raw("reverses").is_none() {
        fault(Code::InvalidField, "reverses");
    }
    if members
        .raw("metadata")
        .is_some_and(|text| !text.starts_with('{') || text.len() > 4096)
    {
        fault(Code::InvalidField, "metadata");
    }
    let user_id = members.value("user_id").as_ref().and_then(Value::as_u64);
    if !user_id.is_some_and(|id| (1..=(1 << 53) - 1).contains(&id)) {
        fault(Code::InvalidField, "user_id");
    }
    match text("currency") {
        Some(Some(code)) if matches!(code.as_str(), "TON" | "UNI") => {}
        Some(Some(_)) => fault(Code::UnknownCurrency, "currency"),
        None if is_reversal => {}
        _ => fault(Code::InvalidField, "currency"),
    }
    let is_number = members
        .raw("amount")
        .is_some_and(|raw| raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
    // What is past the range of the one currency may be in that of another.
    let decimals = if is_reversal && members.raw("currency").is_none() {
        18
    } else {
        9
    };
    let given = text("amount").flatten();
    let digits = |text: &str| text.trim_start_matches('0').len();
    let is_short = given.as_deref().is_some_and(|text| digits(text) <= 40);
    match given.map(|text| (text.starts_with('-'), Amount::parse(&text, decimals))) {
        Some((_, Ok(amount))) if kind == Kind::Adjustment || amount > Amount::ZERO => {}
        Some((false, Err(AmountError::Overflow))) if is_reversal && is_short => {}
        Some((true, _)) if is_reversal => fault(Code::InvalidAmount, "amount"),
        Some((_, Err(AmountError::Overflow))) => fault(Code::AmountOverflow, "amount"),
        Some(_) => fault(Code::InvalidAmount, "amount"),
        None if is_number => fault(Code::InvalidAmount, "amount"),
        None if is_reversal && members.raw("amount").is_none() => {}
        None => fault(Code::InvalidField, "amount"),
    }
    faults
}

/// Asserts that an entry has the values of its body.
fn assert_faithful(entry: &NewEntry, json: &[u8], kind: Kind) -> Result<(), TestCaseError> {
    let members = Members::read(json).expect("it was accepted");
    let text = |name: &str| {
        members
            .value(name)
            .and_then(|value| value.as_str().map(str::to_owned))
    };
    let hash = text("tx_hash").and_then(|hash| TxHash::parse(&hash).ok());
    let event_id = text("event_id").or(hash.map(|hash| format!("ton:{hash}")));
    prop_assert_eq!(
        (Some(entry.event_id.as_str().to_owned()), entry.tx_hash),
        (event_id, hash)
    );
    prop_assert_eq!(
        Some(entry.user_id.get()),
        members.value("user_id").and_then(|id| id.as_i64())
    );
    let given = Amount::parse(&text("amount").unwrap_or_default(), 9)
        .map(Amount::minor)
        .unwrap_or_default();
    let expected = if kind == Kind::Withdrawal {
        -given
    } else {
        given
    };
    prop_assert_eq!(entry.kind, kind);
    match &entry.change {
        Change::Plain { amount, .. } => prop_assert_eq!(amount.minor(), expected),
        Change::Reversal(reversal) => {
            let reverses = reversal.reverses.as_str().to_owned();
            prop_assert_eq!(Some(reverses), text("reverses"));
            let kept = reversal.amount.as_ref().map(|text| Amount::parse(text, 18));
            let given = text("amount").map(|text| Amount::parse(&text, 18));
            prop_assert_eq!(kept, given);
            prop_assert_eq!(reversal.currency.is_some(), text("currency").is_some());
        }
    }
    prop_assert_eq!(
        entry.source.as_str(),
        text("source").unwrap_or(kind.to_string())
    );
    let metadata = entry
        .details
        .as_ref()
        .and_then(|details| details.metadata.as_deref());
    prop_assert_eq!(
        metadata,
        members.raw("metadata"),
        "metadata is kept as it was sent"
    );
    Ok(())
}

#[test]
fn a_body_is_accepted_exactly_when_it_has_no_fault_and_refused_for_one_that_it_has() {
    let plain = body();
    let spoiled_once = body().prop_flat_map(|(kind, json)| (Just(kind), spoiled(Just(json))));
    let noise = (
        prop::sample::select(&Kind::ALL[..]),
        prop::collection::vec(any::<u8>(), 0..80),
    );
    check(
        prop_oneof![5 => plain.boxed(), 4 => spoiled_once.boxed(), 1 => noise.boxed()],
        |(kind, json)| {
            let faults = faults(&json, kind);
            let shown = String::from_utf8_lossy(&json).into_owned();
            match EntryObject::parse(&json, &FIELDS)
                .and_then(|object| parse_entry(&object, kind, false, &Currencies::default()))
            {
                Ok(entry) => {
                    prop_assert!(
                        faults.is_empty(),
                        "accepted despite {:?}: {}",
                        faults,
                        shown
                    );
                    assert_faithful(&entry, &json, kind)?;
                }
                Err(problem) => {
                    let found = (problem.code(), problem.field_name().map(str::to_owned));
                    prop_assert!(
                        faults.contains(&found),
                        "{:?} is none of {:?}: {}",
                        found,
                        faults,
                        shown
                    );
                }
            }
            Ok(())
        },
    );
}
