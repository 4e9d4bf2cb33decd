//! What the registry does with each message of [`crate::coordinator::messages`].

use std::collections::HashMap;

use actix::prelude::*;
use log::error;
use tokio::sync::oneshot;

use crate::clock::Wall;
use crate::coordinator::messages::{
    HearCommits, InspectRegistry, InspectResident, Known, ListActors, ListRecent, ListSessions,
    PostAtomic, PostBatch, RetireActor, Retirement, SessionsAsked, SessionsGone, Shutdown, ToActor,
    ToUser,
};
use crate::coordinator::registry::atomics::{AtomicAnswered, KnownBefore};
use crate::coordinator::registry::{Registry, Slot};
use crate::coordinator::views::{ActorInspection, ActorSummary, RegistryTotals};
use crate::domain::{NewEntry, UserId};
use crate::ledger::{EntryOutcome, EpochBegan, Lane, Orphan, PostError, Posted, Posting};
use crate::planted::{Plant, is_planted};

impl StreamHandler<Orphan> for Registry {
    fn handle(&mut self, posted: Orphan, _: &mut Self::Context) {
        if !is_planted(Plant::OrphanForgotten) {
            // What was known when it was sent is not known any more; it may be of an earlier epoch.
            let is_of_this_epoch = self
                .epoch_began
                .is_none_or(|began| is_later(&posted, began));
            let epoch = if is_of_this_epoch {
                self.epoch_number()
            } else {
                0
            };
            self.tell_committed(&posted, |_| Known { epoch, version: 0 });
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The writers have stopped; what is resident may still be asked.
    }
}

/// Whether all of it was decided later than that.
fn is_later(posted: &Posted, than: Wall) -> bool {
    posted.outcomes.iter().all(|outcome| match outcome {
        EntryOutcome::Decided {
            committed_at_us, ..
        } => Wall::from_us(*committed_at_us) > than,
        EntryOutcome::NotApplied | EntryOutcome::Failed(_) => true,
    })
}

impl StreamHandler<EpochBegan> for Registry {
    fn handle(&mut self, began: EpochBegan, ctx: &mut Self::Context) {
        let EpochBegan { epoch, why } = began;
        error!(
            "the ledger has gone back: {why}. Epoch {} begins: sessions are closed and come back, and memory is dropped",
            epoch.name
        );
        self.shared.counters.ledger_went_back.inc();
        self.epoch_began = Some(self.shared.clock.wall());
        // The others follow with their next message.
        for user_id in self.users_with_sessions() {
            self.deliver(user_id, ToActor::FollowEpoch, ctx);
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        // The ledger is stopping.
    }
}

impl Handler<ToUser> for Registry {
    type Result = ();

    fn handle(&mut self, ToUser { user_id, message }: ToUser, ctx: &mut Self::Context) {
        self.deliver(user_id, message, ctx);
    }
}

impl Handler<PostBatch> for Registry {
    type Result = ();

    fn handle(&mut self, PostBatch(parts): PostBatch, ctx: &mut Self::Context) {
        for (user_id, part) in parts {
            self.deliver(user_id, ToActor::PostEntries(part), ctx);
        }
        // Batches could keep this mailbox full for long: the actors have their turn first.
        ctx.wait(tokio::task::yield_now().into_actor(self));
    }
}

impl Handler<PostAtomic> for Registry {
    type Result = ();

    fn handle(&mut self, request: PostAtomic, _: &mut Self::Context) {
        let PostAtomic {
            entries,
            deadline,
            permit,
            reply: requester,
        } = request;
        if self.is_stopping {
            let _ = requester.send(Posted::failed(entries, PostError::ShuttingDown));
            return;
        }
        let epoch = self.epoch_number();
        let version = |entry: &NewEntry| {
            let slot = self.resident(entry.user_id)?;
            Some((entry.user_id, slot.gauge.version.get()))
        };
        let versions: HashMap<UserId, i64> = entries.iter().filter_map(version).collect();
        let (reply, answer) = oneshot::channel();
        self.shared.ledger.post(Posting {
            entries,
            is_atomic: true,
            lane: Lane::Bulk,
            deadline,
            permit,
            reply,
        });
        let known = KnownBefore { epoch, versions };
        self.unanswered.push(answer, requester, known);
    }
}

impl StreamHandler<AtomicAnswered> for Registry {
    fn handle(&mut self, answered: AtomicAnswered, _: &mut Self::Context) {
        let AtomicAnswered {
            posted,
            requester,
            known,
        } = answered;
        if let Some(posted) = posted {
            self.tell_committed(&posted, |user_id| known.of(user_id));
            // A requester that hung up has been told that its outcome is unknown.
            let _ = requester.send(posted);
        }
    }
}

impl Handler<HearCommits> for Registry {
    type Result = ();

    fn handle(&mut self, HearCommits(commits): HearCommits, _: &mut Self::Context) {
        for commit in commits {
            if let Some(slot) = self.resident(commit.user_id) {
                // What does not fit is noted: the actor then reads the ledger.
                let _ = slot.send(ToActor::Heard(commit));
            }
        }
    }
}

impl Handler<SessionsGone> for Registry {
    type Result = ();

    fn handle(&mut self, SessionsGone { user_id }: SessionsGone, _: &mut Self::Context) {
        self.sessions_gone(user_id);
    }
}

impl Handler<Shutdown> for Registry {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.is_stopping = true;
        self.close_all(ctx);
    }
}

impl Handler<InspectRegistry> for Registry {
    type Result = MessageResult<InspectRegistry>;

    fn handle(&mut self, _: InspectRegistry, _: &mut Self::Context) -> Self::Result {
        MessageResult(RegistryTotals::new(
            &self.shared,
            self.with_sessions.len(),
            self.idle.len(),
        ))
    }
}

impl Handler<ListActors> for Registry {
    type Result = MessageResult<ListActors>;

    fn handle(&mut self, _: ListActors, _: &mut Self::Context) -> Self::Result {
        let now = self.shared.clock.mono();
        let all = self.with_sessions.iter().chain(self.idle.iter());
        let summary = |(user_id, slot): (&UserId, &Slot)| ActorSummary {
            user_id: *user_id,
            sessions: slot.gauge.sessions.get(),
            entries: slot.gauge.entries.get(),
            idle_ms: now.us_since(slot.gauge.last_used.get()) / 1000,
        };
        MessageResult(all.map(summary).collect())
    }
}

impl Handler<ListRecent> for Registry {
    type Result = MessageResult<ListRecent>;

    fn handle(&mut self, wanted: ListRecent, _: &mut Self::Context) -> Self::Result {
        let ListRecent {
            limit,
            after,
            user_id,
            kinds,
        } = wanted;
        let is_wanted = |user, kind| {
            user_id.is_none_or(|id| id == user)
                && kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
        };
        let currencies = &self.shared.currencies;
        let recent = &self.shared.recent;
        MessageResult(recent.show(limit, after, is_wanted, currencies))
    }
}

impl Handler<InspectResident> for Registry {
    type Result = MessageResult<InspectResident>;

    fn handle(
        &mut self,
        InspectResident(user_id): InspectResident,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let slot = self.resident(user_id);
        let from_outside =
            slot.map(|slot| ActorInspection::from_outside(user_id, &slot.gauge, &self.shared));
        MessageResult(from_outside.map(|from_outside| {
            let (reply, from_inside) = oneshot::channel();
            self.deliver(user_id, ToActor::InspectActor { reply }, ctx);
            (from_outside, from_inside)
        }))
    }
}

impl Handler<ListSessions> for Registry {
    type Result = MessageResult<ListSessions>;

    fn handle(
        &mut self,
        ListSessions { after, limit }: ListSessions,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let ids = self.with_sessions.keys().copied();
        let mut users: Vec<UserId> = ids.filter(|user| user.get() > after).collect();
        // Each has a session, or is about to: no more users than `limit` are needed.
        if users.len() > limit {
            users.select_nth_unstable(limit);
            users.truncate(limit);
        }
        users.sort_unstable();
        let mut asked: Vec<SessionsAsked> = Vec::new();
        let mut count = 0;
        for user_id in users {
            let sessions = self
                .with_sessions
                .get(&user_id)
                .map_or(0, |slot| slot.gauge.sessions.get());
            count += sessions;
            if count > limit && !asked.is_empty() {
                break;
            }
            let (reply, answer) = oneshot::channel();
            self.deliver(user_id, ToActor::InspectSessions { reply }, ctx);
            asked.push(SessionsAsked {
                user_id,
                sessions,
                answer,
            });
        }
        MessageResult(asked)
    }
}

impl Handler<RetireActor> for Registry {
    type Result = MessageResult<RetireActor>;

    fn handle(
        &mut self,
        RetireActor(user_id): RetireActor,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        let Some(slot) = self.resident(user_id) else {
            return MessageResult(Retirement::NotResident);
        };
        let has_sessions = slot.gauge.sessions.get() > 0;
        if slot.actor.connected() && slot.gauge.is_busy() {
            return MessageResult(Retirement::Busy);
        }
        if !has_sessions && !slot.can_go(&self.shared) {
            return MessageResult(Retirement::PushedLately);
        }
        let last_push = slot.gauge.last_push.get();
        if let Err(SendError::Full(_)) = slot.send(ToActor::Retire) {
            return MessageResult(Retirement::Busy);
        }
        self.forget(user_id);
        if has_sessions {
            // Its sessions come back at once. What is pushed to them then keeps its distance from the last push.
            let next = self.make(user_id, ctx);
            next.gauge.last_push.set(last_push);
            next.gauge.last_used.set(self.shared.clock.mono());
            self.idle.put(user_id, next);
            self.count_actors();
        }
        MessageResult(Retirement::Retired)
    }
}
