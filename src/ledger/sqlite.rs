//! Writing to SQLite: one connection, WAL with `synchronous=FULL`, cached single-row statements.

mod by_hand;
mod checkpoints;
mod log_watch;
mod lookups;
mod prepared;

use std::path::PathBuf;
use std::sync::Arc;

use self::by_hand::ByHand;
use self::checkpoints::{Checkpoints, LONG_PAGES};
use self::log_watch::LogWatch;
use self::lookups::{find_event, find_hash, find_reversible, load_account};
use self::prepared::{CountRefusals, SetBalance, SetVersion};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::domain::{Account, Currencies, UserId};
use crate::limits::BULK_BESIDE_SINGLES;

use super::admin_log::{self, AdminAction};
use super::batch::{Keys, Loaded, Plan, PlannedAccount};
use super::connection::ledger_file::{Identity, LedgerFile, beside};
use super::connection::link::Link;
use super::connection::sqlite_file;
use super::errors::{StoreError, unfit};
use super::rows::conflicts::{by_key, prune};
use super::rows::{NewEntryRow, NewReversalRow, event_digest};
use super::schema::{accounts, conflicts, entries};
use super::store::{Basis, Store, StoreOptions, bulk_beside};
use super::users::{self, PutUser, PutUserOutcome};

/// Needs everything that writing needs, and touches no row.
const TRIAL: &str = "INSERT INTO entries (user_id, version, kind) SELECT user_id, version, kind FROM entries WHERE false; \
     INSERT INTO accounts (user_id, version) SELECT user_id, version FROM accounts WHERE false; \
     INSERT INTO balances (user_id, currency, amount) SELECT user_id, currency, amount FROM balances WHERE false";

/// Writes at least as many pages as an entry does, those of every index of the newest one, and changes nothing in them: a
/// disk without room shows only when it is written.
const DURABLE_TRIAL: &str = "UPDATE entries SET user_id = user_id, version = version, event_digest = event_digest, \
     tx_hash = tx_hash, reverses = reverses WHERE id = (SELECT MAX(id) FROM entries); \
     UPDATE accounts SET version = version WHERE user_id IN (SELECT user_id FROM accounts LIMIT 64); \
     UPDATE balances SET user_id = user_id, amount = amount WHERE user_id IN (SELECT user_id FROM balances LIMIT 64); \
     UPDATE ledger_info SET epoch = epoch";

/// A write connection to an SQLite file.
pub(super) struct SqliteStore {
    link: Link,
    currencies: Currencies,
    conflicts_max: i64,
    checkpoints: Checkpoints,
    /// Of the running service; none in tests of the store alone.
    file: Option<Arc<LedgerFile>>,
    log: PathBuf,
    /// Of the write-ahead log, once this connection has committed. The log exists for as long as a connection is open.
    log_identity: Option<Identity>,
    by_hand: ByHand,
    /// Of which connection both are known.
    known_of: u64,
}

impl SqliteStore {
    pub(super) fn new(path: PathBuf, file: Option<Arc<LedgerFile>>, options: StoreOptions) -> Self {
        let log = beside(&path, "-wal");
        let watch = LogWatch::new(&path, options.counts.sqlite_log_bytes());
        let checkpoints = Checkpoints::start(path.clone(), LONG_PAGES, watch);
        let timeout_ms = options.lock_timeout_ms.min(options.timeout_ms);
        let link = Link::new(move || Ok(sqlite_file::connect_to_write(&path, timeout_ms)?.into()));
        Self {
            link,
            currencies: options.currencies,
            conflicts_max: options.conflicts_max,
            checkpoints,
            file,
            log,
            log_identity: None,
            by_hand: ByHand::default(),
            known_of: 0,
        }
    }

    /// When there is another connection than before: the log may have begun as another file with it.
    fn forget_earlier_connections(&mut self) {
        if self.known_of != self.link.made() {
            self.known_of = self.link.made();
            (self.log_identity, self.by_hand) = (None, ByHand::default());
        }
    }

    fn write_conflicts(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        let Self {
            link, currencies, ..
        } = self;
        let connection = link.transaction()?.sqlite()?;
        let now_us = plan.committed_at_us;
        let mut added = 0;
        for refusals in &by_key(&plan.conflicts, currencies) {
            if (CountRefusals { refusals, now_us }).execute(connection)? == 0 {
                diesel::insert_into(conflicts::table)
                    .values(refusals.row(now_us, currencies))
                    .execute(connection)?;
                added += 1;
            }
        }
        Ok(prune(link.transaction()?, added, self.conflicts_max)?)
    }

    fn check_file(&self) -> Result<(), StoreError> {
        let check = self.file.as_ref().map_or(Ok(()), |file| file.check());
        check.map_err(StoreError::Lost)
    }

    /// Whether what this connection has committed is in the files that a later start will find.
    fn check_files(&mut self) -> Result<(), StoreError> {
        self.check_file()?;
        self.forget_earlier_connections();
        let Some(file) = &self.file else {
            return Ok(());
        };
        match (Identity::of(&self.log), self.log_identity) {
            (Ok(identity), None) => self.log_identity = Some(identity),
            (Ok(identity), Some(known)) if identity == known => {}
            _ => {
                let what = format!(
                    "{} was removed or replaced while it was written",
                    self.log.display()
                );
                return Err(StoreError::Lost(file.lose(&what)));
            }
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        self.check_file()?;
        self.link.connection()?;
        self.forget_earlier_connections();
        let Self {
            link,
            currencies,
            checkpoints,
            by_hand,
            ..
        } = self;
        checkpoints.take_turn(link.connection()?.sqlite()?);
        link.begin("BEGIN IMMEDIATE")?;
        by_hand.complete(link)?;
        let connection = link.transaction()?.sqlite()?;
        let mut loaded = Loaded::default();
        for user in &keys.users {
            loaded
                .accounts
                .insert(*user, load_account(connection, *user, currencies)?);
        }
        for name in &keys.reversed {
            if let Some(found) = find_reversible(connection, name, currencies)? {
                loaded.reversibles.insert(found);
            }
        }
        if basis == Basis::Expected {
            return Ok(loaded);
        }
        for event in &keys.events {
            if let Some(found) = find_event(connection, event)? {
                let recorded = found.recorded(currencies).map_err(unfit)?;
                loaded.events.insert((*event).clone(), recorded);
            }
        }
        for hash in &keys.hashes {
            if let Some(found) = find_hash(connection, hash)? {
                let recorded = found.recorded(currencies).map_err(unfit)?;
                loaded.hashes.insert(*hash, recorded);
            }
        }
        Ok(loaded)
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        let Self {
            link, currencies, ..
        } = self;
        let connection = link.transaction()?.sqlite()?;
        for planned in &plan.entries {
            let digest = event_digest::of(planned.entry.event_id.as_str());
            let mut row = NewEntryRow::new(planned, plan.committed_at_us, currencies);
            row.event_digest = Some(&digest);
            match &planned.applied.reversed {
                None => diesel::insert_into(entries::table)
                    .values(&row)
                    .execute(connection)?,
                Some(reversed) => diesel::insert_into(entries::table)
                    .values(NewReversalRow {
                        entry: row,
                        reverses: reversed.event_id.as_str(),
                        left_after: reversed.left_after.minor(),
                    })
                    .execute(connection)?,
            };
        }
        for PlannedAccount {
            user_id, account, ..
        } in &plan.accounts
        {
            write_account(connection, *user_id, account, plan.committed_at_us)?;
        }
        for planned in &plan.balances {
            SetBalance {
                user_id: planned.user_id.get(),
                currency: &currencies.get(planned.currency).code,
                amount: planned.amount.minor(),
            }
            .execute(connection)?;
        }
        self.write_conflicts(plan)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.link.commit()?;
        self.check_files()?;
        self.checkpoints.committed();
        Ok(())
    }

    fn rollback(&mut self) {
        self.link.rollback();
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        let outcome = self.link.in_transaction("BEGIN IMMEDIATE", |connection| {
            Ok(users::put(connection, user)?)
        })?;
        self.check_files()?;
        Ok(outcome)
    }

    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError> {
        admin_log::add(self.link.connection()?, action)?;
        self.check_files()
    }

    fn bulk_beside(&self, singles: usize) -> usize {
        if self.checkpoints.wish_little() {
            BULK_BESIDE_SINGLES.0
        } else {
            bulk_beside(singles)
        }
    }

    fn try_out(&mut self, is_durable: bool) -> Result<(), StoreError> {
        self.check_file()?;
        self.link.try_out("BEGIN IMMEDIATE", TRIAL)?;
        if !is_durable {
            return Ok(());
        }
        self.link.in_transaction("BEGIN IMMEDIATE", |connection| {
            Ok(connection.batch_execute(DURABLE_TRIAL)?)
        })?;
        self.check_files()?;
        self.checkpoints.committed();
        Ok(())
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        self.check_file()?;
        self.link.reconnect()
    }
}

fn write_account(
    connection: &mut SqliteConnection,
    user: UserId,
    account: &Account,
    now_us: i64,
) -> Result<(), StoreError> {
    if account.exists {
        SetVersion {
            user_id: user.get(),
            version: account.version,
            now_us,
        }
        .execute(connection)?;
    } else {
        diesel::insert_into(accounts::table)
            .values((
                accounts::user_id.eq(user.get()),
                accounts::version.eq(account.version),
                accounts::created_at_us.eq(now_us),
                accounts::updated_at_us.eq(now_us),
            ))
            .execute(connection)?;
    }
    Ok(())
}
