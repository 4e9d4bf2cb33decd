//! The state file: how far each account is handled, when it was up to date, and what could not be matched. SQLite, written
//! with `synchronous=FULL`.
//!
//! One `watch` at a time runs on a file (`<file>.lock`). `watch unmatched` and `watch assign` open it beside that.

mod file;
mod lock;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::prelude::*;
use diesel::sqlite::Sqlite;

use crate::domain::{TonAddress, TxHash, UserId};
use crate::watcher::order::Place;
use crate::watcher::transaction::TransactionId;
use crate::watcher::verdict::Arrival;

pub use lock::StateLock;

diesel::table! {
    places (account) {
        account -> Text,
        lt -> BigInt,
        hash -> Nullable<Binary>,
    }
}

diesel::table! {
    up_to_date (account) {
        account -> Text,
        at_s -> BigInt,
    }
}

diesel::table! {
    unmatched (hash) {
        hash -> Binary,
        account -> Text,
        lt -> BigInt,
        at_s -> BigInt,
        currency -> Text,
        decimals -> Integer,
        units -> Text,
        sender -> Nullable<Text>,
        comment -> Nullable<Text>,
        reason -> Text,
        seen_at_s -> BigInt,
        assigned_user -> Nullable<BigInt>,
    }
}

/// Why the state file can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("watcher.state_file {path}: {why}")]
pub struct StateError {
    pub(super) path: String,
    pub(super) why: String,
}

/// Value that no user was credited with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The transaction.
    pub id: TransactionId,
    /// The watched account, as it is called in the state file.
    pub account: String,
    /// When it happened, in Unix seconds.
    pub at_s: i64,
    /// The code of the currency, and how many decimals it had when the amount was seen: another configuration makes no
    /// other amount of it.
    pub currency: (String, u8),
    /// How much, from where, with what comment.
    pub arrival: Arrival,
    /// Why nobody was credited: of [`crate::watcher::verdict::Unsure`], or the service's code.
    pub reason: String,
    /// When the watcher saw it, in Unix seconds.
    pub seen_at_s: i64,
    /// The user that a person assigned it to.
    pub assigned_user: Option<UserId>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = unmatched, check_for_backend(Sqlite))]
struct Row {
    hash: Vec<u8>,
    account: String,
    lt: i64,
    at_s: i64,
    currency: String,
    decimals: i32,
    units: String,
    sender: Option<String>,
    comment: Option<String>,
    reason: String,
    seen_at_s: i64,
    assigned_user: Option<i64>,
}

/// The state file. Every call waits for the disk.
#[derive(Clone)]
pub struct State {
    path: PathBuf,
    connection: Arc<Mutex<SqliteConnection>>,
}

impl State {
    /// Opens the file; `create` makes it where it does not exist.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path, create: bool) -> Result<Self, StateError> {
        Self::of(path, file::open(path, create))
    }

    /// A state that ends with the process.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn in_memory() -> Result<Self, StateError> {
        Self::of(Path::new(":memory:"), file::open_in_memory())
    }

    fn of(path: &Path, opened: Result<SqliteConnection, String>) -> Result<Self, StateError> {
        let connection = opened.map_err(|why| StateError {
            path: path.display().to_string(),
            why,
        })?;
        Ok(Self {
            path: path.to_owned(),
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, StateError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut connection).map_err(|error| StateError {
            path: self.path.display().to_string(),
            why: error.to_string(),
        })
    }

    /// How far an account is handled; `None` for one that is new.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn place(&self, account: &str) -> Result<Option<Place>, StateError> {
        let found: Option<(i64, Option<Vec<u8>>)> = self.with(|connection| {
            places::table
                .find(account)
                .select((places::lt, places::hash))
                .first(connection)
                .optional()
        })?;
        Ok(found.map(|(lt, hash)| {
            let lt = lt.unsigned_abs();
            match hash.as_deref().and_then(TxHash::from_slice) {
                Some(hash) => Place::After(TransactionId { lt, hash }),
                None => Place::From(lt),
            }
        }))
    }

    /// Keeps an account's new place and what could not be matched before it, both or nothing. A transaction that is
    /// known as unmatched stays as it is.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn advance(
        &self,
        account: &str,
        place: Place,
        found: &[Unmatched],
    ) -> Result<(), StateError> {
        let rows: Vec<Row> = found.iter().map(Row::from).collect();
        let (lt, hash) = match place {
            Place::From(lt) => (lt, None),
            Place::After(id) => (id.lt, Some(id.hash.as_bytes().to_vec())),
        };
        let lt = i64::try_from(lt).unwrap_or(i64::MAX);
        self.with(|connection| {
            connection.immediate_transaction(|connection| {
                for row in rows {
                    diesel::insert_into(unmatched::table)
                        .values(row)
                        .on_conflict_do_nothing()
                        .execute(connection)?;
                }
                let values = (
                    places::account.eq(account),
                    places::lt.eq(lt),
                    places::hash.eq(hash),
                );
                diesel::replace_into(places::table)
                    .values(values)
                    .execute(connection)?;
                Ok(())
            })
        })
    }

    /// When an account was last known to be up to date, in Unix seconds. One that never was counts from the first time that
    /// this was asked, which is `now_s`.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn up_to_date_s(&self, account: &str, now_s: i64) -> Result<i64, StateError> {
        self.with(|connection| {
            connection.immediate_transaction(|connection| {
                diesel::insert_into(up_to_date::table)
                    .values((up_to_date::account.eq(account), up_to_date::at_s.eq(now_s)))
                    .on_conflict_do_nothing()
                    .execute(connection)?;
                up_to_date::table
                    .find(account)
                    .select(up_to_date::at_s)
                    .first(connection)
            })
        })
    }

    /// Keeps that an account is up to date.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn keep_up_to_date(&self, account: &str, now_s: i64) -> Result<(), StateError> {
        self.with(|connection| {
            diesel::replace_into(up_to_date::table)
                .values((up_to_date::account.eq(account), up_to_date::at_s.eq(now_s)))
                .execute(connection)
        })?;
        Ok(())
    }

    /// All that is not assigned, oldest first.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn unmatched(&self) -> Result<Vec<Unmatched>, StateError> {
        let rows: Vec<Row> = self.with(|connection| {
            unmatched::table
                .filter(unmatched::assigned_user.is_null())
                .order((unmatched::at_s, unmatched::lt))
                .select(Row::as_select())
                .load(connection)
        })?;
        rows.into_iter().map(|row| self.read(row)).collect()
    }

    /// How many are not assigned, and when the oldest of them was seen, in Unix seconds.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn waiting(&self) -> Result<(i64, Option<i64>), StateError> {
        self.with(|connection| {
            unmatched::table
                .filter(unmatched::assigned_user.is_null())
                .select((
                    diesel::dsl::count_star(),
                    diesel::dsl::min(unmatched::seen_at_s),
                ))
                .first(connection)
        })
    }

    /// One that could not be matched, assigned or not.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn find(&self, hash: TxHash) -> Result<Option<Unmatched>, StateError> {
        let row = self.with(|connection| {
            unmatched::table
                .find(hash.as_bytes().to_vec())
                .select(Row::as_select())
                .first(connection)
                .optional()
        })?;
        row.map(|row| self.read(row)).transpose()
    }

    /// Keeps that it was credited to a user.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn assigned(&self, hash: TxHash, user_id: UserId) -> Result<(), StateError> {
        self.with(|connection| {
            diesel::update(unmatched::table.find(hash.as_bytes().to_vec()))
                .set(unmatched::assigned_user.eq(user_id.get()))
                .execute(connection)
        })?;
        Ok(())
    }

    fn read(&self, row: Row) -> Result<Unmatched, StateError> {
        row.read().ok_or_else(|| StateError {
            path: self.path.display().to_string(),
            why: "a row of unmatched can't be read".into(),
        })
    }
}

impl From<&Unmatched> for Row {
    fn from(one: &Unmatched) -> Self {
        Self {
            hash: one.id.hash.as_bytes().to_vec(),
            account: one.account.clone(),
            lt: i64::try_from(one.id.lt).unwrap_or(i64::MAX),
            at_s: one.at_s,
            currency: one.currency.0.clone(),
            decimals: one.currency.1.into(),
            units: one.arrival.units.to_string(),
            sender: one.arrival.sender.map(|sender| sender.to_string()),
            comment: one.arrival.comment.clone(),
            reason: one.reason.clone(),
            seen_at_s: one.seen_at_s,
            assigned_user: one.assigned_user.map(UserId::get),
        }
    }
}

impl Row {
    fn read(self) -> Option<Unmatched> {
        let sender = self.sender.map(|sender| TonAddress::parse(&sender));
        let user = self.assigned_user.map(UserId::new);
        Some(Unmatched {
            id: TransactionId {
                lt: self.lt.unsigned_abs(),
                hash: TxHash::from_slice(&self.hash)?,
            },
            account: self.account,
            at_s: self.at_s,
            currency: (self.currency, u8::try_from(self.decimals).ok()?),
            arrival: Arrival {
                units: self.units.parse().ok()?,
                sender: sender.transpose().ok()?,
                comment: self.comment,
            },
            reason: self.reason,
            seen_at_s: self.seen_at_s,
            assigned_user: user.transpose().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;

    use super::*;

    fn one(fill: u8) -> Unmatched {
        Unmatched {
            id: TransactionId {
                lt: fill.into(),
                hash: TxHash::from_slice(&[fill; 32]).expect("32 bytes"),
            },
            account: "a".into(),
            at_s: 1_000,
            currency: ("TON".into(), 9),
            arrival: Arrival {
                units: u128::MAX,
                sender: TonAddress::parse(&format!("0:{}", "07".repeat(32))).ok(),
                comment: Some("к'ому".into()),
            },
            reason: "no_comment".into(),
            seen_at_s: 2_000,
            assigned_user: None,
        }
    }

    #[test]
    fn a_place_and_what_is_unmatched_are_kept_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state ?#%.db");
        assert!(State::open(&path, false).is_err(), "it does not exist");
        let state = State::open(&path, true).expect("made");
        assert_eq!(state.place("a").expect("read"), None);
        state.advance("a", Place::From(5), &[]).expect("kept");
        assert_eq!(state.place("a").expect("read"), Some(Place::From(5)));
        let place = Place::After(one(9).id);
        state.advance("a", place, &[one(8), one(9)]).expect("kept");
        let user = UserId::parse("184").expect("an id");
        state.assigned(one(9).id.hash, user).expect("kept");
        // Read again after a crash: nothing is there twice, and what a person did stays.
        state.advance("a", place, &[one(8), one(9)]).expect("kept");
        drop(state);
        let state = State::open(&path, false).expect("opened");
        assert_eq!(state.place("a").expect("read"), Some(place));
        assert_eq!(state.unmatched().expect("read"), [one(8)]);
        assert_eq!(state.waiting().expect("read"), (1, Some(2_000)));
        let found = state.find(one(9).id.hash).expect("read").expect("there");
        assert_eq!(found.assigned_user, Some(user));
        assert_eq!(state.find(one(7).id.hash).expect("read"), None);
    }

    #[test]
    fn when_an_account_was_up_to_date_is_known_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        for (now_s, expected) in [(100, 100), (150, 100), (90, 100)] {
            let state = State::open(&path, true).expect("made");
            assert_eq!(state.up_to_date_s("a", now_s), Ok(expected));
        }
        let state = State::open(&path, true).expect("made");
        state.keep_up_to_date("a", 170).expect("kept");
        assert_eq!(state.up_to_date_s("a", 200), Ok(170));
        assert_eq!(state.up_to_date_s("b", 200), Ok(200));
    }

    #[test]
    fn a_file_of_the_first_version_is_brought_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let place = Place::After(one(9).id);
        let state = State::open(&path, true).expect("made");
        state.advance("a", place, &[one(7)]).expect("kept");
        let back = "DROP TABLE up_to_date; PRAGMA user_version = 1";
        state
            .with(|connection| connection.batch_execute(back))
            .expect("set");
        drop(state);
        let state = State::open(&path, false).expect("brought up");
        assert_eq!(state.place("a").expect("read"), Some(place));
        assert_eq!(state.unmatched().expect("read"), [one(7)]);
        assert_eq!(state.up_to_date_s("a", 200), Ok(200));
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let state = State::open(&path, true).expect("made");
        state
            .with(|connection| connection.batch_execute("PRAGMA user_version = 7"))
            .expect("set");
        let refused = State::open(&path, true).map(drop).expect_err("refused");
        assert!(refused.to_string().contains("version 7"), "{refused}");
    }
}
