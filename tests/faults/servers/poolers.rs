//! A pooler between the service and its server: in session mode everything works, and a mode that shares sessions is
//! refused before anything is set in a session that another client gets.

use std::sync::atomic::{AtomicBool, Ordering};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use serde_json::json;

use crate::support::{Database, Pooler, TestApp, eventually, on_postgres};

use super::{app_at, refused, works};

on_postgres![
    a_pooler_in_transaction_mode_is_refused_and_no_session_is_changed,
    a_pooler_in_statement_mode_is_refused,
    a_pooler_in_session_mode_works_through_restarts,
    a_pooler_that_comes_back_in_another_mode_is_not_used,
];

/// Ways in which sessions are handed out.
const TRANSACTION_MODES: [&str; 4] = [
    "pool_mode = transaction",
    "pool_mode = transaction\ndefault_pool_size = 1",
    "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 5",
    "pool_mode = transaction\nserver_reset_query_always = 1",
];

/// What a session of ours would have changed; empty where nothing did.
fn left_behind(url: &str) -> String {
    let mut connection = PgConnection::establish(url).expect("the pooler answers");
    let query = diesel::dsl::sql::<diesel::sql_types::Text>(
        "SELECT concat_ws(', ', \
         (SELECT string_agg(name || '=' || setting, ', ') FROM pg_settings WHERE source = 'session' \
          AND name NOT IN ('TimeZone', 'client_encoding', 'application_name', 'DateStyle', 'standard_conforming_strings', \
          'extra_float_digits') AND name NOT LIKE 'transaction_%'), \
         (SELECT 'prepared: ' || string_agg(name, ', ') FROM pg_prepared_statements WHERE name <> ''), \
         (SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory' \
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1))",
    );
    connection.batch_execute("BEGIN").expect("begun");
    let left = query.get_result(&mut connection).expect("asked");
    connection.batch_execute("COMMIT").expect("ended");
    left
}

async fn a_pooler_in_transaction_mode_is_refused_and_no_session_is_changed(database: Database) {
    if !Pooler::is_installed() {
        return;
    }
    let (dir, database) = TestApp::on(database).prepare();
    drop(dir);
    for settings in TRANSACTION_MODES {
        let pooler = Pooler::start(&database, settings);
        let dir = TestApp::on(Database::Postgres).prepare_at(&pooler.url(&database));
        // The second time, the sessions of the first are there.
        for command in ["serve", "migrate", "verify", "serve"] {
            let said = refused(dir.path(), command).await;
            assert!(
                said.contains("a pooler in transaction or statement mode"),
                "{settings}: {said}"
            );
        }
        assert_eq!(left_behind(&pooler.url(&database)), "", "{settings}");
    }
    let made = "SELECT COUNT(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(database.number(made), 0);

    // While another client takes and gives back sessions all the time.
    let pooler = Pooler::start(&database, "pool_mode = transaction");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| neighbour(&pooler.url(&database), &is_done));
        }
        let dir = TestApp::on(Database::Postgres).prepare_at(&pooler.url(&database));
        let arguments = ["serve", "--config", "config.toml"];
        for _ in 0..5 {
            let output = crate::support::run_program(dir.path(), &arguments, &[], b"");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.contains("a pooler has to be in session mode")
                    || said.contains("in transaction or statement mode"),
                "{said}"
            );
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(left_behind(&pooler.url(&database)), "");
}

/// A client that runs short transactions.
fn neighbour(url: &str, is_done: &AtomicBool) {
    let mut connection = PgConnection::establish(url).expect("the pooler answers");
    while !is_done.load(Ordering::Relaxed) {
        connection
            .batch_execute("BEGIN; SELECT 1; COMMIT")
            .expect("it runs");
    }
}

async fn a_pooler_in_statement_mode_is_refused(database: Database) {
    if !Pooler::is_installed() {
        return;
    }
    let (_dir, database) = TestApp::on(database).prepare();
    let pooler = Pooler::start(&database, "pool_mode = statement");
    let dir = TestApp::on(Database::Postgres).prepare_at(&pooler.url(&database));
    let said = refused(dir.path(), "serve").await;
    assert!(
        said.contains("a pooler has to be in session mode"),
        "{said}"
    );
}

async fn a_pooler_in_session_mode_works_through_restarts(database: Database) {
    if !Pooler::is_installed() {
        return;
    }
    let (_dir, database) = TestApp::on(database).prepare();
    let pooler = Pooler::start(&database, "pool_mode = session");
    let url = pooler.url(&database);
    let mut app = app_at(database, &url).await;
    works(&app, "a").await;
    for event_id in ["b", "c"] {
        assert_eq!(app.stop().await.code(), Some(0));
        app.start_again().await;
        works(&app, event_id).await;
    }
    app.kill();
    app.start_again().await;
    works(&app, "d").await;
    app.database.end_connections();
    let is_back = async || {
        let body = json!({"event_id": "e", "user_id": 184, "currency": "TON", "amount": "1"});
        (app.post("deposits", body).await.status == 200).then_some(())
    };
    eventually("the service writes again", is_back).await;
    works(&app, "f").await;
    assert_eq!(app.stop().await.code(), Some(0));
    assert_eq!(left_behind(&url), "", "the pooler cleans its sessions");
}

async fn a_pooler_that_comes_back_in_another_mode_is_not_used(database: Database) {
    if !Pooler::is_installed() {
        return;
    }
    let (_dir, database) = TestApp::on(database).prepare();
    let mut pooler = Pooler::start(&database, "pool_mode = session");
    let url = pooler.url(&database);
    let app = app_at(database, &url).await;
    works(&app, "a").await;
    pooler.stop();
    unavailable(&app, "b").await;
    pooler.restart("pool_mode = transaction");
    let is_told = async || {
        let told = app
            .log()
            .contains("a pooler in transaction or statement mode");
        unavailable(&app, "c").await;
        told.then_some(())
    };
    eventually("the log tells why", is_told).await;
    assert_eq!(left_behind(&url), "");
    pooler.restart("pool_mode = session");
    let is_back =
        async || (app.plain_get(app.internal, "/readyz").await.status == 200).then_some(());
    eventually("the service is ready", is_back).await;
    works(&app, "d").await;
}

async fn unavailable(app: &TestApp, event_id: &str) {
    let body = json!({"event_id": event_id, "user_id": 184, "currency": "TON", "amount": "1"});
    app.post("deposits", body)
        .await
        .problem(503, "ledger_unavailable");
}
