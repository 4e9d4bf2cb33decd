//! The log: to standard error, filtered by `RUST_LOG`, written by a thread of its own (`log_writer`).
//!
//! A line is formatted on the thread that logs it, into memory that the thread keeps, and handed to the writer's
//! thread; a slow standard error delays nothing else. [`flush`] is for the end of the process: it waits until
//! everything logged so far is written, but not for long when standard error is not read.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use log::{Level, Log, Metadata, Record};
use prometheus::IntCounter;

use crate::clock::Clock;
use crate::telemetry::log_writer::{LogWriter, Room};

/// What is logged when `RUST_LOG` is unset.
const FILTER_DEFAULT: &str = "info";

/// The first logs an error for each malformed request, which is no error of the service; the second logs each attempt to
/// reach a server, of which `cluster` tells in its own words.
const SILENCED: [&str; 2] = ["actix_http", "async_nats"];

/// How long the end of the process waits for a standard error that is not read.
const END_PATIENCE: Duration = Duration::from_millis(500);

/// How long a thread that panics waits for the same.
const PANIC_PATIENCE: Duration = Duration::from_millis(100);

/// The memory that a thread keeps for its next line, in bytes.
const LINE_BYTES_KEPT: usize = 16 * 1024;

/// Lines that did not fit, since the start.
pub(super) static LINES_DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    IntCounter::new(
        "log_lines_dropped_total",
        "Lines of the log that did not fit.",
    )
    .expect("the name is valid")
});

static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Starts logging, with timestamps in microseconds (UTC). Calling it again changes nothing.
pub fn init() {
    let environment = env_logger::Env::default().default_filter_or(FILTER_DEFAULT);
    let mut filter = env_logger::Builder::new();
    for module in SILENCED {
        filter.filter_module(module, log::LevelFilter::Off);
    }
    let filter = filter.parse_env(environment).build();
    if WRITER.get().is_none()
        && let Ok(writer) = LogWriter::start(io::stderr(), Room::default(), LINES_DROPPED.clone())
    {
        // When another thread was faster, its writer is used, and this one has nothing to write.
        let _ = WRITER.set(writer);
    }
    let level = filter.filter();
    let is_coloured = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // An error means that a logger is set already; then that one is used.
    if log::set_boxed_logger(Box::new(Logger {
        filter,
        clock: Clock::system(),
        is_coloured,
    }))
    .is_ok()
    {
        log::set_max_level(level);
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            say(&format!(
                "thread '{}' {panic}\n{}",
                thread.name().unwrap_or("unnamed"),
                Trace::capture()
            ));
            flush_within(PANIC_PATIENCE);
        }));
    }
}

/// Writes text to standard error as it is, after everything that was logged before.
pub fn say(text: &str) {
    match WRITER.get() {
        Some(writer) => writer.push(text.as_bytes(), true),
        // Ignore errors: standard error may be closed.
        None => _ = io::stderr().write_all(text.as_bytes()),
    }
}

/// Waits until everything that was logged is written, but not for long when standard error is not read.
pub fn flush() {
    flush_within(END_PATIENCE);
}

fn flush_within(patience: Duration) {
    if let Some(writer) = WRITER.get() {
        writer.flush(patience);
    }
}

struct Logger {
    filter: env_logger::Logger,
    clock: Clock,
    is_coloured: bool,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        thread_local! {
            static LINE: RefCell<String> = const { RefCell::new(String::new()) };
        }
        if !self.filter.matches(record) {
            return;
        }
        let is_written = LINE.try_with(|line| {
            // The `Display` of an argument may log, too, while this line is being formatted.
            let Ok(mut line) = line.try_borrow_mut() else {
                return false;
            };
            self.write(record, &mut line);
            line.clear();
            line.shrink_to(LINE_BYTES_KEPT);
            true
        });
        // The thread is ending, or is formatting another line.
        if !is_written.is_ok_and(|is_written| is_written) {
            self.write(record, &mut String::new());
        }
    }

    fn flush(&self) {
        flush();
    }
}

impl Logger {
    fn write(&self, record: &Record<'_>, line: &mut String) {
        let now = self.clock.wall();
        let (begin, end) = if self.is_coloured {
            colour(record.level())
        } else {
            ("", "")
        };
        let (level, target) = (record.level(), record.target());
        // Writing to a string can't fail; an argument that fails to format itself is left out.
        let _ = write!(line, "[{now} {begin}{level:<5}{end} {target}] ");
        let _ = write!(Indented(line), "{}", record.args());
        line.push('\n');
        match WRITER.get() {
            Some(writer) => writer.push(line.as_bytes(), record.level() <= Level::Warn),
            None => say(line),
        }
    }
}

/// Indents the further lines of a message, so that none looks like a log line of its own.
struct Indented<'a>(&'a mut String);

impl fmt::Write for Indented<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut lines = text.split('\n');
        self.0.push_str(lines.next().unwrap_or_default());
        for line in lines {
            self.0.push_str("\n    ");
            self.0.push_str(line);
        }
        Ok(())
    }
}

/// For terminals.
const fn colour(level: Level) -> (&'static str, &'static str) {
    let begin = match level {
        Level::Error => "\x1b[1;31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[36m",
    };
    (begin, "\x1b[0m")
}

/// The backtrace of a panic, when `RUST_BACKTRACE` asks for it.
struct Trace(std::backtrace::Backtrace);

impl Trace {
    fn capture() -> Self {
        Self(std::backtrace::Backtrace::capture())
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.status() {
            std::backtrace::BacktraceStatus::Captured => write!(f, "{}", self.0),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_message_of_several_lines_is_indented() {
        let mut line = String::new();
        write!(Indented(&mut line), "a{}d", String::from("b\nc\n")).expect("a string");
        assert_eq!(line, "ab\n    c\n    d");
    }

    /// Set for the child process that the test below starts.
    const CHILD: &str = "BALANCE_TEST_LOG_CHILD";

    /// Ends its process, so it does nothing outside of the child process.
    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        init();
        ::log::info!("before");
        ::log::debug!("too much");
        let panics = std::thread::Builder::new()
            .name("unlucky".into())
            .spawn(|| panic!("planned"));
        assert!(panics.expect("a thread").join().is_err());
        ::log::warn!("after");
        say("the end\n");
        flush();
        std::process::exit(3);
    }

    #[test]
    fn lines_and_panics_come_in_order_and_are_there_when_the_process_ends() {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["--exact", "telemetry::log::tests::child", "--nocapture"]);
        command
            .env(CHILD, "1")
            .env("RUST_LOG", "info")
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE");
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(3));
        let log = String::from_utf8(output.stderr).expect("text");
        let lines: Vec<&str> = log.lines().collect();
        let [before, panic, planned, after, end] = lines[..] else {
            panic!("{log}")
        };
        assert!(
            before.starts_with("[20")
                && before.ends_with("Z INFO  balance_coordinator::telemetry::log::tests] before")
        );
        assert!(
            panic.starts_with("thread 'unlucky' panicked at src/telemetry/log.rs:"),
            "{log}"
        );
        assert!(
            planned == "planned" && after.ends_with("] after") && end == "the end",
            "{log}"
        );
    }
}
