//! The audit: of the whole ledger in one snapshot, page by page (`verify`), and of one user in a snapshot (the running
//! service's continuous audit).
//!
//! For every user and currency: balance = sum of its entries; version = number of entries; versions 1 … n without gap or
//! repeat; each entry's stored balance = the running sum; no balance below zero; event ids and transaction hashes unique.
//! It only reads, and holds one page of entries and one user's sums at a time.

mod one_user;

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::dsl::count_star;
use diesel::prelude::*;

use crate::config::{DatabaseUrl, Schema};
use crate::limits::AUDIT_PAGE_ENTRIES;

use super::LedgerError;
use super::connection::{Access, AnyConnection, Source};
use super::schema::{accounts, balances, entries};

pub use one_user::UserAudit;
pub(super) use one_user::{missing_indexes, next_user, user};

/// The longest a statement of the audit may take, in milliseconds.
const TIMEOUT_MS: u64 = 600_000;

/// What an audit saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Users with an account.
    pub users: u64,
    /// Entries read.
    pub entries: u64,
    /// Violations found.
    pub violations: u64,
}

/// Audits the whole ledger in one snapshot; a running service is not disturbed. `on_violation` gets one line each.
///
/// # Errors
/// [`LedgerError`] when the database can't be read; a violation is no error.
pub fn verify(
    url: &DatabaseUrl,
    schema: &Schema,
    on_violation: &mut dyn FnMut(String),
) -> Result<AuditReport, LedgerError> {
    if let DatabaseUrl::Sqlite(path) = url
        && !path.exists()
    {
        return Err(LedgerError::Unavailable(format!(
            "there is no file {}",
            path.display()
        )));
    }
    let source = Source::new(url, schema);
    super::migrations::check_applied(&source, TIMEOUT_MS, Access::Read)?;
    let mut connected = source.connect(TIMEOUT_MS, "", Access::Read)?;
    let unreadable = |error: diesel::result::Error| LedgerError::Unavailable(error.to_string());
    let mut audit = Audit {
        report: AuditReport::default(),
        on_violation,
    };
    in_snapshot(&mut connected.connection, |connection| {
        audit.run(connection)
    })
    .map_err(unreadable)?;
    Ok(audit.report)
}

/// Reads something in one snapshot. The pool drops a connection that could not end it.
fn in_snapshot<T>(
    connection: &mut AnyConnection,
    read: impl FnOnce(&mut AnyConnection) -> QueryResult<T>,
) -> QueryResult<T> {
    connection.transaction(|connection| {
        if let AnyConnection::Postgres(postgres) = connection {
            postgres.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")?;
        }
        read(connection)
    })
}

struct Audit<'a> {
    report: AuditReport,
    on_violation: &'a mut dyn FnMut(String),
}

/// user, version, currency, amount, balance after it
type Row = (i64, i64, String, i64, i64);

/// One user's entries so far.
#[derive(Debug, Default)]
struct Sums {
    user_id: i64,
    entries: i64,
    last_version: i64,
    by_currency: BTreeMap<String, i128>,
}

/// What the tables claim of the users between two ids.
struct Claims {
    versions: BTreeMap<i64, i64>,
    balances: BTreeMap<i64, BTreeMap<String, i64>>,
}

impl Audit<'_> {
    fn run(&mut self, connection: &mut AnyConnection) -> QueryResult<()> {
        let mut last_seen = (i64::MIN, i64::MIN);
        let mut sums = Sums::default();
        let mut settled_user = i64::MIN;
        loop {
            let page = next_page(connection, last_seen)?;
            let is_last = (page.len() as i64) < AUDIT_PAGE_ENTRIES;
            if let Some((user, version, ..)) = page.last() {
                last_seen = (*user, *version);
            }
            // The page's last user may go on in the next page.
            let settle_to = if is_last { i64::MAX } else { last_seen.0 - 1 };
            let mut claims = Claims::load(connection, settled_user, settle_to)?;
            for row in page {
                if row.0 != sums.user_id {
                    self.settle(std::mem::take(&mut sums), &mut claims);
                    sums.user_id = row.0;
                }
                self.add(&mut sums, row);
            }
            if is_last {
                self.settle(std::mem::take(&mut sums), &mut claims);
            }
            self.settle_without_entries(claims);
            settled_user = settle_to;
            if is_last {
                break;
            }
        }
        self.find_repeats(connection)
    }

    fn add(&mut self, sums: &mut Sums, (user, version, currency, amount, balance_after): Row) {
        self.report.entries += 1;
        sums.entries += 1;
        if version != sums.entries {
            self.violation(format!(
                "user {user}: entry {} has version {version}",
                sums.entries
            ));
        }
        let sum = sums.by_currency.entry(currency.clone()).or_default();
        *sum += i128::from(amount);
        let sum = *sum;
        if i128::from(balance_after) != sum {
            self.violation(format!(
                "user {user} {currency}: version {version} says {balance_after} minor units, the entries up to it sum to {sum}"
            ));
        }
        if sum < 0 {
            self.violation(format!(
                "user {user} {currency}: {sum} minor units, below zero, at version {version}"
            ));
        }
    }

    fn settle(&mut self, sums: Sums, claims: &mut Claims) {
        if sums.entries == 0 {
            return;
        }
        let user = sums.user_id;
        self.report.users += 1;
        match claims.versions.remove(&user) {
            Some(version) if version == sums.entries => {}
            Some(version) => {
                self.violation(format!(
                    "user {user}: version {version}, but there are {} entries",
                    sums.entries
                ));
            }
            None => self.violation(format!(
                "user {user}: {} entries, but no account",
                sums.entries
            )),
        }
        let mut stored = claims.balances.remove(&user).unwrap_or_default();
        for (currency, sum) in sums.by_currency {
            let balance = stored.remove(&currency).unwrap_or(0);
            if i128::from(balance) != sum {
                self.violation(format!(
                    "user {user} {currency}: balance {balance} minor units, but the entries sum to {sum}"
                ));
            }
            self.check_floor(user, &currency, balance);
        }
        self.unfounded(user, stored);
    }

    /// Accounts and balances that no entry stands behind.
    fn settle_without_entries(&mut self, claims: Claims) {
        for (user, version) in claims.versions {
            self.report.users += 1;
            if version != 0 {
                self.violation(format!(
                    "user {user}: version {version}, but there are no entries"
                ));
            }
        }
        for (user, stored) in claims.balances {
            self.unfounded(user, stored);
        }
    }

    fn unfounded(&mut self, user: i64, stored: BTreeMap<String, i64>) {
        for (currency, balance) in stored {
            if balance != 0 {
                self.violation(format!(
                    "user {user} {currency}: balance {balance} minor units without any entry"
                ));
            }
            self.check_floor(user, &currency, balance);
        }
    }

    fn check_floor(&mut self, user: i64, currency: &str, balance: i64) {
        if balance < 0 {
            self.violation(format!(
                "user {user} {currency}: balance {balance} minor units, below zero"
            ));
        }
    }

    fn find_repeats(&mut self, connection: &mut AnyConnection) -> QueryResult<()> {
        let events: Vec<(String, i64)> = entries::table
            .group_by(entries::event_id)
            .having(count_star().gt(1))
            .select((entries::event_id, count_star()))
            .load(connection)?;
        for (event, count) in events {
            self.violation(format!("event id {event}: {count} entries"));
        }
        let hashes: Vec<(Option<Vec<u8>>, i64)> = entries::table
            .filter(entries::tx_hash.is_not_null())
            .group_by(entries::tx_hash)
            .having(count_star().gt(1))
            .select((entries::tx_hash, count_star()))
            .load(connection)?;
        for (hash, count) in hashes {
            self.violation(format!(
                "transaction hash {}: {count} entries",
                hex::encode(hash.unwrap_or_default())
            ));
        }
        Ok(())
    }

    fn violation(&mut self, line: String) {
        self.report.violations += 1;
        (self.on_violation)(line);
    }
}

fn next_page(connection: &mut AnyConnection, (user, version): (i64, i64)) -> QueryResult<Vec<Row>> {
    let columns = (
        entries::user_id,
        entries::version,
        entries::currency,
        entries::amount,
        entries::balance_after,
    );
    entries::table
        .filter(
            entries::user_id
                .ge(user)
                .and(entries::user_id.gt(user).or(entries::version.gt(version))),
        )
        .order((entries::user_id, entries::version))
        .limit(AUDIT_PAGE_ENTRIES)
        .select(columns)
        .load(connection)
}

impl Claims {
    /// The users above `after` up to `to`.
    fn load(connection: &mut AnyConnection, after: i64, to: i64) -> QueryResult<Self> {
        let versions: Vec<(i64, i64)> = accounts::table
            .filter(accounts::user_id.gt(after).and(accounts::user_id.le(to)))
            .select((accounts::user_id, accounts::version))
            .load(connection)?;
        let rows: Vec<(i64, String, i64)> = balances::table
            .filter(balances::user_id.gt(after).and(balances::user_id.le(to)))
            .select((balances::user_id, balances::currency, balances::amount))
            .load(connection)?;
        let mut balances: BTreeMap<i64, BTreeMap<String, i64>> = BTreeMap::new();
        for (user, currency, amount) in rows {
            balances.entry(user).or_default().insert(currency, amount);
        }
        Ok(Self {
            versions: versions.into_iter().collect(),
            balances,
        })
    }
}
