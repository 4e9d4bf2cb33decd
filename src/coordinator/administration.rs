//! What an actor does for administrators: it notes what happened lately, and pushes when told to.

use actix::prelude::*;

use crate::ledger::audit::CachedBalance;

use super::BalanceActor;
use super::balance_actor::Change;
use super::displayed::Sent;
use super::messages::{PushNow, SessionId, TellCached};
use super::pacing::Mode;
use super::recent::{Happening, What};

impl BalanceActor {
    pub(super) fn note_entry(&self, change: &Change<'_>) {
        let Change { version, committed_at_us, kind, currency, amount, source, .. } = change;
        let what = What::Entry { kind: *kind, currency: *currency, amount: *amount, source: (*source).clone() };
        self.note(*committed_at_us, *version, what);
    }

    /// `since_us` is the commit that the push is counted from.
    pub(super) fn note_push(&self, pushed: Pushed, since_us: i64) {
        let Pushed { at_us, version, mode, entries, sessions } = pushed;
        let waited_us = u64::try_from(at_us - since_us).unwrap_or(0);
        self.note(at_us, version, What::Push { mode, entries, sessions, waited_us });
    }

    pub(super) fn note_displayed(&self, session_id: SessionId, push: Sent, took_us: u64) {
        let now_us = self.shared.clock.now_us();
        self.note(now_us, push.version, What::Displayed { session_id, mode: push.mode, took_us });
    }

    fn note(&self, at_us: i64, version: i64, what: What) {
        self.shared.recent.note(Happening { at_us, user_id: self.user_id, version, what });
    }
}

/// A push, as it is noted.
pub(super) struct Pushed {
    pub at_us: i64,
    pub version: i64,
    pub mode: Mode,
    pub entries: i64,
    pub sessions: usize,
}

impl Handler<TellCached> for BalanceActor {
    type Result = ();

    fn handle(&mut self, TellCached { reply }: TellCached, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        let currencies = &self.shared.currencies;
        let cached = self.cache.known().map(|cached| CachedBalance {
            version: cached.version,
            balances: currencies.iter().map(|(id, c)| (c.code.clone(), cached.balances.get(id).minor())).collect(),
        });
        // The audit may have ended.
        let _ = reply.send(cached);
    }
}

impl Handler<PushNow> for BalanceActor {
    type Result = ();

    fn handle(&mut self, PushNow { reply }: PushNow, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        let version = self.cache.known().map_or(0, |cached| cached.version);
        let live = self.live.as_deref().filter(|live| live.has_listener_below(version));
        let due = live.and_then(|live| live.pacing.due(&self.shared.policy.intervals));
        if let Some(due) = due {
            self.push(due.mode, ctx);
        }
        // The administrator may have gone.
        let _ = reply.send(Ok(due.is_some()));
    }
}
