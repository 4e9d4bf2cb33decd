//! An entry: one change of one user's balance of one currency.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::{Amount, CurrencyId, EventId, RequestId, TonAddress, TxHash, UserId};

/// What an entry is; the kind fixes the sign of its amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Money that arrived: positive.
    Deposit,
    /// Earned inside the application: positive.
    Reward,
    /// Money that left: given positive, stored negative.
    Withdrawal,
    /// A correction by an administrator, of either sign, with a reason.
    Adjustment,
    /// An earlier entry taken back, or a part of it: of the opposite sign.
    Reversal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Deposit,
        Self::Reward,
        Self::Withdrawal,
        Self::Adjustment,
        Self::Reversal,
    ];

    /// The name on the wire and in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Reward => "reward",
            Self::Withdrawal => "withdrawal",
            Self::Adjustment => "adjustment",
            Self::Reversal => "reversal",
        }
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The sender of an entry: 1–64 of `a-z`, `0-9`, `_`, `.`, `:`, `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(Name);

/// A kind's name is always the kind, so that equal sources are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Of(Kind),
    Other(Arc<str>),
}

impl Source {
    /// The longest source, in characters.
    pub const LEN_MAX: usize = 64;

    /// Checks length and characters; `None` when they don't fit.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.:-".contains(&b);
        let fits = !text.is_empty() && text.len() <= Self::LEN_MAX && text.bytes().all(allowed);
        fits.then(|| Self(Kind::parse(text).map_or_else(|| Name::Other(text.into()), Name::Of)))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Of(kind) => kind.as_str(),
            Name::Other(name) => name,
        }
    }
}

impl From<Kind> for Source {
    /// The default: an entry without a source names its kind.
    fn from(kind: Kind) -> Self {
        Self(Name::Of(kind))
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Metadata that is no JSON object of at most [`MetadataError::BYTES_MAX`] and [`MetadataError::DEPTH_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an object of at most 4096 bytes and 32 levels")]
pub struct MetadataError;

impl MetadataError {
    /// The most bytes of metadata, as sent.
    pub const BYTES_MAX: usize = 4096;
    /// The most objects and arrays inside each other, the metadata itself counted. JSON readers of other languages give
    /// up at some depth, and then cannot read the page of a history that has the entry.
    pub const DEPTH_MAX: usize = 32;
}

/// Checks that `json` (one valid JSON value) is an object within the limits.
///
/// # Errors
/// [`MetadataError`].
pub fn check_metadata(json: &str) -> Result<(), MetadataError> {
    let fits = json.starts_with('{')
        && json.len() <= MetadataError::BYTES_MAX
        && depth(json) <= MetadataError::DEPTH_MAX;
    if fits { Ok(()) } else { Err(MetadataError) }
}

/// How many objects and arrays of a valid JSON value are inside each other.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What a new entry does to a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It adds a signed amount.
    Plain {
        /// Of which currency.
        currency: CurrencyId,
        /// The signed change.
        amount: Amount,
    },
    /// It takes an earlier entry back. Currency and amount follow from that entry, so the ledger decides them. Boxed,
    /// because most entries are plain.
    Reversal(Box<Reversal>),
}

impl Change {
    /// What it adds, and of which currency, unless it is a reversal.
    pub const fn plain(&self) -> Option<(CurrencyId, Amount)> {
        match self {
            Self::Plain { currency, amount } => Some((*currency, *amount)),
            Self::Reversal(_) => None,
        }
    }
}

/// The entry that a reversal takes back, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversal {
    /// The event id of the entry. A deposit is known by `ton:<hash>` too.
    pub reverses: EventId,
    /// The currency that the entry should have, if one was given.
    pub currency: Option<CurrencyId>,
    /// A positive decimal string in the entry's currency; all that is left of the entry without one.
    pub amount: Option<Box<str>>,
}

/// A checked entry that is not in the ledger yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// The idempotency key.
    pub event_id: EventId,
    /// The user whose balance changes.
    pub user_id: UserId,
    /// What it is.
    pub kind: Kind,
    /// What it does to a balance.
    pub change: Change,
    /// The sender.
    pub source: Source,
    /// The transaction behind a deposit; a second key.
    pub tx_hash: Option<TxHash>,
    /// Kept, but never part of a decision; boxed, because most entries have none of it.
    pub details: Option<Box<Details>>,
}

/// The rarely used parts of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Why an adjustment or a reversal was made.
    pub reason: Option<String>,
    /// When it happened for the sender, in microseconds since the Unix epoch.
    pub occurred_at_us: Option<i64>,
    /// A JSON object, as sent.
    pub metadata: Option<String>,
    /// The logical time of the transaction, digits.
    pub tx_lt: Option<String>,
    /// The account of the transaction.
    pub tx_account: Option<TonAddress>,
    /// The request that brought it, for the log alone.
    pub request: Option<RequestId>,
}

impl NewEntry {
    /// The request that brought it, when it has an id.
    pub fn request(&self) -> Option<RequestId> {
        self.details.as_ref().and_then(|details| details.request)
    }

    /// What it takes back, if it is a reversal.
    pub fn reversal(&self) -> Option<&Reversal> {
        match &self.change {
            Change::Plain { .. } => None,
            Change::Reversal(reversal) => Some(reversal),
        }
    }

    /// The second key: the hash given, or the one that a deposit's event id names (`ton:<hex>`), so that
    /// the same transaction is found by either.
    pub fn key_hash(&self) -> Option<TxHash> {
        let named = || {
            (self.kind == Kind::Deposit)
                .then(|| TxHash::of_event_id(&self.event_id))
                .flatten()
        };
        self.tx_hash.or_else(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_keep_their_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
            assert_eq!(Source::from(kind).as_str(), kind.as_str());
            assert_eq!(Source::parse(kind.as_str()), Some(Source::from(kind)));
        }
        assert_eq!(Kind::parse("Reward"), None);
    }

    #[test]
    fn sources_are_short_lower_case_names() {
        for (text, good) in [
            ("farming", true),
            ("ton-watcher:v2.1_x", true),
            ("", false),
            ("Farming", false),
            ("a b", false),
            ("é", false),
        ] {
            assert_eq!(Source::parse(text).is_some(), good, "{text:?}");
        }
        assert!(Source::parse(&"s".repeat(64)).is_some());
        assert!(Source::parse(&"s".repeat(65)).is_none());
    }

    #[test]
    fn metadata_is_a_small_object() {
        assert_eq!(check_metadata("{}"), Ok(()));
        assert_eq!(check_metadata("[]"), Err(MetadataError));
        assert_eq!(
            check_metadata(&format!("{{\"a\":\"{}\"}}", "x".repeat(4096))),
            Err(MetadataError)
        );
    }

    #[test]
    fn metadata_is_nested_at_most_32_levels() {
        let arrays = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        let objects = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
        for (json, depth_expected, good) in [
            ("{}".to_owned(), 1, true),
            (arrays(31), 32, true),
            (arrays(32), 33, false),
            (objects(32), 32, true),
            (objects(33), 33, false),
            (format!("{{\"a\":\"{}\"}}", "[{".repeat(100)), 1, true),
            (format!("{{\"a\":\"\\\"{}\"}}", "[".repeat(100)), 1, true),
            (
                format!(
                    "{{\"a\":\"\\\\\",\"b\":{}{}}}",
                    "[".repeat(32),
                    "]".repeat(32)
                ),
                33,
                false,
            ),
            ("{\"a\":[],\"b\":[{}],\"c\":[]}".to_owned(), 3, true),
        ] {
            assert_eq!(depth(&json), depth_expected, "{json}");
            assert_eq!(check_metadata(&json).is_ok(), good, "{json}");
        }
    }
}
