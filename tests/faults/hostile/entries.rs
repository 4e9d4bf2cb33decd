//! Validly signed entries with one error each, and the refusal that the contract fixes.

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::ws_model::{letters, pick};

/// A body and its refusal.
#[derive(Debug, Clone)]
pub struct BadEntry {
    pub kind: &'static str,
    pub body: Vec<u8>,
    pub status: u16,
    pub code: &'static str,
}

/// A stored event: a deposit of 1 TON to [`OWNER`].
pub const KNOWN_EVENT: &str = "hostile:known";
/// The user of that deposit.
pub const OWNER: u64 = 77;

const KINDS: [&str; 4] = ["deposit", "reward", "withdrawal", "adjustment"];

fn good(rng: &mut StdRng, kind: &str) -> Map<String, Value> {
    let mut entry = json!({
        "event_id": format!("hostile:{}", rng.random::<u64>()), "user_id": OWNER, "currency": "TON", "amount": "0.5",
    });
    if kind == "adjustment" {
        entry["reason"] = "a reason".into();
    }
    entry.as_object().expect("an object").clone()
}

/// A refused entry.
pub fn bad_entry(rng: &mut StdRng) -> BadEntry {
    let kind = *pick(rng, &[&KINDS[0], &KINDS[1], &KINDS[2], &KINDS[3]]);
    if rng.random_bool(0.15) {
        return BadEntry {
            kind,
            body: not_an_object(rng),
            status: 400,
            code: "invalid_json",
        };
    }
    let mut entry = good(rng, kind);
    let (field, value, code) = match rng.random_range(0..10) {
        0 => ("user_id", user_id(rng), "invalid_field"),
        1 => ("event_id", event_id(rng), "invalid_field"),
        2 => currency(rng),
        3 | 4 => amount(rng, kind),
        5 => optional(rng),
        6 => misplaced(rng, kind),
        7 => of_a_transaction(rng, kind),
        8 => return twice_or_missing(rng, kind, entry),
        _ => return against_the_ledger(rng, kind, entry),
    };
    entry.insert(field.to_owned(), value);
    BadEntry {
        kind,
        body: Value::Object(entry).to_string().into_bytes(),
        status: 422,
        code,
    }
}

fn not_an_object(rng: &mut StdRng) -> Vec<u8> {
    let length = rng.random_range(1..300);
    match rng.random_range(0..6) {
        0 => letters(rng, length).into_bytes(),
        1 => "[".repeat(rng.random_range(1..50_000)).into_bytes(),
        2 => format!(
            "{{\"metadata\":{}",
            "{\"a\":".repeat(rng.random_range(1..10_000))
        )
        .into_bytes(),
        3 => b"{\"event_id\":\"\xff\xfe\",\"user_id\":77,\"currency\":\"TON\",\"amount\":\"1\"}"
            .to_vec(),
        4 => br#"{"event_id":"twice","user_id":77,"currency":"TON","amount":"1"}{"event_id":"x"}"#
            .to_vec(),
        _ => pick(
            rng,
            &[
                "",
                " ",
                "null",
                "[]",
                "7",
                "\"deposit\"",
                "{",
                "{\"event_id\"",
                "{,}",
                "\u{feff}{}",
            ],
        )
        .into(),
    }
}

fn user_id(rng: &mut StdRng) -> Value {
    match rng.random_range(0..5) {
        0 => json!(-rng.random_range(0..i64::MAX)),
        1 => json!(rng.random_range(9_007_199_254_740_992..u64::MAX)),
        2 => json!(rng.random_range(0.1..1e300)),
        3 => json!("77"),
        _ => pick(
            rng,
            &[&json!(null), &json!([77]), &json!({"id": 77}), &json!(true)],
        )
        .clone(),
    }
}

fn event_id(rng: &mut StdRng) -> Value {
    let long = rng.random_range(129..2000);
    match rng.random_range(0..4) {
        0 => json!(letters(rng, long)),
        1 => json!(*pick(
            rng,
            &["", "é", "a\u{0}b", "a\nb", "\u{202e}", "😀", "a\u{7f}"]
        )),
        _ => pick(
            rng,
            &[&json!(null), &json!(7), &json!(["x"]), &json!(false)],
        )
        .clone(),
    }
}

fn currency(rng: &mut StdRng) -> (&'static str, Value, &'static str) {
    match rng.random_range(0..3) {
        0 => (
            "currency",
            json!(*pick(rng, &["ton", "BTC", "", " TON", "TON\u{0}", "ТОN"])),
            "unknown_currency",
        ),
        1 => ("currency", json!(letters(rng, 1000)), "unknown_currency"),
        _ => (
            "currency",
            pick(rng, &[&json!(null), &json!(0), &json!(["TON"])]).clone(),
            "invalid_field",
        ),
    }
}

fn amount(rng: &mut StdRng, kind: &str) -> (&'static str, Value, &'static str) {
    let negative = if kind == "adjustment" { "-0" } else { "-1" };
    match rng.random_range(0..6) {
        0 => ("amount", json!(rng.random::<i64>()), "invalid_amount"),
        1 => (
            "amount",
            json!(rng.random_range(0.0..1e300)),
            "invalid_amount",
        ),
        2 => {
            let digits = "9".repeat(rng.random_range(11..2000));
            (
                "amount",
                json!(*pick(rng, &["9223372036.854775808", digits.as_str()])),
                "amount_overflow",
            )
        }
        3 => (
            "amount",
            json!(format!("0.{:010}", rng.random_range(1..10_000_000_000_u64))),
            "invalid_amount",
        ),
        4 => (
            "amount",
            pick(
                rng,
                &[&json!(null), &json!({}), &json!(["1"]), &json!(true)],
            )
            .clone(),
            "invalid_field",
        ),
        _ => {
            let forms = [
                "", "+1", "1.", ".5", "1e3", " 1", "1 ", "0", "0.0", "NaN", "inf", "0x10", "1,5",
                "--1", "१",
            ];
            let mut forms = forms.to_vec();
            forms.extend(["1.2.3", "1_000", "\u{0}1", "-", "1-", negative]);
            ("amount", json!(*pick(rng, &forms)), "invalid_amount")
        }
    }
}

fn optional(rng: &mut StdRng) -> (&'static str, Value, &'static str) {
    let long = rng.random_range(65..500);
    let (field, value) = match rng.random_range(0..4) {
        0 => ("source", json!(letters(rng, long))),
        1 => (
            "source",
            pick(
                rng,
                &[
                    &json!(""),
                    &json!("UPPER"),
                    &json!("a b"),
                    &json!(7),
                    &json!(null),
                ],
            )
            .clone(),
        ),
        2 => {
            let texts = [
                "yesterday",
                "",
                "2025-02-30T00:00:00Z",
                "2025-08-04",
                "2025-08-04T25:00:00Z",
                "+10000-01-01",
            ];
            ("occurred_at", json!(*pick(rng, &texts)))
        }
        _ => {
            let big = json!({"a": letters(rng, 4096)});
            (
                "metadata",
                pick(
                    rng,
                    &[&big, &json!([]), &json!("x"), &json!(7), &json!(null)],
                )
                .clone(),
            )
        }
    };
    (field, value, "invalid_field")
}

fn misplaced(rng: &mut StdRng, kind: &str) -> (&'static str, Value, &'static str) {
    let mut fields = vec![
        "kind",
        "entries",
        "version",
        "balance",
        "is_admin",
        "Amount",
        "amount_minor",
        "__proto__",
    ];
    if kind != "adjustment" {
        fields.push("reason");
    }
    if kind != "deposit" {
        fields.extend(["tx_hash", "lt", "account"]);
    }
    let field = fields[rng.random_range(0..fields.len())];
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let deep: Value = serde_json::from_str(&deep).expect("JSON");
    (
        field,
        pick(rng, &[&json!(1), &json!("deposit"), &json!(null), &deep]).clone(),
        "unknown_field",
    )
}

fn of_a_transaction(rng: &mut StdRng, kind: &str) -> (&'static str, Value, &'static str) {
    if kind != "deposit" {
        return misplaced(rng, kind);
    }
    let length = rng.random_range(65..500);
    match rng.random_range(0..4) {
        0 => (
            "tx_hash",
            json!(*pick(rng, &["", "zz", "te6cckEBAQEAAgAAAEysuc0=", "0x00"])),
            "invalid_tx_hash",
        ),
        1 => ("tx_hash", json!("a".repeat(length)), "invalid_tx_hash"),
        2 => (
            "lt",
            pick(
                rng,
                &[&json!(7), &json!(""), &json!("1a"), &json!("1".repeat(21))],
            )
            .clone(),
            "invalid_field",
        ),
        _ => (
            "account",
            pick(rng, &[&json!(7), &json!("0:12"), &json!("EQ"), &json!("")]).clone(),
            "invalid_field",
        ),
    }
}

fn twice_or_missing(
    rng: &mut StdRng,
    kind: &'static str,
    mut entry: Map<String, Value>,
) -> BadEntry {
    let field = *pick(rng, &[&"event_id", &"user_id", &"currency", &"amount"]);
    let body = if rng.random_bool(0.5) {
        entry.remove(field);
        Value::Object(entry).to_string()
    } else {
        let again = entry[field].to_string();
        let once = Value::Object(entry).to_string();
        format!("{},\"{field}\":{again}}}", &once[..once.len() - 1])
    };
    BadEntry {
        kind,
        body: body.into_bytes(),
        status: 422,
        code: "invalid_field",
    }
}

/// Well-formed, and refused by the ledger.
fn against_the_ledger(
    rng: &mut StdRng,
    kind: &'static str,
    mut entry: Map<String, Value>,
) -> BadEntry {
    let (status, code) = match (rng.random_range(0..2), kind) {
        (0, "withdrawal") => {
            entry.insert(
                "amount".to_owned(),
                json!(format!("{}", rng.random_range(2..9_000_000_000_u64))),
            );
            (422, "insufficient_funds")
        }
        (0, "deposit" | "reward") => {
            entry.insert("amount".to_owned(), json!("9223372036.854775807"));
            (422, "amount_overflow")
        }
        (0, _) => {
            entry.insert("amount".to_owned(), json!("-1.000000001"));
            (422, "insufficient_funds")
        }
        _ => {
            entry.insert("event_id".to_owned(), KNOWN_EVENT.into());
            entry.insert(
                "amount".to_owned(),
                json!(format!("0.{}", rng.random_range(1..100))),
            );
            (409, "idempotency_conflict")
        }
    };
    BadEntry {
        kind,
        body: Value::Object(entry).to_string().into_bytes(),
        status,
        code,
    }
}
