//! The rows of a file, one after the other, with the lines on which they begin: CSV or JSON lines, told apart by the first
//! character. Little of the file is in memory at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::migration::MigrationError;

/// The longest line of JSON, in bytes; an entry has at most some thousand.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The bytes that are read at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// What some programs write at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A row that is not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// As the service has it, or one of `invalid_line`, `named_twice`, `label_used`.
    pub code: String,
    /// The field at fault, or more words.
    pub detail: String,
    /// The row: an object, or a text that is none.
    pub content: Value,
}

/// A row of a file, as a JSON object.
#[derive(Debug)]
pub struct Row {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The object as it is written.
    pub object: Box<RawValue>,
}

/// A file that is open, and how long it is where that is known.
pub struct Input {
    name: String,
    reader: BufReader<Box<dyn Read>>,
    /// In bytes.
    pub length: Option<u64>,
}

impl Input {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// [`MigrationError::File`].
    pub fn open(path: &Path) -> Result<Self, MigrationError> {
        let name = path.display().to_string();
        let (reader, length): (Box<dyn Read>, _) = if name == "-" {
            (Box::new(io::stdin()), None)
        } else {
            let opened = File::open(path).and_then(|file| {
                let length = file.metadata()?.len();
                Ok((file, length))
            });
            let (file, length) = opened.map_err(|why| failed(&name, why))?;
            (Box::new(file), Some(length))
        };
        Ok(Self {
            name,
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            length,
        })
    }

    /// Its rows. `columns` must all be in the header of a CSV.
    ///
    /// # Errors
    /// [`MigrationError::File`].
    pub fn rows(mut self, columns: &[&str]) -> Result<Rows, MigrationError> {
        let head = self
            .reader
            .fill_buf()
            .map_err(|why| failed(&self.name, why))?;
        let mark = if head.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let first = head[mark..].iter().find(|byte| !byte.is_ascii_whitespace());
        let is_json = first == Some(&b'{');
        let is_empty = first.is_none();
        self.reader.consume(mark);
        let form = if is_json || is_empty {
            Form::Json {
                reader: self.reader,
                line: 0,
                bytes: 0,
            }
        } else {
            Form::Csv(Box::new(Csv::new(&self.name, self.reader, columns)?))
        };
        Ok(Rows {
            name: self.name,
            mark_bytes: mark as u64,
            form,
        })
    }
}

/// The rows of a file, in its order.
pub struct Rows {
    name: String,
    mark_bytes: u64,
    form: Form,
}

enum Form {
    Json {
        reader: BufReader<Box<dyn Read>>,
        line: u64,
        bytes: u64,
    },
    Csv(Box<Csv>),
}

impl Rows {
    /// The next row, or why there is none in it; `None` at the end.
    ///
    /// # Errors
    /// [`MigrationError::File`].
    pub fn next_row(&mut self) -> Result<Option<Result<Row, Refused>>, MigrationError> {
        let read = match &mut self.form {
            Form::Csv(csv) => csv.next_row(),
            Form::Json {
                reader,
                line,
                bytes,
            } => next_line(reader, line, bytes),
        };
        read.map_err(|why| failed(&self.name, why))
    }

    /// How many bytes of the file were read.
    pub fn bytes(&self) -> u64 {
        let bytes = match &self.form {
            Form::Json { bytes, .. } => *bytes,
            Form::Csv(csv) => csv.reader.position().byte(),
        };
        self.mark_bytes + bytes
    }
}

/// A row, a refused one, or the end.
type NextRow = io::Result<Option<Result<Row, Refused>>>;

/// The next line that is not empty.
fn next_line(reader: &mut impl BufRead, line: &mut u64, bytes: &mut u64) -> NextRow {
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = read_line(reader, &mut text)?;
        if read == 0 {
            return Ok(None);
        }
        *line += 1;
        *bytes += read;
        if !text.trim_ascii().is_empty() {
            break;
        }
    }
    let refuse = |why: String| {
        let shown = String::from_utf8_lossy(&text[..text.len().min(LINE_BYTES_MAX)]);
        Err(Refused {
            line: *line,
            code: "invalid_line".into(),
            detail: why,
            content: shown.trim_end().into(),
        })
    };
    if text.len() > LINE_BYTES_MAX {
        return Ok(Some(refuse(format!(
            "is longer than {LINE_BYTES_MAX} bytes"
        ))));
    }
    let row = match serde_json::from_slice::<Box<RawValue>>(&text) {
        Ok(object) if object.get().starts_with('{') => Ok(Row {
            line: *line,
            object,
        }),
        Ok(_) => refuse("is no JSON object".into()),
        Err(error) => refuse(format!("is no JSON object: {error}")),
    };
    Ok(Some(row))
}

/// Reads a line; of a long one, only the beginning is kept. Answers its length in bytes.
fn read_line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            return Ok(length);
        }
        let end = memchr::memchr(b'\n', part);
        let taken = end.map_or(part.len(), |end| end + 1);
        let room = (LINE_BYTES_MAX + 1).saturating_sub(text.len());
        text.extend_from_slice(&part[..taken.min(room)]);
        length += taken as u64;
        reader.consume(taken);
        if end.is_some() {
            return Ok(length);
        }
    }
}

struct Csv {
    reader: csv::Reader<BufReader<Box<dyn Read>>>,
    names: Vec<String>,
    record: csv::StringRecord,
    /// A record ends before the second character of CR LF, so the next one seems to begin a line earlier.
    lines_behind: u64,
}

impl Csv {
    fn new(
        name: &str,
        reader: BufReader<Box<dyn Read>>,
        columns: &[&str],
    ) -> Result<Self, MigrationError> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(reader);
        let header = reader.headers().map_err(|why| failed(name, why))?;
        let in_header = header.iter().flat_map(str::bytes).filter(|b| *b == b'\n');
        let line_after_header = 2 + in_header.count() as u64;
        let names: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        for (index, column) in names.iter().enumerate() {
            if column.is_empty() || names[..index].contains(column) {
                let why = format!("column {} of the header has no name of its own", index + 1);
                return Err(failed(name, why));
            }
        }
        if let Some(missing) = columns
            .iter()
            .find(|one| !names.iter().any(|name| name == *one))
        {
            return Err(failed(name, format!("its header has no column {missing}")));
        }
        let lines_behind = line_after_header.saturating_sub(reader.position().line());
        Ok(Self {
            lines_behind,
            reader,
            names,
            record: csv::StringRecord::new(),
        })
    }

    fn next_row(&mut self) -> NextRow {
        let read = self.reader.read_record(&mut self.record);
        let line_of = |position: Option<&csv::Position>| {
            position.map_or(0, csv::Position::line) + self.lines_behind
        };
        let is_read = match read {
            Ok(is_read) => is_read,
            Err(error) => {
                let line = line_of(error.position());
                return match error.into_kind() {
                    csv::ErrorKind::Utf8 { .. } => Ok(Some(Err(Refused {
                        line,
                        code: "invalid_line".into(),
                        detail: "is not UTF-8".into(),
                        content: Value::Null,
                    }))),
                    csv::ErrorKind::Io(error) => Err(error),
                    other => Err(io::Error::other(format!("line {line}: {other:?}"))),
                };
            }
        };
        if !is_read {
            return Ok(None);
        }
        let line = line_of(self.record.position());
        Ok(Some(self.row(line)))
    }

    fn row(&self, line: u64) -> Result<Row, Refused> {
        let refuse = |detail: String| {
            let cells = self.record.iter().collect::<Vec<_>>();
            Refused {
                line,
                code: "invalid_line".into(),
                detail,
                content: cells.into(),
            }
        };
        if self.record.len() != self.names.len() {
            let (cells, columns) = (self.record.len(), self.names.len());
            return Err(refuse(format!(
                "has {cells} cells, and the header {columns}"
            )));
        }
        let mut object = Map::new();
        let mut metadata = None;
        for (name, cell) in self.names.iter().zip(&self.record) {
            match name.as_str() {
                _ if cell.is_empty() => {}
                // As it is written: another program may read its numbers in another way.
                "metadata" => match serde_json::from_str::<&RawValue>(cell) {
                    Ok(json) => metadata = Some(json.get()),
                    Err(error) => return Err(refuse(format!("metadata is no JSON: {error}"))),
                },
                "user_id" => {
                    let number = cell.parse::<u64>().map(Value::from);
                    let value = number.unwrap_or_else(|_| cell.into());
                    object.insert(name.clone(), value);
                }
                _ => {
                    object.insert(name.clone(), cell.into());
                }
            }
        }
        let mut text = Value::Object(object).to_string();
        if let Some(metadata) = metadata {
            let comma = if text == "{}" { "" } else { "," };
            text.truncate(text.len() - 1);
            text.push_str(&format!("{comma}\"metadata\":{metadata}}}"));
        }
        let object = RawValue::from_string(text);
        let object = object.map_err(|error| refuse(error.to_string()))?;
        Ok(Row { line, object })
    }
}

impl Row {
    /// The row, refused.
    pub fn refuse(&self, code: &str, detail: impl Into<String>) -> Refused {
        Refused {
            line: self.line,
            code: code.to_owned(),
            detail: detail.into(),
            content: serde_json::from_str(self.object.get()).unwrap_or_default(),
        }
    }
}

fn failed(name: &str, why: impl std::fmt::Display) -> MigrationError {
    MigrationError::File {
        name: name.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file with this content, read in small parts.
    pub(in crate::migration) fn input(text: &[u8]) -> Input {
        Input {
            name: "f".into(),
            reader: BufReader::with_capacity(7, Box::new(io::Cursor::new(text.to_vec()))),
            length: Some(text.len() as u64),
        }
    }

    /// The line and the object of each row, or why it is refused.
    type Found = Vec<Result<(u64, String), Refused>>;

    fn read(text: &[u8], columns: &[&str]) -> Result<Found, String> {
        let mut rows = input(text)
            .rows(columns)
            .map_err(|error| error.to_string())?;
        let mut read = Vec::new();
        while let Some(row) = rows.next_row().map_err(|error| error.to_string())? {
            read.push(row.map(|row| (row.line, row.object.get().to_owned())));
        }
        assert_eq!(rows.bytes(), text.len() as u64);
        Ok(read)
    }

    fn lines(text: &str) -> Vec<(u64, String)> {
        let rows = read(text.as_bytes(), &[]).expect("a file");
        rows.into_iter().map(|row| row.expect("a row")).collect()
    }

    #[test]
    fn csv_and_json_lines_are_told_apart_and_give_the_same_rows() {
        let expected = r#"{"amount":"1","user_id":184}"#;
        for (line, text) in [
            (1, "{\"amount\":\"1\",\"user_id\":184}\n"),
            (2, "\u{feff}\n  {\"amount\":\"1\",\"user_id\":184}"),
            (2, "user_id,amount\n184,1\n"),
            (2, "\u{feff}user_id, amount \r\n184,1\r\n"),
            (2, "user_id,amount,reason\n184,\"1\",\n"),
        ] {
            let rows = lines(text);
            assert_eq!(rows, [(line, expected.to_owned())], "{text:?}");
        }
        assert_eq!(lines(""), []);
        assert_eq!(lines(" \n\n"), []);
    }

    #[test]
    fn metadata_stays_as_it_is_written() {
        let rows = lines("user_id,metadata\n1,\"{\"\"x\"\": 1.50}\"\n,\"[1,\n2]\"\n3,\n");
        let expected = [
            (2, r#"{"user_id":1,"metadata":{"x": 1.50}}"#.to_owned()),
            (3, "{\"metadata\":[1,\n2]}".to_owned()),
            (5, r#"{"user_id":3}"#.to_owned()),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_bad_line_is_refused_by_its_number_and_the_next_ones_are_read() {
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(LINE_BYTES_MAX));
        let json = format!("{{}}\n[1]\n\nnonsense\n{long}\n{{\"a\":1}}");
        let rows = read(json.as_bytes(), &[]).expect("a file");
        let found: Vec<_> = rows
            .iter()
            .map(|row| row.as_ref().map(|row| row.0).map_err(|one| one.line))
            .collect();
        assert_eq!(found, [Ok(1), Err(2), Err(4), Err(5), Ok(6)]);
        let rows = read(b"user_id,amount\n1\n2,3,4\n\xff,1\n5,\"6\"\n", &["amount"]);
        let rows = rows.expect("a file");
        let found: Vec<_> = rows
            .iter()
            .map(|row| row.as_ref().map(|row| row.0).map_err(|one| one.line))
            .collect();
        assert_eq!(found, [Err(2), Err(3), Err(4), Ok(5)]);
    }

    #[test]
    fn a_header_without_a_column_or_with_one_twice_is_refused() {
        for (text, why) in [
            ("user,amount\n", "f: its header has no column user_id"),
            ("user_id,user_id\n", "column 2 of the header"),
            ("user_id,,x\n", "column 2 of the header"),
        ] {
            let refused = read(text.as_bytes(), &["user_id"]).expect_err("refused");
            assert!(refused.contains(why), "{refused}");
        }
    }
}
