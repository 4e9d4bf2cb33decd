//! Reading messages. Total: whatever comes in, the result is a message or an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::clock::Wall;
use crate::cluster::wire::{
    Beat, Boot, Commits, Condition, MESSAGE_BYTES_MAX, NAME_CHARS_MAX, Origin, VERSION, WireError,
    is_word,
};
use crate::coordinator::heard::{HeardCommit, HeardEntries, PARTITIONS, Partition};
use crate::domain::{Amount, Balances, Currencies, Kind, Source, UserId};

/// Reads the head of a message with commits.
///
/// # Errors
/// [`WireError`]; the message counts as missing.
pub fn decode_commits(bytes: &[u8]) -> Result<Commits<'_>, WireError> {
    let raw: RawCommits<'_> = decode(bytes)?;
    let partition = Partition::new(raw.part).ok_or(WireError::Value("no such partition"))?;
    if raw.seq == 0 {
        return Err(WireError::Value("messages are numbered from 1"));
    }
    Ok(Commits {
        origin: origin(&raw.epoch, &raw.node, raw.boot)?,
        partition,
        seq: raw.seq,
        committed_at: Wall::from_us(raw.at),
        age_us: raw.age_us,
        users: raw.users,
    })
}

/// Reads a beat.
///
/// # Errors
/// [`WireError`].
pub fn decode_beat(bytes: &[u8]) -> Result<Beat, WireError> {
    let raw: RawBeat<'_> = decode(bytes)?;
    Ok(Beat {
        origin: origin(&raw.epoch, &raw.node, raw.boot)?,
        number: raw.beat,
        seqs: raw.seqs,
        backlog_us: raw.backlog_us,
        sessions: raw.sessions,
        is_leaving: raw.leaving,
        heard: raw.heard,
        condition: raw.condition,
    })
}

impl Commits<'_> {
    /// The changes, in the order of the transaction.
    ///
    /// # Errors
    /// [`WireError`] for the whole message: a user of another partition, a currency, kind or source that is unknown, versions
    /// that are not as many as the entries.
    pub fn users(&self, currencies: &Currencies) -> Result<Vec<HeardCommit>, WireError> {
        let rows: Vec<RawUser<'_>> = serde_json::from_str(self.users.get())?;
        if rows.is_empty() {
            return Err(WireError::Value("commits of no user"));
        }
        rows.into_iter()
            .map(|row| self.user(row, currencies))
            .collect()
    }

    fn user(&self, row: RawUser<'_>, currencies: &Currencies) -> Result<HeardCommit, WireError> {
        let RawUser(user_id, version_from, version_to, all, entries) = row;
        let user_id = UserId::new(user_id).map_err(|_| WireError::Value("no user id"))?;
        if Partition::of(user_id) != self.partition {
            return Err(WireError::Value("a user of another partition"));
        }
        let entries = entries.into_iter().map(|RawEntries(kind, source, count)| {
            let source = Source::parse(&source).ok_or(WireError::Value("no source"))?;
            Ok(HeardEntries {
                kind,
                source,
                count,
            })
        });
        let entries = entries.collect::<Result<Vec<_>, WireError>>()?;
        let counted: i64 = entries.iter().map(|entries| i64::from(entries.count)).sum();
        let is_counted = entries.iter().all(|entries| entries.count > 0);
        if version_from < 0
            || !is_counted
            || counted == 0
            || version_from.checked_add(counted) != Some(version_to)
        {
            return Err(WireError::Value(
                "versions that are not as many as the entries",
            ));
        }
        let mut balances = Balances::zero(currencies.count());
        for (code, minor) in all.0 {
            let currency = currencies
                .find(&code)
                .ok_or(WireError::Value("a currency that is unknown here"))?;
            balances.set(currency, Amount::from_minor(minor));
        }
        Ok(HeardCommit {
            user_id,
            version_from,
            version_to,
            balances,
            entries,
            committed_at: self.committed_at,
            age_us: self.age_us,
        })
    }
}

/// Reads a message of this version, its form alone. One of another version is told from one without any form.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|error| match version(bytes) {
        Some(other) if other != VERSION => WireError::Version(other),
        _ => WireError::Form(error),
    })
}

fn version(bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u64,
    }
    let read = serde_json::from_slice::<Versioned>(bytes);
    read.ok().map(|versioned| versioned.v)
}

/// Checks where a message comes from.
pub(super) fn origin(epoch: &str, node: &str, boot: Boot) -> Result<Origin, WireError> {
    let is_node = !node.is_empty() && node.len() <= NAME_CHARS_MAX;
    if !is_word(epoch) || !is_node || node.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(WireError::Value("no epoch, or no name of a node"));
    }
    Ok(Origin {
        epoch: epoch.into(),
        node: node.into(),
        boot,
    })
}

/// The `v` of a message that is read here: [`decode`] tells any other.
pub(super) struct ThisVersion;

impl<'de> Deserialize<'de> for ThisVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            VERSION => Ok(Self),
            _ => Err(D::Error::custom("another version")),
        }
    }
}

#[derive(Deserialize)]
struct RawCommits<'a> {
    #[serde(rename = "v")]
    _version: ThisVersion,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    #[serde(borrow)]
    node: Cow<'a, str>,
    boot: Boot,
    part: usize,
    seq: u64,
    at: i64,
    age_us: u64,
    #[serde(borrow)]
    users: &'a RawValue,
}

#[derive(Deserialize)]
struct RawBeat<'a> {
    #[serde(rename = "v")]
    _version: ThisVersion,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    #[serde(borrow)]
    node: Cow<'a, str>,
    boot: Boot,
    beat: u64,
    seqs: [u64; PARTITIONS],
    backlog_us: u64,
    sessions: u64,
    leaving: bool,
    #[serde(default)]
    heard: Option<BTreeMap<Boot, u64>>,
    #[serde(default)]
    condition: Option<Condition>,
}

#[derive(Deserialize)]
struct RawUser<'a>(i64, i64, i64, Pairs, #[serde(borrow)] Vec<RawEntries<'a>>);

#[derive(Deserialize)]
struct RawEntries<'a>(Kind, #[serde(borrow)] Cow<'a, str>, u32);

/// An object of integers that has each key once.
struct Pairs(Vec<(String, i64)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of integers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs: Vec<(String, i64)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, i64>()? {
            if pairs.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom("a currency is there twice"));
            }
            if pairs.len() == Currencies::COUNT_MAX {
                return Err(A::Error::custom("too many currencies"));
            }
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}
