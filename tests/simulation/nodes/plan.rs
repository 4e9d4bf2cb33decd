//! What a seed's history is about: its faults, and the settings of its nodes.

use balance_coordinator::coordinator::heard::Partition;
use balance_coordinator::domain::UserId;

use crate::random::Chance;

/// The faults of a history. Most have one kind only, so that its bound is the tightest that is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    None,
    /// Messages with commits are lost, beats are not.
    Lost,
    /// A commit gets no answer, and its node does not know what became of it.
    Doubt,
    /// Nothing passes from some nodes to others, or only a part.
    Cut,
    /// The bus is down.
    Away,
    /// Messages are held up.
    Late,
    Killed,
    Stopped,
    StoreAway,
    ByHand,
    /// Nodes stop as they are told to, and start again.
    Leaves,
    Any,
}

impl Theme {
    /// By the seed, so that a few seeds have each of them.
    fn of(seed: u64) -> Self {
        match seed % 20 {
            0 => Self::None,
            1 | 2 => Self::Lost,
            3 => Self::Doubt,
            4 => Self::Cut,
            5 => Self::Away,
            6 | 7 => Self::Late,
            8 => Self::Killed,
            9 => Self::Stopped,
            10 => Self::StoreAway,
            11 => Self::ByHand,
            12 => Self::Leaves,
            _ => Self::Any,
        }
    }

    /// Whether beats always come, so that no node is ever uncovered.
    pub const fn keeps_covered(self) -> bool {
        matches!(
            self,
            Self::None | Self::Lost | Self::Doubt | Self::ByHand | Self::Leaves
        )
    }

    /// Whether no message is missing, so that no node sees a gap.
    pub const fn loses_nothing(self) -> bool {
        matches!(self, Self::None | Self::ByHand | Self::Leaves)
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Plan {
    pub theme: Theme,
    /// `cluster.reads` is `memory`.
    pub reads_memory: bool,
    /// `cluster.check_s`, in microseconds: sometimes so long that there is no round, and only what the bus tells heals.
    pub check_us: u64,
    /// Some are in one partition, so that the gap of one is the distrust of others.
    pub users: Vec<i64>,
}

const NO_ROUND_US: u64 = 600_000_000;

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 23);
        let theme = Theme::of(seed);
        let check_us = match theme {
            // Rounds that find nothing, beside what the bus tells.
            Theme::None => 1_000_000,
            Theme::ByHand => 5_000_000,
            _ if chance.percent(50) => 12_000_000,
            _ => NO_ROUND_US,
        };
        let users = [(9, 3), (3, 2), (13, 1)];
        let users = users.map(|(partition, count)| users_of(partition, count));
        Self {
            theme,
            reads_memory: chance.percent(40),
            check_us,
            users: users.concat(),
        }
    }

    /// Whether rounds find what was committed by hand.
    pub const fn has_rounds(&self) -> bool {
        self.check_us < NO_ROUND_US
    }
}

/// The partition of a user, as the protocol between the nodes has it.
pub fn partition_of(user: i64) -> Partition {
    Partition::of(UserId::new(user).expect("a user id"))
}

fn users_of(partition: usize, count: usize) -> Vec<i64> {
    let is_in = |user: &i64| partition_of(*user).index() == partition;
    (1..).filter(is_in).take(count).collect()
}
