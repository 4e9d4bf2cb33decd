//! The same rows through a few set-based statements over arrays, as one would write them for this schema.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Binary, Text};
use hdrhistogram::Histogram;

use super::rows::{Posted, Value, value};
use crate::Result;
use crate::client::clock::now_us;
use crate::client::entries::{Books, Entry};
use crate::measure::{latencies, record};

const INSERT_ACCOUNTS: &str = "INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) \
     SELECT u, v, $3, $3 FROM UNNEST($1, $2) AS new (u, v)";
const UPDATE_ACCOUNTS: &str = "UPDATE accounts SET version = new.v, updated_at_us = $3 \
     FROM UNNEST($1, $2) AS new (u, v) WHERE accounts.user_id = new.u";
const UPSERT_BALANCES: &str = "INSERT INTO balances (user_id, currency, amount) \
     SELECT u, 'TON', a FROM UNNEST($1, $2) AS new (u, a) ON CONFLICT (user_id, currency) DO UPDATE SET amount = EXCLUDED.amount";

/// A connection that writes, with its users' balances in memory.
pub struct RawPostgres {
    connection: PgConnection,
    columns: Vec<String>,
    books: Books,
}

/// The values of one column.
enum Column {
    Ints(Vec<i64>),
    Texts(Vec<String>),
    Blobs(Vec<Vec<u8>>),
    Nulls,
}

impl RawPostgres {
    /// Connects to a migrated database.
    pub fn open(url: &str) -> Result<Self> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            name: String,
        }
        let mut connection = PgConnection::establish(url)?;
        connection.batch_execute("SET synchronous_commit = on")?;
        let query = "SELECT column_name::text AS name FROM information_schema.columns \
             WHERE table_name = 'entries' AND table_schema = 'public' AND column_name <> 'id' ORDER BY ordinal_position";
        let columns = sql_query(query)
            .load::<Row>(&mut connection)?
            .into_iter()
            .map(|row| row.name)
            .collect();
        Ok(Self {
            connection,
            columns,
            books: Books::default(),
        })
    }

    /// One transaction, committed when it returns.
    pub fn post(&mut self, kind: &str, entries: &[Entry]) -> Result<()> {
        let committed_at_us = now_us();
        let mut touched: Vec<(i64, bool)> = Vec::with_capacity(entries.len());
        let mut posted = Vec::with_capacity(entries.len());
        for entry in entries {
            let (version, minor) = self.books.user(entry.user);
            let (version, balance_after) = (version + 1, minor + entry.minor);
            posted.push(Posted {
                entry,
                kind,
                version,
                balance_after,
                committed_at_us,
            });
            self.books.set(entry.user, version, balance_after);
            touched.push((entry.user, version == 1));
        }
        touched.sort_unstable_by_key(|(user, is_new)| (*user, !is_new));
        touched.dedup_by_key(|(user, _)| *user);
        let columns: Vec<Column> = self
            .columns
            .iter()
            .map(|column| Column::of(column, &posted))
            .collect::<Result<_>>()?;
        let books = &self.books;
        let (new, old): (Vec<(i64, bool)>, _) = touched.iter().partition(|(_, is_new)| *is_new);
        let versions = |users: &[(i64, bool)]| {
            users
                .iter()
                .map(|(user, _)| books.user(*user).0)
                .collect::<Vec<_>>()
        };
        let ids = |users: &[(i64, bool)]| users.iter().map(|(user, _)| *user).collect::<Vec<_>>();
        let insert = insert(&self.columns, &columns);
        self.connection
            .transaction(|connection| -> QueryResult<()> {
                let mut query = sql_query(insert).into_boxed::<Pg>();
                for column in columns {
                    query = match column {
                        Column::Ints(all) => query.bind::<Array<BigInt>, _>(all),
                        Column::Texts(all) => query.bind::<Array<Text>, _>(all),
                        Column::Blobs(all) => query.bind::<Array<Binary>, _>(all),
                        Column::Nulls => query,
                    };
                }
                query.execute(connection)?;
                for (statement, users) in [(INSERT_ACCOUNTS, &new), (UPDATE_ACCOUNTS, &old)] {
                    if !users.is_empty() {
                        sql_query(statement)
                            .bind::<Array<BigInt>, _>(ids(users))
                            .bind::<Array<BigInt>, _>(versions(users))
                            .bind::<BigInt, _>(committed_at_us)
                            .execute(connection)?;
                    }
                }
                sql_query(UPSERT_BALANCES)
                    .bind::<Array<BigInt>, _>(ids(&touched))
                    .bind::<Array<BigInt>, _>(
                        touched
                            .iter()
                            .map(|(user, _)| books.user(*user).1)
                            .collect::<Vec<_>>(),
                    )
                    .execute(connection)?;
                Ok(())
            })?;
        Ok(())
    }
}

impl Column {
    fn of(name: &str, posted: &[Posted<'_>]) -> Result<Self> {
        let mut column = Self::Nulls;
        for one in posted {
            match (value(name, one)?, &mut column) {
                (Value::Int(int), Self::Ints(all)) => all.push(int),
                (Value::Text(text), Self::Texts(all)) => all.push(text.to_owned()),
                (Value::Blob(blob), Self::Blobs(all)) => all.push(blob),
                (Value::Null, _) => {}
                (Value::Int(int), _) => column = Self::Ints(vec![int]),
                (Value::Text(text), _) => column = Self::Texts(vec![text.to_owned()]),
                (Value::Blob(blob), _) => column = Self::Blobs(vec![blob]),
            }
        }
        Ok(column)
    }
}

fn insert(names: &[String], columns: &[Column]) -> String {
    let given: Vec<&String> = names
        .iter()
        .zip(columns)
        .filter(|(_, column)| !matches!(column, Column::Nulls))
        .map(|(name, _)| name)
        .collect();
    let mut names: Vec<&str> = given.iter().map(|name| name.as_str()).collect();
    let places: Vec<String> = (1..=given.len()).map(|place| format!("${place}")).collect();
    // Left out, it would say that the balances are not known.
    names.push("other_balances");
    format!(
        "INSERT INTO entries ({}) SELECT *, NULL FROM UNNEST({})",
        names.join(", "),
        places.join(", ")
    )
}

/// Posts everything in transactions of `batch` entries, each user always through the same of the writers.
pub fn run(
    writers: &mut [RawPostgres],
    kind: &str,
    entries: &[Entry],
    batch: usize,
) -> Result<Duration> {
    let count = i64::try_from(writers.len())?;
    let mine = |writer: usize| -> Vec<Entry> {
        let is_mine =
            |entry: &&Entry| usize::try_from(entry.user % count).is_ok_and(|index| index == writer);
        entries.iter().filter(is_mine).cloned().collect()
    };
    let parts: Vec<Vec<Entry>> = (0..writers.len()).map(mine).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let post = |writer: &mut RawPostgres, part: &[Entry]| -> Result<()> {
            part.chunks(batch)
                .try_for_each(|chunk| writer.post(kind, chunk))
        };
        let running: Vec<_> = writers
            .iter_mut()
            .zip(&parts)
            .map(|(writer, part)| scope.spawn(move || post(writer, part)))
            .collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a raw writer has panicked")?)
    })?;
    Ok(start.elapsed())
}

/// One entry for each transaction, and how long each took.
pub fn run_single(raw: &mut RawPostgres, kind: &str, entries: &[Entry]) -> Result<Histogram<u64>> {
    let mut histogram = latencies();
    for entry in entries {
        let start = Instant::now();
        raw.post(kind, std::slice::from_ref(entry))?;
        record(&mut histogram, start.elapsed());
    }
    Ok(histogram)
}
