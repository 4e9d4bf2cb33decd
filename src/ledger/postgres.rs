//! Writing to PostgreSQL: a few set-based statements per transaction (arrays with UNNEST), row locks in user order,
//! `synchronous_commit=on`.
//!
//! Bounds: half of `database.timeout_ms` for a statement, so that what shares its transaction can still be committed
//! without it. Half of `database.lock_timeout_ms` for a lock; the other half is for finding out which users are locked.
//! And the server ends a transaction that stands still because our side of the connection is gone, so that its locks do
//! not stay for long.
//!
//! A statement that waited in vain is told from others by the time that it took: see [`PostgresStore::judged`].

mod arrays;
mod loading;
mod locks;
mod refusals;
mod reversed;

use std::collections::HashSet;
use std::sync::Arc;

use self::arrays::Write;
use self::refusals::{CountRefusals, InsertConflicts};
use diesel::prelude::*;

use crate::clock::{Clock, Mono};
use crate::domain::{Currencies, UserId};
use crate::limits::{BULK_BEFORE_SINGLES_ON_POSTGRES, LOCK_BRIEF_MS};

use super::admin_log::{self, AdminAction};
use super::batch::{Keys, Loaded, Plan};
use super::connection::identity::Identity;
use super::connection::link::Link;
use super::connection::postgres_server::BY_INDEX;
use super::connection::{ConnectError, Source};
use super::errors::{StoreError, unfit};
use super::rows::conflicts::{by_key, prune};
use super::rows::user_id;
use super::store::{Basis, Patience, Store, StoreOptions};
use super::users::{self, PutUser, PutUserOutcome};

/// Needs everything that writing needs of the server, and touches no row.
const TRIAL: &str = "INSERT INTO entries (user_id, version, kind) SELECT user_id, version, kind FROM entries WHERE false; \
     INSERT INTO accounts (user_id, version) SELECT user_id, version FROM accounts WHERE false; \
     UPDATE accounts SET version = version WHERE false; \
     INSERT INTO balances (user_id, currency, amount) SELECT user_id, currency, amount FROM balances WHERE false; \
     UPDATE balances SET amount = amount WHERE false";

/// How long a transaction may stand still between two statements, in milliseconds. Deciding takes a few.
const STANDSTILL_MS: u64 = 1000;

/// A write connection to PostgreSQL.
pub(super) struct PostgresStore {
    link: Link,
    currencies: Currencies,
    clock: Clock,
    statement_ms: u64,
    lock_ms: u64,
    conflicts_max: i64,
    brief_ms: u64,
    patience: Patience,
    /// Of the open transaction.
    basis: Basis,
}

impl PostgresStore {
    /// Each connection that it makes looks at the ledger's identity.
    pub(super) fn new(
        source: Source,
        identity: Option<Arc<Identity>>,
        options: StoreOptions,
    ) -> Self {
        let StoreOptions {
            currencies,
            timeout_ms,
            lock_timeout_ms,
            conflicts_max,
            ..
        } = options;
        let statement_ms = timeout_ms.div_ceil(2);
        // Less than for a statement, so that the two can be told apart.
        let lock_timeout_ms = lock_timeout_ms.min(statement_ms);
        let lock_ms = lock_timeout_ms.div_ceil(2);
        let settings = format!(
            "{BY_INDEX} SET statement_timeout = {statement_ms}; SET lock_timeout = {lock_ms}; \
             SET idle_in_transaction_session_timeout = {STANDSTILL_MS};"
        );
        let link = Link::new(move || {
            let mut connected = source.reconnect(timeout_ms, &settings)?;
            if let Some(identity) = &identity {
                identity
                    .look(&mut connected.connection)
                    .map_err(|error| ConnectError::Away(error.to_string()))?;
            }
            Ok(connected)
        });
        let brief_ms = (lock_timeout_ms / 64).clamp(1, LOCK_BRIEF_MS);
        Self {
            link,
            currencies,
            clock: Clock::system(),
            statement_ms,
            lock_ms,
            conflicts_max,
            brief_ms,
            patience: Patience::Usual,
            basis: Basis::Read,
        }
    }

    /// What an error of statements that began then means. Diesel gives no codes, and messages may be in any language. But
    /// the server ends a wait when the time for it is over, and never before.
    fn judged(&self, error: StoreError, begun: Mono, patience: Patience) -> StoreError {
        let StoreError::Failed(reason) = error else {
            return error;
        };
        let took_ms = self.clock.mono().us_since(begun) / 1000;
        let lock_ms = match patience {
            Patience::Usual => self.lock_ms,
            Patience::Brief => self.brief_ms,
        };
        if took_ms >= self.statement_ms {
            StoreError::TimedOut(reason)
        } else if took_ms >= lock_ms {
            let users = Vec::new();
            StoreError::Locked { users, reason }
        } else {
            StoreError::Failed(reason)
        }
    }

    /// Runs statements of the open transaction on these users, and finds out who is locked when they waited in vain.
    fn attentively<T>(
        &mut self,
        users: impl Iterator<Item = UserId>,
        run: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = self.clock.mono();
        let error = match run(self) {
            Ok(value) => return Ok(value),
            Err(error) => self.judged(error, begun, self.patience),
        };
        Err(match error {
            StoreError::Locked { reason, .. } => {
                self.locked(users.map(UserId::get).collect(), reason)
            }
            error => error,
        })
    }

    fn load(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        match basis {
            Basis::Read => self.lock_accounts(&keys.users, &mut loaded)?,
            Basis::Expected => self.load_accounts(&keys.users, &mut loaded)?,
        }
        if !keys.reversed.is_empty() {
            let connection = self.link.transaction()?.postgres()?;
            reversed::load(connection, &keys.reversed, &self.currencies, &mut loaded)?;
        }
        if basis == Basis::Expected {
            return Ok(loaded);
        }
        self.load_keys(keys, &mut loaded)?;
        if loaded.is_torn() {
            return Err(StoreError::Raced(
                "another session has made a user meanwhile".into(),
            ));
        }
        Ok(loaded)
    }

    fn begin_sql(&self, patience: Patience) -> String {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
        match patience {
            Patience::Usual => BEGIN.into(),
            Patience::Brief => format!("{BEGIN}; SET LOCAL lock_timeout = {}", self.brief_ms),
        }
    }

    /// Ends the transaction and finds out which of these users are locked.
    fn locked(&mut self, users: Vec<i64>, reason: String) -> StoreError {
        self.rollback();
        // Empty when it was another lock, or when the lock was released meanwhile.
        let users = self.locked_users(users).unwrap_or_default();
        StoreError::Locked { users, reason }
    }

    /// The users that other sessions hold locked, found in a separate transaction.
    fn locked_users(&mut self, users: Vec<i64>) -> Result<Vec<UserId>, StoreError> {
        self.link.begin(&self.begin_sql(Patience::Brief))?;
        let held = locks::held(self.link.transaction()?.postgres()?, &users)?;
        held.into_iter()
            .map(|id| user_id(id).map_err(unfit))
            .collect()
    }

    fn write_rows(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        let basis = self.basis;
        let Self {
            link, currencies, ..
        } = self;
        let connection = link.transaction()?.postgres()?;
        if !plan.entries.is_empty() {
            let write = Write::of(plan, basis, currencies);
            let expected = write.updated();
            let updated: i64 = write.get_result(connection)?;
            if usize::try_from(updated) != Ok(expected) {
                return Err(StoreError::Raced(
                    "another session has changed an account or a balance".into(),
                ));
            }
        }
        self.write_conflicts(plan)
    }

    fn write_conflicts(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        if plan.conflicts.is_empty() {
            return Ok(());
        }
        let Self {
            link, currencies, ..
        } = self;
        let connection = link.transaction()?.postgres()?;
        let now_us = plan.committed_at_us;
        let all = by_key(&plan.conflicts, currencies);
        let counted: Vec<i64> = CountRefusals::of(&all, now_us).load(connection)?;
        let counted: HashSet<i64> = counted.into_iter().collect();
        let added = || {
            let placed = (0..).zip(&all);
            placed.filter(|(place, _)| !counted.contains(place))
        };
        if added().next().is_some() {
            let rows = added().map(|(_, refusals)| refusals.row(now_us, currencies));
            InsertConflicts::of(rows, now_us).execute(connection)?;
        }
        Ok(prune(
            link.transaction()?,
            added().count(),
            self.conflicts_max,
        )?)
    }
}

impl Store for PostgresStore {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        self.basis = basis;
        self.link.begin(&self.begin_sql(self.patience))?;
        self.attentively(keys.users.iter().copied(), |store| store.load(keys, basis))
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        let users = plan.accounts.iter().map(|planned| planned.user_id);
        self.attentively(users, |store| store.write_rows(plan))
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.link.commit()
    }

    fn rollback(&mut self) {
        self.link.rollback();
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        // Entries wait for it.
        let begin = self.begin_sql(Patience::Brief);
        let begun = self.clock.mono();
        self.link
            .in_transaction(&begin, |connection| Ok(users::put(connection, user)?))
            .map_err(|error| self.judged(error, begun, Patience::Brief))
    }

    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError> {
        Ok(admin_log::add(self.link.connection()?, action)?)
    }

    /// Single entries are committed alone: what they wait for is the transaction before, not their own one, too.
    fn bulk_beside(&self, singles: usize) -> usize {
        match singles {
            0 => BULK_BEFORE_SINGLES_ON_POSTGRES,
            _ => 0,
        }
    }

    fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    fn try_out(&mut self, _: bool) -> Result<(), StoreError> {
        let begin = self.begin_sql(Patience::Usual);
        self.link.try_out(&begin, TRIAL)
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        self.link.reconnect()
    }
}
