//! An imitation of the TON chain for `serve --dev`: one account, in memory, with TON Center's API over it on loopback.
//!
//! A wallet pays to the account with a comment that names a user. The transfer is final a second later, and from then on the
//! API tells it. Knows neither the service nor the watcher: a deposit goes its usual way.
//! Start reading at [`DevChain`]; `answers.rs` writes transactions as the API does, `listener.rs` serves them.

mod answers;
mod listener;

pub use listener::listen;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::clock::{Clock, Moment, Wall};
use crate::domain::{Amount, TonAddress, TxHash, UserId};

/// How long after it was paid a transfer is final, as on the real chain.
pub const FINAL_AFTER: Duration = Duration::from_millis(1_000);

/// The most transfers that are kept; none is taken beyond.
const TRANSFERS_MAX: usize = 10_000;

/// Every byte of the account's address, and of the wallet's.
const ACCOUNT_BYTE: &str = "ba";
const WALLET_BYTE: &str = "11";

/// The chain.
#[derive(Debug)]
pub struct DevChain {
    clock: Clock,
    final_after_us: u64,
    account: TonAddress,
    wallet: TonAddress,
    /// In the order of their logical times.
    transfers: Mutex<Vec<Transfer>>,
}

/// One transfer from the wallet to the account.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// Of the transaction.
    pub hash: TxHash,
    /// Whom the comment names.
    pub user_id: UserId,
    /// In nanotons.
    pub amount: Amount,
    /// When the wallet paid.
    pub paid_at: Moment,
    /// When the API first told it.
    pub read_at: Option<Wall>,
    lt: u64,
}

/// Which transactions are asked for.
#[derive(Debug, Clone, Copy)]
struct Range {
    start_lt: u64,
    end_lt: u64,
    limit: usize,
    is_ascending: bool,
}

impl DevChain {
    /// A chain without transactions, on which a transfer is final after this time.
    pub fn new(clock: Clock, final_after: Duration) -> Self {
        let address = |byte: &str| {
            TonAddress::parse(&format!("0:{}", byte.repeat(32))).expect("64 hex digits")
        };
        Self {
            clock,
            final_after_us: u64::try_from(final_after.as_micros()).unwrap_or(u64::MAX),
            account: address(ACCOUNT_BYTE),
            wallet: address(WALLET_BYTE),
            transfers: Mutex::default(),
        }
    }

    /// The account that is paid to.
    pub const fn account(&self) -> TonAddress {
        self.account
    }

    /// Pays an amount above zero with a comment that names a user. `None` when the chain is full.
    pub fn pay(&self, user_id: UserId, amount: Amount) -> Option<Transfer> {
        let mut transfers = self.transfers();
        if transfers.len() >= TRANSFERS_MAX {
            return None;
        }
        let paid_at = self.clock.now();
        let last_lt = transfers.last().map_or(0, |last| last.lt);
        let transfer = Transfer {
            // The ledger outlives this chain: no hash may come again.
            hash: TxHash::from_slice(&rand::random::<[u8; 32]>())?,
            user_id,
            amount,
            paid_at,
            read_at: None,
            lt: paid_at.wall.us().unsigned_abs().max(last_lt + 1),
        };
        transfers.push(transfer.clone());
        Some(transfer)
    }

    /// What is known of a transfer.
    pub fn find(&self, hash: TxHash) -> Option<Transfer> {
        let transfers = self.transfers();
        transfers.iter().rfind(|one| one.hash == hash).cloned()
    }

    /// When a transfer became final, if it is.
    pub fn final_at(&self, transfer: &Transfer) -> Option<Wall> {
        let waited_us = self.clock.mono().us_since(transfer.paid_at.mono);
        (waited_us >= self.final_after_us)
            .then(|| transfer.paid_at.wall.plus_us(self.final_after_us))
    }

    /// Final transactions as the API writes them.
    fn page(&self, range: Range) -> Vec<Value> {
        let mut transfers = self.transfers();
        let finals = transfers.partition_point(|one| self.final_at(one).is_some());
        let is_asked = |one: &Transfer| (range.start_lt..=range.end_lt).contains(&one.lt);
        let mut asked: Vec<usize> = (0..finals).filter(|at| is_asked(&transfers[*at])).collect();
        if !range.is_ascending {
            asked.reverse();
        }
        asked.truncate(range.limit);
        let now = self.clock.wall();
        for at in &asked {
            transfers[*at].read_at.get_or_insert(now);
        }
        let transaction = |at: usize| {
            let before = at.checked_sub(1).map(|before| &transfers[before]);
            answers::transaction(self, &transfers[at], before)
        };
        asked.into_iter().map(transaction).collect()
    }

    fn transfers(&self) -> MutexGuard<'_, Vec<Transfer>> {
        self.transfers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Range = Range {
        start_lt: 0,
        end_lt: u64::MAX,
        limit: 10,
        is_ascending: true,
    };

    #[tokio::test(start_paused = true)]
    async fn a_transfer_is_told_once_it_is_final_and_names_its_predecessor() {
        let chain = DevChain::new(Clock::virtual_from(1_764_300_000_000_000), FINAL_AFTER);
        let user = UserId::new(184).expect("an id");
        let [first, second] =
            [1, 2].map(|minor| chain.pay(user, Amount::from_minor(minor)).expect("room"));
        assert!(second.lt > first.lt, "also within one microsecond");
        assert_eq!(chain.page(ALL), [] as [Value; 0]);
        tokio::time::advance(FINAL_AFTER).await;
        assert_eq!(chain.find(first.hash).expect("kept").read_at, None);
        let page = chain.page(ALL);
        assert_eq!(page.len(), 2);
        assert_eq!(page[0]["prev_trans_lt"], "0");
        for (field, previous) in [("prev_trans_lt", "lt"), ("prev_trans_hash", "hash")] {
            assert_eq!(page[1][field], page[0][previous]);
        }
        let known = chain.find(first.hash).expect("kept");
        assert_eq!(known.read_at, Some(chain.clock.wall()));
        assert_eq!(chain.final_at(&known), known.read_at);

        let newest = chain.page(Range {
            limit: 1,
            is_ascending: false,
            ..ALL
        });
        assert_eq!(newest, [page[1].clone()]);
        let rest = chain.page(Range {
            start_lt: first.lt + 1,
            ..ALL
        });
        assert_eq!(rest, newest);
    }
}
