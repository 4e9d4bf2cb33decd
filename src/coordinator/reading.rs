//! An actor's answers to "what is the balance": from memory while it is trusted, else from the ledger.
//!
//! A read begins only after the messages that were waiting have been taken in, so any number of askers at once share one
//! read, and no asker gets a read that began before it asked. When the ledger is away, the last known balance is sent,
//! marked stale, or an error; and a fresh one follows when it is back.

use actix::prelude::*;
use log::debug;
use serde_json::value::RawValue;

use crate::domain::Account;
use crate::ledger::LedgerError;
use crate::limits::READ_WAITERS_MAX;

use super::account_cache::Moment;
use super::frames::{self, Reason};
use super::live::Told;
use super::messages::{GetBalance, RefreshSession, Routable, SessionId};
use super::pacing::Mode;
use super::{BalanceActor, BalanceView};

/// Who waits for a balance.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A session, for a `balance` frame.
    Session { session_id: SessionId, reason: Reason, id: Option<Box<RawValue>> },
    /// A reader over HTTP.
    Reader(GetBalance),
}

impl Waiter {
    pub(super) fn snapshot(session_id: SessionId) -> Self {
        Self::Session { session_id, reason: Reason::Snapshot, id: None }
    }
}

/// A read that is planned or under way.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Whose read it is.
    waiters: Vec<Waiter>,
    /// It has begun: who asks now gets the next one.
    has_begun: bool,
    next: Vec<Waiter>,
    is_next_wanted: bool,
}

impl Handler<RefreshSession> for BalanceActor {
    type Result = ();

    fn handle(&mut self, RefreshSession { session, id }: RefreshSession, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        let session_id = session.session_id;
        self.attach(session, ctx);
        self.request_read(Some(Waiter::Session { session_id, reason: Reason::Refresh, id }), ctx);
    }
}

impl Handler<GetBalance> for BalanceActor {
    type Result = ();

    fn handle(&mut self, request: GetBalance, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        let is_fresh = request.is_fresh;
        self.balance_for(Waiter::Reader(request), is_fresh, ctx);
    }
}

impl BalanceActor {
    /// Answers from memory when that is allowed, trusted and new enough; else asks the ledger.
    pub(super) fn balance_for(&mut self, waiter: Waiter, is_fresh: bool, ctx: &mut Context<Self>) {
        let (now_us, ttl_us) = (self.shared.clock.monotonic_us(), self.shared.policy.cache_ttl_us);
        let cached = self.cache.fresh(now_us, ttl_us).filter(|_| !is_fresh);
        let view = cached.map(|cached| cached.view(self.user_id, false));
        match view.filter(|view| waiter.is_content_with(view)) {
            Some(view) => {
                self.shared.counters.cache_hits.add(1);
                debug!("[BalanceCache] Cache hit user_id={} version={}", self.user_id, view.version);
                self.answer(waiter, &view, ctx);
            }
            None => {
                if !is_fresh {
                    self.shared.counters.cache_misses.add(1);
                    debug!("[BalanceCache] Cache miss user_id={}", self.user_id);
                }
                self.request_read(Some(waiter), ctx);
            }
        }
    }

    /// Plans a read, or joins one that has not begun.
    pub(super) fn request_read(&mut self, waiter: Option<Waiter>, ctx: &mut Context<Self>) {
        let is_new = self.reading.is_none();
        let reading = self.reading.get_or_insert_default();
        if reading.has_begun {
            reading.is_next_wanted = true;
        }
        let waiters = if reading.has_begun { &mut reading.next } else { &mut reading.waiters };
        match waiter {
            Some(waiter) if waiters.len() < READ_WAITERS_MAX => waiters.push(waiter),
            Some(Waiter::Reader(refused)) => refused.overloaded(),
            Some(Waiter::Session { session_id, id, .. }) => self.tell_unavailable(session_id, id.as_deref()),
            None => {}
        }
        if is_new {
            self.plan_read(ctx);
        }
    }

    /// The spawned future is polled once the mailbox is drained; then the read begins.
    fn plan_read(&mut self, ctx: &mut Context<Self>) {
        self.gauge.in_flight.set(self.gauge.in_flight.get() + 1);
        let begin = actix::fut::ready(()).then(|(), actor: &mut Self, _: &mut Context<Self>| {
            if let Some(reading) = &mut actor.reading {
                reading.has_begun = true;
            }
            let began = actor.now();
            actor.shared.ledger.account(actor.user_id).into_actor(actor).map(move |result, actor: &mut Self, ctx| {
                actor.read(result, began, ctx);
            })
        });
        ctx.spawn(begin);
    }

    fn read(&mut self, result: Result<Account, LedgerError>, began: Moment, ctx: &mut Context<Self>) {
        self.gauge.in_flight.set(self.gauge.in_flight.get().saturating_sub(1));
        let Some(reading) = self.reading.take() else { return };
        let Reading { mut waiters, mut next, mut is_next_wanted, .. } = *reading;
        match result {
            Ok(account) => self.read_succeeded(account, began, waiters, ctx),
            Err(error) => {
                // The ledger has not answered until now, which is after all of them have asked. A second read would
                // keep the later ones waiting for twice the time-out.
                is_next_wanted &= next.is_empty();
                waiters.append(&mut next);
                self.read_failed(&error, waiters, ctx);
            }
        }
        if is_next_wanted {
            // An answer may have asked for a read of its own meanwhile; then join it.
            match &mut self.reading {
                Some(reading) => reading.waiters.extend(next),
                None => {
                    self.reading = Some(Box::new(Reading { waiters: next, ..Reading::default() }));
                    self.plan_read(ctx);
                }
            }
        }
    }

    fn read_succeeded(&mut self, account: Account, began: Moment, waiters: Vec<Waiter>, ctx: &mut Context<Self>) {
        let has_news = self.cache.read(account, began);
        let Some(cached) = self.cache.known() else { return };
        let (view, version) = (cached.view(self.user_id, false), cached.version);
        self.gauge.verified_us.set(Some(cached.verified_us));
        if let Some(live) = &mut self.live {
            if has_news {
                // Somebody else wrote: another node, or a hand. Its kind is not known, so it is paced.
                live.note(version, Mode::Paced, began.us, began.at_us, None);
            }
            live.ensure_base(cached);
        }
        self.answer_version_waiters();
        for waiter in waiters {
            if waiter.is_content_with(&view) {
                self.answer(waiter, &view, ctx);
            } else if let Waiter::Reader(request) = waiter {
                self.wait_for_version(request, ctx);
            }
        }
        self.settle_staleness(false);
        let owed: Vec<SessionId> =
            self.live.iter().flat_map(|live| &live.sessions).filter(|s| s.is_owed_recovery).map(|s| s.id).collect();
        for session_id in owed {
            self.answer(Waiter::Session { session_id, reason: Reason::Recovered, id: None }, &view, ctx);
        }
        self.push_when_due(ctx);
    }

    fn read_failed(&mut self, error: &LedgerError, waiters: Vec<Waiter>, ctx: &mut Context<Self>) {
        let stale = self.cache.known().map(|cached| cached.view(self.user_id, true));
        for waiter in waiters {
            match (waiter, &stale) {
                (Waiter::Reader(request), Some(view)) if request.min_version.is_none_or(|v| v <= view.version) => {
                    // Whoever hung up needs no answer.
                    let _ = request.reply.send(Ok(view.clone()));
                }
                (Waiter::Reader(request), _) => {
                    let _ = request.reply.send(Err(error.clone()));
                }
                (session @ Waiter::Session { .. }, Some(view)) => self.answer(session, view, ctx),
                (Waiter::Session { session_id, id, .. }, None) => self.tell_unavailable(session_id, id.as_deref()),
            }
        }
        let owes = |live: &super::live::Live| live.sessions.iter().any(|session| session.is_owed_recovery);
        let is_stale = self.live.as_deref().is_some_and(owes);
        self.settle_staleness(is_stale);
    }

    fn tell_unavailable(&mut self, session_id: SessionId, id: Option<&RawValue>) {
        let text = frames::ledger_unavailable(id, self.shared.policy.retry_after_ms);
        if let Some(session) = self.live.as_mut().and_then(|live| live.session(session_id)) {
            session.is_owed_recovery = true;
            // Full: the recovery that it is owed will tell it more.
            session.tell(text, 0);
        }
    }

    /// Answers one waiter with a balance. A session never gets an older version than it was sent.
    pub(super) fn answer(&mut self, waiter: Waiter, view: &BalanceView, ctx: &mut Context<Self>) {
        let (session_id, reason, id) = match waiter {
            Waiter::Session { session_id, reason, id } => (session_id, reason, id),
            Waiter::Reader(request) => {
                // Whoever hung up needs no answer.
                let _ = request.reply.send(Ok(view.clone()));
                return;
            }
        };
        let Some(live) = &mut self.live else { return };
        let Some(session) =
            live.session(session_id).filter(|session| !session.is_leaving() && session.last_version <= view.version)
        else {
            return;
        };
        session.is_owed_recovery = view.is_stale;
        session.is_primed = true;
        let text = frames::balance(view, reason, id.as_deref(), &self.shared.epoch, &self.shared.currencies);
        match session.tell(text, view.version) {
            Told::Sent => {}
            Told::Full => {
                session.owe((reason, id));
                self.retry_lagging(ctx);
            }
            Told::Gone => self.prune(ctx),
        }
    }
}

impl Waiter {
    fn is_content_with(&self, view: &BalanceView) -> bool {
        match self {
            Self::Session { .. } => true,
            Self::Reader(request) => request.min_version.is_none_or(|wanted| wanted <= view.version),
        }
    }
}
