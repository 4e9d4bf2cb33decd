//! Copies SQLite's write-ahead log into its file, on a thread and a connection of its own.
//!
//! By itself SQLite does it inside a commit, once for every thousand pages, and whoever waits for that commit waits for the
//! copying and its syncs, too. Passive checkpoints go on beside a writer. While writes never pause the log can't begin anew
//! behind them, so the writer still does the small rest itself, once for every [`WRITERS_PAGES`].

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;

use super::connect;

/// The length of the log, in pages of 4 KiB, at which the writer shortens it: 64 MiB.
pub(super) const WRITERS_PAGES: u32 = 16_384;

/// The shortest time between two checkpoints.
const GAP: Duration = Duration::from_millis(50);

/// The thread; it ends with this.
pub(super) struct Checkpoints {
    /// `None` when it is ending.
    commits: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread. Without one, the writer does all of it.
    pub(super) fn start(path: PathBuf) -> Self {
        let (commits, committed) = bounded(1);
        let thread = thread::Builder::new().name("checkpoints".into()).spawn(move || run(&path, &committed));
        if let Err(error) = &thread {
            log::warn!("checkpoints are left to the writer: {error}");
        }
        Self { commits: Some(commits), thread: thread.ok() }
    }

    /// There is something to copy.
    pub(super) fn committed(&self) {
        if let Some(commits) = &self.commits {
            // Full: it is told already.
            let _ = commits.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            // It has said why it panicked.
            let _ = thread.join();
        }
    }
}

fn run(path: &Path, committed: &Receiver<()>) {
    let mut connection: Option<SqliteConnection> = None;
    while committed.recv().is_ok() {
        if connection.is_none() {
            connection = connect(path, 0).ok();
        }
        let checkpoint = connection.as_mut().map(|open| open.batch_execute("PRAGMA wal_checkpoint(PASSIVE)"));
        if let Some(Err(error)) = checkpoint {
            log::debug!("a checkpoint is left to the writer: {error}");
            connection = None;
        }
        thread::sleep(GAP);
    }
}
