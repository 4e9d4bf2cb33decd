//! What is counted and measured of the cluster. A process without a cluster is covered, and its only node.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::telemetry::maker::{Maker, SECONDS};

/// Why a message is missing or was ignored: the values of the label `reason`.
pub const GAP_REASONS: [&str; 9] = [
    "sequence",
    "beat",
    "new_boot",
    "doubled",
    "epoch",
    "unreadable",
    "full",
    "gone",
    "table",
];

/// See `docs/metrics.md`.
#[derive(Debug)]
pub struct ClusterCounters {
    /// Whether all commits of other nodes are heard: 0 or 1.
    pub covered: IntGauge,
    /// Whether there is a connection to the bus: 0 or 1.
    pub connected: IntGauge,
    /// Nodes that are known, this one included.
    pub nodes: IntGauge,
    /// Messages, by `direction`.
    pub messages: IntCounterVec,
    /// Messages that were missing or ignored, by `reason`.
    pub gaps: IntCounterVec,
    /// From an own beat to its return by the bus.
    pub bus_seconds: Histogram,
    /// From a commit on another node until it is heard here, by both nodes' clocks.
    pub commit_to_heard_seconds: Histogram,
    /// Users whose version was compared with the ledger.
    pub checked_users: IntCounter,
    /// Users of whom the ledger had a newer version.
    pub healed: IntCounter,
    /// How long ago the user with a session was last known to be right of whom that is longest ago.
    pub verified_age_seconds: Gauge,
    /// How far this machine's clock is ahead of the database's; negative when it is behind.
    pub clock_skew_seconds: Gauge,
}

impl ClusterCounters {
    /// One metric per line, as in a table.
    #[rustfmt::skip]
    pub(super) fn new(make: &Maker) -> Self {
        let of_one = |gauge: IntGauge| { gauge.set(1); gauge };
        let messages = make.counters("balance_cluster_messages_total", "Messages between nodes.", &["direction"]);
        for direction in ["in", "out"] {
            messages.with_label_values(&[direction]);
        }
        let gaps = make.counters("balance_cluster_gaps_total", "Messages of other nodes that were missing or ignored.", &["reason"]);
        for reason in GAP_REASONS {
            gaps.with_label_values(&[reason]);
        }
        Self {
            covered: of_one(make.gauge("balance_cluster_covered", "Whether all commits of other nodes are heard.")),
            connected: make.gauge("balance_cluster_connected", "Whether there is a connection to the bus."),
            nodes: of_one(make.gauge("balance_cluster_nodes", "Nodes that are known, this one included.")),
            messages,
            gaps,
            bus_seconds: make.histogram("balance_cluster_bus_seconds", "From an own beat to its return by the bus.", &SECONDS),
            commit_to_heard_seconds: make.histogram("balance_cluster_commit_to_heard_seconds", "From a commit on another node until it is heard here.", &SECONDS),
            checked_users: make.counter("balance_cluster_checked_users_total", "Users whose version was compared with the ledger."),
            healed: make.counter("balance_cluster_healed_total", "Users of whom the ledger had a newer version than was heard."),
            verified_age_seconds: make.float_gauge("balance_cluster_verified_age_seconds", "How long ago the user with a session was last known to be right of whom that is longest ago."),
            clock_skew_seconds: make.float_gauge("balance_cluster_clock_skew_seconds", "How far this machine's clock is ahead of the database's."),
        }
    }
}
