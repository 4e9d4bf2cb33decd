//! When an actor's sessions are told of committed changes, by [`crate::coordinator::pacing`].

use std::time::Duration;

use actix::prelude::*;
use log::info;

use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::displayed::Sent;
use crate::coordinator::actor::inspect::Pushed;
use crate::coordinator::actor::reading::Waiter;
use crate::coordinator::actor::sessions::{Base, Event, Told};
use crate::coordinator::frames;
use crate::coordinator::frames::{Push, Reason};
use crate::coordinator::pacing::Mode;
use crate::limits::LAGGING_RETRY_MS;
use crate::planted::{Plant, is_planted};
use crate::telemetry::counters::seconds;

/// The one timer of an actor.
#[derive(Debug)]
pub(super) struct Timer {
    pub handle: SpawnHandle,
    pub at_us: u64,
}

impl BalanceActor {
    /// Pushes when it is due, and sets the timer when it will be.
    pub(super) fn push_when_due(&mut self, ctx: &mut Context<Self>) {
        let (Some(live), Some(cached)) = (&self.live, self.cache.known()) else {
            return;
        };
        // A push that nobody needs is no push; its changes stay for the next one.
        if !live.has_listener_below(cached.version) {
            return;
        }
        let Some(due) = live.pacing.due(&self.shared.policy.intervals) else {
            return;
        };
        if due.at_us <= self.shared.clock.monotonic_us() {
            self.push(due.mode, ctx);
        } else if !is_planted(Plant::TimerNotSet) {
            self.wake_at(due.at_us, ctx);
        }
    }

    /// Sends everything that waits, now.
    pub(super) fn push(&mut self, mode: Mode, ctx: &mut Context<Self>) {
        let now = self.now();
        let (Some(live), Some(cached)) = (&mut self.live, self.cache.known()) else {
            return;
        };
        let Some(base) = live.base.replace(Base {
            version: cached.version,
            balances: cached.balances.clone(),
        }) else {
            return;
        };
        if is_planted(Plant::ChangesCountedTwice) {
            live.base = Some(base.clone());
        }
        let pending = std::mem::take(&mut live.pending);
        live.pacing.pushed(now.us);
        self.gauge.last_push_us.set(Some(now.us));
        let push = Push {
            user_id: self.user_id,
            version: cached.version,
            balances: &cached.balances,
            before: &base.balances,
            sources: &pending.sources,
            entries: cached.version - base.version,
            mode,
            first_committed_at_us: pending
                .first_committed_at_us
                .unwrap_or(pending.committed_at_us),
            committed_at_us: pending.committed_at_us,
            pushed_at_us: now.at_us,
        };
        // A direct push is not late because it takes a paced change with it.
        let since_us = pending.first_direct_at_us.filter(|_| mode == Mode::Direct);
        let since_us = since_us.unwrap_or(push.first_committed_at_us);
        let sent = Sent {
            version: push.version,
            mode,
            committed_at_us: push.committed_at_us,
        };
        let text = frames::balance_update(&push, &self.shared.epoch, &self.shared.currencies);
        let mut told = 0;
        let mut is_lagging = false;
        for session in live
            .sessions
            .iter_mut()
            .filter(|session| session.needs(cached.version))
        {
            let result = if session.owed.is_empty() {
                session.tell(text.clone(), cached.version)
            } else {
                Told::Full
            };
            match result {
                Told::Sent => {
                    told += 1;
                    session.undisplayed.sent(sent);
                }
                Told::Full if is_planted(Plant::LaggingForgotten) => {}
                Told::Full => {
                    session.owe((Reason::Recovered, None));
                    is_lagging = true;
                }
                Told::Gone => {}
            }
        }
        let what = if mode == Mode::Direct {
            "push_direct"
        } else {
            "push_paced"
        };
        live.remember(Event {
            at_us: now.at_us,
            what,
            version: push.version,
        });
        self.shared.counted_push(&push, since_us, told);
        let (at_us, version, entries) = (now.at_us, push.version, push.entries);
        self.note_push(
            Pushed {
                at_us,
                version,
                mode,
                entries,
                sessions: told,
            },
            since_us,
        );
        self.prune(ctx);
        if is_lagging {
            self.retry_lagging(ctx);
        }
    }

    /// Sees to it that the timer fires at `at_us` or before; an earlier one checks again.
    fn wake_at(&mut self, at_us: u64, ctx: &mut Context<Self>) {
        if let Some(timer) = &self.timer {
            if timer.at_us <= at_us {
                return;
            }
            ctx.cancel_future(timer.handle);
        }
        let wait = Duration::from_micros(at_us.saturating_sub(self.shared.clock.monotonic_us()));
        let handle = ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            actor.say_farewells(ctx);
            actor.send_owed(ctx);
            actor.push_when_due(ctx);
        });
        self.timer = Some(Timer { handle, at_us });
    }

    /// Tries again soon to send what did not fit into an outbox.
    pub(super) fn retry_lagging(&mut self, ctx: &mut Context<Self>) {
        self.wake_at(
            self.shared.clock.monotonic_us() + LAGGING_RETRY_MS * 1000,
            ctx,
        );
    }

    fn say_farewells(&mut self, ctx: &mut Context<Self>) {
        let sessions = self.live.iter_mut().flat_map(|live| &mut live.sessions);
        sessions
            .filter(|session| session.is_leaving())
            .for_each(crate::coordinator::actor::sessions::Attached::retry_farewell);
        self.see_off(ctx);
    }

    fn send_owed(&mut self, ctx: &mut Context<Self>) {
        let Some(cached) = self.cache.known() else {
            return;
        };
        let mut owed = Vec::new();
        for session in self.live.iter_mut().flat_map(|live| &mut live.sessions) {
            // Whoever was told a stale balance hears of a fresh one only when the ledger has been asked.
            let view = cached.view(self.user_id, session.is_owed_recovery);
            let (session_id, has_seen) = (session.id, session.last_version >= view.version);
            let due = std::mem::take(&mut session.owed).into_iter();
            let due = due.filter(|(reason, _)| *reason != Reason::Recovered || !has_seen);
            owed.extend(due.map(|(reason, id)| {
                (
                    Waiter::Session {
                        session_id,
                        reason,
                        id,
                    },
                    view.clone(),
                )
            }));
        }
        for (waiter, view) in owed {
            self.answer(waiter, &view, ctx);
        }
    }
}

impl crate::coordinator::policy::Shared {
    /// Counts and logs one push. Operators count these lines; their fragments stay as they are.
    fn counted_push(&self, push: &Push<'_>, since_us: i64, sessions: usize) {
        let Push {
            user_id,
            version,
            entries,
            ..
        } = push;
        let sources = push
            .sources
            .iter()
            .map(|source| source.as_str())
            .collect::<Vec<_>>()
            .join(",");
        self.counters.pushes.of(push.mode == Mode::Direct).inc();
        let age_us = u64::try_from(push.pushed_at_us - since_us).unwrap_or(0);
        self.counters
            .commit_to_push
            .of(push.mode == Mode::Direct)
            .observe(seconds(age_us));
        match push.mode {
            Mode::Direct => {
                info!(
                    "DIRECT_BALANCE_UPDATE balance_update user_id={user_id} version={version} entries={entries} sources={sources} sessions={sessions}"
                );
            }
            Mode::Paced => {
                info!(
                    "BalanceCoordinator balance_update user_id={user_id} version={version} entries={entries} sources={sources} sessions={sessions}"
                );
            }
        }
    }
}
