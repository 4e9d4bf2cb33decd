//! An actor's way to the ledger and back.
//!
//! A few postings of a user are under way at once in each lane; what comes in meanwhile goes together in the next one, so
//! a hot user costs one posting per transaction, not one per entry. The order within a lane is kept by the ledger.

use std::collections::VecDeque;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::coordinator::actor::BalanceActor;
use crate::coordinator::messages::{Change, PostEntries};
use crate::domain::{NewEntry, Outcome};
use crate::ledger::{EntryOutcome, Lane, PostError, Posted, Posting};
use crate::limits::{POSTING_ENTRIES_MAX, POSTINGS_IN_FLIGHT_MAX};

/// The postings of one user that wait or are under way.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    single: LaneQueue,
    bulk: LaneQueue,
}

#[derive(Debug, Default)]
struct LaneQueue {
    waiting: VecDeque<PostEntries>,
    in_flight: usize,
}

impl Lanes {
    fn of(&mut self, lane: Lane) -> &mut LaneQueue {
        match lane {
            Lane::Single => &mut self.single,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn is_empty(&self) -> bool {
        [&self.single, &self.bulk]
            .iter()
            .all(|queue| queue.in_flight == 0 && queue.waiting.is_empty())
    }
}

/// Who waits for how many outcomes of a posting, in its order.
type Parts = Vec<(usize, oneshot::Sender<Posted>)>;

impl LaneQueue {
    /// The next posting: as many waiting requests as fit.
    fn next(&mut self, lane: Lane) -> Option<(Posting, Parts, oneshot::Receiver<Posted>)> {
        if self.in_flight >= POSTINGS_IN_FLIGHT_MAX {
            return None;
        }
        let PostEntries {
            mut entries,
            deadline: mut latest,
            mut permit,
            reply,
            ..
        } = self.waiting.pop_front()?;
        let mut parts = vec![(entries.len(), reply)];
        while let Some(more) = self
            .waiting
            .pop_front_if(|next| entries.len() + next.entries.len() <= POSTING_ENTRIES_MAX)
        {
            parts.push((more.entries.len(), more.reply));
            entries.extend(more.entries);
            latest = latest.max(more.deadline);
            permit.join(more.permit);
        }
        let (reply, answer) = oneshot::channel();
        self.in_flight += 1;
        Some((
            Posting {
                entries,
                is_atomic: false,
                lane,
                deadline: latest,
                permit,
                reply,
            },
            parts,
            answer,
        ))
    }
}

impl Handler<PostEntries> for BalanceActor {
    type Result = ();

    fn handle(&mut self, request: PostEntries, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        let lane = request.lane;
        self.lanes
            .get_or_insert_default()
            .of(lane)
            .waiting
            .push_back(request);
        self.dispatch(lane, ctx);
    }
}

impl BalanceActor {
    fn dispatch(&mut self, lane: Lane, ctx: &mut Context<Self>) {
        while let Some((posting, parts, answer)) = self
            .lanes
            .as_mut()
            .and_then(|lanes| lanes.of(lane).next(lane))
        {
            self.gauge.in_flight.set(self.gauge.in_flight.get() + 1);
            self.shared.ledger.post(posting);
            let answered = answer
                .into_actor(self)
                .map(move |posted, actor: &mut Self, ctx| {
                    actor.posted(lane, posted.ok(), parts, ctx);
                });
            ctx.spawn(answered);
        }
    }

    /// The ledger has answered (or its writer has died, which leaves the outcome unknown).
    fn posted(
        &mut self,
        lane: Lane,
        posted: Option<Posted>,
        parts: Parts,
        ctx: &mut Context<Self>,
    ) {
        self.gauge
            .in_flight
            .set(self.gauge.in_flight.get().saturating_sub(1));
        let posted = posted.unwrap_or_else(|| Posted::failed(Vec::new(), PostError::Unavailable));
        for (entry, outcome) in posted.entries.iter().zip(&posted.outcomes) {
            self.learn_outcome(entry, outcome, ctx);
        }
        answer(posted, parts);
        if let Some(lanes) = &mut self.lanes {
            lanes.of(lane).in_flight -= 1;
            if lanes.is_empty() {
                self.lanes = None;
            }
        }
        self.dispatch(lane, ctx);
        self.push_when_due(ctx);
    }

    fn learn_outcome(&mut self, entry: &NewEntry, outcome: &EntryOutcome, ctx: &mut Context<Self>) {
        let EntryOutcome::Decided {
            outcome,
            committed_at_us,
        } = outcome
        else {
            return;
        };
        match outcome {
            Outcome::Accepted { version, balances } => self.learn(&Change {
                version: *version,
                balances,
                committed_at_us: *committed_at_us,
                kind: entry.kind,
                currency: entry.currency,
                amount: entry.amount,
                source: &entry.source,
            }),
            // It was committed, but not through this actor, and nobody has told: another node, or a lost message.
            Outcome::Duplicate(first)
                if first.user_id == self.user_id
                    && self
                        .cache
                        .known()
                        .is_some_and(|cached| cached.version < first.version) =>
            {
                self.request_read(None, ctx);
            }
            _ => {}
        }
    }
}

/// Gives each requester its own outcomes. Without any (the writer died) they find that theirs are unknown.
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
        // A requester that hung up has been told that its outcome is unknown.
        let _ = reply.send(own);
    }
}
