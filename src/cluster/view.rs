//! The table of nodes that comes in, and what is known of other nodes for administrators.

use std::sync::Arc;

use crate::clock::{Moment, Mono, Wall};
use crate::cluster::tracker::{Member, NodeSeen};
use crate::cluster::wire::{Boot, Condition};
use crate::telemetry::cluster::ClusterCounters;

/// The table of nodes, as it was read last.
#[derive(Debug, Clone, Default)]
pub struct NodesTable {
    /// When it was asked for; `None`: never.
    pub asked_at: Option<Mono>,
    /// Its rows.
    pub rows: Arc<[Member]>,
}

/// What this node knows of the others, for administrators.
#[derive(Debug, Clone, Default)]
pub struct ClusterView {
    /// Whether it has heard everything.
    pub is_covered: bool,
    /// Whether it has a connection to the bus.
    pub is_connected: bool,
    /// The other nodes.
    pub nodes: Vec<NodeView>,
}

/// Another node.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Its name.
    pub node: Arc<str>,
    /// Its run.
    pub boot: Boot,
    /// Whether it has a bus.
    pub has_bus: bool,
    /// When it was last heard.
    pub heard_at: Option<Wall>,
    /// It was not heard for `cluster.silence_ms`: no answer of it is waited for.
    pub is_silent: bool,
    /// Its open sessions.
    pub sessions: u64,
    /// Messages of it that were missing.
    pub gaps: u64,
    /// How it is, as it told last.
    pub condition: Option<Condition>,
}

impl NodeView {
    /// What the tracker has seen, now.
    pub fn of(seen: NodeSeen, now: Moment) -> Self {
        let heard_at = |at| now.wall.minus_us(now.mono.us_since(at));
        Self {
            node: seen.node,
            boot: seen.boot,
            has_bus: seen.has_bus,
            heard_at: seen.heard_at.map(heard_at),
            is_silent: seen.is_silent,
            sessions: seen.sessions,
            gaps: seen.gaps,
            condition: seen.condition,
        }
    }
}

impl Condition {
    /// Of this node, by what it has measured.
    pub fn measured(covered: bool, measured: &ClusterCounters) -> Self {
        let ms = |seconds: f64| (seconds * 1_000.0).round();
        Self {
            covered,
            // Both conversions saturate.
            verified_age_ms: ms(measured.verified_age_seconds.get()) as u64,
            clock_skew_ms: ms(measured.clock_skew_seconds.get()) as i64,
        }
    }
}
