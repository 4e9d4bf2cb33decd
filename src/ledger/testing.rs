//! A store in memory whose steps fail as planned, for the tests of this part.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::domain::{
    Account, Amount, Currencies, EventId, Kind, NewEntry, Recorded, Source, TelegramId, UserId,
};

use super::admin_log::AdminAction;
use super::batch::{Keys, Loaded, Plan};
use super::store::{Basis, PutUser, PutUserOutcome, Store, StoreError};

/// What the next transaction runs into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is gone at `begin`.
    LostAtBegin,
    /// The database is busy at `write`.
    BusyAtWrite,
    /// Another transaction was faster at `write`.
    RacedAtWrite,
    /// COMMIT breaks, and was not carried out.
    LostBeforeCommit,
    /// COMMIT breaks, and was carried out.
    LostAfterCommit,
    /// COMMIT breaks while it is on its way: it is carried out only when the next transaction writes the same keys.
    LostWhileCommitting,
}

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub loaded: Loaded,
    pub faults: VecDeque<Fault>,
    /// The database refuses any transaction that writes this event.
    pub poisoned: Option<EventId>,
    pub commits: usize,
    /// On what each transaction was decided, in order.
    pub bases: Vec<Basis>,
    on_its_way: Option<OpenTransaction>,
    /// The event ids of each commit, in order; of one that made a user, `user`.
    pub log: Vec<Vec<String>>,
}

/// A store over shared tables.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryStore {
    pub tables: Arc<Mutex<Tables>>,
    open: Option<OpenTransaction>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct OpenTransaction {
    entries: Vec<(EventId, Recorded)>,
    accounts: Vec<(UserId, Account)>,
}

pub(super) fn entry(user: i64, event: &str, minor: i64) -> NewEntry {
    NewEntry {
        event_id: EventId::parse(event).expect("event id"),
        user_id: UserId::new(user).expect("user id"),
        kind: if minor > 0 {
            Kind::Reward
        } else {
            Kind::Withdrawal
        },
        currency: Currencies::default().find("UNI").expect("a default"),
        amount: Amount::from_minor(minor),
        source: Source::from(Kind::Reward),
        tx_hash: None,
        details: None,
    }
}

impl Tables {
    fn carry_out(&mut self, transaction: OpenTransaction) {
        self.commits += 1;
        self.log.push(
            transaction
                .entries
                .iter()
                .map(|(event, _)| event.to_string())
                .collect(),
        );
        for (event, recorded) in transaction.entries {
            if let Some(hash) = recorded.tx_hash {
                assert!(
                    self.loaded.hashes.insert(hash, recorded).is_none(),
                    "a hash was written twice"
                );
            }
            assert!(
                self.loaded.events.insert(event, recorded).is_none(),
                "an event was written twice"
            );
        }
        self.loaded.accounts.extend(transaction.accounts);
    }
}

impl MemoryStore {
    fn fails_with(&self, faults: &[Fault]) -> Option<Fault> {
        let mut tables = self.tables.lock().expect("not poisoned");
        let is_next = tables
            .faults
            .front()
            .is_some_and(|fault| faults.contains(fault));
        is_next.then(|| tables.faults.pop_front()).flatten()
    }
}

impl Store for MemoryStore {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        assert!(self.open.is_none(), "the last transaction was not ended");
        if self.fails_with(&[Fault::LostAtBegin]).is_some() {
            return Err(StoreError::Lost("planned".into()));
        }
        self.open = Some(OpenTransaction::default());
        let mut tables = self.tables.lock().expect("not poisoned");
        tables.bases.push(basis);
        let mut loaded = Loaded::default();
        for user in &keys.users {
            let account = tables
                .loaded
                .accounts
                .get(user)
                .cloned()
                .unwrap_or_else(|| Account::unknown(2));
            loaded.accounts.insert(*user, account);
        }
        if basis == Basis::Expected {
            return Ok(loaded);
        }
        for event in &keys.events {
            if let Some(found) = tables.loaded.events.get(*event) {
                loaded.events.insert((*event).clone(), *found);
            }
        }
        for hash in &keys.hashes {
            if let Some(found) = tables.loaded.hashes.get(hash) {
                loaded.hashes.insert(*hash, *found);
            }
        }
        Ok(loaded)
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        match self.fails_with(&[Fault::BusyAtWrite, Fault::RacedAtWrite]) {
            Some(Fault::RacedAtWrite) => return Err(StoreError::Raced("planned".into())),
            Some(_) => return Err(StoreError::Busy("planned".into())),
            None => {}
        }
        let mut tables = self.tables.lock().expect("not poisoned");
        if let Some(earlier) = tables.on_its_way.take() {
            tables.carry_out(earlier);
            return Err(StoreError::Raced("a unique key, waited for".into()));
        }
        if plan
            .entries
            .iter()
            .any(|planned| Some(&planned.entry.event_id) == tables.poisoned.as_ref())
        {
            return Err(StoreError::Refused("poisoned".into()));
        }
        let is_known = |entry: &NewEntry| {
            tables.loaded.events.contains_key(&entry.event_id)
                || entry
                    .key_hash()
                    .is_some_and(|hash| tables.loaded.hashes.contains_key(&hash))
        };
        if plan.entries.iter().any(|planned| is_known(planned.entry)) {
            return Err(StoreError::Raced("a unique key".into()));
        }
        let open = self.open.as_mut().expect("a transaction is open");
        open.entries = plan
            .entries
            .iter()
            .map(|planned| {
                let entry = planned.entry;
                let recorded = Recorded::of(entry, planned.version, plan.committed_at_us);
                (entry.event_id.clone(), recorded)
            })
            .collect();
        open.accounts = plan
            .accounts
            .iter()
            .map(|of| {
                (
                    of.user_id,
                    Account {
                        exists: true,
                        ..of.account.clone()
                    },
                )
            })
            .collect();
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
        let mut tables = self.tables.lock().expect("not poisoned");
        match fault {
            Some(Fault::LostBeforeCommit) => {}
            Some(Fault::LostWhileCommitting) => tables.on_its_way = Some(open),
            _ => tables.carry_out(open),
        }
        if fault.is_some() {
            Err(StoreError::Lost("planned".into()))
        } else {
            Ok(())
        }
    }

    fn rollback(&mut self) {
        self.open = None;
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        self.tables
            .lock()
            .expect("not poisoned")
            .log
            .push(vec!["user".into()]);
        Ok(PutUserOutcome::Stored {
            telegram_id: user.telegram_id.map(TelegramId::get),
        })
    }

    fn log_action(&mut self, _: &AdminAction) -> Result<(), StoreError> {
        Ok(())
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        self.open = None;
        Ok(())
    }
}
