//! The oracle's own ledger: what was committed, counted by nothing but additions of its own.

use std::collections::{BTreeMap, BTreeSet};

use balance_coordinator::domain::{Kind, NewEntry};

use super::oracle::Item;

/// Balances of all currencies, in minor units.
pub type Minor = [i64; 2];

/// One committed entry.
#[derive(Debug, Clone)]
pub struct Commit {
    pub event: String,
    pub kind: Kind,
    pub source: String,
    /// The index of its currency, and what it changed.
    change: (usize, i64),
    /// All balances after it.
    pub balances: Minor,
    /// Its commit time by the ledger, and when others could see it.
    pub committed_us: u64,
    pub visible_us: u64,
    /// When the coordinator was told of it, if ever.
    pub heard_us: Option<u64>,
}

/// Every user's entries in the order of their versions.
#[derive(Debug, Default, Clone)]
pub struct Books {
    users: BTreeMap<i64, Vec<Commit>>,
    events: BTreeMap<String, (i64, i64)>,
    hashes: BTreeSet<[u8; 32]>,
    /// How much of an event was taken back.
    taken: BTreeMap<String, i64>,
}

impl Books {
    /// Writes an entry down; the error says which rule it breaks.
    pub fn commit(
        &mut self,
        entry: &NewEntry,
        version: i64,
        committed_us: u64,
        now_us: u64,
    ) -> Result<(), String> {
        let user = entry.user_id.get();
        let event = entry.event_id.as_str().to_owned();
        let change = self.change(entry)?;
        let commits = self.users.entry(user).or_default();
        let expected = commits.len() as i64 + 1;
        let mut balances = commits.last().map_or([0; 2], |last| last.balances);
        balances[change.0] += change.1;
        let is_below_zero = balances.iter().any(|balance| *balance < 0);
        commits.push(Commit {
            event: event.clone(),
            kind: entry.kind,
            source: entry.source.as_str().to_owned(),
            change,
            balances,
            committed_us,
            visible_us: now_us,
            heard_us: None,
        });
        let is_known = self
            .events
            .insert(event.clone(), (user, expected))
            .is_some();
        let is_known_hash = entry
            .tx_hash
            .is_some_and(|hash| !self.hashes.insert(*hash.as_bytes()));
        match () {
            () if version != expected => Err(format!(
                "{event}: version {version} of user {user} instead of {expected}"
            )),
            () if is_known => Err(format!("{event} is in the ledger twice")),
            () if is_known_hash => Err(format!("{event}: its transaction is in the ledger twice")),
            () if is_below_zero => Err(format!("{event} takes user {user} below zero")),
            () => Ok(()),
        }
    }

    /// What an entry does. Of a reversal it is worked out here, from the entry that it names.
    fn change(&mut self, entry: &NewEntry) -> Result<(usize, i64), String> {
        let Some(reversal) = entry.reversal() else {
            let (currency, amount) = entry.change.plain().expect("no reversal");
            return Ok((currency.index(), amount.minor()));
        };
        let event = entry.event_id.as_str();
        let (index, minor) = self
            .reversed(entry)
            .ok_or_else(|| format!("{event} reverses an entry that its user does not have"))?;
        let part = Item::of(entry).minor;
        let taken = self.taken.entry(reversal.reverses.to_string()).or_default();
        *taken += part;
        match *taken <= minor.abs() {
            true => Ok((index, -minor.signum() * part)),
            false => Err(format!("{event} takes back more than is left")),
        }
    }

    /// What the entry did that a reversal names.
    fn reversed(&self, entry: &NewEntry) -> Option<(usize, i64)> {
        let (user, version) = self.find(entry.reversal()?.reverses.as_str())?;
        let commit = self
            .of(user)
            .get(usize::try_from(version).ok()?.checked_sub(1)?)?;
        (user == entry.user_id.get()).then_some(commit.change)
    }

    /// How much is left now of the entry that a reversal names.
    pub fn left(&self, entry: &NewEntry) -> Option<i64> {
        let (_, minor) = self.reversed(entry)?;
        let taken = self.taken.get(entry.reversal()?.reverses.as_str());
        Some(minor.abs() - taken.copied().unwrap_or(0))
    }

    /// The coordinator is being told of a version that an event made, if it is still there.
    pub fn heard(&mut self, user: i64, version: i64, event: &str, now_us: u64) {
        if let Some(commit) = self
            .users
            .get_mut(&user)
            .and_then(|commits| commits.get_mut(version as usize - 1))
            && commit.event == event
        {
            commit.heard_us.get_or_insert(now_us);
        }
    }

    /// A user's entries; the n-th made version n.
    pub fn of(&self, user: i64) -> &[Commit] {
        self.users.get(&user).map_or(&[], Vec::as_slice)
    }

    /// How many entries a user has.
    pub fn version(&self, user: i64) -> i64 {
        self.of(user).len() as i64
    }

    /// How many entries a user had at a time.
    pub fn version_at(&self, user: i64, at_us: u64) -> i64 {
        self.of(user)
            .partition_point(|commit| commit.visible_us <= at_us) as i64
    }

    /// The newest version that the coordinator was told of by then.
    pub fn heard_version(&self, user: i64, at_us: u64) -> i64 {
        self.heard_between(user, 0, at_us)
    }

    /// The newest version that the coordinator was told of between two times.
    pub fn heard_between(&self, user: i64, since_us: u64, at_us: u64) -> i64 {
        let heard = |commit: &Commit| {
            commit
                .heard_us
                .is_some_and(|heard_us| (since_us..=at_us).contains(&heard_us))
        };
        self.of(user)
            .iter()
            .rposition(heard)
            .map_or(0, |index| index as i64 + 1)
    }

    /// The balances after so many entries; `None` when there never were so many.
    pub fn balances_at(&self, user: i64, version: i64) -> Option<Minor> {
        match version {
            0 => Some([0; 2]),
            _ => self
                .of(user)
                .get(usize::try_from(version).ok()?.checked_sub(1)?)
                .map(|commit| commit.balances),
        }
    }

    /// Whose an event is and which version it made.
    pub fn find(&self, event: &str) -> Option<(i64, i64)> {
        self.events.get(event).copied()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }
}

/// Minor units as they are shown, by arithmetic of its own.
pub fn shown(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let size = minor.unsigned_abs();
    format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000)
}
