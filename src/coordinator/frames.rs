//! What sessions and readers are sent, as JSON. A push is serialised once per user and shared by all its sessions.

use std::sync::Arc;

use bytestring::ByteString;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::clock::{Moment, Wall};
use crate::coordinator::pacing::Mode;
use crate::domain::{Account, Balances, Currencies, Source, UserId};

/// A committed state of one user, as it is cached and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BalanceView {
    /// The epoch that its version belongs to.
    pub epoch: Arc<str>,
    /// The state.
    pub account: Account,
    /// When the ledger was last known to have it.
    pub verified: Moment,
    /// The ledger could not be asked.
    pub is_stale: bool,
}

/// All balances as `{"TON": "0.100000000", …}`.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a Currencies, pub &'a Balances);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(currencies, balances) = self;
        let mut map = serializer.serialize_map(Some(currencies.count()))?;
        for (id, currency) in currencies.iter() {
            let balance = balances.get(id).display(currency.decimals);
            map.serialize_entry(&currency.code, &format_args!("{balance}"))?;
        }
        map.end()
    }
}

/// The signed change of each currency that changed between two states.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes<'a> {
    pub currencies: &'a Currencies,
    pub before: &'a Balances,
    pub after: &'a Balances,
}

impl Serialize for Changes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (id, currency) in self.currencies.iter() {
            let (before, after) = (self.before.get(id), self.after.get(id));
            // Both are at least zero, so their difference always fits.
            let change = after.checked_sub(before).unwrap_or_default();
            if change.minor() != 0 {
                let change = change.display(currency.decimals);
                map.serialize_entry(&currency.code, &format_args!("{change}"))?;
            }
        }
        map.end()
    }
}

/// Why a `balance` frame is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    Snapshot,
    Refresh,
    Recovered,
}

/// The `balance` frame.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "type", rename = "balance")]
pub(super) struct BalanceFrame<'a> {
    pub reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a RawValue>,
    pub user_id: UserId,
    pub epoch: &'a str,
    pub version: i64,
    pub balances: Shown<'a>,
    pub as_of: Wall,
    pub stale: bool,
}

/// The `balance_update` frame: a push of all changes since the user's last one.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "type", rename = "balance_update")]
pub(super) struct UpdateFrame<'a> {
    pub user_id: UserId,
    pub epoch: &'a str,
    pub version: i64,
    pub balances: Shown<'a>,
    pub changes: Changes<'a>,
    pub sources: &'a [Source],
    pub entries: i64,
    pub mode: Mode,
    pub first_committed_at: Wall,
    pub committed_at: Wall,
    pub pushed_at: Wall,
}

#[derive(Debug, serde::Serialize)]
#[serde(tag = "type", rename = "error")]
struct UnavailableFrame<'a> {
    code: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    retry_after_ms: u64,
}

/// The `error` frame for when the ledger is away and no balance is known.
pub(super) fn ledger_unavailable(id: Option<&RawValue>, retry_after_ms: u64) -> ByteString {
    text(&UnavailableFrame {
        code: "ledger_unavailable",
        message: "the ledger can't be reached; the balance follows when it is back",
        id,
        retry_after_ms,
    })
}

/// A frame's text.
pub(super) fn text(frame: &impl Serialize) -> ByteString {
    serde_json::to_string(frame)
        .expect("frames hold only strings, numbers and checked JSON")
        .into()
}
