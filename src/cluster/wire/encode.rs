//! Writing messages.

use std::collections::BTreeMap;

use serde::ser::SerializeTuple as _;
use serde::{Serialize, Serializer};

use crate::cluster::wire::{Beat, Boot, Condition, MESSAGE_BYTES_MAX, Origin, VERSION};
use crate::coordinator::heard::{HeardCommit, PARTITIONS, Partition};
use crate::domain::Currencies;

/// Bytes of a message without its users, at most: three names of 64 characters and some numbers.
const HEAD_BYTES_MAX: usize = 512;

/// The numbers of the messages that a node has sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequences([u64; PARTITIONS]);

impl Sequences {
    /// The next number of a partition. Where it is not sent after all, all other nodes see that a message is missing.
    pub fn next(&mut self, partition: Partition) -> u64 {
        let seq = &mut self.0[partition.index()];
        *seq += 1;
        *seq
    }

    /// Uses up numbers that are never sent.
    pub fn skip(&mut self, counts: &[u64; PARTITIONS]) {
        for (seq, count) in self.0.iter_mut().zip(counts) {
            *seq += count;
        }
    }

    /// The latest number of each partition.
    pub const fn latest(&self) -> [u64; PARTITIONS] {
        self.0
    }
}

/// The messages of one transaction: at least one for each of its partitions, each at most [`MESSAGE_BYTES_MAX`] long, with
/// the users in their order. The time and the age are those of the first user. `age_us`: how long ago the transaction was
/// committed.
///
/// A user whose change alone would be longer is left out, and a number is skipped instead.
pub fn encode_commits(
    origin: &Origin,
    sequences: &mut Sequences,
    users: &[HeardCommit],
    age_us: u64,
    currencies: &Currencies,
) -> Vec<(Partition, Vec<u8>)> {
    let Some(committed_at) = users.first().map(|user| user.committed_at) else {
        return Vec::new();
    };
    let mut rows: BTreeMap<Partition, Vec<Vec<u8>>> = BTreeMap::new();
    for commit in users {
        let row = serde_json::to_vec(&Row { commit, currencies });
        rows.entry(Partition::of(commit.user_id))
            .or_default()
            .push(row.expect("texts and numbers are JSON"));
    }
    let mut messages = Vec::new();
    for (partition, rows) in rows {
        let mut message = Vec::new();
        let mut finish = |message: &mut Vec<u8>| {
            if !message.is_empty() {
                message.extend_from_slice(b"]}");
                messages.push((partition, std::mem::take(message)));
            }
        };
        for row in rows {
            if HEAD_BYTES_MAX + row.len() > MESSAGE_BYTES_MAX {
                finish(&mut message);
                sequences.next(partition);
                continue;
            }
            if message.len() + row.len() + b",]}".len() > MESSAGE_BYTES_MAX {
                finish(&mut message);
            }
            if message.is_empty() {
                let head = Head {
                    v: VERSION,
                    epoch: &origin.epoch,
                    node: &origin.node,
                    boot: &origin.boot,
                    part: partition.index(),
                    seq: sequences.next(partition),
                    at: committed_at.us(),
                    age_us,
                };
                message = serde_json::to_vec(&head).expect("texts and numbers are JSON");
                message.pop();
                message.extend_from_slice(b",\"users\":[");
            } else {
                message.push(b',');
            }
            message.extend_from_slice(&row);
        }
        finish(&mut message);
    }
    messages
}

/// A beat.
pub fn encode_beat(beat: &Beat) -> Vec<u8> {
    let written = BeatRow {
        v: VERSION,
        epoch: &beat.origin.epoch,
        node: &beat.origin.node,
        boot: &beat.origin.boot,
        beat: beat.number,
        seqs: &beat.seqs,
        backlog_us: beat.backlog_us,
        sessions: beat.sessions,
        leaving: beat.is_leaving,
        heard: beat.heard.as_ref(),
        condition: beat.condition,
    };
    serde_json::to_vec(&written).expect("texts and numbers are JSON")
}

#[derive(Serialize)]
struct Head<'a> {
    v: u64,
    epoch: &'a str,
    node: &'a str,
    boot: &'a Boot,
    part: usize,
    seq: u64,
    at: i64,
    age_us: u64,
}

#[derive(Serialize)]
struct BeatRow<'a> {
    v: u64,
    epoch: &'a str,
    node: &'a str,
    boot: &'a Boot,
    beat: u64,
    seqs: &'a [u64; PARTITIONS],
    backlog_us: u64,
    sessions: u64,
    leaving: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<&'a BTreeMap<Boot, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
}

/// A change of a user.
struct Row<'a> {
    commit: &'a HeardCommit,
    currencies: &'a Currencies,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let commit = self.commit;
        let mut row = serializer.serialize_tuple(5)?;
        row.serialize_element(&commit.user_id)?;
        row.serialize_element(&commit.version_from)?;
        row.serialize_element(&commit.version_to)?;
        row.serialize_element(&BalancesOf(self))?;
        let entries = commit.entries.iter();
        let entries: Vec<_> = entries
            .map(|entries| (entries.kind, entries.source.as_str(), entries.count))
            .collect();
        row.serialize_element(&entries)?;
        row.end()
    }
}

struct BalancesOf<'a>(&'a Row<'a>);

impl Serialize for BalancesOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let balances = &self.0.commit.balances;
        let all = self.0.currencies.iter();
        serializer.collect_map(all.map(|(id, one)| (one.code.as_str(), balances.get(id).minor())))
    }
}
