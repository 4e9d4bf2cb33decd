//! Where a run of [`super::every_step`] keeps its ledger, and what can be seen of it from outside.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use diesel::prelude::*;

use super::failing_store::{FailingStore, Failure, Steps};
use crate::clock::Clock;
use crate::config::{DatabaseUrl, Schema};
use crate::domain::{Currencies, Recorded, UserId};
use crate::ledger::connection::{AnyConnection, sqlite_file};
use crate::ledger::memory::faulty_store::{Fault, MemoryStore};
use crate::ledger::schema::entries;
use crate::ledger::sqlite::SqliteStore;
use crate::ledger::store::StoreOptions;
use crate::ledger::{Progress, audit, migrations};

/// The longest wait for a lock, in milliseconds.
const LOCK_MS: u64 = 600_000;

/// Where a run keeps its ledger.
pub(super) enum Tables {
    Memory(Box<MemoryStore>),
    Sqlite {
        path: PathBuf,
        _dir: tempfile::TempDir,
    },
}

/// An entry as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub user: i64,
    pub version: i64,
    pub minor: i64,
}

impl Tables {
    pub(super) fn in_memory() -> Self {
        Self::Memory(Box::default())
    }

    /// A new file, copied from one that was migrated.
    pub(super) fn on_sqlite() -> Self {
        static MIGRATED: OnceLock<Vec<u8>> = OnceLock::new();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let migrated = MIGRATED.get_or_init(|| {
            let url = DatabaseUrl::Sqlite(path.clone());
            let progress = Progress::start(Clock::system());
            migrations::migrate(&url, &Schema::default(), false, &progress).expect("migrated");
            let connection = sqlite_file::connect(&path, LOCK_MS).expect("it opens");
            let mut connection = AnyConnection::Sqlite(connection);
            migrations::check_currencies(&mut connection, &Currencies::default()).expect("noted");
            drop(connection);
            std::fs::read(&path).expect("a file")
        });
        std::fs::write(&path, migrated).expect("copied");
        Self::Sqlite { path, _dir: dir }
    }

    pub(super) fn failing(&self, plan: Vec<Failure>) -> (FailingStore, Steps) {
        match self {
            Self::Memory(store) => {
                let tables = store.tables.clone();
                let later = move || {
                    tables
                        .lock()
                        .expect("free")
                        .faults
                        .push_front(Fault::LostWhileCommitting)
                };
                FailingStore::new(store.clone(), plan, later)
            }
            Self::Sqlite { path, .. } => {
                // A lock of SQLite's own (its log is begun anew, say) is waited for, however slow the machine is.
                let (timeout_ms, lock_timeout_ms) = (LOCK_MS, LOCK_MS);
                let options = StoreOptions {
                    currencies: Currencies::default(),
                    timeout_ms,
                    lock_timeout_ms,
                    conflicts_max: 1000,
                    counts: Arc::default(),
                };
                let store = SqliteStore::new(path.clone(), None, options);
                FailingStore::new(Box::new(store), plan, || {
                    unreachable!("a local COMMIT is not on its way")
                })
            }
        }
    }

    /// Every entry by its event id. That none is there twice, SQLite's index and the store in memory make sure.
    pub(super) fn stored(&self) -> BTreeMap<String, Stored> {
        match self {
            Self::Memory(store) => {
                let tables = store.tables.lock().expect("free");
                let of = |r: &Recorded| Stored {
                    user: r.user_id.get(),
                    version: r.version,
                    minor: r.amount.minor(),
                };
                tables
                    .tables
                    .events
                    .iter()
                    .map(|(event, recorded)| (event.to_string(), of(recorded)))
                    .collect()
            }
            Self::Sqlite { path, .. } => {
                let mut connection = sqlite_file::connect(path, LOCK_MS).expect("it opens");
                let columns = (
                    entries::event_id,
                    entries::user_id,
                    entries::version,
                    entries::amount,
                );
                let rows: Vec<(String, i64, i64, i64)> = entries::table
                    .select(columns)
                    .load(&mut connection)
                    .expect("rows");
                rows.into_iter()
                    .map(|(event, user, version, minor)| {
                        (
                            event,
                            Stored {
                                user,
                                version,
                                minor,
                            },
                        )
                    })
                    .collect()
            }
        }
    }

    /// The balance of a user as it is kept beside the entries.
    pub(super) fn kept_balance(&self, user: UserId) -> Option<i64> {
        let Self::Memory(store) = self else {
            return None;
        };
        let account = store.tables.lock().expect("free").tables.account(user);
        let ton = Currencies::default().find("TON").expect("a default");
        account.exists.then(|| account.balances.get(ton).minor())
    }

    pub(super) fn audited(&self) -> Vec<String> {
        let mut violations = Vec::new();
        if let Self::Sqlite { path, .. } = self {
            audit::verify(
                &DatabaseUrl::Sqlite(path.clone()),
                &Schema::default(),
                &mut |line| violations.push(line),
            )
            .expect("it reads");
        }
        violations
    }
}
