//! What a person does about deposits that have no user: list them, and assign one.

use serde::Serialize;

use crate::clock::{Clock, rfc3339};
use crate::domain::{TxHash, UserId, decimal};
use crate::watcher::service::{Deposit, Metadata, Sent};
use crate::watcher::state::State;
use crate::watcher::{Options, WatchError};

/// Something that waits for a person, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Of the transaction, in hex.
    pub tx_hash: String,
    /// Its logical time.
    pub lt: String,
    /// The watched account.
    pub watched: String,
    /// A decimal string.
    pub amount: String,
    /// The currency's code.
    pub currency: String,
    /// The sender, raw.
    pub account: Option<String>,
    /// What the sender wrote.
    pub comment: Option<String>,
    /// Why it has no user.
    pub reason: String,
    /// When it happened.
    pub occurred_at: String,
    /// When the watcher saw it.
    pub seen_at: String,
}

/// Everything that waits for a person, oldest first.
///
/// # Errors
/// [`WatchError::State`].
pub fn unmatched(options: &Options) -> Result<Vec<Listed>, WatchError> {
    let state = State::open(&options.state_file, false)?;
    let waiting = state.unmatched()?;
    let listed = waiting.into_iter().map(|one| Listed {
        tx_hash: one.id.hash.to_string(),
        lt: one.id.lt.to_string(),
        watched: one.account,
        amount: decimal(one.arrival.units, one.currency.1),
        currency: one.currency.0,
        account: one.arrival.sender.map(|sender| sender.to_string()),
        comment: one.arrival.comment,
        reason: one.reason,
        occurred_at: rfc3339(one.at_s.saturating_mul(1_000_000)),
        seen_at: rfc3339(one.seen_at_s.saturating_mul(1_000_000)),
    });
    Ok(listed.collect())
}

/// Sends an unmatched transaction as a deposit of `user_id`. Run again it does the same again, which changes nothing.
///
/// # Errors
/// [`WatchError`].
pub async fn assign(options: &Options, hash: TxHash, user_id: UserId) -> Result<Sent, WatchError> {
    let state = State::open(&options.state_file, false)?;
    let one = state.find(hash)?.ok_or(WatchError::Unknown(hash))?;
    if let Some(other) = one.assigned_user.filter(|other| *other != user_id) {
        return Err(WatchError::Assigned {
            hash,
            user_id: other,
        });
    }
    let deposit = Deposit {
        user_id: user_id.get(),
        amount: decimal(one.arrival.units, one.currency.1),
        currency: one.currency.0,
        tx_hash: hash.to_string(),
        lt: one.id.lt.to_string(),
        account: one.arrival.sender.map(|sender| sender.to_string()),
        occurred_at: rfc3339(one.at_s.saturating_mul(1_000_000)),
        metadata: Metadata::of_comment(one.arrival.comment.as_deref()),
    };
    let sent = options.service(Clock::system()).send(&[deposit]).await?;
    match sent.into_iter().next() {
        Some(Sent::Refused(code)) => Err(WatchError::Refused(code)),
        None => Err(WatchError::Refused("no answer".into())),
        Some(sent) => {
            state.assigned(hash, user_id)?;
            Ok(sent)
        }
    }
}
