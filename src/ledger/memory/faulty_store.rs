//! A store in memory whose steps fail as planned, for the tests of this part.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use crate::domain::{EventId, Kind, NewEntry, TelegramId};

use crate::ledger::admin_log::AdminAction;
use crate::ledger::batch::{Keys, Loaded, Plan};
use crate::ledger::errors::StoreError;
use crate::ledger::memory;
use crate::ledger::store::{Basis, Store, bulk_beside};
use crate::ledger::users::{PutUser, PutUserOutcome};

/// What the next transaction runs into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Fault {
    /// The connection is gone at `begin`.
    LostAtBegin,
    /// The database fails at `write`.
    FailedAtWrite,
    /// Another transaction was faster at `write`.
    RacedAtWrite,
    /// COMMIT breaks, and was not carried out.
    LostBeforeCommit,
    /// COMMIT breaks, and was carried out.
    LostAfterCommit,
    /// COMMIT breaks while it is on its way: it is carried out only when the next transaction writes.
    LostWhileCommitting,
}

/// What a store works on.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Shared {
    pub tables: memory::Tables,
    pub faults: VecDeque<Fault>,
    /// The database refuses any transaction that writes this event.
    pub poisoned: Option<EventId>,
    /// The database fails at any transaction that writes one of these events.
    pub failing: HashSet<String>,
    /// It fails at every transaction that writes.
    pub fails_all: bool,
    /// It does so until the writer reconnects.
    pub is_stale: bool,
    /// A transaction with more entries takes too long.
    pub entries_max: Option<usize>,
    pub commits: usize,
    /// On what each transaction was decided, in order.
    pub bases: Vec<Basis>,
    on_its_way: Option<OpenTransaction>,
    /// The event ids of each commit, in order; of one that made a user, `user`.
    pub log: Vec<Vec<String>>,
}

/// A store over shared tables.
#[derive(Debug, Clone, Default)]
pub(in crate::ledger) struct MemoryStore {
    pub tables: Arc<Mutex<Shared>>,
    /// Whether single entries have transactions of their own.
    keeps_singles_apart: bool,
    open: Option<OpenTransaction>,
}

#[derive(Debug, Clone, Default)]
struct OpenTransaction {
    events: Vec<String>,
    /// The tables as the transaction leaves them.
    after: memory::Tables,
}

/// A reward, or a withdrawal where the amount is below zero.
pub(in crate::ledger) fn entry(user: i64, event: &str, minor: i64) -> NewEntry {
    let kind = if minor > 0 {
        Kind::Reward
    } else {
        Kind::Withdrawal
    };
    memory::entry(user, event, kind, minor)
}

impl Shared {
    fn carry_out(&mut self, transaction: OpenTransaction) {
        self.commits += 1;
        self.log.push(transaction.events);
        self.tables = transaction.after;
    }
}

impl MemoryStore {
    pub(in crate::ledger) fn keeping_singles_apart() -> Self {
        Self {
            keeps_singles_apart: true,
            ..Self::default()
        }
    }

    fn fails_with(&self, faults: &[Fault]) -> Option<Fault> {
        let mut shared = self.tables.lock().expect("not poisoned");
        let is_next = shared
            .faults
            .front()
            .is_some_and(|fault| faults.contains(fault));
        is_next.then(|| shared.faults.pop_front()).flatten()
    }
}

impl Store for MemoryStore {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        assert!(self.open.is_none(), "the last transaction was not ended");
        if self.fails_with(&[Fault::LostAtBegin]).is_some() {
            return Err(StoreError::Lost("planned".into()));
        }
        self.open = Some(OpenTransaction::default());
        let mut shared = self.tables.lock().expect("not poisoned");
        shared.bases.push(basis);
        let loaded = shared.tables.load(keys);
        Ok(match basis {
            Basis::Read => loaded,
            Basis::Expected => Loaded {
                accounts: loaded.accounts,
                ..Loaded::default()
            },
        })
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        match self.fails_with(&[Fault::FailedAtWrite, Fault::RacedAtWrite]) {
            Some(Fault::RacedAtWrite) => return Err(StoreError::Raced("planned".into())),
            Some(_) => return Err(StoreError::Failed("planned".into())),
            None => {}
        }
        let mut shared = self.tables.lock().expect("not poisoned");
        if let Some(earlier) = shared.on_its_way.take() {
            shared.carry_out(earlier);
            return Err(StoreError::Raced("a unique key, waited for".into()));
        }
        let events = || plan.entries.iter().map(|planned| &planned.entry.event_id);
        if events().any(|event| Some(event) == shared.poisoned.as_ref()) {
            return Err(StoreError::Refused("poisoned".into()));
        }
        if shared.fails_all
            || shared.is_stale
            || events().any(|event| shared.failing.contains(event.as_str()))
        {
            return Err(StoreError::Failed("planned".into()));
        }
        if shared
            .entries_max
            .is_some_and(|max| plan.entries.len() > max)
        {
            return Err(StoreError::TimedOut("planned".into()));
        }
        if plan
            .entries
            .iter()
            .any(|planned| shared.tables.knows(planned.entry))
        {
            return Err(StoreError::Raced("a unique key".into()));
        }
        let open = self.open.as_mut().expect("a transaction is open");
        open.events = events().map(ToString::to_string).collect();
        open.after = shared.tables.clone();
        open.after.write(plan);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let planned = [
            Fault::LostBeforeCommit,
            Fault::LostAfterCommit,
            Fault::LostWhileCommitting,
        ];
        let fault = self.fails_with(&planned);
        let open = self.open.take().expect("a transaction is open");
        let mut shared = self.tables.lock().expect("not poisoned");
        match fault {
            Some(Fault::LostBeforeCommit) => {}
            Some(Fault::LostWhileCommitting) => shared.on_its_way = Some(open),
            _ => shared.carry_out(open),
        }
        if fault.is_some() {
            Err(StoreError::Lost("planned".into()))
        } else {
            Ok(())
        }
    }

    fn bulk_beside(&self, singles: usize) -> usize {
        if self.keeps_singles_apart && singles > 0 {
            return 0;
        }
        bulk_beside(singles)
    }

    fn rollback(&mut self) {
        self.open = None;
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        let mut shared = self.tables.lock().expect("not poisoned");
        shared.log.push(vec!["user".into()]);
        Ok(PutUserOutcome::Stored {
            telegram_id: user.telegram_id.map(TelegramId::get),
        })
    }

    fn log_action(&mut self, _: &AdminAction) -> Result<(), StoreError> {
        Ok(())
    }

    fn try_out(&mut self, _: bool) -> Result<(), StoreError> {
        let shared = self.tables.lock().expect("not poisoned");
        if shared.fails_all || shared.is_stale {
            return Err(StoreError::Failed("planned".into()));
        }
        Ok(())
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        self.open = None;
        self.tables.lock().expect("not poisoned").is_stale = false;
        Ok(())
    }
}
