//! From the JSON of one entry to a checked [`NewEntry`]: every refusal names its field, and nothing is guessed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::clock;
use crate::domain::{
    Amount, AmountError, Currencies, Details, EventId, Kind, NewEntry, Source, TonAddress, TxHash,
    UserId, check_metadata,
};
use crate::http::problem::{Code, Problem};

/// The longest `reason`, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// How much of an unknown name is shown.
const NAME_CHARS_MAX: usize = 64;

/// Every field of an entry, in the order in which they are checked.
pub(crate) const FIELDS: [&str; 13] = [
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
    "entries",
];

/// The members of a JSON object whose names are known, unparsed; and what is wrong with the object itself.
#[derive(Debug, Default)]
pub(crate) struct RawObject<'a> {
    members: [Option<&'a RawValue>; FIELDS.len()],
    unknown: Option<String>,
    repeated: Option<&'static str>,
}

impl<'a> RawObject<'a> {
    /// Reads one object.
    ///
    /// # Errors
    /// `invalid_json` when it is none.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, Problem> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let object = deserializer
            .deserialize_map(RawObjectVisitor)
            .and_then(|o| deserializer.end().map(|()| o));
        object
            .map_err(|error| Problem::new(Code::InvalidJson, format!("not a JSON object: {error}")))
    }

    /// Refuses members outside `allowed`.
    pub(super) fn check_names(&self, allowed: impl Fn(&str) -> bool) -> Result<(), Problem> {
        let unexpected = FIELDS
            .iter()
            .zip(&self.members)
            .find(|(name, value)| value.is_some() && !allowed(name));
        let unknown = self
            .unknown
            .clone()
            .map(Cow::Owned)
            .or(unexpected.map(|(name, _)| Cow::Borrowed(*name)));
        if let Some(name) = unknown {
            return Err(
                Problem::new(Code::UnknownField, format!("{name} has no place here")).field(name),
            );
        }
        match self.repeated {
            Some(name) => Err(invalid(name, "is there twice")),
            None => Ok(()),
        }
    }

    pub(super) fn get(&self, name: &'static str) -> Option<&'a RawValue> {
        let index = FIELDS.iter().position(|field| *field == name)?;
        self.members[index]
    }

    fn required(&self, name: &'static str) -> Result<&'a RawValue, Problem> {
        self.get(name).ok_or_else(|| invalid(name, "is missing"))
    }

    fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Problem> {
        self.get(name).map(|value| string(name, value)).transpose()
    }

    fn required_text(&self, name: &'static str) -> Result<Cow<'a, str>, Problem> {
        string(name, self.required(name)?)
    }

    pub(super) fn user_id(&self) -> Result<UserId, Problem> {
        UserId::parse(self.required("user_id")?.get()).map_err(|error| invalid("user_id", error))
    }
}

/// A member's name, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct RawObjectVisitor;

impl<'de> Visitor<'de> for RawObjectVisitor {
    type Value = RawObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = RawObject::default();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            match FIELDS.iter().position(|field| *field == name) {
                Some(index) => {
                    if object.members[index].replace(value).is_some() {
                        object.repeated.get_or_insert(FIELDS[index]);
                    }
                }
                None => {
                    object
                        .unknown
                        .get_or_insert_with(|| name.chars().take(NAME_CHARS_MAX).collect());
                }
            }
        }
        Ok(object)
    }
}

fn invalid(name: &'static str, why: impl fmt::Display) -> Problem {
    Problem::new(Code::InvalidField, format!("{name} {why}")).field(name)
}

fn string<'a>(name: &'static str, value: &'a RawValue) -> Result<Cow<'a, str>, Problem> {
    let json = value.get();
    // Most strings have no escapes and need no copy.
    match json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(json)
            .map(Cow::Owned)
            .map_err(|error| invalid(name, error)),
        None => Err(invalid(name, "must be a string")),
    }
}

/// The kind of a batch item.
pub(super) fn item_kind(object: &RawObject<'_>) -> Result<Kind, Problem> {
    let name = object.required_text("kind")?;
    Kind::parse(&name)
        .ok_or_else(|| invalid("kind", "must be deposit, reward, withdrawal or adjustment"))
}

/// Checks one entry of a kind. `is_item`: in a batch, where `kind` is a member.
pub(crate) fn parse_entry(
    object: &RawObject<'_>,
    kind: Kind,
    is_item: bool,
    currencies: &Currencies,
) -> Result<NewEntry, Problem> {
    object.check_names(|name| match name {
        "kind" => is_item,
        "tx_hash" | "lt" | "account" => kind == Kind::Deposit,
        "reason" => kind == Kind::Adjustment,
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
    let code = object.required_text("currency")?;
    let unknown =
        || Problem::new(Code::UnknownCurrency, "the currency is not configured").field("currency");
    let currency = currencies.find(&code).ok_or_else(unknown)?;
    let amount = amount(object, kind, currencies.get(currency).decimals)?;
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
        currency,
        amount,
        source,
        tx_hash,
        details,
    })
}

/// The body of a webhook of its own, for benches; `None` when it is refused.
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub fn parse_body(json: &[u8], kind: Kind, currencies: &Currencies) -> Option<NewEntry> {
    parse_entry(&RawObject::parse(json).ok()?, kind, false, currencies).ok()
}

fn tx_hash(object: &RawObject<'_>) -> Result<Option<TxHash>, Problem> {
    let Some(text) = object.text("tx_hash")? else {
        return Ok(None);
    };
    let unreadable =
        |error| Problem::new(Code::InvalidTxHash, format!("tx_hash {error}")).field("tx_hash");
    TxHash::parse(&text).map(Some).map_err(unreadable)
}

fn amount(object: &RawObject<'_>, kind: Kind, decimals: u8) -> Result<Amount, Problem> {
    let refuse = |code, why: &str| Err(Problem::new(code, format!("amount {why}")).field("amount"));
    let value = object.required("amount")?;
    if value
        .get()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit())
    {
        return refuse(
            Code::InvalidAmount,
            "must be a string: a JSON number may have been rounded",
        );
    }
    let amount = match Amount::parse(&string("amount", value)?, decimals) {
        Ok(amount) => amount,
        Err(error @ AmountError::Invalid) => {
            return refuse(Code::InvalidAmount, &error.to_string());
        }
        Err(error @ AmountError::Overflow) => {
            return refuse(Code::AmountOverflow, &error.to_string());
        }
    };
    let is_positive = amount > Amount::ZERO;
    match (kind, amount.checked_neg()) {
        (Kind::Adjustment, _) => Ok(amount),
        (Kind::Deposit | Kind::Reward, _) if is_positive => Ok(amount),
        (Kind::Withdrawal, Some(negated)) if is_positive => Ok(negated),
        _ => refuse(Code::InvalidAmount, "must be positive for this kind"),
    }
}

fn details(object: &RawObject<'_>, kind: Kind) -> Result<Details, Problem> {
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
    })
}

#[cfg(test)]
mod tests;
