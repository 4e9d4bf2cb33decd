//! Registry, ledger and sessions, put together, and what a test does with them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, Wall};
use crate::coordinator::coverage::Coverage;
use crate::coordinator::frames::BalanceView;
use crate::coordinator::journal::Recent;
use crate::coordinator::messages::{
    AttachSession, CloseReason, GetBalance, InspectResident, Outbox, Peer, PostAtomic, PostEntries,
    ToActor, ToUser,
};
use crate::coordinator::pacing::Intervals;
use crate::coordinator::policy::{Policy, Shared};
use crate::coordinator::registry::Registry;
use crate::coordinator::tests::listener::{Die, Listener, Stall};
use crate::domain::{Currencies, Kind, Outcome, SessionId, UserId};
use crate::ledger::memory::{MemoryLedger, entry};
use crate::ledger::{Admission, EntryOutcome, Lane, Ledger as _, LedgerError, PostError, Posted};
use crate::telemetry::counters::Counters;

pub(super) const CACHE_ENTRIES_MAX: usize = 5;
pub(super) const SESSIONS_PER_USER_MAX: usize = 3;

pub(super) const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

pub(super) fn is_overloaded(posted: &Posted) -> bool {
    matches!(
        posted.outcomes[..],
        [EntryOutcome::Failed(PostError::Overloaded)]
    )
}

pub(super) fn version(posted: Posted) -> Result<i64, PostError> {
    match posted.outcomes.into_iter().next() {
        Some(EntryOutcome::Decided {
            outcome: Outcome::Accepted { version, .. },
            ..
        }) => Ok(version),
        Some(EntryOutcome::Failed(error)) => Err(error),
        other => panic!("not accepted: {other:?}"),
    }
}

/// A listener from outside.
pub(super) struct Session {
    pub(super) id: SessionId,
    user_id: UserId,
    address: Addr<Listener>,
    heard: Arc<Mutex<Vec<String>>>,
    release: Mutex<Option<oneshot::Sender<()>>>,
}

impl Session {
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("not poisoned").clone()
    }

    /// After its next message it takes no more, until released.
    pub(super) async fn stall(&self, stalls: bool) {
        let release = if stalls {
            let (release, until) = oneshot::channel();
            self.address.send(Stall(until)).await.expect("alive");
            Some(release)
        } else {
            None
        };
        *self.release.lock().expect("not poisoned") = release;
    }
}

impl Session {
    /// It ends, and its actor is not told.
    pub(super) async fn die(&self) {
        self.address.send(Die).await.expect("alive");
        tokio::task::yield_now().await;
    }
}

pub(super) struct Rig {
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) registry: Addr<Registry>,
    pub(super) coverage: Arc<Coverage>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    admission: Admission,
    sessions: Mutex<u64>,
}

impl Rig {
    pub(super) async fn start() -> Self {
        Self::start_with_cache(CACHE_ENTRIES_MAX).await
    }

    pub(super) async fn start_with_cache(cache_entries_max: usize) -> Self {
        Self::start_as(|policy| policy.cache_entries_max = cache_entries_max).await
    }

    /// With another policy.
    pub(super) async fn start_as(change: impl FnOnce(&mut Policy)) -> Self {
        tokio::time::pause();
        let clock = Clock::virtual_from(1_754_301_900_000_000);
        let (orphans, unheard) = mpsc::channel(16);
        let ledger = Arc::new(MemoryLedger::new(clock, orphans));
        let mut policy = Policy {
            intervals: Intervals {
                debounce_us: 1_500_000,
                min_interval_us: 5_000_000,
                direct_interval_us: 100_000,
            },
            direct_kinds: vec![
                Kind::Deposit,
                Kind::Withdrawal,
                Kind::Adjustment,
                Kind::Reversal,
            ],
            cache_ttl_us: 300_000_000,
            cache_entries_max: CACHE_ENTRIES_MAX,
            cache_sweep_ms: 60_000,
            sessions_per_user_max: SESSIONS_PER_USER_MAX,
            answer_within: Duration::from_secs(5),
            reads_ask_ledger: false,
            checks: None,
            retry_after_ms: 1000,
        };
        change(&mut policy);
        let (coverage, counters) = (Arc::new(Coverage::default()), Arc::new(Counters::default()));
        let shared = Shared {
            ledger: ledger.clone(),
            clock,
            currencies: Currencies::default(),
            policy,
            counters: counters.clone(),
            coverage: coverage.clone(),
            recent: Recent::default(),
        };
        let registry = Registry::new(shared, unheard).start();
        Self {
            ledger,
            registry,
            clock,
            coverage,
            counters,
            admission: Admission::new(100_000),
            sessions: Mutex::new(0),
        }
    }

    /// A figure among the counters of a user's actor, from inside.
    pub(super) async fn counter(&self, user: i64, name: &str) -> u64 {
        let user_id = UserId::new(user).expect("user id");
        let asked = self.registry.send(InspectResident(user_id)).await;
        let (_, from_inside) = asked.expect("alive").expect("resident");
        let shown = serde_json::to_value(from_inside.await.expect("it answers"));
        let counters = &shown.expect("serializable")["counters"];
        counters[name].as_u64().expect("a number")
    }

    /// Lets everything that can happen now happen.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(super) async fn attach(&self, user: i64) -> Session {
        let id = {
            let mut sessions = self.sessions.lock().expect("not poisoned");
            *sessions += 1;
            SessionId(*sessions)
        };
        let heard = Arc::new(Mutex::new(Vec::new()));
        let user_id = UserId::new(user).expect("user id");
        let listener = Listener {
            id,
            user_id,
            registry: self.registry.clone(),
            heard: heard.clone(),
            epoch: self.ledger.standing().epoch_number(),
            last_version: 0,
            stalled: None,
        };
        let address = listener.start();
        tokio::task::yield_now().await;
        Session {
            id,
            user_id,
            address,
            heard,
            release: Mutex::new(None),
        }
    }

    pub(super) async fn tell(&self, user: i64, message: ToActor) {
        let user_id = UserId::new(user).expect("user id");
        self.registry
            .send(ToUser { user_id, message })
            .await
            .expect("alive");
    }

    /// Sent at once; the session has ended.
    pub(super) fn detach(&self, session: &Session) {
        let message = ToActor::DetachSession {
            session_id: session.id,
        };
        self.registry
            .try_send(ToUser {
                user_id: session.user_id,
                message,
            })
            .expect("room");
    }

    /// Sent at once; a reader over HTTP asks.
    pub(super) fn read(
        &self,
        user: i64,
        is_fresh: bool,
    ) -> oneshot::Receiver<Result<BalanceView, LedgerError>> {
        self.read_from(user, is_fresh, None)
    }

    /// The same, for a reader that waits for a version.
    pub(super) fn read_from(
        &self,
        user: i64,
        is_fresh: bool,
        min_version: Option<i64>,
    ) -> oneshot::Receiver<Result<BalanceView, LedgerError>> {
        let (reply, answer) = oneshot::channel();
        let request = GetBalance {
            is_fresh,
            min_version,
            request: None,
            reply,
        };
        self.registry
            .try_send(ToUser {
                user_id: UserId::new(user).expect("user id"),
                message: ToActor::GetBalance(request),
            })
            .expect("room");
        answer
    }

    /// Sent at once; the session asks without waiting for anything.
    pub(super) fn refresh(&self, session: &Session) {
        let attachment = AttachSession {
            is_again: true,
            epoch: self.ledger.standing().epoch_number(),
            session_id: session.id,
            outbox: Outbox::new(session.address.clone().recipient()),
            last_version: 0,
            peer: Peer {
                address: None,
                user_agent: None,
                connected_at: Wall::default(),
            },
        };
        let message = ToActor::RefreshSession {
            session: Box::new(attachment),
            id: None,
        };
        self.registry
            .try_send(ToUser {
                user_id: session.user_id,
                message,
            })
            .expect("room");
    }

    pub(super) async fn begin_post(
        &self,
        user: i64,
        event: &str,
        kind: Kind,
        minor: i64,
        lane: Lane,
    ) -> oneshot::Receiver<Posted> {
        let (reply, answer) = oneshot::channel();
        let permit = self.admission.try_acquire(lane, 1).expect("room");
        let deadline = self.clock.deadline(Duration::from_secs(3600));
        let entries = vec![entry(user, event, kind, minor)];
        self.tell(
            user,
            ToActor::PostEntries(PostEntries {
                entries,
                lane,
                deadline,
                permit,
                reply,
            }),
        )
        .await;
        answer
    }

    /// Postings of one new entry each, sent at once.
    pub(super) fn burst(&self, user: i64, count: usize) -> Vec<oneshot::Receiver<Posted>> {
        self.post_parts(user, (0..count).map(|n| format!("burst:{user}:{n}")))
    }

    /// The same entry of 1 again and again, sent at once.
    pub(super) fn repeat(
        &self,
        user: i64,
        event: &str,
        count: usize,
    ) -> Vec<oneshot::Receiver<Posted>> {
        self.post_parts(user, (0..count).map(|_| event.to_owned()))
    }

    fn post_parts(
        &self,
        user: i64,
        events: impl Iterator<Item = String>,
    ) -> Vec<oneshot::Receiver<Posted>> {
        let user_id = UserId::new(user).expect("user id");
        events
            .map(|event| {
                let (reply, answer) = oneshot::channel();
                let permit = self.admission.try_acquire(Lane::Bulk, 1).expect("room");
                let deadline = self.clock.deadline(Duration::from_secs(3600));
                let entries = vec![entry(user, &event, Kind::Reward, 1)];
                let message = ToActor::PostEntries(PostEntries {
                    entries,
                    lane: Lane::Bulk,
                    deadline,
                    permit,
                    reply,
                });
                self.registry
                    .try_send(ToUser { user_id, message })
                    .expect("room");
                answer
            })
            .collect()
    }

    /// The actor dies with messages behind the one that kills it.
    pub(super) fn crash_with_messages_behind(&self, user: i64) {
        let user_id = UserId::new(user).expect("user id");
        self.registry
            .try_send(ToUser {
                user_id,
                message: ToActor::Crash,
            })
            .expect("room");
        for _ in 0..3 {
            let message = ToActor::CloseSessions(CloseReason::GoingAway);
            self.registry
                .try_send(ToUser { user_id, message })
                .expect("room");
        }
    }

    pub(super) async fn post_atomic(&self, user: i64, count: usize) -> oneshot::Receiver<Posted> {
        let (reply, answer) = oneshot::channel();
        let permit = self.admission.try_acquire(Lane::Bulk, count).expect("room");
        let deadline = self.clock.deadline(Duration::from_secs(3600));
        let entries = (0..count)
            .map(|n| entry(user, &format!("atomic:{n}"), Kind::Reward, 1))
            .collect();
        self.registry
            .send(PostAtomic {
                entries,
                deadline,
                permit,
                reply,
            })
            .await
            .expect("alive");
        answer
    }

    pub(super) async fn post(
        &self,
        user: i64,
        event: &str,
        kind: Kind,
        minor: i64,
    ) -> Result<i64, PostError> {
        version(
            self.begin_post(user, event, kind, minor, Lane::Single)
                .await
                .await
                .expect("answered"),
        )
    }
}
