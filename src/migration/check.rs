//! What the service checks of an entry without its ledger, for a file that is not sent.

use serde_json::{Map, Value};

use crate::clock;
use crate::domain::{
    Amount, AmountError, Currencies, EventId, Source, TonAddress, TxHash, UserId, check_metadata,
};
use crate::migration::Refused;
use crate::migration::lines::Row;

/// The kinds of entries.
const KINDS: [&str; 5] = ["deposit", "reward", "withdrawal", "adjustment", "reversal"];

/// The fields that entries of every kind may have, and those of some kinds.
const FIELDS: [&str; 8] = [
    "kind",
    "event_id",
    "user_id",
    "currency",
    "amount",
    "source",
    "occurred_at",
    "metadata",
];
const FIELDS_OF: [(&str, &[&str]); 5] = [
    ("tx_hash", &["deposit"]),
    ("lt", &["deposit"]),
    ("account", &["deposit"]),
    ("reason", &["adjustment", "reversal"]),
    ("reverses", &["reversal"]),
];

/// The longest `reason`, in bytes, and the most digits of `lt`.
const REASON_BYTES_MAX: usize = 1024;
const LT_DIGITS_MAX: usize = 20;

/// Checks one row.
///
/// # Errors
/// The row with the service's code, and what is wrong.
pub fn check(row: &Row, currencies: &Currencies) -> Result<(), Refused> {
    let fields: Map<String, Value> = serde_json::from_str(row.object.get())
        .map_err(|error| row.refuse("invalid_line", error.to_string()))?;
    let item = Item { fields, currencies };
    item.check().map_err(|(code, why)| row.refuse(code, why))
}

type Checked<T = ()> = Result<T, (&'static str, String)>;

struct Item<'a> {
    fields: Map<String, Value>,
    currencies: &'a Currencies,
}

impl Item<'_> {
    fn check(&self) -> Checked {
        let kind = self.required("kind")?;
        if !KINDS.contains(&kind) {
            return invalid("kind", "is not known");
        }
        self.check_names(kind)?;
        let has_hash = self.read("tx_hash", "invalid_tx_hash", TxHash::parse)?;
        if has_hash.is_none() || self.fields.contains_key("event_id") {
            self.required("event_id")?;
            self.read("event_id", "invalid_field", EventId::parse)?;
        }
        let user_id = self.fields.get("user_id").map(Value::to_string);
        let user_id = user_id.ok_or_else(|| missing("user_id"))?;
        UserId::parse(&user_id).or_else(|error| invalid("user_id", &error.to_string()))?;
        if kind == "reversal" {
            self.required("reverses")?;
            self.read("reverses", "invalid_field", EventId::parse)?;
        }
        self.check_amount(kind)?;
        self.check_details(kind)
    }

    fn check_names(&self, kind: &str) -> Checked {
        let is_known = |name: &str| {
            let of_some = FIELDS_OF.iter().find(|(known, _)| *known == name);
            FIELDS.contains(&name) || of_some.is_some_and(|(_, kinds)| kinds.contains(&kind))
        };
        match self.fields.keys().find(|name| !is_known(name)) {
            Some(name) => Err(("unknown_field", name.clone())),
            None => Ok(()),
        }
    }

    fn check_amount(&self, kind: &str) -> Checked {
        let is_reversal = kind == "reversal";
        let currency = match self.text("currency")? {
            Some(code) => {
                let unknown = || ("unknown_currency", "currency".to_owned());
                Some(self.currencies.find(code).ok_or_else(unknown)?)
            }
            None if is_reversal => None,
            None => return Err(missing("currency")),
        };
        let text = match self.fields.get("amount") {
            Some(Value::String(text)) => text,
            Some(Value::Number(_)) => {
                return Err(("invalid_amount", "amount must be a string".into()));
            }
            Some(_) => return invalid("amount", "must be a string"),
            None if is_reversal => return Ok(()),
            None => return Err(missing("amount")),
        };
        // A reversal without a currency has its entry's, which is not known here.
        let Some(currency) = currency else {
            return Ok(());
        };
        let decimals = self.currencies.get(currency).decimals;
        let amount = Amount::parse(text, decimals).map_err(|error| {
            let code = match error {
                AmountError::Invalid => "invalid_amount",
                AmountError::Overflow => "amount_overflow",
            };
            (code, format!("amount {error}"))
        })?;
        if amount == Amount::ZERO || (amount < Amount::ZERO && kind != "adjustment") {
            return Err((
                "invalid_amount",
                "amount must be positive for this kind".into(),
            ));
        }
        Ok(())
    }

    fn check_details(&self, kind: &str) -> Checked {
        self.read("source", "invalid_field", |text| {
            Source::parse(text).ok_or("must be 1 to 64 of a-z, 0-9, _ . : -")
        })?;
        self.read("occurred_at", "invalid_field", |text| {
            clock::parse_rfc3339(text).ok_or("must be an RFC 3339 timestamp")
        })?;
        self.read("account", "invalid_field", TonAddress::parse)?;
        self.read("lt", "invalid_field", |text| {
            let is_digits = text.bytes().all(|b| b.is_ascii_digit());
            let is_good = is_digits && (1..=LT_DIGITS_MAX).contains(&text.len());
            is_good
                .then_some(())
                .ok_or("must be a string of 1 to 20 digits")
        })?;
        self.read("reason", "invalid_field", |text| {
            let is_good =
                !text.trim().is_empty() && text.len() <= REASON_BYTES_MAX && !text.contains('\0');
            is_good
                .then_some(())
                .ok_or("must be 1 to 1024 bytes of text")
        })?;
        if kind == "adjustment" {
            self.required("reason")?;
        }
        match self.fields.get("metadata").map(Value::to_string) {
            Some(json) => {
                check_metadata(&json).or_else(|error| invalid("metadata", &error.to_string()))
            }
            None => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Checked<Option<&str>> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => invalid(name, "must be a string"),
        }
    }

    fn required(&self, name: &str) -> Checked<&str> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    fn read<T, E: std::fmt::Display>(
        &self,
        name: &str,
        code: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Checked<Option<T>> {
        let read = self.text(name)?.map(parse).transpose();
        read.map_err(|error| (code, format!("{name} {error}")))
    }
}

fn missing(name: &str) -> (&'static str, String) {
    ("invalid_field", format!("{name} is missing"))
}

fn invalid<T>(name: &str, why: &str) -> Checked<T> {
    Err(("invalid_field", format!("{name} {why}")))
}
