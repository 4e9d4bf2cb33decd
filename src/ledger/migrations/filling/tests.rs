//! A ledger of an earlier version on SQLite, filled in with interruptions. (That it is right on both databases is tested from
//! outside.)

use std::collections::BTreeMap;

use diesel::sqlite::SqliteConnection;
use diesel_migrations::MigrationHarness as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::clock::Clock;
use crate::config::{DatabaseUrl, Schema};
use crate::domain::Currencies;
use crate::ledger::connection::{Access, Source};
use crate::ledger::migrations::{SQLITE, apply_missing, check_applied, check_currencies};

const CODES: [&str; 3] = ["GEM", "TON", "UNI"];

struct Old {
    source: Source,
    connection: AnyConnection,
    /// What each entry is to say, by user and version.
    expected: BTreeMap<(i64, i64), Option<String>>,
    states: BTreeMap<i64, (i64, BTreeMap<&'static str, i64>)>,
    rng: StdRng,
    _dir: tempfile::TempDir,
}

impl Old {
    /// With the migrations before the one that needs it, and nothing filled in.
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::Sqlite(dir.path().join("ledger.db"));
        let source = Source::new(&url, &Schema::default());
        apply_missing(&source, false, &progress()).expect("migrated");
        let connected = source.connect(1000, "", Access::Write).expect("connected");
        let mut connection = connected.connection;
        let codes = Currencies::new(CODES.map(|code| (code.to_owned(), 9))).expect("valid");
        check_currencies(&mut connection, &codes).expect("noted");
        let sqlite = connection.sqlite().expect("a file");
        let mut last = String::new();
        while last != "20261130010000" {
            let reverted = sqlite.revert_last_migration(SQLITE);
            last = reverted.expect("taken back").to_string();
        }
        Self {
            source,
            connection,
            expected: BTreeMap::new(),
            states: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            _dir: dir,
        }
    }

    /// Applies the migrations, which need the file for themselves.
    fn migrate(&mut self) {
        let nowhere = SqliteConnection::establish(":memory:").expect("opened");
        self.connection = AnyConnection::Sqlite(nowhere);
        apply_missing(&self.source, false, &progress()).expect("migrated");
        let connected = self.source.connect(1000, "", Access::Write);
        self.connection = connected.expect("connected").connection;
    }

    /// One more entry, as an earlier version writes it. Balances often become zero.
    fn add(&mut self, user: i64, code: &'static str) {
        let (version, balances) = self.states.entry(user).or_default();
        *version += 1;
        let balance = balances.entry(code).or_default();
        let amount = match *balance {
            0 => self.rng.random_range(1..100),
            all if self.rng.random_bool(0.4) => -all,
            _ => self.rng.random_range(1..i64::MAX / 1000),
        };
        *balance += amount;
        let (after, version) = (*balance, *version);
        let others: Vec<String> = balances
            .iter()
            .filter(|(other, minor)| **other != code && **minor != 0)
            .map(|(other, minor)| format!("\"{other}\":{minor}"))
            .collect();
        let others = (!others.is_empty()).then(|| format!("{{{}}}", others.join(",")));
        self.expected.insert((user, version), others);
        let row = format!(
            "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
             VALUES ({user}, {version}, 'deposit', 's', '{code}', {amount}, {after}, '{user}.{version}', 1)"
        );
        self.connection.batch_execute(&row).expect("written");
    }

    /// Some users with one currency, some with several, one with many entries.
    fn with_entries(seed: u64) -> Self {
        let mut old = Self::new(seed);
        for _ in 0..120 {
            let user = match old.rng.random_range(0..3) {
                0 => 4,
                _ => old.rng.random_range(1..9),
            };
            let code = match user % 3 {
                0 => "TON",
                _ => CODES[old.rng.random_range(0..CODES.len())],
            };
            old.add(user, code);
        }
        old
    }

    fn assert_filled(&mut self, told: &str) {
        let rows: Vec<(i64, i64, Option<String>)> = entries::table
            .select((entries::user_id, entries::version, entries::other_balances))
            .load(&mut self.connection)
            .expect("read");
        let found: BTreeMap<_, _> = rows
            .into_iter()
            .map(|(user, version, others)| ((user, version), others))
            .collect();
        assert_eq!(found, self.expected, "{told}");
    }
}

fn progress() -> Progress {
    Progress::start(Clock::system())
}

/// Fills in with a new start after each so many pages. Returns how many pages there were.
fn with_interruptions(old: &mut Old, page_entries: i64, pages: usize) -> usize {
    let mut count = 0;
    loop {
        let mut filling = Filling::begin(&mut old.connection, page_entries).expect("begun");
        for _ in 0..pages {
            if !filling.step(&mut old.connection).expect("filled in") {
                assert_eq!(filling.reached.filled, filling.reached.total);
                return count;
            }
            count += 1;
        }
    }
}

#[test]
fn a_filling_goes_on_where_it_was_interrupted() {
    for (seed, page_entries, pages) in [
        (1, 1, 1),
        (2, 1, 7),
        (3, 5, 1),
        (4, 7, 2),
        (5, 40, 1),
        (6, 1000, 1),
    ] {
        let told = format!("seed {seed}, {page_entries} entries a page, {pages} pages a start");
        let mut old = Old::with_entries(seed);
        let total: i64 = sql_query(TOTAL)
            .get_result(&mut old.connection)
            .map(number)
            .expect("counted");
        assert!(total > 60, "{told}");
        let pages = with_interruptions(&mut old, page_entries, pages);
        let least = total / page_entries;
        assert!(
            pages as i64 >= least && pages as i64 <= 2 * least + 1,
            "{told}: {pages} pages for {total}"
        );
        old.assert_filled(&told);
        let missing = check_applied(&old.source, 1000, Access::Read).expect_err("not served yet");
        assert!(missing.to_string().contains("20261130010000"), "{missing}");
        old.migrate();
        check_applied(&old.source, 1000, Access::Read).expect("complete");
        old.assert_filled(&told);
    }
}

#[test]
fn what_an_earlier_version_writes_after_an_interruption_is_filled_in_too() {
    let mut old = Old::with_entries(7);
    let mut filling = Filling::begin(&mut old.connection, 10).expect("begun");
    for _ in 0..4 {
        assert!(filling.step(&mut old.connection).expect("filled in"));
    }
    for code in CODES {
        old.add(1, code);
        old.add(3, code);
    }
    old.migrate();
    old.assert_filled("with later entries");
}

#[test]
fn users_are_found_by_the_index_alone_and_in_its_order() {
    #[derive(QueryableByName)]
    struct PlanStep {
        #[diesel(sql_type = diesel::sql_types::Text)]
        detail: String,
    }
    let mut old = Old::with_entries(8);
    for query in [USERS, TOTAL] {
        let steps: Vec<PlanStep> = sql_query(format!("EXPLAIN QUERY PLAN {query}"))
            .load(&mut old.connection)
            .expect("a plan");
        let steps: Vec<&str> = steps.iter().map(|step| &*step.detail).collect();
        assert!(
            steps
                .iter()
                .any(|step| step.contains("COVERING INDEX entries_user_currency_version")),
            "{steps:?}"
        );
        assert!(
            !steps.iter().any(|step| step.contains("TEMP B-TREE")),
            "{steps:?}"
        );
    }
}
