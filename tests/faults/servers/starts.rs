//! A start that has to wait tells why, ends on a signal, also as the first process of a container, and goes on by itself.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Cluster, Database, PATIENCE, Pooler, Process, TestApp, children_of, eventually, on_postgres,
};

use super::spawn;

on_postgres![
    a_start_waits_for_another_nodes_migration_and_says_so,
    a_start_that_waits_ends_on_a_signal,
    a_start_that_waits_ends_on_a_signal_as_the_first_process,
    a_start_behind_a_pooler_without_room_says_so_and_ends_on_a_signal,
    nodes_that_start_together_make_one_ledger,
    a_start_without_anything_to_migrate_waits_for_no_lock,
    a_migration_waits_for_long_transactions_of_other_roles_and_holds_nobody_up,
    a_migration_that_stands_still_leaves_the_tables_to_others,
];

/// What a migration of another node holds.
const LOCK: &str = "SELECT pg_advisory_lock(27691665836630885)";

/// How the log tells of it.
const WAITS: &str = "waits for another node's migration: the server's process ";

async fn says(process: &Process, what: &str) {
    let said = async || process.log().contains(what).then_some(());
    eventually(what, said).await;
}

async fn a_start_waits_for_another_nodes_migration_and_says_so(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    for command in ["migrate", "serve"] {
        database.recreate("");
        let held = database.hold(LOCK);
        let mut process = spawn(dir.path(), command);
        says(&process, WAITS).await;
        drop(held);
        if command == "migrate" {
            assert_eq!(process.wait(PATIENCE).await.code(), Some(0));
        } else {
            process.addresses().await;
        }
        drop(process);
    }
}

async fn a_start_that_waits_ends_on_a_signal(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    let _held = database.hold(LOCK);
    for (command, name, code) in [
        ("serve", "TERM", 0),
        ("serve", "INT", 0),
        ("migrate", "TERM", 1),
    ] {
        let mut process = spawn(dir.path(), command);
        says(&process, WAITS).await;
        process.signal(name);
        assert_eq!(
            process.wait(PATIENCE).await.code(),
            Some(code),
            "{command} {name}"
        );
    }
}

async fn a_start_that_waits_ends_on_a_signal_as_the_first_process(database: Database) {
    let unshare = ["--pid", "--fork", "--kill-child"];
    let can = Command::new("unshare").args(unshare).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: needs the right to make a PID namespace (root) and `unshare`");
        return;
    }
    let (dir, database) = TestApp::on(database).prepare();
    let _held = database.hold(LOCK);
    let mut arguments = unshare.map(OsString::from).to_vec();
    arguments.push(Process::program_path().into());
    arguments.extend(["serve", "--config", "config.toml"].map(OsString::from));
    let mut process = Process::start_other(
        "unshare",
        dir.path(),
        &arguments,
        &dir.path().join("first.log"),
    );
    says(&process, WAITS).await;
    let [first] = children_of(process.pid())[..] else {
        panic!("one child");
    };
    let status = Command::new("sh")
        .args(["-c", &format!("kill -TERM {first}")])
        .status();
    assert!(status.is_ok_and(|status| status.success()));
    assert_eq!(process.wait(PATIENCE).await.code(), Some(0));
}

async fn a_start_behind_a_pooler_without_room_says_so_and_ends_on_a_signal(database: Database) {
    if !Pooler::is_installed() {
        return;
    }
    let (_dir, database) = TestApp::on(database).prepare();
    let pooler = Pooler::start(&database, "pool_mode = session\ndefault_pool_size = 1");
    let dir = TestApp::on(Database::Postgres).prepare_at(&pooler.url(&database));
    let mut process = spawn(dir.path(), "serve");
    says(&process, "still connecting to the database for ").await;
    process.signal("TERM");
    assert_eq!(process.wait(PATIENCE).await.code(), Some(0));
}

async fn nodes_that_start_together_make_one_ledger(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut nodes = [one, two].map(|node| {
        std::fs::create_dir(&node).expect("made");
        std::fs::copy(dir.path().join("config.toml"), node.join("config.toml")).expect("copied");
        spawn(&node, "serve")
    });
    for node in &mut nodes {
        node.addresses().await;
    }
    assert_eq!(database.number("SELECT COUNT(*) FROM ledger_info"), 1);
    let applied: usize = nodes
        .iter()
        .map(|node| node.log().matches("migration applied").count())
        .sum();
    let all = database.number("SELECT COUNT(*) FROM __diesel_schema_migrations");
    assert_eq!(i64::try_from(applied), Ok(all), "each once");
    drop(nodes);
}

async fn a_start_without_anything_to_migrate_waits_for_no_lock(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    let mut process = spawn(dir.path(), "migrate");
    assert_eq!(process.wait(PATIENCE).await.code(), Some(0));
    // As an older version left it in a pooled session.
    let _held = database.hold(LOCK);
    let mut process = spawn(dir.path(), "serve");
    process.addresses().await;
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_secs(30)).await.code(), Some(0));
}

const LATEST: (&str, &str) = (
    include_str!("../../../migrations/postgres/2026-11-30-060000_room_for_updates/down.sql"),
    "DELETE FROM __diesel_schema_migrations WHERE version = '20261130060000'",
);

/// Of such a session the server tells another role next to nothing.
async fn a_migration_waits_for_long_transactions_of_other_roles_and_holds_nobody_up(_: Database) {
    let cluster = Cluster::start();
    let database = cluster.create_database();
    database.sql("CREATE ROLE owner LOGIN; GRANT CREATE ON SCHEMA public TO owner");
    let url = database.url().replace("postgres@", "owner@");
    let dir = TestApp::on(Database::Postgres).prepare_at(&url);
    let mut process = spawn(dir.path(), "migrate");
    assert_eq!(process.wait(PATIENCE).await.code(), Some(0));
    database.sql(LATEST.0);
    database.sql(LATEST.1);
    let reader = database.hold("SELECT * FROM entries");
    let mut process = spawn(dir.path(), "migrate");
    says(
        &process,
        "waits for other sessions' transactions: the server's process ",
    )
    .await;
    for _ in 0..15 {
        database.sql("SET statement_timeout = '1500ms'; SELECT * FROM entries");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(!process.has_ended());
    drop(reader);
    let code = process.wait(PATIENCE).await.code();
    assert_eq!(code, Some(0), "{}", process.log());
}

/// The machine of such a process may be gone, and the server would not notice for hours.
async fn a_migration_that_stands_still_leaves_the_tables_to_others(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    let mut process = spawn(dir.path(), "migrate");
    assert_eq!(process.wait(PATIENCE).await.code(), Some(0));
    database.sql(LATEST.0);
    database.sql(LATEST.1);
    // It stands still in the middle of its transaction, with the tables locked.
    database.sql(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(8); RETURN NEW; END $$; \
         CREATE TRIGGER dawdle BEFORE INSERT ON __diesel_schema_migrations FOR EACH ROW EXECUTE FUNCTION dawdle()",
    );
    let process = spawn(dir.path(), "migrate");
    let has_tables = "SELECT COUNT(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation = 'entries'::regclass";
    eventually("it has the tables", async || {
        (database.number(has_tables) > 0).then_some(())
    })
    .await;
    process.signal("STOP");
    database.sql("SET statement_timeout = '40s'; SELECT * FROM entries");
    process.signal("CONT");
}
