//! The actor of one user: everything that happens to the user's balance passes its mailbox, one message after another.
//!
//! Owns the cached balance, the user's sessions, the pacing and the postings under way. Its parts:
//! [`crate::coordinator::actor::posting`] (entries to the ledger and back), [`crate::coordinator::actor::answering`]
//! (balances for sessions and readers), [`crate::coordinator::actor::reading`] (reads of the ledger),
//! [`crate::coordinator::actor::pushing`] (when sessions are sent changes), [`crate::coordinator::actor::attaching`]. Refuses only what exceeds its bounds. Runs on the coordinator's arbiter.

mod answering;
mod attaching;
mod cache;
mod displayed;
mod inspect;
mod losses;
mod missed;
mod pending;
mod posting;
mod pushing;
mod reading;
mod sessions;

use std::rc::Rc;

use actix::WeakRecipient;
use actix::prelude::*;
use log::debug;

use crate::clock::{Mono, Wall};
use crate::coordinator::actor::answering::VersionWaiter;
use crate::coordinator::actor::cache::AccountCache;
use crate::coordinator::actor::posting::Lanes;
use crate::coordinator::actor::pushing::Timer;
use crate::coordinator::actor::reading::Reading;
use crate::coordinator::actor::sessions::Live;
use crate::coordinator::journal::{Happening, What};
use crate::coordinator::messages::{CommittedEntry, SessionsGone, ToActor};
use crate::coordinator::policy::Shared;
use crate::coordinator::registry::gauge::Gauge;
use crate::coordinator::registry::stale::{Cause, StaleUsers};
use crate::domain::UserId;
use crate::telemetry::requests;

/// One user's actor.
#[derive(Debug)]
pub struct BalanceActor {
    user_id: UserId,
    shared: Rc<Shared>,
    gauge: Rc<Gauge>,
    registry: WeakRecipient<SessionsGone>,
    stale: Rc<StaleUsers>,
    cache: AccountCache,
    /// When the actor was made.
    made: Wall,
    /// What it knows was committed before it was made, and heard of later: later commits may have had no actor to hear of
    /// them.
    is_hearsay: bool,
    live: Option<Box<Live>>,
    lanes: Option<Box<Lanes>>,
    reading: Option<Box<Reading>>,
    /// Reads planned so far.
    reads: u32,
    /// In the order in which they came.
    version_waiters: Vec<VersionWaiter>,
    timer: Option<Timer>,
    /// A session was sent a stale balance or none and is owed a fresh one, or a change is known to be missing.
    is_stale: bool,
    /// Since when it knows of a change whose state only a read brings, one that begins later.
    lacks_since: Option<Mono>,
    /// An entry has proven that the ledger has gone back; until another epoch begins, nothing that is known is trusted.
    has_lost: bool,
    /// The last read found what this program can't have written.
    is_unfit: bool,
}

impl BalanceActor {
    pub(super) fn new(
        user_id: UserId,
        shared: Rc<Shared>,
        gauge: Rc<Gauge>,
        registry: WeakRecipient<SessionsGone>,
        stale: Rc<StaleUsers>,
    ) -> Self {
        let cache = AccountCache::new(shared.ledger.standing().epoch());
        Self {
            user_id,
            made: shared.clock.wall(),
            is_hearsay: false,
            shared,
            gauge,
            registry,
            stale,
            cache,
            live: None,
            lanes: None,
            reading: None,
            reads: 0,
            version_waiters: Vec::new(),
            timer: None,
            is_stale: false,
            lacks_since: None,
            has_lost: false,
            is_unfit: false,
        }
    }

    /// Every message is counted out of the queue. What did not fit into the mailbox is made up for: after a change the ledger
    /// is read, and sessions that have ended are dropped.
    fn dequeue(&mut self, ctx: &mut Context<Self>) {
        self.gauge.queued.update(|queued| queued.saturating_sub(1));
        for session_id in self.gauge.ended.take() {
            self.detach(session_id, ctx);
        }
        if self.gauge.missed_a_change.take() {
            self.read_missed(ctx);
        }
    }

    /// Takes a committed entry into the cache, the journal and the next push, and answers the readers that wait for its
    /// version.
    fn learn(&mut self, entry: CommittedEntry, ctx: &mut Context<Self>) {
        let CommittedEntry {
            event_id,
            version,
            balances,
            committed_at,
            kind,
            currency,
            amount,
            source,
            request,
        } = entry;
        requests::of(request, || {
            debug!(
                "entry committed event_id={:?} user_id={} version={version} kind={}",
                event_id.as_str(),
                self.user_id,
                kind.as_str()
            );
        });
        let mut now = self.shared.clock.now();
        if committed_at >= self.made {
            self.is_hearsay = false;
        } else if self.is_hearsay || self.cache.known().is_none() {
            self.is_hearsay = true;
            now = self.shared.moment_of(committed_at);
        }
        let is_alone = self.shared.coverage.is_alone();
        if !is_alone {
            now = self.shared.moment_of(committed_at);
        }
        self.note_gap_before(version);
        self.cache.committed(version, balances, now);
        let gauge = &self.gauge;
        if is_alone {
            // Beside others, one of them may have committed since, and when this was is known by a wall clock alone.
            gauge.verified.set(Some(now.mono));
        }
        gauge.entries.update(|entries| entries + 1);
        gauge.version.update(|known| known.max(version));
        if let (Some(live), Some(known)) = (&mut self.live, self.cache.known()) {
            let committed = self.shared.moment_of(committed_at);
            let mode = self.shared.mode_of(kind);
            live.pending.note(version, mode, committed, &source);
            live.pending.note_request(version, request);
            live.pending.ensure_base(&known.account);
        }
        let what = What::Entry {
            event_id,
            kind,
            currency,
            amount,
            source,
        };
        self.shared.recent.note(Happening {
            at: committed_at,
            user_id: self.user_id,
            version,
            what,
        });
        self.answer_version_waiters(ctx);
    }

    /// Has the registry read the balance again while it is owed to a session, and counts the actors that owe one.
    fn settle_staleness(&mut self, is_stale: bool) {
        if is_stale {
            let cause = if self.is_unfit {
                Cause::Unfit
            } else {
                Cause::Away
            };
            let now = self.shared.clock.mono();
            self.stale.enter(self.user_id, &self.gauge, cause, now);
        } else if self.is_stale {
            self.stale.leave(self.user_id, &self.gauge);
        }
        match (self.is_stale, is_stale) {
            (false, true) => self.shared.counters.actors_stale.up(),
            (true, false) => self.shared.counters.actors_stale.down(),
            _ => {}
        }
        self.is_stale = is_stale;
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

impl Handler<ToActor> for BalanceActor {
    type Result = ();

    fn handle(&mut self, message: ToActor, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        self.follow_epoch(ctx);
        match message {
            ToActor::PostEntries(request) => self.post(request, ctx),
            ToActor::BalanceChanged(changed) => self.changed(changed, ctx),
            ToActor::Heard(commit) => self.heard(commit, ctx),
            ToActor::Missed(missed) => self.missed(missed, ctx),
            // It has, above.
            ToActor::FollowEpoch => {}
            ToActor::GetBalance(request) => self.get_balance(request, ctx),
            ToActor::AttachSession(session) => self.attach(session, ctx),
            ToActor::RefreshSession { session, id } => self.refresh(*session, id, ctx),
            ToActor::DetachSession { session_id } => self.detach(session_id, ctx),
            ToActor::ReportDisplayed {
                session_id,
                version,
            } => self.displayed(session_id, version),
            ToActor::CloseSessions(reason) => self.close_sessions(reason, ctx),
            // The asker may have gone; its answer is then lost.
            ToActor::PushNow { reply } => _ = reply.send(Ok(self.push_now(ctx))),
            ToActor::InspectActor { reply } => _ = reply.send(self.inspect()),
            ToActor::InspectSessions { reply } => _ = reply.send(self.inspect_sessions()),
            ToActor::PeekBalance { reply } => {
                let known = self.cache.known().map(|known| known.account.clone());
                let _ = reply.send(known);
            }
            ToActor::ReadAgain(turn) if self.is_stale => self.read_again(turn, ctx),
            ToActor::ReadAgain(_) => {}
            ToActor::Revalidate(turn) => self.revalidate(turn, ctx),
            ToActor::Retire => ctx.stop(),
            #[cfg(feature = "simulation")]
            ToActor::Crash => panic!("planned"),
        }
    }
}
