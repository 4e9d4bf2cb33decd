//! Seeds a long ledger quickly: writes the service's rows without durability and creates the
//! indexes at the end. `verify` checks the result.

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use rusqlite::{Connection, params};

use super::raw_sqlite::{bind, columns};
use super::rows::Posted;
use crate::Result;
use crate::client::clock::now_us;
use crate::client::entries::{Books, Entry};
use crate::system::database::Database;

/// The amount of every entry, in the smallest unit.
const MINOR: i64 = 1_000;

/// Prefix that keeps these event ids apart from those of workloads.
const SEED: u64 = 0x0070_6173_7400;

/// Gives users 1 to n the same number of entries, in rounds over all users, as ticks would.
pub fn fill(database: &Database, users: usize, each: usize) -> Result<Books> {
    database.migrate()?;
    let mut connection = Connection::open(database.file()?)?;
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144;",
    )?;
    let indexes = indexes(&connection)?;
    let transaction = connection.transaction()?;
    for (name, _) in &indexes {
        transaction.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    let (mut books, now_us) = (Books::default(), now_us());
    {
        let columns = columns(&transaction)?;
        let places = vec!["?"; columns.len()].join(", ");
        let insert = format!(
            "INSERT INTO entries ({}) VALUES ({places})",
            columns.join(", ")
        );
        let mut statement = transaction.prepare(&insert)?;
        let (mut rng, mut event) = (StdRng::seed_from_u64(SEED), [0; 20]);
        for version in 1..=i64::try_from(each)? {
            for user in 1..=i64::try_from(users)? {
                rng.fill_bytes(&mut event);
                let entry = Entry {
                    event_id: hex::encode(event),
                    user,
                    minor: MINOR,
                };
                let balance_after = version * MINOR;
                let posted = Posted {
                    entry: &entry,
                    kind: "reward",
                    version,
                    balance_after,
                    committed_at_us: now_us,
                };
                bind(&mut statement, &columns, &posted)?;
                statement.raw_execute()?;
            }
        }
        let version = i64::try_from(each)?;
        let mut account = transaction
            .prepare("INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES (?1, ?2, ?3, ?3)")?;
        let mut balance = transaction
            .prepare("INSERT INTO balances (user_id, currency, amount) VALUES (?1, 'TON', ?2)")?;
        for user in 1..=i64::try_from(users)? {
            account.execute(params![user, version, now_us])?;
            balance.execute(params![user, version * MINOR])?;
            books.set(user, version, version * MINOR);
        }
    }
    for (_, sql) in &indexes {
        transaction.execute_batch(sql)?;
    }
    transaction.commit()?;
    connection.execute_batch("PRAGMA journal_mode = WAL;")?;
    Ok(books)
}

/// Name and statement of each index of the entries that is not part of the table itself.
fn indexes(connection: &Connection) -> Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'entries' AND sql IS NOT NULL",
    )?;
    let all = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(all.collect::<rusqlite::Result<_>>()?)
}
