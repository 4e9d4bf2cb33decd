//! Whether what clients saw could have happened on one machine that does one thing at a time.
//!
//! Each user is an object of its own. Its states are known afterwards: the n-th entry of the ledger makes version n.
//! Each operation has a version, the one that a write was answered or that a read was shown, and an interval on one
//! monotonic clock: from before it was first sent until after its answer was read. It took effect somewhere in between.
//!
//! So the order of a user's operations is given: by version, a write before the reads of its version. Such an order
//! explains a history exactly when it never turns real time around: **when A was answered before B was sent, the
//! version of B is not below that of A, and above it when B is a write.** That one rule is checked, for all pairs. It
//! finds a stale read (below what was answered earlier), a read of what nobody had sent yet (the write, sent later,
//! would have to be above it), and a write that came in behind a later one. It is exact only because every write is
//! sent until it is answered: an entry that nobody was answered is a violation by itself.
//!
//! All reads over HTTP are held to it, `fresh` ones and those from memory: while one process alone writes, its memory
//! is never behind an answer. So are the snapshot of a session, sent when the connection was asked for, and its
//! refreshes. What comes unasked (a push) was sent at no time, so it may be late; but nothing that is asked for after it
//! may be older, and within its session versions never fall. An answer that is marked stale is treated like a push.
//!
//! Apart from the order, a write must be in the ledger under its version, a read must show the very balances of its
//! version, and what a refused withdrawal was told is available must have been the balance at some moment meanwhile.

mod planted;

use std::collections::BTreeMap;

/// TON and UNI, in the smallest unit.
pub type Balances = [i64; 2];

/// What a client did or was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An acknowledged entry.
    Write {
        event_id: String,
    },
    Read {
        balances: Balances,
    },
}

/// An operation; times are nanoseconds on the clock of the test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub user_id: u64,
    pub version: u64,
    pub what: What,
    /// 0 for what came unasked.
    pub sent: u64,
    pub answered: u64,
}

/// A withdrawal that was refused for want of TON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub user_id: u64,
    pub asked: i64,
    pub available: i64,
    pub sent: u64,
    pub answered: u64,
}

/// The versions that one session was shown, in the order in which they came.
pub type Session = Vec<u64>;

/// Everything that clients did and saw.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    pub refusals: Vec<Refusal>,
    pub sessions: Vec<Session>,
}

impl History {
    /// Takes what another client did and saw.
    pub fn join(&mut self, other: Self) {
        self.operations.extend(other.operations);
        self.refusals.extend(other.refusals);
        self.sessions.extend(other.sessions);
    }
}

/// A version of a user: the entry that made it, and the balances after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub event_id: String,
    pub balances: Balances,
}

/// The states of each user, the n-th one made version n.
pub type Ledger = BTreeMap<u64, Vec<State>>;

/// Everything that breaks a promise, one line each.
pub fn violations(ledger: &Ledger, history: &History) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_user: BTreeMap<u64, Vec<&Operation>> = ledger
        .keys()
        .map(|user_id| (*user_id, Vec::new()))
        .collect();
    for operation in &history.operations {
        by_user
            .entry(operation.user_id)
            .or_default()
            .push(operation);
    }
    let mut refusals: BTreeMap<u64, Vec<&Refusal>> = BTreeMap::new();
    for refusal in &history.refusals {
        refusals.entry(refusal.user_id).or_default().push(refusal);
    }
    for (user_id, operations) in &by_user {
        let states = ledger.get(user_id).map_or(&[][..], Vec::as_slice);
        let writes = || {
            operations
                .iter()
                .copied()
                .filter(|operation| matches!(operation.what, What::Write { .. }))
        };
        if writes().count() != states.len() {
            found.push(format!(
                "user {user_id}: {} entries, {} acknowledged",
                states.len(),
                writes().count()
            ));
        }
        let answered = HighWater::of(
            operations
                .iter()
                .map(|operation| (operation.answered, *operation)),
        );
        let sent = HighWater::of(writes().map(|operation| (operation.sent, operation)));
        found.extend(
            operations
                .iter()
                .filter_map(|operation| wrong_state(states, operation)),
        );
        found.extend(
            operations
                .iter()
                .filter_map(|operation| out_of_order(&answered, operation)),
        );
        let refusals = refusals.remove(user_id).unwrap_or_default();
        found.extend(
            refusals
                .into_iter()
                .filter_map(|refusal| made_up(states, &answered, &sent, refusal)),
        );
    }
    found.extend(
        refusals
            .values()
            .flatten()
            .map(|refusal| format!("{refusal:?}: of nobody")),
    );
    let falls = history
        .sessions
        .iter()
        .flat_map(|session| session.windows(2))
        .filter(|pair| pair[1] < pair[0]);
    found.extend(falls.map(|pair| format!("a session fell: {pair:?}")));
    found
}

/// The operation of the highest version up to any moment.
struct HighWater<'a>(Vec<(u64, &'a Operation)>);

impl<'a> HighWater<'a> {
    fn of(timed: impl Iterator<Item = (u64, &'a Operation)>) -> Self {
        let mut timed: Vec<_> = timed.collect();
        timed.sort_by_key(|(time, _)| *time);
        for index in 1..timed.len() {
            if timed[index].1.version < timed[index - 1].1.version {
                timed[index].1 = timed[index - 1].1;
            }
        }
        Self(timed)
    }

    /// The highest one before a moment.
    fn before(&self, time: u64) -> Option<&'a Operation> {
        let count = self.0.partition_point(|(earlier, _)| *earlier < time);
        count.checked_sub(1).map(|last| self.0[last].1)
    }
}

/// An operation whose version is not what the ledger says.
fn wrong_state(states: &[State], operation: &Operation) -> Option<String> {
    let index = usize::try_from(operation.version).ok()?.checked_sub(1);
    let state = index.and_then(|index| states.get(index));
    let holds = match &operation.what {
        What::Write { event_id } => state.is_some_and(|state| state.event_id == *event_id),
        What::Read { balances } if operation.version == 0 => *balances == [0, 0],
        What::Read { balances } => state.is_some_and(|state| state.balances == *balances),
    };
    (!holds).then(|| format!("{operation:?}: that version is {state:?}"))
}

/// An operation that turns real time around.
fn out_of_order(answered: &HighWater<'_>, operation: &Operation) -> Option<String> {
    let highest = answered.before(operation.sent)?;
    let holds = match operation.what {
        What::Write { .. } => operation.version > highest.version,
        What::Read { .. } => operation.version >= highest.version,
    };
    (!holds).then(|| format!("{operation:?} was sent after the answer to {highest:?}"))
}

/// A refusal that no state explains, of those that may have been there between its sending and its answer.
fn made_up(
    states: &[State],
    answered: &HighWater<'_>,
    sent: &HighWater<'_>,
    refusal: &Refusal,
) -> Option<String> {
    let version =
        |operation: Option<&Operation>| operation.map_or(0, |operation| operation.version);
    let (first, last) = (
        version(answered.before(refusal.sent)),
        version(sent.before(refusal.answered)),
    );
    let balance = |version: u64| {
        let index = usize::try_from(version).ok()?.checked_sub(1);
        index.map_or(Some(0), |index| {
            states.get(index).map(|state| state.balances[0])
        })
    };
    let explains = |version| balance(version) == Some(refusal.available);
    let holds = refusal.available < refusal.asked && (first..=last).any(explains);
    (!holds).then(|| format!("{refusal:?}: no such balance in versions {first} to {last}"))
}
