//! The rule that decides the outcome of an entry. Pure: inside its transaction, the ledger writer passes in what the
//! tables say, and writes what the rule answers.
//!
//! Order of precedence, first match wins:
//!
//! 1. an entry with this event id or this transaction hash is there: `Conflict` when both are there and are not
//!    the same entry, when user, kind, currency or amount differ, or when this event id stands with another hash
//!    or with none (a hash is a second key: a record that lacks it could be credited again under the hash alone);
//!    else `Duplicate`. Of a reversal, the entry that it takes back has to be the same, and currency and amount where
//!    they are given;
//! 2. the user does not exist and may not be made: `UnknownUser`;
//! 3. for a reversal: the user has no such entry: `UnknownEntry`; it is a reversal: `NotReversible`; it has another
//!    currency than the one given: `WrongCurrency`; the amount does not fit its currency: `InvalidAmount`; less than
//!    the amount is left of it, or nothing: `ExceedsOriginal`;
//! 4. the new balance is past the storable range: `AmountOverflow`;
//! 5. the new balance is below zero: `InsufficientFunds`;
//! 6. `Accepted`.

mod reversal;

pub use reversal::Reversible;

use super::{Amount, Balances, Change, CurrencyId, EventId, Kind, NewEntry, TxHash, UserId};

/// The code of [`Outcome::Conflict`].
pub const CONFLICT_CODE: &str = "idempotency_conflict";

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Of a reversal: the event id of the entry that it takes back.
    pub reverses: Option<EventId>,
    /// The user's version that it made.
    pub version: i64,
    /// When it was committed, in microseconds since the Unix epoch.
    pub committed_at_us: i64,
}

impl Recorded {
    /// The record of an entry that made `version` at `committed_at_us`.
    pub fn of(entry: &NewEntry, applied: &Applied, version: i64, committed_at_us: i64) -> Self {
        Self {
            user_id: entry.user_id,
            kind: entry.kind,
            currency: applied.currency,
            amount: applied.amount,
            tx_hash: entry.key_hash(),
            reverses: applied.reversed.as_ref().map(|r| r.event_id.clone()),
            version,
            committed_at_us,
        }
    }
}

/// What is recorded under the keys of an entry. Any user of it may be another one than the entry's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found<'a> {
    /// The entry with its event id.
    pub by_event: Option<&'a Recorded>,
    /// The entry with its [`NewEntry::key_hash`].
    pub by_hash: Option<&'a Recorded>,
    /// The entry that a reversal names.
    pub reversible: Option<&'a Reversible>,
}

/// What an accepted entry does to a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Of which currency.
    pub currency: CurrencyId,
    /// The signed change.
    pub amount: Amount,
    /// Of a reversal.
    pub reversed: Option<Reversed>,
}

/// The entry that an accepted reversal takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversed {
    /// Its event id.
    pub event_id: EventId,
    /// How much of it can still be taken back, at least zero.
    pub left_after: Amount,
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
        /// What it changes.
        applied: Applied,
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
        /// Of which currency.
        currency: CurrencyId,
    },
    /// The user has no entry that a reversal could take back under this name.
    UnknownEntry,
    /// The entry is a reversal, which can't be taken back.
    NotReversible,
    /// The entry has another currency than the one that was given.
    WrongCurrency,
    /// The amount is none of the entry's currency.
    InvalidAmount,
    /// Less than the amount is left of the entry, or nothing.
    ExceedsOriginal {
        /// How much of it can still be taken back.
        left: Amount,
        /// Of which currency.
        currency: CurrencyId,
    },
}

impl Outcome {
    /// The code of the wire contract, of an entry that is refused; `None` of one that is accepted or a duplicate.
    pub const fn refusal(&self) -> Option<&'static str> {
        Some(match self {
            Self::Accepted { .. } | Self::Duplicate(_) => return None,
            Self::Conflict(_) => CONFLICT_CODE,
            Self::UnknownUser => "unknown_user",
            Self::AmountOverflow => "amount_overflow",
            Self::InsufficientFunds { .. } => "insufficient_funds",
            Self::UnknownEntry => "unknown_entry",
            Self::NotReversible => "not_reversible",
            Self::WrongCurrency => "invalid_field",
            Self::InvalidAmount => "invalid_amount",
            Self::ExceedsOriginal { .. } => "exceeds_original",
        })
    }
}

/// Decides one entry against the account of its user and what is recorded under its keys.
pub fn post(account: &Account, found: Found<'_>, entry: &NewEntry, rules: Rules) -> Outcome {
    if let Some(outcome) = known(found, entry) {
        return outcome;
    }
    if !account.exists && !rules.auto_create {
        return Outcome::UnknownUser;
    }
    let applied = match &entry.change {
        Change::Plain { currency, amount } => Applied {
            currency: *currency,
            amount: *amount,
            reversed: None,
        },
        Change::Reversal(reversal) => {
            match reversal::take_back(entry.user_id, reversal, found.reversible) {
                Ok(applied) => applied,
                Err(refused) => return refused,
            }
        }
    };
    let Applied {
        currency, amount, ..
    } = applied;
    let available = account.balances.get(currency);
    let (Some(after), Some(version)) = (
        available.checked_add(amount),
        account.version.checked_add(1),
    ) else {
        return Outcome::AmountOverflow;
    };
    if after < Amount::ZERO {
        return Outcome::InsufficientFunds {
            available,
            currency,
        };
    }
    let mut balances = account.balances.clone();
    balances.set(currency, after);
    Outcome::Accepted {
        version,
        balances,
        applied,
    }
}

fn known(found: Found<'_>, entry: &NewEntry) -> Option<Outcome> {
    let Found {
        by_event, by_hash, ..
    } = found;
    let first = by_event.or(by_hash)?;
    let two_entries = by_event
        .zip(by_hash)
        .is_some_and(|(event, hash)| event != hash);
    let another_hash = entry
        .key_hash()
        .is_some_and(|hash| first.tx_hash != Some(hash));
    let same_change = match &entry.change {
        Change::Plain { currency, amount } => {
            first.currency == *currency && first.amount == *amount
        }
        Change::Reversal(reversal) => reversal::is_same(reversal, first, found.reversible),
    };
    let same = first.user_id == entry.user_id && first.kind == entry.kind && same_change;
    Some(if two_entries || another_hash || !same {
        Outcome::Conflict(first.clone())
    } else {
        Outcome::Duplicate(first.clone())
    })
}

#[cfg(test)]
mod tests;
