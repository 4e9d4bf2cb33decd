//! A ledger of an earlier version is brought up to date, also when that is interrupted: nothing of it is answered otherwise than
//! before.

use std::ffi::OsString;

use serde_json::{Value, json};

use crate::support::{
    Database, PATIENCE, Process, TestApp, TestDatabase, on_both_databases, on_postgres,
};
use crate::{balances, entry};

on_both_databases![
    entries_of_an_earlier_version_are_answered_with_the_same_balances,
    a_migration_that_is_killed_goes_on_and_nothing_is_served_before,
];
on_postgres![entries_of_a_node_of_an_earlier_version_are_answered_with_all_balances];

/// Takes the newest migrations back, newest first.
fn downgrade(database: &TestDatabase) {
    macro_rules! down {
        ($($name:literal),*) => {
            match database {
                TestDatabase::Sqlite(_) => [$(include_str!(concat!("../../migrations/sqlite/", $name, "/down.sql"))),*],
                TestDatabase::Postgres { .. } => [$(include_str!(concat!("../../migrations/postgres/", $name, "/down.sql"))),*],
            }
        };
    }
    for sql in down![
        "2026-11-30-010000_balances_by_version",
        "2026-11-30-000000_other_balances"
    ] {
        database.sql(sql);
    }
    database.sql("DELETE FROM __diesel_schema_migrations WHERE version >= '20261130'");
}

/// What was posted, and the answer.
struct Posted {
    path: &'static str,
    body: Value,
    balances: Value,
}

/// Users with one currency and with several, balances that become zero, and a reversal.
async fn post_all(app: &TestApp) -> Vec<Posted> {
    let mut all = Vec::new();
    let mut posted = async |path, body: Value| {
        let answer = app.post(path, body.clone()).await.ok();
        assert_eq!(answer["duplicate"], false, "{answer}");
        let balances = answer["balances"].clone();
        all.push(Posted {
            path,
            body,
            balances,
        });
    };
    for user in 1..=4 {
        let id = |name: &str| format!("{user}.{name}");
        posted("deposits", entry(&id("a"), user, "TON", "5")).await;
        posted("rewards", entry(&id("b"), user, "TON", "0.000000001")).await;
        if user > 2 {
            posted("rewards", entry(&id("c"), user, "UNI", "7.5")).await;
            posted("withdrawals", entry(&id("d"), user, "TON", "5.000000001")).await;
            posted("rewards", entry(&id("e"), user, "UNI", "1")).await;
            let body = json!({"event_id": id("f"), "user_id": user, "reverses": id("c")});
            posted("reversals", body).await;
            posted("withdrawals", entry(&id("g"), user, "UNI", "1")).await;
            posted("deposits", entry(&id("h"), user, "TON", "9")).await;
        }
    }
    all
}

async fn assert_same_answers(app: &TestApp, all: &[Posted]) {
    for Posted {
        path,
        body,
        balances,
    } in all
    {
        let again = app.post(path, body.clone()).await.ok();
        assert_eq!(again["duplicate"], true, "{again}");
        assert_eq!(&again["balances"], balances, "{body}");
    }
}

/// What an earlier version would have written: `count` entries of a user in TON after one in UNI.
fn write_many(database: &TestDatabase, user: u64, count: u32) {
    let numbers = match database {
        TestDatabase::Sqlite(_) => format!(
            "(WITH RECURSIVE n(v) AS (SELECT 2 UNION ALL SELECT v + 1 FROM n WHERE v <= {count}) SELECT v FROM n)"
        ),
        TestDatabase::Postgres { .. } => {
            format!("(SELECT v FROM generate_series(2, {count} + 1) AS v)")
        }
    };
    database.sql(&format!(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
         SELECT {user}, v, 'deposit', 'deposit', 'TON', 1, v - 1, '{user}:' || v, 1 FROM {numbers} AS numbers \
         UNION ALL SELECT {user}, 1, 'deposit', 'deposit', 'UNI', 1, 1, '{user}:1', 1; \
         INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES ({user}, {count} + 1, 1, 1); \
         INSERT INTO balances (user_id, currency, amount) VALUES ({user}, 'TON', {count}), ({user}, 'UNI', 1)"
    ));
}

async fn assert_many(app: &TestApp, user: u64, count: u32) {
    for version in [2, 2 + count / 2, count + 1] {
        let body = entry(&format!("{user}:{version}"), user, "TON", "0.000000001");
        let again = app.post("deposits", body).await.ok();
        let ton = format!("0.{:09}", version - 1);
        assert_eq!(
            (&again["duplicate"], &again["balances"]),
            (&json!(true), &balances(&ton, "0.000000001"))
        );
    }
}

async fn entries_of_an_earlier_version_are_answered_with_the_same_balances(database: Database) {
    const COUNT: u32 = 45_000;
    let mut app = TestApp::start(database).await;
    let all = post_all(&app).await;
    assert_same_answers(&app, &all).await;
    app.stop().await;
    downgrade(&app.database);
    // More than a page of one user, between others.
    write_many(&app.database, 10, COUNT);
    write_many(&app.database, 11, 3);
    let refused = app.command("verify");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("migrations are missing"),
        "{said}"
    );
    let migrated = app.command("migrate");
    let said = String::from_utf8_lossy(&migrated.stdout).into_owned();
    assert_eq!(said, "applied 20261130000000\napplied 20261130010000\n");
    app.assert_ledger_holds();
    app.start_again().await;
    assert_same_answers(&app, &all).await;
    assert_many(&app, 10, COUNT).await;
    assert_many(&app, 11, 3).await;
    // And it goes on from there.
    for user in [1, 3, 10] {
        let body = entry(&format!("{user}.new"), user, "UNI", "2");
        let first = app.post("rewards", body.clone()).await.ok();
        app.accepted("rewards", user, &format!("{user}.newer"), "3")
            .await;
        let again = app.post("rewards", body).await.ok();
        assert_eq!(again["balances"], first["balances"]);
    }
    app.assert_ledger_holds();
}

/// Up to which version a user's entries are filled in, on SQLite. On PostgreSQL all become visible together: whether they
/// are being filled in.
fn seen_filled(database: &TestDatabase, user: u64) -> i64 {
    match database {
        TestDatabase::Sqlite(_) => {
            let is_there = "SELECT COUNT(*) FROM pragma_table_info('entries') WHERE name = 'other_balances'";
            if database.number(is_there) == 0 {
                return 0;
            }
            database.number(&format!(
                "SELECT COALESCE((SELECT version FROM entries WHERE user_id = {user} AND other_balances IS NOT NULL \
                 ORDER BY version DESC LIMIT 1), 0)"
            ))
        }
        TestDatabase::Postgres { .. } => database.number(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'WITH found%'",
        ),
    }
}

async fn a_migration_that_is_killed_goes_on_and_nothing_is_served_before(database: Database) {
    const COUNT: u32 = 150_000;
    let mut app = TestApp::start(database).await;
    let all = post_all(&app).await;
    app.stop().await;
    downgrade(&app.database);
    write_many(&app.database, 10, COUNT);
    let arguments = ["migrate", "--config", "config.toml"].map(OsString::from);
    let mut reached = Vec::new();
    for round in 0.. {
        let log = app.directory().join("migrate.log");
        let mut process = Process::start(app.directory(), &arguments, &[], &log);
        // Twice it is killed where it has come further than before.
        while round < 2 && !process.has_ended() {
            let now = seen_filled(&app.database, 10);
            if database == Database::Postgres && now > 0
                || now > reached.last().copied().unwrap_or(0)
            {
                reached.push(now);
                process.kill();
            }
            tokio::task::yield_now().await;
        }
        if process.wait(PATIENCE).await.success() {
            break;
        }
        let refused = app.command("verify");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("migrations are missing"), "{said}");
    }
    assert_eq!(reached.len(), 2, "{reached:?}");
    app.assert_ledger_holds();
    app.start_again().await;
    assert_same_answers(&app, &all).await;
    assert_many(&app, 10, COUNT).await;
}

async fn entries_of_a_node_of_an_earlier_version_are_answered_with_all_balances(
    database: Database,
) {
    let app = TestApp::start(database).await;
    app.post("rewards", entry("a", 1, "UNI", "3")).await.ok();
    // It does not know the column.
    app.database.sql(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) VALUES \
         (1, 2, 'reward', 'reward', 'TON', 5000000000, 5000000000, 'b', 1), \
         (1, 3, 'reward', 'reward', 'UNI', 1000000000, 4000000000, 'c', 1); \
         UPDATE accounts SET version = 3 WHERE user_id = 1; \
         UPDATE balances SET amount = 4000000000 WHERE user_id = 1; \
         INSERT INTO balances (user_id, currency, amount) VALUES (1, 'TON', 5000000000)",
    );
    app.post("rewards", entry("d", 1, "UNI", "1")).await.ok();
    for (event, currency, amount, ton, uni) in [
        ("a", "UNI", "3", "0.000000000", "3.000000000"),
        ("b", "TON", "5", "5.000000000", "3.000000000"),
        ("c", "UNI", "1", "5.000000000", "4.000000000"),
        ("d", "UNI", "1", "5.000000000", "5.000000000"),
    ] {
        let again = app
            .post("rewards", entry(event, 1, currency, amount))
            .await
            .ok();
        assert_eq!(
            (&again["duplicate"], &again["balances"]),
            (&json!(true), &balances(ton, uni)),
            "{event}"
        );
    }
    app.assert_ledger_holds();
}
