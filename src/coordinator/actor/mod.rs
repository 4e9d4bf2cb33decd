//! The actor of one user: everything that happens to the user's balance passes its mailbox, one message after another.
//!
//! Owns the cached balance, the user's sessions, the pacing and the postings under way. Its parts: [`crate::coordinator::actor::posting`]
//! (entries to the ledger and back), [`crate::coordinator::actor::reading`] (balances for sessions and readers), [`crate::coordinator::actor::pushing`] (when
//! sessions are told). Refuses nothing by itself but what its bounds do not hold. Runs on the coordinator's arbiter.

mod cache;
mod displayed;
mod inspect;
mod posting;
mod pushing;
mod reading;
mod sessions;

use std::rc::Rc;
use std::time::Duration;

use actix::WeakRecipient;
use actix::prelude::*;

use crate::coordinator::actor::cache::{AccountCache, Moment};
use crate::coordinator::actor::posting::Lanes;
use crate::coordinator::actor::pushing::Timer;
use crate::coordinator::actor::reading::{Reading, Waiter};
use crate::coordinator::actor::sessions::{Attached, Event, Live};
use crate::coordinator::messages::{
    AttachSession, BalanceChanged, Change, CloseReason, CloseSessions, CommittedEntry,
    DetachSession, GetBalance, LedgerRecovered, Retire, Revalidate, SessionsGone,
};
use crate::coordinator::policy::Shared;
use crate::coordinator::registry::gauge::Gauge;
use crate::domain::UserId;
use crate::limits::{MIN_VERSION_WAIT_MS, VERSION_WAITERS_MAX};

/// One user's actor.
#[derive(Debug)]
pub struct BalanceActor {
    user_id: UserId,
    shared: Rc<Shared>,
    gauge: Rc<Gauge>,
    registry: WeakRecipient<SessionsGone>,
    cache: AccountCache,
    live: Option<Box<Live>>,
    lanes: Option<Box<Lanes>>,
    reading: Option<Box<Reading>>,
    /// Reads planned so far.
    reads: u32,
    version_waiters: Vec<GetBalance>,
    timer: Option<Timer>,
    is_stale: bool,
}

impl BalanceActor {
    pub(super) fn new(
        user_id: UserId,
        shared: Rc<Shared>,
        gauge: Rc<Gauge>,
        registry: WeakRecipient<SessionsGone>,
    ) -> Self {
        Self {
            user_id,
            shared,
            gauge,
            registry,
            cache: AccountCache::default(),
            live: None,
            lanes: None,
            reading: None,
            reads: 0,
            version_waiters: Vec::new(),
            timer: None,
            is_stale: false,
        }
    }

    fn now(&self) -> Moment {
        Moment {
            us: self.shared.clock.monotonic_us(),
            at_us: self.shared.clock.now_us(),
        }
    }

    /// One routed message is being handled. Something that did not fit into the mailbox before it is made up for.
    fn dequeue(&mut self, ctx: &mut Context<Self>) {
        self.gauge
            .queued
            .set(self.gauge.queued.get().saturating_sub(1));
        if self.gauge.missed_a_change.take() {
            self.request_read(None, ctx);
        }
    }

    /// Takes a committed change into the cache and into what is to be pushed. Whoever waits for its version is answered.
    fn learn(&mut self, change: &Change<'_>) {
        let now = self.now();
        self.cache.committed(change.version, change.balances, now);
        self.gauge.verified_us.set(Some(now.us));
        self.gauge.entries.set(self.gauge.entries.get() + 1);
        self.gauge
            .version
            .set(self.gauge.version.get().max(change.version));
        self.note_entry(change);
        let mode = self.shared.mode_of(change.kind);
        let committed_us = self.shared.monotonic_of(change.committed_at_us);
        if let (Some(live), Some(cached)) = (&mut self.live, self.cache.known()) {
            live.note(
                change.version,
                mode,
                committed_us,
                change.committed_at_us,
                Some(change.source),
            );
            live.ensure_base(cached);
            live.remember(Event {
                at_us: change.committed_at_us,
                what: change.kind.as_str(),
                version: change.version,
            });
        }
        self.answer_version_waiters();
    }

    fn answer_version_waiters(&mut self) {
        let Some(cached) = self.cache.known() else {
            return;
        };
        let (version, user_id) = (cached.version, self.user_id);
        for waiter in self
            .version_waiters
            .extract_if(.., |w| w.min_version.is_none_or(|wanted| wanted <= version))
        {
            // Whoever hung up has been answered that the version was not reached.
            let _ = waiter.reply.send(Ok(cached.view(user_id, false)));
        }
        self.gauge.version_waiters.set(self.version_waiters.len());
    }

    /// Keeps a reader until its version is there or its wait is over.
    fn wait_for_version(&mut self, waiter: GetBalance, ctx: &mut Context<Self>) {
        self.forget_gone_waiters();
        if self.version_waiters.len() < VERSION_WAITERS_MAX {
            self.version_waiters.push(waiter);
            self.gauge.version_waiters.set(self.version_waiters.len());
            // By then its asker has hung up.
            ctx.run_later(
                Duration::from_millis(2 * MIN_VERSION_WAIT_MS),
                |actor, _| actor.forget_gone_waiters(),
            );
        } else {
            crate::coordinator::messages::Routable::overloaded(waiter);
        }
    }

    fn forget_gone_waiters(&mut self) {
        self.version_waiters
            .retain(|waiting| !waiting.reply.is_closed());
        self.gauge.version_waiters.set(self.version_waiters.len());
    }

    fn detached(&mut self, ctx: &mut Context<Self>) {
        let Some(live) = &mut self.live else { return };
        self.gauge.sessions.set(live.sessions.len());
        if live.sessions.is_empty() {
            self.live = None;
            self.settle_staleness(false);
            if let Some(timer) = self.timer.take() {
                ctx.cancel_future(timer.handle);
            }
            if let Some(registry) = self.registry.upgrade() {
                // A full registry finds out with its next sweep.
                let _ = registry.try_send(SessionsGone {
                    user_id: self.user_id,
                });
            }
        }
    }

    /// Keeps the count of actors that owe somebody a fresh balance.
    fn settle_staleness(&mut self, is_stale: bool) {
        match (self.is_stale, is_stale) {
            (false, true) => self.shared.counters.actors_stale.up(),
            (true, false) => self.shared.counters.actors_stale.down(),
            _ => {}
        }
        self.is_stale = is_stale;
    }

    /// Drops the sessions that were closed, and tries again soon where that did not fit into an outbox.
    fn see_off(&mut self, ctx: &mut Context<Self>) {
        self.prune(ctx);
        if self
            .live
            .iter()
            .flat_map(|live| &live.sessions)
            .any(Attached::is_leaving)
        {
            self.retry_lagging(ctx);
        }
    }

    /// Drops the sessions whose outbox is closed.
    fn prune(&mut self, ctx: &mut Context<Self>) {
        let Some(live) = &mut self.live else { return };
        let before = live.sessions.len();
        live.sessions.retain(|session| !session.is_gone());
        if live.sessions.len() < before {
            self.detached(ctx);
        }
    }
}

impl Actor for BalanceActor {
    type Context = Context<Self>;
}

impl Drop for BalanceActor {
    fn drop(&mut self) {
        self.settle_staleness(false);
        self.gauge.sessions.set(0);
    }
}

impl Handler<AttachSession> for BalanceActor {
    type Result = ();

    fn handle(&mut self, attach: AttachSession, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        self.attach(attach, ctx);
    }
}

impl BalanceActor {
    /// Takes a session on and sends it its snapshot; one that is known already stays as it is.
    fn attach(&mut self, attach: AttachSession, ctx: &mut Context<Self>) {
        let last_push_us = self.gauge.last_push_us.get();
        let live = self
            .live
            .get_or_insert_with(|| Box::new(Live::since(last_push_us)));
        let session_id = attach.session_id;
        if live.session(session_id).is_some() {
            return;
        }
        let sessions_max = self.shared.policy.sessions_per_user_max;
        if attach.is_again && live.is_full(sessions_max) {
            // It was closed to make room and does not know yet, or others took its place while the actor was away.
            Attached::new(attach).close(CloseReason::TooManySessions);
            return;
        }
        live.make_room(sessions_max);
        live.add_session(Attached::new(attach));
        self.gauge.sessions.set(live.sessions.len());
        if let Some(cached) = self.cache.known() {
            live.ensure_base(cached);
        }
        self.see_off(ctx);
        self.balance_for(Waiter::snapshot(session_id), false, ctx);
    }
}

impl Handler<DetachSession> for BalanceActor {
    type Result = ();

    fn handle(&mut self, DetachSession { session_id }: DetachSession, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        if let Some(session) = self
            .live
            .as_mut()
            .and_then(|live| live.take_session(session_id))
        {
            session.forget();
            self.detached(ctx);
        }
    }
}

impl Handler<CloseSessions> for BalanceActor {
    type Result = ();

    fn handle(&mut self, CloseSessions(reason): CloseSessions, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        if let Some(live) = &mut self.live {
            live.sessions
                .iter_mut()
                .for_each(|session| session.close(reason));
            self.see_off(ctx);
        }
    }
}

impl Handler<BalanceChanged> for BalanceActor {
    type Result = ();

    fn handle(&mut self, BalanceChanged(entries): BalanceChanged, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        for CommittedEntry {
            version,
            balances,
            committed_at_us,
            kind,
            currency,
            amount,
            source,
        } in entries
        {
            let balances = &balances;
            self.learn(&Change {
                version,
                balances,
                committed_at_us,
                kind,
                currency,
                amount,
                source: &source,
            });
        }
        self.push_when_due(ctx);
    }
}

impl Handler<LedgerRecovered> for BalanceActor {
    type Result = ();

    fn handle(&mut self, _: LedgerRecovered, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        if self.is_stale {
            self.read_after_recovery(ctx);
        }
    }
}

impl Handler<Revalidate> for BalanceActor {
    type Result = ();

    fn handle(&mut self, _: Revalidate, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        self.request_read(None, ctx);
    }
}

impl Handler<Retire> for BalanceActor {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[cfg(feature = "simulation")]
impl Handler<crate::coordinator::messages::Crash> for BalanceActor {
    type Result = ();

    fn handle(&mut self, _: crate::coordinator::messages::Crash, _: &mut Self::Context) {
        panic!("planned");
    }
}
