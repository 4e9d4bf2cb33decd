//! Nodes that start together on PostgreSQL migrate one after the other, and each has the tables for itself meanwhile.

use std::thread::sleep;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text};
use log::info;

use super::progress::{Progress, Step};
use crate::clock::{Clock, Mono};
use crate::ledger::LedgerError;
use crate::ledger::connection::AnyConnection;
use crate::ledger::reads::ReadError;
use crate::limits::{
    MIGRATION_LOG_S, MIGRATION_POLL_MS, MIGRATION_TABLES_PAUSE_MS, MIGRATION_TABLES_WAIT_MS,
};

/// Nodes that start together take turns with this lock: any number, the same for all nodes.
const ADVISORY_LOCK: i64 = 0x0062_616c_616e_6365;

/// The session that has the lock.
const ITS_HOLDER: &str = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND (classid::bigint << 32) | objid::bigint = $1";

/// The transactions that have locked one of these tables, and whether only as VACUUM does. Of sessions of other roles more
/// can't be seen.
const USERS: &str = "SELECT virtualtransaction AS transaction, MIN(pid) AS pid, \
     BOOL_AND(mode = 'ShareUpdateExclusiveLock') AS is_vacuum FROM pg_locks \
     WHERE granted AND pid IS DISTINCT FROM pg_backend_pid() \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
     AND relation IN (SELECT to_regclass(name)::oid FROM UNNEST($1) AS name) GROUP BY virtualtransaction";

/// An attempt to lock that fails after so many milliseconds has waited for a lock.
const WAITED_MS: u64 = 100;

/// What one attempt has come to.
enum Turn<T> {
    Done(T),
    /// Why not yet.
    Later(Wait),
}

/// What an attempt waits for, and the server's process that has it, where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Another node migrates.
    ForANode(Option<i32>),
    /// Other sessions use the tables.
    ForTables(Option<i32>),
}

/// Does something in a transaction when no other node does, and nobody uses the tables that it asks for: waits for its turn, and
/// says so. `tables` looks again each time: another node may have done it.
///
/// All tables are locked by one statement, since two sessions that each have one and want the other's would wait for ever. What
/// comes later waits behind that statement: so it is not tried while a transaction has one of the tables at two attempts in a
/// row, and not for long.
pub(super) fn in_turn<T>(
    connection: &mut AnyConnection,
    progress: &Progress,
    seconds_max: u64,
    mut tables: impl FnMut(&mut AnyConnection) -> Result<Vec<&'static str>, LedgerError>,
    mut act: impl FnMut(&mut AnyConnection) -> Result<T, ReadError>,
) -> Result<T, LedgerError> {
    let clock = Clock::system();
    let mut waiting = Waiting::since(clock.mono());
    let mut seen = Seen::default();
    loop {
        let turn = connection.transaction(|connection| {
            let postgres = connection.postgres().map_err(ReadError::Database)?;
            let locked: Locked = sql_query("SELECT pg_try_advisory_xact_lock($1) AS is_locked")
                .bind::<BigInt, _>(ADVISORY_LOCK)
                .get_result(postgres)?;
            if !locked.is_locked {
                return Ok(Turn::Later(Wait::ForANode(holder(postgres)?)));
            }
            let tables = tables(connection)?;
            let postgres = connection.postgres().map_err(ReadError::Database)?;
            if let Some(wait) = take(postgres, &tables, clock, &mut seen)? {
                return Ok(Turn::Later(wait));
            }
            progress.at(Step::Migrating);
            act(connection).map(Turn::Done)
        });
        let wait = match turn.map_err(LedgerError::from)? {
            Turn::Done(done) => return Ok(done),
            Turn::Later(wait) => wait,
        };
        progress.at(wait.step());
        waiting.tell(wait, clock.mono(), seconds_max)?;
        sleep(wait.pause());
    }
}

impl Wait {
    const fn step(&self) -> Step {
        match self {
            Self::ForANode(_) => Step::Waiting,
            Self::ForTables(_) => Step::WaitingForTables,
        }
    }

    const fn pause(&self) -> Duration {
        Duration::from_millis(match self {
            Self::ForANode(_) => MIGRATION_POLL_MS,
            Self::ForTables(_) => MIGRATION_TABLES_PAUSE_MS,
        })
    }
}

/// The wait for a turn, whatever is in its way: two nodes that both wait for a table are in each other's way now and then.
struct Waiting {
    since: Mono,
    said: Option<Mono>,
}

impl Waiting {
    const fn since(since: Mono) -> Self {
        Self { since, said: None }
    }

    /// Says from time to time who holds what is waited for, and is an error when that takes too long.
    fn tell(&mut self, wait: Wait, now: Mono, seconds_max: u64) -> Result<(), LedgerError> {
        let waited_s = now.us_since(self.since) / 1_000_000;
        let is_too_long = waited_s >= seconds_max;
        let is_said = |said: Mono| now < said.plus_us(MIGRATION_LOG_S * 1_000_000);
        if !is_too_long && self.said.is_some_and(is_said) {
            return Ok(());
        }
        let (holder, what, until) = match wait {
            Wait::ForANode(pid) => (pid, "the lock of migrations", "another node's migration"),
            Wait::ForTables(pid) => (
                pid,
                "tables of the ledger in a transaction",
                "other sessions' transactions",
            ),
        };
        let holder = holder.map_or_else(
            || "a session".into(),
            |pid| format!("the server's process {pid}"),
        );
        if is_too_long {
            return Err(LedgerError::Unavailable(format!(
                "waited {waited_s} s for a turn to migrate: {holder} holds {what}; does it hang?"
            )));
        }
        info!("waits for {until}: {holder} holds {what} ({waited_s} s)");
        self.said = Some(now);
        Ok(())
    }
}

/// What was seen at the last attempt.
#[derive(Default)]
struct Seen {
    /// The transactions that had one of the tables, once it was looked.
    users: Option<Vec<String>>,
    /// Transactions of VACUUM alone, which kept locking from being done. The server ends an automatic one that is in the way of a
    /// lock, but not every one.
    outlived: Vec<String>,
}

/// Takes tables for the rest of the transaction, in which statements may then take as long as they take; or tells why not yet.
fn take(
    postgres: &mut PgConnection,
    tables: &[&str],
    clock: Clock,
    seen: &mut Seen,
) -> QueryResult<Option<Wait>> {
    if tables.is_empty() {
        return Ok(None);
    }
    let users = users(postgres, tables)?;
    let before = seen
        .users
        .replace(users.iter().map(|user| user.transaction.clone()).collect());
    let is_in_the_way = |user: &&User| match &before {
        _ if user.is_vacuum => seen.outlived.contains(&user.transaction),
        None => true,
        Some(before) => before.contains(&user.transaction),
    };
    if let Some(user) = users.iter().find(is_in_the_way) {
        return Ok(Some(Wait::ForTables(user.pid)));
    }
    let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "));
    let mut took_ms = 0;
    let locked = postgres.transaction(|postgres| {
        postgres.batch_execute(&format!(
            "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = {MIGRATION_TABLES_WAIT_MS}"
        ))?;
        let begun = clock.mono();
        let locked = postgres.batch_execute(&lock);
        took_ms = clock.mono().us_since(begun) / 1000;
        locked
    });
    match locked {
        Ok(()) => {
            postgres.batch_execute("SET LOCAL statement_timeout = 0")?;
            Ok(None)
        }
        // Errors have no codes here, and messages may be in any language. But one that has waited did so for a lock, whether
        // its time was over or it was in a circle.
        Err(error) => {
            let users = self::users(postgres, tables)?;
            let has_waited = took_ms >= MIGRATION_TABLES_WAIT_MS / 2
                || took_ms >= WAITED_MS && !users.is_empty();
            if !has_waited {
                return Err(error);
            }
            if users.iter().all(|user| user.is_vacuum) {
                let outlived = users.iter().map(|user| user.transaction.clone());
                seen.outlived = outlived.collect();
            }
            Ok(Some(Wait::ForTables(
                users.first().and_then(|user| user.pid),
            )))
        }
    }
}

fn users(postgres: &mut PgConnection, tables: &[&str]) -> QueryResult<Vec<User>> {
    sql_query(USERS)
        .bind::<Array<Text>, _>(tables)
        .load(postgres)
}

/// The session that has the lock of migrations.
fn holder(postgres: &mut PgConnection) -> QueryResult<Option<i32>> {
    let holders: Vec<Holder> = sql_query(ITS_HOLDER)
        .bind::<BigInt, _>(ADVISORY_LOCK)
        .load(postgres)?;
    Ok(holders.first().map(|holder| holder.pid))
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    is_locked: bool,
}

#[derive(QueryableByName)]
struct Holder {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// A transaction that has one of the tables.
#[derive(QueryableByName)]
struct User {
    #[diesel(sql_type = Text)]
    transaction: String,
    /// Of a prepared transaction there is none.
    #[diesel(sql_type = Nullable<Integer>)]
    pid: Option<i32>,
    #[diesel(sql_type = Bool)]
    is_vacuum: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_in_its_time_though_what_is_in_the_way_changes() {
        let mut waiting = Waiting::since(Mono::default());
        let mut waits = [Wait::ForTables(Some(7)), Wait::ForANode(None)]
            .into_iter()
            .cycle();
        let mut tell = |second: u64| {
            let wait = waits.next().expect("endless");
            waiting.tell(wait, Mono::from_us(second * 1_000_000), 9)
        };
        for second in 0..9 {
            tell(second).expect("it may wait");
        }
        let error = tell(9).expect_err("too long").to_string();
        let expected = "waited 9 s for a turn to migrate: a session holds the lock of migrations; does it hang?";
        assert!(error.contains(expected), "{error}");
    }
}
