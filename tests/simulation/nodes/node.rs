//! One node: the real registry, sessions, exchange and tracker over its door to the store and its place on the bus.
//!
//! All its tasks run in a task set of its own. While that is not polled, the node stands still, as a process that was
//! stopped; when it is dropped, the node is killed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix::prelude::*;
use balance_coordinator::clock::Mono;
use balance_coordinator::cluster::exchange::Exchange;
use balance_coordinator::cluster::joined::{BusFeed, ProcessSink, nodes_table};
use balance_coordinator::cluster::orders::Orders;
use balance_coordinator::cluster::running::times;
use balance_coordinator::cluster::tracker::Tracker;
use balance_coordinator::cluster::view::{ClusterView, NodesTable};
use balance_coordinator::cluster::wire::{Boot, Origin};
use balance_coordinator::config::{Settings, Sources};
use balance_coordinator::coordinator::messages::InspectRegistry;
use balance_coordinator::coordinator::pacing::Intervals;
use balance_coordinator::coordinator::{Checks, Coverage, Policy, Recent, Registry, Shared};
use balance_coordinator::credentials::access::CurrentAccess;
use balance_coordinator::domain::Currencies;
use balance_coordinator::http::session::shared::SessionShared;
use balance_coordinator::ledger::{Admission, Ledger as _};
use balance_coordinator::limits::{NODE_BEAT_MS, answer_within};
use balance_coordinator::telemetry::counters::Counters;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep;

use super::bus::Hub;
use super::oracle::{DEBOUNCE_US, DIRECT_INTERVAL_US, MIN_INTERVAL_US, NodesOracle};
use super::plan::Plan;
use super::store::{Statements, Store};

/// `database.timeout_ms`.
pub const TIMEOUT_MS: u64 = 2000;

/// What a task that runs on the node is given.
pub struct Process {
    pub sessions: Arc<SessionShared>,
    pub registry: Addr<Registry>,
    pub admission: Admission,
}

type Call = Box<dyn FnOnce(&Process)>;

/// Where all nodes run.
#[derive(Clone)]
pub struct Surroundings {
    pub oracle: NodesOracle,
    pub store: Arc<Store>,
    pub hub: Hub,
    pub settings: Arc<Settings>,
    pub plan: Plan,
}

/// What is seen of a run of a node from outside.
#[derive(Clone)]
pub struct Seen {
    pub boot: String,
    pub coverage: Arc<Coverage>,
    pub counters: Arc<Counters>,
    pub statements: Arc<Statements>,
    pub view: watch::Receiver<ClusterView>,
}

/// A run of a node.
pub struct RunningNode {
    pub seen: Seen,
    stop: watch::Sender<bool>,
    stands_still: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
    tasks: JoinHandle<()>,
    calls: mpsc::UnboundedSender<Call>,
}

/// The settings of every node.
pub fn settings() -> Arc<Settings> {
    let keys = [
        (
            "BALANCE_AUTH__SESSION_SECRETS",
            "simulated-session-secret-of-32-bytes",
        ),
        ("BALANCE_CLUSTER__NODE", "simulated"),
    ];
    let environment: BTreeMap<String, String> = keys
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let sources = Sources {
        environment,
        ..Sources::default()
    };
    Arc::new(Settings::load(&sources).expect("these settings are good"))
}

impl RunningNode {
    /// Starts it; `run` counts its starts.
    pub fn start(around: &Surroundings, node: usize, run: u64) -> Self {
        let local = LocalSet::new();
        let (calls, inbox) = mpsc::unbounded_channel();
        let (view, seen_view) = watch::channel(ClusterView::default());
        let (stop, stopped) = watch::channel(false);
        let seen = Seen {
            boot: format!("{node}-{run}"),
            coverage: Arc::default(),
            counters: Arc::default(),
            statements: Arc::default(),
            view: seen_view,
        };
        seen.coverage.cover_until(Mono::default());
        around.oracle.starts(node, seen.clone());
        let ends = Ends {
            calls: inbox,
            stop: stopped,
            view,
        };
        local.spawn_local(live(around.clone(), node, seen.clone(), ends));
        let stands_still = Rc::new(Cell::new(false));
        let waker = Rc::new(RefCell::new(None));
        let tasks = Tasks {
            local,
            stands_still: stands_still.clone(),
            waker: waker.clone(),
        };
        Self {
            seen,
            stop,
            stands_still,
            waker,
            tasks: actix_rt::spawn(tasks),
            calls,
        }
    }

    /// It stands still, or goes on.
    pub fn stand_still(&self, stands_still: bool) {
        self.stands_still.set(stands_still);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Tells the others that nothing follows.
    pub fn leave(&self) {
        self.stop.send_replace(true);
    }

    /// Ends at once, as by a signal that can't be caught.
    pub fn kill(&self) {
        self.tasks.abort();
    }

    /// Runs something on it, when it does not stand still.
    pub fn call(&self, call: impl FnOnce(&Process) + 'static) {
        // A node that was killed takes no calls.
        let _ = self.calls.send(Box::new(call));
    }
}

/// All that runs on a node.
struct Tasks {
    local: LocalSet,
    stands_still: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
}

impl Future for Tasks {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        if self.stands_still.get() {
            return Poll::Pending;
        }
        pin!(&mut self.local).poll(cx)
    }
}

/// What a run is told, and where it tells.
struct Ends {
    calls: mpsc::UnboundedReceiver<Call>,
    stop: watch::Receiver<bool>,
    view: watch::Sender<ClusterView>,
}

/// As the application composes it.
async fn live(around: Surroundings, node: usize, seen: Seen, ends: Ends) {
    let Surroundings {
        oracle,
        store,
        hub,
        settings,
        plan,
    } = around;
    let Seen {
        boot,
        coverage,
        counters,
        statements,
        ..
    } = seen;
    let Ends {
        mut calls,
        stop,
        view,
    } = ends;
    let clock = oracle.clock();
    let (orphans, unheard) = mpsc::channel(1000);
    let (feed, outgoing) = BusFeed::new(coverage.clone(), clock);
    // The row is there before the first beat and the first commit.
    let (table, table_receiver) = watch::channel(NodesTable::default());
    let bus = hub.open(node, &boot);
    let ledger = store.open((node, &boot), statements, Arc::new(feed), orphans);
    let shared = Shared {
        ledger: ledger.clone(),
        clock,
        currencies: Currencies::default(),
        policy: policy(&settings, &plan),
        counters: counters.clone(),
        coverage: coverage.clone(),
        recent: Recent::default(),
    };
    while renew(&store, (node, &boot), clock.mono(), &table)
        .await
        .is_none()
    {
        sleep(Duration::from_millis(200)).await;
    }
    let registry = Registry::new(shared, unheard).start();
    // As the service does: until it has started, its mailbox holds 16 messages.
    registry.send(InspectRegistry).await.expect("it runs");
    let sink = ProcessSink::new(registry.clone(), coverage, ledger.clone(), clock);
    let own = Origin {
        epoch: ledger.standing().epoch().name,
        node: format!("n{node}").as_str().into(),
        boot: Boot::parse(&boot).expect("a word"),
    };
    let (_orders, desk) = Orders::new();
    let exchange = Exchange {
        bus,
        sink,
        tracker: Tracker::new(own, times(&settings.cluster)),
        currencies: Currencies::default(),
        clock,
        counters: counters.clone(),
        outgoing,
        desk,
        table: table_receiver,
        stop,
        view,
        beat: Duration::from_millis(settings.cluster.beat_ms),
    };
    actix_rt::spawn(exchange.run());
    let look = ledger.clone();
    actix_rt::spawn(async move {
        loop {
            sleep(Duration::from_millis(NODE_BEAT_MS)).await;
            renew(&store, (node, &boot), clock.mono(), &table).await;
            // The standing has the result.
            let _ = look.ping().await;
        }
    });
    let access = CurrentAccess::take(&mut Settings::clone(&settings));
    let sessions = SessionShared::new(settings, access, clock, registry.clone(), counters, ledger);
    let process = Process {
        sessions: Arc::new(sessions),
        registry,
        admission: Admission::new(10_000),
    };
    while let Some(call) = calls.recv().await {
        call(&process);
    }
}

async fn renew(
    store: &Store,
    (node, boot): (usize, &str),
    began: Mono,
    table: &watch::Sender<NodesTable>,
) -> Option<()> {
    let nodes = store.renew(node, boot).await?;
    table.send_replace(nodes_table(&nodes, began));
    Some(())
}

fn policy(settings: &Settings, plan: &Plan) -> Policy {
    Policy {
        intervals: Intervals {
            debounce_us: DEBOUNCE_US,
            min_interval_us: MIN_INTERVAL_US,
            direct_interval_us: DIRECT_INTERVAL_US,
        },
        direct_kinds: settings.pacing.direct_kinds.clone(),
        cache_ttl_us: 60_000_000,
        cache_entries_max: 4,
        cache_sweep_ms: 10_000,
        sessions_per_user_max: 8,
        answer_within: answer_within(Duration::from_millis(TIMEOUT_MS)),
        reads_ask_ledger: !plan.reads_memory,
        checks: Some(Checks {
            every_ms: plan.check_us / 1000,
            users_per_s: settings.cluster.check_users_per_s,
        }),
        retry_after_ms: TIMEOUT_MS / 5,
    }
}
