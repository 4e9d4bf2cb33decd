//! Why there is no connection.

use diesel::result::Error as DieselError;

use crate::ledger::LedgerError;
use crate::ledger::errors::StoreError;

/// Why a connection could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::ledger) enum ConnectError {
    /// The database does not answer, or not in time.
    #[error("{0}")]
    Away(String),
    /// It answers, and a ledger can't be in it as it is.
    #[error("{0}")]
    Unfit(String),
}

impl ConnectError {
    /// A statement that prepares a connection has failed.
    pub(super) fn of_query(error: DieselError) -> Self {
        Self::Away(error.to_string())
    }

    /// The first statement of a new connection has failed.
    pub(super) fn of_first_statement(error: DieselError) -> Self {
        Self::Away(format!(
            "the first statement after the login failed (a pooler has to be in session mode): {error}"
        ))
    }
}

impl From<diesel::ConnectionError> for ConnectError {
    fn from(error: diesel::ConnectionError) -> Self {
        match error {
            diesel::ConnectionError::CouldntSetupConfiguration(error) => {
                Self::of_first_statement(error)
            }
            error => Self::Away(error.to_string()),
        }
    }
}

impl From<ConnectError> for LedgerError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Away(reason) => Self::Unavailable(reason),
            ConnectError::Unfit(reason) => Self::Unfit(reason),
        }
    }
}

impl From<ConnectError> for StoreError {
    /// Both are mended outside of this process, and looked for again with the next attempt.
    fn from(error: ConnectError) -> Self {
        Self::Lost(error.to_string())
    }
}
