//! Has the system write a file to the disk without standing in the way of others who wait for theirs.

use std::fs::File;
use std::io;

/// How much is handed to the disk at once, in bytes.
#[cfg(target_os = "linux")]
const STEP_BYTES: i64 = 256 << 10;

/// Writes what was changed in the file, step by step, and then makes sure of it. At once, it would be thousands of pages
/// in the disk's queue, and the next commit behind them.
pub(super) fn flush_in_steps(file: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    write_in_steps(file);
    file.sync_data()
}

#[cfg(target_os = "linux")]
fn write_in_steps(file: &File) {
    use std::os::fd::AsRawFd as _;

    const WRITE_AND_WAIT: libc::c_uint =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let length = file.metadata().map_or(0, |metadata| i64::try_from(metadata.len()).unwrap_or(i64::MAX));
    for step in 0..=length / STEP_BYTES {
        #[expect(unsafe_code, reason = "a system call that takes no memory of ours, and no crate offers it")]
        let written = unsafe { libc::sync_file_range(file.as_raw_fd(), step * STEP_BYTES, STEP_BYTES, WRITE_AND_WAIT) };
        if written != 0 {
            // Not every file system can; `sync_data` tells of everything else.
            return;
        }
    }
}
