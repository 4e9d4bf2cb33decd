//! The ledger: the tables, the writers, the reads and the audit.
//!
//! Owns every SQL statement. Knows nothing of actors and HTTP: the coordinator calls it through [`Ledger`], which
//! never blocks its caller. The work runs on the ledger's own threads: one per writer ([`writer`]) and one per connection
//! of the read pool (`readers`). Every queue is bounded by [`admission`] or by a named limit.
//!
//! Start reading at [`writer`] (how a batch is committed) and [`batch`] (how it is decided).

use std::future::Future;
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::clock::Deadline;
use crate::domain::{
    Account, Amount, CurrencyId, EventId, Kind, NewEntry, Outcome, Source, TelegramId, UserId,
};

mod admin_log;
pub mod admission;
pub mod audit;
pub mod batch;
mod connection;
mod counting;
mod errors;
#[cfg(feature = "simulation")]
pub mod memory;
mod migrations;
pub mod outbox;
mod postgres;
mod readers;
mod reads;
mod rows;
mod schema;
mod sql;
mod sqlite;
pub mod store;
mod users;
pub mod writer;

pub use admin_log::AdminAction;
pub use admission::{Admission, Permit};
pub use connection::standing::{Epoch, EpochBegan, Standing};
pub use counting::LedgerCounts;
pub use migrations::migrate;
pub use migrations::progress::{Progress, Seen};
pub use reads::look_ups::{AccountRecord, EntryKey, FoundEntry};
pub use reads::{AdminRecord, HistoryPage};
pub use rows::EntryRecord;
pub use rows::conflicts::{ConflictGroup, ConflictRecord, Conflicts};
pub use sql::nodes::{Node, Nodes, OwnNode};
pub use sql::{Options, SqlLedger};
pub use users::{PutUser, PutUserOutcome};
#[cfg(feature = "simulation")]
pub use writer::feed::tell as tell_feed;
pub use writer::feed::{Feed, UserCommit};

/// Why a posting got no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Too many entries are waiting; this one was not accepted.
    #[error("too many entries are waiting for the ledger")]
    Overloaded,
    /// The ledger did not answer in time: the entry was not accepted, or its outcome is unknown. Sending it again is safe.
    #[error("the ledger is unavailable; the entry was not accepted or its outcome is unknown")]
    Unavailable,
    /// The database finds this entry's data at fault, and will again; the other entries of its batch are not affected.
    #[error("the database refuses this entry: a constraint of its tables does not hold for it")]
    Refused,
    /// The database fails at this entry though it takes others. It was not accepted, and sending it again is safe.
    #[error("the database fails at this entry; it was not accepted")]
    Failing,
    /// The service is stopping; nothing was accepted.
    #[error("the service is stopping")]
    ShuttingDown,
}

impl PostError {
    /// Whether sending the same again, later, can succeed without a repair.
    pub const fn is_transient(self) -> bool {
        self.refusal().is_none()
    }

    /// The code of the wire contract, of an entry that was refused. `None`: nothing is decided, and it is to be sent again.
    pub const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Refused => Some("invalid_field"),
            Self::Failing => Some("ledger_unavailable"),
            Self::Overloaded | Self::Unavailable | Self::ShuttingDown => None,
        }
    }
}

/// Why the ledger could not be read or prepared.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The database does not answer, or not in time.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// Too many requests are waiting.
    #[error("too much is waiting for the ledger")]
    Overloaded,
    /// The database holds what this program can't have written, or not with these settings.
    #[error("the ledger does not fit: {0}")]
    Unfit(String),
}

impl LedgerError {
    /// Whether trying again later can succeed.
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::Unfit(_))
    }
}

/// Which queue a posting waits in. A transaction takes single ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A webhook with one entry.
    Single,
    /// Part of a batch.
    Bulk,
}

/// Entries on their way to the ledger: of one user, or an atomic batch of any users.
#[derive(Debug)]
pub struct Posting {
    /// At least one, in the order in which they apply.
    pub entries: Vec<NewEntry>,
    /// All or nothing.
    pub is_atomic: bool,
    /// The queue that it waits in.
    pub lane: Lane,
    /// A posting that has not begun by then is given up.
    pub deadline: Deadline,
    /// Its place in the bounded queue; released when the posting is answered.
    pub permit: Permit,
    /// Gets exactly one answer. When its receiver is gone, the answer becomes an [`Orphan`].
    pub reply: oneshot::Sender<Posted>,
}

/// The answer to a [`Posting`].
#[derive(Debug)]
pub struct Posted {
    /// The entries of the posting.
    pub entries: Vec<NewEntry>,
    /// One per entry, in order.
    pub outcomes: Vec<EntryOutcome>,
}

impl Posted {
    /// The same failure for all entries.
    pub fn failed(entries: Vec<NewEntry>, error: PostError) -> Self {
        let outcomes = vec![EntryOutcome::Failed(error); entries.len()];
        Self { entries, outcomes }
    }
}

/// What became of one entry of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryOutcome {
    /// The rule's answer. An accepted entry is durable.
    Decided {
        /// What the rule says.
        outcome: Outcome,
        /// The time of its transaction, in microseconds since the Unix epoch.
        committed_at_us: i64,
    },
    /// It would have been accepted, but another entry of its atomic batch was rejected.
    NotApplied,
    /// There is no outcome.
    Failed(PostError),
}

impl EntryOutcome {
    /// The code of a refused entry. `None` of one that another item of its atomic batch held back: it was not at fault.
    pub const fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Decided { outcome, .. } => outcome.refusal(),
            Self::Failed(error) => error.refusal(),
            Self::NotApplied => None,
        }
    }

    /// Whether the entry was refused. A duplicate was not.
    pub const fn is_rejected(&self) -> bool {
        match self {
            Self::Decided { outcome, .. } => {
                !matches!(outcome, Outcome::Accepted { .. } | Outcome::Duplicate(_))
            }
            Self::NotApplied => false,
            Self::Failed(_) => true,
        }
    }
}

/// A posting that was committed after the receiver of its answer was gone (its actor died). Its sessions still have to be told.
pub type Orphan = Posted;

/// An entry of which this process has not heard: another one committed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedEntry {
    /// Whose.
    pub user_id: UserId,
    /// The version it made.
    pub version: i64,
    /// The idempotency key.
    pub event_id: EventId,
    /// What it is.
    pub kind: Kind,
    /// The sender.
    pub source: Source,
    /// Of which currency.
    pub currency: CurrencyId,
    /// The signed change.
    pub amount: Amount,
    /// The balance of its currency after it.
    pub balance_after: Amount,
    /// The time of its transaction, in microseconds since the Unix epoch.
    pub committed_at_us: i64,
}

/// A user was known at a version, and what the ledger has said since is older.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Which user.
    pub user_id: UserId,
    /// The version that was known.
    pub known: i64,
    /// An entry that was sent to the ledger when the version was known got a version that is not newer. Otherwise a read
    /// gave an older one, which a copy that lags behind may have answered.
    pub is_proven: bool,
    /// The epoch in which the version was known.
    pub epoch: Epoch,
}

/// A future that the ledger's threads complete.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send>>;

/// What the coordinator needs of a ledger. Implemented by [`SqlLedger`], and in memory by the simulation.
pub trait Ledger: Send + Sync + 'static {
    /// Queues a posting; it is always answered through its `reply`.
    fn post(&self, posting: Posting);

    /// The committed state of one user, read after the call.
    fn account(&self, user_id: UserId) -> Pending<Account>;

    /// The same, for what was not asked for: it waits behind the reads that were.
    fn account_in_background(&self, user_id: UserId) -> Pending<Account>;

    /// The version of each of these users that has entries, read after the call; it waits behind the reads that were asked
    /// for.
    fn versions(&self, users: Vec<UserId>) -> Pending<Vec<(UserId, i64)>>;

    /// The next entries behind a version of each of these users, ordered by user and version: at most
    /// `limits::MISSED_ENTRIES_MAX` of one. It waits behind the reads that were asked for.
    fn missed_entries(&self, known: Vec<(UserId, i64)>) -> Pending<Vec<MissedEntry>>;

    /// The user that a Telegram id is linked to, read after the call.
    fn user_of_telegram(&self, telegram_id: TelegramId) -> Pending<Option<UserId>>;

    /// Whether the database answers, however many reads wait.
    fn ping(&self) -> Pending<()>;

    /// Has the ledger looked at again, by a statement that no copy can answer, unless the loss is proven. When it has gone
    /// back, a new epoch is stored and begins before the future ends, also where another process was faster.
    fn went_back(&self, loss: Loss) -> Pending<()>;

    /// What is known of the ledger as a whole.
    fn standing(&self) -> &Standing;
}
