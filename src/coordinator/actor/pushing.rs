//! When an actor's sessions are sent committed changes, by [`crate::coordinator::pacing`].

use std::time::Duration;

use actix::prelude::*;
use bytestring::ByteString;
use log::info;

use crate::clock::{Mono, Wall};
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::actor::answering::Waiter;
use crate::coordinator::actor::displayed::Sent;
use crate::coordinator::actor::pending::Sum;
use crate::coordinator::actor::sessions::{Attached, Live, Told};
use crate::coordinator::frames::{self, Changes, Reason, Shown, UpdateFrame};
use crate::coordinator::journal::{Happening, What};
use crate::coordinator::pacing::{Due, Mode};
use crate::coordinator::registry::gauge::Counted;
use crate::domain::SessionId;
use crate::limits::LAGGING_RETRY_MS;
use crate::planted::{Plant, is_planted};
use crate::telemetry::counters::seconds;
use crate::telemetry::requests;

/// The one timer of an actor.
#[derive(Debug)]
pub(super) struct Timer {
    pub handle: SpawnHandle,
    pub at: Mono,
}

impl BalanceActor {
    /// Commits have told the newest state. A session that waits for its first balance, or is owed a fresh one, gets it from
    /// them where they are trusted: a committed change reaches every open session in time, and a read may take longer.
    pub(super) fn tell_committed(&mut self, ctx: &mut Context<Self>) {
        let is_awaited = self.is_stale || self.reading.is_some();
        if is_awaited
            && self.trusts_commits()
            && !is_planted(Plant::PushedBeforeSnapshot)
            && let Some(mut view) = self.cache.known().cloned()
        {
            // In an outage more may have been committed, of which this actor will not hear.
            view.is_stale = self.is_hearsay && self.is_stale;
            // What others were shown before this actor was made may be newer: a session that has seen nothing yet waits for
            // the read.
            let sessions = self.live.iter().flat_map(|live| &live.sessions);
            let waits = |session: &&Attached| self.is_hearsay && session.last_version == 0;
            let waiting: Vec<SessionId> = sessions.filter(waits).map(|one| one.id).collect();
            let reading = self.reading.as_deref_mut();
            let snapshots = reading.map(|reading| reading.take_snapshots(&waiting));
            let snapshots = snapshots.unwrap_or_default();
            for waiter in snapshots {
                self.answer(waiter, &view, ctx);
            }
            self.recover(&view, ctx);
        }
        self.push_when_due(ctx);
    }

    /// Pushes when it is due, and sets the timer when it will be.
    pub(super) fn push_when_due(&mut self, ctx: &mut Context<Self>) {
        let Some(due) = self.next_push() else {
            return;
        };
        if due.at <= self.shared.clock.mono() {
            self.push(due.mode, ctx);
        } else if !is_planted(Plant::TimerNotSet) {
            self.wake_at(due.at, ctx);
        }
    }

    /// When the next push is due; `None` when no session lacks anything, or none can be pushed to.
    fn next_push(&mut self) -> Option<Due> {
        if self.has_lost {
            return None;
        }
        let (live, known) = (self.live.as_mut()?, self.cache.known()?);
        live.settle_pending(&known.account);
        live.has_listener_below(known.account.version)
            .then(|| live.pending.due(&self.shared.policy.intervals))
            .flatten()
    }

    /// Pushes what waits, whatever the pacing says. Returns whether anything waited.
    pub(super) fn push_now(&mut self, ctx: &mut Context<Self>) -> bool {
        let due = self.next_push();
        if let Some(due) = due {
            self.push(due.mode, ctx);
        }
        due.is_some()
    }

    fn push(&mut self, mode: Mode, ctx: &mut Context<Self>) {
        let now = self.shared.clock.now();
        let (Some(live), Some(known)) = (&mut self.live, self.cache.known()) else {
            return;
        };
        let account = &known.account;
        let requests = live.pending.requests();
        let Some(sum) = live.pending.pushed(account, now.mono) else {
            return;
        };
        let Sum {
            before,
            waiting,
            sources,
        } = sum;
        self.gauge.last_push.set(Some(now.mono));
        let currencies = &self.shared.currencies;
        let update = UpdateFrame {
            user_id: self.user_id,
            epoch: &self.cache.epoch().name,
            version: account.version,
            balances: Shown(currencies, &account.balances),
            changes: Changes {
                currencies,
                before: &before.balances,
                after: &account.balances,
            },
            sources: &sources,
            entries: account.version - before.version,
            mode,
            first_committed_at: waiting.first.wall,
            committed_at: waiting.last.wall,
            pushed_at: now.wall,
        };
        let sent = Sent {
            version: update.version,
            mode,
            committed_at: update.committed_at,
        };
        let (told, is_lagging) = live.send_push(&frames::text(&update), sent);
        // A direct push is not late because it takes a paced change with it.
        let since = waiting.first_direct.filter(|_| mode == Mode::Direct);
        let since = since.unwrap_or(waiting.first).wall;
        requests::of(requests, || self.pushed(&update, since, told));
        self.prune(ctx);
        if is_lagging {
            self.retry_lagging(ctx);
        }
    }

    /// Counts, logs and notes a push. `since` is the commit that it was due for. Operators count the log lines: their
    /// fragments stay as they are.
    fn pushed(&self, update: &UpdateFrame<'_>, since: Wall, sessions: usize) {
        let UpdateFrame {
            user_id,
            version,
            entries,
            mode,
            ..
        } = *update;
        let waited_us = update.pushed_at.us_since(since);
        let (is_direct, counters) = (mode == Mode::Direct, &self.shared.counters);
        counters.pushes.of(is_direct).inc();
        let waits = counters.commit_to_push.of(is_direct);
        waits.observe(seconds(waited_us));
        let names: Vec<&str> = update.sources.iter().map(|one| one.as_str()).collect();
        let sources = names.join(",");
        let event = match mode {
            Mode::Direct => "DIRECT_BALANCE_UPDATE",
            Mode::Paced => "BalanceCoordinator",
        };
        info!(
            "{event} balance_update user_id={user_id} version={version} entries={entries} sources={sources} sessions={sessions}"
        );
        let what = What::Push {
            mode,
            entries,
            sessions,
            waited_us,
        };
        self.shared.recent.note(Happening {
            at: update.pushed_at,
            user_id,
            version,
            what,
        });
    }

    /// The timer fires at `at` or before; when it fires early, it is set again. It is the only one: actix polls every future
    /// of a context at every message, so nothing that can be asked for may set a timer of its own.
    pub(super) fn wake_at(&mut self, at: Mono, ctx: &mut Context<Self>) {
        if let Some(timer) = &self.timer {
            if timer.at <= at {
                return;
            }
            ctx.cancel_future(timer.handle);
        }
        let wait = Duration::from_micros(at.us_since(self.shared.clock.mono()));
        let counted = Counted::one(&self.gauge, |gauge| &gauge.timers);
        let handle = ctx.run_later(wait, move |actor, ctx| {
            drop(counted);
            actor.timer = None;
            actor.follow_epoch(ctx);
            actor.forget_gone_waiters(ctx);
            actor.retry_closing(ctx);
            actor.send_owed(ctx);
            actor.push_when_due(ctx);
        });
        self.timer = Some(Timer { handle, at });
    }

    /// Tries again soon to send what did not fit into an outbox.
    pub(super) fn retry_lagging(&mut self, ctx: &mut Context<Self>) {
        let now = self.shared.clock.mono();
        self.wake_at(now.plus_us(LAGGING_RETRY_MS * 1000), ctx);
    }

    fn retry_closing(&mut self, ctx: &mut Context<Self>) {
        let sessions = self.live.iter_mut().flat_map(|live| &mut live.sessions);
        sessions.for_each(Attached::retry_farewell);
        self.finish_closing(ctx);
    }

    fn send_owed(&mut self, ctx: &mut Context<Self>) {
        let mut owed = Vec::new();
        for session in self.live.iter_mut().flat_map(|live| &mut live.sessions) {
            // After a stale balance, a session gets a fresh one only when the ledger has been asked.
            let mut view = self.cache.known().cloned();
            view.iter_mut()
                .for_each(|view| view.is_stale = session.is_owed_recovery);
            let version = view.as_ref().map_or(0, |view| view.account.version);
            let (session_id, has_seen) = (session.id, session.last_version >= version);
            let due = std::mem::take(&mut session.owed).into_iter();
            let due = due.filter(|(reason, _)| *reason != Reason::Recovered || !has_seen);
            owed.extend(due.map(|owed| (session_id, owed, view.clone())));
        }
        for (session_id, (reason, id), view) in owed {
            let Some(view) = view else {
                self.tell_unavailable(session_id, (reason, id), ctx);
                continue;
            };
            let waiter = Waiter::Session {
                session_id,
                reason,
                id,
            };
            self.answer(waiter, &view, ctx);
        }
    }
}

impl Live {
    /// Sends a push to the sessions that need it. Returns to how many, and whether an outbox was full.
    fn send_push(&mut self, text: &ByteString, push: Sent) -> (usize, bool) {
        let (mut told, mut is_lagging) = (0, false);
        for session in &mut self.sessions {
            if !session.needs(push.version) {
                continue;
            }
            let result = if session.owed.is_empty() {
                session.tell(text.clone(), push.version)
            } else {
                Told::Full
            };
            match result {
                Told::Sent => {
                    told += 1;
                    session.undisplayed.sent(push);
                }
                Told::Full if is_planted(Plant::LaggingForgotten) => {}
                Told::Full => {
                    session.owe((Reason::Recovered, None));
                    is_lagging = true;
                }
                Told::Gone => {}
            }
        }
        (told, is_lagging)
    }
}
