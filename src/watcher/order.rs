//! The chain of an account: which transactions of a page come next.
//!
//! Each transaction names its predecessor. What follows on the last one that was handled is taken, in order and once;
//! where something is missing between, nothing more is taken, so that it is read again and never stepped over.

use serde::{Deserialize, Serialize};

use crate::domain::TonAddress;
use crate::watcher::transaction::{Transaction, TransactionId};

/// How far an account is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing yet: the first one at or after this logical time is next.
    From(u64),
    /// Up to this transaction.
    After(TransactionId),
}

/// Why a page has no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// All of it was taken, or known.
    Nothing,
    /// Before the next one there is something that the page does not have; it ends with this logical time.
    Gap(u64),
    /// The next one names a predecessor that can't be there: two histories.
    Contradiction(u64),
}

/// What to do about a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What comes next, in order. One that is not final is among them only when a final one follows on it.
    pub transactions: Vec<Transaction>,
    /// Why there is no more.
    pub rest: Rest,
}

/// Bounds of logical time for the next page, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first.
    pub start_lt: u64,
    /// The last, if it is bounded.
    pub end_lt: Option<u64>,
}

impl Place {
    /// The least logical time that is not handled.
    pub const fn next_lt(self) -> u64 {
        match self {
            Self::From(lt) => lt,
            Self::After(last) => last.lt + 1,
        }
    }

    /// Whether `transaction` follows directly.
    fn precedes(self, transaction: &Transaction) -> bool {
        match self {
            // Before the first transaction of an account the time is 0.
            Self::From(lt) => transaction.previous.lt < if lt == 0 { 1 } else { lt },
            Self::After(last) => transaction.previous == last,
        }
    }
}

/// What of a page follows on `place`, whatever its order, repeats and foreign rows.
pub fn take(place: Place, account: TonAddress, page: Vec<Transaction>) -> Taken {
    let mut page: Vec<Transaction> = page
        .into_iter()
        .filter(|transaction| {
            transaction.account == account && transaction.id.lt >= place.next_lt()
        })
        .collect();
    page.sort_by_key(|transaction| (transaction.id.lt, !transaction.is_final));
    let mut taken: Vec<Transaction> = Vec::new();
    let mut place = place;
    let mut rest = Rest::Nothing;
    for transaction in page {
        let is_known = taken
            .last()
            .is_some_and(|last| last.id.lt == transaction.id.lt);
        if is_known {
            let is_same = taken.last().is_some_and(|last| last.id == transaction.id);
            if transaction.is_final && !is_same {
                rest = Rest::Contradiction(transaction.id.lt);
                break;
            }
            continue;
        }
        if !place.precedes(&transaction) {
            if !transaction.is_final {
                continue;
            }
            rest = if transaction.previous.lt >= place.next_lt() {
                Rest::Gap(transaction.previous.lt)
            } else {
                Rest::Contradiction(transaction.id.lt)
            };
            break;
        }
        place = Place::After(transaction.id);
        taken.push(transaction);
    }
    // The last ones may still change.
    while taken.last().is_some_and(|last| !last.is_final) {
        taken.pop();
    }
    Taken {
        transactions: taken,
        rest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::TxHash;
    use crate::watcher::transaction::Phase;

    fn account(fill: u8) -> TonAddress {
        TonAddress::parse(&format!("0:{}", hex::encode([fill; 32]))).expect("raw")
    }

    fn id(lt: u64) -> TransactionId {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&lt.to_be_bytes());
        TransactionId {
            lt,
            hash: TxHash::from_slice(&hash).expect("32 bytes"),
        }
    }

    fn transaction(lt: u64, previous_lt: u64) -> Transaction {
        Transaction {
            id: id(lt),
            previous: id(previous_lt),
            account: account(1),
            at_s: 0,
            is_final: true,
            phase: Phase::Done,
            message: None,
        }
    }

    fn pending(lt: u64, previous_lt: u64) -> Transaction {
        Transaction {
            is_final: false,
            ..transaction(lt, previous_lt)
        }
    }

    #[test]
    fn what_follows_is_taken() {
        let after = |lt| Place::After(id(lt));
        let foreign = Transaction {
            account: account(2),
            ..transaction(15, 10)
        };
        let other_hash = |lt, previous| Transaction {
            id: TransactionId {
                hash: id(99).hash,
                ..id(lt)
            },
            ..transaction(lt, previous)
        };
        for (what, place, page, expected, rest) in [
            (
                "the first",
                Place::From(0),
                vec![(transaction(10, 0))],
                vec![10],
                Rest::Nothing,
            ),
            (
                "from a time",
                Place::From(15),
                vec![transaction(20, 10), transaction(10, 0)],
                vec![20],
                Rest::Nothing,
            ),
            (
                "from a time, the first is missing",
                Place::From(15),
                vec![transaction(30, 20)],
                vec![],
                Rest::Gap(20),
            ),
            (
                "nothing new",
                after(10),
                vec![transaction(10, 0)],
                vec![],
                Rest::Nothing,
            ),
            ("nothing", after(10), vec![], vec![], Rest::Nothing),
            (
                "any order, twice",
                after(10),
                vec![
                    transaction(30, 20),
                    transaction(20, 10),
                    transaction(30, 20),
                ],
                vec![20, 30],
                Rest::Nothing,
            ),
            (
                "a gap",
                after(10),
                vec![transaction(20, 10), transaction(40, 30)],
                vec![20],
                Rest::Gap(30),
            ),
            (
                "a gap at once",
                after(10),
                vec![transaction(40, 30)],
                vec![],
                Rest::Gap(30),
            ),
            (
                "another history",
                after(10),
                vec![transaction(20, 5)],
                vec![],
                Rest::Contradiction(20),
            ),
            (
                "two of one time",
                after(10),
                vec![transaction(20, 10), other_hash(20, 10)],
                vec![20],
                Rest::Contradiction(20),
            ),
            (
                "another account's",
                after(10),
                vec![foreign, transaction(20, 10)],
                vec![20],
                Rest::Nothing,
            ),
            (
                "not final yet",
                after(10),
                vec![transaction(20, 10), pending(30, 20)],
                vec![20],
                Rest::Nothing,
            ),
            (
                "final and not",
                after(10),
                vec![pending(20, 10), transaction(20, 10)],
                vec![20],
                Rest::Nothing,
            ),
            (
                "a final one follows on one that is not",
                after(10),
                vec![pending(20, 10), transaction(30, 20)],
                vec![20, 30],
                Rest::Nothing,
            ),
            (
                "not final and of no chain",
                after(10),
                vec![pending(20, 15), transaction(21, 10)],
                vec![21],
                Rest::Nothing,
            ),
        ] {
            let taken = take(place, account(1), page);
            let times: Vec<u64> = taken.transactions.iter().map(|one| one.id.lt).collect();
            assert_eq!((times, taken.rest), (expected, rest), "{what}");
        }
    }

    proptest! {
        /// Pages come in any order, cut, twice, late and with holes: each transaction is taken once and in order, and
        /// when a page has all of the rest, all of it is taken.
        #[test]
        fn every_transaction_is_taken_once_and_in_order(
            steps in prop::collection::vec(1u64..5, 1..40),
            pages in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..30), 0..30),
            start in 0u64..60,
        ) {
            let mut chain = Vec::new();
            let mut last = 0;
            for step in steps {
                chain.push(transaction(last + step, last));
                last += step;
            }
            let wanted: Vec<u64> = chain.iter().map(|one| one.id.lt).filter(|lt| *lt >= start).collect();
            let mut place = Place::From(start);
            let mut seen = Vec::new();
            let all: Vec<prop::sample::Index> = Vec::new();
            for page in pages.iter().chain([&all]) {
                let page: Vec<_> = match page.as_slice() {
                    [] if std::ptr::eq(page, &raw const all) => chain.clone(),
                    picks => picks.iter().map(|pick| pick.get(&chain).clone()).collect(),
                };
                let taken = take(place, account(1), page);
                for one in &taken.transactions {
                    seen.push(one.id.lt);
                    place = Place::After(one.id);
                }
                prop_assert_eq!(&seen[..], &wanted[..seen.len()]);
            }
            prop_assert_eq!(seen, wanted);
        }
    }
}
