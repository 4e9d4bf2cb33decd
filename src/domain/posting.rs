//! The rule that decides the outcome of an entry. Pure: inside its transaction, the ledger writer passes in what the
//! tables say, and writes what the rule answers.
//!
//! Order of precedence, first match wins:
//!
//! 1. an entry with this event id or this transaction hash is there: `Conflict` when both are there and are not
//!    the same entry, when user, kind, currency or amount differ, or when this event id stands with another hash
//!    or with none (a hash is a second key: a record that lacks it could be credited again under the hash alone);
//!    else `Duplicate`;
//! 2. the user does not exist and may not be made: `UnknownUser`;
//! 3. the new balance is past the storable range: `AmountOverflow`;
//! 4. the new balance is below zero: `InsufficientFunds`;
//! 5. `Accepted`.

use super::{Amount, Balances, CurrencyId, Kind, NewEntry, TxHash, UserId};

/// What the ledger knows of a user before an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whether the user has a row.
    pub exists: bool,
    /// How many entries the user has.
    pub version: i64,
    /// The balances after exactly that many entries.
    pub balances: Balances,
}

impl Account {
    /// A user that the ledger has never seen.
    pub fn unknown(currencies: usize) -> Self {
        Self {
            exists: false,
            version: 0,
            balances: Balances::zero(currencies),
        }
    }
}

/// What identifies an entry that is in the ledger, and what its first sender was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The user whose entry it is.
    pub user_id: UserId,
    /// What it is.
    pub kind: Kind,
    /// Of which currency.
    pub currency: CurrencyId,
    /// The signed change.
    pub amount: Amount,
    /// The transaction behind it.
    pub tx_hash: Option<TxHash>,
    /// The user's version that it made.
    pub version: i64,
    /// When it was committed, in microseconds since the Unix epoch.
    pub committed_at_us: i64,
}

impl Recorded {
    /// The record of an entry that made `version` at `committed_at_us`.
    pub fn of(entry: &NewEntry, version: i64, committed_at_us: i64) -> Self {
        Self {
            user_id: entry.user_id,
            kind: entry.kind,
            currency: entry.currency,
            amount: entry.amount,
            tx_hash: entry.key_hash(),
            version,
            committed_at_us,
        }
    }
}

/// Settings that change an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether an entry may make its user.
    pub auto_create: bool,
}

/// The outcome of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is written: the user's new version and balances.
    Accepted {
        /// The version that it makes.
        version: i64,
        /// All balances after it.
        balances: Balances,
    },
    /// The same entry is in the ledger already; nothing changes.
    Duplicate(Recorded),
    /// Its key is in the ledger with other content; nothing changes but the record of the refusal.
    Conflict(Recorded),
    /// `accounts.auto_create` is off and the user does not exist.
    UnknownUser,
    /// The new balance would not fit.
    AmountOverflow,
    /// The new balance would be below zero.
    InsufficientFunds {
        /// The present balance.
        available: Amount,
    },
}

/// Decides one entry against the account of its user and whatever is recorded under its two keys.
///
/// `by_event` is the entry with its event id, `by_hash` the one with its [`NewEntry::key_hash`]. Any user of either may
/// be another one; `account` is that of `entry.user_id`.
pub fn post(
    account: &Account,
    by_event: Option<&Recorded>,
    by_hash: Option<&Recorded>,
    entry: &NewEntry,
    rules: Rules,
) -> Outcome {
    if let Some(outcome) = known(by_event, by_hash, entry) {
        return outcome;
    }
    if !account.exists && !rules.auto_create {
        return Outcome::UnknownUser;
    }
    let available = account.balances.get(entry.currency);
    let (Some(after), Some(version)) = (
        available.checked_add(entry.amount),
        account.version.checked_add(1),
    ) else {
        return Outcome::AmountOverflow;
    };
    if after < Amount::ZERO {
        return Outcome::InsufficientFunds { available };
    }
    let mut balances = account.balances.clone();
    balances.set(entry.currency, after);
    Outcome::Accepted { version, balances }
}

fn known(
    by_event: Option<&Recorded>,
    by_hash: Option<&Recorded>,
    entry: &NewEntry,
) -> Option<Outcome> {
    let first = by_event.or(by_hash)?;
    let two_entries = by_event
        .zip(by_hash)
        .is_some_and(|(event, hash)| event != hash);
    let another_hash = entry
        .key_hash()
        .is_some_and(|hash| first.tx_hash != Some(hash));
    let same = first.user_id == entry.user_id
        && first.kind == entry.kind
        && first.currency == entry.currency
        && first.amount == entry.amount;
    Some(if two_entries || another_hash || !same {
        Outcome::Conflict(*first)
    } else {
        Outcome::Duplicate(*first)
    })
}

#[cfg(test)]
mod tests;
