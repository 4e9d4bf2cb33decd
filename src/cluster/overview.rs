//! What this process knows of the others, for administrators: `GET /admin/v1/cluster`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::clock::{Clock, Wall};
use crate::cluster::orders::{Known, NodeName, Orders, Others};
use crate::cluster::view::ClusterView;
use crate::cluster::wire::{Action, Condition};
use crate::coordinator::Coverage;
use crate::domain::UserId;
use crate::ledger::{Node, OwnNode};
use crate::telemetry::counters::Counters;

/// Shared by what learns of other processes, and by what shows them.
#[derive(Debug)]
pub struct Overview {
    own: OwnNode,
    coverage: Arc<Coverage>,
    counters: Arc<Counters>,
    clock: Clock,
    /// Those that renewed their row lately.
    others: Mutex<Vec<Node>>,
    /// What was heard of them, and the way to them, when there is a bus.
    bus: OnceLock<(watch::Receiver<ClusterView>, Orders)>,
}

/// `GET /admin/v1/cluster`
#[derive(Debug, Clone, Serialize)]
pub struct ClusterShown {
    /// This process, by `cluster.node`.
    node: String,
    /// This start of it.
    boot: String,
    #[serde(flatten)]
    condition: Condition,
    /// Whether it has a connection to the bus.
    connected: bool,
    /// Whether it does the work that only one process has to do: the audit and the canary.
    first: bool,
    /// The others.
    nodes: Vec<NodeShown>,
}

#[derive(Debug, Clone, Serialize)]
struct NodeShown {
    node: String,
    boot: String,
    build: Option<String>,
    /// When it renewed its row, by the database's clock; null: it has none.
    seen_at: Option<Wall>,
    has_bus: bool,
    /// When it was last heard of on the bus.
    heard_at: Option<Wall>,
    #[serde(skip)]
    is_silent: bool,
    sessions: i64,
    /// Messages of it that were missing.
    gaps: u64,
    /// How it is, as it told last; null: it has told nothing.
    condition: Option<Condition>,
}

impl Overview {
    /// Of a process that knows of no others.
    pub fn new(
        own: OwnNode,
        coverage: Arc<Coverage>,
        counters: Arc<Counters>,
        clock: Clock,
    ) -> Self {
        Self {
            own,
            coverage,
            counters,
            clock,
            others: Mutex::default(),
            bus: OnceLock::new(),
        }
    }

    /// This process.
    pub const fn own(&self) -> &OwnNode {
        &self.own
    }

    /// The table of nodes has been read.
    pub fn saw(&self, others: &[Node]) {
        let mut known = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.clone_into(&mut known);
    }

    /// There is a bus.
    pub fn sees_bus(&self, view: watch::Receiver<ClusterView>, orders: Orders) {
        // It joins once.
        let _ = self.bus.set((view, orders));
    }

    /// Whether there is a bus.
    pub fn has_bus(&self) -> bool {
        self.bus.get().is_some()
    }

    /// Has all other nodes carry out an order, and waits for the answers of those that are heard, 0.9 s at most.
    pub async fn tell_others(&self, action: Action, user_id: UserId) -> Others {
        let known = self.others();
        match self.bus.get() {
            Some((_, orders)) => orders.ask(action, user_id, known, self.clock).await,
            None => Others {
                not_heard_of: known.into_iter().map(|node| node.name).collect(),
                ..Others::default()
            },
        }
    }

    /// Whether memory is trusted, as actors ask it.
    pub const fn coverage(&self) -> &Arc<Coverage> {
        &self.coverage
    }

    /// This process, as answers name it.
    pub fn own_name(&self) -> NodeName {
        NodeName {
            node: self.own.node.clone(),
            boot: self.own.boot.clone(),
        }
    }

    /// The other nodes, in the ledger or on the bus.
    fn others(&self) -> Vec<Known> {
        let nodes = self.show().nodes.into_iter();
        let known = nodes.map(|shown| Known {
            is_awaited: shown.has_bus && !shown.is_silent,
            name: NodeName {
                node: shown.node,
                boot: shown.boot,
            },
        });
        known.collect()
    }

    /// As it stands.
    pub fn show(&self) -> ClusterShown {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let mut nodes: BTreeMap<String, NodeShown> = BTreeMap::new();
        for node in &*others {
            let shown = NodeShown {
                node: node.node.clone(),
                boot: node.boot.clone(),
                build: Some(node.build.clone()),
                seen_at: Some(Wall::from_us(node.seen_at_us)),
                has_bus: node.has_bus,
                heard_at: None,
                is_silent: false,
                sessions: node.sessions,
                gaps: 0,
                condition: None,
            };
            nodes.insert(node.boot.clone(), shown);
        }
        let heard = self.bus.get().map(|(view, _)| view.borrow().clone());
        let heard = heard.unwrap_or_default();
        for node in heard.nodes {
            let boot = node.boot.as_str().to_owned();
            let shown = nodes.entry(boot.clone()).or_insert_with(|| NodeShown {
                node: node.node.to_string(),
                boot,
                build: None,
                seen_at: None,
                has_bus: node.has_bus,
                heard_at: None,
                is_silent: false,
                sessions: 0,
                gaps: 0,
                condition: None,
            });
            shown.heard_at = node.heard_at;
            shown.is_silent = node.is_silent;
            shown.gaps = node.gaps;
            shown.condition = node.condition;
            if node.heard_at.is_some() {
                shown.sessions = i64::try_from(node.sessions).unwrap_or(i64::MAX);
            }
        }
        ClusterShown {
            node: self.own.node.clone(),
            boot: self.own.boot.clone(),
            condition: Condition::measured(
                self.coverage.is_covered(self.clock.mono()),
                &self.counters.cluster,
            ),
            connected: heard.is_connected,
            first: self.coverage.is_first(),
            nodes: nodes.into_values().collect(),
        }
    }
}
