//! The half for every other Unix.
//!
//! It knows only the open files of the process, and it can't set a write time-out: a connection whose peer reads
//! nothing ends only when the system itself gives up.

use std::fs::{self, File};
use std::io;
use std::sync::Once;
use std::time::Duration;

use log::warn;
use socket2::SockRef;

use super::{ProcessFacts, open_files_max};

/// Counts open files in /dev/fd.
///
/// # Errors
/// When there is no /dev/fd, or the system refuses.
pub fn process_facts() -> io::Result<ProcessFacts> {
    Ok(ProcessFacts {
        open_files: Some(fs::read_dir("/dev/fd")?.count() as f64),
        open_files_max: Some(open_files_max()),
        ..ProcessFacts::default()
    })
}

/// Does nothing, and logs that once: for other systems no library offers such a time-out.
///
/// # Errors
/// None.
pub fn set_write_timeout(_: SockRef<'_>, _: Duration) -> io::Result<()> {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        warn!("limits.write_timeout_ms has no effect on this system: a connection whose peer reads nothing stays open until the system gives up");
    });
    Ok(())
}

/// Can't do it: a whole file is flushed at once.
///
/// # Errors
/// Always.
pub fn write_back(_: &File, _: i64, _: i64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
