//! An actor's answers to "what is the balance": from memory while it is trusted, else from the ledger.
//!
//! A read begins only after the messages that were waiting have been taken in, so any number of askers at once share one
//! read, and no asker gets a read that began before it asked. When the ledger is away, the last known balance is sent,
//! marked stale, or an error; and a fresh one follows when it is back.

use std::time::Duration;

use actix::prelude::*;
use log::debug;
use serde_json::value::RawValue;

use crate::clock::Deadline;
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::cache::Moment;
use crate::coordinator::actor::sessions::Told;
use crate::coordinator::frames;
use crate::coordinator::frames::{BalanceView, Reason};
use crate::coordinator::messages::{GetBalance, RefreshSession, Routable};
use crate::coordinator::pacing::Mode;
use crate::domain::{Account, SessionId};
use crate::ledger::LedgerError;
use crate::limits::{READ_HANGS_MS, READ_WAITERS_MAX};
use crate::planted::{Plant, is_planted};

/// Who waits for a balance.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A session, for a `balance` frame.
    Session {
        session_id: SessionId,
        reason: Reason,
        id: Option<Box<RawValue>>,
    },
    /// A reader over HTTP.
    Reader(GetBalance),
}

impl Waiter {
    pub(super) fn snapshot(session_id: SessionId) -> Self {
        Self::Session {
            session_id,
            reason: Reason::Snapshot,
            id: None,
        }
    }
}

/// A read that is planned or under way.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Tells it from those that are over.
    number: u32,
    /// Whose read it is.
    waiters: Vec<Waiter>,
    /// Since when it is under way (monotonic): who asks now gets the next one.
    begun_us: Option<u64>,
    /// When it was last begun, perhaps once more beside one that hangs (monotonic).
    tried_us: u64,
    next: Vec<Waiter>,
    /// Somebody wants the next one, and until then has to be answered.
    next_until: Option<Deadline>,
}

impl Handler<RefreshSession> for BalanceActor {
    type Result = ();

    fn handle(&mut self, RefreshSession { session, id }: RefreshSession, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        let session_id = session.session_id;
        self.attach(session, ctx);
        if is_planted(Plant::RefreshFromMemory) {
            return self.balance_for(
                Waiter::Session {
                    session_id,
                    reason: Reason::Refresh,
                    id,
                },
                false,
                ctx,
            );
        }
        self.request_read(
            Some(Waiter::Session {
                session_id,
                reason: Reason::Refresh,
                id,
            }),
            ctx,
        );
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
        let (now_us, ttl_us) = (
            self.shared.clock.monotonic_us(),
            self.shared.policy.cache_ttl_us,
        );
        let cached = self.cache.fresh(now_us, ttl_us).filter(|_| !is_fresh);
        let view = cached.map(|cached| cached.view(self.user_id, false));
        match view.filter(|view| waiter.is_content_with(view)) {
            Some(view) => {
                self.shared.counters.cache_hits.inc();
                debug!(
                    "[BalanceCache] Cache hit user_id={} version={}",
                    self.user_id, view.version
                );
                self.answer(waiter, &view, ctx);
            }
            None => {
                if !is_fresh {
                    self.shared.counters.cache_misses.inc();
                    debug!("[BalanceCache] Cache miss user_id={}", self.user_id);
                }
                self.request_read(Some(waiter), ctx);
            }
        }
    }

    /// Plans a read, or joins one that has not begun.
    pub(super) fn request_read(&mut self, waiter: Option<Waiter>, ctx: &mut Context<Self>) {
        let is_new = self.reading.is_none();
        let until = self.shared.clock.deadline(self.shared.policy.answer_within);
        let reading = self.reading.get_or_insert_default();
        let waiters = if reading.begun_us.is_some() {
            reading.next_until.get_or_insert(until);
            &mut reading.next
        } else {
            &mut reading.waiters
        };
        match waiter {
            Some(waiter) if waiters.len() < READ_WAITERS_MAX => waiters.push(waiter),
            Some(Waiter::Reader(refused)) => refused.overloaded(),
            Some(Waiter::Session { session_id, id, .. }) => {
                self.tell_unavailable(session_id, id.as_deref())
            }
            None => {}
        }
        if is_new {
            self.plan_read(until, ctx);
        }
    }

    /// The spawned future is polled once the mailbox is drained; then the read begins. It fails when it has no answer by
    /// `until`.
    fn plan_read(&mut self, until: Deadline, ctx: &mut Context<Self>) {
        self.reads = self.reads.wrapping_add(1);
        let number = self.reads;
        if let Some(reading) = &mut self.reading {
            reading.number = number;
        }
        self.start_read(number, until, ctx);
    }

    fn start_read(&mut self, number: u32, until: Deadline, ctx: &mut Context<Self>) {
        self.gauge.in_flight.set(self.gauge.in_flight.get() + 1);
        let begin =
            actix::fut::ready(()).then(move |(), actor: &mut Self, _: &mut Context<Self>| {
                let began = actor.now();
                if let Some(reading) = actor
                    .reading
                    .as_mut()
                    .filter(|reading| reading.number == number)
                {
                    reading.begun_us.get_or_insert(began.us);
                    reading.tried_us = began.us;
                }
                let mut answer = actor.shared.ledger.account(actor.user_id);
                let hangs_at = actor
                    .shared
                    .clock
                    .deadline(Duration::from_millis(READ_HANGS_MS))
                    .min(until);
                let at_first = async move {
                    tokio::time::timeout_at(hangs_at.instant(), &mut answer)
                        .await
                        .map_err(|_| answer)
                };
                at_first
                    .into_actor(actor)
                    .then(move |at_first, actor: &mut Self, _| {
                        // Of two tries the other one may have ended it.
                        let is_awaited = actor
                            .reading
                            .as_ref()
                            .is_some_and(|reading| reading.number == number);
                        if at_first.is_err() && is_awaited {
                            // The registry asks whether the ledger is there, and then it is read again.
                            actor.settle_staleness(true);
                        }
                        let at_last = async move {
                            match at_first {
                                Ok(result) => result,
                                Err(answer) => tokio::time::timeout_at(until.instant(), answer)
                                    .await
                                    .unwrap_or_else(|_| {
                                        Err(LedgerError::Unavailable("no answer in time".into()))
                                    }),
                            }
                        };
                        at_last
                            .into_actor(actor)
                            .map(move |result, actor: &mut Self, ctx| {
                                actor.read(number, result, began, ctx);
                            })
                    })
            });
        ctx.spawn(begin);
    }

    /// The ledger is back: a read that began before may hang on a dead connection, so it is tried again beside it. Each
    /// ends in its time, so there are never more than a few.
    pub(super) fn read_after_recovery(&mut self, ctx: &mut Context<Self>) {
        let now_us = self.shared.clock.monotonic_us();
        let until = self.shared.clock.deadline(self.shared.policy.answer_within);
        let Some(reading) = &mut self.reading else {
            return self.request_read(None, ctx);
        };
        if reading.begun_us.is_some()
            && now_us.saturating_sub(reading.tried_us) >= READ_HANGS_MS * 1000
        {
            reading.tried_us = now_us;
            let number = reading.number;
            self.start_read(number, until, ctx);
        }
    }

    fn read(
        &mut self,
        number: u32,
        result: Result<Account, LedgerError>,
        began: Moment,
        ctx: &mut Context<Self>,
    ) {
        self.gauge
            .in_flight
            .set(self.gauge.in_flight.get().saturating_sub(1));
        // Of two tries the second one to end finds its waiters answered; what it read is still good.
        let reading = self.reading.take_if(|reading| reading.number == number);
        let is_over = reading.is_none();
        let Reading {
            mut waiters,
            mut next,
            mut next_until,
            ..
        } = reading.map(|reading| *reading).unwrap_or_default();
        match result {
            Ok(account) => self.read_succeeded(account, began, waiters, ctx),
            Err(_) if is_over => {}
            Err(error) => {
                // The ledger has not answered until now, which is after all of them have asked.
                next_until = None;
                waiters.append(&mut next);
                self.read_failed(&error, began, waiters, ctx);
            }
        }
        if let Some(until) = next_until {
            // An answer may have asked for a read of its own meanwhile; then join it.
            match &mut self.reading {
                Some(reading) => reading.waiters.extend(next),
                None => {
                    self.reading = Some(Box::new(Reading {
                        waiters: next,
                        ..Reading::default()
                    }));
                    self.plan_read(until, ctx);
                }
            }
        }
    }

    fn read_succeeded(
        &mut self,
        account: Account,
        began: Moment,
        waiters: Vec<Waiter>,
        ctx: &mut Context<Self>,
    ) {
        let has_news = self.cache.read(account, began);
        let Some(cached) = self.cache.known() else {
            return;
        };
        let (view, version) = (cached.view(self.user_id, false), cached.version);
        self.gauge.verified_us.set(Some(cached.verified_us));
        self.gauge.version.set(version);
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
        let owed: Vec<SessionId> = self
            .live
            .iter()
            .flat_map(|live| &live.sessions)
            .filter(|s| s.is_owed_recovery)
            .map(|s| s.id)
            .collect();
        for session_id in owed {
            self.answer(
                Waiter::Session {
                    session_id,
                    reason: Reason::Recovered,
                    id: None,
                },
                &view,
                ctx,
            );
        }
        self.settle_staleness(self.owes_recovery());
        self.push_when_due(ctx);
    }

    /// The last known balance is the answer: stale, unless a commit has told it since the read began.
    fn read_failed(
        &mut self,
        error: &LedgerError,
        began: Moment,
        waiters: Vec<Waiter>,
        ctx: &mut Context<Self>,
    ) {
        let is_stale =
            |verified_us: u64| verified_us < began.us && !is_planted(Plant::StaleUnmarked);
        let last = self
            .cache
            .known()
            .map(|cached| cached.view(self.user_id, is_stale(cached.verified_us)));
        for waiter in waiters {
            match (waiter, &last) {
                (Waiter::Reader(request), Some(view))
                    if request.min_version.is_none_or(|v| v <= view.version) =>
                {
                    // Whoever hung up needs no answer.
                    let _ = request.reply.send(Ok(view.clone()));
                }
                (Waiter::Reader(request), _) => {
                    let _ = request.reply.send(Err(error.clone()));
                }
                (session @ Waiter::Session { .. }, Some(view)) => self.answer(session, view, ctx),
                (Waiter::Session { session_id, id, .. }, None) => {
                    self.tell_unavailable(session_id, id.as_deref())
                }
            }
        }
        self.settle_staleness(self.owes_recovery());
    }

    fn owes_recovery(&self) -> bool {
        self.live
            .iter()
            .flat_map(|live| &live.sessions)
            .any(|session| session.is_owed_recovery)
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
            Waiter::Session {
                session_id,
                reason,
                id,
            } => (session_id, reason, id),
            Waiter::Reader(request) => {
                // Whoever hung up needs no answer.
                let _ = request.reply.send(Ok(view.clone()));
                return;
            }
        };
        let Some(live) = &mut self.live else { return };
        let Some(session) = live
            .session(session_id)
            .filter(|session| !session.is_leaving())
        else {
            return;
        };
        session.is_primed = true;
        // It has seen a newer state than the ledger gives: an old copy answers. It is never sent the older one.
        let is_behind = view.version < session.last_version;
        session.is_owed_recovery = view.is_stale || is_behind;
        if is_behind {
            return;
        }
        let text = frames::balance(
            view,
            reason,
            id.as_deref(),
            &self.shared.epoch,
            &self.shared.currencies,
        );
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
            Self::Reader(request) => request
                .min_version
                .is_none_or(|wanted| wanted <= view.version),
        }
    }
}
