//! The registry: finds, makes, retires and replaces balance actors, and passes everything on to them.
//!
//! It is the only way to an actor and shares its thread, so it knows when an actor is quiescent: then, and only then, may
//! the actor be retired, and no message can be lost behind its last one. An actor that died (a handler panicked) is found
//! by its closed mailbox and made again from the ledger with the next message; its sessions attach again by themselves.
//!
//! Bounded: actors without a session to `cache.max_entries` plus those with something under way, which the ledger's queue
//! bounds, and those pushed to within `pacing.min_interval_ms`, so that the distance between pushes outlives them.

pub(crate) mod gauge;
mod handlers;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use log::{error, info};
use lru::LruCache;
use tokio::sync::mpsc;

use crate::coordinator::actor::BalanceActor;
use crate::coordinator::messages::{
    BalanceChanged, CommittedEntry, LedgerRecovered, Retire, Revalidate, Routable,
};
use crate::coordinator::policy::Shared;
use crate::coordinator::registry::gauge::Gauge;
use crate::domain::{Outcome, UserId};
use crate::ledger::{EntryOutcome, Orphan, Posted};
use crate::limits::{
    ACTOR_MAILBOX_MAX, RECOVERY_PROBE_HANGS_MS, RECOVERY_PROBE_MS, REGISTRY_MAILBOX_MAX,
};
use crate::planted::{Plant, is_planted};

/// Resident actors looked at for each one that is made beyond the limit.
const EVICTION_TRIES: usize = 4;

struct Slot {
    actor: Addr<BalanceActor>,
    gauge: Rc<Gauge>,
}

/// The registry of one process.
pub struct Registry {
    shared: Rc<Shared>,
    with_sessions: HashMap<UserId, Slot>,
    idle: LruCache<UserId, Slot>,
    unheard: Option<mpsc::Receiver<Orphan>>,
    /// Since when a probe is under way (monotonic).
    probed_us: Option<u64>,
    is_stopping: bool,
}

impl Registry {
    /// Starts empty. `unheard` gives the commits whose actors died before they could hear of them.
    pub fn new(shared: Shared, unheard: mpsc::Receiver<Orphan>) -> Self {
        Self {
            shared: Rc::new(shared),
            with_sessions: HashMap::new(),
            idle: LruCache::unbounded(),
            unheard: Some(unheard),
            probed_us: None,
            is_stopping: false,
        }
    }

    fn make(&self, user_id: UserId, ctx: &Context<Self>) -> Slot {
        let gauge = Rc::new(Gauge::default());
        let actor = BalanceActor::new(
            user_id,
            self.shared.clone(),
            gauge.clone(),
            ctx.address().downgrade().recipient(),
        );
        let actor = BalanceActor::create(|ctx| {
            // Before its first message: until it runs, a mailbox holds 16.
            ctx.set_mailbox_capacity(ACTOR_MAILBOX_MAX);
            actor
        });
        Slot { actor, gauge }
    }

    /// The actor of a user, made when it is not resident. A session makes it stay.
    fn slot(&mut self, user_id: UserId, attaches: bool, ctx: &Context<Self>) -> &Slot {
        if attaches && !self.with_sessions.contains_key(&user_id) {
            let slot = self
                .idle
                .pop(&user_id)
                .unwrap_or_else(|| self.make(user_id, ctx));
            self.with_sessions.insert(user_id, slot);
            self.count_actors();
        } else if !self.with_sessions.contains_key(&user_id) && !self.idle.contains(&user_id) {
            let slot = self.make(user_id, ctx);
            self.evict(1);
            self.idle.put(user_id, slot);
            self.count_actors();
        }
        match self.with_sessions.get(&user_id) {
            Some(slot) => slot,
            None => self.idle.get(&user_id).expect("it was found or made above"),
        }
    }

    fn route<M>(&mut self, user_id: UserId, message: M, attaches: bool, ctx: &Context<Self>)
    where
        M: Routable,
        BalanceActor: Handler<M>,
    {
        let now_us = self.shared.clock.monotonic_us();
        let slot = self.slot(user_id, attaches, ctx);
        slot.gauge.last_used_us.set(now_us);
        match slot.send(message) {
            Ok(()) => {}
            Err(SendError::Full(message)) => message.overloaded(),
            Err(SendError::Closed(message)) => {
                error!("the actor of user {user_id} has died; it is made again from the ledger");
                self.shared.counters.actors_rebuilt.inc();
                self.forget(user_id);
                if let Err(SendError::Full(message) | SendError::Closed(message)) =
                    self.slot(user_id, attaches, ctx).send(message)
                {
                    message.overloaded();
                }
            }
        }
    }

    /// To be called whenever one came or went.
    fn count_actors(&self) {
        let shown = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.shared
            .counters
            .actors_with_sessions
            .set(shown(self.with_sessions.len()));
        self.shared.counters.actors_idle.set(shown(self.idle.len()));
    }

    /// In order, so that the same happenings have the same course.
    fn users_with_sessions(&self) -> Vec<UserId> {
        let mut users: Vec<UserId> = self.with_sessions.keys().copied().collect();
        users.sort_unstable();
        users
    }

    fn forget(&mut self, user_id: UserId) {
        self.with_sessions.remove(&user_id);
        self.idle.pop(&user_id);
        self.count_actors();
    }

    /// Passes a message on to an actor that is resident, and only then.
    fn route_to_resident<M>(&mut self, user_id: UserId, message: M, ctx: &Context<Self>)
    where
        M: Routable,
        BalanceActor: Handler<M>,
    {
        if self.with_sessions.contains_key(&user_id) || self.idle.contains(&user_id) {
            self.route(user_id, message, false, ctx);
        }
    }

    /// Retires the least recently used actors beyond the limit, to make room for so many more, unless something is under
    /// way in them.
    fn evict(&mut self, room: usize) {
        for _ in 0..EVICTION_TRIES {
            if self.idle.len() + room <= self.shared.policy.cache_entries_max {
                return;
            }
            let Some((user_id, slot)) = self.idle.pop_lru() else {
                return;
            };
            match slot.retire(&self.shared) {
                Ok(()) => self.shared.counters.cache_evictions.inc(),
                Err(slot) => {
                    self.idle.put(user_id, slot);
                }
            }
        }
    }

    /// Retires actors whose balance is older than the TTL, or has it read again where somebody looks at it, and enforces the
    /// limit.
    fn sweep(&mut self, ctx: &Context<Self>) {
        let mut gone: Vec<UserId> = self
            .with_sessions
            .iter()
            .filter(|(_, slot)| slot.can_go(&self.shared))
            .map(|(user, _)| *user)
            .collect();
        gone.sort_unstable();
        gone.into_iter()
            .for_each(|user_id| self.sessions_gone(user_id));
        let (now_us, ttl_us) = (
            self.shared.clock.monotonic_us(),
            self.shared.policy.cache_ttl_us,
        );
        let is_old = |slot: &Slot| {
            let since_us = slot
                .gauge
                .verified_us
                .get()
                .unwrap_or_else(|| slot.gauge.last_used_us.get());
            now_us.saturating_sub(since_us) >= ttl_us
        };
        let old: Vec<UserId> = self
            .idle
            .iter()
            .filter(|(_, slot)| is_old(slot))
            .map(|(user, _)| *user)
            .collect();
        for user_id in old {
            if let Some(Err(slot)) = self
                .idle
                .pop(&user_id)
                .map(|slot| slot.retire(&self.shared))
            {
                self.idle.put(user_id, slot);
            }
        }
        for _ in 0..self.idle.len() {
            self.evict(0);
        }
        self.count_actors();
        let mut watched: Vec<UserId> = self
            .with_sessions
            .iter()
            .filter(|(_, slot)| is_old(slot))
            .map(|(user, _)| *user)
            .collect();
        watched.sort_unstable();
        watched
            .into_iter()
            .for_each(|user_id| self.route_to_resident(user_id, Revalidate, ctx));
    }

    fn sessions_gone(&mut self, user_id: UserId) {
        // A session may be attaching at this moment; then the next sweep looks again.
        let is_over = |slot: &Slot| {
            slot.gauge.sessions.get() == 0
                && (slot.gauge.queued.get() == 0 || !slot.actor.connected())
        };
        if self.with_sessions.get(&user_id).is_some_and(is_over)
            && let Some(slot) = self.with_sessions.remove(&user_id)
        {
            self.idle.put(user_id, slot);
            self.evict(0);
            self.count_actors();
        }
    }

    /// Asks the ledger whether it is back, while somebody is owed a fresh balance.
    fn probe(&mut self, ctx: &mut Context<Self>) {
        let now_us = self.shared.clock.monotonic_us();
        // One that hangs, on a connection that died with the ledger, does not hold up the next.
        let is_probing = self
            .probed_us
            .is_some_and(|at_us| now_us.saturating_sub(at_us) < RECOVERY_PROBE_HANGS_MS * 1000);
        if is_probing
            || self.shared.counters.actors_stale.get() == 0
            || is_planted(Plant::NeverRecovered)
        {
            return;
        }
        self.probed_us = Some(now_us);
        let answered = self
            .shared
            .ledger
            .ping()
            .into_actor(self)
            .map(|result, registry, ctx| {
                registry.probed_us = None;
                if result.is_ok() {
                    info!("the ledger answers again");
                    registry
                        .users_with_sessions()
                        .into_iter()
                        .for_each(|user_id| {
                            registry.route_to_resident(user_id, LedgerRecovered, ctx)
                        });
                }
            });
        ctx.spawn(answered);
    }

    /// Tells resident actors of entries that were committed on another way than through themselves: one message each.
    fn tell_committed(&self, posted: &Posted) {
        let mut by_user: BTreeMap<UserId, BalanceChanged> = BTreeMap::new();
        for (entry, outcome) in posted.entries.iter().zip(&posted.outcomes) {
            if let EntryOutcome::Decided {
                outcome: Outcome::Accepted { version, balances },
                committed_at_us,
            } = outcome
            {
                by_user
                    .entry(entry.user_id)
                    .or_default()
                    .0
                    .push(CommittedEntry {
                        version: *version,
                        balances: balances.clone(),
                        committed_at_us: *committed_at_us,
                        kind: entry.kind,
                        currency: entry.currency,
                        amount: entry.amount,
                        source: entry.source.clone(),
                    });
            }
        }
        for (user_id, changed) in by_user {
            let slot = self
                .with_sessions
                .get(&user_id)
                .or_else(|| self.idle.peek(&user_id));
            // An actor that died is made again from the ledger, and then knows.
            if let Some(slot) = slot
                && let Err(SendError::Full(_)) = slot.send(changed)
            {
                slot.gauge.missed_a_change.set(true);
            }
        }
    }
}

impl Slot {
    fn send<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        M: Routable,
        BalanceActor: Handler<M>,
    {
        self.actor.try_send(message)?;
        self.gauge.queued.set(self.gauge.queued.get() + 1);
        Ok(())
    }

    /// Whether nobody would miss the actor: nothing is under way in it, and no push so lately that the next one would have
    /// to know of it; or it has died.
    fn can_go(&self, shared: &Shared) -> bool {
        let (now_us, interval_us) = (
            shared.clock.monotonic_us(),
            shared.policy.intervals.min_interval_us,
        );
        let is_settled = self
            .gauge
            .last_push_us
            .get()
            .is_none_or(|at_us| at_us + interval_us <= now_us);
        self.gauge.is_quiescent() && is_settled || !self.actor.connected()
    }

    /// Lets the actor go, or gives the slot back when something is under way in it.
    fn retire(self, shared: &Shared) -> Result<(), Self> {
        if !self.can_go(shared) {
            return Err(self);
        }
        match self.actor.try_send(Retire) {
            // A closed mailbox belongs to an actor that died: it is gone already.
            Ok(()) | Err(SendError::Closed(_)) => Ok(()),
            Err(SendError::Full(_)) => Err(self),
        }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(REGISTRY_MAILBOX_MAX);
        let sweep = Duration::from_millis(self.shared.policy.cache_sweep_ms);
        ctx.run_interval(sweep, |registry, ctx| registry.sweep(ctx));
        ctx.run_interval(Duration::from_millis(RECOVERY_PROBE_MS), Self::probe);
        if let Some(mut unheard) = self.unheard.take() {
            ctx.add_stream(futures_util::stream::poll_fn(move |cx| {
                unheard.poll_recv(cx)
            }));
        }
    }
}
