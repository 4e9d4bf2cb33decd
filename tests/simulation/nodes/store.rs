//! The one PostgreSQL of all nodes: tables in memory, decided by the real rule, and the table of nodes.
//!
//! Each node has a writer of its own that commits, and tells its feed a moment later: between the two it may be killed or
//! stopped.

mod door;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use balance_coordinator::domain::{NewEntry, Outcome, UserId};
use balance_coordinator::ledger::batch::Group;
use balance_coordinator::ledger::memory::Tables;
use balance_coordinator::ledger::{
    EntryOutcome, Feed, Node, Nodes, Orphan, PostError, Posted, Posting, Standing, tell_feed,
};
use balance_coordinator::limits::NODE_GONE_MS;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

use super::NODES;
use super::oracle::{By, NodesOracle, TABLE_US};
use crate::random::Chance;
use crate::world::WALL_START_US;
pub use door::{Door, Statements};

/// Postings in one transaction.
const POSTINGS_MAX: usize = 8;

const LEASE_US: u64 = NODE_GONE_MS * 1000;

/// What the steps of a renewal take.
const STEPS_US: u64 = 50_000;

/// What went wrong for one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// It does not reach PostgreSQL.
    pub is_away: bool,
    /// Some of its commits get no answer, and their fate stays unknown to it.
    pub loses_answers: bool,
}

/// The row of a node.
#[derive(Debug, Clone)]
pub struct Row {
    node: Node,
    written_us: u64,
    /// Since when its node has always read the table in time, and the row was younger than the lease.
    pub since_us: u64,
    pub renewed_us: u64,
}

struct Inner {
    tables: Tables,
    rows: BTreeMap<String, Row>,
    troubles: [Trouble; NODES],
    chance: Chance,
}

/// See the module.
pub struct Store {
    inner: Mutex<Inner>,
    oracle: NodesOracle,
    /// A node has committed, and told nothing of it yet.
    pub has_committed: [Notify; NODES],
}

impl Store {
    pub fn new(seed: u64, oracle: NodesOracle) -> Arc<Self> {
        let mut tables = Tables::default();
        tables.keep_entries();
        let inner = Inner {
            tables,
            rows: BTreeMap::new(),
            troubles: Default::default(),
            chance: Chance::new(seed, 22),
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            oracle,
            has_committed: Default::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("one thread, no panic inside")
    }

    pub fn trouble(&self, node: usize, change: impl FnOnce(&mut Trouble)) {
        change(&mut self.lock().troubles[node]);
    }

    fn trouble_of(&self, node: usize) -> Trouble {
        self.lock().troubles[node]
    }

    pub fn version(&self, user: i64) -> i64 {
        let user_id = UserId::new(user).expect("a user id");
        self.lock().tables.account(user_id).version
    }

    fn step(&self) -> Duration {
        Duration::from_millis(self.lock().chance.between(1, 6))
    }

    /// Decides and writes, and tells the oracle. `by`: the node and its run; none for a commit by hand.
    pub fn commit(
        &self,
        groups: &[Group<'_>],
        by: Option<(usize, &str)>,
    ) -> Vec<Vec<EntryOutcome>> {
        let now_us = self.oracle.now_us();
        let wall_us = WALL_START_US.saturating_add_unsigned(now_us);
        let mut inner = self.lock();
        // Whether every other node that is covered has read a table with its row.
        let is_known = by.is_some_and(|(_, boot)| {
            inner.rows.get(boot).is_some_and(|row| {
                now_us - row.renewed_us < LEASE_US && now_us - row.since_us > TABLE_US
            })
        });
        let plan = inner.tables.decide(groups, wall_us);
        for planned in &plan.entries {
            let by = by.map(|(_, boot)| By {
                boot: boot.to_owned(),
                is_known,
            });
            let (entry, version) = (planned.entry, planned.version);
            self.oracle.committed(entry, version, &planned.balances, by);
        }
        inner.tables.write(&plan);
        plan.outcomes
    }

    /// A node that ends removes its row, or leaves one that others may not have seen.
    pub fn leave(&self, boot: &str) {
        let now_us = self.oracle.now_us();
        let rows = &mut self.lock().rows;
        let Some(row) = rows.get_mut(boot) else {
            return;
        };
        if now_us - row.written_us > LEASE_US && now_us - row.renewed_us <= LEASE_US {
            rows.remove(boot);
        } else {
            row.renewed_us = now_us;
            row.node.seen_at_us = WALL_START_US.saturating_add_unsigned(now_us);
        }
    }

    /// How long it takes until a node may remove its row.
    pub fn young_for(&self, node: usize) -> Duration {
        let (now_us, name) = (self.oracle.now_us(), format!("n{node}"));
        let inner = self.lock();
        let rows = inner.rows.values().filter(|row| row.node.node == name);
        let written_us = rows.map(|row| row.written_us).max().unwrap_or(0);
        Duration::from_micros((written_us + LEASE_US + 1).saturating_sub(now_us))
    }

    /// The rows that are younger than the lease, by boot.
    pub fn rows(&self) -> Vec<(String, Row)> {
        let now_us = self.oracle.now_us();
        let is_alive = |row: &Row| now_us - row.renewed_us < LEASE_US;
        let inner = self.lock();
        let rows = inner.rows.iter().filter(|(_, row)| is_alive(row));
        rows.map(|(boot, row)| (boot.clone(), row.clone()))
            .collect()
    }

    /// A node opens it; to be called on the node.
    pub fn open(
        self: &Arc<Self>,
        (node, boot): (usize, &str),
        statements: Arc<Statements>,
        feed: Arc<dyn Feed>,
        orphans: mpsc::Sender<Orphan>,
    ) -> Arc<Door> {
        let (postings, inbox) = mpsc::unbounded_channel();
        let writer = (node, boot.to_owned());
        actix_rt::spawn(self.clone().write(writer, inbox, feed, orphans));
        Arc::new(Door {
            store: self.clone(),
            node,
            statements,
            standing: Arc::new(Standing::of("epoch-0")),
            postings,
        })
    }

    async fn write(
        self: Arc<Self>,
        (node, boot): (usize, String),
        mut inbox: mpsc::UnboundedReceiver<Posting>,
        feed: Arc<dyn Feed>,
        orphans: mpsc::Sender<Orphan>,
    ) {
        while let Some(first) = inbox.recv().await {
            let mut batch = VecDeque::from([first]);
            while batch.len() < POSTINGS_MAX
                && let Ok(next) = inbox.try_recv()
            {
                batch.push_back(next);
            }
            sleep(self.step()).await;
            while self.trouble_of(node).is_away {
                if batch.iter().all(|posting| posting.deadline.has_passed()) {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
            if self.trouble_of(node).is_away {
                for posting in batch {
                    self.oracle.doubts(node);
                    let outcomes = failed(&posting.entries);
                    tell_feed(&*feed, posting.entries.iter().zip(&outcomes));
                    conclude(posting, outcomes, &orphans);
                }
                continue;
            }
            let groups: Vec<Group<'_>> = batch.iter().map(group).collect();
            let mut outcomes = self.commit(&groups, Some((node, &boot)));
            drop(groups);
            // Here a node may be killed or stopped: it has committed, and no other node knows of it.
            self.has_committed[node].notify_waiters();
            sleep(self.step()).await;
            if self.trouble_of(node).loses_answers && self.lock().chance.percent(50) {
                for (posting, outcomes) in batch.iter().zip(&mut outcomes) {
                    self.oracle.doubts(node);
                    *outcomes = failed(&posting.entries);
                }
            }
            let decided = batch
                .iter()
                .zip(&outcomes)
                .flat_map(|(posting, outcomes)| posting.entries.iter().zip(outcomes));
            tell_feed(&*feed, decided.clone());
            for (entry, outcome) in decided {
                if let Some(version) = version_of(outcome) {
                    self.oracle.knows(node, entry.user_id.get(), version);
                }
            }
            for (posting, outcomes) in batch.into_iter().zip(outcomes) {
                conclude(posting, outcomes, &orphans);
            }
        }
    }

    /// A node renews its row and reads the others'.
    pub async fn renew(&self, node: usize, boot: &str) -> Option<Nodes> {
        sleep(self.step()).await;
        if self.trouble_of(node).is_away {
            return None;
        }
        let now_us = self.oracle.now_us();
        let wall_us = WALL_START_US.saturating_add_unsigned(now_us);
        let nodes = {
            let rows = &mut self.lock().rows;
            let row = rows.entry(boot.to_owned()).or_insert_with(|| Row {
                node: Node {
                    node: format!("n{node}"),
                    boot: boot.to_owned(),
                    build: "simulated".to_owned(),
                    has_bus: true,
                    sessions: 0,
                    started_at_us: wall_us,
                    seen_at_us: wall_us,
                },
                written_us: now_us,
                since_us: now_us,
                renewed_us: now_us,
            });
            if now_us - row.renewed_us >= TABLE_US - STEPS_US {
                row.since_us = now_us;
            }
            row.renewed_us = now_us;
            row.node.seen_at_us = wall_us;
            rows.retain(|_, row| now_us - row.renewed_us <= LEASE_US);
            let others = rows.values().filter(|row| row.node.boot != boot);
            Nodes {
                others: others.map(|row| row.node.clone()).collect(),
                is_first: false,
                now_us: wall_us,
            }
        };
        sleep(self.step()).await;
        Some(nodes)
    }
}

fn group(posting: &Posting) -> Group<'_> {
    Group {
        entries: &posting.entries,
        is_atomic: posting.is_atomic,
    }
}

fn failed(entries: &[NewEntry]) -> Vec<EntryOutcome> {
    vec![EntryOutcome::Failed(PostError::Unavailable); entries.len()]
}

fn conclude(posting: Posting, outcomes: Vec<EntryOutcome>, orphans: &mpsc::Sender<Orphan>) {
    let Posting { entries, reply, .. } = posting;
    if let Err(unheard) = reply.send(Posted { entries, outcomes }) {
        orphans.try_send(unheard).expect("room");
    }
}

/// The version that an entry got, or had.
pub fn version_of(outcome: &EntryOutcome) -> Option<i64> {
    match outcome {
        EntryOutcome::Decided {
            outcome: Outcome::Accepted { version, .. },
            ..
        } => Some(*version),
        _ => None,
    }
}
