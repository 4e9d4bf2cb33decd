//! How actors and the registry look from inside, for administrators. Serialised as they are.

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::{Mono, Wall};
use crate::coordinator::pacing::{Mode, Rule};
use crate::coordinator::policy::Shared;
use crate::coordinator::registry::gauge::Gauge;
use crate::domain::{SessionId, UserId};
use crate::limits::ACTOR_MAILBOX_MAX;

/// Sessions of one user that are shown of each node; at most about a kilobyte each.
const SESSIONS_IN_SHORT_MAX: usize = 32;

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
            cache_hit_ratio: if hits + misses == 0 {
                0.0
            } else {
                hits as f64 / (hits + misses) as f64
            },
            pushes_direct: counters.pushes.direct.get(),
            pushes_paced: counters.pushes.paced.get(),
            epoch: shared.ledger.standing().epoch().name.to_string(),
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
    /// Entries committed through it while it is resident.
    pub entries: u64,
    /// Time since the last message was routed to it.
    pub idle_ms: u64,
}

/// `GET /admin/v1/actors/{user_id}`: one actor, from inside its mailbox.
#[derive(Debug, Serialize)]
pub struct ActorInspection {
    pub(super) user_id: UserId,
    /// It did not answer: this is what is known from outside.
    pub(super) stale: bool,
    pub(super) observed_at: Wall,
    pub(super) balances: Option<Value>,
    pub(super) version: Option<i64>,
    pub(super) verified_at: Option<Wall>,
    pub(super) age_ms: Option<u64>,
    pub(super) pending: Option<PendingInspection>,
    pub(super) last_push_at: Option<Wall>,
    pub(super) in_flight: usize,
    pub(super) sessions_attached: usize,
    pub(super) sessions: Vec<SessionInspection>,
    pub(super) mailbox: Value,
    pub(super) counters: Value,
    pub(super) events: Vec<Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct PendingInspection {
    pub(super) first: Wall,
    pub(super) last: Wall,
    pub(super) entries: i64,
    pub(super) next_push_in_ms: Option<u64>,
    pub(super) next_push_at: Option<Wall>,
    pub(super) waits_for: Option<Rule>,
    pub(super) mode: Option<Mode>,
    /// Why no time is set for it.
    pub(super) held_by: Option<Hold>,
}

/// Why changes that wait have no due time.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hold {
    /// A session has not had its snapshot, which will include them.
    Snapshot,
}

/// One session, as its actor sees it.
#[derive(Debug, Serialize)]
pub struct SessionInspection {
    pub(super) id: SessionId,
    pub(super) connected_at: Wall,
    pub(super) last_version: i64,
    pub(super) displayed_version: i64,
    pub(super) address: Option<std::net::IpAddr>,
    pub(super) user_agent: Option<String>,
    pub(super) is_lagging: bool,
}

/// An actor's counters; from outside it is not known whether its sessions have a stale balance.
pub(super) fn counters(gauge: &Gauge, is_stale: Option<bool>) -> Value {
    json!({
        "entries": gauge.entries.get(),
        "version_waiters": gauge.version_waiters.get(),
        "tasks": gauge.tasks(),
        "is_stale": is_stale,
    })
}

impl ActorInspection {
    /// Of an actor that is not resident: there is nothing to show.
    pub fn absent(user_id: UserId, now: Wall) -> Self {
        Self {
            user_id,
            stale: false,
            observed_at: now,
            balances: None,
            version: None,
            verified_at: None,
            age_ms: None,
            pending: None,
            last_push_at: None,
            in_flight: 0,
            sessions_attached: 0,
            sessions: Vec::new(),
            mailbox: json!({ "queued": 0, "capacity": ACTOR_MAILBOX_MAX }),
            counters: json!({ "entries": 0, "version_waiters": 0, "tasks": 0, "is_stale": null }),
            events: Vec::new(),
        }
    }

    /// How many sessions it has.
    pub const fn sessions_attached(&self) -> usize {
        self.sessions_attached
    }

    /// What matters of it beside the actors of the same user on other nodes.
    pub fn in_short(&self) -> Value {
        let sessions = self.sessions.iter().take(SESSIONS_IN_SHORT_MAX);
        json!({
            "resident": true,
            "stale": self.stale,
            "version": self.version,
            "verified_at": self.verified_at,
            "pending": self.pending,
            "last_push_at": self.last_push_at,
            "sessions_attached": self.sessions_attached,
            "sessions": sessions.collect::<Vec<_>>(),
        })
    }

    /// The same of a node without an actor of the user.
    pub fn nothing() -> Value {
        json!({
            "resident": false,
            "stale": false,
            "version": null,
            "verified_at": null,
            "pending": null,
            "last_push_at": null,
            "sessions_attached": 0,
            "sessions": [],
        })
    }

    /// As the registry sees it, without asking.
    pub(super) fn from_outside(user_id: UserId, gauge: &Gauge, shared: &Shared) -> Self {
        let now = shared.clock.now();
        let ago = |then: Mono| now.wall.minus_us(now.mono.us_since(then));
        let verified = gauge.verified.get();
        Self {
            user_id,
            stale: true,
            observed_at: now.wall,
            balances: None,
            version: verified.map(|_| gauge.version.get()),
            verified_at: verified.map(ago),
            age_ms: verified.map(|then| now.mono.us_since(then) / 1000),
            pending: None,
            last_push_at: gauge.last_push.get().map(ago),
            in_flight: gauge.in_flight(),
            sessions_attached: gauge.sessions.get(),
            sessions: Vec::new(),
            mailbox: json!({ "queued": gauge.queued.get(), "capacity": ACTOR_MAILBOX_MAX }),
            counters: counters(gauge, None),
            events: Vec::new(),
        }
    }
}
