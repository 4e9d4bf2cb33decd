//! The shapes of TON Center's v3 answers, written down: every answer of an imitation is checked against them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What a value has to be.
pub enum Shape {
    /// Raw, in capitals: `0:ED16…`.
    Address,
    /// 32 bytes in standard base64.
    Hash,
    /// A number as a string of digits.
    Digits,
    /// A whole number that is none.
    Number,
    Bool,
    Text,
    /// 32 bits: `0x7362d09c`.
    Opcode,
    /// A bag of cells in standard base64.
    Cells,
    OneOf(&'static [&'static str]),
    /// Any object.
    Map,
    Null,
    Or(&'static [Shape]),
    List(&'static Shape),
    /// These fields, and no others.
    Fields(&'static [Field]),
}

/// A field's name and shape, and whether it is always there.
pub type Field = (&'static str, Shape, Presence);

/// Whether a field is always there.
pub enum Presence {
    Always,
    Perhaps,
}

use Presence::{Always, Perhaps};
use Shape::{
    Address, Bool, Cells, Digits, Fields, Hash, List, Map, Null, Number, OneOf, Opcode, Or, Text,
};

/// `GET /transactions`
pub const TRANSACTIONS: Shape = Fields(&[
    ("transactions", List(&TRANSACTION), Always),
    ("address_book", Map, Always),
]);

/// `GET /jetton/wallets`
pub const JETTON_WALLETS: Shape = Fields(&[
    ("jetton_wallets", List(&JETTON_WALLET), Always),
    ("address_book", Map, Perhaps),
]);

/// What comes with another status than 200.
pub const ERROR: Shape = Or(&[
    Fields(&[("error", Text, Always)]),
    Fields(&[
        ("ok", Bool, Always),
        ("result", Text, Always),
        ("code", Number, Always),
    ]),
]);

const TRANSACTION: Shape = Fields(&[
    ("account", Address, Always),
    ("hash", Hash, Always),
    ("lt", Digits, Always),
    ("prev_trans_hash", Hash, Always),
    ("prev_trans_lt", Digits, Always),
    ("now", Number, Always),
    ("mc_block_seqno", Number, Always),
    ("trace_id", Hash, Always),
    ("orig_status", STATUS, Always),
    ("end_status", STATUS, Always),
    ("description", DESCRIPTION, Always),
    ("in_msg", Or(&[Null, MESSAGE]), Always),
    ("out_msgs", List(&MESSAGE), Always),
    ("emulated", Bool, Always),
    // Older deployments lack it.
    (
        "finality",
        OneOf(&["finalized", "pending", "confirmed"]),
        Perhaps,
    ),
]);

const STATUS: Shape = OneOf(&["active", "uninit", "frozen", "nonexist"]);

const DESCRIPTION: Shape = Fields(&[
    ("type", OneOf(&["ord", "tick_tock"]), Always),
    ("aborted", Bool, Perhaps),
    ("destroyed", Bool, Perhaps),
    ("credit_first", Bool, Perhaps),
    ("storage_ph", Map, Perhaps),
    ("credit_ph", Fields(&[("credit", Digits, Always)]), Perhaps),
    ("compute_ph", COMPUTE_PHASE, Perhaps),
    ("action", Map, Perhaps),
    (
        "bounce",
        Fields(&[("type", OneOf(&["ok", "nofunds", "negfunds"]), Always)]),
        Perhaps,
    ),
]);

const COMPUTE_PHASE: Shape = Fields(&[
    ("skipped", Bool, Always),
    ("reason", Text, Perhaps),
    ("success", Bool, Perhaps),
    ("exit_code", Number, Perhaps),
]);

const MESSAGE: Shape = Fields(&[
    ("hash", Hash, Always),
    // From outside the chain there is no source, no value and no bounce.
    ("source", Or(&[Null, Address]), Always),
    ("destination", Or(&[Null, Address]), Always),
    ("value", Or(&[Null, Digits]), Always),
    ("fwd_fee", Or(&[Null, Digits]), Always),
    ("created_lt", Or(&[Null, Digits]), Always),
    ("created_at", Or(&[Null, Digits]), Always),
    ("opcode", Or(&[Null, Opcode]), Always),
    ("decoded_opcode", Or(&[Null, Text]), Always),
    ("bounce", Or(&[Null, Bool]), Always),
    ("bounced", Or(&[Null, Bool]), Always),
    ("message_content", CONTENT, Always),
    ("init_state", Or(&[Null, Map]), Always),
]);

const CONTENT: Shape = Fields(&[
    ("hash", Hash, Always),
    ("body", Cells, Always),
    ("decoded", Or(&[Null, EMPTY_CELL, COMMENT]), Always),
]);

const EMPTY_CELL: Shape = Fields(&[("@type", OneOf(&["empty_cell"]), Always)]);

const COMMENT: Shape = Fields(&[
    ("@type", OneOf(&["text_comment"]), Always),
    ("type", OneOf(&["text_comment"]), Always),
    ("comment", Text, Always),
]);

const JETTON_WALLET: Shape = Fields(&[
    ("address", Address, Always),
    ("owner", Address, Always),
    ("jetton", Address, Always),
    ("balance", Digits, Always),
    ("last_transaction_lt", Digits, Always),
]);

/// Where a value is not as its shape says; nothing when it is right.
pub fn mistakes(value: &Value, shape: &Shape) -> Vec<String> {
    let mut found = Vec::new();
    check(value, shape, "", &mut found);
    found
}

fn check(value: &Value, shape: &Shape, path: &str, found: &mut Vec<String>) {
    let text = |is_right: fn(&str) -> bool| value.as_str().is_some_and(is_right);
    let is_right = match shape {
        Address => text(is_address),
        Hash => text(|text| STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32)),
        Digits => text(is_digits),
        Number => value.is_i64() || value.is_u64(),
        Bool => value.is_boolean(),
        Text => value.is_string(),
        Opcode => text(is_opcode),
        Cells => text(is_cells),
        OneOf(known) => value.as_str().is_some_and(|text| known.contains(&text)),
        Map => value.is_object(),
        Null => value.is_null(),
        Or(shapes) => {
            let found_in: Vec<_> = shapes.iter().map(|one| mistakes(value, one)).collect();
            let is_right = found_in.iter().any(Vec::is_empty);
            if let (false, Some(last)) = (is_right, found_in.last()) {
                found.extend(last.iter().map(|mistake| format!("{path}{mistake}")));
            }
            is_right
        }
        List(item) => value.as_array().is_some_and(|items| {
            for (index, one) in items.iter().enumerate() {
                check(one, item, &format!("{path}/{index}"), found);
            }
            true
        }),
        Fields(fields) => {
            check_fields(value, fields, path, found);
            value.is_object()
        }
    };
    if !is_right {
        found.push(format!("{path}: {value}"));
    }
}

fn check_fields(value: &Value, fields: &[Field], path: &str, found: &mut Vec<String>) {
    for (name, shape, presence) in fields {
        match (value.get(name), presence) {
            (Some(inner), _) => check(inner, shape, &format!("{path}/{name}"), found),
            (None, Always) => found.push(format!("{path}: no {name}")),
            (None, Perhaps) => {}
        }
    }
    let names = value
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys());
    let is_known = |name: &String| fields.iter().any(|(known, ..)| known == name);
    found.extend(
        names
            .filter(|name| !is_known(name))
            .map(|name| format!("{path}: the API has no {name}")),
    );
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_capital_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'))
}

fn is_address(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(chain, hex)| matches!(chain, "0" | "-1") && is_capital_hex(hex, 64))
}

fn is_opcode(text: &str) -> bool {
    text.strip_prefix("0x")
        .is_some_and(|hex| is_capital_hex(&hex.to_uppercase(), 8) && hex == hex.to_lowercase())
}

/// The head of a bag of cells: <https://docs.ton.org> calls it `serialized_boc`.
fn is_cells(text: &str) -> bool {
    STANDARD
        .decode(text)
        .is_ok_and(|bytes| bytes.starts_with(&[0xb5, 0xee, 0x9c, 0x72]))
}

/// The parameters that a request may have: the API ignores others, so a misspelled filter would answer with everything.
pub fn is_known_parameter(path: &str, name: &str) -> bool {
    let known: &[&str] = match path {
        "/api/v3/transactions" => &["account", "start_lt", "end_lt", "limit", "offset", "sort"],
        "/api/v3/jetton/wallets" => &["owner_address", "jetton_address", "limit", "offset"],
        _ => &[],
    };
    known.contains(&name)
}
