//! An account that is followed, and what is made of its transactions.

use crate::clock::rfc3339;
use crate::domain::{Amount, TonAddress};
use crate::watcher::service::{Deposit, Metadata};
use crate::watcher::state::Unmatched;
use crate::watcher::transaction::Transaction;
use crate::watcher::verdict::{Arrival, Rules};

/// An account that is followed.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its name in the state file, the log and the metrics.
    pub name: String,
    /// Who owns it.
    pub owner: TonAddress,
    /// For jettons: whose wallet is followed.
    pub jetton_master: Option<TonAddress>,
    /// The currency's code and decimals.
    pub currency: (String, u8),
    /// How its transactions are judged.
    pub rules: Rules,
}

impl Watched {
    /// The webhook's content.
    pub fn deposit(
        &self,
        transaction: &Transaction,
        user_id: i64,
        amount: Amount,
        arrival: &Arrival,
    ) -> Deposit {
        let (currency, decimals) = &self.currency;
        Deposit {
            user_id,
            currency: currency.clone(),
            amount: amount.display(*decimals).to_string(),
            tx_hash: transaction.id.hash.to_string(),
            lt: transaction.id.lt.to_string(),
            account: arrival.sender.map(|sender| sender.to_string()),
            occurred_at: rfc3339(transaction.at_s.saturating_mul(1_000_000)),
            metadata: Metadata::of_comment(arrival.comment.as_deref()),
        }
    }

    /// What waits for a person.
    pub fn unmatched(
        &self,
        transaction: &Transaction,
        reason: String,
        arrival: Arrival,
        seen_at_s: i64,
    ) -> Unmatched {
        Unmatched {
            id: transaction.id,
            account: self.name.clone(),
            at_s: transaction.at_s,
            currency: self.currency.clone(),
            arrival,
            reason,
            seen_at_s,
            assigned_user: None,
        }
    }
}
