//! The other commands, and the start and end of the service.

use std::ffi::OsString;
use std::process::Command;

use serde_json::{Value, json};

use crate::entry;
use crate::support::{
    Database, PATIENCE, Process, Signed, TestApp, on_both_databases, on_sqlite, run_program,
};

on_both_databases![
    migrations_can_be_applied_before_the_start,
    tampering_with_the_ledger_is_found,
    the_epoch_and_all_balances_outlive_a_restart,
];
on_sqlite![
    both_signals_stop_it_with_exit_code_0,
    a_port_that_is_taken_stops_the_start,
    a_file_of_another_program_is_left_alone,
    development_mode_works_in_an_empty_directory,
    there_is_no_demo_page_outside_of_development,
];

async fn migrations_can_be_applied_before_the_start(database: Database) {
    let (dir, database) = TestApp::on(database)
        .set("database.migrate_on_start", false)
        .prepare();
    let run =
        |command: &str| run_program(dir.path(), &[command, "--config", "config.toml"], &[], b"");
    let refused = run("serve");
    assert_eq!(
        refused.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    for _ in 0..2 {
        let output = run("migrate");
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(run("verify").status.code(), Some(0));
    let arguments = ["serve", "--config", "config.toml"].map(OsString::from);
    let mut service = Process::start(dir.path(), &arguments, &[], &dir.path().join("service.log"));
    service.addresses().await;
    drop(service);
    drop(database);
}

async fn a_file_of_another_program_is_left_alone(database: Database) {
    let (dir, database) = TestApp::on(database).prepare();
    database.sql("CREATE TABLE users (id INTEGER)");
    for command in ["serve", "migrate"] {
        let arguments = [command, "--config", "config.toml"].map(OsString::from);
        let log = dir.path().join("service.log");
        let mut process = Process::start(dir.path(), &arguments, &[], &log);
        assert_eq!(process.wait(PATIENCE).await.code(), Some(1));
        let said = process.log();
        assert!(
            said.contains("tables of another program (users) and no ledger"),
            "{said}"
        );
    }
    // Nothing was made: a table of ours can be.
    database.sql("CREATE TABLE entries (id INTEGER)");
}

async fn tampering_with_the_ledger_is_found(database: Database) {
    let app = TestApp::start(database).await;
    for user_id in 1..=6 {
        for n in 1..=3 {
            app.accepted("deposits", user_id, &format!("{user_id}.{n}"), "1")
                .await;
        }
    }
    app.assert_ledger_holds();
    app.database.sql(
        "UPDATE balances SET amount = amount + 1 WHERE user_id = 1; \
         UPDATE accounts SET version = version + 1 WHERE user_id = 2; \
         UPDATE entries SET balance_after = balance_after + 1 WHERE user_id = 3 AND version = 2; \
         DELETE FROM entries WHERE user_id = 4 AND version = 2; \
         DROP INDEX entries_event_id; \
         UPDATE entries SET event_id = '5.1' WHERE user_id = 5 AND version = 2",
    );
    let output = app.command("verify");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    for part in ["user 1 ", "user 2:", "user 3 ", "user 4", "5.1"] {
        assert!(
            printed.lines().any(|line| line.contains(part)),
            "{part} in\n{printed}"
        );
    }
    assert!(!printed.contains("user 6"), "{printed}");
    assert!(printed.lines().count() >= 5, "{printed}");
}

async fn the_epoch_and_all_balances_outlive_a_restart(database: Database) {
    let mut app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let (ws, before) = app.session(1).await;
    ws.close().await;
    assert_eq!(app.stop().await.code(), Some(0));
    app.start_again().await;
    let (_, after) = app.session(1).await;
    for key in ["epoch", "version", "balances"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(
        app.post("deposits", entry("d", 1, "TON", "1")).await.ok()["duplicate"],
        true
    );
}

async fn both_signals_stop_it_with_exit_code_0(database: Database) {
    for signal in ["TERM", "INT"] {
        let mut app = TestApp::start(database).await;
        app.accepted("deposits", 1, "d", "1").await;
        let (_ws, _) = app.session(1).await;
        app.signal(signal);
        assert_eq!(app.wait().await.code(), Some(0), "{signal}");
        app.assert_ledger_holds();
    }
}

async fn a_port_that_is_taken_stops_the_start(database: Database) {
    let app = TestApp::start(database).await;
    let (dir, _database) = TestApp::on(database)
        .set("server.internal_addr", app.internal.to_string())
        .prepare();
    let output = run_program(dir.path(), &["serve", "--config", "config.toml"], &[], b"");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&app.internal.to_string()), "{error}");
}

async fn development_mode_works_in_an_empty_directory(_: Database) {
    let outside = tempfile::tempdir().expect("a directory");
    let dir = tempfile::tempdir().expect("a directory");
    let addresses = ["PUBLIC", "INTERNAL"].map(|which| {
        (
            format!("BALANCE_SERVER__{which}_ADDR"),
            "127.0.0.1:0".to_owned(),
        )
    });
    let arguments = ["serve", "--dev"].map(OsString::from);
    let mut service = Process::start(
        dir.path(),
        &arguments,
        &addresses,
        &outside.path().join("service.log"),
    );
    let (public, internal) = service.addresses().await;
    let banner = crate::support::eventually("the banner is printed", async || {
        let printed = service.printed();
        printed
            .trim_end()
            .ends_with("-d \"$BODY\"")
            .then_some(printed)
    })
    .await;
    assert!(
        banner.contains(&format!("http://{public}/")) && banner.contains(&internal.to_string()),
        "{banner}"
    );
    // Pasted twice, it makes two deposits, or one when both have the same second and random number.
    assert!(
        !banner.contains("whsec_"),
        "the secret stays in its file: {banner}"
    );
    let snippet = banner.split_once("SECRET=").expect("the snippet").1;
    let script = format!("SECRET={snippet}");
    for _ in 0..2 {
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(dir.path())
            .output()
            .expect("bash runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer: Value = serde_json::from_str(text.trim()).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        assert_eq!(
            (&answer["user_id"], &answer["duplicate"].is_boolean()),
            (&json!(184), &true),
            "{answer}"
        );
    }
    let page = reqwest::get(format!("http://{public}/"))
        .await
        .expect("an answer");
    assert_eq!(page.status().as_u16(), 200);
    let kind = page.headers()["content-type"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(kind.starts_with("text/html"), "{kind}");
    for file in ["balance.db", "balance.dev.toml"] {
        assert!(dir.path().join(file).exists(), "{file}");
    }
    service.signal("TERM");
    assert_eq!(service.wait(crate::support::PATIENCE).await.code(), Some(0));
}

async fn there_is_no_demo_page_outside_of_development(database: Database) {
    let app = TestApp::start(database).await;
    app.plain_get(app.public, "/")
        .await
        .problem(404, "not_found");
    app.send(Signed::get("/")).await.problem(404, "not_found");
}
