//! The service of the simulation: one process after another over the same ledger, as the application composes it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use balance_coordinator::config::{Settings, Sources};
use balance_coordinator::coordinator::messages::{InspectRegistry, Shutdown, ToActor, ToUser};
use balance_coordinator::coordinator::pacing::Intervals;
use balance_coordinator::coordinator::{Policy, Recent, Registry, RegistryTotals, Shared};
use balance_coordinator::credentials::access::CurrentAccess;
use balance_coordinator::domain::{Currencies, UserId};
use balance_coordinator::http::session::shared::SessionShared;
use balance_coordinator::ledger::{Admission, Ledger as _};
use balance_coordinator::limits::answer_within;
use balance_coordinator::telemetry::counters::Counters;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::ledger::{Door, SimLedger, TIMEOUT_MS};
use super::oracle::{DEBOUNCE_US, DIRECT_INTERVAL_US, MIN_INTERVAL_US, SWEEP_US, TTL_US};
use super::random::Chance;
use super::world::{World, note};

/// Sessions of one user.
pub const SESSIONS_PER_USER_MAX: usize = 3;

/// How often a process looks at the ledger, in milliseconds.
const LOOK_MS: u64 = 2000;

/// Entries that may wait, in each lane.
const QUEUE_ENTRIES_MAX: usize = 10_000;

/// The service, whichever process of it is running.
pub struct Network {
    pub world: World,
    pub ledger: Arc<SimLedger>,
    settings: Arc<Settings>,
    cache_entries_max: usize,
    process: RefCell<Option<Process>>,
    looking: RefCell<Option<JoinHandle<()>>>,
}

/// What the rest of the simulation knows of the running process.
#[derive(Clone)]
pub struct Process {
    pub number: u64,
    pub sessions: Arc<SessionShared>,
    pub registry: Addr<Registry>,
    pub admission: Admission,
    counters: Arc<Counters>,
}

impl Network {
    /// Starts the first process.
    pub fn start(world: World, ledger: Arc<SimLedger>, chance: &mut Chance) -> Rc<Self> {
        let keys = [(
            "BALANCE_AUTH__SESSION_SECRETS",
            "simulated-session-secret-of-32-bytes",
        )];
        let environment: BTreeMap<String, String> = keys
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let settings = Settings::load(&Sources {
            environment,
            ..Sources::default()
        })
        .expect("these settings are good");
        let cache_entries_max = chance.between(1, 6) as usize;
        let network = Self {
            world,
            ledger,
            settings: Arc::new(settings),
            cache_entries_max,
            process: RefCell::new(None),
            looking: RefCell::new(None),
        };
        network.start_process();
        Rc::new(network)
    }

    /// The running process.
    pub fn process(&self) -> Process {
        self.process
            .borrow()
            .clone()
            .expect("one is always running")
    }

    /// A new process in place of the running one, as after a crash of the machine.
    pub fn start_process(&self) {
        let (orphans, unheard) = mpsc::channel(1000);
        let counters = Arc::new(Counters::default());
        let ledger = Arc::new(self.ledger.open(orphans));
        let shared = Shared {
            ledger: ledger.clone(),
            clock: self.world.clock,
            currencies: Currencies::default(),
            policy: self.policy(),
            counters: counters.clone(),
            coverage: Arc::default(),
            recent: Recent::default(),
        };
        let registry = Registry::new(shared, unheard).start();
        self.look_at_ledger(ledger.clone(), registry.clone());
        let sessions = SessionShared::new(
            self.settings.clone(),
            CurrentAccess::take(&mut Settings::clone(&self.settings)),
            self.world.clock,
            registry.clone(),
            counters.clone(),
            ledger,
        );
        let number = self
            .process
            .borrow()
            .as_ref()
            .map_or(1, |process| process.number + 1);
        note!(self.world, "process {number}");
        let admission = Admission::new(QUEUE_ENTRIES_MAX);
        *self.process.borrow_mut() = Some(Process {
            number,
            sessions: Arc::new(sessions),
            registry,
            admission,
            counters,
        });
        self.world.check(|oracle, now_us| {
            oracle.restarted(now_us);
            Ok(())
        });
    }

    /// As the application does, looks at the ledger every few seconds for as long as the process runs.
    fn look_at_ledger(&self, ledger: Arc<Door>, registry: Addr<Registry>) {
        let earlier = self.looking.replace(Some(actix_rt::spawn(async move {
            while registry.connected() {
                sleep(Duration::from_millis(LOOK_MS)).await;
                // The standing has the result.
                let _ = ledger.ping().await;
            }
        })));
        if let Some(earlier) = earlier {
            earlier.abort();
        }
    }

    /// The running process closes its sessions and takes nothing more.
    pub fn begin_stopping(&self) {
        let process = self.process();
        process.sessions.begin_stopping();
        process
            .registry
            .try_send(Shutdown)
            .expect("the registry has room");
    }

    /// The actor of a user panics, if it is there.
    pub fn crash(&self, user: i64) {
        let user_id = UserId::new(user).expect("a user id");
        self.process()
            .registry
            .try_send(ToUser {
                user_id,
                message: ToActor::Crash,
            })
            .expect("the registry has room");
    }

    /// The registry's totals.
    pub async fn totals(&self) -> RegistryTotals {
        self.process()
            .registry
            .send(InspectRegistry)
            .await
            .expect("the registry lives")
    }

    /// Actors that still owe a fresh balance to somebody.
    pub fn stale_actors(&self) -> u64 {
        self.process().counters.actors_stale.get()
    }

    fn policy(&self) -> Policy {
        Policy {
            intervals: Intervals {
                debounce_us: DEBOUNCE_US,
                min_interval_us: MIN_INTERVAL_US,
                direct_interval_us: DIRECT_INTERVAL_US,
            },
            direct_kinds: self.settings.pacing.direct_kinds.clone(),
            cache_ttl_us: TTL_US,
            cache_entries_max: self.cache_entries_max,
            cache_sweep_ms: SWEEP_US / 1000,
            sessions_per_user_max: SESSIONS_PER_USER_MAX,
            answer_within: answer_within(Duration::from_millis(TIMEOUT_MS)),
            reads_ask_ledger: false,
            checks: None,
            retry_after_ms: TIMEOUT_MS / 5,
        }
    }
}
