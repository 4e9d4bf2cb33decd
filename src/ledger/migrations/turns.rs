//! Nodes that start together on PostgreSQL migrate one after the other.

use std::thread::sleep;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Integer};
use log::info;

use super::progress::{Progress, Step};
use super::unavailable;
use crate::clock::Clock;
use crate::ledger::LedgerError;
use crate::ledger::connection::AnyConnection;
use crate::ledger::reads::ReadError;
use crate::limits::{MIGRATION_LOG_S, MIGRATION_POLL_MS};

/// Nodes that start together take turns with this lock: any number, the same for all nodes.
const ADVISORY_LOCK: i64 = 0x0062_616c_616e_6365;

/// Does something in a transaction when no other node does: waits for its turn, and says so.
pub(super) fn in_turn<T>(
    connection: &mut AnyConnection,
    progress: &Progress,
    seconds_max: u64,
    mut act: impl FnMut(&mut AnyConnection) -> Result<T, ReadError>,
) -> Result<T, LedgerError> {
    let clock = Clock::system();
    let mut said_s = None;
    loop {
        let done = connection.transaction(|connection| {
            let locked: Locked = sql_query("SELECT pg_try_advisory_xact_lock($1) AS is_locked")
                .bind::<BigInt, _>(ADVISORY_LOCK)
                .get_result(connection.postgres().map_err(ReadError::Database)?)?;
            if !locked.is_locked {
                return Ok(None);
            }
            progress.at(Step::Migrating);
            act(connection).map(Some)
        });
        if let Some(done) = done.map_err(LedgerError::from)? {
            return Ok(done);
        }
        progress.at(Step::Waiting);
        let waited_s = clock.mono().us() / 1_000_000;
        let is_silent = said_s.is_some_and(|said_s| waited_s < said_s + MIGRATION_LOG_S);
        if waited_s >= seconds_max {
            let holder = holder(connection)?;
            return Err(LedgerError::Unavailable(format!(
                "{holder} has held the lock of migrations for {waited_s} s; is it a node that hangs?"
            )));
        }
        if !is_silent {
            let holder = holder(connection)?;
            info!("waits for another node's migration: {holder} holds the lock ({waited_s} s)");
            said_s = Some(waited_s);
        }
        sleep(Duration::from_millis(MIGRATION_POLL_MS));
    }
}

/// The session that has the lock, for a person.
fn holder(connection: &mut AnyConnection) -> Result<String, LedgerError> {
    let holders: Vec<Holder> = sql_query(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND (classid::bigint << 32) | objid::bigint = $1",
    )
    .bind::<BigInt, _>(ADVISORY_LOCK)
    .load(connection.postgres().map_err(unavailable)?)
    .map_err(unavailable)?;
    Ok(holders.first().map_or_else(
        || "a session".into(),
        |holder| format!("the server's process {}", holder.pid),
    ))
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
