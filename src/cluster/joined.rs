//! This process on the bus: what its ledger commits goes out, what is heard goes to its actors, and what the tracker finds
//! decides whether its memory is trusted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::Addr;
use tokio::sync::Semaphore;

use crate::clock::{Clock, Deadline, Mono, Wall};
use crate::cluster::bus::Sink;
use crate::cluster::carrying::{Here, members};
use crate::cluster::nats::NatsOptions;
use crate::cluster::orders::{CARRIED_MS, Reply};
use crate::cluster::overview::Overview;
use crate::cluster::publisher::{Outgoing, Publisher};
use crate::cluster::running::{Parts, Running};
use crate::cluster::tracker::Member;
use crate::cluster::view::NodesTable;
use crate::cluster::wire::{Action, Boot, Origin};
use crate::config::Cluster;
use crate::coordinator::heard::{HeardCommit, HeardEntries, Partitions};
use crate::coordinator::messages::HearCommits;
use crate::coordinator::{Coverage, Registry};
use crate::domain::{Currencies, UserId};
use crate::ledger::{Feed, Ledger, Nodes, SqlLedger, UserCommit};
use crate::planted::{Plant, is_planted};
use crate::telemetry::counters::Counters;

/// Orders of other nodes that are carried out at once. More are not, and their nodes are told nothing.
const CARRIED_MAX: usize = 64;

/// What this process commits, on its way to the bus.
#[derive(Debug)]
pub struct BusFeed {
    publisher: Publisher,
    coverage: Arc<Coverage>,
    clock: Clock,
}

impl BusFeed {
    /// And where it comes out.
    pub fn new(coverage: Arc<Coverage>, clock: Clock) -> (Self, Outgoing) {
        let (publisher, outgoing) = Publisher::new(clock);
        let feed = Self {
            publisher,
            coverage,
            clock,
        };
        (feed, outgoing)
    }
}

impl Feed for BusFeed {
    fn begins(&self, at: Mono) {
        self.publisher.begins(at);
    }

    fn told(&self, since: Mono) {
        self.publisher.told(since);
    }

    fn committed(&self, commits: Vec<UserCommit>) {
        let now = self.clock.wall();
        for transaction in commits.chunk_by(|one, next| one.committed_at_us == next.committed_at_us)
        {
            let heard = transaction.iter().map(|commit| heard(commit, now));
            self.publisher.publish(heard.collect());
        }
    }

    /// The others see a gap. So does this process: the sender may ask another one what became of the entry, and what was
    /// committed would be missing here until the next round.
    fn doubtful(&self, users: Vec<UserId>) {
        if is_planted(Plant::DoubtForgotten) {
            return;
        }
        let partitions = Partitions::of(users.into_iter());
        self.coverage.distrust(partitions, self.clock.mono());
        self.publisher.skip(partitions);
    }
}

fn heard(commit: &UserCommit, now: Wall) -> HeardCommit {
    let committed_at = Wall::from_us(commit.committed_at_us);
    let entries = commit.entries.iter();
    let entries = entries.map(|(kind, source, count)| HeardEntries {
        kind: *kind,
        source: source.clone(),
        count: *count,
    });
    HeardCommit {
        user_id: commit.user_id,
        version_from: commit.version_from,
        version_to: commit.version_to,
        balances: commit.balances.clone(),
        entries: entries.collect(),
        committed_at,
        age_us: now.us_since(committed_at),
    }
}

/// Takes what is heard.
pub struct ProcessSink {
    registry: Addr<Registry>,
    coverage: Arc<Coverage>,
    ledger: Arc<dyn Ledger>,
    /// The ledger is being asked for its epoch.
    is_asking: Arc<AtomicBool>,
    here: Here,
    carried: Arc<Semaphore>,
}

impl ProcessSink {
    /// For one process.
    pub fn new(
        registry: Addr<Registry>,
        coverage: Arc<Coverage>,
        ledger: Arc<dyn Ledger>,
        clock: Clock,
    ) -> Self {
        Self {
            here: Here {
                registry: registry.clone(),
                coverage: coverage.clone(),
                clock,
            },
            registry,
            coverage,
            ledger,
            is_asking: Arc::default(),
            carried: Arc::new(Semaphore::new(CARRIED_MAX)),
        }
    }
}

impl Sink for ProcessSink {
    fn deliver(&mut self, heard: Vec<HeardCommit>) -> bool {
        self.registry.try_send(HearCommits(heard)).is_ok()
    }

    fn distrust(&mut self, partitions: Partitions, now: Mono) {
        self.coverage.distrust(partitions, now);
    }

    fn cover_until(&mut self, until: Mono) {
        self.coverage.cover_until(until);
    }

    /// A look at the ledger finds out which one is right, and has everything begin anew when this process is behind.
    fn other_epoch(&mut self, _: &str) {
        if self.is_asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (look, is_asking) = (self.ledger.ping(), self.is_asking.clone());
        tokio::spawn(async move {
            // What it found is told by the ledger itself.
            let _ = look.await;
            is_asking.store(false, Ordering::Release);
        });
    }

    fn order(&mut self, by: &str, action: Action, user_id: UserId, reply: Reply) {
        let Ok(place) = self.carried.clone().try_acquire_owned() else {
            log::warn!("cluster: too many orders, {action:?} of user {user_id} is not carried out");
            return;
        };
        if action != Action::Inspect {
            log::info!(
                "cluster: {} of user {user_id}, ordered at {by}",
                action.as_str()
            );
        }
        let here = self.here.clone();
        tokio::spawn(async move {
            let carrying = here.carry_out(action, user_id);
            let patience = Duration::from_millis(CARRIED_MS);
            if let Ok(Ok(answer)) = tokio::time::timeout(patience, carrying).await {
                reply.answer(members(answer));
            }
            drop(place);
        });
    }
}

/// What a process needs to join.
pub struct Process {
    /// For the currencies' names on the bus.
    pub currencies: Currencies,
    /// The clock of all parts.
    pub clock: Clock,
    /// Where it is counted.
    pub counters: Arc<Counters>,
    /// Where commits go that are heard.
    pub registry: Addr<Registry>,
    /// Told what is heard of.
    pub coverage: Arc<Coverage>,
    /// Asked for its epoch.
    pub ledger: Arc<SqlLedger>,
    /// Shows what is known of the others.
    pub overview: Arc<Overview>,
}

/// A process that has joined.
#[derive(Debug)]
pub struct Joined(Running);

impl Joined {
    /// Starts the thread. Until it has heard of all others, memory is not trusted.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        settings: &Cluster,
        options: NatsOptions,
        outgoing: Outgoing,
        process: Process,
    ) -> std::io::Result<Self> {
        let own = process.overview.own();
        let parts = Parts {
            own: Origin {
                epoch: process.ledger.standing().epoch().name,
                node: own.node.as_str().into(),
                boot: boot(&own.boot),
            },
            currencies: process.currencies,
            clock: process.clock,
            counters: process.counters,
            outgoing,
            sink: ProcessSink::new(
                process.registry,
                process.coverage,
                process.ledger,
                process.clock,
            ),
        };
        let running = Running::start(settings, options, parts)?;
        let (view, orders) = (running.view.clone(), running.orders.clone());
        process.overview.sees_bus(view, orders);
        Ok(Self(running))
    }

    /// Takes the table of nodes, each time that it was read.
    pub fn table(&self) -> impl Fn(&Nodes, Mono) + use<> {
        let table = self.0.table.clone();
        move |nodes, asked_at| {
            table.send_replace(nodes_table(nodes, asked_at));
        }
    }

    /// Ends it, and tells the others that nothing follows if that is so; after the last commit.
    pub async fn stop(self, nothing_follows: bool, deadline: Deadline) {
        self.0.stop(nothing_follows, deadline).await;
    }
}

/// The table of nodes as the tracker takes it.
pub fn nodes_table(nodes: &Nodes, asked_at: Mono) -> NodesTable {
    let rows = nodes.others.iter().map(|node| Member {
        node: node.node.as_str().into(),
        boot: boot(&node.boot),
        age_us: u64::try_from(nodes.now_us - node.seen_at_us).unwrap_or(0),
        has_bus: node.has_bus,
    });
    NodesTable {
        asked_at: Some(asked_at),
        rows: rows.collect(),
    }
}

/// A row that another program has written may hold anything; such a node is one that is never heard.
fn boot(text: &str) -> Boot {
    Boot::parse(text).unwrap_or_else(|| Boot::parse("unreadable").expect("a word"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::heard::Partition;

    #[test]
    fn an_entry_of_unknown_fate_is_looked_for_by_its_own_process_too() {
        let (clock, coverage) = (Clock::system(), Arc::<Coverage>::default());
        let user = UserId::new(7).expect("a user id");
        let before = clock.mono();
        let (feed, _outgoing) = BusFeed::new(coverage.clone(), clock);
        assert!(coverage.trusts(user, before, clock.mono()));
        feed.doubtful(vec![user, user]);
        let other = UserId::new(8).expect("a user id");
        assert!(coverage.distrusted_at(Partition::of(user)) >= before);
        assert_eq!(
            coverage.distrusted_at(Partition::of(other)),
            Mono::default()
        );
    }
}
