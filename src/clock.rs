//! The one place where time is read.
//!
//! Two times, each a type of its own: [`Wall`] for what is stored and shown, [`Mono`] for waits and pacing. Both follow
//! tokio's paused time when the clock is [`Clock::virtual_from`], so that a simulation can jump.

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::Datelike as _;
use tokio::time::Instant;

/// Reads the time; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    wall: WallSource,
}

/// Where the time on the wall comes from.
#[derive(Debug, Clone, Copy)]
enum WallSource {
    System,
    /// The time at the clock's origin.
    Virtual(Wall),
    /// Microseconds since the Unix epoch, which a test sets as it likes.
    #[cfg(test)]
    Set(&'static std::sync::atomic::AtomicI64),
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self {
            origin: Instant::now(),
            wall: WallSource::System,
        }
    }

    /// A wall that starts at `start_us` and moves with tokio's time alone.
    pub fn virtual_from(start_us: i64) -> Self {
        Self {
            origin: Instant::now(),
            wall: WallSource::Virtual(Wall(start_us)),
        }
    }

    /// A wall that shows what a test has set.
    #[cfg(test)]
    pub fn set_by(wall_us: &'static std::sync::atomic::AtomicI64) -> Self {
        Self {
            origin: Instant::now(),
            wall: WallSource::Set(wall_us),
        }
    }

    /// The time on the wall.
    pub fn wall(&self) -> Wall {
        match self.wall {
            WallSource::Virtual(start) => start.plus_us(self.mono().us()),
            #[cfg(test)]
            WallSource::Set(wall_us) => Wall(wall_us.load(std::sync::atomic::Ordering::Relaxed)),
            WallSource::System => Wall(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| {
                        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
                    }),
            ),
        }
    }

    /// Whole seconds since the Unix epoch.
    pub fn now_s(&self) -> i64 {
        self.wall().us().div_euclid(1_000_000)
    }

    /// The monotonic time; it never goes back.
    pub fn mono(&self) -> Mono {
        Mono::from_us(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Both times.
    pub fn now(&self) -> Moment {
        Moment {
            mono: self.mono(),
            wall: self.wall(),
        }
    }

    /// The point in monotonic time that lies `wait` ahead.
    pub fn deadline(&self, wait: Duration) -> Deadline {
        Deadline(Instant::now() + wait)
    }
}

/// A time on the wall: microseconds since the Unix epoch. It is stored, shown and comparable between machines, but it may
/// be set back. Written as RFC 3339.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(i64);

impl Wall {
    /// From microseconds since the Unix epoch.
    pub const fn from_us(us: i64) -> Self {
        Self(us)
    }

    /// From seconds since the Unix epoch.
    pub const fn from_s(s: i64) -> Self {
        Self(s.saturating_mul(1_000_000))
    }

    /// In microseconds since the Unix epoch.
    pub const fn us(self) -> i64 {
        self.0
    }

    /// Microseconds from `earlier` to this time; 0 when `earlier` is later.
    pub fn us_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// So many microseconds later.
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add_unsigned(us))
    }

    /// So many microseconds earlier.
    pub const fn minus_us(self, us: u64) -> Self {
        Self(self.0.saturating_sub_unsigned(us))
    }
}

impl std::fmt::Display for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&rfc3339(self.0))
    }
}

impl serde::Serialize for Wall {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

/// A monotonic time: microseconds since the clock was made. For waits and pacing; it has no meaning in another process.
///
/// One more than it means, so that an `Option` of it takes no more room: every actor and session has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(NonZeroU64);

impl Mono {
    /// From microseconds since the clock was made.
    pub const fn from_us(us: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(us))
    }

    /// In microseconds since the clock was made.
    pub const fn us(self) -> u64 {
        self.0.get() - 1
    }

    /// Microseconds from `earlier` to this time; 0 when `earlier` is later.
    pub const fn us_since(self, earlier: Self) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }

    /// So many microseconds later.
    pub const fn plus_us(self, us: u64) -> Self {
        Self(self.0.saturating_add(us))
    }

    /// So many microseconds earlier; not before the clock was made.
    pub const fn minus_us(self, us: u64) -> Self {
        Self::from_us(self.us().saturating_sub(us))
    }
}

impl Default for Mono {
    /// When the clock was made.
    fn default() -> Self {
        Self::from_us(0)
    }
}

/// Both times of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// For waits.
    pub mono: Mono,
    /// For what is shown.
    pub wall: Wall,
}

impl Moment {
    /// The earlier one of each time.
    pub fn min(self, other: Self) -> Self {
        Self {
            mono: self.mono.min(other.mono),
            wall: self.wall.min(other.wall),
        }
    }

    /// The later one of each time.
    pub fn max(self, other: Self) -> Self {
        Self {
            mono: self.mono.max(other.mono),
            wall: self.wall.max(other.wall),
        }
    }
}

/// A point in monotonic time after which an answer is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        Instant::now() >= self.0
    }

    /// The time until then; zero when it has passed.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// For [`tokio::time::timeout_at`].
    pub fn instant(&self) -> Instant {
        self.0
    }
}

/// RFC 3339 in UTC with microseconds: `2025-08-04T10:05:00.123456Z`.
pub fn rfc3339(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us)
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// Reads an RFC 3339 timestamp of any offset into microseconds since the Unix epoch. `None` for another form, and for
/// a time that is outside the years 0000 to 9999 in UTC: [`rfc3339`] could not write it.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    // chrono also takes a space for the T, and a minus sign that is not ASCII.
    if !has_rfc3339_form(text.as_bytes()) {
        return None;
    }
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (0..=9999)
        .contains(&time.year())
        .then(|| time.timestamp_micros())
}

/// The form of RFC 3339, section 5.6: `date-time`. Ranges are not checked.
fn has_rfc3339_form(text: &[u8]) -> bool {
    let fits = |text: &[u8], form: &[u8]| {
        text.len() == form.len()
            && form.iter().zip(text).all(|(form, byte)| match form {
                b'0' => byte.is_ascii_digit(),
                form => form.eq_ignore_ascii_case(byte),
            })
    };
    const SECONDS: &[u8] = b"0000-00-00T00:00:00";
    let Some((seconds, rest)) = text.split_at_checked(SECONDS.len()) else {
        return false;
    };
    let offset = match rest.split_first() {
        Some((b'.', rest)) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &rest[digits..]
        }
        _ => rest,
    };
    let has_offset = fits(offset, b"Z") || fits(offset, b"+00:00") || fits(offset, b"-00:00");
    fits(seconds, SECONDS) && has_offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_microseconds_and_read_back() {
        let us = 1_754_301_900_123_456;
        assert_eq!(rfc3339(us), "2025-08-04T10:05:00.123456Z");
        assert_eq!(parse_rfc3339("2025-08-04T12:05:00.123456+02:00"), Some(us));
    }

    #[test]
    fn only_the_form_of_rfc_3339_is_read_and_only_years_that_can_be_written() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01t00:00:00z", Some(0)),
            ("1970-01-01T00:00:00.5Z", Some(500_000)),
            ("1970-01-01T00:00:00.1234567890123Z", Some(123_456)),
            ("1970-01-01T01:30:00+01:30", Some(0)),
            ("1969-12-31T23:00:00-01:00", Some(0)),
            ("1970-01-01T00:00:00-00:00", Some(0)),
            ("9999-12-31T23:59:59.999999Z", Some(253_402_300_799_999_999)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200_000_000)),
            ("9999-12-31T23:59:59-23:59", None),
            ("9999-12-31T23:59:59.9999999-00:01", None),
            ("0000-01-01T00:00:00+00:01", None),
            ("+10000-01-01T00:00:00Z", None),
            ("-0001-01-01T00:00:00Z", None),
            ("1970-01-01 00:00:00Z", None),
            ("1970-01-01_00:00:00Z", None),
            ("1970-01-01T00:00:00\u{2212}01:00", None),
            ("1970-01-01T00:00:00+0100", None),
            ("1970-01-01T00:00:00+01", None),
            ("1970-01-01T00:00:00+24:00", None),
            ("1970-01-01T00:00:00", None),
            ("1970-01-01T00:00:00.Z", None),
            ("1970-01-01T00:00Z", None),
            ("1970-01-01T00:00:00 Z", None),
            (" 1970-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00Z ", None),
            ("1970-02-30T00:00:00Z", None),
            ("1970-1-01T00:00:00Z", None),
            ("2025-08-04", None),
            ("", None),
        ] {
            assert_eq!(parse_rfc3339(text), expected, "{text:?}");
            if let Some(us) = expected {
                assert_eq!(parse_rfc3339(&rfc3339(us)), Some(us), "{text:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_moves_with_tokio_alone() {
        let clock = Clock::virtual_from(5);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(
            (clock.mono().us(), clock.wall().us()),
            (3_600_000_000, 3_600_000_005)
        );
    }
}
