//! Copies SQLite's write-ahead log into its file, on a thread and a connection of its own.
//!
//! By itself SQLite does it inside a commit, once for every thousand pages, and whoever waits for that commit waits for the
//! copying and its syncs, too. Passive checkpoints go on beside a writer, but while writes never pause they never come to
//! its end, and the log can't begin anew behind them. So once the log is long ([`LONG_PAGES`]) they follow each other until
//! hardly anything is left, and the writer does that between two transactions.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Integer;
use diesel::sqlite::SqliteConnection;

use super::connect;
use crate::clock::Clock;
use crate::ledger::store::StoreError;

/// The length of the log at which it is to begin anew, in pages of 4 KiB: 128 MiB.
pub(super) const LONG_PAGES: i32 = 32_768;

/// The length at which SQLite does it all inside a commit: nothing else has helped.
pub(super) const AUTOCHECKPOINT_PAGES: u32 = 131_072;

/// The shortest time between two checkpoints, and between one of the writer's and the next.
const GAP: Duration = Duration::from_millis(50);

/// A checkpoint that takes no longer leaves hardly anything to the writer.
const SHORT: Duration = Duration::from_millis(5);

/// How far behind the other threads this one stands for a processor.
const NICE: i32 = 10;

/// After so many in a row it is the writer's turn, whatever is left.
const IN_A_ROW_MAX: u32 = 16;

/// The thread; it ends with this.
pub(super) struct Checkpoints {
    /// `None` when it is ending.
    commits: Option<Sender<()>>,
    is_writers_turn: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread, for a log that is to begin anew at `long_pages`. Without one, SQLite does all of it.
    pub(super) fn start(path: PathBuf, long_pages: i32) -> Self {
        let (commits, committed) = bounded(1);
        let is_writers_turn = Arc::new(AtomicBool::new(false));
        let turn = is_writers_turn.clone();
        let thread =
            thread::Builder::new().name("checkpoints".into()).spawn(move || run(&path, long_pages, &committed, &turn));
        if let Err(error) = &thread {
            log::warn!("checkpoints are left to commits: {error}");
        }
        Self { commits: Some(commits), is_writers_turn, thread: thread.ok() }
    }

    /// There is something to copy.
    pub(super) fn committed(&self) {
        if let Some(commits) = &self.commits {
            // Full: it is told already.
            let _ = commits.try_send(());
        }
    }

    /// To be called between two transactions: does the rest that only the writer can do, when there is one.
    pub(super) fn take_turn(&self, connection: &mut SqliteConnection) {
        if self.is_writers_turn.swap(false, Ordering::Relaxed) {
            // It will be its turn again.
            let _ = checkpoint(connection).inspect_err(|error| log::debug!("the log stays long: {error}"));
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

/// What SQLite tells of a checkpoint.
#[derive(QueryableByName)]
struct Checkpointed {
    /// The length of the log, in pages.
    #[diesel(sql_type = Integer)]
    log: i32,
}

fn checkpoint(connection: &mut SqliteConnection) -> Result<Checkpointed, StoreError> {
    Ok(sql_query("PRAGMA wal_checkpoint(PASSIVE)").get_result(connection)?)
}

fn run(path: &Path, long_pages: i32, committed: &Receiver<()>, is_writers_turn: &AtomicBool) {
    // Of this thread: commits come first. Where that is not allowed, it goes as well.
    let _ = rustix::process::setpriority_process(None, NICE);
    let clock = Clock::system();
    let mut connection: Option<SqliteConnection> = None;
    let mut file: Option<ManuallyDrop<File>> = None;
    let mut in_a_row = 0;
    while committed.recv().is_ok() {
        let begun_us = clock.monotonic_us();
        let is_long = match opened(path, &mut connection).and_then(checkpoint) {
            Ok(Checkpointed { log }) => log >= long_pages,
            Err(error) => {
                log::debug!("a checkpoint is left to the writer: {error}");
                connection = None;
                false
            }
        };
        if is_long {
            flush(path, &mut file);
        }
        let took = Duration::from_micros(clock.monotonic_us().saturating_sub(begun_us));
        if is_long && took > SHORT && in_a_row < IN_A_ROW_MAX {
            in_a_row += 1;
            continue;
        }
        in_a_row = 0;
        is_writers_turn.store(is_long, Ordering::Relaxed);
        thread::sleep(GAP);
    }
}

/// Has the system write the file to the disk. SQLite does so, too, and has to, but only with the end of the log, and
/// then it is the writer who waits for it.
fn flush(path: &Path, file: &mut Option<ManuallyDrop<File>>) {
    if file.is_none() {
        // Never closed: with it this process would lose the locks that SQLite has on the file.
        *file = File::open(path).ok().map(ManuallyDrop::new);
    }
    if let Some(file) = file {
        // What could not be written SQLite will find, too.
        let _ = file.sync_data();
    }
}

fn opened<'a>(
    path: &Path,
    connection: &'a mut Option<SqliteConnection>,
) -> Result<&'a mut SqliteConnection, StoreError> {
    Ok(match connection {
        Some(open) => open,
        None => connection.insert(connect(path, 0)?),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use diesel::connection::SimpleConnection;

    use super::*;

    const ROWS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n";

    #[test]
    fn what_is_committed_comes_into_the_file_beside_the_writer() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut writer = connect(&path, 1000).expect("a new file");
        writer.batch_execute(&format!("CREATE TABLE t (i INTEGER); INSERT INTO t {ROWS};")).expect("written");
        let length = || fs::metadata(&path).expect("a file").len();
        let before = length();
        let checkpoints = Checkpoints::start(path.clone(), LONG_PAGES);
        assert_eq!(length(), before, "nobody has committed");
        checkpoints.committed();
        let start = Instant::now();
        while length() == before {
            assert!(start.elapsed() < Duration::from_secs(20), "the file is still {before} bytes long");
            thread::sleep(Duration::from_millis(5));
        }
        drop(checkpoints);
        writer.batch_execute("INSERT INTO t VALUES (0);").expect("the writer is not in its way");
    }

    #[test]
    fn the_log_begins_anew_behind_a_writer_that_never_pauses() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut writer = connect(&path, 1000).expect("a new file");
        writer.batch_execute("CREATE TABLE t (i INTEGER);").expect("written");
        // Of the log's head: how many times it has begun.
        let begun = || fs::read(dir.path().join("ledger.db-wal")).expect("a log")[12..16].to_vec();
        let before = begun();
        let checkpoints = Checkpoints::start(path, 64);
        let start = Instant::now();
        while begun() == before {
            assert!(start.elapsed() < Duration::from_secs(60), "the log only grows");
            checkpoints.take_turn(&mut writer);
            writer.batch_execute(&format!("INSERT INTO t {ROWS};")).expect("written");
            checkpoints.committed();
        }
    }
}
