//! SQLite on a full disk: the write-ahead log can't grow. Reads work, entries are refused, and
//! writes resume when there is space.
//!
//! Two ways: a small file system that is really full (a tmpfs; mounting needs rights), and a file
//! size limit on the running service. Where mounting is not allowed, the first test reports that
//! and uses the limit.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::support::{Database, TestApp, TestDatabase, eventually, on_sqlite};

use super::{Reads, Scene, settings};

on_sqlite![
    a_full_file_system_refuses_entries_and_loses_none,
    a_file_that_may_not_grow_refuses_entries_and_loses_none,
];

/// Space for the test's ledger and little more.
const DISK_BYTES: u64 = 24 << 20;

async fn a_full_file_system_refuses_entries_and_loses_none(_: Database) {
    run(Room::mount().unwrap_or(Room::Limited)).await;
}

async fn a_file_that_may_not_grow_refuses_entries_and_loses_none(_: Database) {
    run(Room::Limited).await;
}

enum Room {
    Mounted(Mounted),
    Limited,
}

struct Mounted {
    dir: tempfile::TempDir,
    sudo: &'static [&'static str],
}

impl Room {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let size = format!("size={DISK_BYTES},mode=777");
        for sudo in [&[][..], &["sudo", "-n"][..]] {
            let path = dir.path().to_str().expect("UTF-8");
            let mount = ["mount", "-t", "tmpfs", "-o", &size, "tmpfs", path];
            if succeeds(&[sudo, &mount[..]].concat()) {
                return Some(Self::Mounted(Mounted { dir, sudo }));
            }
        }
        let notice = "no rights to mount a small file system here: a limit on the size of files stands in for it";
        // Past the test runner's capture, so that it is visible.
        let _ = writeln!(std::io::stderr(), "{notice}");
        None
    }

    /// Fills the file system.
    fn fill(&self, app: &TestApp, ledger: &Path) {
        match self {
            Self::Mounted(mounted) => {
                let mut filler = std::fs::File::create(mounted.filler()).expect("it opens");
                for size in [1 << 16, 1 << 10, 1] {
                    while filler.write_all(&vec![0; size]).is_ok() {}
                }
            }
            Self::Limited => {
                // The log may be longer than the file, but it can restart only after a checkpoint
                // into the file.
                let length = std::fs::metadata(ledger).expect("a ledger").len();
                limit(app, &length.to_string());
            }
        }
    }

    /// Frees the space.
    fn free(&self, app: &TestApp) {
        match self {
            Self::Mounted(mounted) => std::fs::remove_file(mounted.filler()).expect("removed"),
            Self::Limited => limit(app, "unlimited"),
        }
    }
}

impl Mounted {
    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let path = self.dir.path().to_str().expect("UTF-8");
        let done = succeeds(&[self.sudo, &["umount", path][..]].concat());
        assert!(done || std::thread::panicking(), "{path} is still mounted");
    }
}

fn succeeds(command: &[&str]) -> bool {
    Command::new(command[0])
        .args(&command[1..])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Sets the soft limit on the size of files that the running service may write.
fn limit(app: &TestApp, bytes: &str) {
    let done = succeeds(&[
        "prlimit",
        "--pid",
        &app.pid().to_string(),
        &format!("--fsize={bytes}:"),
    ]);
    assert!(done, "prlimit (of util-linux) can't limit the service");
}

async fn run(room: Room) {
    let files = tempfile::tempdir().expect("a directory");
    let ledger = match &room {
        Room::Mounted(mounted) => mounted.dir.path().join("ledger.db"),
        Room::Limited => files.path().join("ledger.db"),
    };
    let database = TestDatabase::Sqlite(ledger.clone());
    let (url, dir) = (database.url(), tempfile::tempdir().expect("a directory"));
    let app = settings(TestApp::on(Database::Sqlite))
        .start_with(dir, database, &url)
        .await;
    let mut scene = Scene::open(app).await;
    for _ in 0..2 {
        room.fill(&scene.app, &ledger);
        // Space already allocated to the log can still be used. A large transaction is refused before a small one is, such as the
        // trial of a health check.
        let refused = || scene.load.told.refused.lock().expect("no panic holds it")[0];
        let before = refused();
        let app = &scene.app;
        eventually("there is no room left", async || {
            let ready = app.plain_get(app.public, "/readyz").await;
            (refused() > before && ready.status == 503).then_some(())
        })
        .await;
        scene.during(Reads::GoOn).await;
        room.free(&scene.app);
        scene
            .recovers("SQLite without room", Instant::now(), Reads::GoOn)
            .await;
    }
    scene.close(None).await;
}
