//! Parses frames with as little work as possible, because the client shares the machine with the
//! service.

use super::clock::{STAMP_LEN, Stamps};

/// The largest distance of a frame's numbers from its start.
const HEAD_BYTES: usize = 256;

/// A complete WebSocket frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Raw<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Close,
    Other,
}

/// The first frame of these bytes and its length; `None` when it is incomplete.
pub fn next(bytes: &[u8]) -> Option<(Raw<'_>, usize)> {
    let (opcode, short) = (bytes.first()? & 0x0f, usize::from(bytes.get(1)? & 0x7f));
    let (head, len) = match short {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        ),
        len => (2, len),
    };
    let payload = bytes.get(head..head + len)?;
    let frame = match opcode {
        1 => Raw::Text(payload),
        8 => Raw::Close,
        9 => Raw::Ping(payload),
        _ => Raw::Other,
    };
    Some((frame, head + len))
}

/// A frame from the client; its mask is zero.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len())
        .expect("short payloads only")
        .min(125);
    let mut frame = vec![0x80 | opcode, 0x80 | len, 0, 0, 0, 0];
    frame.extend_from_slice(&payload[..usize::from(len)]);
    frame
}

/// The kinds of text frame that the bench knows.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// A `balance`: snapshot, refresh or recovery.
    Balance { version: i64 },
    /// A `balance_update`.
    Push(Push),
    /// Anything else.
    Other,
}

/// Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Push {
    pub version: i64,
    pub is_direct: bool,
    pub first_committed_us: i64,
    pub committed_us: i64,
    pub pushed_us: i64,
}

/// Parses a text frame; `None` when it violates the protocol.
pub fn read(text: &[u8], stamps: &mut Stamps) -> Option<Told> {
    if text.starts_with(br#"{"type":"balance_update""#) {
        let tail = |name: &[u8]| {
            let at = rfind(text, name)? + name.len();
            text.get(at..at + STAMP_LEN)
        };
        let pushed_us = stamps.read(tail(br#""pushed_at":""#)?)?;
        let committed_us = stamps.read(tail(br#","committed_at":""#)?)?;
        let first_committed_us = stamps.read(tail(br#""first_committed_at":""#)?)?;
        let is_direct = rfind(text, br#""mode":"direct""#).is_some();
        let version = version_of(text)?;
        Some(Told::Push(Push {
            version,
            is_direct,
            first_committed_us,
            committed_us,
            pushed_us,
        }))
    } else if text.starts_with(br#"{"type":"balance""#) {
        Some(Told::Balance {
            version: version_of(text)?,
        })
    } else {
        Some(Told::Other)
    }
}

fn version_of(text: &[u8]) -> Option<i64> {
    const NAME: &[u8] = br#""version":"#;
    let head = &text[..text.len().min(HEAD_BYTES)];
    let at = super::http::find(head, NAME)? + NAME.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

fn rfind(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .rposition(|window| window == needle)
}
