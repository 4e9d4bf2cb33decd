//! Counts fragments of the log over time. Memory does not grow with the log: one line at a time, and a bounded number
//! of minutes and hours.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use memchr::memmem::Finder;
use serde::Serialize;

/// What is counted, as operators know it.
pub(super) const FRAGMENTS: [&str; 5] = [
    "DIRECT_BALANCE_UPDATE",
    "BalanceCoordinator",
    "balance_update",
    "[BalanceCache] Cache hit",
    "[BalanceCache] Cache miss",
];

/// The part of a line that is searched.
const LINE_BYTES_MAX: usize = 16 << 10;

/// The part of a line in which a time is looked for.
const TIME_WITHIN_BYTES: usize = 64;

/// The latest minutes are counted apart: two weeks of them.
const MINUTES_MAX: usize = 20_160;

/// The latest hours are counted apart: eleven years of them.
const HOURS_MAX: usize = 100_000;

/// How many of the busiest hours are shown.
const BUSIEST_MAX: usize = 5;

type Counts = [u64; FRAGMENTS.len()];

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct LogCounts {
    pub lines: u64,
    pub bytes: u64,
    /// Lines with a fragment, but without a time.
    pub untimed: u64,
    pub totals: Counts,
    minutes: BTreeMap<String, Counts>,
    hours: BTreeMap<String, Counts>,
}

/// The counts of a minute or an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Span {
    pub at: String,
    pub counts: Counts,
}

/// As it is reported.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LogReport {
    pub lines: u64,
    pub bytes: u64,
    pub lines_without_time: u64,
    pub fragments: [&'static str; FRAGMENTS.len()],
    pub totals: Counts,
    /// Minutes with at least one.
    pub minutes_seen: usize,
    /// Of each fragment, in a minute with at least one.
    pub per_minute: [f64; FRAGMENTS.len()],
    pub busiest_minute: Option<Span>,
    pub busiest_hours: Vec<Span>,
    /// Hits among hits and misses.
    pub hit_ratio: Option<f64>,
    pub minutes: Vec<Span>,
}

impl LogCounts {
    /// Reads to the end.
    pub(super) fn read(mut input: impl BufRead) -> io::Result<Self> {
        let finders = FRAGMENTS.map(Finder::new);
        let mut counts = Self::default();
        let mut line = Vec::new();
        loop {
            let (taken, is_end) = {
                let piece = match input.fill_buf() {
                    Ok(piece) => piece,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                let end = memchr::memchr(b'\n', piece);
                let text = &piece[..end.unwrap_or(piece.len())];
                let room = LINE_BYTES_MAX.saturating_sub(line.len());
                line.extend_from_slice(&text[..text.len().min(room)]);
                (end.map_or(piece.len(), |at| at + 1), end.is_some())
            };
            input.consume(taken);
            counts.bytes += taken as u64;
            if is_end || (taken == 0 && !line.is_empty()) {
                counts.line(&line, &finders);
                line.clear();
            }
            if taken == 0 {
                return Ok(counts);
            }
        }
    }

    fn line(&mut self, line: &[u8], finders: &[Finder<'_>; FRAGMENTS.len()]) {
        self.lines += 1;
        let found: Counts =
            std::array::from_fn(|index| u64::from(finders[index].find(line).is_some()));
        if found == Counts::default() {
            return;
        }
        add(&mut self.totals, &found);
        let Some(minute) = minute_of(line) else {
            self.untimed += 1;
            return;
        };
        // A date and an hour, and a minute behind them.
        let hour = minute[..13].to_owned();
        for (spans, at, max) in [
            (&mut self.minutes, minute, MINUTES_MAX),
            (&mut self.hours, hour, HOURS_MAX),
        ] {
            add(spans.entry(at).or_default(), &found);
            if spans.len() > max {
                spans.pop_first();
            }
        }
    }

    pub(super) fn report(self) -> LogReport {
        let span = |(at, counts): (&String, &Counts)| Span {
            at: at.clone(),
            counts: *counts,
        };
        let busy = |counts: &Counts| counts.iter().sum::<u64>();
        let mut hours: Vec<Span> = self.hours.iter().map(span).collect();
        hours.sort_by_key(|hour| std::cmp::Reverse(busy(&hour.counts)));
        hours.truncate(BUSIEST_MAX);
        let mut timed = Counts::default();
        self.minutes
            .values()
            .for_each(|counts| add(&mut timed, counts));
        let minutes = self.minutes.len();
        let [.., hits, misses] = self.totals;
        LogReport {
            lines: self.lines,
            bytes: self.bytes,
            lines_without_time: self.untimed,
            fragments: FRAGMENTS,
            totals: self.totals,
            minutes_seen: minutes,
            per_minute: timed.map(|count| {
                if minutes == 0 {
                    0.0
                } else {
                    count as f64 / minutes as f64
                }
            }),
            busiest_minute: self
                .minutes
                .iter()
                .max_by_key(|(_, counts)| busy(counts))
                .map(span),
            busiest_hours: hours,
            hit_ratio: (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64),
            minutes: self.minutes.iter().map(span).collect(),
        }
    }
}

fn add(to: &mut Counts, more: &Counts) {
    to.iter_mut()
        .zip(more)
        .for_each(|(count, more)| *count += more);
}

/// `2025-08-04T10:05` near the beginning of a line, with a `T` or a space in the middle.
fn minute_of(line: &[u8]) -> Option<String> {
    const FORM: &[u8; 16] = b"0000-00-00T00:00";
    let fits = |window: &[u8]| {
        window.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b' '),
            form => byte == form,
        })
    };
    let start = &line[..line.len().min(TIME_WITHIN_BYTES)];
    let found = start.windows(FORM.len()).find(|window| fits(window))?;
    Some(String::from_utf8_lossy(found).replace(' ', "T"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(minute: usize, what: &str) -> String {
        let (day, hour) = (1 + minute / 1440 % 28, minute / 60 % 24);
        let (month, year) = (1 + minute / 40_320 % 12, 2000 + minute / 483_840);
        format!(
            "[{year:04}-{month:02}-{day:02}T{hour:02}:{:02}:07Z INFO  x] {what} user_id=1\n",
            minute % 60
        )
    }

    #[test]
    fn fragments_are_counted_by_minute_and_hour() {
        let mut log = String::new();
        log += &line(60, "DIRECT_BALANCE_UPDATE balance_update");
        log += &line(60, "BalanceCoordinator balance_update");
        log += &line(61, "[BalanceCache] Cache hit");
        log += &line(61, "[BalanceCache] Cache hit");
        log += &line(125, "[BalanceCache] Cache miss");
        log += &line(126, "something else");
        log += "balance_update without a time\r\n\n2000-01-01 02:06:00 BalanceCoordinator no newline at the end";
        let counts = LogCounts::read(log.as_bytes()).expect("it reads");
        assert_eq!(
            (counts.lines, counts.untimed, counts.bytes),
            (9, 1, log.len() as u64)
        );
        let report = counts.report();
        assert_eq!(report.totals, [1, 2, 3, 2, 1]);
        assert_eq!(report.hit_ratio, Some(2.0 / 3.0));
        assert_eq!((report.minutes_seen, report.per_minute[0]), (4, 0.25));
        assert_eq!(
            report.busiest_minute.map(|span| span.at).as_deref(),
            Some("2000-01-01T01:00")
        );
        let first = Span {
            at: "2000-01-01T01".into(),
            counts: [1, 1, 2, 2, 0],
        };
        assert_eq!(
            (&report.busiest_hours[0], report.busiest_hours.len()),
            (&first, 2)
        );
    }

    #[test]
    fn a_log_of_json_is_counted_too() {
        let log = r#"{"time":"2000-01-01T01:00:07.000000Z","level":"DEBUG","target":"x","message":"[BalanceCache] Cache hit user_id=1"}"#;
        let report = LogCounts::read(log.as_bytes()).expect("it reads").report();
        assert_eq!(
            (report.totals, report.lines_without_time),
            ([0, 0, 0, 1, 0], 0)
        );
        assert_eq!(
            report.busiest_minute.map(|span| span.at).as_deref(),
            Some("2000-01-01T01:00")
        );
    }

    #[test]
    fn neither_a_long_log_nor_a_long_line_takes_more_memory() {
        let mut counts = LogCounts::default();
        let finders = FRAGMENTS.map(Finder::new);
        for minute in 0..MINUTES_MAX + 500 {
            counts.line(line(minute, "balance_update").as_bytes(), &finders);
        }
        assert_eq!(
            (counts.minutes.len(), counts.totals[2]),
            (MINUTES_MAX, MINUTES_MAX as u64 + 500)
        );
        let long = format!(
            "{}balance_update\nbalance_update",
            "x".repeat(LINE_BYTES_MAX * 3)
        );
        let counts = LogCounts::read(long.as_bytes()).expect("it reads");
        assert_eq!(
            (counts.lines, counts.totals[2]),
            (2, 1),
            "what is beyond is not looked at"
        );
    }

    #[test]
    fn what_is_no_text_is_read_all_the_same() {
        let log = [
            b"\xff\xfe\0 2025-08-04T10:05:00Z balance_update\n".as_slice(),
            &[0; 100],
        ]
        .concat();
        let counts = LogCounts::read(log.as_slice()).expect("it reads");
        assert_eq!((counts.lines, counts.totals[2], counts.untimed), (2, 1, 0));
    }
}
