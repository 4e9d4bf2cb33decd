//! What a transaction is to the service: a deposit, something that a person has to look at, or nothing.
//!
//! Pure. What is not sure is unmatched.

use std::fmt;

use regex::Regex;

use crate::domain::{Amount, TonAddress, UserId};
use crate::watcher::cells::{Body, Jettons};
use crate::watcher::transaction::{Message, Phase, Transaction};

/// By what a watched account's transactions are judged.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether the account is a jetton wallet of ours.
    pub is_jetton: bool,
    /// Finds the user in a comment, as its first group.
    pub user_pattern: Regex,
    /// The least amount, in minor units.
    pub min_amount: Option<Amount>,
}

/// Value that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// In minor units of the currency.
    pub units: u128,
    /// The account that sent it; of jettons the owner.
    pub sender: Option<TonAddress>,
    /// What the sender wrote.
    pub comment: Option<String>,
}

/// What a transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A deposit of this user.
    Deposit {
        /// Whose.
        user_id: UserId,
        /// How much.
        amount: Amount,
        /// From where, with what comment.
        arrival: Arrival,
    },
    /// Value that has come in, and nothing says for sure for whom.
    Unmatched {
        /// Why it is no deposit.
        reason: Unsure,
        /// How much, from where.
        arrival: Arrival,
    },
    /// No value came in.
    Ignored(Nothing),
}

/// Why value has no user. Its text is kept in the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsure {
    /// Nothing is written.
    NoComment,
    /// The pattern finds no user in it.
    NoUser,
    /// It is not UTF-8.
    NotText,
    /// It is encrypted.
    Encrypted,
    /// The message is an operation of a contract.
    Operation,
    /// Its cells can't be read.
    Unreadable,
    /// Less than `watcher.min_amount`.
    TooSmall,
    /// More than the service can store.
    TooLarge,
    /// The transaction was aborted, and the value stayed.
    Aborted,
    /// The API does not call it final, although a final one follows on it.
    NotFinal,
}

/// Why a transaction brings nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// No message came in.
    NoMessage,
    /// The message came from outside the chain.
    External,
    /// The message went elsewhere.
    Elsewhere,
    /// A message of ours came back.
    Bounced,
    /// The value was sent back.
    SentBack,
    /// No value.
    Zero,
    /// Something else than an arrival happened at the jetton wallet.
    NoJettons,
}

impl Unsure {
    /// The reason in the state file and in `watch unmatched`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoComment => "no_comment",
            Self::NoUser => "no_user_in_comment",
            Self::NotText => "comment_not_utf8",
            Self::Encrypted => "comment_encrypted",
            Self::Operation => "contract_operation",
            Self::Unreadable => "body_unreadable",
            Self::TooSmall => "too_small",
            Self::TooLarge => "too_large",
            Self::Aborted => "aborted",
            Self::NotFinal => "not_final",
        }
    }
}

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Rules {
    /// Judges one transaction of the watched account.
    pub fn judge(&self, transaction: &Transaction) -> Verdict {
        match self.arrival(transaction) {
            Ok((arrival, body)) => self.of_arrival(transaction, arrival, &body),
            Err(nothing) => Verdict::Ignored(nothing),
        }
    }

    /// The value that came in, and what is written beside it.
    fn arrival(&self, transaction: &Transaction) -> Result<(Arrival, Body), Nothing> {
        let message = transaction.message.as_ref().ok_or(Nothing::NoMessage)?;
        let source = message.source.ok_or(Nothing::External)?;
        if message.destination != Some(transaction.account) {
            return Err(Nothing::Elsewhere);
        }
        if message.is_bounced {
            return Err(Nothing::Bounced);
        }
        if transaction.phase == Phase::SentBack {
            return Err(Nothing::SentBack);
        }
        let (units, sender, body) = if self.is_jetton {
            // The wallet's balance rises in the computation: aborted, it did not.
            if transaction.phase != Phase::Done {
                return Err(Nothing::NoJettons);
            }
            let jettons = jettons(message).ok_or(Nothing::NoJettons)?;
            (jettons.units, jettons.from, jettons.payload.clone())
        } else {
            (message.value, Some(source), message.body.clone())
        };
        if units == 0 {
            return Err(Nothing::Zero);
        }
        let comment = match &body {
            Body::Comment(text) => Some(text.clone()),
            _ => None,
        };
        let arrival = Arrival {
            units,
            sender,
            comment,
        };
        Ok((arrival, body))
    }

    fn of_arrival(&self, transaction: &Transaction, arrival: Arrival, body: &Body) -> Verdict {
        match self.deposit(transaction, &arrival, body) {
            Ok((user_id, amount)) => Verdict::Deposit {
                user_id,
                amount,
                arrival,
            },
            Err(reason) => Verdict::Unmatched { reason, arrival },
        }
    }

    fn deposit(
        &self,
        transaction: &Transaction,
        arrival: &Arrival,
        body: &Body,
    ) -> Result<(UserId, Amount), Unsure> {
        if !transaction.is_final {
            return Err(Unsure::NotFinal);
        }
        if transaction.phase == Phase::Kept {
            return Err(Unsure::Aborted);
        }
        let comment = match body {
            Body::Comment(comment) => comment,
            Body::Empty => return Err(Unsure::NoComment),
            Body::NotText => return Err(Unsure::NotText),
            Body::Encrypted => return Err(Unsure::Encrypted),
            Body::Operation(_) | Body::Jettons(_) => return Err(Unsure::Operation),
            Body::Unreadable => return Err(Unsure::Unreadable),
        };
        let user_id = self.user_in(comment).ok_or(Unsure::NoUser)?;
        let amount = i64::try_from(arrival.units).map_err(|_| Unsure::TooLarge)?;
        let amount = Amount::from_minor(amount);
        if self.min_amount.is_some_and(|least| amount < least) {
            return Err(Unsure::TooSmall);
        }
        Ok((user_id, amount))
    }

    fn user_in(&self, comment: &str) -> Option<UserId> {
        let found = self.user_pattern.captures(comment)?;
        UserId::parse(found.get(1)?.as_str()).ok()
    }
}

fn jettons(message: &Message) -> Option<&Jettons> {
    match &message.body {
        Body::Jettons(jettons) => Some(jettons),
        _ => None,
    }
}
