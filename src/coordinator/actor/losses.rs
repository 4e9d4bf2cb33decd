//! What an actor does when the ledger has gone back: failed over to a copy that lacks commits, or restored.
//!
//! Versions of a user only grow. So an entry that was sent to the ledger when a version was known, and got one that is not
//! newer, proves that the ledger has gone back; and a read that began when a version was known, and gives an older one, makes
//! it likely ([`read_at_least`] then has it looked at again). A read that began *before* the version was known proves
//! nothing: it may have been overtaken by the commit. That is why what was known is noted when the read or the posting
//! begins, not when its answer comes.
//!
//! Then another epoch begins ([`crate::ledger::Standing`]), and every actor starts over with the next thing that it does:
//! its sessions are closed and come back, its memory is dropped. What was sent to the ledger in an earlier epoch is answered
//! but not learned; the ledger is read instead.

use std::sync::Arc;

use actix::prelude::*;

use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::answering::Waiter;
use crate::coordinator::actor::cache::AccountCache;
use crate::coordinator::actor::pending::Pending;
use crate::coordinator::messages::{Changed, CloseReason, CommittedEntry, Known};
use crate::domain::Account;
use crate::ledger::{Ledger, LedgerError, Loss};
use crate::planted::{Plant, is_planted};

/// Which of the ledger's queues a read waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Something waits for it.
    Asked,
    /// Behind those that something waits for.
    Background,
}

/// Reads an account that had at least the version of `doubt` when this began. An older one is never the answer: then the
/// ledger is asked again whether it has gone back. When it has, another epoch has begun before the error is returned.
pub(super) async fn read_at_least(
    ledger: Arc<dyn Ledger>,
    doubt: Loss,
    lane: Lane,
) -> Result<Account, LedgerError> {
    let (user_id, known) = (doubt.user_id, doubt.known);
    let epoch = doubt.epoch.number;
    let has_new_epoch = |ledger: &dyn Ledger| ledger.standing().epoch_number() != epoch;
    let gone_back = || Err(LedgerError::Unavailable("it has gone back".into()));
    if doubt.is_proven {
        ledger.went_back(doubt).await?;
        return gone_back();
    }
    let account = match lane {
        Lane::Asked => ledger.account(user_id).await?,
        Lane::Background => ledger.account_in_background(user_id).await?,
    };
    let is_trusted = is_planted(Plant::OlderReadServed) || is_planted(Plant::LossIgnored);
    if account.version >= known || is_trusted {
        return Ok(account);
    }
    ledger.went_back(doubt).await?;
    if has_new_epoch(&*ledger) {
        return gone_back();
    }
    let account = ledger.account(user_id).await?;
    if account.version >= known {
        return Ok(account);
    }
    Err(LedgerError::Unavailable(
        "a copy that lags behind has answered".into(),
    ))
}

impl BalanceActor {
    /// What is known now.
    pub(super) fn known(&self) -> Known {
        Known {
            epoch: self.cache.epoch().number,
            version: self.gauge.version.get(),
        }
    }

    /// What a read that begins now must not be below.
    pub(super) fn doubt(&self) -> Loss {
        Loss {
            user_id: self.user_id,
            known: self.gauge.version.get(),
            is_proven: self.has_lost,
            epoch: self.cache.epoch().clone(),
        }
    }

    /// Whether entries that were sent to the ledger when `known` was known may be learned. Otherwise the ledger is read.
    pub(super) fn can_learn(
        &mut self,
        known: Known,
        first: Option<&CommittedEntry>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Some(first) = first else { return true };
        if known.epoch != self.cache.epoch().number {
            // Nothing that is learned from now on is known to be the newest, until a read tells.
            self.lacks_since = Some(self.shared.clock.mono());
            if self.live.is_some() || self.cache.known().is_some() {
                self.request_read(None, ctx);
            }
            return false;
        }
        if first.version <= known.version && !is_planted(Plant::LossIgnored) {
            self.has_lost = true;
            self.settle_staleness(self.owes_recovery());
            self.read_missed(ctx);
            return false;
        }
        true
    }

    /// Takes entries in that were committed, but not through this actor.
    pub(super) fn changed(&mut self, changed: Changed, ctx: &mut Context<Self>) {
        let Changed { entries, known } = changed;
        if !self.can_learn(known, entries.first(), ctx) {
            return;
        }
        let newest = self.gauge.version.get();
        let is_doubtful = entries.first().is_some_and(|first| first.version <= newest);
        for entry in entries {
            self.learn(entry, ctx);
        }
        if is_doubtful {
            // Overtaken by another commit, or the ledger has gone back: a read tells.
            self.read_missed(ctx);
        }
        self.tell_committed(ctx);
    }

    /// Starts over when another epoch of the ledger has begun.
    pub(super) fn follow_epoch(&mut self, ctx: &mut Context<Self>) {
        if self.cache.epoch().number == self.shared.ledger.standing().epoch_number() {
            return;
        }
        self.cache = AccountCache::new(self.shared.ledger.standing().epoch());
        self.gauge.version.set(0);
        self.gauge.verified.set(None);
        self.has_lost = false;
        self.lacks_since = None;
        if let Some(live) = &mut self.live {
            live.pending = Pending::since(self.gauge.last_push.get());
        }
        self.close_sessions(CloseReason::GoingAway, ctx);
        self.settle_staleness(self.owes_recovery());
        // The read that is under way is of no use; its sessions come back, and its readers are answered by another.
        let waiters = self.reading.take().map(|reading| reading.into_waiters());
        for waiter in waiters.into_iter().flatten() {
            if matches!(waiter, Waiter::Reader(_)) {
                self.request_read(Some(waiter), ctx);
            }
        }
    }
}
