//! What this process knows of the ledger as a whole: whether it can be reached, and its epoch. The ledger's threads report
//! it; the coordinator and the sessions ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// An epoch of the ledger: versions are comparable only within one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Counts the epochs that this process has seen.
    pub number: u64,
    /// As it is stored and shown.
    pub name: Arc<str>,
}

/// An epoch has begun.
#[derive(Debug, Clone, Default)]
pub struct EpochBegan {
    /// Which one.
    pub epoch: Epoch,
    /// Why, for a person.
    pub why: Arc<str>,
}

/// Shared by all parts that use one ledger.
#[derive(Debug)]
pub struct Standing {
    is_away: AtomicBool,
    /// Counts the reads and commits that have succeeded.
    answers: AtomicU64,
    /// Of the epoch in `began`: the actors ask for it with every message.
    number: AtomicU64,
    began: watch::Sender<EpochBegan>,
    /// Has a permit when this process has committed entries since it was taken last.
    commits: Notify,
}

impl Default for Standing {
    fn default() -> Self {
        Self::of("")
    }
}

impl Standing {
    /// A ledger that answers and has this epoch.
    pub fn of(epoch: &str) -> Self {
        let epoch = Epoch {
            number: 1,
            name: epoch.into(),
        };
        Self {
            is_away: AtomicBool::new(false),
            answers: AtomicU64::new(0),
            number: AtomicU64::new(epoch.number),
            began: watch::Sender::new(EpochBegan {
                epoch,
                why: "".into(),
            }),
            commits: Notify::new(),
        }
    }

    /// A read or a commit has succeeded.
    pub fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.is_away.store(false, Ordering::Release);
    }

    /// A read or a commit has failed because the ledger could not be reached.
    pub fn unanswered(&self) {
        self.is_away.store(true, Ordering::Release);
    }

    /// How many reads and commits have succeeded.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// A transaction of this process was committed.
    pub fn committed(&self) {
        self.commits.notify_one();
    }

    /// Waits until a transaction of this process is committed, or was since this was asked last. For one task alone.
    pub async fn next_commit(&self) {
        self.commits.notified().await;
    }

    /// Whether a read or a commit has failed for that reason, and none has succeeded since.
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.began.borrow().epoch.clone()
    }

    /// The number of the epoch.
    pub fn epoch_number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// The ledger was seen to have this epoch. When it is another than before, everything starts over.
    pub fn has_epoch(&self, name: &str, why: &str) {
        self.began.send_if_modified(|began| {
            if &*began.epoch.name == name {
                return false;
            }
            *began = EpochBegan {
                epoch: Epoch {
                    number: began.epoch.number + 1,
                    name: name.into(),
                },
                why: why.into(),
            };
            self.number.store(began.epoch.number, Ordering::Release);
            true
        });
    }

    /// Tells of the epochs that begin from now on.
    pub fn epochs(&self) -> watch::Receiver<EpochBegan> {
        self.began.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_begins_once() {
        let standing = Standing::of("one");
        let mut epochs = standing.epochs();
        standing.has_epoch("one", "as it was");
        assert!(!epochs.has_changed().expect("alive"));
        standing.has_epoch("two", "lost");
        standing.has_epoch("two", "seen by another connection");
        let began = epochs.borrow_and_update().clone();
        assert_eq!((&*began.epoch.name, &*began.why), ("two", "lost"));
        assert_eq!(began.epoch.number, standing.epoch_number());
        assert_eq!(standing.epoch(), began.epoch);
    }
}
