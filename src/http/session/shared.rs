//! State that the sessions of all workers share. It uses the ledger only to sign clients in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix::Addr;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::config::Settings;
use crate::coordinator::Registry;
use crate::coordinator::messages::Peer;
use crate::credentials::access::CurrentAccess;
use crate::credentials::session_token::Session;
use crate::domain::SessionId;
use crate::http::extract::rate_limit::Rate;
use crate::http::extract::sign_in::{Credentials, SignIn, SignedIn};
use crate::http::session::frames::End;
use crate::ledger::{Epoch, Ledger};
use crate::telemetry::counters::Counters;

/// How often a session that is not attached yet checks whether the service is stopping, in milliseconds.
pub(super) const STOPPING_CHECK_MS: u64 = 200;

/// Shared by all sessions of a process.
pub struct SessionShared {
    /// The settings the service was started with, without what is in `access`.
    pub settings: Arc<Settings>,
    /// Who may come in.
    pub access: Arc<CurrentAccess>,
    /// Says the epoch.
    ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Clock,
    /// Routes messages to balance actors.
    pub registry: Addr<Registry>,
    /// Metrics.
    pub counters: Arc<Counters>,
    /// Checks the credentials of clients.
    pub(in crate::http) sign_in: SignIn,
    is_stopping: AtomicBool,
    next_id: AtomicU64,
}

impl std::fmt::Debug for SessionShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionShared").finish_non_exhaustive()
    }
}

impl SessionShared {
    /// Composes it.
    pub fn new(
        settings: Arc<Settings>,
        access: Arc<CurrentAccess>,
        clock: Clock,
        registry: Addr<Registry>,
        counters: Arc<Counters>,
        ledger: Arc<dyn Ledger>,
    ) -> Self {
        // Each close code starts at zero, so that the first close shows as an increase.
        for code in End::ALL
            .map(|end| end.frame().0)
            .into_iter()
            .chain([GOODBYE, BROKEN])
        {
            counters
                .sessions_closed
                .with_label_values(&[code.to_string()]);
        }
        counters
            .sessions_limit
            .set(i64::try_from(settings.limits.sessions).unwrap_or(i64::MAX));
        let auto_create = settings.accounts.auto_create;
        Self {
            sign_in: SignIn::new(access.clone(), auto_create, ledger.clone(), clock),
            settings,
            access,
            ledger,
            clock,
            registry,
            counters,
            is_stopping: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
        }
    }

    /// Refuses new sessions from now on, and closes those that are not signed in yet.
    pub fn begin_stopping(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    /// Whether the service is stopping.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// The ledger's epoch.
    pub(super) fn epoch(&self) -> Epoch {
        self.ledger.standing().epoch()
    }

    pub(super) fn next_id(&self) -> SessionId {
        SessionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn message_rate(&self) -> Rate {
        let limits = &self.settings.limits;
        Rate {
            per_s: limits.ws_messages_per_s,
            burst: limits.ws_messages_burst,
        }
    }
}

/// A place among all sessions (`limits.sessions`); released when dropped.
#[derive(Debug)]
pub(super) struct SessionPlace {
    shared: Arc<SessionShared>,
    /// The session's close code so far; `None` before the session has opened.
    code: Option<u16>,
}

/// The client closed the session.
const GOODBYE: u16 = 1000;

/// The connection ended without a close frame.
const BROKEN: u16 = 1006;

impl SessionPlace {
    pub(super) fn take(shared: &Arc<SessionShared>) -> Option<Self> {
        let sessions_max = shared.settings.limits.sessions as u64;
        shared
            .counters
            .sessions
            .try_take(sessions_max)
            .then(|| Self {
                shared: shared.clone(),
                code: None,
            })
    }

    /// The session has opened.
    pub(super) fn opened(&mut self) {
        self.shared.counters.sessions_opened.inc();
        self.code = Some(BROKEN);
    }

    /// The session closes with this code.
    pub(super) fn closes(&mut self, code: u16) {
        self.code = Some(code);
    }

    /// The client closes the session, with any code.
    pub(super) fn client_closes(&mut self) {
        self.code = Some(GOODBYE);
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        let counters = &self.shared.counters;
        counters.sessions.down();
        if let Some(code) = self.code {
            counters
                .sessions_closed
                .with_label_values(&[code.to_string()])
                .inc();
        }
    }
}

/// Everything that a new session needs.
pub(super) struct Opening {
    pub(super) shared: Arc<SessionShared>,
    pub(super) place: SessionPlace,
    /// From a header or a subprotocol, if there are any.
    pub(super) credentials: Option<Credentials<'static>>,
    pub(super) peer: Peer,
}

/// Waits for the ledger at most `limits.auth_timeout_ms`, and not at all once the service is stopping.
pub(super) async fn patiently(
    shared: Arc<SessionShared>,
    answer: impl Future<Output = SignedIn>,
) -> Result<Session, End> {
    let stopping = async {
        while !shared.is_stopping() {
            sleep(Duration::from_millis(STOPPING_CHECK_MS)).await;
        }
    };
    tokio::select! {
        result = answer => result.map_err(End::from),
        () = stopping => Err(End::GoingAway),
        // Not the client's fault, so it may come back.
        () = sleep(Duration::from_millis(shared.settings.limits.auth_timeout_ms)) => Err(End::Overloaded),
    }
}
