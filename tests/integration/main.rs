//! The service as a black box: HTTP and WebSocket only, against the real program, on both
//! databases.
//!
//! `cargo test --test integration <part of a name>` runs some of it. PostgreSQL is named by
//! `BALANCE_TEST_POSTGRES_URL`.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod amounts;
mod batch;
mod browser_reads;
mod canary;
mod client_files;
mod commands;
mod deployment;
mod deposits;
mod diagnosis;
mod doors;
mod entry_fields;
mod following;
mod ledger_away;
mod ledger_back;
mod log_requests;
mod logs;
mod metrics;
mod migration;
mod openapi;
mod proxies;
mod reads;
mod refusals;
mod reloading;
mod reversals;
mod signatures;
mod slow_log;
mod telegram;
mod tokens;
mod upgrade;
mod verify;
mod ws_authentication;
mod ws_limits;
mod ws_messages;
mod ws_pushes;

use serde_json::{Value, json};

/// The body of one entry.
fn entry(event_id: &str, user_id: u64, currency: &str, amount: &str) -> Value {
    json!({"event_id": event_id, "user_id": user_id, "currency": currency, "amount": amount})
}

/// `base` with the fields of `more` added or replaced; `null` removes one.
fn with(base: &Value, more: Value) -> Value {
    let mut body = base.clone();
    let fields = body.as_object_mut().expect("an object");
    for (key, value) in more.as_object().expect("an object") {
        match value {
            Value::Null => drop(fields.remove(key)),
            value => drop(fields.insert(key.clone(), value.clone())),
        }
    }
    body
}

/// Asserts that an object has exactly these keys.
#[track_caller]
fn assert_keys(object: &Value, keys: &[&str]) {
    let mut found: Vec<&str> = object
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let mut keys = keys.to_vec();
    found.sort_unstable();
    keys.sort_unstable();
    assert_eq!(found, keys, "{object}");
}

/// Asserts the form of timestamps: RFC 3339 in UTC with microseconds.
#[track_caller]
fn assert_timestamp(value: &Value) {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("a timestamp, not {value}"));
    let form: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(form, "0000-00-00T00:00:00.000000Z", "{text}");
}

/// TON and UNI balances as they are shown.
fn balances(ton: &str, uni: &str) -> Value {
    json!({"TON": ton, "UNI": uni})
}
