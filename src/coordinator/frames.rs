//! What sessions and readers are told, as JSON. A push is built once per user and shared by all its sessions.

use bytestring::ByteString;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::clock;
use crate::coordinator::pacing::Mode;
use crate::domain::{Balances, Currencies, UserId};

/// All balances as `{"TON": "0.100000000", …}`.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a Currencies, pub &'a Balances);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(currencies, balances) = self;
        let mut map = serializer.serialize_map(Some(currencies.count()))?;
        for (id, currency) in currencies.iter() {
            map.serialize_entry(
                &currency.code,
                &Text(balances.get(id).display(currency.decimals)),
            )?;
        }
        map.end()
    }
}

/// The signed change of each currency that changed between two states.
#[derive(Debug, Clone, Copy)]
struct Changes<'a> {
    currencies: &'a Currencies,
    before: &'a Balances,
    after: &'a Balances,
}

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (id, currency) in self.currencies.iter() {
            // Both are at least zero, so their difference always fits.
            let change = self
                .after
                .get(id)
                .checked_sub(self.before.get(id))
                .unwrap_or_default();
            if change.minor() != 0 {
                map.serialize_entry(&currency.code, &Text(change.display(currency.decimals)))?;
            }
        }
        map.end()
    }
}

struct Text<T>(T);

impl<T: std::fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A user's balance as it is answered and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceView {
    /// Whose.
    pub user_id: UserId,
    /// Whether the ledger knows the user.
    pub exists: bool,
    /// The state after so many entries.
    pub version: i64,
    /// All balances.
    pub balances: Balances,
    /// When this was last known to be the ledger's, microseconds since the Unix epoch.
    pub as_of_us: i64,
    /// The ledger could not be asked.
    pub is_stale: bool,
}

/// Why a `balance` frame is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    Snapshot,
    Refresh,
    Recovered,
}

#[derive(Debug, serde::Serialize)]
struct BalanceFrame<'a> {
    #[serde(rename = "type")]
    frame_type: &'static str,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    user_id: UserId,
    epoch: &'a str,
    version: i64,
    balances: Shown<'a>,
    as_of: String,
    stale: bool,
}

/// The `balance` frame.
pub(super) fn balance(
    view: &BalanceView,
    reason: Reason,
    id: Option<&RawValue>,
    epoch: &str,
    currencies: &Currencies,
) -> ByteString {
    text(&BalanceFrame {
        frame_type: "balance",
        reason,
        id,
        user_id: view.user_id,
        epoch,
        version: view.version,
        balances: Shown(currencies, &view.balances),
        as_of: clock::rfc3339(view.as_of_us),
        stale: view.is_stale,
    })
}

/// A push of all changes since the user's last one.
#[derive(Debug)]
pub(super) struct Push<'a> {
    pub user_id: UserId,
    pub version: i64,
    pub balances: &'a Balances,
    pub before: &'a Balances,
    pub sources: &'a [crate::domain::Source],
    pub entries: i64,
    pub mode: Mode,
    pub first_committed_at_us: i64,
    pub committed_at_us: i64,
    pub pushed_at_us: i64,
}

#[derive(Debug, serde::Serialize)]
struct UpdateFrame<'a> {
    #[serde(rename = "type")]
    frame_type: &'static str,
    user_id: UserId,
    epoch: &'a str,
    version: i64,
    balances: Shown<'a>,
    changes: Changes<'a>,
    sources: &'a [crate::domain::Source],
    entries: i64,
    mode: Mode,
    first_committed_at: String,
    committed_at: String,
    pushed_at: String,
}

/// The `balance_update` frame.
pub(super) fn balance_update(push: &Push<'_>, epoch: &str, currencies: &Currencies) -> ByteString {
    text(&UpdateFrame {
        frame_type: "balance_update",
        user_id: push.user_id,
        epoch,
        version: push.version,
        balances: Shown(currencies, push.balances),
        changes: Changes {
            currencies,
            before: push.before,
            after: push.balances,
        },
        sources: push.sources,
        entries: push.entries,
        mode: push.mode,
        first_committed_at: clock::rfc3339(push.first_committed_at_us),
        committed_at: clock::rfc3339(push.committed_at_us),
        pushed_at: clock::rfc3339(push.pushed_at_us),
    })
}

#[derive(Debug, serde::Serialize)]
struct UnavailableFrame<'a> {
    #[serde(rename = "type")]
    frame_type: &'static str,
    code: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    retry_after_ms: u64,
}

/// The `error` frame of a balance that nobody knows while the ledger is away.
pub(super) fn ledger_unavailable(id: Option<&RawValue>, retry_after_ms: u64) -> ByteString {
    text(&UnavailableFrame {
        frame_type: "error",
        code: "ledger_unavailable",
        message: "the ledger can't be reached; the balance follows when it is back",
        id,
        retry_after_ms,
    })
}

fn text(frame: &impl Serialize) -> ByteString {
    serde_json::to_string(frame)
        .expect("frames hold only strings, numbers and checked JSON")
        .into()
}
