//! An actor's reads of the ledger.
//!
//! A read begins only after the messages that were waiting have been handled. So any number of askers at once share one
//! read, and no asker gets a read that began before it asked.

use std::time::Duration;

use actix::prelude::*;
use log::{error, info};

use crate::clock::{Deadline, Moment, Mono};
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::answering::Waiter;
use crate::coordinator::actor::losses::{Lane, read_at_least};
use crate::coordinator::frames::{BalanceView, Reason};
use crate::coordinator::messages::Turn;
use crate::coordinator::registry::gauge::Counted;
use crate::domain::{Account, SessionId};
use crate::ledger::LedgerError;
use crate::limits::{READ_HANGS_MS, READ_WAITERS_MAX};
use crate::planted::{Plant, is_planted};

/// A read that is planned or under way.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Tells it from those that are over.
    number: u32,
    /// What waits for it.
    waiters: Vec<Waiter>,
    /// When it began. Waiters that come later get the next read.
    begun: Option<Mono>,
    /// When it was last begun, perhaps once more beside one that hangs.
    tried: Mono,
    hangs: bool,
    next: Vec<Waiter>,
    /// The next read is wanted, and has to be answered until then.
    next_until: Option<Deadline>,
}

impl Reading {
    /// Everything that waits for a balance.
    pub(super) fn into_waiters(self) -> impl Iterator<Item = Waiter> {
        self.waiters.into_iter().chain(self.next)
    }

    /// Takes out the sessions that wait for their first balance, but for these.
    pub(super) fn take_snapshots(&mut self, but: &[SessionId]) -> Vec<Waiter> {
        let is_snapshot = |waiter: &mut Waiter| match waiter {
            Waiter::Session {
                reason, session_id, ..
            } => matches!(reason, Reason::Snapshot) && !but.contains(session_id),
            Waiter::Reader(_) => false,
        };
        let mut taken: Vec<Waiter> = self.waiters.extract_if(.., is_snapshot).collect();
        taken.extend(self.next.extract_if(.., is_snapshot));
        taken
    }
}

impl BalanceActor {
    /// A change was missed. A read brings it, and is made again until one has.
    pub(super) fn read_missed(&mut self, ctx: &mut Context<Self>) {
        self.lacks_since = Some(self.shared.clock.mono());
        self.request_read(None, ctx);
    }

    /// Plans a read, or joins one that has not begun.
    pub(super) fn request_read(&mut self, waiter: Option<Waiter>, ctx: &mut Context<Self>) {
        let is_new = self.reading.is_none();
        let until = self.shared.clock.deadline(self.shared.policy.answer_within);
        let reading = self.reading.get_or_insert_default();
        let waiters = if reading.begun.is_some() {
            reading.next_until.get_or_insert(until);
            &mut reading.next
        } else {
            &mut reading.waiters
        };
        if waiters.len() >= READ_WAITERS_MAX {
            waiters.retain(|waiter| !waiter.is_gone());
        }
        match waiter {
            Some(waiter) if waiters.len() < READ_WAITERS_MAX => waiters.push(waiter),
            Some(Waiter::Reader(request)) => request.answer(Err(LedgerError::Overloaded)),
            Some(Waiter::Session {
                session_id,
                reason,
                id,
            }) => self.tell_unavailable(session_id, (reason, id), ctx),
            None => {}
        }
        if is_new {
            self.plan_read(until, None, ctx);
        }
    }

    /// The spawned future is polled once the mailbox is drained; then the read begins. It fails when it has no answer by
    /// `until`.
    fn plan_read(&mut self, until: Deadline, turn: Option<Turn>, ctx: &mut Context<Self>) {
        self.reads = self.reads.wrapping_add(1);
        let number = self.reads;
        if let Some(reading) = &mut self.reading {
            reading.number = number;
        }
        self.start_read(number, until, turn, ctx);
    }

    fn start_read(
        &mut self,
        number: u32,
        until: Deadline,
        turn: Option<Turn>,
        ctx: &mut Context<Self>,
    ) {
        let counted = Counted::one(&self.gauge, |gauge| &gauge.reads);
        let begin = actix::fut::ready(()).then(move |(), actor: &mut Self, _| {
            let began = actor.shared.clock.now();
            if let Some(reading) = actor.reading_of(number) {
                reading.begun.get_or_insert(began.mono);
                reading.tried = began.mono;
            }
            let doubt = actor.doubt();
            let epoch = doubt.epoch.number;
            let mut answer = Box::pin(read_at_least(
                actor.shared.ledger.clone(),
                doubt,
                Lane::Asked,
            ));
            let hangs = Duration::from_millis(READ_HANGS_MS);
            let hangs_at = actor.shared.clock.deadline(hangs).min(until);
            let at_first = async move {
                tokio::time::timeout_at(hangs_at.instant(), &mut answer)
                    .await
                    .map_err(|_| answer)
            };
            at_first
                .into_actor(actor)
                .then(move |at_first, actor: &mut Self, _| {
                    // One that hangs keeps no other user waiting.
                    drop(turn);
                    // Of two tries the other one may have ended it.
                    if at_first.is_err()
                        && let Some(reading) = actor.reading_of(number)
                    {
                        // The registry then asks whether the ledger answers, and the read is tried again.
                        reading.hangs = true;
                        actor.settle_staleness(true);
                    }
                    let ledger = actor.shared.ledger.clone();
                    let at_last = async move {
                        match at_first {
                            Ok(result) => result,
                            Err(answer) => tokio::time::timeout_at(until.instant(), answer)
                                .await
                                .unwrap_or_else(|_| {
                                    ledger.standing().unanswered();
                                    Err(LedgerError::Unavailable("no answer in time".into()))
                                }),
                        }
                    };
                    at_last
                        .into_actor(actor)
                        .map(move |result, actor: &mut Self, ctx| {
                            drop(counted);
                            actor.follow_epoch(ctx);
                            if actor.cache.epoch().number == epoch {
                                actor.read(number, result, began, ctx);
                            }
                        })
                })
        });
        ctx.spawn(begin);
    }

    /// Reads the ledger though nothing asks for it. What is asked for meanwhile has a read of its own, which overtakes this
    /// one.
    pub(super) fn revalidate(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        self.prune(ctx);
        let counted = Counted::one(&self.gauge, |gauge| &gauge.reads);
        let began = self.shared.clock.now();
        let doubt = self.doubt();
        let epoch = doubt.epoch.number;
        let answer = read_at_least(self.shared.ledger.clone(), doubt, Lane::Background);
        let read = answer
            .into_actor(self)
            .map(move |result, actor: &mut Self, ctx| {
                drop((counted, turn));
                actor.follow_epoch(ctx);
                if actor.cache.epoch().number != epoch {
                    return;
                }
                match result {
                    Ok(account) => actor.read_succeeded(account, began, Vec::new(), ctx),
                    Err(error) => actor.read_failed(&error, Vec::new(), ctx),
                }
            });
        ctx.spawn(read);
    }

    /// The read of this number, unless it is over.
    fn reading_of(&mut self, number: u32) -> Option<&mut Reading> {
        let reading = self.reading.as_deref_mut();
        reading.filter(|reading| reading.number == number)
    }

    /// Reads for the sessions that are owed a balance. A read that began before may hang on a connection that died with the
    /// ledger, so it is tried again beside it. Each try ends in its time, so there are never more than a few.
    pub(super) fn read_again(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        let now = self.shared.clock.mono();
        let until = self.shared.clock.deadline(self.shared.policy.answer_within);
        let Some(reading) = &mut self.reading else {
            self.reading = Some(Box::default());
            return self.plan_read(until, Some(turn), ctx);
        };
        if reading.begun.is_some() && now.us_since(reading.tried) >= READ_HANGS_MS * 1000 {
            reading.tried = now;
            let number = reading.number;
            self.start_read(number, until, Some(turn), ctx);
        }
    }

    fn read(
        &mut self,
        number: u32,
        result: Result<Account, LedgerError>,
        began: Moment,
        ctx: &mut Context<Self>,
    ) {
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
                self.read_failed(&error, waiters, ctx);
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
                    self.plan_read(until, None, ctx);
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
        if std::mem::take(&mut self.is_unfit) {
            info!("the balance of user {} can be read again", self.user_id);
        }
        let newest = self.gauge.version.get();
        let known = self.cache.known().map(|known| known.account.version);
        if account.version.max(known.unwrap_or(account.version)) < newest {
            // Since it began, a duplicate has told of a later entry, and its sender was answered: the next read brings it.
            self.read_missed(ctx);
            for waiter in waiters {
                self.request_read(Some(waiter), ctx);
            }
            return;
        }
        self.is_hearsay = false;
        self.lacks_since.take_if(|since| *since <= began.mono);
        // What another process committed may be told of later, or never; a deposit among it has to be pushed at once.
        self.note_gap_before(account.version + 1);
        let has_news = self.cache.read(account, began);
        let Some(view) = self.cache.known().cloned() else {
            return;
        };
        let version = view.account.version;
        self.gauge.verified.set(Some(view.verified.mono));
        self.gauge.version.update(|known| known.max(version));
        if let Some(live) = &mut self.live {
            if has_news {
                // Another node wrote, or a hand. Its kind is not known, so it is paced.
                let ended = self.shared.clock.now();
                live.pending.note_read(version, began, ended);
            }
            live.pending.ensure_base(&view.account);
        }
        self.answer_version_waiters(ctx);
        for waiter in waiters {
            if waiter.is_content_with(&view) {
                self.answer(waiter, &view, ctx);
            } else if let Waiter::Reader(request) = waiter {
                self.wait_for_version(request, ctx);
            }
        }
        self.recover(&view, ctx);
        self.push_when_due(ctx);
    }

    /// Sends a fresh balance to the sessions that are owed one.
    pub(super) fn recover(&mut self, view: &BalanceView, ctx: &mut Context<Self>) {
        // It may have gone again meanwhile; then only a session that has no balance at all is sent this one, marked.
        let is_away = self.shared.ledger.standing().is_away();
        let sessions = self.live.iter().flat_map(|live| &live.sessions);
        let owed = sessions.filter(|session| session.is_owed_recovery);
        let owed = owed.filter(|session| !is_away || !session.is_primed);
        let owed: Vec<SessionId> = owed.map(|session| session.id).collect();
        for session_id in owed {
            let waiter = if is_away {
                Waiter::snapshot(session_id)
            } else {
                Waiter::recovered(session_id)
            };
            self.answer(waiter, view, ctx);
        }
        self.settle_staleness(self.owes_recovery());
    }

    /// The last known balance is the answer, marked stale. That a commit has confirmed it since the read began does not
    /// help: others may have followed.
    fn read_failed(&mut self, error: &LedgerError, waiters: Vec<Waiter>, ctx: &mut Context<Self>) {
        let is_unfit = matches!(error, LedgerError::Unfit(_));
        if is_unfit && !self.is_unfit {
            error!(
                "the balance of user {} can't be read, and is tried again from time to time: {error}",
                self.user_id
            );
        }
        // While the ledger is away, nothing new is known of what it holds.
        self.is_unfit |= is_unfit;
        let mut last = self.cache.known().cloned();
        if let Some(view) = &mut last {
            view.is_stale = !is_planted(Plant::StaleUnmarked);
        }
        for waiter in waiters {
            match (waiter, &last) {
                (waiter, Some(view)) if waiter.is_content_with(view) => {
                    self.answer(waiter, view, ctx)
                }
                (Waiter::Reader(request), _) => request.answer(Err(error.clone())),
                (
                    Waiter::Session {
                        session_id,
                        reason,
                        id,
                    },
                    _,
                ) => self.tell_unavailable(session_id, (reason, id), ctx),
            }
        }
        self.settle_staleness(self.owes_recovery());
    }

    /// Whether the registry has to tell when the ledger is back: a session is owed a fresh balance, or what was missed, or a
    /// read hangs, which has to be tried again.
    pub(super) fn owes_recovery(&self) -> bool {
        let hangs = self.reading.as_ref().is_some_and(|reading| reading.hangs);
        let lacks = self.has_lost || self.lacks_since.is_some();
        if hangs || (lacks && self.live.is_some()) {
            return true;
        }
        let mut sessions = self.live.iter().flat_map(|live| &live.sessions);
        sessions.any(|session| session.is_owed_recovery)
    }
}
