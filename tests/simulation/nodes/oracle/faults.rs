//! What is wrong, since when and until when, and how soon its damage has to be healed.

use balance_coordinator::limits::CHECK_ROUND_MS;

use super::{NodesOracle, SILENCE_US, UNKNOWN_US};

/// A message that is missing, on a bus whose beats come.
const LOST_US: u64 = 500_000;

/// Users with sessions are so few that a round takes no longer than the time between two rounds.
pub const ROUND_US: u64 = CHECK_ROUND_MS * 1000;

/// Something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Messages with commits are lost, or the fate of a commit is unknown to its node, and beats come.
    Lost,
    /// Messages are held up by as much at most, beats too.
    Late { us: u64 },
    /// Some node is not heard by some other: it does not run, or the bus does not carry.
    Silent,
}

impl Fault {
    /// How long after a commit sessions may be without it.
    pub fn bound_us(self) -> u64 {
        match self {
            Self::Lost => LOST_US,
            // The message comes, or it is held up for so long that its node counts as silent.
            Self::Late { us } => us.clamp(LOST_US, UNKNOWN_US + ROUND_US),
            Self::Silent => SILENCE_US + ROUND_US,
        }
    }
}

#[derive(Debug)]
pub(super) struct Period {
    pub(super) fault: Fault,
    pub(super) from_us: u64,
    pub(super) until_us: Option<u64>,
}

impl NodesOracle {
    /// A fault begins; returns what ends it.
    pub fn begins(&self, fault: Fault) -> usize {
        let from_us = self.now_us();
        self.note(&format!("{fault:?} begins"));
        let faults = &mut self.lock().faults;
        faults.push(Period {
            fault,
            from_us,
            until_us: None,
        });
        faults.len() - 1
    }

    /// A fault that lasts so long.
    pub fn passes(&self, fault: Fault, us: u64) {
        let period = self.begins(fault);
        self.lock().faults[period].until_us = Some(self.now_us() + us);
    }

    pub fn ends(&self, period: usize) {
        let now_us = self.now_us();
        self.note("a fault ends");
        self.lock().faults[period].until_us = Some(now_us);
    }

    /// A node runs and does not stand still from now on, or not any more.
    pub fn well(&self, node: usize, is_well: bool) {
        let now_us = self.now_us();
        self.note(&format!("node {node} is well: {is_well}"));
        self.lock().well_since[node] = is_well.then_some(now_us);
    }

    /// A node reaches PostgreSQL from now on, or not any more.
    pub fn reaches_store(&self, node: usize, reaches: bool) {
        let now_us = self.now_us();
        self.note(&format!("node {node} reaches PostgreSQL: {reaches}"));
        self.lock().store_since[node] = reaches.then_some(now_us);
    }
}
