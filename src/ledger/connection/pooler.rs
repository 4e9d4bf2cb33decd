//! Finds out whether a pooler gives one session of the server to several clients, as PgBouncer does in its transaction and
//! statement modes. A session's settings and prepared statements would then reach other clients, and theirs us.
//!
//! Evidence is the server's process that answers: two connections of ours that are both open never have the same one, and
//! one connection never has two. That is asked in transactions, which work in transaction mode, and changes nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::{DatabaseErrorKind, Error};

use super::connect_error::ConnectError;

/// Connections that are opened beside the first one, one after another. A pooler may consist of several processes with
/// sessions of their own, and only two connections to the same one show that it shares them.
const CONNECTIONS: usize = 4;

/// How often each of them is compared with the first one. Beside busy clients a comparison may show nothing.
const ROUNDS: usize = 3;

/// A process of a server. Process ids are used again, so its start belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Backend {
    pub pid: i32,
    /// As [`STARTED_US`] says.
    pub started_us: i64,
}

/// When the process of this session was started, in microseconds since the Unix epoch.
pub(super) const STARTED_US: &str = "COALESCE((SELECT (extract(epoch FROM backend_start) * 1000000)::bigint \
     FROM pg_stat_get_activity(pg_backend_pid())), 0)";

impl Backend {
    /// Whether a session has this process: a condition in SQL.
    fn is_here(self) -> String {
        let Self { pid, started_us } = self;
        format!("pg_backend_pid() = {pid} AND {STARTED_US} = {started_us}")
    }
}

/// The processes that our open connections lead to, and how many connections each has.
#[derive(Debug, Default)]
pub(super) struct Backends(Mutex<HashMap<Backend, usize>>);

/// The entry of one connection in [`Backends`], for as long as it lives.
#[derive(Debug)]
pub(in crate::ledger) struct InUse {
    backends: Arc<Backends>,
    backend: Backend,
    is_repeat: bool,
}

impl InUse {
    pub(super) fn add(backends: &Arc<Backends>, backend: Backend) -> Self {
        let mut all = backends.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(backend).or_default();
        *count += 1;
        Self {
            backends: backends.clone(),
            backend,
            is_repeat: *count > 1,
        }
    }

    /// Whether another connection had the same process. It may be one that is dead and not closed yet.
    pub(super) const fn is_repeat(&self) -> bool {
        self.is_repeat
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let backends = &self.backends.0;
        let mut all = backends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.backend) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.backend);
            }
        }
    }
}

/// Refuses a pooler that shares sessions. `connection` has met `known` before; `open` opens others.
pub(super) fn refuse_shared_sessions(
    connection: &mut PgConnection,
    known: Backend,
    open: impl Fn() -> Result<PgConnection, ConnectError>,
) -> Result<(), ConnectError> {
    for _ in 0..CONNECTIONS {
        let mut other = open()?;
        for _ in 0..ROUNDS {
            if meets_shared_session(connection, &mut other, known)? {
                return Err(ConnectError::Unfit(
                    "database.url leads to a pooler in transaction or statement mode, which shares one session among clients; \
                     use its session mode, or the server's own address"
                        .into(),
                ));
            }
        }
    }
    Ok(())
}

/// One comparison. A pooler gives a client the session that became free last, or the one that has been free for longest. So
/// without other clients the connections would keep each its own session if they just took turns.
fn meets_shared_session(
    connection: &mut PgConnection,
    other: &mut PgConnection,
    known: Backend,
) -> Result<bool, ConnectError> {
    let (is_here, is_elsewhere) = (known.is_here(), format!("NOT ({})", known.is_here()));
    // A pooler with a single session has none left once this transaction is open.
    if fails_where(other, "BEGIN; ", &is_here)? || fails_where(connection, "", &is_elsewhere)? {
        return Ok(true);
    }
    other
        .batch_execute("COMMIT")
        .map_err(ConnectError::of_query)?;
    Ok(fails_where(connection, "", &is_elsewhere)? || fails_where(connection, "", &is_elsewhere)?)
}

/// Whether a condition holds in the process that a connection meets now. One message and one answer; the error that stands
/// for "yes" is one that Diesel knows by its code.
fn fails_where(
    connection: &mut PgConnection,
    before: &str,
    condition: &str,
) -> Result<bool, ConnectError> {
    let asked = connection.batch_execute(&format!(
        "{before}DO $$ BEGIN IF {condition} THEN RAISE unique_violation; END IF; END $$"
    ));
    match asked {
        Ok(()) => Ok(false),
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(true),
        Err(error) => Err(ConnectError::of_first_statement(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_use_while_a_connection_to_it_lives() {
        let backends = Arc::new(Backends::default());
        let backend = |pid, started_us| Backend { pid, started_us };
        let first = InUse::add(&backends, backend(7, 1));
        assert!(!first.is_repeat());
        assert!(
            !InUse::add(&backends, backend(7, 2)).is_repeat(),
            "an id that is used again"
        );
        let second = InUse::add(&backends, backend(7, 1));
        assert!(second.is_repeat());
        drop(first);
        assert!(InUse::add(&backends, backend(7, 1)).is_repeat());
        drop(second);
        assert!(!InUse::add(&backends, backend(7, 1)).is_repeat());
        assert!(backends.0.lock().expect("free").is_empty());
    }
}
