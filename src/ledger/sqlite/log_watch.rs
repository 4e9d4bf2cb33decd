//! Watches the length of SQLite's write-ahead log: for a metric, and for a warning when the log does not begin anew.
//!
//! The log can't begin anew before the oldest read of any program has ended, so a reader that was forgotten lets it grow by
//! everything that is written.

use std::fs;
use std::path::{Path, PathBuf};

use log::warn;
use prometheus::IntGauge;

use crate::clock::Mono;
use crate::ledger::connection::ledger_file::beside;

/// A log of this length, in bytes, has not begun anew for long: usually it does at a quarter of it.
const LONG_BYTES: u64 = 1 << 30;

/// The time between two warnings, in microseconds.
const WARNING_GAP_US: u64 = 60_000_000;

/// The watch over the log of one file.
#[derive(Debug)]
pub(super) struct LogWatch {
    file: PathBuf,
    log: PathBuf,
    bytes: IntGauge,
    warned_at: Option<Mono>,
}

impl LogWatch {
    /// Over the log of this file; `bytes` is set to its length.
    pub(super) fn new(file: &Path, bytes: IntGauge) -> Self {
        Self {
            file: file.to_owned(),
            log: beside(file, "-wal"),
            bytes,
            warned_at: None,
        }
    }

    /// Looks at the length, and warns at most once a minute while the log is long; returns whether it did.
    pub(super) fn look(&mut self, now: Mono) -> bool {
        // There is no log before the first commit.
        let length = fs::metadata(&self.log).map_or(0, |metadata| metadata.len());
        self.bytes.set(i64::try_from(length).unwrap_or(i64::MAX));
        if length < LONG_BYTES {
            self.warned_at = None;
            return false;
        }
        if self
            .warned_at
            .is_some_and(|warned| now < warned.plus_us(WARNING_GAP_US))
        {
            return false;
        }
        self.warned_at = Some(now);
        let (file, log, mib) = (self.file.display(), self.log.display(), length >> 20);
        warn!(
            "{log} has grown to {mib} MiB and can't begin anew: another program reads {file} and does not come to an end. \
             Look for an open sqlite3 shell, a backup or a script (lsof {file}); the log grows until it ends"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_long_log_is_measured_and_warned_of_once_a_minute() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ledger.db");
        let bytes = IntGauge::new("bytes", "bytes").expect("a name");
        let mut watch = LogWatch::new(&file, bytes.clone());
        let start = Clock::system().mono();
        assert!(!watch.look(start), "there is no log yet");
        assert_eq!(bytes.get(), 0);

        // Without content it takes no room.
        let log = File::create(dir.path().join("ledger.db-wal")).expect("a log");
        let length = |bytes: u64| log.set_len(bytes).expect("a sparse file");
        length(LONG_BYTES - 1);
        assert!(!watch.look(start));
        assert_eq!(bytes.get(), (1 << 30) - 1);
        length(2 * LONG_BYTES);
        assert!(watch.look(start));
        assert_eq!(bytes.get(), 2 << 30);
        assert!(!watch.look(start.plus_us(WARNING_GAP_US - 1)));
        assert!(watch.look(start.plus_us(WARNING_GAP_US)));

        length(0);
        assert!(!watch.look(start.plus_us(WARNING_GAP_US + 1)));
        length(LONG_BYTES);
        assert!(
            watch.look(start.plus_us(WARNING_GAP_US + 2)),
            "it is long again"
        );
    }
}
