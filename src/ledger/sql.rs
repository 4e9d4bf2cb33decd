//! [`SqlLedger`]: the writers and the read pool of one database, composed, started and stopped.

mod following;
mod health;
pub(super) mod nodes;
mod options;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::config::DatabaseUrl;
use crate::domain::{Account, Balances, Currencies, TelegramId, UserId};
use crate::limits::{AUDIT_TIMEOUT_MS, ORPHANS_MAX, STEP_HANGS_MS_MAX};

use super::audit::UserAudit;
use super::connection::identity::Identity;
use super::connection::ledger_file::{FileLock, LedgerFile};
use super::connection::{Access, Manager, Source};
use super::migrations::progress::{Progress, Step};
use super::outbox::Outbox;
use super::readers::Readers;
use super::reads::{HistoryPage, ReadError};
use super::rows::EntryRecord;
use super::users::{PutUser, PutUserOutcome};
use super::writer::watchdog::Watchdog;
use super::writer::{Command, Order, Writer};
use super::{
    AdminAction, AdminRecord, Ledger, LedgerCounts, LedgerError, Loss, MissedEntry, Nodes, Orphan,
    OwnNode, Pending, Posting, Standing, audit, migrations, reads,
};

pub use options::Options;

/// The ledger in SQLite or PostgreSQL.
#[derive(Debug)]
pub struct SqlLedger {
    writers: Vec<Writer>,
    readers: Readers,
    auditor: Readers,
    prober: Readers,
    counts: Arc<LedgerCounts>,
    /// After so long a step of a writer counts as hanging.
    hangs_after: Duration,
    _watchdog: Watchdog,
    currencies: Currencies,
    standing: Arc<Standing>,
    identity: Arc<Identity>,
    outbox: Arc<Outbox>,
    clock: Clock,
    /// On SQLite.
    file: Option<Arc<LedgerFile>>,
}

impl SqlLedger {
    /// Prepares the database and starts the threads. Blocks. Also returns the receiver of [`Orphan`]s.
    ///
    /// # Errors
    /// [`LedgerError`] when the database does not answer, or does not fit these settings.
    pub fn open(
        options: Options,
        progress: &Progress,
    ) -> Result<(Self, mpsc::Receiver<Orphan>), LedgerError> {
        let Options {
            url,
            timeout_ms,
            currencies,
            clock,
            ..
        } = &options;
        // Before anything is read or made: two services would take each other for a change behind their backs.
        let lock = match url {
            DatabaseUrl::Sqlite(path) => Some((path, FileLock::take(path)?)),
            DatabaseUrl::Postgres(_) => None,
        };
        let source = Source::new(url, &options.schema);
        if options.migrate_on_start {
            for name in migrations::apply_missing(&source, false, progress)? {
                log::info!("migration applied: {name}");
            }
        } else {
            migrations::check_applied(&source, *timeout_ms, Access::Write)?;
        }
        let file = lock.map(|(path, lock)| lock.of_file(path)).transpose()?;
        let file = file.map(Arc::new);
        progress.at(Step::Connecting);
        let mut connected = source.connect(*timeout_ms, "", Access::Write)?;
        progress.at(Step::Opening);
        migrations::check_currencies(&mut connected.connection, currencies)?;
        let epoch = reads::epoch(&mut connected.connection)?;
        let standing = Arc::new(Standing::of(&epoch));
        let identity = Identity::first(standing.clone(), &mut connected.connection);
        let identity = Arc::new(identity);
        let (orphans, unheard) = mpsc::channel(ORPHANS_MAX);
        let counts = Arc::new(LedgerCounts::new(options.counters.clone()));
        let writers = options.writers(
            &source,
            file.as_ref(),
            &identity,
            (&counts, &standing),
            &orphans,
        )?;
        let hangs_after = Duration::from_millis((*timeout_ms).min(STEP_HANGS_MS_MAX));
        let watches = writers.iter().map(|writer| writer.watch().clone());
        let watchdog = Watchdog::start(watches.collect(), hangs_after);
        let manager = Manager {
            source: source.clone(),
            timeout_ms: *timeout_ms,
            file: file.clone(),
            identity: identity.clone(),
        };
        let readers = Readers::start(
            "ledger-reader",
            manager,
            options.pool_size,
            *clock,
            counts.clone(),
            standing.clone(),
        )?;
        // A separate connection, made with the first check: no read waits for a check.
        let manager = Manager {
            source: source.clone(),
            timeout_ms: AUDIT_TIMEOUT_MS,
            file: file.clone(),
            identity: identity.clone(),
        };
        let auditor = Readers::start(
            "ledger-auditor",
            manager,
            1,
            *clock,
            counts.clone(),
            // A check that takes too long says nothing of the ledger.
            Arc::default(),
        )?;
        // Another one: a health check and the renewal of a row never wait for reads.
        let manager = Manager {
            source,
            timeout_ms: *timeout_ms,
            file: file.clone(),
            identity: identity.clone(),
        };
        let prober = Readers::start(
            "ledger-prober",
            manager,
            1,
            *clock,
            counts.clone(),
            standing.clone(),
        )?;
        let Options {
            currencies, clock, ..
        } = options;
        Ok((
            Self {
                writers,
                readers,
                auditor,
                prober,
                counts,
                hangs_after,
                _watchdog: watchdog,
                currencies,
                standing,
                identity,
                outbox: Arc::default(),
                clock,
                file,
            },
            unheard,
        ))
    }

    /// All balances as they were after a user's `version`-th entry.
    pub fn balances_at(&self, user: UserId, version: i64) -> Pending<Balances> {
        let currencies = self.currencies.clone();
        self.readers
            .read(move |connection| reads::balances_at(connection, user, version, &currencies))
    }

    /// A page of a user's entries, newest first.
    pub fn history(&self, user: UserId, page: HistoryPage) -> Pending<Vec<EntryRecord>> {
        let currencies = self.currencies.clone();
        self.readers
            .read(move |connection| reads::history(connection, user, page, &currencies))
    }

    /// Whether there is such a user.
    pub fn user_exists(&self, user: UserId) -> Pending<bool> {
        self.readers
            .read(move |connection| reads::user_exists(connection, user))
    }

    /// The next user after this id, for [`SqlLedger::audit_user`].
    pub fn next_user(&self, after: i64) -> Pending<Option<i64>> {
        self.auditor
            .read(move |connection| audit::next_user(connection, after))
    }

    /// Checks every invariant of one user in one snapshot, and compares it with what was cached before this call.
    pub fn audit_user(&self, user: i64, cached: Option<Account>) -> Pending<UserAudit> {
        let currencies = self.currencies.clone();
        self.auditor.read(move |connection| {
            let cached = cached.as_ref().map(|account| (account, &currencies));
            audit::user(connection, user, cached)
        })
    }

    /// The unique indexes that are missing.
    pub fn missing_indexes(&self) -> Pending<Vec<&'static str>> {
        self.auditor.read(audit::missing_indexes)
    }

    /// Makes a user or links a Telegram id to it; durable when the future ends in `Ok`.
    pub fn put_user(
        &self,
        user_id: UserId,
        telegram_id: Option<TelegramId>,
    ) -> Pending<PutUserOutcome> {
        let user = PutUser {
            user_id,
            telegram_id,
            now_us: self.clock.wall().us(),
        };
        self.by_writer(user_id, |reply| Order::PutUser(user, reply))
    }

    /// Adds an administrator's order to the log; durable when the future ends in `Ok`.
    pub fn log_action(&self, action: AdminAction) -> Pending<()> {
        self.by_writer(action.user_id, |reply| Order::LogAction(action, reply))
    }

    /// The latest orders of administrators, newest first.
    pub fn latest_actions(&self, limit: i64) -> Pending<Vec<AdminRecord>> {
        self.readers
            .read(move |connection| reads::latest_actions(connection, limit))
    }

    /// Whether other processes may use it, too.
    pub fn may_be_shared(&self) -> bool {
        self.file.is_none()
    }

    /// Renews this process's row among those that use the ledger, and finds the others. On PostgreSQL. However many reads
    /// wait, it doesn't: with an old row this process would be taken for one that is gone.
    pub fn renew_node(&self, own: OwnNode) -> Pending<Nodes> {
        self.prober
            .read(move |connection| nodes::renew(connection, &own))
    }

    /// Removes the row, when it has been there for long enough.
    pub fn leave_nodes(&self, boot: String) -> Pending<()> {
        self.prober
            .read(move |connection| nodes::leave(connection, &boot))
    }

    fn by_writer<T: Send + 'static>(
        &self,
        user_id: UserId,
        order: impl FnOnce(oneshot::Sender<Result<T, LedgerError>>) -> Order,
    ) -> Pending<T> {
        let (reply, answer) = oneshot::channel();
        self.writer_of(user_id).order(order(reply));
        let timeout = self.readers.timeout();
        Box::pin(async move {
            match tokio::time::timeout(timeout, answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) | Err(_) => Err(LedgerError::Unavailable("no answer in time".into())),
            }
        })
    }

    /// Whether a later start would miss what is written: the file of an SQLite ledger was removed or replaced.
    pub fn is_lost(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_lost())
    }

    /// Whether every writer's thread runs.
    pub fn is_running(&self) -> bool {
        self.writers.iter().all(Writer::is_running)
    }

    /// Finishes what is queued and ends the writers. Blocks until then, or until [`SqlLedger::abort`]. Whether everything is
    /// decided: nothing of this process may still be committed.
    pub fn finish(&self) -> bool {
        let decided: Vec<bool> = self.writers.iter().map(Writer::stop).collect();
        decided.iter().all(|is_decided| *is_decided)
    }

    /// Ends what reads, after [`SqlLedger::finish`]. Waits for nothing.
    pub fn stop(&self) {
        self.readers.stop();
        self.auditor.stop();
        self.prober.stop();
    }

    /// Makes a running [`SqlLedger::finish`] give up what it can't finish because the database is away.
    pub fn abort(&self) {
        self.writers.iter().for_each(Writer::abort);
    }

    fn writer_of(&self, user: UserId) -> &Writer {
        let index = user.get().unsigned_abs() % self.writers.len() as u64;
        &self.writers[index as usize]
    }
}

impl Ledger for SqlLedger {
    fn post(&self, posting: Posting) {
        // An atomic batch of several users goes to the writer of the first one; row locks keep that correct.
        match posting.entries.first().map(|entry| entry.user_id) {
            Some(user) => self.writer_of(user).send(Command::Post(posting)),
            None => {
                let done = super::Posted {
                    entries: Vec::new(),
                    outcomes: Vec::new(),
                };
                // The receiver may be gone.
                let _ = posting.reply.send(done);
            }
        }
    }

    fn account(&self, user: UserId) -> Pending<Account> {
        self.readers.account(user, &self.currencies)
    }

    fn account_in_background(&self, user: UserId) -> Pending<Account> {
        let currencies = self.currencies.clone();
        self.readers
            .read_in_background(move |connection| reads::account(connection, user, &currencies))
    }

    fn versions(&self, users: Vec<UserId>) -> Pending<Vec<(UserId, i64)>> {
        self.readers
            .read_in_background(move |connection| reads::versions(connection, &users))
    }

    fn missed_entries(&self, known: Vec<(UserId, i64)>) -> Pending<Vec<MissedEntry>> {
        let currencies = self.currencies.clone();
        self.readers.read_in_background(move |connection| {
            reads::missed_entries(connection, &known, &currencies)
        })
    }

    fn user_of_telegram(&self, telegram_id: TelegramId) -> Pending<Option<UserId>> {
        self.readers
            .read(move |connection| reads::user_of_telegram(connection, telegram_id))
    }

    fn ping(&self) -> Pending<()> {
        let (file, identity) = (self.file.clone(), self.identity.clone());
        self.prober.read(move |connection| {
            if let Some(file) = &file {
                file.check().map_err(LedgerError::Unavailable)?;
            }
            // From a table: SQLite answers `SELECT 1` even when its file is gone.
            identity.look(connection).map_err(ReadError::Database)
        })
    }

    fn went_back(&self, loss: Loss) -> Pending<()> {
        let identity = self.identity.clone();
        self.readers.read(move |connection| {
            identity
                .went_back(connection, &loss)
                .map_err(ReadError::Database)
        })
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}

#[cfg(test)]
mod tests;
