//! How actors and the registry look from inside, for administrators. Serialised as they are.

use actix::prelude::*;
use serde::Serialize;

use crate::clock;
use crate::domain::UserId;
use crate::limits::ACTOR_MAILBOX_MAX;

use super::account_cache::Moment;
use super::balance_actor::Gauge;
use super::frames::Shown;
use super::live::{Event, Live};
use super::messages::{InspectActor, InspectSessions, SessionId};
use super::pacing::{Mode, Rule};
use super::{BalanceActor, Shared};

/// `GET /admin/v1/registry`, the coordinator's part.
#[derive(Debug, Clone, Serialize)]
pub struct RegistryTotals {
    /// Resident actors.
    pub actors: usize,
    /// Of them, those with at least one session.
    pub actors_with_sessions: usize,
    /// Of them, those without.
    pub actors_idle: usize,
    /// Actors that died and were made again, since the start.
    pub actors_rebuilt: u64,
    /// Open WebSockets.
    pub sessions: u64,
    /// Balances answered from memory, since the start.
    pub cache_hits: u64,
    /// Balances that had to be read, since the start.
    pub cache_misses: u64,
    /// Actors retired because too many were resident, since the start.
    pub cache_evictions: u64,
    /// Hits among hits and misses; 0 before the first.
    pub cache_hit_ratio: f64,
    /// Direct pushes, per user, since the start.
    pub pushes_direct: u64,
    /// Paced pushes, per user, since the start.
    pub pushes_paced: u64,
    /// The ledger's epoch.
    pub epoch: String,
}

impl RegistryTotals {
    pub(super) fn new(shared: &Shared, with_sessions: usize, idle: usize) -> Self {
        let counters = &shared.counters;
        let (hits, misses) = (counters.cache_hits.get(), counters.cache_misses.get());
        Self {
            actors: with_sessions + idle,
            actors_with_sessions: with_sessions,
            actors_idle: idle,
            actors_rebuilt: counters.actors_rebuilt.get(),
            sessions: counters.sessions.get(),
            cache_hits: hits,
            cache_misses: misses,
            cache_evictions: counters.cache_evictions.get(),
            cache_hit_ratio: if hits + misses == 0 { 0.0 } else { hits as f64 / (hits + misses) as f64 },
            pushes_direct: counters.pushes.direct.get(),
            pushes_paced: counters.pushes.paced.get(),
            epoch: shared.epoch.clone(),
        }
    }
}

/// A row of `GET /admin/v1/actors`.
#[derive(Debug, Clone, Serialize)]
pub struct ActorSummary {
    /// Whose actor.
    pub user_id: UserId,
    /// Sessions attached.
    pub sessions: usize,
    /// Entries committed through it since it is resident.
    pub entries: u64,
    /// How long nothing was routed to it.
    pub idle_ms: u64,
}

/// `GET /admin/v1/actors/{user_id}`: one actor, from inside its mailbox.
#[derive(Debug, Serialize)]
pub struct ActorInspection {
    user_id: UserId,
    /// It did not answer: this is what is known from outside.
    stale: bool,
    observed_at: String,
    balances: Option<serde_json::Value>,
    version: Option<i64>,
    verified_at: Option<String>,
    age_ms: Option<u64>,
    pending: Option<PendingInspection>,
    last_push_at: Option<String>,
    in_flight: usize,
    sessions_attached: usize,
    sessions: Vec<SessionInspection>,
    mailbox: MailboxInspection,
    counters: ActorCounters,
    events: Vec<EventInspection>,
}

#[derive(Debug, Serialize)]
struct EventInspection {
    at: String,
    what: &'static str,
    version: i64,
}

#[derive(Debug, Serialize)]
struct PendingInspection {
    first: Option<String>,
    last: String,
    entries: i64,
    next_push_in_ms: Option<u64>,
    next_push_at: Option<String>,
    waits_for: Option<Rule>,
    mode: Option<Mode>,
    /// Why no time is set for it.
    held_by: Option<Hold>,
}

/// Why changes that wait are not due at any time.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Hold {
    /// A session has not had its snapshot, which will tell of them.
    Snapshot,
    /// Every session has been sent this version by a `balance`; they are counted into the next push.
    KnownToSessions,
}

/// One session, as its actor sees it.
#[derive(Debug, Serialize)]
pub struct SessionInspection {
    id: SessionId,
    connected_at: String,
    last_version: i64,
    displayed_version: i64,
    address: Option<std::net::IpAddr>,
    user_agent: Option<String>,
    is_lagging: bool,
}

#[derive(Debug, Serialize)]
struct MailboxInspection {
    queued: usize,
    capacity: usize,
}

#[derive(Debug, Serialize)]
struct ActorCounters {
    entries: u64,
    version_waiters: usize,
    is_stale: Option<bool>,
}

impl Handler<InspectActor> for BalanceActor {
    type Result = ();

    fn handle(&mut self, InspectActor { reply }: InspectActor, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        // The administrator may have gone.
        let _ = reply.send(self.inspect());
    }
}

impl Handler<InspectSessions> for BalanceActor {
    type Result = ();

    fn handle(&mut self, InspectSessions { reply }: InspectSessions, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        let _ = reply.send(self.live.as_deref().map(inspect_sessions).unwrap_or_default());
    }
}

impl ActorInspection {
    /// As the registry sees it, without asking.
    pub(super) fn from_outside(user_id: UserId, gauge: &Gauge, shared: &Shared) -> Self {
        let (now_us, now_at_us) = (shared.clock.monotonic_us(), shared.clock.now_us());
        let ago = |us: u64| clock::rfc3339(now_at_us.saturating_sub_unsigned(now_us.saturating_sub(us)));
        let verified_us = gauge.verified_us.get();
        Self {
            user_id,
            stale: true,
            observed_at: clock::rfc3339(now_at_us),
            balances: None,
            version: verified_us.map(|_| gauge.version.get()),
            verified_at: verified_us.map(ago),
            age_ms: verified_us.map(|us| now_us.saturating_sub(us) / 1000),
            pending: None,
            last_push_at: gauge.last_push_us.get().map(ago),
            in_flight: gauge.in_flight.get(),
            sessions_attached: gauge.sessions.get(),
            sessions: Vec::new(),
            mailbox: MailboxInspection { queued: gauge.queued.get(), capacity: ACTOR_MAILBOX_MAX },
            counters: ActorCounters {
                entries: gauge.entries.get(),
                version_waiters: gauge.version_waiters.get(),
                is_stale: None,
            },
            events: Vec::new(),
        }
    }
}

impl BalanceActor {
    fn inspect(&self) -> ActorInspection {
        let now = self.now();
        let cached = self.cache.known();
        let live = self.live.as_deref();
        ActorInspection {
            stale: false,
            balances: cached.and_then(|c| serde_json::to_value(Shown(&self.shared.currencies, &c.balances)).ok()),
            version: cached.map(|c| c.version),
            verified_at: cached.map(|c| clock::rfc3339(c.verified_at_us)),
            age_ms: cached.map(|c| now.us.saturating_sub(c.verified_us) / 1000),
            pending: live.zip(cached).and_then(|(live, cached)| self.inspect_pending(live, cached.version, now)),
            sessions: live.map(inspect_sessions).unwrap_or_default(),
            counters: ActorCounters {
                entries: self.gauge.entries.get(),
                version_waiters: self.version_waiters.len(),
                is_stale: Some(self.is_stale),
            },
            events: live.map(|live| live.events.iter().map(inspect_event).collect()).unwrap_or_default(),
            ..ActorInspection::from_outside(self.user_id, &self.gauge, &self.shared)
        }
    }

    fn inspect_pending(&self, live: &Live, version: i64, now: Moment) -> Option<PendingInspection> {
        live.pacing.waiting_us()?;
        // Changes that every session knows already wait for the next change, not for a time.
        let has_listener = live.has_listener_below(version);
        let due = live.pacing.due(&self.shared.policy.intervals).filter(|_| has_listener);
        let wait_us = due.map(|due| due.at_us.saturating_sub(now.us));
        let hold =
            if live.sessions.iter().all(|session| session.is_primed) { Hold::KnownToSessions } else { Hold::Snapshot };
        Some(PendingInspection {
            first: live.pending.first_committed_at_us.map(clock::rfc3339),
            last: clock::rfc3339(live.pending.committed_at_us),
            entries: live.base.as_ref().map_or(0, |base| version - base.version),
            next_push_in_ms: wait_us.map(|wait_us| wait_us.div_ceil(1000)),
            next_push_at: wait_us.map(|wait_us| clock::rfc3339(now.at_us.saturating_add_unsigned(wait_us))),
            waits_for: due.map(|due| due.rule),
            mode: due.map(|due| due.mode),
            held_by: (!has_listener).then_some(hold),
        })
    }
}

fn inspect_event(event: &Event) -> EventInspection {
    EventInspection { at: clock::rfc3339(event.at_us), what: event.what, version: event.version }
}

fn inspect_sessions(live: &Live) -> Vec<SessionInspection> {
    let one = |session: &super::live::Attached| SessionInspection {
        id: session.id,
        connected_at: clock::rfc3339(session.peer.connected_at_us),
        last_version: session.last_version,
        displayed_version: session.displayed_version,
        address: session.peer.address,
        user_agent: session.peer.user_agent.as_deref().map(str::to_owned),
        is_lagging: !session.owed.is_empty(),
    };
    live.sessions.iter().map(one).collect()
}
