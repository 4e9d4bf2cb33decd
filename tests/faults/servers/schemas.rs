//! Where in a database the tables are: `database.schema`.

use serde_json::json;

use crate::support::{Database, TestApp, eventually, on_postgres, run_program};

use super::{app_at, refused, spawn, works};

on_postgres![
    tables_of_another_program_are_left_alone_unless_their_schema_is_named,
    everything_works_in_a_schema_of_its_own,
    a_ledger_is_not_begun_beside_one_in_another_schema,
    two_ledgers_in_one_database_know_nothing_of_each_other,
];

/// Tables, views and the like in a schema.
fn relations(schema: &str) -> String {
    format!(
        "SELECT COUNT(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
         WHERE nspname = '{schema}' AND relkind IN ('r', 'v', 'm')"
    )
}

async fn tables_of_another_program_are_left_alone_unless_their_schema_is_named(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    database.sql("CREATE TABLE users (id BIGINT)");
    for command in ["serve", "migrate"] {
        let said = refused(dir.path(), command).await;
        assert!(
            said.contains("the schema public has tables of another program (users)")
                && said.contains("database.schema"),
            "{said}"
        );
    }
    assert_eq!(database.number(&relations("public")), 1, "nothing was made");
    let named = TestApp::on(Database::Postgres)
        .set("database.schema", "public")
        .prepare_at(&database.url());
    let run = |command| {
        run_program(
            named.path(),
            &[command, "--config", "config.toml"],
            &[],
            b"",
        )
    };
    assert_eq!(run("migrate").status.code(), Some(0));
    assert_eq!(run("verify").status.code(), Some(0));
    // With our tables in it, the name is not needed any more.
    let url = database.url();
    works(&app_at(database, &url).await, "a").await;

    // Even where it is named, a table with a name of ours is not taken for ours.
    let (dir, database) = TestApp::on(Database::Postgres)
        .set("database.schema", "public")
        .prepare();
    database.sql("CREATE TABLE accounts (id BIGINT)");
    let said = refused(dir.path(), "migrate").await;
    assert!(
        said.contains("has a table accounts of another program"),
        "{said}"
    );
    assert_eq!(database.number(&relations("public")), 1, "nothing was made");
}

async fn everything_works_in_a_schema_of_its_own(database: Database) {
    let app = TestApp::on(database)
        .set("database.schema", "Ledger-1")
        .start()
        .await;
    works(&app, "a").await;
    app.accepted("rewards", 184, "r", "2").await;
    let body = json!({"event_id": "r", "user_id": 184, "currency": "TON", "amount": "3"});
    app.post("rewards", body)
        .await
        .problem(409, "idempotency_conflict");
    assert_eq!(
        app.admin("/admin/v1/conflicts").await.ok()["conflicts"][0]["event_id"],
        "r"
    );
    app.backend("/internal/v1/users/184/entries").await.ok();
    // The continuous audit looks indexes up by the table's name.
    let is_audited = async || {
        let audit = app.admin("/admin/v1/audit").await.ok();
        (audit["users_total"].as_u64() > Some(0)).then_some(audit)
    };
    let audit = eventually("a user is checked", is_audited).await;
    assert_eq!(audit["violations_total"], 0, "{audit}");
    app.assert_ledger_holds();
    assert_eq!(app.database.number(&relations("public")), 0);
    assert!(app.database.number(&relations("Ledger-1")) >= 8);
    app.database
        .sql("UPDATE \"Ledger-1\".balances SET amount = amount + 1");
    assert_eq!(app.command("verify").status.code(), Some(1));
}

async fn a_ledger_is_not_begun_beside_one_in_another_schema(database: Database) {
    let (dir, database) = TestApp::on(database)
        .set("database.schema", "before")
        .prepare();
    let migrated = run_program(
        dir.path(),
        &["migrate", "--config", "config.toml"],
        &[],
        b"",
    );
    assert_eq!(migrated.status.code(), Some(0));
    let unnamed = TestApp::on(Database::Postgres).prepare_at(&database.url());
    for command in ["serve", "migrate"] {
        let said = refused(unnamed.path(), command).await;
        assert!(said.contains("set database.schema to before"), "{said}");
    }
    assert_eq!(database.number(&relations("public")), 0);
}

async fn two_ledgers_in_one_database_know_nothing_of_each_other(database: Database) {
    let first = TestApp::on(database)
        .set("database.schema", "one")
        .start()
        .await;
    let dir = TestApp::on(Database::Postgres)
        .set("database.schema", "two")
        .prepare_at(&first.database.url());
    let mut second = spawn(dir.path(), "serve");
    second.addresses().await;
    works(&first, "a").await;
    assert_eq!(first.database.number("SELECT COUNT(*) FROM one.entries"), 1);
    assert_eq!(first.database.number("SELECT COUNT(*) FROM two.entries"), 0);
    second.kill();
}
