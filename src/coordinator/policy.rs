//! What every actor of the coordinator uses: the ledger, the clock, the policy, the counters.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Moment, Wall};
use crate::coordinator::coverage::Coverage;
use crate::coordinator::journal::Recent;
use crate::coordinator::pacing::{Intervals, Mode};
use crate::domain::{Currencies, Kind};
use crate::ledger::Ledger;
use crate::telemetry::counters::Counters;

/// The settings that decide when what is sent. Durations are in the unit of their name.
#[derive(Debug, Clone)]
pub struct Policy {
    /// When pushes are due.
    pub intervals: Intervals,
    /// Kinds that are pushed at once.
    pub direct_kinds: Vec<Kind>,
    /// How long a cached balance is trusted.
    pub cache_ttl_us: u64,
    /// Resident actors without a session.
    pub cache_entries_max: usize,
    /// How often old ones are retired, in milliseconds.
    pub cache_sweep_ms: u64,
    /// Sessions of one user; the oldest makes room.
    pub sessions_per_user_max: usize,
    /// A question for a balance is answered within it, whatever the ledger does.
    pub answer_within: Duration,
    /// First balances and reads always ask the ledger, so that no process shows an older balance than another has shown.
    pub reads_ask_ledger: bool,
    /// How commits of other processes are looked for; `None` where there can't be any.
    pub checks: Option<Checks>,
    /// After an outage error, a client may ask again after so many milliseconds.
    pub retry_after_ms: u64,
}

/// How the versions of users with sessions are compared with the ledger's.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// How often while everything should be heard of, in milliseconds.
    pub every_ms: u64,
    /// At most so many users a second.
    pub users_per_s: u64,
}

/// Shared by the registry and all its actors.
pub struct Shared {
    /// Where entries go and balances come from.
    pub ledger: Arc<dyn Ledger>,
    /// The time.
    pub clock: Clock,
    /// The currencies, for what is shown.
    pub currencies: Currencies,
    /// When what is sent.
    pub policy: Policy,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Whether memory is trusted.
    pub coverage: Arc<Coverage>,
    /// The journal.
    pub recent: Recent,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("epoch", &self.ledger.standing().epoch())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// How a change of this kind is pushed.
    pub fn mode_of(&self, kind: Kind) -> Mode {
        if self.policy.direct_kinds.contains(&kind) {
            Mode::Direct
        } else {
            Mode::Paced
        }
    }

    /// Both times of a commit, of which only the wall's is known. The monotonic one is never in the future, and never
    /// further back than a push may wait: so a wall clock that was set does not distort the pacing.
    pub fn moment_of(&self, committed_at: Wall) -> Moment {
        let now = self.clock.now();
        let age_us = now.wall.us_since(committed_at);
        Moment {
            mono: now
                .mono
                .minus_us(age_us.min(self.policy.intervals.min_interval_us)),
            wall: committed_at,
        }
    }
}
