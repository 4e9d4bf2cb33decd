//! The one PostgreSQL of all nodes: tables in memory, decided by the real rule, and the table of nodes.
//!
//! Each node has a writer of its own that commits, and tells its feed a moment later: between the two it may be killed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use balance_coordinator::domain::{Account, NewEntry, Outcome, TelegramId, UserId};
use balance_coordinator::ledger::batch::Group;
use balance_coordinator::ledger::memory::Tables;
use balance_coordinator::ledger::{
    EntryOutcome, Feed, Ledger, LedgerError, Loss, MissedEntry, Node, Nodes, Orphan, Pending,
    PostError, Posted, Posting, Standing, tell_feed,
};
use balance_coordinator::limits::NODE_GONE_MS;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::NODES;
use super::oracle::NodesOracle;
use crate::random::Chance;
use crate::world::WALL_START_US;

/// Postings in one transaction.
const POSTINGS_MAX: usize = 8;

/// What went wrong for one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// It does not reach PostgreSQL.
    pub is_away: bool,
    /// Some of its commits get no answer, and their fate stays unknown to it.
    pub loses_answers: bool,
}

struct Inner {
    tables: Tables,
    rows: BTreeMap<String, Node>,
    troubles: [Trouble; NODES],
    chance: Chance,
}

/// See the module.
pub struct Store {
    inner: Mutex<Inner>,
    oracle: NodesOracle,
}

/// One node's way to it.
pub struct Door {
    store: Arc<Store>,
    node: usize,
    standing: Arc<Standing>,
    postings: mpsc::UnboundedSender<Posting>,
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

    /// Decides and writes, and tells the oracle. `by`: the node; none for a commit by hand.
    pub fn commit(&self, groups: &[Group<'_>], by: Option<usize>) -> Vec<Vec<EntryOutcome>> {
        let now_us = self.oracle.now_us();
        let wall_us = WALL_START_US.saturating_add_unsigned(now_us);
        let mut inner = self.lock();
        let plan = inner.tables.decide(groups, wall_us);
        for planned in &plan.entries {
            let (entry, version) = (planned.entry, planned.version);
            self.oracle
                .committed(entry, version, &planned.balances, by, now_us);
        }
        inner.tables.write(&plan);
        plan.outcomes
    }

    /// A node opens it; to be called on the node.
    pub fn open(
        self: &Arc<Self>,
        node: usize,
        feed: Arc<dyn Feed>,
        orphans: mpsc::Sender<Orphan>,
    ) -> Arc<Door> {
        let (postings, inbox) = mpsc::unbounded_channel();
        actix_rt::spawn(self.clone().write(node, inbox, feed, orphans));
        Arc::new(Door {
            store: self.clone(),
            node,
            standing: Arc::new(Standing::of("epoch-0")),
            postings,
        })
    }

    async fn write(
        self: Arc<Self>,
        node: usize,
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
                    let outcomes = failed(&posting.entries);
                    tell_feed(&*feed, posting.entries.iter().zip(&outcomes));
                    conclude(posting, outcomes, &orphans);
                }
                continue;
            }
            let groups: Vec<Group<'_>> = batch.iter().map(group).collect();
            let mut outcomes = self.commit(&groups, Some(node));
            drop(groups);
            // Here a node may be killed: committed, and told nobody.
            sleep(self.step()).await;
            if self.trouble_of(node).loses_answers && self.lock().chance.percent(50) {
                for (posting, outcomes) in batch.iter().zip(&mut outcomes) {
                    *outcomes = failed(&posting.entries);
                }
            }
            let decided = batch
                .iter()
                .zip(&outcomes)
                .flat_map(|(posting, outcomes)| posting.entries.iter().zip(outcomes));
            tell_feed(&*feed, decided);
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
        let now_us = WALL_START_US.saturating_add_unsigned(self.oracle.now_us());
        let nodes = {
            let rows = &mut self.lock().rows;
            let row = rows.entry(boot.to_owned()).or_insert_with(|| Node {
                node: format!("n{node}"),
                boot: boot.to_owned(),
                build: "simulated".to_owned(),
                has_bus: true,
                sessions: 0,
                started_at_us: now_us,
                seen_at_us: now_us,
            });
            row.seen_at_us = now_us;
            rows.retain(|_, row| now_us - row.seen_at_us <= NODE_GONE_MS as i64 * 1000);
            let others = rows.values().filter(|row| row.boot != boot);
            Nodes {
                others: others.cloned().collect(),
                is_first: false,
                now_us,
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

impl Door {
    fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Tables) -> T + Send + 'static,
    ) -> Pending<T> {
        let (store, node, standing) = (self.store.clone(), self.node, self.standing.clone());
        let (before, after) = (store.step(), store.step());
        Box::pin(async move {
            sleep(before).await;
            if store.trouble_of(node).is_away {
                standing.unanswered();
                return Err(LedgerError::Unavailable("planned".into()));
            }
            let found = look(&store.lock().tables);
            standing.answered();
            sleep(after).await;
            Ok(found)
        })
    }
}

impl Ledger for Door {
    fn post(&self, posting: Posting) {
        // The writer lives as long as the node.
        let _ = self.postings.send(posting);
    }

    fn account(&self, user: UserId) -> Pending<Account> {
        self.ask(move |tables| tables.account(user))
    }

    fn account_in_background(&self, user: UserId) -> Pending<Account> {
        self.account(user)
    }

    fn versions(&self, users: Vec<UserId>) -> Pending<Vec<(UserId, i64)>> {
        self.ask(move |tables| {
            let version = |user: &UserId| (*user, tables.account(*user).version);
            users.iter().map(version).collect()
        })
    }

    fn missed_entries(&self, known: Vec<(UserId, i64)>) -> Pending<Vec<MissedEntry>> {
        self.ask(move |tables| {
            let missed = |(user, version): &(UserId, i64)| tables.missed(*user, *version);
            known.iter().flat_map(missed).collect()
        })
    }

    fn user_of_telegram(&self, _: TelegramId) -> Pending<Option<UserId>> {
        self.ask(|_| None)
    }

    fn ping(&self) -> Pending<()> {
        self.ask(|_| ())
    }

    /// It never does here: every state is of one PostgreSQL.
    fn went_back(&self, loss: Loss) -> Pending<()> {
        self.store
            .oracle
            .violation(&format!("a loss was seen: {loss:?}"));
        self.ask(|_| ())
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}
