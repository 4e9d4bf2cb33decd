//! The audit: of the whole ledger in one snapshot, page by page (`verify`), and of one user in a snapshot (the running
//! service's continuous audit).
//!
//! For every user and currency: balance = sum of its entries; version = number of entries; versions 1 … n without gap or
//! repeat; each entry's stored balance = the running sum, and what it says of other currencies = their newest balances;
//! no balance below zero; event ids and transaction hashes unique;
//! on SQLite each event id has its digest;
//! all reversals of an entry together take back no more than it has;
//! and each user with entries has one account, each currency is one of the ledger's, each balance is there once.
//! It only reads, and holds one page of entries and one user's sums at a time. One fault is one line, or a few: what
//! follows from it in later entries is not told again.

mod digests;
mod one_user;
mod others;
mod pages;
mod reversals;

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::SimpleConnection;
use diesel::dsl::count_star;
use diesel::prelude::*;

use crate::config::{DatabaseUrl, Schema};
use crate::limits::AUDIT_PAGE_ENTRIES;

use super::LedgerError;
use super::connection::{Access, AnyConnection, Source};
use super::migrations::NEEDS_THIS_VERSION;
use super::schema::{currencies, entries};

use pages::{Claims, Row, next_page};

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
    let mut audit = Audit::new(on_violation);
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
    /// The codes that the ledger has.
    codes: BTreeSet<String>,
    /// Entries that were written by hand, by their ids, until the service completes them.
    by_hand: BTreeSet<i64>,
    on_violation: &'a mut dyn FnMut(String),
}

/// One user's entries so far.
#[derive(Debug, Default)]
struct Sums {
    user_id: i64,
    entries: i64,
    last_version: i64,
    by_currency: BTreeMap<String, i128>,
    /// By how much the last stored balance of a currency was off, where it was.
    off: BTreeMap<String, i128>,
    /// Whether an entry is missing, there twice, or off.
    is_faulty: bool,
    /// The last stored balance of each currency.
    newest: BTreeMap<String, i64>,
    /// By how much the last entry in another currency was off in what it says of one, where it was.
    others_off: BTreeMap<String, i128>,
    /// Whether the last entry said it in a malformed way.
    is_malformed: bool,
}

impl<'a> Audit<'a> {
    fn new(on_violation: &'a mut dyn FnMut(String)) -> Self {
        Self {
            report: AuditReport::default(),
            codes: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            on_violation,
        }
    }

    fn run(&mut self, connection: &mut AnyConnection) -> QueryResult<()> {
        self.load_codes(connection)?;
        self.load_by_hand(connection)?;
        let mut last_seen = (i64::MIN, i64::MIN, i64::MIN);
        let mut sums = Sums::default();
        let mut settled_user = i64::MIN;
        loop {
            let page = next_page(connection, last_seen)?;
            let is_last = (page.len() as i64) < AUDIT_PAGE_ENTRIES;
            if let Some(row) = page.last() {
                last_seen = (row.user_id, row.version, row.id);
            }
            // The page's last user may go on in the next page.
            let settle_to = if is_last { i64::MAX } else { last_seen.0 - 1 };
            let mut claims = self.load_claims(connection, settled_user, settle_to)?;
            self.check_reversals(connection, &page)?;
            for row in page {
                if row.user_id != sums.user_id {
                    self.settle(std::mem::take(&mut sums), &mut claims);
                    sums.user_id = row.user_id;
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

    fn load_codes(&mut self, connection: &mut AnyConnection) -> QueryResult<()> {
        let codes: Vec<String> = currencies::table
            .filter(currencies::code.ne(NEEDS_THIS_VERSION))
            .select(currencies::code)
            .load(connection)?;
        self.codes.extend(codes);
        Ok(())
    }

    fn load_claims(
        &mut self,
        connection: &mut AnyConnection,
        after: i64,
        to: i64,
    ) -> QueryResult<Claims> {
        let mut claims = Claims::load(connection, after, to)?;
        for repeat in std::mem::take(&mut claims.repeats) {
            self.violation(repeat);
        }
        Ok(claims)
    }

    fn add(&mut self, sums: &mut Sums, row: Row) {
        let Row {
            user_id: user,
            version,
            amount,
            balance_after,
            ref currency,
            ..
        } = row;
        self.report.entries += 1;
        sums.entries += 1;
        sums.is_faulty |= !self.check_version(user, sums.last_version, version);
        sums.last_version = version;
        let sum = sums.by_currency.entry(currency.clone()).or_default();
        let before = *sum;
        *sum += i128::from(amount);
        let sum = *sum;
        let off = i128::from(balance_after) - sum;
        if off != sums.off.get(currency).copied().unwrap_or(0) {
            if off != 0 {
                sums.is_faulty = true;
                self.violation(format!(
                    "user {user} {currency}: version {version} says {balance_after} minor units, the entries up to it sum to {sum}"
                ));
            }
            sums.off.insert(currency.clone(), off);
        }
        if sum < 0 && before >= 0 {
            self.violation(format!(
                "user {user} {currency}: {sum} minor units, below zero, at version {version}"
            ));
        }
        self.check_other_balances(sums, &row);
        sums.newest.insert(row.currency, balance_after);
    }

    /// Whether it is the one that follows.
    fn check_version(&mut self, user: i64, last: i64, version: i64) -> bool {
        let next = last.saturating_add(1);
        if version == next {
            return true;
        }
        let line = match version {
            ..1 => format!("user {user}: there is a version {version}"),
            _ if version == last => {
                format!("user {user}: version {version} is there more than once")
            }
            // After versions below 1.
            _ if last < 0 && version == 1 => return true,
            _ => match (next.max(1), version - 1) {
                (one, same) if one == same => format!("user {user}: version {one} is missing"),
                (first, last) => format!("user {user}: versions {first} to {last} are missing"),
            },
        };
        self.violation(line);
        false
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
            self.check_currency(user, &currency);
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
            self.check_currency(user, &currency);
            if balance != 0 {
                self.violation(format!(
                    "user {user} {currency}: balance {balance} minor units without any entry"
                ));
            }
            self.check_floor(user, &currency, balance);
        }
    }

    fn check_currency(&mut self, user: i64, currency: &str) {
        if !self.codes.contains(currency) {
            self.violation(format!(
                "user {user} {currency}: the ledger has no such currency"
            ));
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
        self.find_repeated_events(connection)?;
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
