//! The loop that exchanges messages with other nodes: it numbers and sends commits and beats, hands what comes to the
//! tracker, and does what the tracker says. It runs on a thread of its own, so that decoding delays no actor.

mod beating;
mod ordering;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::{Clock, Mono};
use crate::cluster::bus::{Arrival, Bus, Sink};
use crate::cluster::orders::Desk;
use crate::cluster::publisher::{Outgoing, Queued};
use crate::cluster::tracker::{Gap, Tracker, Verdict};
use crate::cluster::view::{ClusterView, NodeView, NodesTable};
use crate::cluster::wire::{
    Sequences, Topic, WireError, decode_beat, decode_commits, encode_commits,
};
use crate::coordinator::heard::{Partition, Partitions};
use crate::domain::Currencies;
use crate::telemetry::counters::{Counters, seconds};
use crate::telemetry::seldom::Seldom;

/// What the loop works with.
pub struct Exchange<B, S> {
    /// The connection.
    pub bus: B,
    /// Where it goes what is heard.
    pub sink: S,
    /// New.
    pub tracker: Tracker,
    /// The currencies of this node.
    pub currencies: Currencies,
    /// Time.
    pub clock: Clock,
    /// Where it is counted.
    pub counters: Arc<Counters>,
    /// Commits of this node.
    pub outgoing: Outgoing,
    /// Orders of administrators.
    pub desk: Desk,
    /// The table of nodes.
    pub table: watch::Receiver<NodesTable>,
    /// Changed or dropped when this node stops; `true`: it has made its last commit.
    pub stop: watch::Receiver<bool>,
    /// What is known, for administrators.
    pub view: watch::Sender<ClusterView>,
    /// Time between two beats.
    pub beat: Duration,
}

/// What changes while the loop runs.
#[derive(Default)]
struct Running {
    sequences: Sequences,
    covered_until: Mono,
    /// When the transaction was queued that was taken last.
    taken_at: Mono,
    was_covered: bool,
    seldom: Seldom,
}

impl<B: Bus, S: Sink> Exchange<B, S> {
    /// Runs until this node stops.
    pub async fn run(mut self) {
        let mut running = Running::default();
        let mut beats = interval(self.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // What comes seldom first, so that it never waits for what comes often. In this order each time, so that a
            // simulation repeats.
            tokio::select! {
                biased;
                _ = beats.tick() => self.tick(&mut running).await,
                Ok(()) = self.table.changed() => self.read_table(),
                Some(outward) = self.desk.next() => self.order_out(outward, &mut running).await,
                Some(queued) = self.outgoing.next() => {
                    self.publish(queued, &mut running).await;
                    // However many commits wait, and however slowly they go out, what has come is heard in between.
                    if let Some(arrival) = self.bus.next().now_or_never() {
                        self.take(arrival, &mut running);
                    }
                }
                _ = self.stop.changed() => break,
                arrival = self.bus.next() => self.take(arrival, &mut running),
            }
            self.judge(&mut running);
        }
        self.leave(&mut running).await;
    }

    /// Numbers the messages of one transaction and sends them. Those that cannot be sent are missing at the others.
    async fn publish(&mut self, queued: Queued, running: &mut Running) {
        running.sequences.skip(&self.outgoing.take_skipped());
        running.taken_at = queued.queued_at;
        let waited_us = self.clock.mono().us_since(queued.queued_at);
        let age_us = queued.users.first().map_or(0, |user| user.age_us);
        let messages = encode_commits(
            self.tracker.own(),
            &mut running.sequences,
            &queued.users,
            age_us.saturating_add(waited_us),
            &self.currencies,
        );
        for (partition, message) in messages {
            self.send(Topic::Commits(partition), message).await;
        }
    }

    /// Whether it is on its way, as far as is known.
    async fn send(&mut self, topic: Topic, message: Vec<u8>) -> bool {
        let is_sent = self.tracker.is_connected() && self.bus.publish(topic, message).await;
        if is_sent {
            let messages = &self.counters.cluster.messages;
            messages.with_label_values(&["out"]).inc();
        }
        is_sent
    }

    fn take(&mut self, arrival: Arrival, running: &mut Running) {
        match arrival {
            Arrival::Connected => {
                log::info!("cluster: connected to the bus");
                self.tracker.connected(self.clock.mono());
            }
            Arrival::Disconnected => {
                self.warn(running, "disconnected", "the connection to the bus is lost");
                self.tracker.disconnected();
            }
            Arrival::Message { topic, payload } => {
                let messages = &self.counters.cluster.messages;
                messages.with_label_values(&["in"]).inc();
                match topic {
                    Topic::Commits(partition) => self.take_commits(partition, &payload, running),
                    Topic::Beat => self.take_beat(&payload, running),
                    Topic::Order => self.take_order(&payload, running),
                }
            }
        }
    }

    fn take_commits(&mut self, partition: Partition, payload: &Bytes, running: &mut Running) {
        let message = match decode_commits(payload) {
            Ok(message) if message.partition == partition => message,
            Ok(_) => {
                let error = WireError::Value("a message on the subject of another partition");
                return self.unreadable(Some(partition), &error, running);
            }
            Err(error) => return self.unreadable(Some(partition), &error, running),
        };
        let now = self.clock.mono();
        let verdict = self
            .tracker
            .commits(&message.origin, partition, message.seq, now);
        self.obey(verdict, &message.origin.epoch);
        if !verdict.delivers {
            return;
        }
        match message.users(&self.currencies) {
            Ok(users) => {
                let committed_at = users.first().map(|user| user.committed_at);
                if let Some(committed_at) = committed_at {
                    let us = self.clock.wall().us_since(committed_at);
                    let measured = &self.counters.cluster.commit_to_heard_seconds;
                    measured.observe(seconds(us));
                }
                if !self.sink.deliver(users) {
                    self.counted(Gap::Full, 1);
                    self.distrust(Partitions::NONE.with(partition));
                }
            }
            Err(error) => self.unreadable(Some(partition), &error, running),
        }
    }

    fn take_beat(&mut self, payload: &Bytes, running: &mut Running) {
        let beat = match decode_beat(payload) {
            Ok(beat) => beat,
            Err(error) => return self.unreadable(None, &error, running),
        };
        let now = self.clock.mono();
        if beat.origin.boot == self.tracker.own().boot
            && let Some(sent_at) = self.tracker.sent_at(beat.number)
        {
            let measured = &self.counters.cluster.bus_seconds;
            measured.observe(seconds(now.us_since(sent_at)));
        }
        let verdict = self.tracker.beat(&beat, now);
        self.obey(verdict, &beat.origin.epoch);
        let is_back = |node: &NodeView| node.is_silent && node.boot == beat.origin.boot;
        if self.view.borrow().nodes.iter().any(is_back) {
            // From now on its answers to orders are waited for.
            self.show(running);
        }
    }

    fn unreadable(
        &mut self,
        partition: Option<Partition>,
        error: &WireError,
        running: &mut Running,
    ) {
        if running.seldom.is_due("unreadable", self.clock.mono()) {
            log::warn!("cluster: a message cannot be read: {error}");
        }
        let verdict = self.tracker.unreadable(partition);
        self.obey(verdict, "");
    }

    fn read_table(&mut self) {
        let table = self.table.borrow_and_update().clone();
        if let Some(asked_at) = table.asked_at {
            let verdict = self.tracker.table(&table.rows, asked_at, self.clock.mono());
            self.obey(verdict, "");
        }
    }

    fn obey(&mut self, verdict: Verdict, epoch: &str) {
        if let Some(gap) = verdict.gap {
            self.counted(gap, 1);
        }
        self.distrust(verdict.distrusts);
        if verdict.asks_epoch {
            self.sink.other_epoch(epoch);
        }
    }

    fn distrust(&mut self, partitions: Partitions) {
        if !partitions.is_empty() {
            self.sink.distrust(partitions, self.clock.mono());
        }
    }

    fn counted(&self, gap: Gap, count: usize) {
        let gaps = &self.counters.cluster.gaps;
        gaps.with_label_values(&[gap.as_str()]).inc_by(count as u64);
    }

    fn warn(&self, running: &Running, kind: &'static str, what: &str) {
        if running.seldom.is_due(kind, self.clock.mono()) {
            log::warn!("cluster: {what}");
        }
    }

    /// Until when memory may be trusted. What this node itself has committed is not in it yet while the outcome is not told.
    fn covered_until(&self) -> Mono {
        let until = self.tracker.covered_until();
        let untold = self.outgoing.untold_since();
        untold.map_or(until, |since| {
            until.min(since.plus_us(self.tracker.silence_us()))
        })
    }

    fn judge(&mut self, running: &mut Running) {
        let until = self.covered_until();
        if until != running.covered_until {
            running.covered_until = until;
            self.sink.cover_until(until);
        }
    }

    /// For the metrics and for administrators.
    fn show(&self, running: &mut Running) {
        let now = self.clock.now();
        let is_covered = now.mono < self.covered_until();
        if is_covered != running.was_covered {
            running.was_covered = is_covered;
            if is_covered {
                log::info!("cluster: all other nodes are heard");
            } else {
                log::warn!("cluster: not all other nodes are heard");
            }
        }
        let is_connected = self.tracker.is_connected();
        let seen = self.tracker.nodes(now.mono);
        let shown = &self.counters.cluster;
        shown.covered.set(i64::from(is_covered));
        shown.connected.set(i64::from(is_connected));
        shown
            .nodes
            .set(i64::try_from(seen.len()).map_or(i64::MAX, |others| others + 1));
        let nodes = seen.into_iter().map(|node| NodeView::of(node, now));
        self.view.send_replace(ClusterView {
            is_covered,
            is_connected,
            nodes: nodes.collect(),
        });
    }
}

#[cfg(test)]
mod tests;
