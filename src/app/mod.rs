//! Composing the service, starting it, and stopping it in order, with a deadline for each step.
//!
//! Start: ledger (migrations, writers, read pool) → registry on the coordinator's arbiter → listeners. Stop: take
//! nothing new → close the sessions → answer what was accepted → listeners → coordinator → ledger.
//!
//! `parts.rs` makes the parts from the settings, `prepare.rs` opens the ledger, `listen.rs` opens the listening sockets,
//! `development.rs` is what `--dev` adds, `stop.rs` watches and stops.
//! Start reading at [`run`].

mod development;
mod listen;
mod parts;
pub mod prepare;
mod stop;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_web::dev::ServerHandle;
use actix_web::rt::spawn;
use log::info;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::canary::schedule;
use crate::clock::{Clock, Mono};
use crate::cluster::joined::{BusFeed, Joined};
use crate::cluster::nats::NatsOptions;
use crate::cluster::overview::Overview;
use crate::cluster::presence::Kept;
use crate::cluster::publisher::Outgoing;
use crate::config::{ConfigError, Settings};
use crate::coordinator::auditing::AuditBoard;
use crate::coordinator::messages::InspectRegistry;
use crate::coordinator::{Coverage, Registry, auditing};
use crate::credentials::access::CurrentAccess;
use crate::http::session::shared::SessionShared;
use crate::http::{Dev, HttpState, keep_history, server};
use crate::ledger::{Feed, LedgerError, Orphan, SqlLedger, outbox};
use crate::platform::{self, StopSignals};
use crate::telemetry::counters::Counters;
use development::Development;
use listen::{listen, reachable};
use prepare::{logged, prepare};

/// Why the service could not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A setting that only the attempt shows to be wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another epoch of the ledger has begun. In a cluster a process then starts over.
    #[error("another epoch of the ledger has begun: this process of a cluster starts over")]
    EpochBegan,
    /// The database does not answer or does not fit.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What is written now would be missing after a restart.
    #[error("the file of the ledger was removed or replaced while the service ran")]
    FileLost,
    /// An address can't be listened on.
    #[error("{key} {address}: {source}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A bug: a part has panicked that is not made again.
    #[error("{0} has died; what was under way has an unknown outcome")]
    PartDied(&'static str),
    /// The system refuses threads or signals.
    #[error("the system refuses: {0}")]
    System(#[from] std::io::Error),
}

/// Runs the service until SIGTERM or SIGINT. Blocks. `access` may change meanwhile. `on_ready` gets the public and the
/// internal address.
///
/// # Errors
/// [`AppError`] when it could not start; stopping is never an error.
pub fn run(
    settings: Settings,
    access: Arc<CurrentAccess>,
    is_dev: bool,
    mut signals: StopSignals,
    on_ready: impl FnOnce(SocketAddr, SocketAddr) + Send + 'static,
) -> Result<(), AppError> {
    let clock = Clock::system();
    let sockets = [
        listen("server.public_addr", settings.server.public_addr)?,
        listen("server.internal_addr", settings.server.internal_addr)?,
    ];
    let counters = Arc::new(Counters::default());
    let coverage = Arc::<Coverage>::default();
    let (feed, bus) = match settings.cluster.is_on() {
        true => {
            let options = NatsOptions::of(&settings.cluster)?;
            let (feed, outgoing) = BusFeed::new(coverage.clone(), clock);
            let feed: Arc<dyn Feed> = Arc::new(feed);
            (Some(feed), Some((options, outgoing)))
        }
        false => (None, None),
    };
    let options = parts::ledger_options(&settings, clock, counters.clone(), feed);
    let shutdown_timeout = Duration::from_secs(settings.server.shutdown_timeout_s);

    let served: Result<(), AppError> = System::new().block_on(async {
        if let Some((options, _)) = &bus {
            options.first_contact().await?;
        }
        let open = move |progress: &_| SqlLedger::open(options, progress);
        let Some((ledger, orphans)) = prepare(&mut signals, logged(), open).await? else {
            return Ok(());
        };
        let own = parts::own_node(&settings, clock);
        let overview = Overview::new(own, coverage.clone(), counters.clone(), clock);
        let core = Core {
            clock,
            access,
            counters,
            ledger: Arc::new(ledger),
            overview: Arc::new(overview),
            coverage,
        };
        let [public_addr, internal_addr] = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        let starting = Service::start(settings, is_dev, &core, orphans, (sockets, bus));
        let service = tokio::select! {
            biased;
            // Nothing has been accepted yet.
            signal = signals.next() => {
                info!("{signal}: stopping before the start was complete");
                return Ok(());
            }
            service = starting => service?,
        };
        platform::survive_file_size_limit()?;
        info!("listening on http://{public_addr} (public) and http://{internal_addr} (internal)");
        on_ready(public_addr, internal_addr);

        let ended = stop::wait_for_end(signals, &service, &core.ledger).await;
        service.stop(clock.deadline(shutdown_timeout)).await;
        ended
    });
    served?;
    info!("stopped");
    Ok(())
}

/// What the other parts are built on.
struct Core {
    clock: Clock,
    access: Arc<CurrentAccess>,
    counters: Arc<Counters>,
    ledger: Arc<SqlLedger>,
    coverage: Arc<Coverage>,
    overview: Arc<Overview>,
}

/// How long a start tries to be known to the other processes.
const ENTER: Duration = Duration::from_secs(15);

/// The parts of a running service that have to be stopped.
struct Service {
    ledger: Arc<SqlLedger>,
    coordinator: Arbiter,
    registry: Addr<Registry>,
    state: Arc<HttpState>,
    auditing: JoinHandle<()>,
    keeping_history: JoinHandle<()>,
    watching_feed: JoinHandle<()>,
    presence: Option<Kept>,
    joined: Option<Joined>,
    canary: Option<Canary>,
    development: Option<Development>,
    handles: [ServerHandle; 2],
    listeners: [JoinHandle<std::io::Result<()>>; 2],
}

/// The canary that the service runs on itself.
struct Canary {
    interrupt: watch::Sender<u32>,
    running: JoinHandle<()>,
}

impl Service {
    /// Starts everything on top of the ledger. `sockets` are the public and the internal one.
    async fn start(
        settings: Settings,
        is_dev: bool,
        core: &Core,
        orphans: mpsc::Receiver<Orphan>,
        (sockets, bus): ([TcpListener; 2], Option<(NatsOptions, Outgoing)>),
    ) -> Result<Self, AppError> {
        let [public, internal] = sockets;
        let (public_addr, internal_addr) = (public.local_addr()?, internal.local_addr()?);
        let ledger = core.ledger.clone();
        let shared = parts::shared(&settings, core);
        let coordinator = Arbiter::try_new()?;
        let registry = Registry::start_in_arbiter(&coordinator.handle(), move |_| {
            Registry::new(shared, orphans)
        });
        // Until it has started, its mailbox holds 16 messages: the first requests after a start would be refused.
        registry
            .send(InspectRegistry)
            .await
            .map_err(|_| AppError::PartDied("the registry"))?;
        let joined = match bus {
            Some((options, outgoing)) => {
                core.coverage.cover_until(Mono::default());
                let process = parts::process(&settings, core, registry.clone());
                Some(Joined::start(
                    &settings.cluster,
                    options,
                    outgoing,
                    process,
                )?)
            }
            None => None,
        };
        let presence = match parts::presence(core, joined.as_ref()) {
            // Before anything is answered: others may have committed what this process has not seen, and have to know of it
            // before it commits.
            Some(presence) => Some(presence.enter(core.clock.deadline(ENTER)).await?),
            None => None,
        };
        let board = Arc::new(AuditBoard::new(
            settings.audit.users_per_s,
            core.clock,
            core.counters.clone(),
        ));
        let auditing = auditing::run(
            ledger.clone(),
            registry.clone(),
            board.clone(),
            core.coverage.clone(),
        );
        let auditing = spawn(auditing);
        let watching_feed = spawn(outbox::watch(ledger.clone()));
        let development = if is_dev {
            let internal_url = reachable(internal_addr);
            Development::start(&settings, core.access.clone(), internal_url, core.clock)?
        } else {
            None
        };
        let sessions = SessionShared::new(
            Arc::new(settings),
            core.access.clone(),
            core.clock,
            registry.clone(),
            core.counters.clone(),
            ledger.clone(),
        );
        let mut state = HttpState::new(sessions, ledger.clone(), board, core.overview.clone());
        state.dev = is_dev.then(|| Dev {
            internal_addr,
            chain: development.as_ref().map(|one| one.chain.clone()),
        });
        let state = Arc::new(state);
        let keeping_history = spawn(keep_history(state.clone()));
        let urls = (reachable(public_addr), reachable(internal_addr));
        let canary = Canary::start(&state, urls, core.coverage.clone());
        let listeners = [
            server::public(public, &state)?,
            server::internal(internal, &state)?,
        ];
        Ok(Self {
            ledger,
            coordinator,
            registry,
            state,
            auditing,
            keeping_history,
            watching_feed,
            presence,
            joined,
            canary,
            development,
            handles: listeners.each_ref().map(actix_web::dev::Server::handle),
            listeners: listeners.map(spawn),
        })
    }
}

impl Canary {
    /// `None` when the settings ask for no runs.
    fn start(state: &HttpState, urls: (String, String), coverage: Arc<Coverage>) -> Option<Self> {
        schedule::prepare(&state.counters);
        let access = state.access.clone();
        let (interval, options) = parts::canary_options(&state.settings, access, urls)?;
        let (runs, counters) = (state.canary.clone(), state.counters.clone());
        let (interrupt, interrupts) = watch::channel(0);
        let running =
            schedule::run_every(interval, options, interrupts, runs, counters, move || {
                coverage.is_first()
            });
        Some(Self {
            interrupt,
            running: spawn(running),
        })
    }
}
