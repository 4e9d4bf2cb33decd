//! The log: to standard error, filtered by `RUST_LOG`, written by a thread of its own (`log_writer`).
//!
//! A line is formatted on the thread that logs it, into memory that the thread keeps, and handed to the writer's
//! thread; a slow standard error delays nothing else. [`flush`] is for the end of the process: it waits until
//! everything logged so far is written, but not for long when standard error is not read.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use log::{Level, Log, Metadata, Record};
use prometheus::IntCounter;

use crate::clock::{Clock, Wall};
use crate::telemetry::log_line::{self, write_line};
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

/// The target of what the program says in its own name.
pub(super) const TARGET: &str = "balance_coordinator";

/// Lines from before the format is known that are kept; more are dropped.
const EARLY_LINES_MAX: usize = 1000;

/// Lines from before the format is known.
static EARLY: Mutex<Vec<Early>> = Mutex::new(Vec::new());

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
    log_line::set_coloured(is_coloured);
    // An error means that a logger is set already; then that one is used.
    if log::set_boxed_logger(Box::new(Logger {
        filter,
        clock: Clock::system(),
    }))
    .is_ok()
    {
        log::set_max_level(level);
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("unnamed");
            say(format_args!(
                "thread '{name}' {panic}\n{}",
                Trace::capture()
            ));
            flush_within(PANIC_PATIENCE);
        }));
    }
}

/// Logs as JSON, one object a line, or as text. Until then lines are kept, because the format is part of the configuration.
pub fn set_json(is_json: bool) {
    let mut early = EARLY.lock().unwrap_or_else(PoisonError::into_inner);
    log_line::set_json(is_json);
    for Early {
        at,
        level,
        target,
        message,
    } in early.drain(..)
    {
        let mut text = String::new();
        write_line(&mut text, at, level, &target, format_args!("{message}"));
        push(&text, level <= Level::Warn);
    }
}

/// What is written now can't wait for the configuration.
fn need_format() {
    if !log_line::is_known() {
        set_json(false);
    }
}

/// A line that waits for the format.
struct Early {
    at: Wall,
    level: Level,
    target: String,
    message: String,
}

impl Early {
    /// Keeps a line; false when the format is known already.
    fn keep(at: Wall, record: &Record<'_>) -> bool {
        // Before the lock is taken: what is formatted may log, too.
        let mut message = String::new();
        // Writing to a string can't fail; an argument that fails to format itself is left out.
        let _ = write!(message, "{}", record.args());
        let mut early = EARLY.lock().unwrap_or_else(PoisonError::into_inner);
        if log_line::is_known() {
            return false;
        }
        if early.len() >= EARLY_LINES_MAX {
            LINES_DROPPED.inc();
            return true;
        }
        early.push(Self {
            at,
            level: record.level(),
            target: record.target().to_owned(),
            message,
        });
        true
    }
}

/// Writes what is no line of the log, but has to be told whatever is filtered: after everything that was logged before, and
/// as it is unless the log is JSON.
pub fn say(message: fmt::Arguments<'_>) {
    need_format();
    let message = message.to_string();
    let message = message.trim_end();
    let mut text = String::new();
    if log_line::is_json() {
        let at = Clock::system().wall();
        write_line(
            &mut text,
            at,
            Level::Error,
            TARGET,
            format_args!("{message}"),
        );
    } else {
        text.extend([message, "\n"]);
    }
    push(&text, true);
}

/// Hands whole lines to the writer's thread.
fn push(text: &str, is_important: bool) {
    match WRITER.get() {
        Some(writer) => writer.push(text.as_bytes(), is_important),
        // Ignore errors: standard error may be closed.
        None => _ = io::stderr().write_all(text.as_bytes()),
    }
}

/// Waits until everything that was logged is written, but not for long when standard error is not read.
pub fn flush() {
    flush_within(END_PATIENCE);
}

fn flush_within(patience: Duration) {
    need_format();
    if let Some(writer) = WRITER.get() {
        writer.flush(patience);
    }
}

struct Logger {
    filter: env_logger::Logger,
    clock: Clock,
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
    fn write(&self, record: &Record<'_>, text: &mut String) {
        let (at, level) = (self.clock.wall(), record.level());
        if !log_line::is_known() && Early::keep(at, record) {
            return;
        }
        write_line(text, at, level, record.target(), *record.args());
        push(text, level <= Level::Warn);
    }
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

    /// Set for the child process that the test below starts.
    const CHILD: &str = "BALANCE_TEST_LOG_CHILD";

    /// Ends its process, so it does nothing outside of the child process.
    #[test]
    fn child() {
        let Some(format) = std::env::var_os(CHILD) else {
            return;
        };
        init();
        // Before the format is known.
        ::log::info!("before");
        set_json(format == "json");
        ::log::debug!("too much");
        let panics = std::thread::Builder::new()
            .name("unlucky".into())
            .spawn(|| panic!("planned"));
        assert!(panics.expect("a thread").join().is_err());
        ::log::warn!("after");
        say(format_args!("the end"));
        flush();
        std::process::exit(3);
    }

    /// What the child process logs.
    fn log_of_child(format: &str) -> String {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["--exact", "telemetry::log::tests::child", "--nocapture"]);
        command
            .env(CHILD, format)
            .env("RUST_LOG", "info")
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LIB_BACKTRACE");
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8(output.stderr).expect("text")
    }

    #[test]
    fn panics_and_what_is_said_are_objects_in_a_log_of_json() {
        let log = log_of_child("json");
        let read = |line: &str| -> serde_json::Value {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        let lines: Vec<_> = log.lines().map(read).collect();
        let [before, panic, after, end] = &lines[..] else {
            panic!("{log}")
        };
        for (line, level, message) in [
            (before, "INFO", "before"),
            (after, "WARN", "after"),
            (end, "ERROR", "the end"),
        ] {
            assert_eq!(
                (&line["level"], &line["message"]),
                (&level.into(), &message.into())
            );
        }
        assert_eq!(panic["level"], "ERROR");
        let message = panic["message"].as_str().expect("a text");
        assert!(message.starts_with("thread 'unlucky' panicked at src/telemetry/log.rs:"));
        assert!(message.ends_with("\nplanned"), "{message}");
    }

    #[test]
    fn lines_and_panics_come_in_order_and_are_there_when_the_process_ends() {
        let log = log_of_child("text");
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
