//! Whether this node has heard everything that other nodes committed: a pure state machine. Messages, beats, the table of
//! nodes and times go in; what to do comes out.
//!
//! Two things come out of it. [`Tracker::covered_until`] is a time: before it, this node knows of everything that was
//! committed longer ago than [`Times::bound_us`], or has distrusted the partition since. And each [`Verdict`] says whether
//! a message is delivered, and which partitions are distrusted from now on: what is in memory of their users has to be
//! compared with the ledger.
//!
//! What makes a node covered:
//!
//! - its own beats come back by the bus, and the latest that did was sent less than `cluster.silence_ms` ago;
//! - the table of nodes was read lately, and each node in it that lives has a bus;
//! - each of these was heard less than `cluster.silence_ms` ago;
//! - and has itself heard a beat of ours that was sent less than twice that time ago. Without this a beat that was held up
//!   somewhere would look like a new one.
//!
//! A lost message shows by the numbers: each sender numbers its messages per partition, and its beats repeat the numbers.
//!
//! Start reading at [`Tracker::commits`] and [`Tracker::beat`].

mod links;
mod peers;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::clock::Mono;
use crate::cluster::wire::{Beat, Boot, Origin};
use crate::coordinator::heard::{Partition, Partitions};
use crate::planted::{Plant, is_planted};

pub use links::Link;
use links::Links;
use peers::Peer;
pub use verdict::{Due, Gap, Member, NodeSeen, Times, Verdict};

/// Nodes that are known at once, with those that are gone and not yet forgotten. While there are more, nothing is covered.
pub const NODES_MAX: usize = 256;

/// Own beats whose time of sending is remembered. An answer to an older one proves nothing.
const OWN_BEATS_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Tracker {
    own: Origin,
    times: Times,
    peers: BTreeMap<Boot, Peer>,
    /// A node could not be remembered.
    has_too_many: bool,
    /// When the latest table of nodes was asked for.
    table_at: Option<Mono>,
    links: Links,
    /// Number and time of the latest own beats.
    own_beats: VecDeque<(u64, Mono)>,
    number: u64,
}

impl Tracker {
    /// A node that has heard of nothing yet, and is not covered.
    pub fn new(own: Origin, times: Times) -> Self {
        Self {
            own,
            times,
            peers: BTreeMap::new(),
            has_too_many: false,
            table_at: None,
            links: Links::default(),
            own_beats: VecDeque::new(),
            number: 0,
        }
    }

    /// For how long what is not heard again is believed, in microseconds.
    pub const fn silence_us(&self) -> u64 {
        self.times.silence_us
    }

    /// This node.
    pub const fn own(&self) -> &Origin {
        &self.own
    }

    /// Commits have come. Own ones come, too, and are ignored.
    pub fn commits(
        &mut self,
        origin: &Origin,
        partition: Partition,
        seq: u64,
        now: Mono,
    ) -> Verdict {
        if origin.boot == self.own.boot {
            return Verdict::default();
        }
        if origin.epoch != self.own.epoch {
            return self.foreign(origin, now);
        }
        let is_new = !self.peers.contains_key(&origin.boot);
        let Some(peer) = self.peer(origin, now) else {
            return too_many();
        };
        let expected = peer.next[partition.index()];
        if seq < expected {
            return Verdict {
                gap: Some(Gap::Doubled),
                ..Verdict::default()
            };
        }
        peer.next[partition.index()] = seq.saturating_add(1);
        let is_overlooked = is_planted(Plant::SequenceIgnored) && !is_new
            || is_planted(Plant::NewBootIgnored) && is_new;
        let (gap, distrusts) = if seq == expected || is_overlooked {
            (None, Partitions::NONE)
        } else if is_new {
            (Some(Gap::NewBoot), Partitions::ALL)
        } else {
            (Some(Gap::Sequence), Partitions::NONE.with(partition))
        };
        peer.gaps += u64::from(gap.is_some());
        Verdict {
            delivers: true,
            distrusts,
            gap,
            asks_epoch: false,
        }
    }

    /// A beat has come. An own one proves that the way to the bus and back is open.
    pub fn beat(&mut self, beat: &Beat, now: Mono) -> Verdict {
        if beat.origin.boot == self.own.boot {
            if let Some(sent_at) = self.sent_at(beat.number) {
                self.links.came_back(sent_at, now);
            }
            return Verdict::default();
        }
        if beat.origin.epoch != self.own.epoch {
            return self.foreign(&beat.origin, now);
        }
        let heard = beat.heard.as_ref();
        let heard = heard.map(|heard| heard.get(&self.own.boot).copied());
        let answered = heard.map(|number| number.and_then(|number| self.sent_at(number)));
        let is_new = !self.peers.contains_key(&beat.origin.boot);
        let Some(peer) = self.peer(&beat.origin, now) else {
            return too_many();
        };
        let mut distrusts = peer.missed(&beat.seqs);
        if is_planted(Plant::BeatIgnored) && !is_new || is_planted(Plant::NewBootIgnored) && is_new
        {
            distrusts = Partitions::NONE;
        }
        peer.take_beat(beat, answered, now);
        let gap = (!distrusts.is_empty()).then(|| {
            peer.gaps += 1;
            if is_new { Gap::NewBoot } else { Gap::Beat }
        });
        if gap == Some(Gap::NewBoot) {
            distrusts = Partitions::ALL;
        }
        Verdict {
            distrusts,
            gap,
            ..Verdict::default()
        }
    }

    /// A message could not be read. Its partition is known by its subject, if it had commits. The sender of a beat is not,
    /// and becomes silent unless the next one can be read.
    pub fn unreadable(&mut self, partition: Option<Partition>) -> Verdict {
        Verdict {
            distrusts: partition.map_or(Partitions::NONE, |one| Partitions::NONE.with(one)),
            gap: Some(Gap::Unreadable),
            ..Verdict::default()
        }
    }

    /// The table of nodes was read: it was asked for at `asked_at` and is there `now`, and was read at some time between.
    /// A node writes its row before its first commit, and the row stays for at least the lease.
    ///
    /// Between two tables that lie too far apart a node may have come, committed and gone, so everything is distrusted.
    pub fn table(&mut self, rows: &[Member], asked_at: Mono, now: Mono) -> Verdict {
        if self.table_at.is_some_and(|latest| latest > asked_at) {
            return Verdict::default();
        }
        let latest = self.table_at.replace(asked_at);
        let is_watched = latest.is_some_and(|at| now.us_since(at) <= self.times.table_us);
        for peer in self.peers.values_mut() {
            peer.has_row = false;
        }
        self.has_too_many = false;
        let lease_us = self.times.lease_us;
        for row in rows {
            if row.boot == self.own.boot || row.age_us > lease_us {
                continue;
            }
            if let Some(peer) = self.peer_of(&row.boot, &row.node, asked_at) {
                peer.has_row = true;
                peer.has_bus = row.has_bus;
            }
        }
        if is_watched {
            return Verdict::default();
        }
        Verdict {
            distrusts: Partitions::ALL,
            gap: Some(Gap::Table),
            ..Verdict::default()
        }
    }

    /// The next own beat: its number, and the latest number heard of each other node. It counts as sent.
    pub fn next_beat(&mut self, now: Mono) -> (u64, BTreeMap<Boot, u64>) {
        self.number += 1;
        if self.own_beats.len() == OWN_BEATS_MAX {
            self.own_beats.pop_front();
        }
        self.own_beats.push_back((self.number, now));
        let heard = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.heard_at.is_some());
        let heard = heard.map(|(boot, peer)| (boot.clone(), peer.beat));
        (self.number, heard.collect())
    }

    /// The connection to the bus is there, again perhaps.
    pub fn connected(&mut self, now: Mono) {
        self.links.connected(now);
    }

    /// The connection to the bus is lost. What others say meanwhile is not heard.
    pub fn disconnected(&mut self) {
        self.links.disconnected();
        for peer in self.peers.values_mut() {
            peer.unheard();
        }
    }

    /// Whether there is a connection to the bus.
    pub const fn is_connected(&self) -> bool {
        self.links.is_connected()
    }

    /// Forgets nodes that are gone, and says what to do with the connection. To be asked as often as there is a beat.
    pub fn due(&mut self, now: Mono) -> Due {
        let (times, table_at) = (self.times, self.table_at);
        let (mut gone, mut distrusts) = (0, Partitions::NONE);
        self.peers.retain(|_, peer| {
            let is_gone = table_at.is_some_and(|asked_at| peer.is_gone(asked_at, now, &times));
            if is_gone && !peer.has_left {
                gone += 1;
                if !is_planted(Plant::GoneIgnored) {
                    distrusts = Partitions::ALL;
                }
            }
            !is_gone
        });
        Due {
            gone,
            distrusts,
            link: self.links.due(now, &times),
        }
    }

    /// Until when this node is covered, unless more is heard; a time that has passed means that it is not.
    pub fn covered_until(&self) -> Mono {
        let (Some(table_at), Some(came_back)) = (self.table_at, self.links.latest_back()) else {
            return Mono::default();
        };
        if self.has_too_many {
            return Mono::default();
        }
        let own = came_back.plus_us(self.times.silence_us);
        let own = own.min(table_at.plus_us(self.times.table_us));
        let peers = self.peers.values().filter(|peer| !peer.has_left);
        peers.fold(own, |until, peer| until.min(peer.covers_until(&self.times)))
    }

    /// The other nodes, by boot.
    pub fn nodes(&self, now: Mono) -> Vec<NodeSeen> {
        let peers = self.peers.iter().filter(|(_, peer)| !peer.has_left);
        let seen = peers.map(|(boot, peer)| NodeSeen {
            node: peer.node.clone(),
            boot: boot.clone(),
            has_bus: peer.has_bus,
            heard_at: peer.heard_at,
            is_silent: peer.is_silent(now, &self.times),
            sessions: peer.sessions,
            gaps: peer.gaps,
            condition: peer.condition,
        });
        seen.collect()
    }

    /// A node that knows another epoch covers nothing until it begins again.
    fn foreign(&mut self, origin: &Origin, now: Mono) -> Verdict {
        if let Some(peer) = self.peer(origin, now) {
            peer.take_foreign(now);
        }
        Verdict {
            gap: Some(Gap::Epoch),
            asks_epoch: true,
            ..Verdict::default()
        }
    }

    fn peer(&mut self, origin: &Origin, now: Mono) -> Option<&mut Peer> {
        self.peer_of(&origin.boot, &origin.node, now)
    }

    /// The node of a boot, which is remembered from now on. `None`: there are too many.
    fn peer_of(&mut self, boot: &Boot, node: &Arc<str>, now: Mono) -> Option<&mut Peer> {
        if !self.peers.contains_key(boot) {
            if self.peers.len() == NODES_MAX {
                self.has_too_many = true;
                return None;
            }
            self.peers
                .insert(boot.clone(), Peer::new(node.clone(), now));
        }
        self.peers.get_mut(boot)
    }

    /// When an own beat was sent; `None` for one that is not remembered.
    pub fn sent_at(&self, number: u64) -> Option<Mono> {
        let found = self.own_beats.iter().find(|(sent, _)| *sent == number);
        found.map(|(_, sent_at)| *sent_at)
    }
}

/// The message of a node that cannot be remembered.
const fn too_many() -> Verdict {
    Verdict {
        delivers: false,
        distrusts: Partitions::ALL,
        gap: Some(Gap::NewBoot),
        asks_epoch: false,
    }
}

#[cfg(test)]
mod tests;
