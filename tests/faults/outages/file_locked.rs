//! An SQLite file whose write lock another process holds: reads work, entries are refused until it
//! is released.

use std::time::Instant;

use crate::support::{Database, TestApp, on_sqlite};

use super::{Reads, Scene, settings};

on_sqlite![a_file_that_another_process_locks_refuses_entries_and_loses_none];

async fn a_file_that_another_process_locks_refuses_entries_and_loses_none(database: Database) {
    let mut scene = Scene::open(settings(TestApp::on(database)).start().await).await;
    for lock in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        // This process is not the service.
        let held = scene.app.database.hold(lock);
        scene.during(Reads::GoOn).await;
        drop(held);
        scene
            .recovers(
                &format!("SQLite behind {lock}"),
                Instant::now(),
                Reads::GoOn,
            )
            .await;
    }
    scene.close(None).await;
}
