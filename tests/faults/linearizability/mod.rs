//! Checks whether the clients' observations are linearizable.
//!
//! Each user is a separate object. Its states are known afterwards: the n-th entry of the ledger
//! makes version n. Each operation has a version, the one in its answer, and an interval on one
//! monotonic clock: from before it was first sent until after its answer was read. It took effect
//! within that interval.
//!
//! So the order of a user's operations is given: by version, a write before the reads of its
//! version. This order explains a history exactly when it agrees with real time: **when A was
//! answered before B was sent, the version of B is not below that of A, and above it when B is a
//! write.** This rule is checked for all pairs. It finds stale reads (below an earlier answer),
//! reads of entries not sent yet (the later write would have to be above them), and writes ordered
//! behind later ones. It is exact only because every write is sent until it is answered: an entry
//! without an answer is itself a violation.
//!
//! The rule applies to all reads over HTTP, `fresh` ones and those from memory, because the memory
//! of the only writing process is never behind an answer. It applies to a session's snapshot, sent
//! when the connection was requested, and to its refreshes. A push has no time of sending, so it
//! may be late; but later requests may not return anything older, and within a session versions
//! never fall. An answer marked stale is treated like a push.
//!
//! In addition, a write must be in the ledger under its version, a read must have exactly the
//! balances of its version, and the `available` of a refused withdrawal must have been the balance
//! at some moment of its interval.

use std::collections::BTreeMap;

/// TON and UNI, in the smallest unit.
pub type Balances = [i64; 2];

/// An observation of a client.
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
    /// 0 for a push.
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

/// The versions that one session received, in order.
pub type Session = Vec<u64>;

/// All observations of clients.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    pub refusals: Vec<Refusal>,
    pub sessions: Vec<Session>,
}

impl History {
    /// Adds another client's observations.
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

/// The states of each user; the n-th is version n.
pub type Ledger = BTreeMap<u64, Vec<State>>;

/// All violations, one line each.
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
            .map(|refusal| format!("{refusal:?}: of an unknown user")),
    );
    let falls = history
        .sessions
        .iter()
        .flat_map(|session| session.windows(2))
        .filter(|pair| pair[1] < pair[0]);
    found.extend(falls.map(|pair| format!("a session fell: {pair:?}")));
    found
}

/// The operation with the highest version up to a moment.
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

/// An operation whose version differs from the ledger.
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

/// An operation ordered against real time.
fn out_of_order(answered: &HighWater<'_>, operation: &Operation) -> Option<String> {
    let highest = answered.before(operation.sent)?;
    let holds = match operation.what {
        What::Write { .. } => operation.version > highest.version,
        What::Read { .. } => operation.version >= highest.version,
    };
    (!holds).then(|| format!("{operation:?} was sent after the answer to {highest:?}"))
}

/// A refusal that no state between its sending and its answer explains.
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
