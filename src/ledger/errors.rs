//! Errors of a database, sorted by what can be done about them.
//!
//! Only what Diesel itself tells apart is told apart here, never a message: a server may say it in any language. What is
//! left is found out by trying again (see [`super::writer`]) and, for locks and slow statements, by how long it took.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::domain::UserId;

use super::LedgerError;

/// Why a step of a transaction failed, by what the writer does about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The connection is gone.
    #[error("the connection is lost: {0}")]
    Lost(String),
    /// No transaction can be begun: whatever is to be written, it is not at fault.
    #[error("no transaction can be begun: {0}")]
    Away(String),
    /// Any other error. The database, the connection or the rows are at fault.
    #[error("the database can't: {0}")]
    Failed(String),
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
    /// A statement took as long as it may.
    #[error("a statement takes too long: {0}")]
    TimedOut(String),
    /// The database finds data at fault: final for at least one entry of the batch.
    #[error("the database refuses: {0}")]
    Refused(String),
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        use DatabaseErrorKind as Kind;
        let message = error.to_string();
        match error {
            DieselError::DatabaseError(kind, _) => match kind {
                Kind::UniqueViolation => Self::Raced(message),
                Kind::CheckViolation
                | Kind::NotNullViolation
                | Kind::ForeignKeyViolation
                | Kind::RestrictViolation
                | Kind::ExclusionViolation => Self::Refused(message),
                Kind::UnableToSendCommand | Kind::ClosedConnection => Self::Lost(message),
                _ => Self::Failed(message),
            },
            DieselError::BrokenTransactionManager | DieselError::AlreadyInTransaction => {
                Self::Lost(message)
            }
            _ => Self::Failed(message),
        }
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        Self::Lost(error.to_string())
    }
}

/// For a row that this program can't have written. The entry that needs it is not at fault.
pub(super) fn unfit(error: LedgerError) -> StoreError {
    StoreError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use DatabaseErrorKind as Kind;

    const fn name(error: &StoreError) -> &'static str {
        match error {
            StoreError::Lost(_) => "lost",
            StoreError::Away(_) => "away",
            StoreError::Failed(_) => "failed",
            StoreError::Raced(_) => "raced",
            StoreError::Locked { .. } => "locked",
            StoreError::TimedOut(_) => "timed out",
            StoreError::Refused(_) => "refused",
        }
    }

    #[test]
    fn errors_are_sorted_by_their_kind_and_never_by_their_message() {
        let kinds = || {
            [
                (Kind::UniqueViolation, "raced"),
                (Kind::CheckViolation, "refused"),
                (Kind::NotNullViolation, "refused"),
                (Kind::ForeignKeyViolation, "refused"),
                (Kind::RestrictViolation, "refused"),
                (Kind::ExclusionViolation, "refused"),
                (Kind::UnableToSendCommand, "lost"),
                (Kind::ClosedConnection, "lost"),
                (Kind::SerializationFailure, "failed"),
                (Kind::ReadOnlyTransaction, "failed"),
                (Kind::Unknown, "failed"),
            ]
        };
        let messages = [
            "",
            "cached plan must not change result type",
            "canceling statement due to lock timeout",
            "storniere Anweisung wegen Sperrzeitüberschreitung",
            "deadlock detected",
            "could not extend file: No space left on device",
            "terminating connection due to administrator command",
            "database is locked",
            "database or disk is full",
            "отказ в доступе к таблице",
        ];
        for message in messages {
            for (kind, expected) in kinds() {
                let error = DieselError::DatabaseError(kind, Box::new(message.to_owned()));
                assert_eq!(name(&error.into()), expected, "{message}");
            }
        }
        let broken = DieselError::BrokenTransactionManager;
        let unreachable = diesel::ConnectionError::BadConnection("refused".into());
        assert_eq!(name(&broken.into()), "lost");
        assert_eq!(name(&unreachable.into()), "lost");
        assert_eq!(name(&DieselError::NotFound.into()), "failed");
    }
}
