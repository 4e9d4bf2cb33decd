//! Errors of a database, sorted by what can be done about them.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::domain::UserId;

use super::LedgerError;

/// Why a step of a transaction failed, by what the writer does about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The connection is gone: reconnect and try again.
    #[error("the connection is lost: {0}")]
    Lost(String),
    /// Busy, out of space, shutting down: try again later.
    #[error("the database can't now: {0}")]
    Busy(String),
    /// Another node or writer was faster with a key: try again at once.
    #[error("another transaction was faster: {0}")]
    Raced(String),
    /// Another session holds some of the rows: go on without their users.
    #[error("locked by another session: {reason}")]
    Locked {
        /// The users whose accounts are locked; empty where that is not known.
        users: Vec<UserId>,
        /// What the database says.
        reason: String,
    },
    /// The database refuses the rows: final for at least one entry of the batch.
    #[error("the database refuses: {0}")]
    Refused(String),
}

/// Fragments of messages that mean "not now" on either database; Diesel has no codes for them.
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

/// Fragments that mean that PostgreSQL is stopping or has not started yet.
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

/// For a row that this program can't have written: final for the entry that needs it.
pub(super) fn refused(error: LedgerError) -> StoreError {
    StoreError::Refused(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use DatabaseErrorKind as Kind;

    const MESSAGES: [(Kind, &str, &str); 15] = [
        (Kind::UniqueViolation, "entries_event_id", "raced"),
        (Kind::SerializationFailure, "could not serialize", "raced"),
        (Kind::Unknown, "deadlock detected", "raced"),
        (
            Kind::Unknown,
            "canceling statement due to lock timeout",
            "locked",
        ),
        (Kind::Unknown, "database is locked", "busy"),
        (Kind::Unknown, "database or disk is full", "busy"),
        (
            Kind::Unknown,
            "canceling statement due to statement timeout",
            "busy",
        ),
        (
            Kind::Unknown,
            "canceling statement due to user request",
            "busy",
        ),
        (
            Kind::Unknown,
            "could not open file \"base/5/1\": Too many open files",
            "busy",
        ),
        (Kind::ReadOnlyTransaction, "cannot execute INSERT", "busy"),
        (
            Kind::Unknown,
            "terminating connection due to administrator command",
            "lost",
        ),
        (
            Kind::UnableToSendCommand,
            "no connection to the server",
            "lost",
        ),
        (Kind::ClosedConnection, "gone", "lost"),
        (Kind::CheckViolation, "amount >= 0", "refused"),
        (Kind::Unknown, "poisoned by a trigger", "refused"),
    ];

    const fn name(error: &StoreError) -> &'static str {
        match error {
            StoreError::Lost(_) => "lost",
            StoreError::Busy(_) => "busy",
            StoreError::Raced(_) => "raced",
            StoreError::Locked { .. } => "locked",
            StoreError::Refused(_) => "refused",
        }
    }

    #[test]
    fn errors_are_sorted_by_what_the_writer_does_about_them() {
        for (kind, message, expected) in MESSAGES {
            let error = DieselError::DatabaseError(kind, Box::new(message.to_owned()));
            assert_eq!(name(&error.into()), expected, "{message}");
        }
        let broken = DieselError::BrokenTransactionManager;
        let unreachable = diesel::ConnectionError::BadConnection("refused".into());
        assert_eq!(name(&broken.into()), "lost");
        assert_eq!(name(&unreachable.into()), "lost");
        assert_eq!(name(&DieselError::NotFound.into()), "refused");
    }
}
