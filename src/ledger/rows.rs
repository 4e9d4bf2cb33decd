//! Rows as the tables hold them, and their conversion from and to the domain.

pub(super) mod conflicts;
pub(super) mod event_digest;
pub(super) mod other_balances;

use diesel::prelude::*;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock;
use crate::domain::{
    Amount, Currencies, CurrencyId, EventId, Kind, Recorded, Reversible, TxHash, UserId,
};

use super::LedgerError;
use super::batch::PlannedEntry;
use super::schema::entries;

/// The columns of an entry that distinguish a duplicate from a conflict.
#[derive(Debug, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = entries)]
pub(super) struct RecordedRow {
    pub event_id: String,
    pub user_id: i64,
    pub kind: String,
    pub currency: String,
    pub amount: i64,
    pub tx_hash: Option<Vec<u8>>,
    pub reverses: Option<String>,
    pub version: i64,
    pub committed_at_us: i64,
}

impl RecordedRow {
    pub(super) fn recorded(&self, currencies: &Currencies) -> Result<Recorded, LedgerError> {
        Ok(Recorded {
            user_id: user_id(self.user_id)?,
            kind: kind(&self.kind)?,
            currency: currency(currencies, &self.currency)?,
            amount: Amount::from_minor(self.amount),
            tx_hash: self.tx_hash.as_deref().and_then(TxHash::from_slice),
            reverses: self.reverses.as_deref().map(event_id).transpose()?,
            version: self.version,
            committed_at_us: self.committed_at_us,
        })
    }

    /// As an entry that a reversal may take back. `left` is what its last reversal left of it, if it has any.
    pub(super) fn reversible(
        &self,
        left: Option<i64>,
        currencies: &Currencies,
    ) -> Result<Reversible, LedgerError> {
        let entry = self.recorded(currencies)?;
        let left = left.map(Amount::from_minor).or(entry.amount.checked_abs());
        Ok(Reversible {
            event_id: event_id(&self.event_id)?,
            left: left.ok_or_else(|| unfit(format!("there is an amount {:?}", entry.amount)))?,
            entry,
        })
    }
}

/// A new row of `entries`.
#[derive(Debug, Insertable)]
#[diesel(table_name = entries, treat_none_as_default_value = false)]
pub(super) struct NewEntryRow<'a> {
    pub user_id: i64,
    pub version: i64,
    pub kind: &'static str,
    pub source: &'a str,
    pub currency: &'a str,
    pub amount: i64,
    pub balance_after: i64,
    pub other_balances: Option<String>,
    pub event_id: &'a str,
    /// On SQLite alone. A struct around this one that adds it would cost Diesel another walk through all columns.
    pub event_digest: Option<&'a [u8]>,
    pub tx_hash: Option<Vec<u8>>,
    pub tx_lt: Option<&'a str>,
    pub tx_account: Option<String>,
    pub reason: Option<&'a str>,
    pub metadata: Option<&'a str>,
    pub occurred_at_us: Option<i64>,
    pub committed_at_us: i64,
}

impl<'a> NewEntryRow<'a> {
    pub(super) fn new(
        planned: &PlannedEntry<'a>,
        committed_at_us: i64,
        currencies: &'a Currencies,
    ) -> Self {
        let PlannedEntry {
            entry,
            version,
            balances,
            applied,
        } = planned;
        let details = entry.details.as_deref();
        Self {
            user_id: entry.user_id.get(),
            version: *version,
            kind: entry.kind.as_str(),
            source: entry.source.as_str(),
            currency: &currencies.get(applied.currency).code,
            amount: applied.amount.minor(),
            balance_after: balances.get(applied.currency).minor(),
            other_balances: other_balances::text(balances, applied.currency, currencies),
            event_id: entry.event_id.as_str(),
            event_digest: None,
            tx_hash: entry.key_hash().map(|hash| hash.as_bytes().to_vec()),
            tx_lt: details.and_then(|d| d.tx_lt.as_deref()),
            tx_account: details
                .and_then(|d| d.tx_account)
                .map(|account| account.to_string()),
            reason: details.and_then(|d| d.reason.as_deref()),
            metadata: details.and_then(|d| d.metadata.as_deref()),
            occurred_at_us: details.and_then(|d| d.occurred_at_us),
            committed_at_us,
        }
    }
}

/// The row of a reversal on SQLite. Others leave out its columns, so that they cost nothing more.
#[derive(Debug, Insertable)]
#[diesel(table_name = entries, treat_none_as_default_value = false)]
pub(super) struct NewReversalRow<'a> {
    #[diesel(embed)]
    pub entry: NewEntryRow<'a>,
    pub reverses: &'a str,
    pub left_after: i64,
}

/// An entry as it is shown: by the histories and in conflicts.
#[derive(Debug, Serialize)]
pub struct EntryRecord {
    /// The idempotency key.
    pub event_id: String,
    /// The user.
    pub user_id: i64,
    /// The version it made; none for a refused one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// What it is.
    pub kind: String,
    /// The event id of the entry that a reversal takes back; in a refused one as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverses: Option<String>,
    /// Of which currency; none for a refused reversal that did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The signed change, a decimal string; of a refused reversal the amount as it was given, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// The balance of its currency after it; none for a refused one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_after: Option<String>,
    /// The sender, by the name of its source.
    pub source: String,
    /// Why an adjustment or a reversal was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it happened for the sender, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<String>,
    /// The object that was sent with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
    /// The transaction, 64 lower-case hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
    /// Its logical time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lt: Option<String>,
    /// Its account, raw form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// When it was committed, RFC 3339; none for a refused one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<String>,
}

/// A row of `entries`, whole.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = entries)]
pub(super) struct EntryRow {
    user_id: i64,
    pub version: i64,
    pub kind: String,
    source: String,
    pub currency: String,
    pub amount: i64,
    balance_after: i64,
    pub event_id: String,
    tx_hash: Option<Vec<u8>>,
    tx_lt: Option<String>,
    tx_account: Option<String>,
    reason: Option<String>,
    metadata: Option<String>,
    occurred_at_us: Option<i64>,
    reverses: Option<String>,
    committed_at_us: i64,
}

impl EntryRow {
    pub(super) fn record(self, currencies: &Currencies) -> Result<EntryRecord, LedgerError> {
        let decimals = currencies
            .get(currency(currencies, &self.currency)?)
            .decimals;
        let shown = |minor: i64| Amount::from_minor(minor).display(decimals).to_string();
        Ok(EntryRecord {
            amount: Some(shown(self.amount)),
            reverses: self.reverses,
            balance_after: Some(shown(self.balance_after)),
            event_id: self.event_id,
            user_id: self.user_id,
            version: Some(self.version),
            kind: self.kind,
            currency: Some(self.currency),
            source: self.source,
            reason: self.reason,
            occurred_at: self.occurred_at_us.map(clock::rfc3339),
            metadata: self
                .metadata
                .and_then(|json| RawValue::from_string(json).ok()),
            tx_hash: self.tx_hash.map(hex::encode),
            lt: self.tx_lt,
            account: self.tx_account,
            committed_at: Some(clock::rfc3339(self.committed_at_us)),
        })
    }
}

fn unfit(what: String) -> LedgerError {
    LedgerError::Unfit(what)
}

pub(super) fn user_id(id: i64) -> Result<UserId, LedgerError> {
    UserId::new(id).map_err(|_| unfit(format!("there is a user id {id}")))
}

pub(super) fn event_id(text: &str) -> Result<EventId, LedgerError> {
    EventId::parse(text).map_err(|_| unfit(format!("there is an event id {text:?}")))
}

pub(super) fn kind(name: &str) -> Result<Kind, LedgerError> {
    Kind::parse(name).ok_or_else(|| unfit(format!("there is a kind {name:?}")))
}

pub(super) fn currency(currencies: &Currencies, code: &str) -> Result<CurrencyId, LedgerError> {
    currencies.find(code).ok_or_else(|| {
        unfit(format!(
            "there is a currency {code:?} that [currencies] does not have"
        ))
    })
}
