//! The registry: finds, makes, retires and replaces balance actors, and delivers every message for them.
//!
//! It is the only way to an actor and shares its thread, so it knows when an actor is quiescent: then, and only then, may
//! the actor be retired, and no message can be lost behind its last one. An actor that died (a handler panicked) is found
//! by its closed mailbox and made again from the ledger with the next message; its sessions attach again by themselves.
//!
//! Bounded: actors without a session to `cache.max_entries` plus those with something under way, which the ledger's queue
//! bounds, and those pushed to within `pacing.min_interval_ms`, so that the distance between pushes outlives them.

mod atomics;
mod checking;
pub(crate) mod gauge;
mod handlers;
mod recovery;
mod roster;
pub(crate) mod stale;
mod sweep;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use log::error;
use lru::LruCache;
use tokio::sync::{Semaphore, mpsc};

use crate::clock::{Mono, Wall};
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::messages::{Changed, CloseReason, CommittedEntry, Known, ToActor};
use crate::coordinator::policy::Shared;
use crate::coordinator::registry::atomics::Unanswered;
use crate::coordinator::registry::checking::Checking;
use crate::coordinator::registry::gauge::Gauge;
use crate::coordinator::registry::roster::{Roster, Seat};
use crate::coordinator::registry::stale::StaleUsers;
use crate::domain::UserId;
use crate::ledger::{Orphan, Posted};
use crate::limits::{
    ACTOR_MAILBOX_MAX, RECOVERY_PROBE_MS, REGISTRY_MAILBOX_MAX, RETRIES_MAX, REVALIDATIONS_MAX,
};

/// Resident actors looked at for each one that is made beyond the limit.
const EVICTION_TRIES: usize = 4;

struct Slot {
    actor: Addr<BalanceActor>,
    gauge: Rc<Gauge>,
    _seat: Seat,
}

/// The registry of one process.
pub struct Registry {
    shared: Rc<Shared>,
    with_sessions: HashMap<UserId, Slot>,
    idle: LruCache<UserId, Slot>,
    roster: Roster,
    revalidations: Arc<Semaphore>,
    unheard: Option<mpsc::Receiver<Orphan>>,
    unanswered: Unanswered,
    stale: Rc<StaleUsers>,
    /// Reads for stale users that are under way.
    retries: Arc<Semaphore>,
    /// When the probe that is under way began.
    probed: Option<Mono>,
    checking: Checking,
    /// When the epoch began, if one has begun since the start.
    epoch_began: Option<Wall>,
    /// When the ledger last answered a probe.
    answered: Option<Mono>,
    /// That it is back has been logged.
    is_back: bool,
    is_stopping: bool,
}

impl Registry {
    /// Starts empty. `unheard` gives the commits whose actors died before they could hear of them.
    pub fn new(shared: Shared, unheard: mpsc::Receiver<Orphan>) -> Self {
        Self {
            shared: Rc::new(shared),
            with_sessions: HashMap::new(),
            idle: LruCache::unbounded(),
            roster: Roster::default(),
            revalidations: Arc::new(Semaphore::new(REVALIDATIONS_MAX)),
            unheard: Some(unheard),
            unanswered: Unanswered::default(),
            stale: Rc::default(),
            retries: Arc::new(Semaphore::new(RETRIES_MAX)),
            probed: None,
            checking: Checking::default(),
            epoch_began: None,
            answered: None,
            is_back: false,
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
            self.stale.clone(),
        );
        let actor = BalanceActor::create(|ctx| {
            // Before its first message: until it runs, a mailbox holds 16.
            ctx.set_mailbox_capacity(ACTOR_MAILBOX_MAX);
            actor
        });
        let seat = self.roster.take(user_id, &gauge);
        Slot {
            actor,
            gauge,
            _seat: seat,
        }
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

    /// The actor of a user, if it is resident; does not count as use.
    fn resident(&self, user_id: UserId) -> Option<&Slot> {
        let with_sessions = self.with_sessions.get(&user_id);
        with_sessions.or_else(|| self.idle.peek(&user_id))
    }

    /// Delivers a message by its [`ToActor::route`], or answers it when it can't be.
    fn deliver(&mut self, user_id: UserId, message: ToActor, ctx: &Context<Self>) {
        let route = message.route();
        if self.is_stopping && route.is_refused_when_stopping {
            return message.stopping();
        }
        if !route.makes_actor && self.resident(user_id).is_none() {
            return;
        }
        let slot = if route.is_use {
            let now = self.shared.clock.mono();
            let slot = self.slot(user_id, route.attaches, ctx);
            slot.gauge.last_used.set(now);
            Some(slot)
        } else {
            self.resident(user_id)
        };
        match slot.map_or(Ok(()), |slot| slot.send(message)) {
            Err(SendError::Full(message)) => message.overloaded(),
            Err(SendError::Closed(message)) if route.is_use => {
                error!("the actor of user {user_id} has died; it is made again from the ledger");
                self.shared.counters.actors_rebuilt.inc();
                self.forget(user_id);
                if let Err(SendError::Full(message) | SendError::Closed(message)) =
                    self.slot(user_id, route.attaches, ctx).send(message)
                {
                    message.overloaded();
                }
            }
            Ok(()) | Err(SendError::Closed(_)) => {}
        }
    }

    /// Closes every session, in the order of users: so equal events have an equal course.
    fn close_all(&mut self, ctx: &Context<Self>) {
        for user_id in self.users_with_sessions() {
            let message = ToActor::CloseSessions(CloseReason::GoingAway);
            self.deliver(user_id, message, ctx);
        }
    }

    /// To be called after every change of the maps.
    fn count_actors(&self) {
        let shown = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.shared
            .counters
            .actors_with_sessions
            .set(shown(self.with_sessions.len()));
        self.shared.counters.actors_idle.set(shown(self.idle.len()));
    }

    /// In order.
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

    fn epoch_number(&self) -> u64 {
        self.shared.ledger.standing().epoch_number()
    }

    /// Tells resident actors of entries that were committed, but not through them: one message each.
    fn tell_committed(&self, posted: &Posted, known: impl Fn(UserId) -> Known) {
        let mut by_user: BTreeMap<UserId, Vec<CommittedEntry>> = BTreeMap::new();
        for (entry, outcome) in posted.entries.iter().zip(&posted.outcomes) {
            if let Some(committed) = CommittedEntry::of(entry, outcome) {
                by_user.entry(entry.user_id).or_default().push(committed);
            }
        }
        for (user_id, entries) in by_user {
            // An actor that is made again, after it died, reads the ledger.
            if let Some(slot) = self.resident(user_id) {
                let known = known(user_id);
                // What does not fit is noted; see below.
                let _ = slot.send(ToActor::BalanceChanged(Changed { entries, known }));
            }
        }
    }
}

impl Slot {
    /// A message that does not fit comes back. One that is not answered and can't be said again is noted: the actor makes up
    /// for it with the next of the messages that fill its mailbox.
    fn send(&self, message: ToActor) -> Result<(), SendError<ToActor>> {
        let result = self.actor.try_send(message);
        match &result {
            Ok(()) => self.gauge.queued.update(|queued| queued + 1),
            Err(SendError::Full(
                ToActor::BalanceChanged(_) | ToActor::Missed(_) | ToActor::Heard(_),
            )) => {
                self.gauge.missed_a_change.set(true);
            }
            Err(SendError::Full(ToActor::DetachSession { session_id })) => {
                self.gauge.ended.borrow_mut().push(*session_id);
            }
            Err(_) => {}
        }
        result
    }

    /// Whether the actor can be retired without losing anything: no work is under way in it, and the next push need not
    /// know of the last one; or it has died.
    fn can_go(&self, shared: &Shared) -> bool {
        let now = shared.clock.mono();
        let interval_us = shared.policy.intervals.min_interval_us;
        let last_push = self.gauge.last_push.get();
        let is_settled = last_push.is_none_or(|at| at.plus_us(interval_us) <= now);
        self.gauge.is_quiescent() && is_settled || !self.actor.connected()
    }

    /// Lets the actor go, or gives the slot back when work is under way in it.
    fn retire(self, shared: &Shared) -> Result<(), Self> {
        if !self.can_go(shared) {
            return Err(self);
        }
        match self.send(ToActor::Retire) {
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
        ctx.run_later(sweep, Self::sweep);
        ctx.run_later(Duration::from_millis(RECOVERY_PROBE_MS), Self::recover);
        if let Some(checks) = self.shared.policy.checks {
            self.check(checks, ctx);
        }
        let epochs = self.shared.ledger.standing().epochs();
        ctx.add_stream(futures_util::stream::unfold(
            epochs,
            |mut epochs| async move {
                epochs.changed().await.ok()?;
                let began = epochs.borrow_and_update().clone();
                Some((began, epochs))
            },
        ));
        ctx.add_stream(self.unanswered.answers());
        if let Some(mut unheard) = self.unheard.take() {
            ctx.add_stream(futures_util::stream::poll_fn(move |cx| {
                unheard.poll_recv(cx)
            }));
        }
    }
}
