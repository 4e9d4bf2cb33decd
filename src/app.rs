//! Composing the service, starting it, and stopping it in order, with a deadline for each step.
//!
//! Start: ledger (migrations, writers, read pool) → registry on the coordinator's arbiter → listeners. Stop: take nothing
//! new → close the sessions → answer what was accepted → listeners → coordinator → ledger.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_web::dev::ServerHandle;
use log::{info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::canary;
use crate::canary::schedule;
use crate::clock::{Clock, Deadline};
use crate::config::Settings;
use crate::coordinator::auditing::AuditBoard;
use crate::coordinator::messages::Shutdown;
use crate::coordinator::pacing::Intervals;
use crate::coordinator::{Policy, Recent, Registry, Shared, auditing};
use crate::domain::{Rules, UserId};
use crate::http::{HttpState, server};
use crate::ledger::{LedgerError, Options, SqlLedger};
use crate::telemetry::counters::Counters;

/// What is kept back of the stopping time for the listeners and the ledger, in milliseconds.
const LAST_STEPS_MS: u64 = 2500;

/// How often the running service looks after its parts, in milliseconds.
const WATCH_MS: u64 = 500;

/// How often a stopping service looks whether everything is answered, in milliseconds.
const DRAIN_POLL_MS: u64 = 20;

/// Why the service could not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database does not answer or does not fit.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
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
    /// A bug: something panicked that is not made again.
    #[error("{0} has died; what was under way has an unknown outcome")]
    PartDied(&'static str),
    /// The system refuses threads or signals.
    #[error("the system refuses: {0}")]
    System(#[from] std::io::Error),
}

/// Runs the service until SIGTERM or SIGINT. Blocks. `on_ready` gets the public and the internal address.
///
/// # Errors
/// [`AppError`] when it could not start; stopping is never an error.
pub fn run(
    settings: Settings,
    is_dev: bool,
    on_ready: impl FnOnce(SocketAddr, SocketAddr) + Send + 'static,
) -> Result<(), AppError> {
    let clock = Clock::system();
    let public = listen("server.public_addr", settings.server.public_addr)?;
    let internal = listen("server.internal_addr", settings.server.internal_addr)?;
    let counters = Arc::new(Counters::default());
    let (ledger, unheard) = SqlLedger::open(ledger_options(&settings, clock, counters.clone()))?;
    let ledger = Arc::new(ledger);
    let shutdown_timeout = Duration::from_secs(settings.server.shutdown_timeout_s);

    let served: Result<(), AppError> = System::new().block_on(async {
        let shared = shared(&settings, clock, ledger.clone(), counters.clone());
        let coordinator = Arbiter::try_new()?;
        let registry = Registry::start_in_arbiter(&coordinator.handle(), move |_| {
            Registry::new(shared, unheard)
        });
        let (public_addr, internal_addr) = (public.local_addr()?, internal.local_addr()?);
        let bench = is_dev.then_some(internal_addr);
        let board = Arc::new(AuditBoard::new(
            settings.audit.users_per_s,
            clock,
            counters.clone(),
        ));
        let auditing = actix_web::rt::spawn(auditing::run(
            ledger.clone(),
            registry.clone(),
            board.clone(),
        ));
        let (registry_of, ledger_of) = (registry.clone(), ledger.clone());
        let state = Arc::new(HttpState::new(
            settings,
            bench,
            clock,
            registry_of,
            ledger_of,
            counters,
            board,
        ));
        let testing =
            canary_options(&state, public_addr, internal_addr).map(|(interval, options)| {
                let (runs, counters) = (state.canary.clone(), state.counters.clone());
                let (stop, stopped) = watch::channel(0);
                (
                    stop,
                    actix_web::rt::spawn(schedule::run_every(
                        interval, options, stopped, runs, counters,
                    )),
                )
            });
        let listeners = [
            server::public(public, &state)?,
            server::internal(internal, &state)?,
        ];
        let handles = listeners.each_ref().map(actix_web::dev::Server::handle);
        let running = listeners.map(actix_web::rt::spawn);
        // Before anybody is told that we are there: a signal must find somebody who listens.
        let signals = Signals::listen()?;
        info!("listening on http://{public_addr} (public) and http://{internal_addr} (internal)");
        on_ready(public_addr, internal_addr);

        let ended = wait_for_end(signals, &registry, &ledger).await;
        let deadline = clock.deadline(shutdown_timeout);
        if let Some((stop, running)) = testing {
            stop_testing(&stop, running, deadline).await;
        }
        drain(&state, &registry, deadline).await;
        stop_listeners(&handles, deadline).await;
        // They were told to stop; a failure, or a wait past the deadline, changes nothing any more.
        let _ = actix_web::rt::time::timeout(
            deadline.remaining(),
            futures_util::future::join_all(running),
        )
        .await;
        auditing.abort();
        coordinator.stop();
        stop_ledger(ledger.clone(), deadline).await;
        ended
    });
    served?;
    info!("stopped");
    Ok(())
}

/// What the service tests itself with, and how often, when it does.
fn canary_options(
    state: &HttpState,
    public: SocketAddr,
    internal: SocketAddr,
) -> Option<(Duration, canary::Options)> {
    schedule::prepare(&state.counters);
    let settings = &state.settings;
    let asked = &settings.canary;
    let user_id = i64::try_from(asked.user_id?)
        .ok()
        .and_then(|id| UserId::new(id).ok())?;
    let watch = Duration::from_secs(asked.watch_s);
    let options =
        canary::Options::new(settings, user_id, &asked.currency, &asked.amount, watch).ok()?;
    let options = canary::Options {
        url: reachable(public),
        internal_url: reachable(internal),
        ..options
    };
    (asked.every_s > 0).then(|| (Duration::from_secs(asked.every_s), options))
}

/// A run of the canary takes back what it has deposited, while that is taken.
async fn stop_testing(stop: &watch::Sender<u32>, running: JoinHandle<()>, deadline: Deadline) {
    stop.send_replace(1);
    let abort = running.abort_handle();
    if actix_web::rt::time::timeout(deadline.remaining() / 4, running)
        .await
        .is_err()
    {
        abort.abort();
    }
}

/// A listener's address, as the same machine reaches it.
fn reachable(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    let failed = |source| AppError::Listen {
        key,
        address,
        source,
    };
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        None,
    )
    .map_err(failed)?;
    let prepared = socket
        .set_reuse_address(true)
        .and_then(|()| socket.bind(&address.into()))
        .and_then(|()| socket.listen(LISTEN_BACKLOG))
        .and_then(|()| socket.set_nonblocking(true));
    prepared.map_err(failed)?;
    Ok(socket.into())
}

/// Connections that may wait to be accepted: a whole population that reconnects after a restart.
const LISTEN_BACKLOG: i32 = 4096;

fn ledger_options(settings: &Settings, clock: Clock, counters: Arc<Counters>) -> Options {
    let database = &settings.database;
    Options {
        url: database.url.clone(),
        pool_size: u32::try_from(database.pool_size).unwrap_or(u32::MAX),
        writers: database.writers,
        migrate_on_start: database.migrate_on_start,
        timeout_ms: database.timeout_ms,
        lock_timeout_ms: database.lock_timeout_ms,
        currencies: settings.currencies.clone(),
        rules: Rules {
            auto_create: settings.accounts.auto_create,
        },
        clock,
        counters,
    }
}

fn shared(
    settings: &Settings,
    clock: Clock,
    ledger: Arc<SqlLedger>,
    counters: Arc<Counters>,
) -> Shared {
    let (pacing, cache) = (&settings.pacing, &settings.cache);
    let policy = Policy {
        intervals: Intervals {
            debounce_us: pacing.debounce_ms * 1000,
            min_interval_us: pacing.min_interval_ms * 1000,
            direct_interval_us: pacing.direct_interval_ms * 1000,
        },
        direct_kinds: pacing.direct_kinds.clone(),
        cache_ttl_us: cache.ttl_s * 1_000_000,
        cache_entries_max: cache.max_entries,
        cache_sweep_ms: cache.sweep_s * 1000,
        sessions_per_user_max: settings.limits.sessions_per_user,
        answer_within: crate::limits::answer_within(Duration::from_millis(
            settings.database.timeout_ms,
        )),
        retry_after_ms: crate::http::problem::RETRY_AFTER_S * 1000,
    };
    let epoch = ledger.epoch().to_owned();
    Shared {
        ledger,
        clock,
        currencies: settings.currencies.clone(),
        epoch,
        policy,
        counters,
        recent: Recent::default(),
    }
}

/// The signals that end the service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Heard so that it does not end the process: a file that may not grow is an error of one write.
    _file_too_large: Signal,
}

/// SIGXFSZ: a file has come to the limit on its size (`ulimit -f`).
const FILE_TOO_LARGE: SignalKind = SignalKind::from_raw(25);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_too_large: signal(FILE_TOO_LARGE)?,
        })
    }
}

/// Until a signal, or until a part that nothing else can make again has died: then the process ends, for its supervisor
/// to start it anew.
async fn wait_for_end(
    mut signals: Signals,
    registry: &Addr<Registry>,
    ledger: &SqlLedger,
) -> Result<(), AppError> {
    let mut watch = actix_web::rt::time::interval(Duration::from_millis(WATCH_MS));
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => {
                info!("SIGTERM: stopping");
                return Ok(());
            }
            _ = signals.interrupt.recv() => {
                info!("SIGINT: stopping");
                return Ok(());
            }
            _ = watch.tick() => {
                if !registry.connected() {
                    return Err(AppError::PartDied("the registry"));
                }
                if !ledger.is_running() {
                    return Err(AppError::PartDied("a ledger writer"));
                }
            }
        }
    }
}

/// Takes nothing new, closes the sessions with 1001, and waits until what was accepted is answered.
async fn drain(state: &HttpState, registry: &Addr<Registry>, deadline: Deadline) {
    state.begin_stopping();
    let last_steps = Duration::from_millis(LAST_STEPS_MS).min(deadline.remaining() / 2);
    let patience = deadline.remaining().saturating_sub(last_steps);
    let until = Clock::system().deadline(patience);
    if registry.send(Shutdown).timeout(patience).await.is_err() {
        warn!("the coordinator did not close its sessions in time");
    }
    while !state.is_idle() && !until.has_passed() {
        actix_web::rt::time::sleep(Duration::from_millis(DRAIN_POLL_MS)).await;
    }
    if !state.is_idle() {
        warn!(
            "stopping with unanswered requests or open sessions; their senders see an unknown outcome"
        );
    }
}

async fn stop_listeners(handles: &[ServerHandle; 2], deadline: Deadline) {
    let stop = |graceful| {
        futures_util::future::join_all(handles.iter().map(move |handle| handle.stop(graceful)))
    };
    if actix_web::rt::time::timeout(deadline.remaining() / 2, stop(true))
        .await
        .is_err()
    {
        stop(false).await;
    }
}

/// Lets the writers finish what is queued; what they can't finish in time is given up.
async fn stop_ledger(ledger: Arc<SqlLedger>, deadline: Deadline) {
    let stopping = ledger.clone();
    let (done, mut stopped) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait for its blocking tasks without a bound.
    std::thread::spawn(move || {
        stopping.stop();
        // Nobody waits any more when the deadline has passed.
        let _ = done.send(());
    });
    let patience = deadline.remaining() / 2;
    if actix_web::rt::time::timeout(patience, &mut stopped)
        .await
        .is_err()
    {
        ledger.abort();
        if actix_web::rt::time::timeout(deadline.remaining(), stopped)
            .await
            .is_err()
        {
            warn!(
                "a ledger writer did not stop in time; what it was writing has an unknown outcome"
            );
        }
    }
}
