//! Identifiers: users, events and requests.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Why an identifier was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not an integer from 1 to 2^53 − 1.
    #[error("must be an integer from 1 to 9007199254740991")]
    UserId,
    /// Not 1–128 printable ASCII characters.
    #[error("must be 1 to 128 printable ASCII characters")]
    EventId,
}

/// A user of the application: an integer from 1 to 2^53 − 1, so that every JSON reader holds it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UserId(i64);

impl UserId {
    /// The largest user id, 2^53 − 1.
    pub const MAX: i64 = (1 << 53) - 1;

    /// Checks the range.
    ///
    /// # Errors
    /// [`IdError::UserId`] outside 1 … 2^53 − 1.
    pub const fn new(id: i64) -> Result<Self, IdError> {
        if id >= 1 && id <= Self::MAX {
            Ok(Self(id))
        } else {
            Err(IdError::UserId)
        }
    }

    /// Reads a user id from decimal digits alone (no sign, no spaces, no leading zero), as in a path or a token: each
    /// user has one spelling.
    ///
    /// # Errors
    /// [`IdError::UserId`] for anything else.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.is_empty()
            || text.len() > 16
            || text.starts_with('0')
            || !text.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(IdError::UserId);
        }
        text.parse()
            .map_err(|_| IdError::UserId)
            .and_then(Self::new)
    }

    /// The number itself.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A user of Telegram: in the same range, and never taken for a [`UserId`] unless an operator says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TelegramId(i64);

impl TelegramId {
    /// Checks the range.
    ///
    /// # Errors
    /// [`IdError::UserId`] outside 1 … 2^53 − 1.
    pub const fn new(id: i64) -> Result<Self, IdError> {
        match UserId::new(id) {
            Ok(_) => Ok(Self(id)),
            Err(error) => Err(error),
        }
    }

    /// The number itself.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The idempotency key of an entry: 1–128 printable ASCII characters, kept as long as the entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct EventId(Arc<str>);

impl EventId {
    /// The longest event id, in characters.
    pub const LEN_MAX: usize = 128;

    /// Checks length and characters (0x20 … 0x7E).
    ///
    /// # Errors
    /// [`IdError::EventId`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let printable = text.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if text.is_empty() || text.len() > Self::LEN_MAX || !printable {
            return Err(IdError::EventId);
        }
        Ok(Self(text.into()))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a session within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Names a request for those who follow it from system to system: the trace id of its `traceparent`.
/// Bytes, because an integer of this size would align, and enlarge, every message that may have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// Hexadecimal digits of one.
    const CHARS: usize = 32;

    /// Reads 32 digits of lower-case hex that are not all zero.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != Self::CHARS || !text.bytes().all(is_digit) {
            return None;
        }
        let number = u128::from_str_radix(text, 16).ok()?;
        (number != 0).then(|| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_the_integers_that_json_holds_exactly() {
        for (text, expected) in [
            ("1", Some(1)),
            ("184", Some(184)),
            ("9007199254740991", Some(UserId::MAX)),
            ("9007199254740992", None),
            ("0", None),
            ("-1", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(
                UserId::parse(text).ok().map(UserId::get),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn event_ids_are_printable_ascii_of_bounded_length() {
        assert!(EventId::parse("farm:184:2025-08-04T10:05Z").is_ok());
        assert!(EventId::parse(&"x".repeat(128)).is_ok());
        assert!(EventId::parse(&"x".repeat(129)).is_err());
        for bad in ["", "a\nb", "a\u{7f}", "é", "\0"] {
            assert_eq!(EventId::parse(bad), Err(IdError::EventId), "{bad:?}");
        }
    }
}
