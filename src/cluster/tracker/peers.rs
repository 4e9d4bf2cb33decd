//! One other node.

use std::sync::Arc;

use crate::clock::Mono;
use crate::cluster::tracker::Times;
use crate::cluster::wire::{Beat, Condition};
use crate::coordinator::heard::{PARTITIONS, Partition, Partitions};
use crate::planted::{Plant, is_planted};

/// What is known of one run of another node.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: Arc<str>,
    /// The number that comes next in each partition.
    pub(super) next: [u64; PARTITIONS],
    /// The latest beat.
    pub(super) beat: u64,
    /// When it came.
    pub(super) heard_at: Option<Mono>,
    /// What it had sent until then is known up to this much before.
    backlog_us: u64,
    /// Its latest beat is younger than this; `None` where it doesn't tell.
    younger_than: Option<Mono>,
    /// When it was first known.
    known_at: Mono,
    /// When it was last heard, on any connection.
    last_heard_at: Mono,
    /// The latest table of nodes has a row of it that was renewed lately.
    pub(super) has_row: bool,
    /// Whether it has a bus.
    pub(super) has_bus: bool,
    /// It knows another epoch.
    pub(super) is_foreign: bool,
    /// It has stopped, and everything that it sent is known.
    pub(super) has_left: bool,
    pub(super) sessions: u64,
    pub(super) gaps: u64,
    /// How it is, as its latest beat tells.
    pub(super) condition: Option<Condition>,
}

impl Peer {
    pub(super) fn new(node: Arc<str>, now: Mono) -> Self {
        Self {
            node,
            next: [1; PARTITIONS],
            beat: 0,
            heard_at: None,
            backlog_us: 0,
            younger_than: Some(now),
            known_at: now,
            last_heard_at: now,
            has_row: false,
            has_bus: true,
            is_foreign: false,
            has_left: false,
            sessions: 0,
            gaps: 0,
            condition: None,
        }
    }

    /// Partitions of which a beat knows later messages than have come. They are not waited for any more.
    pub(super) fn missed(&mut self, seqs: &[u64; PARTITIONS]) -> Partitions {
        let mut missed = Partitions::NONE;
        for partition in Partition::all() {
            let (next, latest) = (&mut self.next[partition.index()], seqs[partition.index()]);
            if latest >= *next {
                *next = latest.saturating_add(1);
                missed = missed.with(partition);
            }
        }
        missed
    }

    /// Takes a beat in, unless a later one has come. `answered`: when the own beat was sent that the sender had heard last;
    /// `None` inside: none that is remembered; `None`: the sender doesn't tell.
    pub(super) fn take_beat(&mut self, beat: &Beat, answered: Option<Option<Mono>>, now: Mono) {
        if beat.number <= self.beat {
            return;
        }
        self.beat = beat.number;
        self.heard_at = Some(now);
        self.last_heard_at = now;
        self.backlog_us = beat.backlog_us;
        self.sessions = beat.sessions;
        self.condition = beat.condition;
        self.is_foreign = false;
        self.has_left = beat.is_leaving;
        self.younger_than = match answered {
            _ if is_planted(Plant::LateBeatBelieved) => None,
            Some(sent_at) => self.younger_than.max(sent_at),
            None => None,
        };
    }

    /// It was heard, and knows another epoch. Until it begins again, it covers nothing.
    pub(super) fn take_foreign(&mut self, now: Mono) {
        self.is_foreign = true;
        self.last_heard_at = now;
    }

    /// The connection that it was heard on is lost.
    pub(super) fn unheard(&mut self) {
        self.heard_at = None;
    }

    /// Until when everything that it has sent is known, unless it is heard again.
    pub(super) fn covers_until(&self, times: &Times) -> Mono {
        if !self.has_bus || self.is_foreign {
            return Mono::default();
        }
        let heard = self.heard_at.unwrap_or(self.known_at);
        let is_overlooked = is_planted(Plant::SilenceIgnored) && self.heard_at.is_some();
        if is_overlooked {
            return Mono::from_us(u64::MAX - 1);
        }
        let until = heard.plus_us(times.silence_us);
        let until = match self.younger_than {
            Some(sent_at) => until.min(sent_at.plus_us(times.bound_us())),
            None => until,
        };
        until.minus_us(self.backlog_us)
    }

    /// Whether it was not heard for `cluster.silence_ms`, on any connection.
    pub(super) const fn is_silent(&self, now: Mono, times: &Times) -> bool {
        now.us_since(self.last_heard_at) >= times.silence_us
    }

    /// Whether it is gone: silent, and without a row in a table that was asked for after it was last heard.
    pub(super) fn is_gone(&self, asked_at: Mono, now: Mono, times: &Times) -> bool {
        !self.has_row && asked_at > self.last_heard_at && self.is_silent(now, times)
    }
}
