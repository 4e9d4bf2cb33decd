//! Nodes without a ledger: the bus, the tracker and the thread of the cluster as they are, a table of nodes in memory, and
//! a sink that keeps what it is given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use balance_coordinator::clock::{Clock, Mono, Wall};
use balance_coordinator::cluster::bus::Sink;
use balance_coordinator::cluster::nats::NatsOptions;
use balance_coordinator::cluster::orders::{Known, NodeName, Others, Reply};
use balance_coordinator::cluster::publisher::Publisher;
use balance_coordinator::cluster::running::{Parts, Running};
use balance_coordinator::cluster::tracker::Member;
use balance_coordinator::cluster::view::NodesTable;
use balance_coordinator::cluster::wire::{Action, Boot, Origin};
use balance_coordinator::config::{BusUrl, Cluster};
use balance_coordinator::coordinator::heard::{HeardCommit, HeardEntries, Partition, Partitions};
use balance_coordinator::domain::{Amount, Balances, Currencies, Kind, Source, UserId};
use balance_coordinator::telemetry::counters::Counters;

use crate::support::eventually;

/// What a node was told.
#[derive(Default)]
pub struct Told {
    covered_until_us: AtomicU64,
    heard: Mutex<Vec<HeardCommit>>,
    distrusted: Mutex<Vec<Partitions>>,
    /// Orders of other nodes: by which, what, for which user.
    pub orders: Mutex<Vec<(String, Action, i64)>>,
    /// Refuse what is delivered, and answer no order.
    pub is_full: std::sync::atomic::AtomicBool,
}

struct ToldSink(Arc<Told>);

impl Sink for ToldSink {
    fn deliver(&mut self, heard: Vec<HeardCommit>) -> bool {
        if self.0.is_full.load(Ordering::Relaxed) {
            return false;
        }
        self.0.heard.lock().expect("no panic").extend(heard);
        true
    }

    fn distrust(&mut self, partitions: Partitions, _now: Mono) {
        self.0.distrusted.lock().expect("no panic").push(partitions);
    }

    fn cover_until(&mut self, until: Mono) {
        self.0.covered_until_us.store(until.us(), Ordering::Relaxed);
    }

    fn other_epoch(&mut self, _epoch: &str) {}

    fn order(&mut self, by: &str, action: Action, user_id: UserId, reply: Reply) {
        let order = (by.to_owned(), action, user_id.get());
        self.0.orders.lock().expect("no panic").push(order);
        if !self.0.is_full.load(Ordering::Relaxed) {
            let answer = serde_json::json!({ "done": true });
            reply.answer(answer.as_object().expect("an object").clone());
        }
    }
}

/// The table of nodes, as the database would have it.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<Vec<Member>>>);

impl Table {
    fn rows(&self) -> Arc<[Member]> {
        self.0.lock().expect("no panic").clone().into()
    }

    fn add(&self, origin: &Origin) {
        self.0.lock().expect("no panic").push(Member {
            node: origin.node.clone(),
            boot: origin.boot.clone(),
            age_us: 0,
            has_bus: true,
        });
    }

    /// Removes the row of a node that is gone.
    pub fn remove(&self, node: &str) {
        let mut rows = self.0.lock().expect("no panic");
        rows.retain(|row| &*row.node != node);
    }
}

/// A running node.
pub struct Node {
    publisher: Publisher,
    pub running: Running,
    pub told: Arc<Told>,
    pub counters: Arc<Counters>,
    clock: Clock,
    version: AtomicU64,
    feeding: tokio::task::JoinHandle<()>,
}

/// The settings of a node at this address.
pub fn settings(url: &str) -> Cluster {
    Cluster {
        url: vec![BusUrl::parse(url).expect("a URL")],
        ..Cluster::default()
    }
}

impl Node {
    pub fn start(name: &str, settings: &Cluster, table: &Table) -> Self {
        let clock = Clock::system();
        let own = Origin {
            epoch: "8c1f0a52d7e94b36".into(),
            node: name.into(),
            boot: Boot::random(clock.wall()),
        };
        let told = Arc::new(Told::default());
        let counters = Arc::new(Counters::default());
        table.add(&own);
        let (publisher, outgoing) = Publisher::new(clock);
        let parts = Parts {
            own,
            currencies: Currencies::default(),
            clock,
            counters: counters.clone(),
            outgoing,
            sink: ToldSink(told.clone()),
        };
        let options = NatsOptions::of(settings).expect("good settings");
        let running = Running::start(settings, options, parts).expect("a thread");
        let feeding = tokio::spawn(feed(running.table.clone(), table.clone(), clock));
        Self {
            running,
            publisher,
            told,
            counters,
            clock,
            version: AtomicU64::new(0),
            feeding,
        }
    }

    pub fn is_covered(&self) -> bool {
        self.clock.mono().us() < self.told.covered_until_us.load(Ordering::Relaxed)
    }

    pub fn is_connected(&self) -> bool {
        self.running.view.borrow().is_connected
    }

    /// Commits for a user; returns the version.
    pub fn commit(&self, user: i64) -> i64 {
        let version = self.version.fetch_add(1, Ordering::Relaxed) as i64;
        let currencies = Currencies::default();
        let mut balances = Balances::zero(currencies.count());
        let ton = currencies.find("TON").expect("a currency");
        balances.set(ton, Amount::from_minor(version + 1));
        self.publisher.publish(vec![HeardCommit {
            user_id: UserId::new(user).expect("a user id"),
            version_from: version,
            version_to: version + 1,
            balances,
            entries: vec![HeardEntries {
                kind: Kind::Deposit,
                source: Source::from(Kind::Deposit),
                count: 1,
            }],
            committed_at: Wall::from_us(self.clock.wall().us()),
            age_us: 0,
        }]);
        version + 1
    }

    pub fn has_heard(&self, user: i64, version: i64) -> bool {
        let heard = self.told.heard.lock().expect("no panic");
        heard
            .iter()
            .any(|commit| commit.user_id.get() == user && commit.version_to == version)
    }

    /// Orders something of all others, and waits for the nodes that it knows of.
    pub async fn order(&self, action: Action, user: i64) -> Others {
        let nodes = self.running.view.borrow().nodes.clone();
        let known = nodes.iter().map(|node| Known {
            name: NodeName {
                node: node.node.to_string(),
                boot: node.boot.to_string(),
            },
            is_awaited: !node.is_silent,
        });
        let user = UserId::new(user).expect("a user id");
        let orders = &self.running.orders;
        orders.ask(action, user, known.collect(), self.clock).await
    }

    /// Whether the partition of a user was distrusted since `forget`.
    pub fn has_distrusted(&self, user: i64) -> bool {
        let partition = Partition::of(UserId::new(user).expect("a user id"));
        let distrusted = self.told.distrusted.lock().expect("no panic");
        distrusted.iter().any(|some| some.has(partition))
    }

    pub fn forget(&self) {
        self.told.distrusted.lock().expect("no panic").clear();
    }

    /// Ends in order, with all of its commits decided or not.
    pub async fn stop(self, is_decided: bool) {
        self.feeding.abort();
        let deadline = self.clock.deadline(Duration::from_secs(10));
        self.running.stop(is_decided, deadline).await;
    }
}

async fn feed(sender: tokio::sync::watch::Sender<NodesTable>, table: Table, clock: Clock) {
    loop {
        sender.send_replace(NodesTable {
            asked_at: Some(clock.mono()),
            rows: table.rows(),
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until all nodes are covered.
pub async fn covered(nodes: &[&Node]) {
    eventually("all nodes are covered", async || {
        nodes.iter().all(|node| node.is_covered()).then_some(())
    })
    .await;
}

/// Waits until none is.
pub async fn uncovered(nodes: &[&Node]) {
    eventually("no node is covered", async || {
        nodes.iter().all(|node| !node.is_covered()).then_some(())
    })
    .await;
}

/// Commits on the first node until all others have heard the latest commit.
pub async fn heard_by_all(nodes: &[&Node], user: i64) {
    let (from, to) = nodes.split_first().expect("a node");
    let version = from.commit(user);
    eventually("a commit is heard", async || {
        to.iter()
            .all(|node| node.has_heard(user, version))
            .then_some(())
    })
    .await;
}
