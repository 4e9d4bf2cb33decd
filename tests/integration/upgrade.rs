//! A ledger of an earlier version is brought up to date, also when that is interrupted: nothing of it is answered otherwise than
//! before.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Database, PATIENCE, Process, TestApp, TestDatabase, eventually, on_both_databases, on_postgres,
    on_sqlite,
};
use crate::{balances, entry};

on_both_databases![
    what_is_written_by_hand_is_known_to_the_service,
    entries_of_an_earlier_version_are_answered_with_the_same_balances,
    a_migration_that_is_killed_goes_on_and_nothing_is_served_before,
    a_ledger_of_a_later_version_is_refused_where_no_node_of_it_can_be_beside,
];
on_sqlite![
    an_event_id_with_the_digest_of_another_is_refused_and_never_taken_for_it,
    a_file_that_another_program_has_open_is_not_migrated,
    an_event_id_that_is_repeated_by_hand_is_told_by_the_running_audit,
];
on_postgres![
    entries_of_a_node_of_an_earlier_version_are_answered_with_all_balances,
    a_migration_waits_for_open_transactions_and_holds_nobody_up_meanwhile,
    a_node_that_waited_while_another_migrated_needs_no_table,
];

/// Whether earlier versions refuse an SQLite ledger.
const KEPT_OFF: &str = "SELECT COUNT(*) FROM currencies WHERE code LIKE '(needs version 0.2 %'";

/// Takes the newest migrations back, newest first. Returns what `migrate` then says.
fn downgrade(database: &TestDatabase) -> String {
    macro_rules! down {
        ($database:literal: $($name:literal),*) => {
            &[$(include_str!(concat!("../../migrations/", $database, "/2026-11-30-", $name, "/down.sql"))),*][..]
        };
    }
    let (all, versions) = match database {
        TestDatabase::Sqlite(_) => (
            down!["sqlite": "040000_no_earlier_program", "030000_event_by_digest", "020000_event_digest", "010000_balances_by_version",
                  "000000_other_balances"],
            &["000000", "010000", "020000", "030000", "040000"][..],
        ),
        TestDatabase::Postgres { .. } => (
            down!["postgres": "060000_room_for_updates", "050000_text_by_bytes", "010000_balances_by_version", "000000_other_balances"],
            &["000000", "010000", "050000", "060000"][..],
        ),
    };
    for sql in all {
        database.sql(sql);
    }
    database.sql("DELETE FROM __diesel_schema_migrations WHERE version >= '20261130'");
    let said = versions
        .iter()
        .map(|time| format!("applied 20261130{time}\n"));
    said.collect()
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
    let applied = downgrade(&app.database);
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
    assert_eq!(said, applied);
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
    for round in 0_u64.. {
        let log = app.directory().join("migrate.log");
        let mut process = Process::start(app.directory(), &arguments, &[], &log);
        // Twice it is killed where it has come further than before.
        let killed_after = match database {
            // It has the file for itself.
            Database::Sqlite => {
                (reached.len() < 2).then(|| Duration::from_millis(100 + 50 * round))
            }
            Database::Postgres => None,
        };
        if let Some(after) = killed_after {
            let ended = tokio::time::timeout(after, async {
                while !process.has_ended() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            if ended.await.is_err() {
                process.kill();
            }
        }
        while database == Database::Postgres && round < 2 && !process.has_ended() {
            let now = seen_filled(&app.database, 10);
            if now > 0 {
                reached.push(now);
                process.kill();
            }
            tokio::task::yield_now().await;
        }
        if process.wait(PATIENCE).await.success() {
            break;
        }
        if database == Database::Sqlite {
            let now = seen_filled(&app.database, 10);
            if now > reached.last().copied().unwrap_or(0) {
                assert_eq!(
                    app.database.number(KEPT_OFF),
                    1,
                    "no earlier version starts on it"
                );
                reached.push(now);
            }
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

async fn a_ledger_of_a_later_version_is_refused_where_no_node_of_it_can_be_beside(
    database: Database,
) {
    let mut app = TestApp::start(database).await;
    app.accepted("deposits", 1, "first", "1").await;
    app.stop().await;
    app.database
        .sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000')");
    if database == Database::Postgres {
        // During a rolling upgrade a node of this version may be started once more.
        assert!(app.command("migrate").status.success());
        app.start_again().await;
        app.accepted("deposits", 1, "second", "1").await;
        return app.assert_ledger_holds();
    }
    for command in ["migrate", "verify", "serve"] {
        let refused = app.command(command);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("a later version of this program"),
            "{command}: {said}"
        );
    }
    app.database
        .sql("DELETE FROM __diesel_schema_migrations WHERE version = '20991231000000'");
    app.start_again().await;
    app.assert_ledger_holds();
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

/// The names of users' entries and their amounts, added without the columns that only the service writes.
fn write_by_hand(database: &TestDatabase, user: u64, event_id: &str) {
    database.sql(&format!(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
         VALUES ({user}, 1, 'reward', 'reward', 'TON', 5000000000, 5000000000, '{event_id}', 1); \
         INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES ({user}, 1, 1, 1); \
         INSERT INTO balances (user_id, currency, amount) VALUES ({user}, 'TON', 5000000000)"
    ));
}

async fn what_is_written_by_hand_is_known_to_the_service(database: Database) {
    let mut app = TestApp::start(database).await;

    app.accepted("deposits", 1, "before", "1").await;
    // In another currency than the user's first entry, and sent again before anything else is committed.
    app.database.sql(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
         VALUES (1, 2, 'reward', 'reward', 'UNI', 5000000000, 5000000000, 'second', 1); \
         UPDATE accounts SET version = 2 WHERE user_id = 1; \
         INSERT INTO balances (user_id, currency, amount) VALUES (1, 'UNI', 5000000000)",
    );
    app.assert_ledger_holds();
    let second = app
        .post("rewards", entry("second", 1, "UNI", "5"))
        .await
        .ok();
    assert_eq!(second["duplicate"], true);
    assert_eq!(second["balances"], balances("1.000000000", "5.000000000"));
    app.assert_ledger_holds();
    write_by_hand(&app.database, 2, "hand");
    assert_eq!(
        app.backend("/internal/v1/entries?event_id=hand").await.ok()["user_id"],
        2
    );
    app.assert_ledger_holds();
    let again = app.post("rewards", entry("hand", 2, "TON", "5")).await.ok();
    assert_eq!(
        (&again["duplicate"], &again["version"]),
        (&json!(true), &json!(1))
    );
    let body = json!({"event_id": "back", "user_id": 2, "reverses": "hand"});
    let back = app.post("reversals", body).await.ok();
    assert_eq!(back["balances"], balances("0.000000000", "0.000000000"));
    write_by_hand(&app.database, 3, "reversed");
    let body = json!({"event_id": "taken", "user_id": 3, "reverses": "reversed"});
    app.post("reversals", body).await.ok();
    app.assert_ledger_holds();
    // And what is written while the service is stopped.
    app.stop().await;
    write_by_hand(&app.database, 4, "stopped");
    app.start_again().await;
    let other = app.post("rewards", entry("stopped", 4, "TON", "6")).await;
    other.problem(409, "idempotency_conflict");
    let again = app
        .post("rewards", entry("stopped", 4, "TON", "5"))
        .await
        .ok();
    assert_eq!(again["duplicate"], true);
    app.assert_ledger_holds();
}

async fn an_event_id_with_the_digest_of_another_is_refused_and_never_taken_for_it(
    database: Database,
) {
    use sha2::{Digest as _, Sha256};

    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "first", "1").await;
    let digest: String = Sha256::digest("second")[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    app.database
        .sql(&format!("UPDATE entries SET event_digest = x'{digest}'"));
    let second = entry("second", 1, "TON", "1");
    app.post("deposits", second.clone())
        .await
        .problem(422, "invalid_field");
    app.backend("/internal/v1/entries?event_id=second")
        .await
        .problem(404, "unknown_entry");
    let item = |event_id: &str| json!({"kind": "deposit", "event_id": event_id, "user_id": 2, "currency": "TON", "amount": "1"});
    let answer = app
        .batch(json!([item("a"), item("second"), item("b")]))
        .await
        .ok();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(2), &json!(1)),
        "{answer}"
    );
    assert_eq!(answer["results"][1]["code"], "invalid_field", "{answer}");
    let output = app.command("verify");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        printed.contains("user 1: version 1 has not the digest of its event id first"),
        "{printed}"
    );
}

async fn a_file_that_another_program_has_open_is_not_migrated(database: Database) {
    let mut app = TestApp::start(database).await;
    let all = post_all(&app).await;
    app.stop().await;
    let applied = downgrade(&app.database);
    let TestDatabase::Sqlite(path) = &app.database else {
        panic!("a file");
    };
    // As a service of an earlier version has it, between two entries.
    let open = rusqlite::Connection::open(path).expect("opened");
    let count = |connection: &rusqlite::Connection| -> i64 {
        let sql = "SELECT COUNT(*) FROM __diesel_schema_migrations";
        connection
            .query_row(sql, [], |row| row.get(0))
            .expect("read")
    };
    let before = count(&open);
    for command in ["migrate", "serve"] {
        let refused = app.command(command);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("another program has it open"),
            "{command}: {said}"
        );
        assert_eq!(count(&open), before);
    }
    drop(open);
    let migrated = app.command("migrate");
    assert_eq!(String::from_utf8_lossy(&migrated.stdout), applied);
    // From now on an earlier version refuses it, since it knows of no such currency.
    assert_eq!(app.database.number(KEPT_OFF), 1);
    // With nothing to migrate, others may have it open.
    let _open = rusqlite::Connection::open(path).map(|open| count(&open));
    assert!(app.command("migrate").status.success());
    app.start_again().await;
    assert_same_answers(&app, &all).await;
    app.assert_ledger_holds();
}

async fn an_event_id_that_is_repeated_by_hand_is_told_by_the_running_audit(database: Database) {
    let app = TestApp::on(database)
        .set("audit.users_per_s", 100_000)
        .start()
        .await;
    app.accepted("rewards", 1, "one", "5").await;
    for user in [2, 3] {
        write_by_hand(&app.database, user, "one");
    }
    // Behind those that can never be completed.
    write_by_hand(&app.database, 4, "four");
    let again = app.post("rewards", entry("four", 4, "TON", "5")).await.ok();
    assert_eq!(again["duplicate"], true, "{again}");
    let violations = eventually("the audit tells of both", async || {
        let state = app.admin("/admin/v1/audit").await.ok();
        let violations = state["violations"].to_string();
        (2..=3)
            .all(|user| {
                violations.contains(&format!("user {user}: version 1 repeats the event id one"))
            })
            .then_some(violations)
    })
    .await;
    assert!(
        !violations.contains("user 1:") && !violations.contains("user 4:"),
        "{violations}"
    );
    // Rows that are removed and put back, also with an id from before, are compared again.
    app.database
        .sql("DELETE FROM entries WHERE user_id = 1; DELETE FROM entries WHERE user_id = 3");
    write_by_hand(&app.database, 5, "low");
    app.database
        .sql("UPDATE entries SET id = -5 WHERE event_id = 'low'");
    for (event_id, user) in [("one", 2), ("low", 5)] {
        let again = app
            .post("rewards", entry(event_id, user, "TON", "5"))
            .await
            .ok();
        assert_eq!(again["duplicate"], true, "{again}");
    }
}

async fn a_migration_waits_for_open_transactions_and_holds_nobody_up_meanwhile(database: Database) {
    let mut app = TestApp::start(database).await;
    let all = post_all(&app).await;
    app.stop().await;
    let arguments = ["migrate", "--config", "config.toml"].map(OsString::from);
    for (first, then) in [
        ("accounts", "entries"),
        ("entries", "accounts"),
        ("balances", "conflicts"),
        ("conflicts", "balances"),
    ] {
        downgrade(&app.database);
        let mut reader = app.database.hold(&format!("SELECT * FROM {first}"));
        let log = app.directory().join(format!("behind-{first}.log"));
        let mut process = Process::start(app.directory(), &arguments, &[], &log);
        eventually("it says what it waits for", async || {
            let said = "waits for other sessions' transactions: the server's process ";
            process.log().contains(said).then_some(())
        })
        .await;
        // A reader that goes on to another table is not in a circle with the migration, and one that comes later is not held up.
        let soon = "SET statement_timeout = '15s'";
        reader.execute(&format!("{soon}; SELECT * FROM {then}"));
        for table in [first, then] {
            app.database.sql(&format!("{soon}; SELECT * FROM {table}"));
        }
        assert!(!process.has_ended());
        drop(reader);
        assert!(process.wait(PATIENCE).await.success(), "{}", process.log());
    }
    app.assert_ledger_holds();
    app.start_again().await;
    assert_same_answers(&app, &all).await;
}

async fn a_node_that_waited_while_another_migrated_needs_no_table(database: Database) {
    let mut app = TestApp::start(database).await;
    app.stop().await;
    app.database.sql(include_str!(
        "../../migrations/postgres/2026-11-30-060000_room_for_updates/down.sql"
    ));
    let version = "version = '20261130060000'";
    app.database.sql(&format!(
        "DELETE FROM __diesel_schema_migrations WHERE {version}"
    ));
    // What a migration of another node holds.
    let other = app
        .database
        .hold("SELECT pg_advisory_lock(27691665836630885)");
    let arguments = ["migrate", "--config", "config.toml"].map(OsString::from);
    let log = app.directory().join("behind.log");
    let mut process = Process::start(app.directory(), &arguments, &[], &log);
    eventually("it says what it waits for", async || {
        let said = "waits for another node's migration: the server's process ";
        process.log().contains(said).then_some(())
    })
    .await;
    app.database.sql(include_str!(
        "../../migrations/postgres/2026-11-30-060000_room_for_updates/up.sql"
    ));
    app.database
        .sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('20261130060000')");
    let _reader = app.database.hold("SELECT * FROM entries");
    drop(other);
    assert!(process.wait(PATIENCE).await.success(), "{}", process.log());
}
