//! The thread that writes the log, so that no other thread waits for standard error.
//!
//! Owns the bytes that wait to be written, at most `limits::LOG_BUFFER_BYTES` (twice that while a write is under way).
//! Lines that do not fit are dropped and counted, and a log line says how many; warnings and errors have a reserve of
//! their own. Lines are written in the order in which they were logged. A thread that logs waits at most while another
//! line is copied.
//!
//! Why not `tracing-appender`'s `non_blocking`: it bounds lines and not bytes, and a line has no bound; warnings and
//! errors have no reserve when the buffer is full; nothing can be flushed but by ending the writer, so a panic that
//! kills the process loses its own message; its end waits up to a second for a standard error that is not read; when
//! standard error is non-blocking and full, the rest of the line is lost and not counted; and each line costs an
//! allocation and a `write` of its own, where this thread writes the lines of two milliseconds at once. It would also
//! bring in `tracing-subscriber`, while the log stays one of `log` and `env_logger`.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use log::Level;
use prometheus::IntCounter;

use crate::clock::Clock;
use crate::limits::{LOG_BUFFER_BYTES, LOG_RESERVE_BYTES};
use crate::telemetry::log_line::write_line;

/// How long lines are collected before they are written together: the most that a crash loses.
const GATHER: Duration = Duration::from_millis(2);

/// The pause between attempts to write to a standard error that is non-blocking and full. (A process that shares it can
/// make it non-blocking.)
const FULL_RETRY: Duration = Duration::from_millis(5);

/// The memory that is kept after a burst, in bytes.
const KEPT_BYTES: usize = 64 * 1024;

/// How many bytes may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// For any line.
    pub bytes_max: usize,
    /// For important lines, beyond that.
    pub reserve_bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes_max: LOG_BUFFER_BYTES,
            reserve_bytes: LOG_RESERVE_BYTES,
        }
    }
}

/// Hands lines to the writing thread; cheap to share.
#[derive(Debug)]
pub(super) struct LogWriter {
    room: Room,
    shared: Arc<Shared>,
    lines_dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there is something to write or to flush.
    filled: Condvar,
    /// Signalled when something was written.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Lines dropped since the last write.
    dropped: u64,
    /// Lines that were handed over, dropped ones included, and how many of them are written or dropped.
    came: u64,
    done: u64,
    flushers: u32,
}

impl Shared {
    /// A panic while the lock was held leaves at worst half a line.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogWriter {
    /// Starts the thread. Dropped lines are counted in `lines_dropped`, too.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        room: Room,
        lines_dropped: IntCounter,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let its = shared.clone();
        // The thread ends with the process.
        thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || write_all_that_comes(&its, out))?;
        Ok(Self {
            room,
            shared,
            lines_dropped,
        })
    }

    /// Hands over whole lines; never waits for the output.
    pub(super) fn push(&self, line: &[u8], is_important: bool) {
        let bytes_max = self.room.bytes_max
            + if is_important {
                self.room.reserve_bytes
            } else {
                0
            };
        let mut state = self.shared.lock();
        let was_quiet = state.bytes.is_empty();
        state.came += 1;
        if state.bytes.len() + line.len() > bytes_max {
            state.dropped += 1;
            self.lines_dropped.inc();
        } else {
            state.bytes.extend_from_slice(line);
        }
        drop(state);
        if was_quiet {
            self.shared.filled.notify_one();
        }
    }

    /// Waits until everything handed over so far is written, at most for `patience`; returns whether it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let mut state = self.shared.lock();
        let last = state.came;
        state.flushers += 1;
        self.shared.filled.notify_one();
        let waited = self
            .shared
            .drained
            .wait_timeout_while(state, patience, |state| state.done < last);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.flushers -= 1;
        !timeout.timed_out()
    }
}

fn write_all_that_comes(shared: &Shared, mut out: impl Write) {
    let mut batch = Vec::new();
    loop {
        let state = shared
            .filled
            .wait_while(shared.lock(), |state| state.came == state.done);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let gathered = shared
            .filled
            .wait_timeout_while(state, GATHER, |state| state.flushers == 0);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut batch, &mut state.bytes);
        let (dropped, done) = (std::mem::take(&mut state.dropped), state.came);
        drop(state);
        write(&mut out, &batch);
        if dropped > 0 {
            write(&mut out, dropped_notice(dropped).as_bytes());
        }
        batch.clear();
        batch.shrink_to(KEPT_BYTES);
        shared.lock().done = done;
        shared.drained.notify_all();
    }
}

fn dropped_notice(dropped: u64) -> String {
    let mut text = String::new();
    let (at, target) = (Clock::system().wall(), "balance_coordinator::telemetry");
    let message = format_args!("log: {dropped} lines dropped");
    write_line(&mut text, at, Level::Warn, target, message);
    text
}

/// Writes everything, however long that takes. Gives up on an output that has failed: there is no other place to say
/// so.
fn write(out: &mut impl Write, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return,
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_RETRY),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// An output that takes a write only when the test allows it.
    struct Gate {
        entered: Sender<()>,
        let_in: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The test may be over.
            let _ = self.entered.send(());
            let _ = self.let_in.recv();
            self.written
                .lock()
                .expect("not poisoned")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Rig {
        log: LogWriter,
        entered: Receiver<()>,
        let_in: Sender<()>,
        written: Arc<Mutex<Vec<u8>>>,
        dropped: IntCounter,
    }

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "of a test").expect("a valid name")
    }

    impl Rig {
        /// A writer that is blocked in the write of its first line.
        fn stuck(room: Room) -> Self {
            let (entered, is_in) = channel();
            let (let_in, may_go) = channel();
            let written = Arc::new(Mutex::new(Vec::new()));
            let dropped = counter();
            let gate = Gate {
                entered,
                let_in: may_go,
                written: written.clone(),
            };
            let log = LogWriter::start(gate, room, dropped.clone()).expect("a thread");
            log.push(b"first\n", false);
            is_in.recv_timeout(PATIENCE).expect("it writes");
            Self {
                log,
                entered: is_in,
                let_in,
                written,
                dropped,
            }
        }

        /// Allows every write, and returns what was written.
        fn open(self) -> String {
            drop(self.let_in);
            drop(self.entered);
            assert!(self.log.flush(PATIENCE), "everything is written");
            String::from_utf8(self.written.lock().expect("not poisoned").clone()).expect("text")
        }
    }

    #[test]
    fn lines_are_written_in_order_and_all_are_there_after_a_flush() {
        let rig = Rig::stuck(Room::default());
        let lines: Vec<String> = (0..10_000).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            rig.log.push(line.as_bytes(), false);
        }
        assert_eq!(rig.open(), format!("first\n{}", lines.concat()));
    }

    #[test]
    fn lines_that_do_not_fit_are_dropped_counted_and_reported() {
        let rig = Rig::stuck(Room {
            bytes_max: 30,
            reserve_bytes: 10,
        });
        for _ in 0..5 {
            rig.log.push(b"ten bytes\n", false);
        }
        assert_eq!(rig.dropped.get(), 2);
        rig.log.push(b"important\n", true);
        rig.log.push(b"important\n", true);
        assert_eq!(rig.dropped.get(), 3);
        let written = rig.open();
        let (kept, notice) = written.split_at("first\n".len() + 40);
        assert_eq!(kept, "first\nten bytes\nten bytes\nten bytes\nimportant\n");
        assert!(
            notice.starts_with('[') && notice.contains("WARN"),
            "{notice}"
        );
        assert!(notice.ends_with("log: 3 lines dropped\n"), "{notice}");
    }

    #[test]
    fn there_is_room_again_when_lines_were_written() {
        let rig = Rig::stuck(Room {
            bytes_max: 10,
            reserve_bytes: 0,
        });
        rig.log.push(b"ten bytes\n", false);
        rig.log.push(b"too many.\n", false);
        (0..4).for_each(|_| rig.let_in.send(()).expect("it waits"));
        assert!(rig.log.flush(PATIENCE));
        rig.log.push(b"and again\n", false);
        let written = rig.open();
        assert!(
            written.starts_with("first\nten bytes\n[")
                && written.ends_with("1 lines dropped\nand again\n")
        );
    }

    #[test]
    fn a_flush_gives_up_when_the_output_is_blocked() {
        let rig = Rig::stuck(Room::default());
        rig.log.push(b"waits\n", false);
        assert!(!rig.log.flush(Duration::from_millis(1)));
        assert_eq!(rig.open(), "first\nwaits\n");
    }

    #[test]
    fn an_output_that_fails_blocks_nothing() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let log = LogWriter::start(Broken, Room::default(), counter()).expect("a thread");
        for _ in 0..3 {
            log.push(b"lost\n", false);
            assert!(log.flush(PATIENCE));
        }
    }

    #[test]
    fn an_output_that_is_full_for_now_is_tried_again() {
        struct Reluctant(u32, Arc<Mutex<Vec<u8>>>);
        impl Write for Reluctant {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                if !self.0.is_multiple_of(3) {
                    return Err(if self.0 % 3 == 1 {
                        ErrorKind::WouldBlock
                    } else {
                        ErrorKind::Interrupted
                    }
                    .into());
                }
                self.1.lock().expect("not poisoned").push(bytes[0]);
                Ok(1)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = LogWriter::start(Reluctant(0, written.clone()), Room::default(), counter())
            .expect("a thread");
        log.push(b"byte by byte\n", false);
        assert!(log.flush(PATIENCE));
        assert_eq!(*written.lock().expect("not poisoned"), b"byte by byte\n");
    }
}
