//! Copies SQLite's write-ahead log into its file, on a thread and a connection of its own.
//!
//! Left to itself SQLite copies inside a commit, once for every thousand pages, and the deposits of that commit wait for
//! the copying and its syncs. Here passive checkpoints do it beside the writer. While writes never pause, they never reach
//! the end of the log, and it can't begin anew; so a commit still copies the rest once the log has 256 MiB.
//!
//! After the last commit the log is emptied: the file of a stopped service is complete by itself.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;

use crate::ledger::connection::sqlite_file::connect;
use crate::ledger::errors::StoreError;

/// The time between two checkpoints while there are commits.
const GAP: Duration = Duration::from_millis(250);

/// The thread; it ends with this.
pub(super) struct Checkpoints {
    /// `None` when it is ending.
    commits: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread. Without one, commits copy everything.
    pub(super) fn start(path: PathBuf) -> Self {
        let (commits, committed) = bounded(1);
        let thread = thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || run(path, &committed));
        if let Err(error) = &thread {
            log::warn!("there is no thread for checkpoints, so commits do them: {error}");
        }
        Self {
            commits: Some(commits),
            thread: thread.ok(),
        }
    }

    /// There is something to copy.
    pub(super) fn committed(&self) {
        if let Some(commits) = &self.commits {
            // Full: the thread has been told already.
            let _ = commits.try_send(());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.commits = None;
        if let Some(thread) = self.thread.take() {
            // It may be in its gap.
            thread.thread().unpark();
            // A panic was logged where it happened.
            let _ = thread.join();
        }
    }
}

fn run(path: PathBuf, committed: &Receiver<()>) {
    let mut kept = None;
    let mut checkpoint = |sql| {
        let done = match kept.take() {
            Some(open) => Ok(open),
            None => connect(&path, 0).map_err(StoreError::from),
        };
        let done = done.and_then(|mut connection: SqliteConnection| {
            connection.batch_execute(sql)?;
            Ok(connection)
        });
        match done {
            Ok(connection) => kept = Some(connection),
            Err(error) => log::debug!("a checkpoint has failed: {error}"),
        }
    };
    while committed.recv().is_ok() {
        checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
        thread::park_timeout(GAP);
    }
    // While another connection reads, the log stays; the next start finds what is in it.
    checkpoint("PRAGMA wal_checkpoint(TRUNCATE)");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use diesel::prelude::*;

    use super::*;
    use crate::ledger::connection::sqlite_file::create;

    const ROWS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n";

    #[test]
    fn commits_are_copied_into_the_file_beside_the_writer() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut writer = create(&path, 1000).expect("a new file");
        writer
            .batch_execute(&format!(
                "CREATE TABLE t (i INTEGER); INSERT INTO t {ROWS};"
            ))
            .expect("written");
        let length = || fs::metadata(&path).expect("a file").len();
        let before = length();
        let checkpoints = Checkpoints::start(path.clone());
        assert_eq!(length(), before, "no commit was reported");
        checkpoints.committed();
        let start = Instant::now();
        while length() == before {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "the file is still {before} bytes long"
            );
            thread::sleep(Duration::from_millis(5));
        }
        drop(checkpoints);
        writer
            .batch_execute("INSERT INTO t VALUES (0);")
            .expect("the writer is not in its way");
    }

    #[test]
    fn after_the_last_commit_the_file_is_complete_without_its_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut writer = create(&path, 1000).expect("a new file");
        // With another connection open, SQLite does not empty the log by itself.
        let reader = connect(&path, 1000).expect("a file");
        let checkpoints = Checkpoints::start(path.clone());
        writer
            .batch_execute(&format!(
                "CREATE TABLE t (i INTEGER); INSERT INTO t {ROWS};"
            ))
            .expect("written");
        checkpoints.committed();
        drop((writer, checkpoints));
        let log = fs::metadata(dir.path().join("ledger.db-wal")).expect("a log");
        assert_eq!(log.len(), 0);
        let copy = dir.path().join("copy.db");
        fs::copy(&path, &copy).expect("copied");
        let mut alone = connect(&copy, 1000).expect("a ledger");
        let rows = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM t")
            .get_result(&mut alone);
        assert_eq!(rows, Ok(5000_i64));
        drop(reader);
    }

    #[test]
    fn the_log_begins_anew_though_writes_never_pause() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut writer = create(&path, 1000).expect("a new file");
        writer
            .batch_execute("PRAGMA wal_autocheckpoint = 64; CREATE TABLE t (i INTEGER);")
            .expect("written");
        // In the log's head: how many times it has begun.
        let begun = || fs::read(dir.path().join("ledger.db-wal")).expect("a log")[12..16].to_vec();
        let before = begun();
        let checkpoints = Checkpoints::start(path);
        let start = Instant::now();
        while begun() == before {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the log only grows"
            );
            writer
                .batch_execute(&format!("INSERT INTO t {ROWS};"))
                .expect("written");
            checkpoints.committed();
        }
    }
}
