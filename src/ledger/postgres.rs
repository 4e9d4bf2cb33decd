//! Writing to PostgreSQL: a few set-based statements per transaction (arrays with UNNEST), row locks in user order,
//! `synchronous_commit=on`.
//!
//! Bounded: a statement by `database.timeout_ms`; a wait for a lock by half of `database.lock_timeout_ms`, so that the other
//! half is left for finding out whose it is; and a transaction that stands still, because our side of the connection has
//! vanished, is ended by the server, so that its locks do not outlive it for long.

mod arrays;

use std::collections::HashMap;

use self::arrays::Write;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Text};

use crate::domain::{Account, Amount, Balances, Currencies, UserId};
use crate::limits::{LOCK_BRIEF_MS, POSTGRES_BULK_BESIDE_SINGLES_MAX, REMEMBERED_ACCOUNTS_MAX};

use super::LedgerError;
use super::admin_log::{self, AdminAction};
use super::batch::{Keys, Loaded, Plan, PlannedAccount};
use super::connection::AnyConnection;
use super::link::Link;
use super::rows::{NewConflictRow, RecordedRow, currency, user_id};
use super::schema::{accounts, balances, conflicts, entries};
use super::store::{Basis, Patience, Store, StoreError, StoreOptions, refused};
use super::users::{self, PutUser, PutUserOutcome};

/// The users that somebody else holds, without waiting for any of them.
const FIND_LOCKED: &str = "WITH free AS MATERIALIZED \
     (SELECT user_id FROM accounts WHERE user_id = ANY($1) FOR UPDATE SKIP LOCKED) \
     SELECT user_id FROM accounts WHERE user_id = ANY($1) AND user_id NOT IN (SELECT user_id FROM free)";

/// Rows are looked up by their keys. Left to itself the planner prefers to scan tables that are still short, and keeps such
/// a plan for long after they have grown.
pub(super) const BY_INDEX: &str =
    "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off;";

/// How long a transaction of ours may stand still between two statements, in milliseconds. Deciding takes a few.
const STANDSTILL_MS: u64 = 1000;

/// The longest that what was sent may stay unacknowledged, in milliseconds; then the peer is gone.
const UNACKNOWLEDGED_MS_MAX: u64 = 2000;

/// A write connection to PostgreSQL.
pub(super) struct PostgresStore {
    link: Link,
    currencies: Currencies,
    brief_ms: u64,
    patience: Patience,
    /// Accounts as the last commits have left them. Others may have moved them since.
    remembered: HashMap<UserId, Account>,
    /// What the open transaction leaves, if it commits.
    written: Vec<(UserId, Account)>,
}

/// The answer of `SHOW lc_messages`.
#[derive(QueryableByName)]
struct Language {
    #[diesel(sql_type = Text)]
    lc_messages: String,
}

/// A row of [`FIND_LOCKED`].
#[derive(QueryableByName)]
struct LockedRow {
    #[diesel(sql_type = BigInt)]
    user_id: i64,
}

/// Connects with the settings every connection of ours has: no wait without a bound, commits on disk.
pub(super) fn connect(url: &str, timeout_ms: u64) -> Result<PgConnection, diesel::ConnectionError> {
    let joint = if url.contains('?') { '&' } else { '?' };
    let connect_s = timeout_ms.div_ceil(1000).max(2);
    let unacknowledged_ms = timeout_ms.min(UNACKNOWLEDGED_MS_MAX);
    let bounded = format!(
        "{url}{joint}connect_timeout={connect_s}&tcp_user_timeout={unacknowledged_ms}&keepalives_idle=2\
         &keepalives_interval=1&keepalives_count=2&application_name=balance-coordinator"
    );
    let mut connection = PgConnection::establish(&bounded)?;
    connection
        .batch_execute(&format!(
            "SET synchronous_commit = on; SET statement_timeout = {timeout_ms};"
        ))
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// Refuses a server whose messages are not in English: what can be done about an error is told by its message (Diesel does
/// not give its code), and in another language a lock that has to be waited for would look like a refusal.
pub(super) fn check_language(connection: &mut PgConnection) -> Result<(), LedgerError> {
    let Language { lc_messages } = sql_query("SHOW lc_messages")
        .get_result(connection)
        .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    if is_english(&lc_messages) {
        return Ok(());
    }
    Err(LedgerError::Unfit(format!(
        "the server's messages have to be in English, and its lc_messages is {lc_messages:?}; have its administrator say \
         ALTER DATABASE … SET lc_messages = 'C'"
    )))
}

/// By the name of a locale, such as `C`, `en_US.UTF-8` or `English_United States.1252`.
fn is_english(locale: &str) -> bool {
    let language = locale
        .split(['_', '.', '@', '-'])
        .next()
        .unwrap_or_default();
    matches!(language, "" | "C" | "POSIX" | "en" | "English")
}

impl PostgresStore {
    pub(super) fn new(url: String, options: StoreOptions) -> Self {
        let StoreOptions {
            currencies,
            timeout_ms,
            lock_timeout_ms,
        } = options;
        let lock_timeout_ms = lock_timeout_ms.min(timeout_ms);
        let link = Link::new(move || {
            let mut connection = connect(&url, timeout_ms)?;
            let bounds = format!(
                "{BY_INDEX} SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {STANDSTILL_MS};",
                lock_timeout_ms.div_ceil(2)
            );
            connection
                .batch_execute(&bounds)
                .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok(AnyConnection::Postgres(connection))
        });
        let brief_ms = (lock_timeout_ms / 64).clamp(1, LOCK_BRIEF_MS);
        let (remembered, written) = (HashMap::new(), Vec::new());
        Self {
            link,
            currencies,
            brief_ms,
            patience: Patience::Usual,
            remembered,
            written,
        }
    }

    fn begin_sql(&self, patience: Patience) -> String {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
        match patience {
            Patience::Usual => BEGIN.into(),
            Patience::Brief => format!("{BEGIN}; SET LOCAL lock_timeout = {}", self.brief_ms),
        }
    }

    /// Ends the transaction and finds out whose lock it has waited for.
    fn locked(&mut self, users: Vec<i64>, reason: String) -> StoreError {
        self.rollback();
        // Not known: it may be another lock, or have been given back meanwhile.
        let users = self.locked_users(users).unwrap_or_default();
        StoreError::Locked { users, reason }
    }

    /// Which users somebody else holds, asked in a transaction of its own.
    fn locked_users(&mut self, users: Vec<i64>) -> Result<Vec<UserId>, StoreError> {
        self.link.begin(&self.begin_sql(Patience::Brief))?;
        let query = sql_query(FIND_LOCKED).bind::<Array<BigInt>, _>(users);
        let rows: Vec<LockedRow> = query.load(self.link.transaction()?.postgres()?)?;
        rows.into_iter()
            .map(|row| user_id(row.user_id).map_err(refused))
            .collect()
    }

    /// Those that are remembered, and the others as they are now.
    fn expect_accounts(&mut self, keys: &Keys<'_>, loaded: &mut Loaded) -> Result<(), StoreError> {
        let mut others = Vec::new();
        for user in &keys.users {
            match self.remembered.get(user) {
                Some(account) => {
                    loaded.accounts.insert(*user, account.clone());
                }
                None => others.push(*user),
            }
        }
        if others.is_empty() {
            Ok(())
        } else {
            self.load_accounts(&others, false, loaded)
        }
    }

    /// In the order of user ids, as they are given. Without locks the balances may be newer than the versions; what is
    /// written by a version that is over is refused.
    fn load_accounts(
        &mut self,
        ids: &[UserId],
        locked: bool,
        loaded: &mut Loaded,
    ) -> Result<(), StoreError> {
        let users: Vec<i64> = ids.iter().map(|user| user.get()).collect();
        let connection = self.link.transaction()?.postgres()?;
        let rows = accounts::table
            .filter(accounts::user_id.eq_any(&users))
            .order(accounts::user_id)
            .select((accounts::user_id, accounts::version));
        // The sort is below the lock in the plan, so rows are locked in the order of user ids.
        let versions: Vec<(i64, i64)> = if locked {
            rows.for_update().load(connection)?
        } else {
            rows.load(connection)?
        };
        let rows: Vec<(i64, String, i64)> = balances::table
            .filter(balances::user_id.eq_any(&users))
            .select((balances::user_id, balances::currency, balances::amount))
            .load(connection)?;
        let currencies = &self.currencies;
        loaded.accounts.reserve(ids.len());
        // Both are in the order of user ids.
        let mut versions = versions.into_iter().peekable();
        for user in ids {
            let account = match versions.next_if(|(id, _)| *id == user.get()) {
                Some((_, version)) => Account {
                    exists: true,
                    version,
                    balances: Balances::zero(currencies.count()),
                },
                None => Account::unknown(currencies.count()),
            };
            loaded.accounts.insert(*user, account);
        }
        for (id, code, minor) in rows {
            let currency = currency(currencies, &code).map_err(refused)?;
            if let Some(account) = loaded.accounts.get_mut(&user_id(id).map_err(refused)?) {
                account.balances.set(currency, Amount::from_minor(minor));
            }
        }
        Ok(())
    }

    fn load_keys(&mut self, keys: &Keys<'_>, loaded: &mut Loaded) -> Result<(), StoreError> {
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
            // They are in the order of their texts.
            if let Ok(place) = events.binary_search(&row.event_id.as_str()) {
                loaded.events.insert(
                    keys.events[place].clone(),
                    row.recorded(currencies).map_err(refused)?,
                );
            }
        }
        for row in &by_hash {
            let recorded = row.recorded(currencies).map_err(refused)?;
            if let Some(hash) = recorded.tx_hash {
                loaded.hashes.insert(hash, recorded);
            }
        }
        Ok(())
    }

    fn write_rows(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        let Self {
            link, currencies, ..
        } = self;
        let connection = link.transaction()?.postgres()?;
        if !plan.entries.is_empty() {
            let moved: i64 = Write::of(plan, currencies).get_result(connection)?;
            let expected = plan
                .accounts
                .iter()
                .filter(|planned| planned.account.exists)
                .count();
            if usize::try_from(moved) != Ok(expected) {
                return Err(StoreError::Raced(
                    "an account has been moved by somebody else".into(),
                ));
            }
        }
        for planned in &plan.conflicts {
            let row = NewConflictRow::new(planned, plan.committed_at_us, currencies);
            diesel::insert_into(conflicts::table)
                .values(&row)
                .on_conflict_do_nothing()
                .execute(connection)?;
        }
        Ok(())
    }
}

impl Store for PostgresStore {
    fn begin(&mut self, keys: &Keys<'_>, basis: Basis) -> Result<Loaded, StoreError> {
        self.link.begin(&self.begin_sql(self.patience))?;
        let mut loaded = Loaded::default();
        if basis == Basis::Expected {
            self.expect_accounts(keys, &mut loaded)?;
            return Ok(loaded);
        }
        match self.load_accounts(&keys.users, true, &mut loaded) {
            Err(StoreError::Locked { reason, .. }) => {
                return Err(self.locked(keys.users.iter().map(|user| user.get()).collect(), reason));
            }
            done => done?,
        }
        self.load_keys(keys, &mut loaded)?;
        if loaded.is_torn() {
            return Err(StoreError::Raced(
                "a user was made by somebody else meanwhile".into(),
            ));
        }
        Ok(loaded)
    }

    fn write(&mut self, plan: &Plan<'_>) -> Result<(), StoreError> {
        match self.write_rows(plan) {
            Err(StoreError::Locked { reason, .. }) => {
                return Err(self.locked(
                    plan.accounts
                        .iter()
                        .map(|planned| planned.user_id.get())
                        .collect(),
                    reason,
                ));
            }
            done => done?,
        }
        let after = |planned: &PlannedAccount| Account {
            exists: true,
            ..planned.account.clone()
        };
        self.written.extend(
            plan.accounts
                .iter()
                .map(|planned| (planned.user_id, after(planned))),
        );
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.link.commit()?;
        if self.remembered.len() + self.written.len() > REMEMBERED_ACCOUNTS_MAX {
            self.remembered.clear();
        }
        self.remembered.extend(self.written.drain(..));
        Ok(())
    }

    fn rollback(&mut self) {
        self.link.rollback();
        self.written.clear();
        // It may be what was expected that was wrong.
        self.remembered.clear();
    }

    fn put_user(&mut self, user: PutUser) -> Result<PutUserOutcome, StoreError> {
        // The entries of others wait behind it.
        let begin = self.begin_sql(Patience::Brief);
        self.link
            .in_transaction(&begin, |connection| Ok(users::put(connection, user)?))
    }

    fn log_action(&mut self, action: &AdminAction) -> Result<(), StoreError> {
        Ok(admin_log::add(self.link.connection()?, action)?)
    }

    fn bulk_beside(&self, _: usize) -> usize {
        POSTGRES_BULK_BESIDE_SINGLES_MAX
    }

    fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    fn reconnect(&mut self) -> Result<(), StoreError> {
        // Another server may answer, which has not all that this one had.
        self.remembered.clear();
        self.link.reconnect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_english_is_understood() {
        for english in [
            "C",
            "POSIX",
            "C.UTF-8",
            "en_US.UTF-8",
            "en-GB",
            "en",
            "English_United States.1252",
            "",
        ] {
            assert!(is_english(english), "{english}");
        }
        for other in [
            "de_DE.UTF-8",
            "ru_RU",
            "fr",
            "German_Germany.1252",
            "enm_XX",
        ] {
            assert!(!is_english(other), "{other}");
        }
    }

    #[test]
    fn another_connection_may_lead_to_another_history() {
        let options = StoreOptions {
            currencies: Currencies::default(),
            timeout_ms: 100,
            lock_timeout_ms: 100,
        };
        let mut store = PostgresStore::new("postgres://127.0.0.1:1/nobody".into(), options);
        store
            .remembered
            .insert(UserId::new(1).expect("an id"), Account::unknown(2));
        assert!(store.reconnect().is_err(), "nobody listens there");
        assert!(store.remembered.is_empty());
    }
}
