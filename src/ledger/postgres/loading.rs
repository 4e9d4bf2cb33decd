//! Reads what a transaction is decided on.

use diesel::prelude::*;

use crate::domain::{Account, Amount, UserId};
use crate::ledger::batch::{Keys, Loaded};
use crate::ledger::errors::{StoreError, unfit};
use crate::ledger::rows::{RecordedRow, currency, user_id};
use crate::ledger::schema::{accounts, balances, entries};

use super::PostgresStore;

impl PostgresStore {
    /// Locks accounts, in the order of user ids, and then reads what they have.
    pub(super) fn lock_accounts(
        &mut self,
        ids: &[UserId],
        loaded: &mut Loaded,
    ) -> Result<(), StoreError> {
        let users: Vec<i64> = ids.iter().map(|user| user.get()).collect();
        let connection = self.link.transaction()?.postgres()?;
        // In the plan, rows are sorted before they are locked.
        let versions: Vec<(i64, i64)> = accounts::table
            .filter(accounts::user_id.eq_any(&users))
            .order(accounts::user_id)
            .select((accounts::user_id, accounts::version))
            .for_update()
            .load(connection)?;
        // A statement of its own: one that has waited for a lock reads other tables as they were before.
        let held: Vec<(i64, String, i64)> = balances::table
            .filter(balances::user_id.eq_any(&users))
            .select((balances::user_id, balances::currency, balances::amount))
            .load(connection)?;
        self.unknown_accounts(ids, loaded);
        for (user, version) in versions {
            self.add_version(user, version, loaded)?;
        }
        for (user, code, minor) in held {
            self.add_balance(user, &code, minor, loaded)?;
        }
        Ok(())
    }

    /// Reads accounts without locking them: one statement, since a round trip costs more than the rows.
    pub(super) fn load_accounts(
        &mut self,
        ids: &[UserId],
        loaded: &mut Loaded,
    ) -> Result<(), StoreError> {
        let users: Vec<i64> = ids.iter().map(|user| user.get()).collect();
        let rows: Vec<(i64, i64, Option<String>, Option<i64>)> = accounts::table
            .left_join(balances::table.on(balances::user_id.eq(accounts::user_id)))
            .filter(accounts::user_id.eq_any(&users))
            .select((
                accounts::user_id,
                accounts::version,
                balances::currency.nullable(),
                balances::amount.nullable(),
            ))
            .load(self.link.transaction()?.postgres()?)?;
        self.unknown_accounts(ids, loaded);
        for (user, version, code, minor) in rows {
            self.add_version(user, version, loaded)?;
            if let (Some(code), Some(minor)) = (code, minor) {
                self.add_balance(user, &code, minor, loaded)?;
            }
        }
        Ok(())
    }

    fn unknown_accounts(&self, ids: &[UserId], loaded: &mut Loaded) {
        let unknown = Account::unknown(self.currencies.count());
        loaded.accounts = ids.iter().map(|user| (*user, unknown.clone())).collect();
    }

    fn add_version(&self, user: i64, version: i64, loaded: &mut Loaded) -> Result<(), StoreError> {
        if let Some(account) = loaded.accounts.get_mut(&user_id(user).map_err(unfit)?) {
            account.exists = true;
            account.version = version;
        }
        Ok(())
    }

    fn add_balance(
        &self,
        user: i64,
        code: &str,
        minor: i64,
        loaded: &mut Loaded,
    ) -> Result<(), StoreError> {
        let account = loaded.accounts.get_mut(&user_id(user).map_err(unfit)?);
        // Without an account nothing was ever posted: such a row is none of the service's.
        if let Some(account) = account.filter(|account| account.exists) {
            let currency = currency(&self.currencies, code).map_err(unfit)?;
            account.balances.set(currency, Amount::from_minor(minor));
        }
        Ok(())
    }

    pub(super) fn load_keys(
        &mut self,
        keys: &Keys<'_>,
        loaded: &mut Loaded,
    ) -> Result<(), StoreError> {
        let events: Vec<&str> = keys.events.iter().map(|event| event.as_str()).collect();
        let connection = self.link.transaction()?.postgres()?;
        let by_event: Vec<RecordedRow> = entries::table
            .filter(entries::event_id.eq_any(&events))
            .select(RecordedRow::as_select())
            .load(connection)?;
        let by_hash: Vec<RecordedRow> = if keys.hashes.is_empty() {
            Vec::new()
        } else {
            let hashes: Vec<&[u8]> = keys
                .hashes
                .iter()
                .map(|hash| hash.as_bytes().as_slice())
                .collect();
            entries::table
                .filter(entries::tx_hash.eq_any(hashes))
                .select(RecordedRow::as_select())
                .load(connection)?
        };
        let currencies = &self.currencies;
        for row in &by_event {
            // `Keys` has them sorted.
            if let Ok(place) = events.binary_search(&row.event_id.as_str()) {
                loaded.events.insert(
                    keys.events[place].clone(),
                    row.recorded(currencies).map_err(unfit)?,
                );
            }
        }
        for row in &by_hash {
            let recorded = row.recorded(currencies).map_err(unfit)?;
            if let Some(hash) = recorded.tx_hash {
                loaded.hashes.insert(hash, recorded);
            }
        }
        Ok(())
    }
}
