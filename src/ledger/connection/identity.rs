//! Which ledger a connection leads to: the epoch that it stores, and the PostgreSQL server behind it.
//!
//! Looked at on every connection that is made and every few seconds. A server that was promoted from a copy has another
//! timeline, and one that was filled from a dump another system identifier; either may lack commits that were told to
//! clients. So a new epoch begins, whether or not something is missing: it is stored first, and then everything starts over.

use std::sync::{Arc, Mutex};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::ledger::errors::StoreError;
use crate::ledger::schema::ledger_info;
use crate::ledger::{Loss, Standing, migrations};

use super::AnyConnection;

/// One statement looks and writes: a copy that lags behind can't answer it.
const RENEW: &str = "UPDATE ledger_info SET epoch = $1 WHERE id = 1 AND epoch = $2 \
     AND COALESCE((SELECT version FROM accounts WHERE user_id = $3), 0) < $4";

/// Every user is below it.
const ANY_USER: (i64, i64) = (0, i64::MAX);

/// The ledger as it was last seen by any connection.
#[derive(Debug)]
pub(in crate::ledger) struct Identity {
    standing: Arc<Standing>,
    /// On PostgreSQL.
    server: Mutex<Server>,
}

/// A PostgreSQL server. What can't be asked for is not known, and not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Server {
    system_identifier: Option<String>,
    timeline: Option<String>,
}

/// A text, or nothing.
#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Nullable<Text>)]
    answer: Option<String>,
}

impl Identity {
    /// Looks at the ledger for the first time.
    pub(in crate::ledger) fn first(
        standing: Arc<Standing>,
        connection: &mut AnyConnection,
    ) -> Self {
        let server = Server::ask(connection);
        if matches!(connection, AnyConnection::Postgres(_)) && server.is_unknown() {
            log::info!(
                "this database role may not ask for PostgreSQL's system identifier and timeline: a failover to a copy \
                 that lacks commits is noticed by the versions of users only"
            );
        }
        Self {
            standing,
            server: Mutex::new(server),
        }
    }

    /// Looks whether it is the ledger that it was. If not, an epoch has begun when this returns.
    pub(in crate::ledger) fn look(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let stored = stored_epoch(connection)?;
        let server = Server::ask(connection);
        let known = self.known().clone();
        let current = self.standing.epoch().name;
        if *stored != *current {
            self.known().learn(server);
            let why = "it was given a new epoch by `migrate --new-epoch` or by another process";
            self.standing.has_epoch(&stored, why);
        } else if let Some(why) = known.difference(&server) {
            renew(connection, &current, ANY_USER)?;
            let stored = stored_epoch(connection)?;
            self.known().learn(server);
            self.standing.has_epoch(&stored, &why);
        } else if known != server {
            self.known().learn(server);
        }
        Ok(())
    }

    /// Has a new epoch begun when this returns, if the ledger has gone back.
    pub(in crate::ledger) fn went_back(
        &self,
        connection: &mut AnyConnection,
        loss: &Loss,
    ) -> Result<(), StoreError> {
        let Loss {
            user_id,
            known,
            is_proven,
            epoch,
        } = loss;
        let below = (user_id.get(), *known);
        renew(
            connection,
            &epoch.name,
            if *is_proven { ANY_USER } else { below },
        )?;
        let stored = stored_epoch(connection)?;
        let why = format!("user {user_id} was at version {known}, which the ledger lacks");
        self.standing.has_epoch(&stored, &why);
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Server {
    /// Each by itself: one that this role may not ask for does not hide the other.
    fn ask(connection: &mut AnyConnection) -> Self {
        let AnyConnection::Postgres(postgres) = connection else {
            return Self::default();
        };
        let mut ask = |sql: &str| {
            let answer: Option<Answer> = sql_query(sql).get_result(postgres).ok();
            answer.and_then(|row| row.answer)
        };
        Self {
            system_identifier: ask(
                "SELECT system_identifier::text AS answer FROM pg_control_system()",
            ),
            // A copy that still follows another server has no timeline of its own.
            timeline: ask("SELECT CASE WHEN pg_is_in_recovery() THEN NULL \
                 ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS answer"),
        }
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// What differs, of what is known of both.
    fn difference(&self, now: &Self) -> Option<String> {
        let pairs = [
            (
                "system identifier",
                &self.system_identifier,
                &now.system_identifier,
            ),
            ("timeline", &self.timeline, &now.timeline),
        ];
        pairs
            .into_iter()
            .find_map(|(name, before, now)| match (before, now) {
                (Some(before), Some(now)) if before != now => {
                    Some(format!("the server's {name} was {before} and is {now}"))
                }
                _ => None,
            })
    }

    /// Takes what is known now.
    fn learn(&mut self, now: Self) {
        self.system_identifier = now.system_identifier.or(self.system_identifier.take());
        self.timeline = now.timeline.or(self.timeline.take());
    }
}

fn stored_epoch(connection: &mut AnyConnection) -> Result<String, StoreError> {
    let epoch = ledger_info::table.select(ledger_info::epoch);
    Ok(epoch.get_result(connection)?)
}

/// Stores a new epoch in place of `current`, if that is still stored and the user is below the version. Durable when it
/// returns.
fn renew(
    connection: &mut AnyConnection,
    current: &str,
    (user, version): (i64, i64),
) -> Result<(), StoreError> {
    sql_query(RENEW)
        .bind::<Text, _>(migrations::fresh_epoch())
        .bind::<Text, _>(current)
        .bind::<BigInt, _>(user)
        .bind::<BigInt, _>(version)
        .execute(connection)?;
    Ok(())
}
