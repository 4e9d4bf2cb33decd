//! How an actor looks from inside, for administrators.

use crate::clock::Moment;
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::sessions::{Attached, Live};
use crate::coordinator::frames::Shown;
use crate::coordinator::views::{
    ActorInspection, Hold, PendingInspection, SessionInspection, counters,
};
use crate::limits::ACTOR_EVENTS_MAX;

impl BalanceActor {
    pub(super) fn inspect(&mut self) -> ActorInspection {
        if let (Some(live), Some(known)) = (&mut self.live, self.cache.known()) {
            live.settle_pending(&known.account);
        }
        let now = self.shared.clock.now();
        let known = self.cache.known();
        let pending = self.live.as_deref().zip(known);
        let pending = pending
            .and_then(|(live, known)| self.inspect_pending(live, known.account.version, now));
        let balances = |shown: Shown<'_>| serde_json::to_value(shown).ok();
        ActorInspection {
            stale: false,
            balances: known.and_then(|known| {
                balances(Shown(&self.shared.currencies, &known.account.balances))
            }),
            version: known.map(|known| known.account.version),
            verified_at: known.map(|known| known.verified.wall),
            age_ms: known.map(|known| now.mono.us_since(known.verified.mono) / 1000),
            pending,
            sessions: self.inspect_sessions(),
            counters: counters(&self.gauge, Some(self.is_stale)),
            events: self.shared.recent.of_user(self.user_id, ACTOR_EVENTS_MAX),
            ..ActorInspection::from_outside(self.user_id, &self.gauge, &self.shared)
        }
    }

    pub(super) fn inspect_sessions(&self) -> Vec<SessionInspection> {
        let sessions = self.live.iter().flat_map(|live| &live.sessions);
        let one = |session: &Attached| SessionInspection {
            id: session.id,
            connected_at: session.peer.connected_at,
            last_version: session.last_version,
            displayed_version: session.displayed_version,
            address: session.peer.address,
            user_agent: session.peer.user_agent.as_deref().map(str::to_owned),
            is_lagging: !session.owed.is_empty(),
        };
        sessions.map(one).collect()
    }

    fn inspect_pending(&self, live: &Live, version: i64, now: Moment) -> Option<PendingInspection> {
        let waiting = live.pending.waiting()?;
        let has_listener = live.has_listener_below(version);
        let due = live.pending.due(&self.shared.policy.intervals);
        let due = due.filter(|_| has_listener);
        let wait_us = due.map(|due| due.at.us_since(now.mono));
        Some(PendingInspection {
            first: waiting.first.wall,
            last: waiting.last.wall,
            entries: live.pending.entries(version),
            next_push_in_ms: wait_us.map(|wait_us| wait_us.div_ceil(1000)),
            next_push_at: wait_us.map(|wait_us| now.wall.plus_us(wait_us)),
            waits_for: due.map(|due| due.rule),
            mode: due.map(|due| due.mode),
            held_by: (!has_listener).then_some(Hold::Snapshot),
        })
    }
}
