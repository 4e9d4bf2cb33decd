//! What a writer needs of a database: one write transaction at a time, in steps, so that every step can fail in a test.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::domain::{Currencies, UserId};
use crate::limits::{BULK_BEFORE_SINGLES, BULK_BESIDE_SINGLES};

use super::admin_log::AdminAction;
use super::batch::{Keys, Loaded, Plan};
use super::users::{PutUser, PutUserOutcome};

/// One connection to write through. The steps come in the order `begin`, `write`, `commit`; after any error the writer
/// calls `rollback` or `reconnect` before it begins again.
pub trait Store: Send {
    /// Opens a write transaction and tells what it is to be decided on. What was [`Basis::Read`] can't change before the
    /// commit.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was written.
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError>;

    /// Writes entries, balances, accounts and conflicts of a plan into the open transaction.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of it is committed. [`StoreError::Raced`] when an event id, a hash or the version of an
    /// account is not as the plan has it.
    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError>;

    /// Commits. When it returns, the transaction is durable.
    ///
    /// # Errors
    /// Any error means *unknown*: it may be committed or not.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Ends an open transaction without a trace; harmless without one.
    fn rollback(&mut self);

    /// Makes a user, or links a Telegram id to it, in a transaction of its own.
    ///
    /// # Errors
    /// [`StoreError`]; repeating it is safe.
    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError>;

    /// Adds an order of an administrator to the log; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`]; repeating it is safe.
    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError>;

    /// The most entries of batches in a transaction with so many single ones, or with none while they are coming in.
    fn bulk_beside(&self, singles: usize) -> usize {
        bulk_beside(singles)
    }

    /// How long the transactions that begin from now on wait for a lock, where a lock can be held on a part of the
    /// ledger.
    fn set_patience(&mut self, _: Patience) {}

    /// Throws the connection away and opens another.
    ///
    /// # Errors
    /// [`StoreError::Lost`] while the database is away.
    fn reconnect(&mut self) -> Result<(), StoreError>;
}

/// [`Store::bulk_beside`] where nothing else has to be considered.
pub(super) fn bulk_beside(singles: usize) -> usize {
    if singles == 0 {
        return BULK_BEFORE_SINGLES.1;
    }
    let (min, max) = BULK_BESIDE_SINGLES;
    singles.clamp(min, max)
}

/// What a transaction is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Accounts and keys are read, and the accounts are locked, in the order of users.
    Read,
    /// Nothing is read that can be expected: that keys are new, and that accounts are as this store has left them, where it
    /// knows them. What is not so is found out by writing, at the latest.
    Expected,
}

/// How long a transaction waits for a lock that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as neighbours may be delayed.
    Usual,
    /// Somebody is known to hold one: hardly at all.
    Brief,
}

/// Why a step of a transaction failed, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The connection is gone: reconnect, then again.
    #[error("the connection is lost: {0}")]
    Lost(String),
    /// Busy, out of space, shutting down: again, later.
    #[error("the database can't now: {0}")]
    Busy(String),
    /// Another node or writer was faster with a key: again at once.
    #[error("another transaction was faster: {0}")]
    Raced(String),
    /// Somebody else holds a part of what is needed: the rest can go on without it.
    #[error("locked by somebody else: {reason}")]
    Locked {
        /// Whose accounts are locked, where that is known; else empty.
        users: Vec<UserId>,
        /// What the database says.
        reason: String,
    },
    /// The database refuses what was to be written: final for at least one entry of the batch.
    #[error("the database refuses: {0}")]
    Refused(String),
}

/// Fragments of messages that mean "not now" on either database; SQLite has no codes for them in Diesel.
const BUSY: [&str; 18] = [
    "locked",
    "busy",
    "disk is full",
    "disk I/O error",
    "readonly database",
    "read-only transaction",
    "unable to open database file",
    "No space left",
    "could not extend file",
    "too many clients",
    "out of memory",
    "timeout",
    "due to user request",
    "out of shared memory",
    "Input/output error",
    "Too many open files",
    "could not open file",
    "connection slots",
];

/// Fragments that mean that PostgreSQL is going or not there yet.
const LOST: [&str; 8] = [
    "terminating connection",
    "server closed the connection",
    "connection to server",
    "SSL SYSCALL",
    "SSL connection",
    "no connection to the server",
    "the database system is",
    "could not receive data",
];

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        let message = error.to_string();
        let says = |fragments: &[&str]| fragments.iter().any(|fragment| message.contains(fragment));
        match &error {
            DieselError::DatabaseError(kind, _) => {
                match kind {
                    DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::SerializationFailure => Self::Raced(message),
                    DatabaseErrorKind::UnableToSendCommand
                    | DatabaseErrorKind::ClosedConnection => Self::Lost(message),
                    DatabaseErrorKind::ReadOnlyTransaction => Self::Busy(message),
                    _ if says(&["deadlock"]) => Self::Raced(message),
                    _ if says(&["lock timeout"]) => Self::Locked {
                        users: Vec::new(),
                        reason: message,
                    },
                    _ if says(&LOST) => Self::Lost(message),
                    _ if says(&BUSY) => Self::Busy(message),
                    _ => Self::Refused(message),
                }
            }
            DieselError::BrokenTransactionManager | DieselError::AlreadyInTransaction => {
                Self::Lost(message)
            }
            _ => Self::Refused(message),
        }
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Lost(error.to_string())
    }
}

/// A row that this program can't have written: final for the entry that needs it.
pub(super) fn refused(error: super::LedgerError) -> StoreError {
    StoreError::Refused(error.to_string())
}

/// What every store needs besides its connection.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The currencies, to translate codes.
    pub currencies: Currencies,
    /// The longest that a statement may wait, in milliseconds.
    pub timeout_ms: u64,
    /// The longest that locks of others may delay entries that do not need them, in milliseconds.
    pub lock_timeout_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_helps() {
        let database = |kind, message: &str| {
            StoreError::from(DieselError::DatabaseError(
                kind,
                Box::new(message.to_owned()),
            ))
        };
        use DatabaseErrorKind as Kind;
        for (error, expected) in [
            (database(Kind::UniqueViolation, "entries_event_id"), "raced"),
            (
                database(Kind::SerializationFailure, "could not serialize"),
                "raced",
            ),
            (database(Kind::Unknown, "deadlock detected"), "raced"),
            (
                database(Kind::Unknown, "canceling statement due to lock timeout"),
                "locked",
            ),
            (database(Kind::Unknown, "database is locked"), "busy"),
            (database(Kind::Unknown, "database or disk is full"), "busy"),
            (
                database(
                    Kind::Unknown,
                    "canceling statement due to statement timeout",
                ),
                "busy",
            ),
            (
                database(Kind::Unknown, "canceling statement due to user request"),
                "busy",
            ),
            (
                database(
                    Kind::Unknown,
                    "could not open file \"base/5/1\": Too many open files",
                ),
                "busy",
            ),
            (
                database(
                    Kind::ReadOnlyTransaction,
                    "cannot execute INSERT in a read-only transaction",
                ),
                "busy",
            ),
            (
                database(
                    Kind::Unknown,
                    "terminating connection due to administrator command",
                ),
                "lost",
            ),
            (
                database(Kind::UnableToSendCommand, "no connection to the server"),
                "lost",
            ),
            (database(Kind::ClosedConnection, "gone"), "lost"),
            (DieselError::BrokenTransactionManager.into(), "lost"),
            (
                diesel::ConnectionError::BadConnection("refused".into()).into(),
                "lost",
            ),
            (database(Kind::CheckViolation, "amount >= 0"), "refused"),
            (database(Kind::Unknown, "poisoned by a trigger"), "refused"),
            (DieselError::NotFound.into(), "refused"),
        ] {
            let found = match error {
                StoreError::Lost(_) => "lost",
                StoreError::Busy(_) => "busy",
                StoreError::Raced(_) => "raced",
                StoreError::Locked { .. } => "locked",
                StoreError::Refused(_) => "refused",
            };
            assert_eq!(found, expected, "{error}");
        }
    }
}
