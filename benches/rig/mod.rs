//! The coordinator on one thread, over a ledger that answers inline, with sessions over byte
//! channels, for the benches and the guard. Nothing here waits for a disk, a socket or another
//! thread.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use balance_coordinator::clock::Clock;
use balance_coordinator::config::{Settings, Sources};
use balance_coordinator::coordinator::messages::{GetBalance, Peer, PostEntries, ToActor, ToUser};
use balance_coordinator::coordinator::pacing::Intervals;
use balance_coordinator::coordinator::{Policy, Recent, Registry, Shared};
use balance_coordinator::credentials::access::CurrentAccess;
use balance_coordinator::domain::{Account, Amount, Balances, Currencies, Kind, NewEntry, UserId};
use balance_coordinator::http::session::shared::SessionShared;
use balance_coordinator::http::start_over;
use balance_coordinator::ledger::memory::MemoryLedger;
pub use balance_coordinator::ledger::memory::entry;
use balance_coordinator::ledger::{Admission, Lane, Posted};
use balance_coordinator::telemetry::counters::Counters;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

/// Entries that may be under way.
const ENTRIES_MAX: usize = 1_000_000;
const DEADLINE: Duration = Duration::from_secs(3600);

/// What a session sends, as bytes of the WebSocket.
pub type Outgoing = Pin<Box<dyn Stream<Item = Result<Bytes, actix_web::Error>>>>;

/// An open session; it ends when dropped.
pub struct Session {
    /// Frames from the service.
    pub frames: Outgoing,
    _incoming: mpsc::UnboundedSender<Result<Bytes, actix_web::error::PayloadError>>,
}

/// A running coordinator.
pub struct Rig {
    registry: Addr<Registry>,
    sessions: Arc<SessionShared>,
    admission: Admission,
    clock: Clock,
    posted: u64,
}

impl Rig {
    /// Starts it on this thread's system, with pushes that do not wait.
    pub fn start() -> Self {
        let clock = Clock::system();
        let (orphans, unheard) = mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        let ledger = Arc::new(MemoryLedger::new(clock, orphans));
        let shared = Shared {
            ledger: ledger.clone(),
            clock,
            currencies: Currencies::default(),
            policy: policy(),
            counters: counters.clone(),
            coverage: Arc::default(),
            recent: Recent::default(),
        };
        let registry = Registry::new(shared, unheard).start();
        let secret = (
            "BALANCE_AUTH__SESSION_SECRETS".to_owned(),
            "the-session-secret-of-the-benches!".to_owned(),
        );
        let sources = Sources {
            environment: [secret].into(),
            ..Sources::default()
        };
        let mut settings = Settings::load(&sources).expect("defaults and a secret");
        let access = CurrentAccess::take(&mut settings);
        let settings = Arc::new(settings);
        let sessions =
            SessionShared::new(settings, access, clock, registry.clone(), counters, ledger);
        Self {
            registry,
            sessions: Arc::new(sessions),
            admission: Admission::new(ENTRIES_MAX),
            clock,
            posted: 0,
        }
    }

    /// Posts a deposit and waits for its answer.
    pub async fn post(&mut self, user: i64) -> Posted {
        self.posted += 1;
        let entry = entry(
            user,
            &format!("rig:{user}:{}", self.posted),
            Kind::Deposit,
            1,
        );
        let (reply, answer) = oneshot::channel();
        let permit = self.admission.try_acquire(Lane::Single, 1).expect("room");
        let deadline = self.clock.deadline(DEADLINE);
        let message = ToActor::PostEntries(PostEntries {
            entries: vec![entry],
            lane: Lane::Single,
            deadline,
            permit,
            reply,
        });
        self.registry
            .try_send(ToUser {
                user_id: id(user),
                message,
            })
            .expect("room");
        answer.await.expect("answered")
    }

    /// Asks for a balance, which makes the actor resident.
    pub async fn ask(&self, user: i64) {
        let (reply, answer) = oneshot::channel();
        let message = ToActor::GetBalance(GetBalance {
            is_fresh: false,
            min_version: None,
            request: None,
            reply,
        });
        self.registry
            .try_send(ToUser {
                user_id: id(user),
                message,
            })
            .expect("room");
        answer
            .await
            .expect("answered")
            .expect("the ledger is there");
    }

    /// Opens a session and takes its first two frames.
    pub async fn open(&self, user: i64) -> Session {
        let token = self
            .sessions
            .access
            .now()
            .keys
            .issue(id(user), 3600, self.clock.now_s())
            .token;
        let (incoming, mut bytes) = mpsc::unbounded_channel();
        let bytes = futures_util::stream::poll_fn(move |cx| bytes.poll_recv(cx));
        let peer = Peer {
            address: None,
            user_agent: None,
            connected_at: self.clock.wall(),
        };
        let frames = start_over(self.sessions.clone(), Some(&token), peer, bytes).expect("room");
        let mut session = Session {
            frames: Box::pin(frames),
            _incoming: incoming,
        };
        let mut seen = Vec::new();
        while !seen
            .windows(SNAPSHOT.len())
            .any(|window| window == SNAPSHOT)
        {
            seen.extend_from_slice(&session.next().await);
        }
        session
    }
}

const SNAPSHOT: &[u8] = br#""snapshot""#;

impl Session {
    /// The next bytes it sends.
    pub async fn next(&mut self) -> Bytes {
        self.frames
            .next()
            .await
            .expect("the session is open")
            .expect("bytes")
    }
}

fn policy() -> Policy {
    Policy {
        intervals: Intervals {
            debounce_us: 1_500_000,
            min_interval_us: 5_000_000,
            direct_interval_us: 0,
        },
        direct_kinds: vec![Kind::Deposit],
        cache_ttl_us: 3_600_000_000,
        cache_entries_max: ENTRIES_MAX,
        cache_sweep_ms: 3_600_000,
        sessions_per_user_max: 16,
        answer_within: DEADLINE,
        reads_ask_ledger: false,
        checks: None,
        retry_after_ms: 1000,
    }
}

/// A user id.
pub fn id(user: i64) -> UserId {
    UserId::new(user).expect("a user id")
}

/// An account with some TON.
pub fn account(version: i64) -> Account {
    let mut balances = Balances::zero(2);
    balances.set(
        Currencies::default().find("TON").expect("a default"),
        Amount::from_minor(1_000_000),
    );
    Account {
        exists: true,
        version,
        balances,
    }
}

/// `count` entries of different users, and their accounts.
pub fn batch(count: usize) -> (Vec<NewEntry>, HashMap<UserId, Account>) {
    let count = i64::try_from(count).expect("a small number");
    let entries: Vec<NewEntry> = (1..=count)
        .map(|n| {
            entry(
                n,
                &format!("farm:{n}:2025-08-04T10:05:00Z:rewards"),
                Kind::Reward,
                5,
            )
        })
        .collect();
    let accounts = entries
        .iter()
        .map(|entry| (entry.user_id, account(7)))
        .collect();
    (entries, accounts)
}

/// Runs a future on an actix system of its own.
pub fn on_system<T>(work: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(work)
}
