//! What the ledger in memory has instead of a database.

use std::collections::HashMap;

use crate::domain::{
    Account, Amount, EventId, NewEntry, Recorded, Reversed, Reversible, Rules, TxHash, UserId,
};
use crate::ledger::MissedEntry;
use crate::ledger::batch::{self, Group, Keys, Loaded, Plan, Reversibles};
use crate::limits::MISSED_ENTRIES_MAX;

/// The states of a user that are kept.
const STATES_MAX: usize = 8;

/// Accounts, event ids and transaction hashes.
#[derive(Debug, Default, Clone)]
pub struct Tables {
    /// The latest states of each user, one for each version, in order.
    states: HashMap<UserId, Vec<Account>>,
    /// Every entry by its event id.
    pub events: HashMap<EventId, Recorded>,
    hashes: HashMap<TxHash, Recorded>,
    /// The entries of each user, one for each version, in order, where they are kept.
    entries: Option<HashMap<UserId, Vec<MissedEntry>>>,
    event_of: HashMap<TxHash, EventId>,
    /// How much is left of the entries that were reversed.
    left: HashMap<EventId, Amount>,
}

impl Tables {
    /// A user's state.
    pub fn account(&self, user: UserId) -> Account {
        self.account_before(user, 0)
    }

    /// A user's state so many versions ago.
    pub fn account_before(&self, user: UserId, versions: usize) -> Account {
        let states = self.states.get(&user).map_or(&[][..], Vec::as_slice);
        let index = states.len().checked_sub(1 + versions);
        index.map_or_else(|| Account::unknown(2), |index| states[index].clone())
    }

    /// From now on entries are kept, for readers that missed some.
    pub fn keep_entries(&mut self) {
        self.entries.get_or_insert_default();
    }

    /// The next entries behind a version of a user, as a reader that missed them sees them.
    pub fn missed(&self, user: UserId, version: i64) -> Vec<MissedEntry> {
        let kept = self.entries.as_ref();
        let all = kept.and_then(|entries| entries.get(&user));
        let all = all.map_or(&[][..], Vec::as_slice);
        let behind = all.iter().filter(|entry| entry.version > version);
        behind.take(MISSED_ENTRIES_MAX as usize).cloned().collect()
    }

    /// What they say about these keys.
    pub fn load(&self, keys: &Keys<'_>) -> Loaded {
        let account = |user: &UserId| (*user, self.account(*user));
        let event = |event: &&EventId| Some(((*event).clone(), self.events.get(*event)?.clone()));
        let hash = |hash: &TxHash| Some((*hash, self.hashes.get(hash)?.clone()));
        let mut reversibles = Reversibles::default();
        let named = keys
            .reversed
            .iter()
            .filter_map(|name| self.reversible(name));
        named.for_each(|reversible| reversibles.insert(reversible));
        Loaded {
            accounts: keys.users.iter().map(account).collect(),
            events: keys.events.iter().filter_map(event).collect(),
            hashes: keys.hashes.iter().filter_map(hash).collect(),
            reversibles,
        }
    }

    /// The entry that a reversal names.
    fn reversible(&self, name: &EventId) -> Option<Reversible> {
        let by_hash = || self.event_of.get(&TxHash::of_event_id(name)?);
        let event_id = self
            .events
            .get_key_value(name)
            .map(|(event_id, _)| event_id);
        let event_id = event_id.or_else(by_hash)?;
        let entry = self.events.get(event_id)?.clone();
        let whole = entry.amount.checked_abs()?;
        Some(Reversible {
            event_id: event_id.clone(),
            left: self.left.get(event_id).copied().unwrap_or(whole),
            entry,
        })
    }

    /// Decides postings; nothing is written.
    pub fn decide<'a>(&self, groups: &[Group<'a>], now_us: i64) -> Plan<'a> {
        let keys = Keys::of(groups);
        let rules = Rules { auto_create: true };
        batch::plan(groups, &keys, self.load(&keys), rules, now_us)
    }

    /// Whether one of the keys of an entry is there.
    pub fn knows(&self, entry: &NewEntry) -> bool {
        let is_known = |hash: &TxHash| self.hashes.contains_key(hash);
        self.events.contains_key(&entry.event_id) || entry.key_hash().as_ref().is_some_and(is_known)
    }

    /// Writes what was decided.
    pub fn write(&mut self, plan: &Plan<'_>) {
        for planned in &plan.entries {
            let (entry, version) = (planned.entry, planned.version);
            let recorded = planned.recorded(plan.committed_at_us);
            let event_id = entry.event_id.clone();
            if let Some(hash) = entry.key_hash() {
                self.hashes.insert(hash, recorded.clone());
                self.event_of.insert(hash, event_id.clone());
            }
            self.events.insert(event_id, recorded);
            if let Some(Reversed {
                event_id,
                left_after,
            }) = &planned.applied.reversed
            {
                self.left.insert(event_id.clone(), *left_after);
            }
            if let Some(entries) = &mut self.entries {
                entries.entry(entry.user_id).or_default().push(MissedEntry {
                    user_id: entry.user_id,
                    version,
                    kind: entry.kind,
                    source: entry.source.clone(),
                    event_id: entry.event_id.clone(),
                    currency: planned.applied.currency,
                    amount: planned.applied.amount,
                    balance_after: planned.balances.get(planned.applied.currency),
                    committed_at_us: plan.committed_at_us,
                });
            }
            let states = self.states.entry(entry.user_id).or_default();
            if states.len() == STATES_MAX {
                states.remove(0);
            }
            states.push(Account {
                exists: true,
                version,
                balances: planned.balances.clone(),
            });
        }
        for planned in &plan.accounts {
            let states = self.states.entry(planned.user_id).or_default();
            states.pop();
            states.push(Account {
                exists: true,
                ..planned.account.clone()
            });
        }
    }
}
