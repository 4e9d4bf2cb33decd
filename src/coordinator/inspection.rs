//! How actors and the registry look from inside, for administrators. Serialised as they are.

use actix::prelude::*;
use serde::Serialize;

use crate::clock;
use crate::domain::UserId;
use crate::limits::ACTOR_MAILBOX_MAX;

use super::frames::Shown;
use super::live::{Event, Live};
use super::messages::{InspectActor, SessionId};
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
    balances: Option<serde_json::Value>,
    version: Option<i64>,
    verified_at: Option<String>,
    age_ms: Option<u64>,
    pending: Option<PendingInspection>,
    last_push_at: Option<String>,
    in_flight: usize,
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
    waits_for: Option<Rule>,
    mode: Option<Mode>,
}

#[derive(Debug, Serialize)]
struct SessionInspection {
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
    is_stale: bool,
}

impl Handler<InspectActor> for BalanceActor {
    type Result = ();

    fn handle(&mut self, InspectActor { reply }: InspectActor, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        // The administrator may have gone.
        let _ = reply.send(self.inspect());
    }
}

impl BalanceActor {
    fn inspect(&self) -> ActorInspection {
        let now = self.now();
        let cached = self.cache.known();
        let shown = cached.and_then(|c| serde_json::to_value(Shown(&self.shared.currencies, &c.balances)).ok());
        let live = self.live.as_deref();
        let ago = |us: u64| clock::rfc3339(now.at_us.saturating_sub_unsigned(now.us.saturating_sub(us)));
        ActorInspection {
            user_id: self.user_id,
            balances: shown,
            version: cached.map(|c| c.version),
            verified_at: cached.map(|c| clock::rfc3339(c.verified_at_us)),
            age_ms: cached.map(|c| now.us.saturating_sub(c.verified_us) / 1000),
            pending: live.zip(cached).and_then(|(live, cached)| self.inspect_pending(live, cached.version, now.us)),
            last_push_at: self.gauge.last_push_us.get().map(ago),
            in_flight: self.gauge.in_flight.get(),
            sessions: live.map(inspect_sessions).unwrap_or_default(),
            mailbox: MailboxInspection { queued: self.gauge.queued.get(), capacity: ACTOR_MAILBOX_MAX },
            counters: ActorCounters {
                entries: self.gauge.entries.get(),
                version_waiters: self.version_waiters.len(),
                is_stale: self.is_stale,
            },
            events: live.map(|live| live.events.iter().map(inspect_event).collect()).unwrap_or_default(),
        }
    }

    fn inspect_pending(&self, live: &Live, version: i64, now_us: u64) -> Option<PendingInspection> {
        live.pacing.waiting_us()?;
        // Changes that every session knows already wait for the next change, not for a time.
        let due = live.pacing.due(&self.shared.policy.intervals).filter(|_| live.has_listener_below(version));
        Some(PendingInspection {
            first: live.pending.first_committed_at_us.map(clock::rfc3339),
            last: clock::rfc3339(live.pending.committed_at_us),
            entries: live.base.as_ref().map_or(0, |base| version - base.version),
            next_push_in_ms: due.map(|due| due.at_us.saturating_sub(now_us).div_ceil(1000)),
            waits_for: due.map(|due| due.rule),
            mode: due.map(|due| due.mode),
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
