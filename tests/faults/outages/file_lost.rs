//! The file of an SQLite ledger, or its log, is removed or replaced beside the running service: nothing that is written
//! after that is said to be durable, and the service ends.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Database, TestApp, TestDatabase, on_sqlite};

on_sqlite![
    what_is_written_to_a_file_that_was_removed_or_replaced_is_never_called_durable,
    a_second_service_on_one_file_is_refused,
    without_an_entry_the_loss_of_the_file_is_noticed_too,
];

fn file(app: &TestApp) -> PathBuf {
    match &app.database {
        TestDatabase::Sqlite(path) => path.clone(),
        TestDatabase::Postgres { .. } => panic!("a file"),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

async fn what_is_written_to_a_file_that_was_removed_or_replaced_is_never_called_durable(
    database: Database,
) {
    let removed = |path: &Path| fs::remove_file(path).expect("removed");
    let moved = |path: &Path| fs::rename(path, beside(path, ".old")).expect("moved");
    let replaced = |path: &Path| {
        // As a backup is brought back beside a service that was forgotten.
        fs::copy(path, beside(path, ".copy")).expect("copied");
        fs::rename(beside(path, ".copy"), path).expect("replaced");
    };
    let without_log = |path: &Path| fs::remove_file(beside(path, "-wal")).expect("removed");
    let with_another_log = |path: &Path| {
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(beside(path, suffix)).expect("removed");
        }
        // Whoever opens the file now makes a log of its own.
        let other = rusqlite::Connection::open(path).expect("opened");
        other
            .execute_batch("PRAGMA wal_autocheckpoint = 0; UPDATE ledger_info SET epoch = epoch")
            .expect("written");
        std::mem::forget(other);
    };
    type Accident<'a> = (&'a str, &'a dyn Fn(&Path));
    let accidents: [Accident<'_>; 5] = [
        ("removed", &removed),
        ("moved", &moved),
        ("replaced", &replaced),
        ("without its log", &without_log),
        ("with another log", &with_another_log),
    ];
    for (accident, action) in accidents {
        let mut app = TestApp::on(database).start().await;
        app.accepted("deposits", 184, "before", "1").await;
        action(&file(&app));
        // What writes nothing says nothing of the files.
        let again = json!({"event_id": "before", "user_id": 184, "currency": "TON", "amount": "1"});
        let _ = app
            .try_send(crate::support::Signed::post(
                "/internal/v1/deposits",
                &again,
            ))
            .await;
        let body = json!({"event_id": "after", "user_id": 184, "currency": "TON", "amount": "1"});
        let request = crate::support::Signed::post("/internal/v1/deposits", &body);
        // The process may end before it answers.
        if let Ok(answer) = app.try_send(request).await {
            assert_eq!(answer.status, 503, "{accident}: {answer:?}");
        }
        let status = app.wait().await;
        assert_eq!(status.code(), Some(1), "{accident}\n{}", app.log());
        assert!(
            app.log().contains("removed or replaced"),
            "{accident}\n{}",
            app.log()
        );
    }
}

async fn without_an_entry_the_loss_of_the_file_is_noticed_too(database: Database) {
    let mut app = TestApp::on(database).start().await;
    fs::remove_file(file(&app)).expect("removed");
    // The process may have ended already.
    if let Ok(answer) = app
        .http
        .get(format!("http://{}/readyz", app.internal))
        .send()
        .await
    {
        assert_eq!(answer.status().as_u16(), 503);
    }
    assert_eq!(app.wait().await.code(), Some(1), "{}", app.log());
}

async fn a_second_service_on_one_file_is_refused(database: Database) {
    let first = TestApp::on(database).start().await;
    first.accepted("deposits", 184, "a", "1").await;
    let refused = first.command("serve");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("another service runs on"), "{said}");
    // Commands that only look, and the first service, go on.
    first.assert_ledger_holds();
    first.accepted("deposits", 184, "b", "1").await;
}
