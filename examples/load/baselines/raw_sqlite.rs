//! The same rows through bare prepared statements: the most that SQLite can do with this schema and this durability.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, params};

use super::rows::{Posted, Value, value};
use crate::Result;
use crate::client::clock::now_us;
use crate::client::entries::{Books, Entry};
use crate::measure::{latencies, record};

/// The service's own pragmas that make a commit durable.
const PRAGMAS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;";

const INSERT_ACCOUNT: &str =
    "INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES (?1, ?2, ?3, ?3)";
const UPDATE_ACCOUNT: &str =
    "UPDATE accounts SET version = ?2, updated_at_us = ?3 WHERE user_id = ?1";
const UPSERT_BALANCE: &str = "INSERT INTO balances (user_id, currency, amount) VALUES (?1, 'TON', ?2) \
     ON CONFLICT (user_id, currency) DO UPDATE SET amount = excluded.amount";

/// A connection that writes, with all balances in memory.
pub struct RawSqlite {
    connection: Connection,
    columns: Vec<String>,
    insert: String,
    /// What the ledger holds.
    pub books: Books,
}

impl RawSqlite {
    /// Opens a migrated file; sets `pragmas` after those for durability.
    pub fn open(file: &Path, pragmas: &str, books: Books) -> Result<Self> {
        let connection = Connection::open(file)?;
        connection.execute_batch(PRAGMAS)?;
        connection.execute_batch(pragmas)?;
        connection.set_prepared_statement_cache_capacity(16);
        let columns = columns(&connection)?;
        let places: Vec<String> = (1..=columns.len())
            .map(|place| format!("?{place}"))
            .collect();
        let insert = format!(
            "INSERT INTO entries ({}) VALUES ({})",
            columns.join(", "),
            places.join(", ")
        );
        Ok(Self {
            connection,
            columns,
            insert,
            books,
        })
    }

    /// One transaction, committed when it returns.
    pub fn post(&mut self, kind: &str, entries: &[Entry]) -> Result<()> {
        let Self {
            connection,
            columns,
            insert,
            books,
        } = self;
        let committed_at_us = now_us();
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut touched: Vec<(i64, bool)> = Vec::with_capacity(entries.len());
        let mut statement = connection.prepare_cached(insert)?;
        for entry in entries {
            let (version, minor) = books.user(entry.user);
            let (version, balance_after) = (version + 1, minor + entry.minor);
            let posted = Posted {
                entry,
                kind,
                version,
                balance_after,
                committed_at_us,
            };
            bind(&mut statement, columns, &posted)?;
            statement.raw_execute()?;
            books.set(entry.user, version, balance_after);
            touched.push((entry.user, version == 1));
        }
        drop(statement);
        // Ordered by user; a new user's account is inserted first.
        touched.sort_unstable_by_key(|(user, is_new)| (*user, !is_new));
        touched.dedup_by_key(|(user, _)| *user);
        let mut insert_account = connection.prepare_cached(INSERT_ACCOUNT)?;
        let mut update_account = connection.prepare_cached(UPDATE_ACCOUNT)?;
        let mut upsert_balance = connection.prepare_cached(UPSERT_BALANCE)?;
        for (user, is_new) in touched {
            let (version, minor) = books.user(user);
            let account = if is_new {
                &mut insert_account
            } else {
                &mut update_account
            };
            account.execute(params![user, version, committed_at_us])?;
            upsert_balance.execute(params![user, minor])?;
        }
        connection.execute_batch("COMMIT")?;
        Ok(())
    }
}

/// Posts everything in transactions of `batch` entries.
pub fn run(raw: &mut RawSqlite, kind: &str, entries: &[Entry], batch: usize) -> Result<Duration> {
    let start = Instant::now();
    for part in entries.chunks(batch) {
        raw.post(kind, part)?;
    }
    Ok(start.elapsed())
}

/// One entry for each transaction, and how long each took.
pub fn run_single(raw: &mut RawSqlite, kind: &str, entries: &[Entry]) -> Result<Histogram<u64>> {
    let mut histogram = latencies();
    for entry in entries {
        let start = Instant::now();
        raw.post(kind, std::slice::from_ref(entry))?;
        record(&mut histogram, start.elapsed());
    }
    Ok(histogram)
}

/// The columns of `entries` that a writer sets; the id is generated.
pub fn columns(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection
        .prepare("SELECT name FROM pragma_table_info('entries') WHERE name <> 'id' ORDER BY cid")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Binds the columns of one entry.
pub fn bind(statement: &mut Statement<'_>, columns: &[String], posted: &Posted<'_>) -> Result<()> {
    for (place, column) in columns.iter().enumerate() {
        let value = value(column, posted)?;
        statement.raw_bind_parameter(place + 1, ToSqlOutput::Borrowed(borrowed(&value)))?;
    }
    Ok(())
}

fn borrowed<'a>(value: &'a Value<'_>) -> ValueRef<'a> {
    match value {
        Value::Int(int) => ValueRef::Integer(*int),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
        Value::Null => ValueRef::Null,
    }
}
