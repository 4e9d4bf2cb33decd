//! Copies SQLite's write-ahead log into its file, on a thread and a connection of its own.
//!
//! Left to itself SQLite copies inside a commit, once for every thousand pages, and the deposits of that commit wait for
//! the copying and its syncs. Here the log is copied at once while little is committed, and otherwise when it is long: the
//! longer the log, the more often a page is in it, and is copied once. Passive checkpoints run beside a writer, but while
//! writes never pause they never reach the end of the log, and it can't begin anew. So they follow each other until hardly
//! anything is left ([`SHORT`]); meanwhile the writer takes fewer entries of batches where single ones wait, and it does
//! the rest between two transactions.
//!
//! After the last commit the log is emptied: the file of a stopped service is complete by itself.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Integer;
use diesel::sqlite::SqliteConnection;

use crate::clock::Clock;
use crate::ledger::connection::sqlite_file::connect;
use crate::ledger::errors::StoreError;
use crate::platform::write_back;

use super::log_watch::LogWatch;

/// The length of the log at which it is to begin anew, in pages: 256 MiB in pages of 2 KiB.
pub(super) const LONG_PAGES: i32 = 131_072;

/// How often the length is looked at while there are commits.
const GAP: Duration = Duration::from_millis(50);

/// A log that grows by fewer pages between two looks has few commits, or its writer waits for the disk.
const CALM_PAGES: i32 = 512;

/// After so many such looks in a row there are few commits, and what they leave is copied at once. A disk that halts
/// for a moment is not given more to do.
const CALM_LOOKS: u32 = 4;

/// A checkpoint that takes no longer leaves hardly anything to the writer.
const SHORT: Duration = Duration::from_millis(5);

/// After so many in a row it is the writer's turn, whatever is left.
const IN_A_ROW_MAX: u32 = 16;

/// What the thread expects of the writer while the log is long.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// That it writes little: more keeps the log from coming to its end.
    pub(super) little: AtomicBool,
    /// That it does the rest.
    pub(super) turn: AtomicBool,
}

/// The thread; it ends with this.
pub(super) struct Checkpoints {
    /// `None` when it is ending.
    commits: Option<Sender<()>>,
    pub(super) wish: Arc<Wish>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread, for a log that is to begin anew at `long_pages`. Without one, SQLite does all of it.
    pub(super) fn start(path: PathBuf, long_pages: i32, watch: LogWatch) -> Self {
        let (commits, committed) = bounded(1);
        let wish = Arc::new(Wish::default());
        let copier = Copier {
            path,
            wish: wish.clone(),
            connection: None,
            file: None,
        };
        let thread = thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || run(copier, long_pages, watch, &committed));
        if let Err(error) = &thread {
            log::warn!("checkpoints are left to commits: {error}");
        }
        Self {
            commits: Some(commits),
            wish,
            thread: thread.ok(),
        }
    }

    /// There is something to copy.
    pub(super) fn committed(&self) {
        if let Some(commits) = &self.commits {
            // Full: it is told already.
            let _ = commits.try_send(());
        }
    }

    /// Whether the writer should write little.
    pub(super) fn wish_little(&self) -> bool {
        self.wish.little.load(Ordering::Relaxed)
    }

    /// To be called between two transactions: does the rest that only the writer can do, when there is one.
    pub(super) fn take_turn(&self, connection: &mut SqliteConnection) {
        // Behind it, the thread's earlier wish is seen and can be taken back.
        if self.wish.turn.swap(false, Ordering::AcqRel) {
            self.wish.little.store(false, Ordering::Relaxed);
            // It will be its turn again.
            let _ = checkpoint(connection, Mode::Passive)
                .inspect_err(|error| log::debug!("the log stays long: {error}"));
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

/// What SQLite says of a checkpoint.
#[derive(QueryableByName)]
struct Checkpointed {
    /// The length of the log, in pages; negative when another connection was copying it, and nothing was done.
    #[diesel(sql_type = Integer)]
    log: i32,
    /// How much of it is in the file.
    #[diesel(sql_type = Integer)]
    checkpointed: i32,
}

/// How far a checkpoint goes.
#[derive(Clone, Copy)]
enum Mode {
    /// It only says how long the log is.
    Noop,
    /// It copies what can be copied beside other connections.
    Passive,
    /// It waits for other connections, copies everything and empties the log.
    Truncate,
}

fn checkpoint(connection: &mut SqliteConnection, mode: Mode) -> Result<Checkpointed, StoreError> {
    let pragma = match mode {
        Mode::Noop => "PRAGMA wal_checkpoint(NOOP)",
        Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let told: Checkpointed = sql_query(pragma).get_result(connection)?;
    match told.log {
        ..0 => Err(StoreError::Failed(
            "another connection copies the log".into(),
        )),
        _ => Ok(told),
    }
}

/// The checkpointing end: a connection and the file itself, opened when they are needed.
struct Copier {
    path: PathBuf,
    wish: Arc<Wish>,
    connection: Option<SqliteConnection>,
    /// Never closed: with it this process would lose the locks that SQLite has on the file.
    file: Option<ManuallyDrop<File>>,
}

impl Copier {
    /// What it says. Without an answer the rest is left to the writer.
    fn checkpoint(&mut self, mode: Mode) -> Option<Checkpointed> {
        let connection = match self.connection.take() {
            Some(open) => Ok(open),
            None => connect(&self.path, 0).map_err(StoreError::from),
        };
        let answered = connection.and_then(|mut connection| {
            let told = checkpoint(&mut connection, mode)?;
            self.connection = Some(connection);
            Ok(told)
        });
        answered
            .inspect_err(|error| log::debug!("a checkpoint is left to the writer: {error}"))
            .ok()
    }

    /// Copies until hardly anything is left, and flushes what was copied. SQLite also does that, but only at the end of the
    /// log, and then the writer waits for it. Of a log that `is_long` the first round may take long; the next ones are
    /// short only when little is written meanwhile.
    fn copy(&mut self, mut copied: i32, is_long: bool, clock: Clock) {
        if is_long {
            // Not in the middle of it.
            self.wish.turn.store(false, Ordering::Relaxed);
        }
        for _ in 0..IN_A_ROW_MAX {
            let begun = clock.mono();
            let Some(Checkpointed { checkpointed, .. }) = self.checkpoint(Mode::Passive) else {
                return;
            };
            let pages = grown(copied, checkpointed);
            if pages == 0 {
                // Nothing is left, or a reader still needs what comes next.
                return;
            }
            if self.file.is_none() {
                self.file = File::open(&self.path).ok().map(ManuallyDrop::new);
            }
            if let Some(file) = &self.file {
                // SQLite meets what could not be written, too.
                let _ = flush_in_steps(file, pages);
            }
            copied = checkpointed;
            if Duration::from_micros(clock.mono().us_since(begun)) <= SHORT {
                return;
            }
            if is_long {
                self.wish.little.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// About how many pages are given to the disk at once.
const STEP_PAGES: i32 = 64;

/// The shortest and the longest step, in bytes.
const STEP_BYTES: (i64, i64) = (256 << 10, 8 << 20);

/// Writes the changed pages of the file, at most `pages`, in steps, and then flushes it. At once they would be thousands of
/// pages in the disk's queue, and the next commit would wait behind them.
fn flush_in_steps(file: &File, pages: i32) -> std::io::Result<()> {
    let length = file.metadata().map_or(0, |metadata| {
        i64::try_from(metadata.len()).unwrap_or(i64::MAX)
    });
    let step_bytes = step_bytes(length, pages);
    for step in 0..=length / step_bytes {
        if write_back(file, step * step_bytes, step_bytes).is_err() {
            // Not every file system can do it; `sync_data` reports everything else.
            break;
        }
    }
    file.sync_data()
}

/// How much of a file of this length is one step when so many pages were changed in it. Few pages are few steps, since each
/// waits for the disk.
fn step_bytes(length: i64, pages: i32) -> i64 {
    (length / i64::from((pages / STEP_PAGES).max(1))).clamp(STEP_BYTES.0, STEP_BYTES.1)
}

/// By how many pages. What is less than it was has begun anew.
fn grown(before: i32, now: i32) -> i32 {
    if now < before { now } else { now - before }
}

fn run(mut copier: Copier, long_pages: i32, mut watch: LogWatch, committed: &Receiver<()>) {
    let clock = Clock::system();
    let (mut calm_looks, mut last_log) = (CALM_LOOKS, 0);
    loop {
        watch.look(clock.mono());
        // Nothing to wait for but a commit when everything is copied.
        let is_behind = calm_looks < CALM_LOOKS;
        let waited = if is_behind {
            committed.recv_timeout(GAP)
        } else {
            committed.recv().map_err(Into::into)
        };
        if waited == Err(RecvTimeoutError::Disconnected) {
            break;
        }
        if let Some(Checkpointed { log, checkpointed }) = copier.checkpoint(Mode::Noop) {
            let is_long = log >= long_pages;
            calm_looks = if grown(last_log, log) < CALM_PAGES {
                calm_looks.saturating_add(1)
            } else {
                0
            };
            let is_calm = calm_looks >= CALM_LOOKS;
            if is_long || (is_calm && log - checkpointed >= CALM_PAGES) {
                copier.copy(checkpointed, is_long, clock);
            } else if is_calm {
                copier.checkpoint(Mode::Passive);
            }
            if is_long {
                copier.wish.turn.store(true, Ordering::Release);
            }
            last_log = log;
        }
        thread::sleep(GAP);
    }
    // While another connection reads, the log stays; the next start finds what is in it.
    copier.checkpoint(Mode::Truncate);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use diesel::connection::SimpleConnection;

    use super::*;
    use crate::ledger::connection::sqlite_file::create;

    #[test]
    fn steps_are_long_where_the_changed_pages_lie_far_apart() {
        const MIB: i64 = 1 << 20;
        for (length, pages, expected) in [
            (0, 0, STEP_BYTES.0),
            (5 * MIB, 1, 5 * MIB),
            (50 * MIB, 10 * STEP_PAGES, 5 * MIB),
            (100 * MIB, i32::MAX, STEP_BYTES.0),
            (10_000 * MIB, 1, STEP_BYTES.1),
        ] {
            assert_eq!(step_bytes(length, pages), expected, "{length} {pages}");
        }
    }

    fn watch(path: &std::path::Path) -> LogWatch {
        let bytes = prometheus::IntGauge::new("bytes", "bytes").expect("a name");
        LogWatch::new(path, bytes)
    }

    const ROWS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n";

    #[test]
    fn what_is_committed_comes_into_the_file_beside_the_writer() {
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
        let checkpoints = Checkpoints::start(path.clone(), LONG_PAGES, watch(&path));
        assert_eq!(length(), before, "nobody has committed");
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
    fn behind_the_last_commit_the_file_is_whole_by_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut writer = create(&path, 1000).expect("a new file");
        // A connection that nobody closes: else SQLite empties the log by itself.
        let reader = connect(&path, 1000).expect("a file");
        let checkpoints = Checkpoints::start(path.clone(), LONG_PAGES, watch(&path));
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
    fn the_log_begins_anew_behind_a_writer_that_never_pauses() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut writer = create(&path, 1000).expect("a new file");
        writer
            .batch_execute("CREATE TABLE t (i INTEGER);")
            .expect("written");
        // Of the log's head: how many times it has begun.
        let begun = || fs::read(dir.path().join("ledger.db-wal")).expect("a log")[12..16].to_vec();
        let before = begun();
        let checkpoints = Checkpoints::start(path.clone(), 64, watch(&path));
        let start = Instant::now();
        while begun() == before {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the log only grows"
            );
            checkpoints.take_turn(&mut writer);
            writer
                .batch_execute(&format!("INSERT INTO t {ROWS};"))
                .expect("written");
            checkpoints.committed();
        }
    }

    #[test]
    fn a_log_that_somebody_reads_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.db");
        let mut writer = create(&path, 1000).expect("a new file");
        writer
            .batch_execute("CREATE TABLE t (i INTEGER);")
            .expect("written");
        let mut copier = Copier {
            path: path.clone(),
            wish: Arc::default(),
            connection: None,
            file: None,
        };
        let before = copier.checkpoint(Mode::Passive).expect("told").checkpointed;
        let mut reader = connect(&path, 1000).expect("a file");
        reader
            .batch_execute("BEGIN; SELECT * FROM t;")
            .expect("read");
        writer
            .batch_execute(&format!("INSERT INTO t {ROWS};"))
            .expect("written");
        copier.copy(before, true, Clock::system());
        assert!(copier.file.is_none(), "there is nothing to flush");
        assert!(
            !copier.wish.little.load(Ordering::Relaxed),
            "batches need not wait for the reader"
        );
        let told = copier.checkpoint(Mode::Noop).expect("told");
        assert!(told.log > told.checkpointed, "the reader holds it");
    }
}
