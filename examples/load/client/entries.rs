//! The workload: entries of random users with random event ids, and the balances that the ledger
//! must have afterwards.

use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

/// Random bytes of an event id; twice as many characters.
const EVENT_BYTES: usize = 20;

/// The largest amount, in the smallest unit.
const MINOR_MAX: i64 = 1_000_000;

/// One entry to send. All are of TON and positive.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Random, 40 characters.
    pub event_id: String,
    /// The user.
    pub user: i64,
    /// In the smallest unit.
    pub minor: i64,
}

/// Which users entries are for.
#[derive(Debug, Clone, Copy)]
pub enum Users {
    /// Any of 1 to n.
    Random(usize),
    /// 1 to n in turn.
    InTurn(usize),
    /// Any of `active` users, which are spread over all that are known.
    Spread { active: usize, known: usize },
}

/// Makes entries.
#[derive(Debug)]
pub struct Workload {
    rng: StdRng,
    users: Users,
    next: usize,
}

impl Workload {
    /// The same seed gives the same entries.
    pub fn new(seed: u64, users: Users) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            users,
            next: 0,
        }
    }

    /// The next entry.
    pub fn entry(&mut self) -> Entry {
        let mut bytes = [0; EVENT_BYTES];
        self.rng.fill_bytes(&mut bytes);
        let user = match self.users {
            Users::Random(count) => self.rng.random_range(1..=count),
            Users::Spread { active, known } => self.rng.random_range(1..=active) * (known / active),
            Users::InTurn(count) => {
                self.next = self.next % count + 1;
                self.next
            }
        };
        let user = i64::try_from(user).expect("a small number");
        Entry {
            event_id: hex::encode(bytes),
            user,
            minor: self.rng.random_range(1..=MINOR_MAX),
        }
    }

    /// The next `count` entries.
    pub fn entries(&mut self, count: usize) -> Vec<Entry> {
        (0..count).map(|_| self.entry()).collect()
    }
}

impl Entry {
    fn fields(&self) -> String {
        let Self {
            event_id,
            user,
            minor,
        } = self;
        let (whole, fraction) = (minor / 1_000_000_000, minor % 1_000_000_000);
        format!(
            r#""event_id":"{event_id}","user_id":{user},"currency":"TON","amount":"{whole}.{fraction:09}""#
        )
    }

    /// The body of a webhook of its own.
    pub fn single_body(&self) -> Vec<u8> {
        format!("{{{}}}", self.fields()).into_bytes()
    }
}

/// The body of a batch.
pub fn batch_body(kind: &str, entries: &[Entry]) -> Vec<u8> {
    let items: Vec<String> = entries
        .iter()
        .map(|entry| format!(r#"{{"kind":"{kind}",{}}}"#, entry.fields()))
        .collect();
    format!(r#"{{"entries":[{}]}}"#, items.join(",")).into_bytes()
}

/// The version and TON that the ledger must have for each user.
#[derive(Debug, Clone, Default)]
pub struct Books {
    users: Vec<(i64, i64)>,
}

impl Books {
    /// Notes acknowledged entries.
    pub fn note<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) {
        for entry in entries {
            let (version, minor) = self.user(entry.user);
            self.set(entry.user, version + 1, minor + entry.minor);
        }
    }

    /// Sets what a user has.
    pub fn set(&mut self, user: i64, version: i64, minor: i64) {
        let index = usize::try_from(user).expect("user ids are positive");
        if self.users.len() <= index {
            self.users.resize(index + 1, (0, 0));
        }
        self.users[index] = (version, minor);
    }

    /// Version and TON of a user.
    pub fn user(&self, user: i64) -> (i64, i64) {
        usize::try_from(user)
            .ok()
            .and_then(|index| self.users.get(index))
            .copied()
            .unwrap_or_default()
    }

    /// Entries in all.
    pub fn entries(&self) -> i64 {
        self.users.iter().map(|(version, _)| version).sum()
    }

    /// Users that have entries, a sample of at most `count`.
    pub fn sample(&self, count: usize) -> Vec<i64> {
        let known: Vec<usize> = (0..self.users.len())
            .filter(|index| self.users[*index].0 > 0)
            .collect();
        let step = known.len().div_ceil(count.max(1)).max(1);
        known
            .into_iter()
            .step_by(step)
            .filter_map(|index| i64::try_from(index).ok())
            .collect()
    }
}
