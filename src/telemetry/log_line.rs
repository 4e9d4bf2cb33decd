//! How a line of the log is written: as text for people, or as a JSON object for machines, one a line.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use log::Level;

use crate::clock::Wall;
use crate::domain::RequestId;
use crate::telemetry::requests;

/// [`UNKNOWN`] until the configuration is read, then [`TEXT`] or [`JSON`].
static FORMAT: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const TEXT: u8 = 1;
const JSON: u8 = 2;

static IS_COLOURED: AtomicBool = AtomicBool::new(false);

/// From now on the format is known.
pub(super) fn set_json(is_json: bool) {
    FORMAT.store(if is_json { JSON } else { TEXT }, Ordering::Release);
}

/// Whether lines of text have colours.
pub(super) fn set_coloured(is_coloured: bool) {
    IS_COLOURED.store(is_coloured, Ordering::Relaxed);
}

/// Whether the configuration was read.
pub(super) fn is_known() -> bool {
    FORMAT.load(Ordering::Acquire) != UNKNOWN
}

/// Whether lines are objects.
pub(super) fn is_json() -> bool {
    FORMAT.load(Ordering::Acquire) == JSON
}

/// Appends a line of the current requests in the format of the log.
pub(super) fn write_line(
    text: &mut String,
    at: Wall,
    level: Level,
    target: &str,
    message: fmt::Arguments<'_>,
) {
    let format = if is_json() {
        Format::Json
    } else {
        Format::Text {
            is_coloured: IS_COLOURED.load(Ordering::Relaxed),
        }
    };
    let line = Line {
        at,
        level,
        target,
        requests: &requests::all_current(),
        message,
    };
    line.write(format, text);
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `[time LEVEL target] message`; further lines of a message are indented.
    Text {
        /// For a terminal.
        is_coloured: bool,
    },
    /// `{"time":…,"level":…,"target":…,"message":…}`
    Json,
}

/// A line before it is written.
struct Line<'a> {
    at: Wall,
    level: Level,
    target: &'a str,
    /// The requests that it belongs to.
    requests: &'a [RequestId],
    message: fmt::Arguments<'a>,
}

impl Line<'_> {
    /// Appends it, with its line break.
    fn write(&self, format: Format, out: &mut String) {
        // Writing to a string can't fail; an argument that fails to format itself is left out.
        let _ = match format {
            Format::Text { is_coloured } => self.write_text(is_coloured, out),
            Format::Json => self.write_json(out),
        };
        out.push_str(match format {
            Format::Text { .. } => "\n",
            Format::Json => "\"}\n",
        });
    }

    fn write_text(&self, is_coloured: bool, out: &mut String) -> fmt::Result {
        let Self { at, level, .. } = self;
        let (begin, end) = if is_coloured {
            colour(*level)
        } else {
            ("", "")
        };
        write!(out, "[{at} {begin}{level:<5}{end} {}", self.target)?;
        if !self.requests.is_empty() {
            write!(out, " request_id={}", Ids(self.requests, ","))?;
        }
        out.push_str("] ");
        Indented(out).write_fmt(self.message)
    }

    /// The message comes last, and its end is left open.
    fn write_json(&self, out: &mut String) -> fmt::Result {
        write!(
            out,
            r#"{{"time":"{}","level":"{}","target":""#,
            self.at, self.level
        )?;
        Escaped(out).write_str(self.target)?;
        if let [first, more @ ..] = self.requests {
            write!(out, r#"","request_id":"{first}"#)?;
            if !more.is_empty() {
                let all = Ids(self.requests, r#"",""#);
                write!(out, r#"","request_ids":["{all}"],"message":""#)?;
                return Escaped(out).write_fmt(self.message);
            }
        }
        out.push_str(r#"","message":""#);
        Escaped(out).write_fmt(self.message)
    }
}

/// Ids with something between them.
struct Ids<'a>(&'a [RequestId], &'a str);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(self.1)?;
            }
            write!(f, "{id}")?;
        }
        Ok(())
    }
}

/// Indents the further lines of a message, so that none looks like a log line of its own.
struct Indented<'a>(&'a mut String);

impl fmt::Write for Indented<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut lines = text.split('\n');
        self.0.push_str(lines.next().unwrap_or_default());
        for line in lines {
            self.0.push_str("\n    ");
            self.0.push_str(line);
        }
        Ok(())
    }
}

/// The inside of a JSON string. More is escaped than JSON demands: everything at which some reader ends a line, and what a
/// terminal obeys.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    write!(self.0, "\\u{:04x}", u32::from(c))?;
                }
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// For terminals.
const fn colour(level: Level) -> (&'static str, &'static str) {
    let begin = match level {
        Level::Error => "\x1b[1;31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[34m",
        Level::Trace => "\x1b[36m",
    };
    (begin, "\x1b[0m")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const TEXT: Format = Format::Text { is_coloured: false };

    fn written(format: Format, requests: &[RequestId], message: fmt::Arguments<'_>) -> String {
        let mut out = String::new();
        let line = Line {
            at: Wall::from_us(1_754_301_900_000_000),
            level: Level::Info,
            target: "balance_coordinator::x",
            requests,
            message,
        };
        line.write(format, &mut out);
        out
    }

    fn ids(count: u8) -> Vec<RequestId> {
        let id = |number| RequestId::parse(&format!("{number:032x}")).expect("an id");
        (1..=count).map(id).collect()
    }

    #[test]
    fn a_line_of_text_names_its_requests_before_its_message() {
        let at = "2025-08-04T10:05:00.000000Z";
        let (one, two) = ("0".repeat(31) + "1", "0".repeat(31) + "2");
        for (count, names) in [
            (0, String::new()),
            (1, format!(" request_id={one}")),
            (2, format!(" request_id={one},{two}")),
        ] {
            assert_eq!(
                written(TEXT, &ids(count), format_args!("a{}d", "b\nc\n")),
                format!("[{at} INFO  balance_coordinator::x{names}] ab\n    c\n    d\n")
            );
        }
        let coloured = written(Format::Text { is_coloured: true }, &[], format_args!("a"));
        assert!(coloured.contains(" \x1b[32mINFO \x1b[0m balance_coordinator::x] a\n"));
    }

    #[test]
    fn a_line_of_json_has_its_parts() {
        let (one, two) = ("0".repeat(31) + "1", "0".repeat(31) + "2");
        let mut expected = json!({
            "time": "2025-08-04T10:05:00.000000Z", "level": "INFO", "target": "balance_coordinator::x", "message": "a\nb",
        });
        let read = |count| -> Value {
            let line = written(Format::Json, &ids(count), format_args!("a\n{}", 'b'));
            serde_json::from_str(&line).expect("JSON")
        };
        assert_eq!(read(0), expected);
        expected["request_id"] = json!(one);
        assert_eq!(read(1), expected);
        expected["request_ids"] = json!([one, two]);
        assert_eq!(read(2), expected);
    }

    #[test]
    fn an_argument_that_fails_leaves_a_line_that_is_whole() {
        struct Broken;
        impl fmt::Display for Broken {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("some\"")?;
                Err(fmt::Error)
            }
        }
        let line = written(Format::Json, &[], format_args!("a {Broken} b"));
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["message"], "a some\"");
        assert!(written(TEXT, &[], format_args!("a {Broken} b")).ends_with("] a some\"\n"));
    }

    #[test]
    fn what_ends_a_line_or_moves_a_cursor_is_escaped() {
        let hostile =
            "\"\\\0\x08\t\n\x0b\x0c\r\x1b[2J\x1c\x1d\x1e\x7f\u{85}\u{9b}31m\u{2028}\u{2029}é😀";
        let line = written(Format::Json, &[], format_args!("{hostile}"));
        let ends = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        assert_eq!(line.matches(ends).collect::<Vec<_>>(), ["\n"], "{line:?}");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["message"], hostile);
    }

    proptest! {
        #[test]
        fn any_message_is_one_line_and_is_read_back(message in any::<String>()) {
            let line = written(Format::Json, &[], format_args!("{message}"));
            prop_assert_eq!(line.lines().count(), 1);
            let line: Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(&line["message"], &json!(message));
        }
    }
}
