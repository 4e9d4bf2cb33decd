//! Turns the JSON of one entry into a checked [`NewEntry`]. Every refusal names its field; nothing is guessed.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::value::RawValue;

use crate::clock;
use crate::domain::{
    Amount, AmountError, Change, Currencies, CurrencyId, Details, EventId, Kind, NewEntry,
    Reversal, Source, TonAddress, TxHash, check_metadata,
};
use crate::http::extract::invalid;
use crate::http::extract::json::{JsonObject, string};
use crate::http::problem::{Code, Problem};
use crate::telemetry::requests;

/// The longest `reason`, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// The longest amount of a reversal, without leading zeros: more digits are past the range of every currency.
const REVERSED_DIGITS_MAX: usize = 40;

/// What is said of a kind that is none.
pub(in crate::http) const KINDS: &str =
    "must be deposit, reward, withdrawal, adjustment or reversal";

/// Every field of an entry, and that of a batch.
pub(in crate::http) const FIELDS: [&str; 14] = [
    "kind",
    "event_id",
    "user_id",
    "currency",
    "amount",
    "source",
    "occurred_at",
    "metadata",
    "tx_hash",
    "lt",
    "account",
    "reason",
    "reverses",
    "entries",
];

/// The JSON object of one entry, or of a batch.
pub(in crate::http) type EntryObject<'a> = JsonObject<'a, { FIELDS.len() }>;

/// The kind of a batch item.
pub(super) fn item_kind(object: &EntryObject<'_>) -> Result<Kind, Problem> {
    let name = object.required_text("kind")?;
    Kind::parse(&name).ok_or_else(|| invalid("kind", KINDS))
}

/// Checks one entry of a kind. In a batch (`is_item`) `kind` is a member of the object.
pub(in crate::http) fn parse_entry(
    object: &EntryObject<'_>,
    kind: Kind,
    is_item: bool,
    currencies: &Currencies,
) -> Result<NewEntry, Problem> {
    object.check_names(|name| match name {
        "kind" => is_item,
        "tx_hash" | "lt" | "account" => kind == Kind::Deposit,
        "reason" => matches!(kind, Kind::Adjustment | Kind::Reversal),
        "reverses" => kind == Kind::Reversal,
        "entries" => false,
        _ => true,
    })?;
    let tx_hash = tx_hash(object)?;
    let event_id = match (object.text("event_id")?, tx_hash) {
        (Some(text), _) => EventId::parse(&text).map_err(|error| invalid("event_id", error))?,
        (None, Some(hash)) => hash.event_id(),
        (None, None) => return Err(invalid("event_id", "is missing")),
    };
    let user_id = object.user_id()?;
    let change = if kind == Kind::Reversal {
        Change::Reversal(Box::new(reversal(object, currencies)?))
    } else {
        let currency = currency(&object.required_text("currency")?, currencies)?;
        let amount = amount(object, kind, currency.decimals())?;
        Change::Plain { currency, amount }
    };
    let source = match object.text("source")? {
        Some(text) => Source::parse(&text)
            .ok_or_else(|| invalid("source", "must be 1 to 64 of a-z, 0-9, _ . : -"))?,
        None => Source::from(kind),
    };
    let details = details(object, kind)?;
    let details = (details != Details::default()).then(|| Box::new(details));
    Ok(NewEntry {
        event_id,
        user_id,
        kind,
        change,
        source,
        tx_hash,
        details,
    })
}

/// The entry of a single webhook's body, for benches; `None` when it is refused.
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub fn parse_body(json: &[u8], kind: Kind, currencies: &Currencies) -> Option<NewEntry> {
    parse_entry(
        &EntryObject::parse(json, &FIELDS).ok()?,
        kind,
        false,
        currencies,
    )
    .ok()
}

fn tx_hash(object: &EntryObject<'_>) -> Result<Option<TxHash>, Problem> {
    let Some(text) = object.text("tx_hash")? else {
        return Ok(None);
    };
    let unreadable =
        |error| Problem::new(Code::InvalidTxHash, format!("tx_hash {error}")).field("tx_hash");
    TxHash::parse(&text).map(Some).map_err(unreadable)
}

fn currency(code: &str, currencies: &Currencies) -> Result<CurrencyId, Problem> {
    let unknown =
        || Problem::new(Code::UnknownCurrency, "the currency is not configured").field("currency");
    currencies.find(code).ok_or_else(unknown)
}

/// What a reversal takes back. Its amount is one of the entry's currency, so only its form is checked here.
fn reversal(object: &EntryObject<'_>, currencies: &Currencies) -> Result<Reversal, Problem> {
    let reverses = EventId::parse(&object.required_text("reverses")?)
        .map_err(|error| invalid("reverses", error))?;
    let currency = object
        .text("currency")?
        .map(|code| currency(&code, currencies))
        .transpose()?;
    let amount = match object.get("amount") {
        Some(value) => Some(reversed_amount(&amount_text(value)?, currency)?),
        None => None,
    };
    Ok(Reversal {
        reverses,
        currency,
        amount,
    })
}

/// The form of an amount of some currency, without leading zeros.
fn reversed_amount(text: &str, currency: Option<CurrencyId>) -> Result<Box<str>, Problem> {
    let decimals = currency.map_or(Currencies::DECIMALS_MAX, CurrencyId::decimals);
    let is_amount = !matches!(Amount::parse(text, decimals), Err(AmountError::Invalid));
    if !is_amount || text.starts_with('-') {
        return Err(wrong_amount("must be positive, and one of its currency"));
    }
    let digits = text.trim_start_matches('0');
    if digits.len() > REVERSED_DIGITS_MAX {
        return Err(past_range(AmountError::Overflow));
    }
    let zero = if digits.starts_with('.') { "0" } else { "" };
    Ok(format!("{zero}{digits}").into())
}

fn wrong_amount(why: impl Display) -> Problem {
    Problem::new(Code::InvalidAmount, format!("amount {why}")).field("amount")
}

fn past_range(error: AmountError) -> Problem {
    Problem::new(Code::AmountOverflow, format!("amount {error}")).field("amount")
}

fn amount_text(value: &RawValue) -> Result<Cow<'_, str>, Problem> {
    let is_number = |json: &str| json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if is_number(value.get()) {
        let why = "must be a string: a JSON number may have been rounded";
        return Err(wrong_amount(why));
    }
    string("amount", value)
}

fn amount(object: &EntryObject<'_>, kind: Kind, decimals: u8) -> Result<Amount, Problem> {
    let text = amount_text(object.required("amount")?)?;
    let amount = Amount::parse(&text, decimals).map_err(|error| match error {
        AmountError::Invalid => wrong_amount(error),
        AmountError::Overflow => past_range(error),
    })?;
    let is_positive = amount > Amount::ZERO;
    match (kind, amount.checked_neg()) {
        (Kind::Adjustment, _) => Ok(amount),
        (Kind::Deposit | Kind::Reward, _) if is_positive => Ok(amount),
        (Kind::Withdrawal, Some(negated)) if is_positive => Ok(negated),
        _ => Err(wrong_amount("must be positive for this kind")),
    }
}

fn details(object: &EntryObject<'_>, kind: Kind) -> Result<Details, Problem> {
    let occurred_at_us = object
        .text("occurred_at")?
        .map(|text| {
            clock::parse_rfc3339(&text)
                .ok_or_else(|| invalid("occurred_at", "must be an RFC 3339 timestamp"))
        })
        .transpose()?;
    let metadata = object.get("metadata").map(|value| value.get());
    metadata
        .map(check_metadata)
        .transpose()
        .map_err(|error| invalid("metadata", error))?;
    let tx_lt = object.text("lt")?;
    if tx_lt
        .as_ref()
        .is_some_and(|lt| lt.is_empty() || lt.len() > 20 || !lt.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(invalid("lt", "must be a string of 1 to 20 digits"));
    }
    let tx_account = object
        .text("account")?
        .map(|text| TonAddress::parse(&text).map_err(|error| invalid("account", error)))
        .transpose()?;
    let reason = object.text("reason")?;
    let is_bad =
        |text: &str| text.trim().is_empty() || text.len() > REASON_BYTES_MAX || text.contains('\0');
    match &reason {
        Some(text) if is_bad(text) => {
            return Err(invalid("reason", "must be 1 to 1024 bytes of text"));
        }
        None if kind == Kind::Adjustment => return Err(invalid("reason", "is missing")),
        _ => {}
    }
    Ok(Details {
        reason: reason.map(Cow::into_owned),
        occurred_at_us,
        metadata: metadata.map(str::to_owned),
        tx_lt: tx_lt.map(Cow::into_owned),
        tx_account,
        request: requests::current(),
    })
}

#[cfg(test)]
mod tests;
