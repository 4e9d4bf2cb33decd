//! Every kind of violation, planted in the database of a user of its own: `verify` names each, and so does the running
//! audit.

use serde_json::Value;

use crate::support::{
    Database, TestApp, TestDatabase, eventually, on_both_databases, on_postgres, on_sqlite,
};

on_both_databases![
    every_kind_of_violation_is_found_and_nothing_else,
    a_gap_or_a_wrong_amount_is_told_once_however_many_entries_follow,
    an_entry_that_is_there_twice_is_found_wherever_a_page_ends,
];
on_sqlite![a_digest_that_is_not_that_of_its_event_id_is_found];
on_postgres![accounts_and_balances_that_are_there_twice_are_found];

/// Planted by SQL for the user `$u`; the users have three deposits of 1 TON each.
const PLANTS: &[(&str, &str)] = &[
    (
        "UPDATE balances SET amount = amount + 1 WHERE user_id = $u",
        "user $u TON: balance 3000000001 minor units, but the entries sum to 3000000000",
    ),
    (
        "DELETE FROM balances WHERE user_id = $u",
        "user $u TON: balance 0 minor units, but the entries sum to 3000000000",
    ),
    (
        "UPDATE accounts SET version = 4 WHERE user_id = $u",
        "user $u: version 4, but there are 3 entries",
    ),
    (
        "DELETE FROM entries WHERE user_id = $u AND version = 2",
        "user $u: version 2 is missing",
    ),
    (
        "UPDATE entries SET reverses = '$u.1', left_after = 0 WHERE user_id = $u AND version = 2",
        "user $u: version 2 reverses an entry, but is a deposit",
    ),
    (
        "UPDATE entries SET kind = 'reversal' WHERE user_id = $u AND version = 2",
        "user $u: version 2 is a reversal of nothing",
    ),
    (
        "UPDATE entries SET kind = 'reversal', reverses = 'nowhere $u', left_after = 0 WHERE user_id = $u AND version = 2",
        "user $u: version 2 reverses nowhere $u, which is not there",
    ),
    (
        "UPDATE entries SET kind = 'reversal', reverses = 'hashed', left_after = 0 WHERE user_id = $u AND version = 2",
        "user $u: version 2 reverses hashed, an entry of user 1",
    ),
    (
        "UPDATE entries SET kind = 'reversal', reverses = '$u.3', left_after = 0 WHERE user_id = $u AND version = 2",
        "user $u: version 2 reverses $u.3, a later entry of version 3",
    ),
    (
        "UPDATE entries SET kind = 'reversal', reverses = '$u.1', left_after = 0 WHERE user_id = $u AND version = 2",
        "user $u: version 2 reverses $u.1, an entry of the same sign",
    ),
    (
        "UPDATE entries SET kind = 'reversal', reverses = '$u.1', left_after = 0, currency = 'UNI' \
         WHERE user_id = $u AND version = 2",
        "user $u: version 2 reverses $u.1, an entry of another currency",
    ),
    (
        "UPDATE entries SET kind = 'reversal', reverses = '$u.1', left_after = 900000000, amount = -100000000, \
         balance_after = 900000000 WHERE user_id = $u AND version = 2; \
         UPDATE entries SET kind = 'reversal', reverses = '$u.2', left_after = 0 WHERE user_id = $u AND version = 3",
        "user $u: version 3 reverses $u.2, which is a reversal",
    ),
    (
        "UPDATE entries SET kind = 'reversal', reverses = '$u.1', left_after = 600000000, amount = -500000000, \
         balance_after = 500000000 WHERE user_id = $u AND version = 2",
        "user $u: version 2 reverses $u.1, and says that 600000000 minor units are left, but takes 500000000 of 1000000000",
    ),
    (
        "UPDATE entries SET kind = 'reversal', reverses = '$u.1', left_after = 500000000, amount = -500000000, \
         balance_after = 500000000 WHERE user_id = $u AND version = 2; \
         UPDATE entries SET kind = 'reversal', reverses = '$u.1', left_after = 500000000, amount = -500000000, \
         balance_after = 0 WHERE user_id = $u AND version = 3",
        "user $u: version 3 reverses $u.1, and says that 500000000 minor units are left, but takes 500000000 of 1000000000",
    ),
    (
        "DELETE FROM entries WHERE user_id = $u AND version = 3",
        "user $u: version 3, but there are 2 entries",
    ),
    (
        "UPDATE entries SET version = 2 WHERE user_id = $u AND version = 3",
        "user $u: version 2 is there more than once",
    ),
    (
        "UPDATE entries SET version = 0 WHERE user_id = $u AND version = 1",
        "user $u: there is a version 0",
    ),
    (
        "UPDATE entries SET balance_after = balance_after + 1 WHERE user_id = $u AND version = 2",
        "user $u TON: version 2 says 2000000001 minor units, the entries up to it sum to 2000000000",
    ),
    (
        "UPDATE entries SET other_balances = '{\"UNI\":5}' WHERE user_id = $u AND version = 2",
        "user $u UNI: version 2, an entry in TON, says 5 minor units, the newest entry before it says 0",
    ),
    (
        "UPDATE entries SET other_balances = '{\"UNI\":' WHERE user_id = $u AND version = 2",
        "user $u: version 2 has malformed other balances \"{\\\"UNI\\\":\"",
    ),
    (
        "UPDATE entries SET other_balances = '{\"UNI\":0}' WHERE user_id = $u AND version = 2",
        "user $u: version 2 has malformed other balances",
    ),
    (
        "UPDATE entries SET other_balances = '{\"TON\":2}' WHERE user_id = $u AND version = 3",
        "user $u: version 3 has its own currency TON among the other balances",
    ),
    (
        "UPDATE entries SET currency = 'UNI', balance_after = amount WHERE user_id = $u AND version = 2; \
         UPDATE entries SET balance_after = balance_after - amount WHERE user_id = $u AND version = 3; \
         UPDATE balances SET amount = 2000000000 WHERE user_id = $u; \
         INSERT INTO balances (user_id, currency, amount) VALUES ($u, 'UNI', 1000000000)",
        "user $u TON: version 2, an entry in UNI, says 0 minor units, the newest entry before it says 1000000000",
    ),
    (
        "UPDATE entries SET amount = amount + 1 WHERE user_id = $u AND version = 2",
        "user $u TON: version 2 says 2000000000 minor units, the entries up to it sum to 2000000001",
    ),
    (
        "UPDATE entries SET amount = -5000000000, balance_after = -3000000000 WHERE user_id = $u AND version = 3; \
         UPDATE balances SET amount = -3000000000 WHERE user_id = $u",
        "user $u TON: -3000000000 minor units, below zero, at version 3",
    ),
    (
        "INSERT INTO balances (user_id, currency, amount) VALUES ($u, 'UNI', -1)",
        "user $u UNI: balance -1 minor units, below zero",
    ),
    (
        "UPDATE entries SET event_id = 'twice' WHERE user_id = $u AND version IN (1, 2)",
        "event id twice: 2 entries",
    ),
    (
        "UPDATE entries SET tx_hash = (SELECT tx_hash FROM entries WHERE event_id = 'hashed') \
         WHERE user_id = $u AND version = 1",
        "transaction hash 00000000000000000000000000000000000000000000000000000000000000ab: 2 entries",
    ),
    (
        "DELETE FROM accounts WHERE user_id = $u",
        "user $u: 3 entries, but no account",
    ),
    (
        "UPDATE entries SET currency = 'XYZ' WHERE user_id = $u; UPDATE balances SET currency = 'XYZ' WHERE user_id = $u",
        "user $u XYZ: the ledger has no such currency",
    ),
    (
        "DELETE FROM entries WHERE user_id = $u",
        "user $u: version 3, but there are no entries",
    ),
    (
        "DELETE FROM entries WHERE user_id = $u",
        "user $u TON: balance 3000000000 minor units without any entry",
    ),
    (
        "INSERT INTO balances (user_id, currency, amount) VALUES (1000 + $u, 'TON', 1)",
        "user 10$u TON: balance 1 minor units without any entry",
    ),
];

/// The users of the plants; user 1 and the last one are left alone.
const FIRST: u64 = 10;

async fn posted(database: Database) -> TestApp {
    let app = TestApp::on(database)
        .set("audit.users_per_s", 100_000)
        .start()
        .await;
    let users = FIRST..=FIRST + PLANTS.len() as u64;
    let items: Value = users
        .flat_map(|user_id| (1..=3).map(move |n| (user_id, n)))
        .map(|(user_id, n)| {
            serde_json::json!({"kind": "deposit", "event_id": format!("{user_id}.{n}"), "user_id": user_id,
                               "currency": "TON", "amount": "1"})
        })
        .collect();
    assert_eq!(app.batch(items).await.ok()["rejected"], 0);
    let hashed = serde_json::json!({"event_id": "hashed", "user_id": 1, "currency": "TON", "amount": "1",
                                    "tx_hash": format!("{:064x}", 0xab)});
    app.post("deposits", hashed).await.ok();
    app.assert_ledger_holds();
    app
}

/// Takes away what keeps these violations out of the tables, and plants one.
fn plant(app: &TestApp, statements: &str) {
    let bare = match &app.database {
        TestDatabase::Sqlite(_) => "PRAGMA ignore_check_constraints = ON;",
        TestDatabase::Postgres { .. } => {
            "ALTER TABLE entries DROP CONSTRAINT IF EXISTS entries_version_check, \
             DROP CONSTRAINT IF EXISTS entries_balance_after_check; \
             ALTER TABLE balances DROP CONSTRAINT IF EXISTS balances_amount_check;"
        }
    };
    app.database.sql(&format!(
        "{bare} DROP INDEX IF EXISTS entries_event_id; DROP INDEX IF EXISTS entries_tx_hash; \
         DROP INDEX IF EXISTS entries_user_version; DROP INDEX IF EXISTS entries_reverses; {statements};"
    ));
}

/// The lines that `verify` prints about violations.
fn violations(app: &TestApp) -> Vec<String> {
    let output = app.command("verify");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    printed
        .lines()
        .filter(|line| line.contains(": "))
        .map(str::to_owned)
        .collect()
}

fn of_user(text: &str, user: usize) -> String {
    text.replace("$u", &user.to_string())
}

async fn every_kind_of_violation_is_found_and_nothing_else(database: Database) {
    let app = posted(database).await;
    let users = || (FIRST as usize..).zip(PLANTS);
    for (user, (statements, _)) in users() {
        plant(&app, &of_user(statements, user));
    }
    let found = violations(&app);
    for (user, (statements, line)) in users() {
        let line = of_user(line, user);
        assert!(
            found.iter().any(|found| found.contains(&line)),
            "{statements}: {line}\n{found:#?}"
        );
        let of_it = format!("user {user} ");
        let of_it_alone = format!("user {user}:");
        let about = |found: &&String| found.contains(&of_it) || found.contains(&of_it_alone);
        assert!(found.iter().filter(about).count() <= 5, "{found:#?}");
    }
    let innocent = FIRST as usize + PLANTS.len();
    for user in [1, innocent] {
        let is_told = |line: &String| {
            line.contains(&format!("user {user}:")) || line.contains(&format!("user {user} "))
        };
        assert!(
            !found.iter().any(is_told),
            "user {user} is in order: {found:#?}"
        );
    }
    // The audit checks one user at a time: keys that are there twice it finds by their indexes that are gone.
    for (user, (statements, line)) in users() {
        let line = match of_user(line, user) {
            line if line.starts_with("event id") => "entries_event_id".to_owned(),
            line if line.starts_with("transaction hash") => "entries_tx_hash".to_owned(),
            line => line.split_once(": ").expect("a user").1.to_owned(),
        };
        eventually(&format!("the audit finds {statements}"), async || {
            app.log().contains(&line).then_some(())
        })
        .await;
    }
}

async fn a_gap_or_a_wrong_amount_is_told_once_however_many_entries_follow(database: Database) {
    let app = posted(database).await;
    let items: Value = (0..200)
        .map(|n| serde_json::json!({"kind": "deposit", "event_id": format!("more{n}"), "user_id": FIRST, "currency": "TON", "amount": "1"}))
        .collect();
    app.batch(items).await.ok();
    plant(
        &app,
        &format!(
            "DELETE FROM entries WHERE user_id = {FIRST} AND version = 5; \
             UPDATE entries SET amount = amount + 7 WHERE user_id = {FIRST} AND version = 9"
        ),
    );
    let found = violations(&app);
    assert!((3..=6).contains(&found.len()), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|line| line.contains("version 5 is missing")),
        "{found:#?}"
    );
    for version in [6, 9] {
        assert!(
            found
                .iter()
                .any(|line| line.contains(&format!("version {version} says"))),
            "{found:#?}"
        );
    }
}

async fn an_entry_that_is_there_twice_is_found_wherever_a_page_ends(database: Database) {
    // As many as `verify` reads at once.
    const PAGE: u32 = 50_000;
    let app = posted(database).await;
    let numbers = match &app.database {
        TestDatabase::Sqlite(_) => format!(
            "(WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {PAGE}) SELECT v FROM n)"
        ),
        TestDatabase::Postgres { .. } => format!("(SELECT v FROM generate_series(1, {PAGE}) AS v)"),
    };
    let columns = "user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us";
    // User 2 comes after user 1 and its one entry: its page ends with its last entry but one.
    plant(
        &app,
        &format!(
            "INSERT INTO entries ({columns}) SELECT 2, v, 'reward', 's', 'TON', 1, v, 'p' || v, 1 FROM {numbers} AS numbers; \
             INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES (2, {PAGE}, 1, 1); \
             INSERT INTO balances (user_id, currency, amount) VALUES (2, 'TON', {PAGE})"
        ),
    );
    app.assert_ledger_holds();
    for version in [PAGE - 1, PAGE] {
        app.database.sql(&format!(
            "INSERT INTO entries ({columns}) VALUES (2, {version}, 'reward', 's', 'TON', 1, {version}, 'again', 1)"
        ));
        let found = violations(&app);
        let line = format!("user 2: version {version} is there more than once");
        assert!(
            found.iter().any(|found| found.contains(&line)),
            "{found:#?}"
        );
        eventually("the audit finds it", async || {
            app.log().contains(&line).then_some(())
        })
        .await;
        app.database
            .sql("DELETE FROM entries WHERE event_id = 'again'");
    }
}

async fn accounts_and_balances_that_are_there_twice_are_found(database: Database) {
    let app = posted(database).await;
    app.database.sql(&format!(
        "ALTER TABLE accounts DROP CONSTRAINT accounts_pkey; ALTER TABLE balances DROP CONSTRAINT balances_pkey; \
         INSERT INTO accounts SELECT * FROM accounts WHERE user_id = {FIRST}; \
         INSERT INTO balances SELECT * FROM balances WHERE user_id = {FIRST}"
    ));
    let found = violations(&app);
    for line in [
        format!("user {FIRST}: its account is there more than once"),
        format!("user {FIRST} TON: its balance is there more than once"),
    ] {
        assert!(
            found.iter().any(|found| found.contains(&line)),
            "{line}\n{found:#?}"
        );
    }
}

async fn a_digest_that_is_not_that_of_its_event_id_is_found(database: Database) {
    let app = posted(database).await;
    let last = FIRST + PLANTS.len() as u64;
    app.database.sql(&format!(
        "UPDATE entries SET event_digest = zeroblob(16) WHERE user_id = {FIRST} AND version = 2; \
         UPDATE entries SET event_digest = x'00', event_id = '{FIRST}.1' WHERE user_id = {last} AND version = 3"
    ));
    let lines = [
        format!("user {FIRST}: version 2 has not the digest of its event id {FIRST}.2"),
        format!("user {last}: version 3 has not the digest of its event id {FIRST}.1"),
    ];
    let found = violations(&app);
    assert_eq!(found[..2], lines);
    assert_eq!(found[2..], [format!("event id {FIRST}.1: 2 entries")]);
    for line in lines {
        eventually("the audit finds it", async || {
            app.log().contains(&line).then_some(())
        })
        .await;
    }
}
