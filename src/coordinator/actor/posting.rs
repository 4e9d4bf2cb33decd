//! An actor's way to the ledger and back.
//!
//! A few postings of a user are under way at once in each lane. What comes in meanwhile goes together in the next one, so
//! a hot user costs one posting per transaction, not one per entry. The ledger keeps the order within a lane.

use std::cell::Cell;
use std::collections::VecDeque;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::coordinator::actor::BalanceActor;
use crate::coordinator::messages::{CommittedEntry, Known, PostEntries};
use crate::coordinator::registry::gauge::{Counted, Gauge};
use crate::domain::{NewEntry, Outcome};
use crate::ledger::{EntryOutcome, Lane, PostError, Posted, Posting};
use crate::limits::{POSTING_ENTRIES_MAX, POSTINGS_IN_FLIGHT_MAX};

/// The requests of one user that wait for a posting; there only while there are any.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    single: VecDeque<PostEntries>,
    bulk: VecDeque<PostEntries>,
}

/// How many outcomes of a posting each requester gets, in its order.
type Parts = Vec<(usize, oneshot::Sender<Posted>)>;

impl Lanes {
    fn of(&mut self, lane: Lane) -> &mut VecDeque<PostEntries> {
        match lane {
            Lane::Single => &mut self.single,
            Lane::Bulk => &mut self.bulk,
        }
    }

    /// The next posting: as many waiting requests as fit.
    fn next(&mut self, lane: Lane) -> Option<(Posting, Parts, oneshot::Receiver<Posted>)> {
        let waiting = self.of(lane);
        let PostEntries {
            mut entries,
            deadline: mut latest,
            mut permit,
            reply,
            ..
        } = waiting.pop_front()?;
        let mut parts = vec![(entries.len(), reply)];
        while let Some(more) =
            waiting.pop_front_if(|next| entries.len() + next.entries.len() <= POSTING_ENTRIES_MAX)
        {
            parts.push((more.entries.len(), more.reply));
            entries.extend(more.entries);
            latest = latest.max(more.deadline);
            permit.join(more.permit);
        }
        let (reply, answer) = oneshot::channel();
        let posting = Posting {
            entries,
            is_atomic: false,
            lane,
            deadline: latest,
            permit,
            reply,
        };
        Some((posting, parts, answer))
    }
}

/// The postings of a lane that are under way.
fn under_way(lane: Lane) -> fn(&Gauge) -> &Cell<usize> {
    match lane {
        Lane::Single => |gauge| &gauge.single_postings,
        Lane::Bulk => |gauge| &gauge.bulk_postings,
    }
}

impl BalanceActor {
    pub(super) fn post(&mut self, request: PostEntries, ctx: &mut Context<Self>) {
        let lane = request.lane;
        self.lanes
            .get_or_insert_default()
            .of(lane)
            .push_back(request);
        self.dispatch(lane, ctx);
    }

    fn dispatch(&mut self, lane: Lane, ctx: &mut Context<Self>) {
        let under_way = under_way(lane);
        while under_way(&self.gauge).get() < POSTINGS_IN_FLIGHT_MAX {
            let next = self.lanes.as_mut().and_then(|lanes| lanes.next(lane));
            let Some((posting, parts, answer)) = next else {
                break;
            };
            let counted = Counted::one(&self.gauge, under_way);
            let known = self.known();
            self.shared.ledger.post(posting);
            let answered = answer
                .into_actor(self)
                .map(move |posted, actor: &mut Self, ctx| {
                    drop(counted);
                    actor.follow_epoch(ctx);
                    let posted = posted.ok();
                    actor.posted(lane, known, posted, parts, ctx);
                });
            ctx.spawn(answered);
        }
        let is_empty = |lanes: &mut Box<Lanes>| lanes.single.is_empty() && lanes.bulk.is_empty();
        self.lanes.take_if(is_empty);
    }

    /// The ledger has answered, or its writer has died, which leaves the outcome unknown.
    fn posted(
        &mut self,
        lane: Lane,
        known: Known,
        posted: Option<Posted>,
        parts: Parts,
        ctx: &mut Context<Self>,
    ) {
        let posted = posted.unwrap_or_else(|| Posted::failed(Vec::new(), PostError::Unavailable));
        let outcomes = || posted.entries.iter().zip(&posted.outcomes);
        let first = outcomes().find_map(|(entry, outcome)| CommittedEntry::of(entry, outcome));
        let mut has_news = false;
        if self.can_learn(known, first.as_ref(), ctx) {
            for (entry, outcome) in outcomes() {
                has_news |= self.learn_outcome(entry, outcome, known, ctx);
            }
        }
        answer(posted, parts);
        self.dispatch(lane, ctx);
        if has_news {
            self.tell_committed(ctx);
        }
    }

    /// Returns whether it is a change.
    fn learn_outcome(
        &mut self,
        entry: &NewEntry,
        outcome: &EntryOutcome,
        known: Known,
        ctx: &mut Context<Self>,
    ) -> bool {
        if let Some(committed) = CommittedEntry::of(entry, outcome) {
            self.learn(committed, ctx);
            return true;
        }
        // A duplicate that this actor has not heard of was committed by another node, or its message was lost.
        if let EntryOutcome::Decided { outcome, .. } = outcome
            && let Outcome::Duplicate(first) = outcome
            && first.user_id == self.user_id
            && known.epoch == self.cache.epoch().number
            && self.gauge.version.get() < first.version
        {
            // A later read must not give less.
            self.gauge.version.set(first.version);
            if self.cache.known().is_some() {
                self.read_missed(ctx);
            }
        }
        false
    }
}

/// Gives each requester its own outcomes. When the writer died there are none: the requesters see that theirs are unknown.
fn answer(posted: Posted, parts: Parts) {
    let Posted {
        mut entries,
        mut outcomes,
    } = posted;
    for (count, reply) in parts {
        let (later_entries, later_outcomes) = (
            entries.split_off(count.min(entries.len())),
            outcomes.split_off(count.min(outcomes.len())),
        );
        let own = Posted {
            entries: std::mem::replace(&mut entries, later_entries),
            outcomes: std::mem::replace(&mut outcomes, later_outcomes),
        };
        // A requester that no longer waits was told that its outcome is unknown.
        let _ = reply.send(own);
    }
}
