//! The half for Linux: /proc, TCP_USER_TIMEOUT and sync_file_range.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use procfs::ProcError;
use procfs::process::Process;
use socket2::SockRef;

use super::{ProcessFacts, open_files_max};

/// Reads /proc.
///
/// # Errors
/// When it is not mounted, or the system refuses.
pub fn process_facts() -> io::Result<ProcessFacts> {
    read().map_err(|error| match error {
        ProcError::Io(error, _) => error,
        error => io::Error::other(error),
    })
}

fn read() -> procfs::ProcResult<ProcessFacts> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks_per_s = procfs::ticks_per_second() as f64;
    let started_s = stat.starttime as f64 / ticks_per_s;
    Ok(ProcessFacts {
        cpu_s: Some((stat.utime + stat.stime) as f64 / ticks_per_s),
        open_files: Some(process.fd_count()? as f64),
        open_files_max: Some(open_files_max()),
        virtual_bytes: Some(stat.vsize as f64),
        resident_bytes: Some((stat.rss * procfs::page_size()) as f64),
        started_at_s: Some(procfs::boot_time_secs()? as f64 + started_s),
        threads: Some(stat.num_threads as f64),
    })
}

/// Has the kernel end the connection when what was sent stays unacknowledged for so long (TCP_USER_TIMEOUT).
///
/// # Errors
/// When the system refuses.
pub fn set_write_timeout(socket: SockRef<'_>, timeout: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(timeout))
}

/// Writes the changed pages of a part of a file to the disk and waits for them, without flushing the disk itself.
///
/// # Errors
/// Where the file system can't do it.
pub fn write_back(file: &File, offset: i64, length: i64) -> io::Result<()> {
    const WRITE_AND_WAIT: libc::c_uint = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    #[expect(
        unsafe_code,
        reason = "a system call that takes no memory of ours, and no crate offers it"
    )]
    let written =
        unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, WRITE_AND_WAIT) };
    match written {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
