//! Has the system write a file to the disk without standing in the way of others who wait for theirs.

use std::fs::File;
use std::io;

/// About how many pages are handed to the disk at once, as far as they lie evenly.
#[cfg(target_os = "linux")]
const STEP_PAGES: i32 = 64;

/// The shortest and the longest step, in bytes.
#[cfg(target_os = "linux")]
const STEP_BYTES: (i64, i64) = (256 << 10, 8 << 20);

/// Writes the pages that were changed in the file, so many at the most, step by step, and then makes sure of it. At once, it
/// would be thousands of pages in the disk's queue, and the next commit behind them.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "only Linux can")
)]
pub(super) fn flush_in_steps(file: &File, pages: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    write_in_steps(file, pages);
    file.sync_data()
}

/// How much of a file of this length is one step when so many pages were changed in it. Few pages are few steps, since each
/// waits for the disk.
#[cfg(target_os = "linux")]
fn step_bytes(length: i64, pages: i32) -> i64 {
    (length / i64::from((pages / STEP_PAGES).max(1))).clamp(STEP_BYTES.0, STEP_BYTES.1)
}

#[cfg(target_os = "linux")]
fn write_in_steps(file: &File, pages: i32) {
    use std::os::fd::AsRawFd as _;

    const WRITE_AND_WAIT: libc::c_uint = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    let length = file.metadata().map_or(0, |metadata| {
        i64::try_from(metadata.len()).unwrap_or(i64::MAX)
    });
    let step_bytes = step_bytes(length, pages);
    for step in 0..=length / step_bytes {
        #[expect(
            unsafe_code,
            reason = "a system call that takes no memory of ours, and no crate offers it"
        )]
        let written = unsafe {
            libc::sync_file_range(
                file.as_raw_fd(),
                step * step_bytes,
                step_bytes,
                WRITE_AND_WAIT,
            )
        };
        if written != 0 {
            // Not every file system can; `sync_data` tells of everything else.
            return;
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_long_as_few_pages_are_far_apart() {
        const MIB: i64 = 1 << 20;
        assert_eq!(step_bytes(0, 0), STEP_BYTES.0);
        assert_eq!(step_bytes(5 * MIB, 1), 5 * MIB, "one step");
        assert_eq!(step_bytes(50 * MIB, 10 * STEP_PAGES), 5 * MIB);
        assert_eq!(
            step_bytes(100 * MIB, i32::MAX),
            STEP_BYTES.0,
            "no end of steps"
        );
        assert_eq!(
            step_bytes(10_000 * MIB, 1),
            STEP_BYTES.1,
            "pages that lie together come to the disk together"
        );
    }
}
