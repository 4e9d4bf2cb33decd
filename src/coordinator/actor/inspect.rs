//! What an actor does for administrators: it notes what happened lately, and pushes when told to.

use actix::prelude::*;

use crate::clock;
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::cache::Moment;
use crate::coordinator::actor::displayed::Sent;
use crate::coordinator::actor::sessions::{Attached, Event, Live};
use crate::coordinator::frames::Shown;
use crate::coordinator::journal::{Happening, What};
use crate::coordinator::messages::{Change, InspectActor, InspectSessions, PushNow, TellCached};
use crate::coordinator::pacing::Mode;
use crate::coordinator::views::{
    ActorCounters, ActorInspection, EventInspection, Hold, PendingInspection, SessionInspection,
};
use crate::domain::SessionId;
use crate::ledger::audit::CachedBalance;

impl BalanceActor {
    pub(super) fn note_entry(&self, change: &Change<'_>) {
        let Change {
            version,
            committed_at_us,
            kind,
            currency,
            amount,
            source,
            ..
        } = change;
        let what = What::Entry {
            kind: *kind,
            currency: *currency,
            amount: *amount,
            source: (*source).clone(),
        };
        self.note(*committed_at_us, *version, what);
    }

    /// `since_us` is the commit that the push is counted from.
    pub(super) fn note_push(&self, pushed: Pushed, since_us: i64) {
        let Pushed {
            at_us,
            version,
            mode,
            entries,
            sessions,
        } = pushed;
        let waited_us = u64::try_from(at_us - since_us).unwrap_or(0);
        self.note(
            at_us,
            version,
            What::Push {
                mode,
                entries,
                sessions,
                waited_us,
            },
        );
    }

    pub(super) fn note_displayed(&self, session_id: SessionId, push: Sent, took_us: u64) {
        let now_us = self.shared.clock.now_us();
        self.note(
            now_us,
            push.version,
            What::Displayed {
                session_id,
                mode: push.mode,
                took_us,
            },
        );
    }

    fn note(&self, at_us: i64, version: i64, what: What) {
        self.shared.recent.note(Happening {
            at_us,
            user_id: self.user_id,
            version,
            what,
        });
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
            balances: currencies
                .iter()
                .map(|(id, c)| (c.code.clone(), cached.balances.get(id).minor()))
                .collect(),
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
        let live = self
            .live
            .as_deref()
            .filter(|live| live.has_listener_below(version));
        let due = live.and_then(|live| live.pacing.due(&self.shared.policy.intervals));
        if let Some(due) = due {
            self.push(due.mode, ctx);
        }
        // The administrator may have gone.
        let _ = reply.send(Ok(due.is_some()));
    }
}

impl Handler<InspectActor> for BalanceActor {
    type Result = ();

    fn handle(&mut self, InspectActor { reply }: InspectActor, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        // The administrator may have gone.
        let _ = reply.send(self.inspect());
    }
}

impl Handler<InspectSessions> for BalanceActor {
    type Result = ();

    fn handle(&mut self, InspectSessions { reply }: InspectSessions, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        let _ = reply.send(
            self.live
                .as_deref()
                .map(inspect_sessions)
                .unwrap_or_default(),
        );
    }
}

impl BalanceActor {
    fn inspect(&self) -> ActorInspection {
        let now = self.now();
        let cached = self.cache.known();
        let live = self.live.as_deref();
        ActorInspection {
            stale: false,
            balances: cached.and_then(|c| {
                serde_json::to_value(Shown(&self.shared.currencies, &c.balances)).ok()
            }),
            version: cached.map(|c| c.version),
            verified_at: cached.map(|c| clock::rfc3339(c.verified_at_us)),
            age_ms: cached.map(|c| now.us.saturating_sub(c.verified_us) / 1000),
            pending: live
                .zip(cached)
                .and_then(|(live, cached)| self.inspect_pending(live, cached.version, now)),
            sessions: live.map(inspect_sessions).unwrap_or_default(),
            counters: ActorCounters {
                entries: self.gauge.entries.get(),
                version_waiters: self.version_waiters.len(),
                is_stale: Some(self.is_stale),
            },
            events: live
                .map(|live| live.events.iter().map(inspect_event).collect())
                .unwrap_or_default(),
            ..ActorInspection::from_outside(self.user_id, &self.gauge, &self.shared)
        }
    }

    fn inspect_pending(&self, live: &Live, version: i64, now: Moment) -> Option<PendingInspection> {
        live.pacing.waiting_us()?;
        // Changes that every session knows already wait for the next change, not for a time.
        let has_listener = live.has_listener_below(version);
        let due = live
            .pacing
            .due(&self.shared.policy.intervals)
            .filter(|_| has_listener);
        let wait_us = due.map(|due| due.at_us.saturating_sub(now.us));
        let hold = if live.sessions.iter().all(|session| session.is_primed) {
            Hold::KnownToSessions
        } else {
            Hold::Snapshot
        };
        Some(PendingInspection {
            first: live.pending.first_committed_at_us.map(clock::rfc3339),
            last: clock::rfc3339(live.pending.committed_at_us),
            entries: live.base.as_ref().map_or(0, |base| version - base.version),
            next_push_in_ms: wait_us.map(|wait_us| wait_us.div_ceil(1000)),
            next_push_at: wait_us
                .map(|wait_us| clock::rfc3339(now.at_us.saturating_add_unsigned(wait_us))),
            waits_for: due.map(|due| due.rule),
            mode: due.map(|due| due.mode),
            held_by: (!has_listener).then_some(hold),
        })
    }
}

fn inspect_event(event: &Event) -> EventInspection {
    EventInspection {
        at: clock::rfc3339(event.at_us),
        what: event.what,
        version: event.version,
    }
}

fn inspect_sessions(live: &Live) -> Vec<SessionInspection> {
    let one = |session: &Attached| SessionInspection {
        id: session.id,
        connected_at: clock::rfc3339(session.peer.connected_at_us),
        last_version: session.last_version,
        displayed_version: session.displayed_version,
        address: session.peer.address,
        user_agent: session.peer.user_agent.as_deref().map(str::to_owned),
        is_lagging: !session.owed.is_empty(),
    };
    live.sessions.iter().map(one).collect()
}
