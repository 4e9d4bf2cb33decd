//! The wall clock that the service stamps its frames with: both run on one machine.

use std::time::{SystemTime, UNIX_EPOCH};

use balance_coordinator::clock;

/// Microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the end of time")
}

/// Length of a timestamp in a frame: `2025-08-04T10:05:00.123456Z`.
pub const STAMP_LEN: usize = 27;

/// Where the minutes end in a timestamp.
const MINUTE_LEN: usize = 16;

/// Parses timestamps of frames; caches the minute, because most are of the same one.
#[derive(Debug, Default)]
pub struct Stamps {
    minute: [u8; MINUTE_LEN],
    minute_us: i64,
}

impl Stamps {
    /// Microseconds since the Unix epoch; `None` when it is no timestamp of a frame.
    pub fn read(&mut self, stamp: &[u8]) -> Option<i64> {
        let stamp = stamp.get(..STAMP_LEN)?;
        let (minute, rest) = stamp.split_at(MINUTE_LEN);
        if minute != self.minute {
            let text = format!("{}:00Z", std::str::from_utf8(minute).ok()?);
            self.minute_us = clock::parse_rfc3339(&text)?;
            self.minute.copy_from_slice(minute);
        }
        let seconds = number(&rest[1..3])?;
        let micros = number(&rest[4..10])?;
        Some(self.minute_us + seconds * 1_000_000 + micros)
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(digit - b'0'))
    })
}
