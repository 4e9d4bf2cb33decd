//! What a ledger needs of its server is checked on every connection.

use serde_json::json;

use crate::support::{
    Cluster, Database, TestApp, TestDatabase, eventually, on_postgres, run_program,
};

use super::{app_at, refused, works};

on_postgres![
    a_database_in_another_encoding_is_refused_before_anything_is_made,
    keys_are_in_the_order_of_bytes_in_a_database_of_any_language,
    a_ledger_that_has_grown_since_it_was_analysed_is_read_by_its_keys,
    a_ledger_that_was_analysed_with_ten_users_is_read_by_its_keys,
    the_settings_of_a_database_and_of_its_roles_change_nothing,
    a_database_without_writes_is_refused_and_not_used_until_it_takes_them,
    a_role_has_what_it_needs_or_is_told_what_it_lacks,
    a_standby_is_refused_and_not_used,
];

async fn a_database_in_another_encoding_is_refused_before_anything_is_made(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        database.recreate(&format!(
            "ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ));
        for command in ["serve", "migrate", "verify"] {
            let said = refused(dir.path(), command).await;
            assert!(
                said.contains(&format!("server_encoding is {encoding}"))
                    && said.contains("has to be UTF8"),
                "{said}"
            );
        }
        let made = "SELECT COUNT(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        assert_eq!(database.number(made), 0);
    }
}

async fn keys_are_in_the_order_of_bytes_in_a_database_of_any_language(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    database.recreate("ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'cs-CZ' TEMPLATE template0");
    assert_eq!(database.number("SELECT ('ch' > 'h')::INT::BIGINT"), 1);
    drop(dir);
    let url = database.url();
    let app = app_at(database, &url).await;
    works(&app, "a").await;
    let others = "SELECT COUNT(*) FROM pg_index, UNNEST(indcollation) AS used WHERE used NOT IN (0, '\"C\"'::regcollation) \
         AND indrelid IN ('entries'::regclass, 'accounts'::regclass, 'balances'::regclass, 'conflicts'::regclass)";
    assert_eq!(app.database.number(others), 0);
}

async fn a_ledger_that_has_grown_since_it_was_analysed_is_read_by_its_keys(database: Database) {
    is_read_by_its_keys(database, 60).await;
}

async fn a_ledger_that_was_analysed_with_ten_users_is_read_by_its_keys(database: Database) {
    is_read_by_its_keys(database, 10).await;
}

/// It is analysed with so many users.
async fn is_read_by_its_keys(database: Database, first: u64) {
    const USERS: u64 = 20_000;
    // The audit reads these indexes, too.
    let builder = TestApp::on(database).set("audit.users_per_s", 0);
    let mut app = builder.start().await;
    for user in 1..=first {
        app.accepted("deposits", user, &format!("first:{user}"), "1")
            .await;
    }
    app.stop().await;
    // What its connections have done is told when they end.
    let sessions = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let have_ended = async |database: &TestDatabase| {
        let left = async || (database.number(sessions) == 0).then_some(());
        eventually("they have ended", left).await;
    };
    have_ended(&app.database).await;
    for table in ["accounts", "balances"] {
        app.database.sql(&format!(
            "ALTER TABLE {table} SET (autovacuum_enabled = false); ANALYZE {table}"
        ));
    }
    app.database.sql("SELECT pg_stat_reset()");
    app.start_again().await;
    // Each writer plans its statements now.
    for user in 1..=4 {
        app.accepted("deposits", user, &format!("again:{user}"), "1")
            .await;
    }
    app.database.sql(&format!(
        "INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) SELECT u, 1, 1, 1 FROM generate_series({first} + 1, {USERS}) u; \
         INSERT INTO balances (user_id, currency, amount) SELECT u, 'TON', 1 FROM generate_series({first} + 1, {USERS}) u"
    ));
    for user in USERS - 3..=USERS {
        app.accepted("deposits", user, &format!("late:{user}"), "1")
            .await;
        let path = format!("/internal/v1/users/{user}/balance?fresh=true");
        app.backend(&path).await.ok();
    }
    app.stop().await;
    have_ended(&app.database).await;
    let read = "SELECT SUM(idx_tup_read)::BIGINT FROM pg_stat_user_indexes WHERE relname IN ('accounts', 'balances')";
    let read = eventually("it is told", async || {
        let read = app.database.number(read);
        (read > 0).then_some(read)
    })
    .await;
    assert!(read < 2000, "{read} rows of indexes were read");
}

async fn the_settings_of_a_database_and_of_its_roles_change_nothing(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    for setting in [
        "standard_conforming_strings = off",
        "backslash_quote = off",
        "\"DateStyle\" = 'German, DMY'",
        "\"IntervalStyle\" = 'sql_standard'",
        "bytea_output = 'escape'",
        "client_encoding = 'LATIN1'",
        "\"TimeZone\" = 'Asia/Kathmandu'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "synchronous_commit = off",
        "search_path = 'nowhere'",
        "statement_timeout = '10min'",
        "lock_timeout = '10min'",
        "transform_null_equals = on",
        "row_security = off",
    ] {
        database.sql(&format!(
            "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || $x$ SET {setting}$x$; END $$"
        ));
    }
    drop(dir);
    let url = database.url();
    let app = app_at(database, &url).await;
    let text = "\u{1f4b0} \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442} \\ ' \" \\x41";
    let body = json!({
        "event_id": "a\\'b", "user_id": 184, "currency": "TON", "amount": "0.000000001",
        "tx_hash": "5c".repeat(32), "occurred_at": "2025-08-04T10:05:00.000001Z", "metadata": {"text": text},
    });
    app.post("deposits", body).await.ok();
    let path = "/internal/v1/users/184/entries";
    let entry = &app.backend(path).await.ok()["entries"][0];
    assert_eq!(
        (
            &entry["metadata"]["text"],
            &entry["tx_hash"],
            &entry["occurred_at"]
        ),
        (
            &json!(text),
            &json!("5c".repeat(32)),
            &json!("2025-08-04T10:05:00.000001Z")
        )
    );
    works(&app, "b").await;
}

async fn a_database_without_writes_is_refused_and_not_used_until_it_takes_them(database: Database) {
    let set = |value: &str| {
        format!(
            "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) \
             || ' SET default_transaction_read_only = {value}'; END $$"
        )
    };
    let mut app = TestApp::on(database).log("info").start().await;
    works(&app, "a").await;
    app.database.sql(&set("on"));
    app.database.end_connections();
    let body = json!({"event_id": "b", "user_id": 184, "currency": "TON", "amount": "1"});
    app.post("deposits", body)
        .await
        .problem(503, "ledger_unavailable");
    let read = app.backend("/internal/v1/users/184/balance?fresh=true");
    assert_eq!(read.await.ok()["stale"], true);
    assert_eq!(app.plain_get(app.internal, "/readyz").await.status, 503);
    let says =
        "the database is not used: the server takes no writes: default_transaction_read_only is on";
    assert_eq!(app.log().matches(says).count(), 1, "{}", app.log());
    // A new one does not start.
    assert_eq!(app.stop().await.code(), Some(0));
    let said = refused(app.dir.path(), "serve").await;
    assert!(
        said.contains("default_transaction_read_only is on"),
        "{said}"
    );
    app.spawn_again();
    assert_eq!(app.wait().await.code(), Some(1));
    app.database
        .sql(&format!("SET transaction_read_only = off; {}", set("off")));
    app.start_again().await;
    works(&app, "c").await;
}

async fn a_role_has_what_it_needs_or_is_told_what_it_lacks(_: Database) {
    let cluster = Cluster::start();
    let database = cluster.create_database();
    database.sql("CREATE ROLE service LOGIN; CREATE ROLE auditor LOGIN;");
    let url_of = |role: &str| database.url().replace("postgres@", &format!("{role}@"));
    let (service, auditor) = (url_of("service"), url_of("auditor"));
    let dir = TestApp::on(Database::Postgres).prepare_at(&service);
    // Since version 15 only the owner may make tables in public.
    database.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let said = refused(dir.path(), "serve").await;
    assert!(said.contains("GRANT CREATE ON SCHEMA \"public\""), "{said}");

    let owner = TestApp::on(Database::Postgres).prepare_at(&database.url());
    let migrated = run_program(
        owner.path(),
        &["migrate", "--config", "config.toml"],
        &[],
        b"",
    );
    assert_eq!(migrated.status.code(), Some(0));
    let said = refused(dir.path(), "serve").await;
    assert!(
        said.contains("the role service lacks rights") && said.contains("SELECT ON ledger_info"),
        "{said}"
    );
    database.sql(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO service, auditor; \
         GRANT INSERT ON entries, conflicts, admin_log, currencies TO service; \
         GRANT INSERT ON accounts, balances TO service",
    );
    let said = refused(dir.path(), "serve").await;
    assert!(
        [
            "UPDATE ON accounts",
            "UPDATE ON ledger_info",
            "DELETE ON conflicts"
        ]
        .iter()
        .all(|right| said.contains(right)),
        "{said}"
    );
    database.sql(
        "GRANT UPDATE ON accounts, balances, ledger_info, conflicts TO service; \
         GRANT DELETE ON conflicts TO service; GRANT INSERT, UPDATE, DELETE ON nodes TO service",
    );
    database.sql("ALTER TABLE balances ENABLE ROW LEVEL SECURITY");
    let said = refused(dir.path(), "serve").await;
    assert!(
        said.contains("row-level security hides rows of balances"),
        "{said}"
    );
    database.sql("ALTER TABLE balances DISABLE ROW LEVEL SECURITY");
    database.sql("ALTER TABLE conflicts SET UNLOGGED");
    let said = refused(dir.path(), "serve").await;
    assert!(said.contains("SET LOGGED"), "{said}");
    database.sql("ALTER TABLE conflicts SET LOGGED");

    // Without the right to make tables.
    let app = app_at(database, &service).await;
    app.accepted("deposits", 184, "a", "1").await;
    let dir = TestApp::on(Database::Postgres).prepare_at(&auditor);
    let verified = run_program(dir.path(), &["verify", "--config", "config.toml"], &[], b"");
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    drop(app);
}

async fn a_standby_is_refused_and_not_used(_: Database) {
    let cluster = Cluster::start();
    let database = cluster.create_database();
    let url = database.url();
    let app = app_at(database, &url).await;
    works(&app, "a").await;
    cluster.stop("fast");
    cluster.set_standby(true);
    cluster.start_again();
    let is_told = async || app.log().contains("the server is a standby").then_some(());
    eventually("the log tells why", is_told).await;
    let body = json!({"event_id": "b", "user_id": 184, "currency": "TON", "amount": "1"});
    app.post("deposits", body)
        .await
        .problem(503, "ledger_unavailable");
    assert_eq!(app.plain_get(app.internal, "/readyz").await.status, 503);
    let dir = TestApp::on(Database::Postgres).prepare_at(&url);
    let said = refused(dir.path(), "serve").await;
    assert!(said.contains("target_session_attrs=read-write"), "{said}");
    // An audit only reads.
    app.assert_ledger_holds();
    cluster.stop("fast");
    cluster.set_standby(false);
    cluster.start_again();
    let is_back =
        async || (app.plain_get(app.internal, "/readyz").await.status == 200).then_some(());
    eventually("the service is ready", is_back).await;
    works(&app, "c").await;
}
