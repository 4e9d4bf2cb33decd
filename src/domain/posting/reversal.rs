//! The part of the rule that is about reversals: what is left of an entry, and how much of it a reversal takes back.

use super::{Applied, Outcome, Recorded, Reversed};
use crate::domain::{Amount, AmountError, EventId, Kind, Reversal, UserId};

/// An entry that a reversal names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversible {
    /// Its event id.
    pub event_id: EventId,
    /// What it is.
    pub entry: Recorded,
    /// How much of it can still be taken back, at least zero.
    pub left: Amount,
}

/// What a reversal does to the balance of its user.
///
/// # Errors
/// The outcome of one that is refused.
pub(super) fn take_back(
    user_id: UserId,
    reversal: &Reversal,
    named: Option<&Reversible>,
) -> Result<Applied, Outcome> {
    let Reversible {
        event_id,
        entry,
        left,
    } = named
        .filter(|named| named.entry.user_id == user_id)
        .ok_or(Outcome::UnknownEntry)?;
    if entry.kind == Kind::Reversal {
        return Err(Outcome::NotReversible);
    }
    let currency = entry.currency;
    if reversal.currency.is_some_and(|given| given != currency) {
        return Err(Outcome::WrongCurrency);
    }
    let exceeds = Outcome::ExceedsOriginal {
        left: *left,
        currency,
    };
    let taken = match &reversal.amount {
        None => *left,
        Some(text) => match Amount::parse(text, currency.decimals()) {
            Ok(amount) => amount,
            Err(AmountError::Invalid) => return Err(Outcome::InvalidAmount),
            // More than any entry has.
            Err(AmountError::Overflow) => return Err(exceeds),
        },
    };
    if taken <= Amount::ZERO || taken > *left {
        return Err(exceeds);
    }
    let amount = if entry.amount > Amount::ZERO {
        taken.checked_neg()
    } else {
        Some(taken)
    };
    match (amount, left.checked_sub(taken)) {
        (Some(amount), Some(left_after)) => Ok(Applied {
            currency,
            amount,
            reversed: Some(Reversed {
                event_id: event_id.clone(),
                left_after,
            }),
        }),
        _ => Err(Outcome::AmountOverflow),
    }
}

/// Whether a reversal that is sent again says the same as the recorded one. A deposit has two names; both are the same
/// entry.
pub(super) fn is_same(reversal: &Reversal, first: &Recorded, named: Option<&Reversible>) -> bool {
    let Reversal {
        reverses,
        currency,
        amount,
    } = reversal;
    let is_same_entry = first.reverses.as_ref().is_some_and(|first| {
        first == reverses || named.is_some_and(|named| named.event_id == *first)
    });
    let is_same_amount = amount.as_ref().is_none_or(|text| {
        let given = Amount::parse(text, first.currency.decimals());
        given.is_ok_and(|given| first.amount.checked_abs() == Some(given))
    });
    is_same_entry && is_same_amount && currency.is_none_or(|currency| currency == first.currency)
}
