//! An actor's answers to "what is the balance": from memory while it is trusted, else from the ledger.
//!
//! When the ledger is away, the answer is the last known balance, marked stale, or an error; sessions get a fresh one when
//! the ledger is back.

use actix::prelude::*;
use log::debug;
use serde_json::value::RawValue;

use crate::clock::Mono;
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::sessions::{Owed, Told};
use crate::coordinator::frames::{self, BalanceFrame, BalanceView, Reason, Shown};
use crate::coordinator::messages::{AttachSession, GetBalance};
use crate::coordinator::registry::gauge::Counted;
use crate::domain::SessionId;
use crate::ledger::LedgerError;
use crate::limits::{MIN_VERSION_WAIT_MS, VERSION_WAITERS_MAX};
use crate::planted::{Plant, is_planted};
use crate::telemetry::requests;

/// What waits for a balance.
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

/// A reader that waits for a version.
#[derive(Debug)]
pub(super) struct VersionWaiter {
    request: GetBalance,
    /// By then the asker no longer waits.
    until: Mono,
    _counted: Counted,
}

impl Waiter {
    pub(super) fn snapshot(session_id: SessionId) -> Self {
        Self::Session {
            session_id,
            reason: Reason::Snapshot,
            id: None,
        }
    }

    pub(super) fn recovered(session_id: SessionId) -> Self {
        Self::Session {
            session_id,
            reason: Reason::Recovered,
            id: None,
        }
    }

    pub(super) fn is_content_with(&self, view: &BalanceView) -> bool {
        match self {
            Self::Session { .. } => true,
            Self::Reader(request) => request.is_content_with(view.account.version),
        }
    }

    /// Whether it no longer waits; for a session that shows when it is answered.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Session { .. } => false,
            Self::Reader(request) => request.reply.is_closed(),
        }
    }
}

impl BalanceActor {
    pub(super) fn get_balance(&mut self, request: GetBalance, ctx: &mut Context<Self>) {
        let is_fresh = request.is_fresh;
        requests::of(request.request, || {
            self.balance_for(Waiter::Reader(request), is_fresh, ctx);
        });
    }

    pub(super) fn refresh(
        &mut self,
        session: AttachSession,
        id: Option<Box<RawValue>>,
        ctx: &mut Context<Self>,
    ) {
        let waiter = Waiter::Session {
            session_id: session.session_id,
            reason: Reason::Refresh,
            id,
        };
        self.attach(session, ctx);
        if is_planted(Plant::RefreshFromMemory) {
            self.balance_for(waiter, false, ctx);
        } else {
            self.request_read(Some(waiter), ctx);
        }
    }

    /// Answers from memory when that is allowed, trusted and new enough; else asks the ledger.
    pub(super) fn balance_for(&mut self, waiter: Waiter, is_fresh: bool, ctx: &mut Context<Self>) {
        let now = self.shared.clock.mono();
        let known = self.cache.fresh(now, self.shared.policy.cache_ttl_us);
        // Something newer may have been heard of, or what is known may have been lost.
        let least = self.gauge.version.get();
        let may_be_trusted = !is_fresh && self.trusts_memory(now);
        let known = known.filter(|view| {
            may_be_trusted && view.account.version >= least && waiter.is_content_with(view)
        });
        match known.cloned() {
            Some(view) => {
                self.shared.counters.cache_hits.inc();
                debug!(
                    "[BalanceCache] Cache hit user_id={} version={}",
                    self.user_id, view.account.version
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

    /// Whether what is known may be an answer: it is the ledger's, as far as this process can tell without asking.
    fn trusts_memory(&self, now: Mono) -> bool {
        let asks_ledger =
            self.shared.policy.reads_ask_ledger && !is_planted(Plant::ReadsFromMemory);
        let is_known = !self.is_hearsay && !self.has_lost && self.lacks_since.is_none();
        !asks_ledger && is_known && self.is_covered(now)
    }

    /// Whether what a commit has told may be shown to sessions that wait. A process that is alone hears of every commit. Beside others, what is
    /// told may be late, and a later commit may have been answered elsewhere.
    pub(super) fn trusts_commits(&self) -> bool {
        let is_alone = self.shared.coverage.is_alone();
        is_alone || self.trusts_memory(self.shared.clock.mono())
    }

    /// Whether no other process can have committed anything that this one has not heard of.
    fn is_covered(&self, now: Mono) -> bool {
        let verified = self.gauge.verified.get().unwrap_or_default();
        let coverage = &self.shared.coverage;
        coverage.trusts(self.user_id, verified, now)
    }

    /// A view as it may be shown: marked, however young it is, while the ledger is known to be away or to have gone back.
    fn shown(&self, view: &BalanceView) -> BalanceView {
        let is_away = self.shared.ledger.standing().is_away();
        let is_doubtful = self.has_lost || is_away && !is_planted(Plant::OutageForgotten);
        BalanceView {
            is_stale: (view.is_stale || is_doubtful) && !is_planted(Plant::StaleUnmarked),
            ..view.clone()
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
            Waiter::Reader(request) => return request.answer(Ok(self.shown(view))),
        };
        let view = &self.shown(view);
        let Some(live) = &mut self.live else { return };
        let Some(session) = live
            .session(session_id)
            .filter(|session| !session.is_leaving())
        else {
            return;
        };
        session.is_primed = true;
        // The ledger may give an older state than the session has seen, from a copy that lags. That one is not sent.
        let version = view.account.version;
        let is_behind = version < session.last_version;
        session.is_owed_recovery = view.is_stale || is_behind;
        if is_behind {
            return match reason {
                Reason::Refresh => self.tell_unavailable(session_id, (reason, id), ctx),
                Reason::Snapshot | Reason::Recovered => self.settle_staleness(true),
            };
        }
        let text = frames::text(&BalanceFrame {
            reason,
            id: id.as_deref(),
            user_id: self.user_id,
            epoch: &self.cache.epoch().name,
            version,
            balances: Shown(&self.shared.currencies, &view.account.balances),
            as_of: view.verified.wall,
            stale: view.is_stale,
        });
        match session.tell(text, version) {
            Told::Sent => live.settle_pending(&view.account),
            Told::Full => {
                session.owe((reason, id));
                self.retry_lagging(ctx);
            }
            Told::Gone => self.prune(ctx),
        }
        // From memory, too: the session is told when the ledger is back.
        if view.is_stale {
            self.settle_staleness(self.owes_recovery());
        }
    }

    /// Without a balance to send, the error is the answer; a fresh balance is owed.
    pub(super) fn tell_unavailable(
        &mut self,
        session_id: SessionId,
        owed: Owed,
        ctx: &mut Context<Self>,
    ) {
        let retry_after_ms = self.shared.policy.retry_after_ms;
        let text = frames::ledger_unavailable(owed.1.as_deref(), retry_after_ms);
        let live = self.live.as_mut();
        let Some(session) = live.and_then(|live| live.session(session_id)) else {
            return;
        };
        session.is_owed_recovery = true;
        match session.tell(text, 0) {
            Told::Sent => {}
            Told::Full => {
                session.owe(owed);
                self.retry_lagging(ctx);
            }
            Told::Gone => self.prune(ctx),
        }
        self.settle_staleness(self.owes_recovery());
    }

    /// Answers the readers whose version is there. That a commit has told of it is not enough for a reader that asks for the
    /// ledger's own state: the ledger may have gone back since.
    pub(super) fn answer_version_waiters(&mut self, ctx: &mut Context<Self>) {
        let Some(view) = self.cache.known().map(|known| self.shown(known)) else {
            return;
        };
        let version = view.account.version;
        let is_content = |waiter: &mut VersionWaiter| waiter.request.is_content_with(version);
        let content: Vec<VersionWaiter> = self.version_waiters.extract_if(.., is_content).collect();
        for VersionWaiter { request, .. } in content {
            if request.is_fresh || !self.trusts_memory(self.shared.clock.mono()) {
                self.request_read(Some(Waiter::Reader(request)), ctx);
            } else {
                request.answer(Ok(view.clone()));
            }
        }
    }

    /// Keeps a reader until its version is there or its wait is over.
    pub(super) fn wait_for_version(&mut self, request: GetBalance, ctx: &mut Context<Self>) {
        self.forget_gone_waiters(ctx);
        if request.reply.is_closed() {
            return;
        }
        if self.version_waiters.len() >= VERSION_WAITERS_MAX {
            return request.answer(Err(LedgerError::Overloaded));
        }
        let now = self.shared.clock.mono();
        self.version_waiters.push(VersionWaiter {
            request,
            until: now.plus_us(2 * MIN_VERSION_WAIT_MS * 1000),
            _counted: Counted::one(&self.gauge, |gauge| &gauge.version_waiters),
        });
        self.wake_for_waiters(ctx);
    }

    /// Drops the readers that no longer wait, and looks again when the wait of the oldest one is over.
    pub(super) fn forget_gone_waiters(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.mono();
        self.version_waiters
            .retain(|waiter| !waiter.request.reply.is_closed() && now < waiter.until);
        self.wake_for_waiters(ctx);
    }

    /// The actor's one timer is enough: all wait equally long, so the oldest one is the first to be over.
    fn wake_for_waiters(&mut self, ctx: &mut Context<Self>) {
        if let Some(oldest) = self.version_waiters.first() {
            self.wake_at(oldest.until, ctx);
        }
    }
}
