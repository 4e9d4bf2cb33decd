//! The check of one user in one snapshot, for the running service, and the comparison with its cached balance.

use std::collections::BTreeMap;

use diesel::prelude::*;

use crate::domain::{Account, Currencies};
use crate::ledger::connection::AnyConnection;
use crate::ledger::reads::ReadError;
use crate::ledger::schema::{accounts, balances, entries};
use crate::limits::{AUDIT_LINES_MAX, AUDIT_PAGE_ENTRIES};

use super::pages::{Claims, next_page_of};
use super::{Audit, AuditReport, Sums, in_snapshot};

/// What was found of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserAudit {
    /// Entries read.
    pub entries: u64,
    /// Violations found.
    pub violations: u64,
    /// The first [`AUDIT_LINES_MAX`] of them.
    pub lines: Vec<String>,
}

/// The indexes that keep event ids, transaction hashes and versions from repeating, and what reversals leave.
const UNIQUE: [&str; 4] = [
    "entries_event_id",
    "entries_reverses",
    "entries_tx_hash",
    "entries_user_version",
];

/// The next user of any table after this id.
pub(in crate::ledger) fn next_user(
    connection: &mut AnyConnection,
    after: i64,
) -> Result<Option<i64>, ReadError> {
    use diesel::dsl::min;
    let account = accounts::table
        .filter(accounts::user_id.gt(after))
        .select(min(accounts::user_id));
    let balance = balances::table
        .filter(balances::user_id.gt(after))
        .select(min(balances::user_id));
    let entry = entries::table
        .filter(entries::user_id.gt(after))
        .select(min(entries::user_id));
    let found: [Option<i64>; 3] = [
        account.first(connection)?,
        balance.first(connection)?,
        entry.first(connection)?,
    ];
    Ok(found.into_iter().flatten().min())
}

/// Checks one user in one snapshot. That no event id and no hash is there twice is kept by indexes, see [`missing_indexes`].
pub(in crate::ledger) fn user(
    connection: &mut AnyConnection,
    user: i64,
    cached: Option<(&Account, &Currencies)>,
) -> Result<UserAudit, ReadError> {
    let mut lines = Vec::new();
    let mut on_violation = |line| {
        if lines.len() < AUDIT_LINES_MAX {
            lines.push(line);
        }
    };
    let mut audit = Audit::new(&mut on_violation);
    in_snapshot(connection, |connection| {
        audit.run_user(connection, user, cached)
    })?;
    let AuditReport {
        entries,
        violations,
        ..
    } = audit.report;
    Ok(UserAudit {
        entries,
        violations,
        lines,
    })
}

/// The unique indexes that are missing.
pub(in crate::ledger) fn missing_indexes(
    connection: &mut AnyConnection,
) -> Result<Vec<&'static str>, ReadError> {
    let query = match connection {
        AnyConnection::Postgres(_) => {
            "SELECT relname::text AS name FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid \
             WHERE indisunique AND indisvalid AND indrelid = 'entries'::regclass"
        }
        AnyConnection::Sqlite(_) => {
            "SELECT name FROM pragma_index_list('entries') WHERE \"unique\" = 1"
        }
    };
    let found: Vec<Named> = match connection {
        AnyConnection::Postgres(postgres) => diesel::sql_query(query).load(postgres)?,
        AnyConnection::Sqlite(sqlite) => diesel::sql_query(query).load(sqlite)?,
    };
    Ok(UNIQUE
        .into_iter()
        .filter(|index| !found.iter().any(|found| found.name == *index))
        .collect())
}

#[derive(Debug, QueryableByName)]
struct Named {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
}

impl Audit<'_> {
    /// One user alone; the caller has opened a snapshot. `cached` is what was in memory before.
    fn run_user(
        &mut self,
        connection: &mut AnyConnection,
        user: i64,
        cached: Option<(&Account, &Currencies)>,
    ) -> QueryResult<()> {
        let mut sums = Sums {
            user_id: user,
            ..Sums::default()
        };
        let (mut at_cached, mut last_seen) = (BTreeMap::new(), (i64::MIN, i64::MIN));
        self.load_codes(connection)?;
        self.load_by_hand(connection)?;
        loop {
            let page = next_page_of(connection, user, last_seen)?;
            let is_last = (page.len() as i64) < AUDIT_PAGE_ENTRIES;
            self.check_reversals(connection, &page)?;
            self.check_digests(connection, &page)?;
            for row in page {
                last_seen = (row.version, row.id);
                self.add(&mut sums, row);
                if cached.is_some_and(|(account, _)| account.version == sums.entries) {
                    at_cached.clone_from(&sums.by_currency);
                }
            }
            if is_last {
                break;
            }
        }
        let mut claims = self.load_claims(connection, user.saturating_sub(1), user)?;
        if let Some(cached) = cached {
            self.compare(user, cached, sums.entries, &at_cached, &claims);
        }
        self.settle(sums, &mut claims);
        self.settle_without_entries(claims);
        Ok(())
    }

    /// What was in memory against the ledger, which may have gone on since.
    fn compare(
        &mut self,
        user: i64,
        (cached, currencies): (&Account, &Currencies),
        entries: i64,
        at_cached: &BTreeMap<String, i128>,
        claims: &Claims,
    ) {
        let version = claims.versions.get(&user).copied().unwrap_or(0);
        if cached.version > version {
            let line = format!(
                "user {user}: memory has version {}, the ledger only {version}",
                cached.version
            );
            return self.violation(line);
        }
        let stored = claims.balances.get(&user);
        for (id, currency) in currencies.iter() {
            let (currency, in_memory) = (&currency.code, cached.balances.get(id).minor());
            let in_ledger = if cached.version == version && entries == version {
                stored
                    .and_then(|stored| stored.get(currency))
                    .copied()
                    .unwrap_or(0)
                    .into()
            } else {
                at_cached.get(currency).copied().unwrap_or(0)
            };
            if i128::from(in_memory) != in_ledger {
                self.violation(format!(
                    "user {user} {currency}: memory has {in_memory} minor units at version {}, the ledger {in_ledger}",
                    cached.version
                ));
            }
        }
    }
}
