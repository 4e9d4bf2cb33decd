//! Each row of the protocol's tables by itself, and random histories.

mod histories;

use super::*;
use crate::coordinator::heard::PARTITIONS;

const MS: u64 = 1_000;

pub(super) const TIMES: Times = Times {
    beat_us: 250 * MS,
    silence_us: 1_000 * MS,
    lease_us: 6_000 * MS,
    table_us: 5_000 * MS,
};

pub(super) fn origin(boot: &str) -> Origin {
    Origin {
        epoch: "e1".into(),
        node: boot.into(),
        boot: Boot::parse(boot).expect("a boot id"),
    }
}

fn at(ms: u64) -> Mono {
    Mono::from_us(10_000_000 + ms * MS)
}

fn part(number: usize) -> Partition {
    Partition::new(number).expect("a partition")
}

fn only(number: usize) -> Partitions {
    Partitions::NONE.with(part(number))
}

pub(super) fn member(boot: &str, age_ms: u64) -> Member {
    Member {
        node: boot.into(),
        boot: Boot::parse(boot).expect("a boot id"),
        age_us: age_ms * MS,
        has_bus: true,
    }
}

/// The node under test, which other nodes hear at once.
struct Node {
    tracker: Tracker,
    number: u64,
    beats: BTreeMap<&'static str, u64>,
}

impl Node {
    /// It is covered at 0 ms, with these other nodes.
    fn covered(peers: &[&'static str]) -> Self {
        let mut node = Self {
            tracker: Tracker::new(origin("own"), TIMES),
            number: 0,
            beats: BTreeMap::new(),
        };
        assert!(!node.is_covered(0), "nothing was heard yet");
        node.tracker.connected(at(0));
        let rows: Vec<Member> = peers.iter().map(|boot| member(boot, 0)).collect();
        node.tracker.table(&rows, at(0), at(0));
        node.own_beat(0, true);
        for boot in peers {
            node.beat(boot, [0; PARTITIONS], 0);
        }
        assert!(node.is_covered(0));
        node
    }

    fn is_covered(&self, ms: u64) -> bool {
        at(ms) < self.tracker.covered_until()
    }

    fn own_beat(&mut self, ms: u64, comes_back: bool) {
        let (number, _) = self.tracker.next_beat(at(ms));
        self.number = number;
        if comes_back {
            let beat = self.beat_of("own", number, [0; PARTITIONS]);
            assert_eq!(self.tracker.beat(&beat, at(ms)), Verdict::default());
        }
    }

    fn beat_of(&self, boot: &str, number: u64, seqs: [u64; PARTITIONS]) -> Beat {
        Beat {
            origin: origin(boot),
            number,
            seqs,
            backlog_us: 0,
            sessions: 3,
            is_leaving: false,
            heard: Some([(self.tracker.own().boot.clone(), self.number)].into()),
            condition: None,
        }
    }

    fn next_of(&mut self, boot: &'static str, seqs: [u64; PARTITIONS]) -> Beat {
        let number = self.beats.entry(boot).or_default();
        *number += 1;
        let number = *number;
        self.beat_of(boot, number, seqs)
    }

    /// The next beat of another node, which has heard the latest own one.
    fn beat(&mut self, boot: &'static str, seqs: [u64; PARTITIONS], ms: u64) -> Verdict {
        let beat = self.next_of(boot, seqs);
        self.tracker.beat(&beat, at(ms))
    }

    fn commits(&mut self, boot: &str, partition: usize, seq: u64, ms: u64) -> Verdict {
        let origin = origin(boot);
        self.tracker.commits(&origin, part(partition), seq, at(ms))
    }

    /// All beats come as they should, every 250 ms from one time to another.
    fn calm(&mut self, peers: &[&'static str], from_ms: u64, to_ms: u64, seqs: [u64; PARTITIONS]) {
        for ms in (from_ms..=to_ms).step_by(250) {
            if ms.is_multiple_of(2_000) {
                let rows: Vec<Member> = peers.iter().map(|boot| member(boot, 0)).collect();
                self.tracker.table(&rows, at(ms), at(ms));
            }
            self.own_beat(ms, true);
            for boot in peers {
                assert_eq!(self.beat(boot, seqs, ms).gap, None);
            }
            assert_eq!(self.tracker.due(at(ms)), Due::default(), "{ms}");
            assert!(self.is_covered(ms), "{ms}");
        }
    }
}

fn delivered() -> Verdict {
    Verdict {
        delivers: true,
        ..Verdict::default()
    }
}

fn sent(partition: usize, seq: u64) -> [u64; PARTITIONS] {
    let mut seqs = [0; PARTITIONS];
    seqs[partition] = seq;
    seqs
}

#[test]
fn the_next_number_is_delivered() {
    let mut node = Node::covered(&["b"]);
    for seq in 1..=3 {
        assert_eq!(node.commits("b", 7, seq, 10), delivered());
    }
    assert_eq!(
        node.commits("b", 8, 1, 10),
        delivered(),
        "another partition"
    );
    let mut seqs = sent(7, 3);
    seqs[8] = 1;
    assert_eq!(node.beat("b", seqs, 20), Verdict::default());
}

#[test]
fn an_earlier_number_is_ignored_and_counted() {
    let mut node = Node::covered(&["b"]);
    node.commits("b", 7, 1, 10);
    let ignored = Verdict {
        gap: Some(Gap::Doubled),
        ..Verdict::default()
    };
    assert_eq!(node.commits("b", 7, 1, 20), ignored);
    assert!(node.is_covered(20));
}

#[test]
fn a_later_number_is_delivered_and_its_partition_distrusted() {
    let mut node = Node::covered(&["b"]);
    node.commits("b", 7, 1, 10);
    let verdict = node.commits("b", 7, 3, 20);
    assert!(verdict.delivers);
    assert_eq!(
        (verdict.distrusts, verdict.gap),
        (only(7), Some(Gap::Sequence))
    );
    assert_eq!(node.commits("b", 7, 4, 30), delivered(), "once");
    assert!(node.is_covered(30), "what is missing is known");
    assert_eq!(node.tracker.nodes(at(30))[0].gaps, 1);
}

#[test]
fn a_beat_that_knows_later_numbers_distrusts_their_partitions() {
    let mut node = Node::covered(&["b"]);
    node.commits("b", 7, 1, 10);
    let mut seqs = sent(7, 2);
    seqs[9] = 1;
    let verdict = node.beat("b", seqs, 20);
    assert_eq!(
        (verdict.distrusts, verdict.gap),
        (only(7).with(part(9)), Some(Gap::Beat))
    );
    assert_eq!(node.beat("b", seqs, 30), Verdict::default(), "once");
    let late = node.commits("b", 7, 2, 40);
    assert_eq!((late.delivers, late.gap), (false, Some(Gap::Doubled)));
}

#[test]
fn a_new_boot_begins_with_number_1_or_distrusts_everything() {
    for (first, gap, distrusts) in [
        (1, None, Partitions::NONE),
        (2, Some(Gap::NewBoot), Partitions::ALL),
        (90_211, Some(Gap::NewBoot), Partitions::ALL),
    ] {
        let mut node = Node::covered(&["b"]);
        let verdict = node.commits("b2", 7, first, 10);
        assert!(verdict.delivers);
        assert_eq!(
            (verdict.gap, verdict.distrusts),
            (gap, distrusts),
            "{first}"
        );
        assert_eq!(node.commits("b2", 7, first + 1, 20), delivered());
    }
    let mut node = Node::covered(&["b"]);
    assert_eq!(node.beat("c", [0; PARTITIONS], 10), Verdict::default());
    let verdict = node.beat("d", sent(3, 5), 10);
    assert_eq!(
        (verdict.gap, verdict.distrusts),
        (Some(Gap::NewBoot), Partitions::ALL)
    );
}

#[test]
fn another_epoch_is_ignored_asked_for_and_covers_nothing() {
    let mut node = Node::covered(&["b"]);
    let foreign = Origin {
        epoch: "e2".into(),
        ..origin("b")
    };
    let asks = Verdict {
        gap: Some(Gap::Epoch),
        asks_epoch: true,
        ..Verdict::default()
    };
    assert_eq!(node.tracker.commits(&foreign, part(7), 1, at(10)), asks);
    assert!(!node.is_covered(10), "what it commits is not heard");
    let mut beat = node.next_of("b", [0; PARTITIONS]);
    beat.origin = foreign;
    assert_eq!(node.tracker.beat(&beat, at(20)), asks);
    assert!(!node.is_covered(20));
}

#[test]
fn what_cannot_be_read_distrusts_the_partition_of_its_subject() {
    let mut node = Node::covered(&["b"]);
    let verdict = node.tracker.unreadable(Some(part(7)));
    assert_eq!(
        (verdict.delivers, verdict.distrusts, verdict.gap),
        (false, only(7), Some(Gap::Unreadable))
    );
    let verdict = node.tracker.unreadable(None);
    assert_eq!(
        verdict.distrusts,
        Partitions::NONE,
        "the sender becomes silent"
    );
}

#[test]
fn own_messages_are_no_ones_elses() {
    let mut node = Node::covered(&[]);
    assert_eq!(node.commits("own", 7, 9, 10), Verdict::default());
    assert!(node.tracker.nodes(at(20)).is_empty());
}

#[test]
fn a_node_is_silent_until_its_next_beat_whatever_the_connection_does() {
    let mut node = Node::covered(&["b"]);
    let is_silent = |node: &Node, ms| node.tracker.nodes(at(ms))[0].is_silent;
    assert!(!is_silent(&node, 999) && is_silent(&node, 1_000));
    node.beat("b", [0; PARTITIONS], 1_500);
    node.tracker.disconnected();
    assert!(!is_silent(&node, 2_499) && is_silent(&node, 2_500));
    node.tracker.connected(at(2_600));
    assert!(is_silent(&node, 2_600));
    node.beat("b", [0; PARTITIONS], 2_700);
    assert!(!is_silent(&node, 2_700));
}

#[test]
fn in_calm_it_stays_covered() {
    let mut node = Node::covered(&["b", "c"]);
    node.calm(&["b", "c"], 250, 60_000, [0; PARTITIONS]);
    let mut alone = Node::covered(&[]);
    alone.calm(&[], 250, 60_000, [0; PARTITIONS]);
}

/// Killed, stopped, black-holed: own beats do not come back, whatever the client thinks.
#[test]
fn a_bus_that_is_silent_ends_the_cover_within_a_second() {
    let mut node = Node::covered(&["b"]);
    node.calm(&["b"], 250, 2_000, [0; PARTITIONS]);
    let mut links = Vec::new();
    for ms in (2_250..=10_000).step_by(250) {
        node.own_beat(ms, false);
        assert_eq!(node.is_covered(ms), ms < 3_000, "{ms}");
        links.push((ms, node.tracker.due(at(ms)).link));
    }
    let asked = |wanted: Link| -> Vec<u64> {
        let of = links.iter().filter(|(_, link)| *link == wanted);
        of.map(|(ms, _)| *ms).collect()
    };
    assert_eq!(asked(Link::Reconnect), [3_000, 4_000, 5_000, 6_000]);
    assert_eq!(asked(Link::Renew), [7_000], "and again 5 s later");
}

/// Cut in one direction, or publishing is denied: others are heard, own beats do not come back.
#[test]
fn a_node_that_is_not_heard_itself_is_not_covered() {
    let mut node = Node::covered(&["b"]);
    for ms in (250..=2_000).step_by(250) {
        node.own_beat(ms, false);
        let mut beat = node.next_of("b", [0; PARTITIONS]);
        beat.heard = Some(BTreeMap::new());
        node.tracker.beat(&beat, at(ms));
        assert_eq!(node.is_covered(ms), ms < 1_000, "{ms}");
    }
}

#[test]
fn a_lost_connection_ends_the_cover_at_once_until_all_are_heard_again() {
    let mut node = Node::covered(&["b", "c"]);
    node.tracker.disconnected();
    assert!(!node.is_covered(0) && !node.tracker.is_connected());
    node.tracker.connected(at(100));
    node.own_beat(100, true);
    node.beat("b", [0; PARTITIONS], 110);
    node.beat("c", [0; PARTITIONS], 110);
    assert!(node.is_covered(110), "known lately");
    node.tracker.disconnected();
    node.tracker.connected(at(5_000));
    node.tracker
        .table(&[member("b", 0), member("c", 0)], at(5_000), at(5_000));
    node.own_beat(5_000, true);
    assert!(!node.is_covered(5_000));
    node.beat("b", [0; PARTITIONS], 5_010);
    assert!(!node.is_covered(5_010));
    let verdict = node.beat("c", sent(4, 2), 5_020);
    assert_eq!(verdict.distrusts, only(4), "what was said meanwhile");
    assert!(node.is_covered(5_020));
}

/// Both sides of a split: alive in the table, silent on the bus.
#[test]
fn a_node_that_lives_and_is_silent_ends_the_cover() {
    let mut node = Node::covered(&["b", "c"]);
    for ms in (250..=20_000).step_by(250) {
        node.own_beat(ms, true);
        node.beat("c", [0; PARTITIONS], ms);
        node.tracker
            .table(&[member("b", 0), member("c", 0)], at(ms), at(ms));
        assert_eq!(node.tracker.due(at(ms)), Due::default());
        assert_eq!(node.is_covered(ms), ms < 1_000, "{ms}");
    }
    assert_eq!(
        node.beat("b", sent(2, 9), 20_010).distrusts,
        only(2),
        "it was known"
    );
    assert!(node.is_covered(20_010));
}

/// Killed, perhaps between its commit and the message.
#[test]
fn a_node_that_is_gone_is_forgotten_after_everything_is_distrusted() {
    let mut node = Node::covered(&["b"]);
    let mut gone_at = None;
    for ms in (250..=10_000).step_by(250) {
        node.own_beat(ms, true);
        if ms.is_multiple_of(2_000) {
            node.tracker.table(&[member("b", ms)], at(ms), at(ms));
        }
        let due = node.tracker.due(at(ms));
        if due.gone > 0 {
            assert_eq!((due.gone, due.distrusts), (1, Partitions::ALL));
            assert_eq!(gone_at.replace(ms), None, "once");
        }
        let is_covered = ms < 1_000 || gone_at.is_some();
        assert_eq!(node.is_covered(ms), is_covered, "{ms}");
    }
    assert_eq!(gone_at, Some(8_000), "with the first table after its lease");
}

/// Stopped for a minute, then going on: it is another one's absence that others see, and it sees its own by the clock.
#[test]
fn a_node_that_was_stopped_is_not_covered_when_it_goes_on() {
    let mut node = Node::covered(&["b"]);
    assert!(!node.is_covered(60_000));
    // What has been waiting in its socket is old, however new it looks.
    let mut old = node.next_of("b", [0; PARTITIONS]);
    old.heard = Some([(node.tracker.own().boot.clone(), 1)].into());
    node.tracker
        .table(&[member("b", 0)], at(60_000), at(60_000));
    node.tracker.beat(&old, at(60_001));
    node.own_beat(60_002, true);
    assert!(
        !node.is_covered(60_003),
        "b's beat is no younger than own beat 1"
    );
    node.beat("b", [0; PARTITIONS], 60_250);
    assert!(node.is_covered(60_250));
}

#[test]
fn a_beat_that_was_held_up_proves_nothing() {
    let mut node = Node::covered(&["b"]);
    let held: Vec<Beat> = (0..4).map(|_| node.next_of("b", [0; PARTITIONS])).collect();
    for ms in (250..=5_000).step_by(250) {
        node.own_beat(ms, true);
    }
    node.tracker.table(&[member("b", 0)], at(5_000), at(5_000));
    for beat in held {
        node.tracker.beat(&beat, at(5_000));
        assert!(!node.is_covered(5_000));
    }
}

#[test]
fn a_beat_that_comes_twice_is_heard_once() {
    let mut node = Node::covered(&["b"]);
    let beat = node.next_of("b", [0; PARTITIONS]);
    node.tracker.beat(&beat, at(100));
    node.own_beat(900, true);
    node.tracker.beat(&beat, at(1_000));
    assert!(!node.is_covered(1_100));
}

#[test]
fn what_waits_at_its_sender_is_not_known() {
    let mut node = Node::covered(&["b"]);
    node.own_beat(250, true);
    let mut beat = node.next_of("b", [0; PARTITIONS]);
    beat.backlog_us = 600 * MS;
    node.tracker.beat(&beat, at(250));
    assert!(node.is_covered(600) && !node.is_covered(650));
    node.own_beat(500, true);
    beat = node.next_of("b", [0; PARTITIONS]);
    beat.backlog_us = 3_000 * MS;
    node.tracker.beat(&beat, at(500));
    assert!(!node.is_covered(500));
}

#[test]
fn a_node_that_does_not_tell_what_it_heard_counts_from_when_it_is_heard() {
    let mut node = Node::covered(&["b"]);
    for ms in (250..=5_000).step_by(250) {
        node.own_beat(ms, true);
        let mut beat = node.next_of("b", [0; PARTITIONS]);
        beat.heard = None;
        node.tracker.beat(&beat, at(ms));
        node.tracker.table(&[member("b", 0)], at(ms), at(ms));
        assert!(node.is_covered(ms));
    }
}

#[test]
fn a_node_without_a_bus_keeps_the_others_from_being_covered() {
    let mut node = Node::covered(&[]);
    let row = Member {
        has_bus: false,
        ..member("hand", 0)
    };
    node.tracker.table(&[row], at(100), at(100));
    node.own_beat(100, true);
    assert!(!node.is_covered(100));
    node.tracker.table(&[], at(2_100), at(2_100));
    assert_eq!(node.tracker.due(at(2_100)).distrusts, Partitions::ALL);
    node.own_beat(2_100, true);
    assert!(node.is_covered(2_100));
}

#[test]
fn a_node_that_leaves_is_not_missed() {
    let mut node = Node::covered(&["b"]);
    node.commits("b", 7, 1, 10);
    let mut last = node.next_of("b", sent(7, 1));
    last.is_leaving = true;
    assert_eq!(node.tracker.beat(&last, at(20)), Verdict::default());
    assert!(node.tracker.nodes(at(20)).is_empty());
    for ms in (250..=10_000).step_by(250) {
        node.own_beat(ms, true);
        if ms.is_multiple_of(2_000) {
            node.tracker.table(&[member("b", ms)], at(ms), at(ms));
        }
        assert_eq!(node.tracker.due(at(ms)), Due::default(), "it is not gone");
        assert!(node.is_covered(ms), "{ms}");
    }
    let mut node = Node::covered(&["b"]);
    let mut last = node.next_of("b", sent(7, 1));
    last.is_leaving = true;
    assert_eq!(
        node.tracker.beat(&last, at(20)).distrusts,
        only(7),
        "its last message is missing"
    );
}

/// PostgreSQL away from this node: it does not know which others there are.
#[test]
fn an_old_table_of_nodes_covers_nothing() {
    let mut node = Node::covered(&["b"]);
    for ms in (250..=8_000).step_by(250) {
        node.own_beat(ms, true);
        node.beat("b", [0; PARTITIONS], ms);
        assert_eq!(node.is_covered(ms), ms < 5_000, "{ms}");
        assert_eq!(node.tracker.due(at(ms)).gone, 0, "it is heard");
    }
    node.tracker.table(&[], at(7_000), at(7_000));
    assert!(node.is_covered(8_000), "PostgreSQL is away from b alone");
    node.tracker.table(&[member("b", 0)], at(1_000), at(1_000));
    assert!(
        node.is_covered(8_000),
        "an answer that comes late changes nothing"
    );
}

/// A node may have come, committed and gone meanwhile.
#[test]
fn tables_that_lie_far_apart_distrust_everything() {
    let mut node = Node::covered(&["b"]);
    for (ms, came_ms, is_watched) in [
        (2_000, 2_000, true),
        (7_000, 7_000, true),
        (12_001, 12_001, false),
        (14_000, 14_000, true),
        // It was read at any time until it came.
        (16_000, 19_000, true),
        (18_000, 21_001, false),
        (20_000, 22_000, true),
    ] {
        let verdict = node.tracker.table(&[member("b", 0)], at(ms), at(came_ms));
        assert_eq!(verdict.distrusts.is_empty(), is_watched, "{ms}");
        assert_eq!(verdict.gap.is_none(), is_watched, "{ms}");
    }
    let mut new = Tracker::new(origin("own"), TIMES);
    assert_eq!(
        new.table(&[], at(0), at(0)).distrusts,
        Partitions::ALL,
        "the first"
    );
}

#[test]
fn more_nodes_than_can_be_remembered_cover_nothing() {
    let mut node = Node::covered(&[]);
    let rows: Vec<Member> = (0..=NODES_MAX)
        .map(|number| member(&format!("b{number}"), 0))
        .collect();
    node.tracker.table(&rows[..NODES_MAX], at(0), at(0));
    assert!(node.is_covered(0));
    node.tracker.table(&rows, at(1), at(1));
    assert!(!node.is_covered(1));
    assert_eq!(node.tracker.nodes(at(1)).len(), NODES_MAX);
}

#[test]
fn every_gap_has_its_label_from_the_start() {
    let labels = Gap::ALL.map(Gap::as_str);
    assert_eq!(labels, crate::telemetry::cluster::GAP_REASONS);
}

#[test]
fn beats_tell_what_was_heard() {
    let mut node = Node::covered(&["b"]);
    node.beat("b", [0; PARTITIONS], 10);
    node.commits("c", 1, 1, 10);
    let (number, heard) = node.tracker.next_beat(at(20));
    assert_eq!(number, 2);
    let heard: Vec<_> = heard
        .iter()
        .map(|(boot, beat)| (boot.as_str(), *beat))
        .collect();
    assert_eq!(heard, [("b", 2)], "c has no beat yet");
}
