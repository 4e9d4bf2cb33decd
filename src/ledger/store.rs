//! What a writer needs of a database: one write transaction at a time, in steps, so that a test can make each step fail.

use std::sync::Arc;

use crate::domain::Currencies;
use crate::limits::{BULK_BEFORE_SINGLES, BULK_BESIDE_SINGLES};

use super::LedgerCounts;
use super::admin_log::AdminAction;
use super::batch::{Keys, Loaded, Plan};
use super::errors::StoreError;
use super::users::{PutUser, PutUserOutcome};

/// One connection for writes. The steps come in the order `begin`, `write`, `commit`; after an error the writer calls
/// `rollback` or `reconnect` before it begins again.
pub trait Store: Send {
    /// Opens a write transaction and loads what it is to be decided on. With [`Basis::Read`] that can't change before the
    /// commit.
    ///
    /// # Errors
    /// `StoreError`; nothing was written.
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError>;

    /// Writes entries, balances, accounts and conflicts of a plan into the open transaction.
    ///
    /// # Errors
    /// `StoreError`; nothing of the plan is committed. `StoreError::Raced` when an event id or a hash exists already, or
    /// an account has another version than the plan began with.
    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError>;

    /// Commits. When it returns `Ok`, the transaction is durable.
    ///
    /// # Errors
    /// Any error means *unknown*: the transaction may be committed or not.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Rolls an open transaction back; harmless without one.
    fn rollback(&mut self);

    /// Makes a user or links a Telegram id to it, in a separate transaction.
    ///
    /// # Errors
    /// `StoreError`; repeating it is safe.
    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError>;

    /// Adds an administrator's order to the log; durable when it returns `Ok`.
    ///
    /// # Errors
    /// `StoreError`; repeating it is safe.
    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError>;

    /// The most entries of batches beside so many single ones, or beside none while single ones keep coming in. Zero beside
    /// single ones means that these have transactions of their own.
    fn bulk_beside(&self, singles: usize) -> usize {
        bulk_beside(singles)
    }

    /// How long transactions that begin from now on wait for a lock. Only for databases that lock single rows.
    fn set_patience(&mut self, _: Patience) {}

    /// Whether entries could be written now. Changes nothing; `is_durable` does it down to the disk, where that needs more
    /// than the database's word.
    ///
    /// # Errors
    /// `StoreError`: they could not.
    fn try_out(&mut self, is_durable: bool) -> Result<(), StoreError>;

    /// Closes the connection and opens another.
    ///
    /// # Errors
    /// `StoreError::Lost` while the database is away.
    fn reconnect(&mut self) -> Result<(), StoreError>;
}

/// What a transaction is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Accounts and keys are read, and the accounts are locked, in the order of users.
    Read,
    /// Accounts are read without locks, and keys are expected to be new. Writing finds out what is not so.
    Expected,
}

/// How long a transaction waits for a lock that another session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as the other entries of the batch may be delayed.
    Usual,
    /// Hardly at all: a lock is known to be held.
    Brief,
}

/// What every store needs besides its connection.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The currencies, to translate codes.
    pub currencies: Currencies,
    /// The longest that a statement may wait, in milliseconds.
    pub timeout_ms: u64,
    /// The longest that locks of other sessions may delay entries of other users, in milliseconds.
    pub lock_timeout_ms: u64,
    /// The most refused entries that are kept.
    pub conflicts_max: i64,
    /// The counters.
    pub counts: Arc<LedgerCounts>,
}

/// See [`Store::bulk_beside`]; what a store does without reasons of its own.
pub(super) fn bulk_beside(singles: usize) -> usize {
    match singles {
        0 => BULK_BEFORE_SINGLES,
        _ => singles.clamp(BULK_BESIDE_SINGLES.0, BULK_BESIDE_SINGLES.1),
    }
}
