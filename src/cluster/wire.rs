//! The messages between nodes, as JSON: commits, beats and orders. Everything here is a value or a pure function.
//!
//! | subject | message |
//! | --- | --- |
//! | `balance.v1.<cluster>.c.<0-15>` | [`Commits`]: what one transaction changed in one partition |
//! | `balance.v1.<cluster>.beat` | [`Beat`]: that a node is there, what it has sent so far, and how it is |
//! | `balance.v1.<cluster>.order` | [`OrderMessage`]: what an administrator asks of all nodes, and their answers |
//!
//! A node numbers the commit messages of each partition from 1, without gaps, for as long as it runs. A change of a user is
//! `[user, version_from, version_to, all balances, [[kind, source, count]…]]`. Amounts are integers of minor units.
//! Fields that are not known are ignored, so that later nodes may add some; all else must be right, or the whole message
//! counts as unreadable, which is an error and never a panic.

mod decode;
mod encode;
mod order_message;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::clock::Wall;
use crate::coordinator::heard::{PARTITIONS, Partition};

pub use decode::{decode_beat, decode_commits};
pub use encode::{Sequences, encode_beat, encode_commits};
pub use order_message::{Action, OrderMessage, OrderPart, decode_order, encode_order};

/// The version of the format, the `v` of every message.
pub const VERSION: u64 = 1;

/// The longest message, in bytes. Servers take 1 MiB by default.
pub const MESSAGE_BYTES_MAX: usize = 512 << 10;

/// Characters of a boot id, an epoch or a node's name.
const NAME_CHARS_MAX: usize = 64;

/// One run of one process: unlike all others, also of the same node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(Arc<str>);

impl Boot {
    /// A new one: the time in milliseconds, so that they sort by age, and 80 random bits.
    pub fn random(now: Wall) -> Self {
        let ms = now.us().unsigned_abs() / 1_000;
        let noise: u128 = rand::random();
        Self(format!("{ms:012x}{:020x}", noise >> 48).into())
    }

    /// Reads one: 1 to 64 letters, digits, `_` and `-`.
    pub fn parse(text: &str) -> Option<Self> {
        is_word(text).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Boot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Boot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("is no boot id"))
    }
}

/// Where a message comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The epoch of the ledger that the sender knows.
    pub epoch: Arc<str>,
    /// The sender's name, for people.
    pub node: Arc<str>,
    /// The sender's run.
    pub boot: Boot,
}

/// What one transaction changed in one partition. The changes are decoded only where they are wanted.
#[derive(Debug)]
pub struct Commits<'a> {
    /// The sender.
    pub origin: Origin,
    /// The partition of all users in it.
    pub partition: Partition,
    /// Its number in the partition, from 1.
    pub seq: u64,
    committed_at: Wall,
    age_us: u64,
    users: &'a RawValue,
}

/// That a node is there, and what it has sent so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The sender.
    pub origin: Origin,
    /// The number of the beat, from 1.
    pub number: u64,
    /// The number of the latest message in each partition; 0: none.
    pub seqs: [u64; PARTITIONS],
    /// How long the oldest commit has been waiting to be sent, in microseconds.
    pub backlog_us: u64,
    /// Open sessions.
    pub sessions: u64,
    /// The sender stops, and sends nothing after this.
    pub is_leaving: bool,
    /// The latest beat of each other node that the sender has heard. So that node knows that this beat is younger than
    /// its own, without any clock. `None` from a sender that doesn't tell.
    pub heard: Option<BTreeMap<Boot, u64>>,
    /// How the sender is, for administrators of other nodes. `None` from a sender that doesn't tell.
    pub condition: Option<Condition>,
}

/// How a node is, as it tells administrators. Nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Whether it hears of everything that others commit.
    pub covered: bool,
    /// Its users with sessions were compared with the ledger, or heard of completely, at most so long ago.
    pub verified_age_ms: u64,
    /// How far its clock is ahead of the database's.
    pub clock_skew_ms: i64,
}

/// A message that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("{0} bytes are too many")]
    TooLong(usize),
    /// Of a node that speaks another version of the format.
    #[error("version {0} is unknown")]
    Version(u64),
    /// No JSON, or another form.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// A value that is impossible.
    #[error("{0}")]
    Value(&'static str),
}

/// What a subject is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Commits of a partition.
    Commits(Partition),
    /// Beats.
    Beat,
    /// Orders and their answers.
    Order,
}

/// The subjects of one cluster.
#[derive(Debug, Clone)]
pub struct Subjects {
    commits: [Arc<str>; PARTITIONS],
    beat: Arc<str>,
    order: Arc<str>,
    all: Arc<str>,
}

impl Subjects {
    /// Those of the cluster of this name (`cluster.name`).
    pub fn new(cluster: &str) -> Self {
        let prefix = format!("balance.v1.{cluster}");
        Self {
            commits: std::array::from_fn(|number| format!("{prefix}.c.{number}").into()),
            beat: format!("{prefix}.beat").into(),
            order: format!("{prefix}.order").into(),
            all: format!("{prefix}.>").into(),
        }
    }

    /// The subject of a topic.
    pub fn of(&self, topic: Topic) -> &str {
        match topic {
            Topic::Commits(partition) => &self.commits[partition.index()],
            Topic::Beat => &self.beat,
            Topic::Order => &self.order,
        }
    }

    /// All subjects of the cluster. One subscription has them all, so that messages keep their order.
    pub fn all(&self) -> &str {
        &self.all
    }

    /// The topic of a subject; `None` for another.
    pub fn topic(&self, subject: &str) -> Option<Topic> {
        if subject == &*self.beat {
            return Some(Topic::Beat);
        }
        if subject == &*self.order {
            return Some(Topic::Order);
        }
        Partition::all()
            .find(|partition| subject == &*self.commits[partition.index()])
            .map(Topic::Commits)
    }
}

/// 1 to 64 letters, digits, `_` and `-`.
fn is_word(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(may)
}

#[cfg(test)]
mod tests;
