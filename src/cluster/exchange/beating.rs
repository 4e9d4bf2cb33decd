//! The beats of this node, up to the last one, and what is due as often.

use std::time::Duration;

use super::{Exchange, Running};
use crate::clock::Mono;
use crate::cluster::bus::{Bus, Sink};
use crate::cluster::tracker::{Gap, Link};
use crate::cluster::wire::{Beat, Condition, Topic, encode_beat};

/// How long the end waits until what is queued is sent.
const LEAVE_MS: u64 = 300;

impl<B: Bus, S: Sink> Exchange<B, S> {
    /// Sends a beat, and does what is due.
    pub(super) async fn tick(&mut self, running: &mut Running) {
        self.beat(running, false).await;
        let due = self.tracker.due(self.clock.mono());
        if due.gone > 0 {
            log::warn!(
                "cluster: {} node(s) gone: neither in the ledger nor on the bus",
                due.gone
            );
            self.counted(Gap::Gone, due.gone);
        }
        self.distrust(due.distrusts);
        match due.link {
            Link::Keep => {}
            Link::Reconnect => {
                self.warn(
                    running,
                    "reconnect",
                    "own beats do not come back, reconnecting",
                );
                self.bus.reconnect().await;
            }
            Link::Renew => {
                self.warn(
                    running,
                    "renew",
                    "the bus is away, starting over with a new client",
                );
                self.tracker.disconnected();
                self.bus.renew().await;
            }
        }
        self.show(running);
    }

    /// Sends what is queued already, for half the time of a beat at most.
    pub(super) async fn send_queued(&mut self, running: &mut Running) {
        let deadline = self.clock.deadline(self.beat / 2);
        for _ in 0..self.outgoing.len() {
            if deadline.has_passed() {
                break;
            }
            let Some(queued) = self.outgoing.try_next() else {
                break;
            };
            self.publish(queued, running).await;
        }
    }

    async fn beat(&mut self, running: &mut Running, is_leaving: bool) {
        // First, so that the beat knows its numbers.
        self.send_queued(running).await;
        let now = self.clock.mono();
        let untold_us = self
            .outgoing
            .untold_since()
            .map_or(0, |at| now.us_since(at));
        let queued_us = if self.outgoing.len() > 0 {
            // What waits was queued after what was taken last.
            now.us_since(running.taken_at)
        } else {
            0
        };
        let backlog_us = queued_us.max(untold_us);
        running.sequences.skip(&self.outgoing.take_skipped());
        if !self.tracker.is_connected() {
            return;
        }
        let (number, heard) = self.tracker.next_beat(now);
        let is_covered = now < self.covered_until();
        let condition = Condition::measured(is_covered, &self.counters.cluster);
        let beat = Beat {
            origin: self.tracker.own().clone(),
            number,
            seqs: running.sequences.latest(),
            backlog_us,
            sessions: self.counters.sessions.get(),
            is_leaving,
            heard: Some(heard),
            condition: Some(condition),
        };
        self.send(Topic::Beat, encode_beat(&beat)).await;
    }

    /// Sends what is queued, and that nothing follows if that is so.
    pub(super) async fn leave(mut self, running: &mut Running) {
        self.sink.cover_until(Mono::default());
        let deadline = self.clock.deadline(Duration::from_millis(LEAVE_MS));
        while !deadline.has_passed()
            && let Some(queued) = self.outgoing.try_next()
        {
            self.publish(queued, running).await;
        }
        let is_last = *self.stop.borrow() && self.outgoing.len() == 0;
        self.beat(running, is_last).await;
        self.bus.flush().await;
    }
}
