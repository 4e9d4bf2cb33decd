//! The processes that use one ledger: each renews a row, and so knows of all others. On PostgreSQL; an SQLite file has one
//! process.
//!
//! Times are the server's, so that clocks that differ mean nothing; how far this process's clock is from it is told, too.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Text};

use crate::ledger::connection::AnyConnection;
use crate::ledger::errors::StoreError;
use crate::ledger::reads::ReadError;
use crate::limits::NODE_GONE_MS;

/// Rows that are older are removed, in microseconds.
const KEPT_US: u64 = 24 * 3600 * 1_000_000;

/// A row that was not renewed for so long is of a process that is gone, in microseconds.
const GONE_US: u64 = NODE_GONE_MS * 1000;

/// The server's clock.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// A process, as it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnNode {
    /// Its name for people.
    pub node: String,
    /// Of this start of it: another start has another.
    pub boot: String,
    /// The program's version.
    pub build: String,
    /// Whether it tells others of its commits.
    pub has_bus: bool,
    /// Its open sessions.
    pub sessions: i64,
}

/// A process that was seen lately.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Node {
    /// Its name for people.
    #[diesel(sql_type = Text)]
    pub node: String,
    /// Of one start of it.
    #[diesel(sql_type = Text)]
    pub boot: String,
    /// The program's version.
    #[diesel(sql_type = Text)]
    pub build: String,
    /// Whether it tells others of its commits.
    #[diesel(sql_type = Bool)]
    pub has_bus: bool,
    /// Its open sessions, as it told last.
    #[diesel(sql_type = BigInt)]
    pub sessions: i64,
    /// Since when its row has been there and never old, in microseconds since the Unix epoch, by the server's clock.
    #[diesel(sql_type = BigInt)]
    pub started_at_us: i64,
    /// When it renewed its row, in microseconds since the Unix epoch, by the server's clock.
    #[diesel(sql_type = BigInt)]
    pub seen_at_us: i64,
}

/// What a renewal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    /// The others, those without a bus among them. Each was seen within `limits::NODE_GONE_MS`.
    pub others: Vec<Node>,
    /// Whether this process is the one that has been here longest: it does the work that only one has to do.
    pub is_first: bool,
    /// The server's clock, in microseconds since the Unix epoch.
    pub now_us: i64,
}

#[derive(QueryableByName)]
struct Renewed {
    #[diesel(sql_type = BigInt)]
    started_at_us: i64,
    #[diesel(sql_type = BigInt)]
    now_us: i64,
}

/// Renews the row of a process and finds the others.
pub(in crate::ledger) fn renew(
    connection: &mut AnyConnection,
    own: &OwnNode,
) -> Result<Nodes, ReadError> {
    let postgres = connection.postgres().map_err(ReadError::Database)?;
    let found = postgres.transaction(|connection| {
        // A row that is lost with the server is written again.
        connection.batch_execute("SET LOCAL synchronous_commit = off")?;
        let Renewed {
            started_at_us,
            now_us,
        } = sql_query(format!(
            "INSERT INTO nodes (boot, node, build, has_bus, sessions, started_at_us, seen_at_us) \
             VALUES ($1, $2, $3, $4, $5, {NOW}, {NOW}) ON CONFLICT (boot) DO UPDATE \
             SET has_bus = $4, sessions = $5, seen_at_us = {NOW}, \
             started_at_us = CASE WHEN {NOW} - nodes.seen_at_us > $6 THEN {NOW} ELSE nodes.started_at_us END \
             RETURNING started_at_us, seen_at_us AS now_us"
        ))
        .bind::<Text, _>(&own.boot)
        .bind::<Text, _>(&own.node)
        .bind::<Text, _>(&own.build)
        .bind::<Bool, _>(own.has_bus)
        .bind::<BigInt, _>(own.sessions)
        .bind::<BigInt, _>(GONE_US.cast_signed())
        .get_result(connection)?;
        let all: Vec<Node> = sql_query(
            "SELECT node, boot, build, has_bus, sessions, started_at_us, seen_at_us FROM nodes WHERE boot <> $1 ORDER BY node, boot",
        )
        .bind::<Text, _>(&own.boot)
        .load(connection)?;
        let age_us = |node: &Node| now_us.saturating_sub(node.seen_at_us).max(0).unsigned_abs();
        if all.iter().any(|node| age_us(node) > KEPT_US) {
            sql_query("DELETE FROM nodes WHERE seen_at_us < $1")
                .bind::<BigInt, _>(now_us.saturating_sub_unsigned(KEPT_US))
                .execute(connection)?;
        }
        let is_there = |node: &Node| age_us(node) <= GONE_US;
        let others: Vec<Node> = all.into_iter().filter(is_there).collect();
        let own = (started_at_us, &own.boot);
        let is_first = others
            .iter()
            .all(|node| own < (node.started_at_us, &node.boot));
        Ok::<_, diesel::result::Error>(Nodes {
            others,
            is_first,
            now_us,
        })
    });
    Ok(found?)
}

/// Removes the row of a process that ends, once every other one has seen it. Otherwise (it is younger, or has been old) it stays
/// until it is old, as after a crash: its process may have committed what no other one has heard of, and they see by the
/// row alone that it was there.
pub(in crate::ledger) fn leave(
    connection: &mut AnyConnection,
    boot: &str,
) -> Result<(), ReadError> {
    let postgres = connection.postgres().map_err(ReadError::Database)?;
    let was_seen = format!("{NOW} - started_at_us > $2 AND {NOW} - seen_at_us <= $2 AND boot = $1");
    let removed = sql_query(format!("DELETE FROM nodes WHERE {was_seen}"))
        .bind::<Text, _>(boot)
        .bind::<BigInt, _>(GONE_US.cast_signed())
        .execute(postgres);
    let left = removed.and_then(|removed| {
        if removed > 0 {
            return Ok(removed);
        }
        sql_query(format!(
            "UPDATE nodes SET seen_at_us = {NOW} WHERE boot = $1"
        ))
        .bind::<Text, _>(boot)
        .execute(postgres)
    });
    left.map_err(|error| ReadError::Database(StoreError::from(error)))?;
    Ok(())
}
