//! What the tracker is told, and what it answers.

use std::sync::Arc;

use crate::clock::Mono;
use crate::cluster::tracker::links::Link;
use crate::cluster::wire::{Boot, Condition};
use crate::coordinator::heard::Partitions;

/// The times that the tracker goes by, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Between two own beats (`cluster.beat_ms`).
    pub beat_us: u64,
    /// A node that was not heard for so long is silent (`cluster.silence_ms`).
    pub silence_us: u64,
    /// A row of the table of nodes that was not renewed for so long is of a node that is gone.
    pub lease_us: u64,
    /// A table of nodes that was read longer ago is of no use. Less than the lease, so that no node can come and go between
    /// two tables unseen.
    pub table_us: u64,
}

impl Times {
    /// For what was committed longer ago by a node that is known, covered means known.
    pub const fn bound_us(&self) -> u64 {
        2 * self.silence_us
    }

    /// The same for a node whose first row in the table may not have been read yet.
    pub const fn bound_of_new_us(&self) -> u64 {
        self.table_us + self.bound_us()
    }
}

/// A row of the table of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub node: Arc<str>,
    /// Its run.
    pub boot: Boot,
    /// How long ago the row was renewed, by the database's clock, in microseconds.
    pub age_us: u64,
    /// Whether it tells the others of its commits.
    pub has_bus: bool,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Its changes are new.
    pub delivers: bool,
    /// What is in memory of these partitions is no longer trusted.
    pub distrusts: Partitions,
    /// Why something is distrusted or ignored.
    pub gap: Option<Gap>,
    /// The sender knows another epoch of the ledger: ask which one is right.
    pub asks_epoch: bool,
}

/// Why a message is missing, or counts as missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    /// A later number came.
    Sequence,
    /// A beat knows of later numbers.
    Beat,
    /// A new node did not begin with number 1: it has sent something before.
    NewBoot,
    /// An earlier number: it was ignored, so nothing is missing.
    Doubled,
    /// The sender knows another epoch.
    Epoch,
    /// It could not be read.
    Unreadable,
    /// Its receiver in this process had no room.
    Full,
    /// A node is gone. What it sent last may never have come.
    Gone,
    /// The table of nodes was not read for too long: nodes may have come and gone.
    Table,
}

impl Gap {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Sequence,
        Self::Beat,
        Self::NewBoot,
        Self::Doubled,
        Self::Epoch,
        Self::Unreadable,
        Self::Full,
        Self::Gone,
        Self::Table,
    ];

    /// As the metrics call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Beat => "beat",
            Self::NewBoot => "new_boot",
            Self::Doubled => "doubled",
            Self::Epoch => "epoch",
            Self::Unreadable => "unreadable",
            Self::Full => "full",
            Self::Gone => "gone",
            Self::Table => "table",
        }
    }
}

/// What the passing of time asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Due {
    /// Nodes that are gone and had not said that they leave.
    pub gone: usize,
    /// What is in memory of these partitions is no longer trusted.
    pub distrusts: Partitions,
    /// What to do with the connection to the bus.
    pub link: Link,
}

/// What is known of another node, for administrators.
#[derive(Debug, Clone)]
pub struct NodeSeen {
    /// Its name.
    pub node: Arc<str>,
    /// Its run.
    pub boot: Boot,
    /// Whether it has a bus, by the table of nodes.
    pub has_bus: bool,
    /// When it was last heard.
    pub heard_at: Option<Mono>,
    /// It was not heard for so long that it will hardly answer.
    pub is_silent: bool,
    /// Its open sessions.
    pub sessions: u64,
    /// Messages of it that were missing.
    pub gaps: u64,
    /// How it is, as it told last.
    pub condition: Option<Condition>,
}
