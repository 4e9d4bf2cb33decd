//! What depends on the operating system.
//!
//! Two halves with the same functions: `linux.rs`, and `portable.rs` for every other Unix, which does less and says so.
//! `--cfg portable_platform` builds the portable half on Linux, so that CI compiles and tests it (`.ci/portable`).
//! What every Unix has (signals, limits, locks on files, the user id) is here, once.

#[cfg(all(target_os = "linux", not(portable_platform)))]
mod linux;
#[cfg(not(all(target_os = "linux", not(portable_platform))))]
mod portable;
mod signals;

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

#[cfg(all(target_os = "linux", not(portable_platform)))]
pub use linux::{process_facts, set_write_timeout, write_back};
#[cfg(not(all(target_os = "linux", not(portable_platform))))]
pub use portable::{process_facts, set_write_timeout, write_back};

pub use signals::{Hangups, StopSignals};

use rustix::process::{Resource, geteuid, getrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Whether this is the portable half.
pub const IS_PORTABLE: bool = cfg!(not(all(target_os = "linux", not(portable_platform))));

/// What the system says of this process; `None` where this half can't ask.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFacts {
    /// User and system time, in seconds.
    pub cpu_s: Option<f64>,
    /// Open files and sockets.
    pub open_files: Option<f64>,
    /// Files and sockets that may be open; infinite without a limit.
    pub open_files_max: Option<f64>,
    /// Virtual memory.
    pub virtual_bytes: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<f64>,
    /// When the process was started, in Unix seconds.
    pub started_at_s: Option<f64>,
    /// Threads.
    pub threads: Option<f64>,
}

/// The limit on open files and sockets (`ulimit -n`); infinite without one.
pub fn open_files_max() -> f64 {
    getrlimit(Resource::Nofile)
        .current
        .map_or(f64::INFINITY, |max| max as f64)
}

/// Whether the process has root's rights.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Makes a file if need be and locks it; `None` while another process has it. The lock ends with the file, or the process.
///
/// # Errors
/// When the file can't be opened or locked.
pub fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// From now on a file that reaches the limit on its size (`ulimit -f`) is an error of that write; SIGXFSZ would end the
/// process.
///
/// # Errors
/// When the system refuses.
pub fn survive_file_size_limit() -> io::Result<()> {
    let file_size = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    // tokio keeps its handler after the receiver is dropped.
    signal(file_size).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};
    use socket2::SockRef;

    use super::*;

    #[test]
    fn the_limit_on_open_files_is_above_what_is_open() {
        let facts = process_facts().expect("the system answers");
        assert!(facts.open_files.expect("counted") >= 3.0);
        assert!(facts.open_files_max.expect("known") >= facts.open_files.expect("counted"));
    }

    #[test]
    fn a_write_time_out_is_set_or_has_no_effect_but_is_no_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address"));
        let stream = stream.expect("it connects");
        set_write_timeout(SockRef::from(&stream), Duration::from_secs(3)).expect("no error");
        #[cfg(target_os = "linux")]
        assert_eq!(
            SockRef::from(&stream)
                .tcp_user_timeout()
                .expect("it can be asked"),
            (!IS_PORTABLE).then_some(Duration::from_secs(3))
        );
    }

    #[tokio::test]
    async fn stop_signals_are_named_and_remembered_and_end_nothing() {
        let mut signals = StopSignals::listen().expect("the system allows it");
        let mut late = signals.clone();
        for (sent, named) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
            kill_process(getpid(), sent).expect("it is sent");
            assert_eq!(signals.next().await, named);
        }
        assert_eq!(late.next().await, "SIGINT");
    }

    #[test]
    fn a_hangup_is_handled_and_one_before_the_handler_is_remembered() {
        let hangups = Hangups::listen().expect("the system allows it");
        let hang_up = || kill_process(getpid(), Signal::HUP).expect("it is sent");
        hang_up();
        let (handled, is_handled) = std::sync::mpsc::channel();
        hangups.handle(move || handled.send(()).expect("the test waits"));
        is_handled.recv().expect("the one from before");
        hang_up();
        is_handled.recv().expect("another one");
        for _ in 0..100 {
            hang_up();
        }
        is_handled.recv().expect("one of many");
    }

    #[tokio::test]
    async fn a_file_that_reaches_its_size_limit_does_not_end_the_process() {
        survive_file_size_limit().expect("the system allows it");
        kill_process(getpid(), Signal::XFSZ).expect("it is sent");
    }
}
