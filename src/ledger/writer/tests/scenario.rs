//! What the senders of [`super::every_step`] send, stage by stage, and where it ends whatever happened on the way.

use std::collections::BTreeMap;

use crate::domain::{Kind, NewEntry, TxHash, UserId};
use crate::ledger::memory::faulty_store::entry;
use crate::ledger::{Lane, Posting};

/// Entries that are sent together.
#[derive(Debug, Clone)]
pub(super) struct Sending {
    pub entries: Vec<NewEntry>,
    pub lane: Lane,
    pub is_atomic: bool,
}

/// Sendings that depend on no other of their stage. The first one begins a transaction of its own; the others queue
/// meanwhile and go together.
pub(super) type Stage = Vec<Sending>;

/// Stages, and what they leave behind.
#[derive(Debug)]
pub(super) struct Scenario {
    pub stages: Vec<Stage>,
    /// The amount of each event that is stored in the end.
    pub stored: BTreeMap<String, i64>,
    /// The balance of each user in the end.
    pub balances: BTreeMap<i64, i64>,
}

impl Sending {
    /// A posting of it, and what else a [`Posting`] needs.
    pub(super) fn posting(
        &self,
        deadline: crate::clock::Deadline,
        permit: crate::ledger::Permit,
    ) -> (
        Posting,
        tokio::sync::oneshot::Receiver<crate::ledger::Posted>,
    ) {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let Self {
            entries,
            lane,
            is_atomic,
        } = self.clone();
        (
            Posting {
                entries,
                is_atomic,
                lane,
                deadline,
                permit,
                reply,
            },
            answer,
        )
    }
}

fn single(user: i64, event: &str, minor: i64) -> Sending {
    Sending {
        entries: vec![entry(user, event, minor)],
        lane: Lane::Single,
        is_atomic: false,
    }
}

fn bulk(user: i64, events: &[(&str, i64)]) -> Sending {
    let entries = events
        .iter()
        .map(|(event, minor)| entry(user, event, *minor))
        .collect();
    Sending {
        entries,
        lane: Lane::Bulk,
        is_atomic: false,
    }
}

fn atomic(entries: [(i64, &str, i64); 2]) -> Sending {
    let entries = entries
        .into_iter()
        .map(|(user, event, minor)| entry(user, event, minor))
        .collect();
    Sending {
        entries,
        lane: Lane::Bulk,
        is_atomic: true,
    }
}

/// A deposit with a hash, the same one for every event id.
fn deposit(user: i64, event: &str, minor: i64) -> Sending {
    let tx_hash = TxHash::from_slice(&[7; 32]);
    let entry = NewEntry {
        kind: Kind::Deposit,
        tx_hash,
        ..entry(user, event, minor)
    };
    Sending {
        entries: vec![entry],
        lane: Lane::Single,
        is_atomic: false,
    }
}

/// Every kind of posting with every kind of answer.
pub(super) fn everything() -> Scenario {
    let stages = vec![
        vec![single(1, "opening", 100)],
        vec![
            single(1, "primer", 1),
            single(1, "s1", 5),
            single(2, "s2", 7),
            single(1, "s1", 5),
            bulk(1, &[("b1", 1), ("b2", 2), ("b1", 1)]),
            deposit(2, "d1", 50),
        ],
        vec![atomic([(1, "x1", -30), (2, "x2", 30)])],
        vec![
            // The same transaction under another event id, another content under a known one, too much, all or nothing.
            deposit(2, "d2", 50),
            single(1, "s1", 6),
            single(1, "w1", -1000),
            atomic([(1, "y1", 1), (2, "y2", -5000)]),
            single(2, "w2", -20),
            single(1, "opening", 100),
        ],
    ];
    let stored = [
        ("opening", 100),
        ("primer", 1),
        ("s1", 5),
        ("s2", 7),
        ("b1", 1),
        ("b2", 2),
        ("d1", 50),
        ("x1", -30),
        ("x2", 30),
        ("w2", -20),
    ];
    Scenario {
        stages,
        stored: owned(&stored),
        balances: BTreeMap::from([(1, 79), (2, 67)]),
    }
}

/// The least in which a single, a group, an atomic batch and a duplicate meet: short enough for every pair of failures.
pub(super) fn the_least() -> Scenario {
    let stages = vec![
        vec![single(1, "opening", 100)],
        vec![
            single(1, "w1", -10),
            bulk(2, &[("b1", 1), ("b2", 2)]),
            single(1, "opening", 100),
        ],
        vec![atomic([(1, "x1", -30), (2, "x2", 30)])],
    ];
    let stored = [
        ("opening", 100),
        ("w1", -10),
        ("b1", 1),
        ("b2", 2),
        ("x1", -30),
        ("x2", 30),
    ];
    Scenario {
        stages,
        stored: owned(&stored),
        balances: BTreeMap::from([(1, 60), (2, 33)]),
    }
}

fn owned(stored: &[(&str, i64)]) -> BTreeMap<String, i64> {
    stored
        .iter()
        .map(|(event, minor)| ((*event).to_owned(), *minor))
        .collect()
}

/// Both users of every scenario.
pub(super) fn users() -> [UserId; 2] {
    [1, 2].map(|id| UserId::new(id).expect("in range"))
}
