//! Checks the headers of WebSocket frames before the codec collects their payloads.
//!
//! The codec buffers a frame until it is complete, whatever length its header announces: a peer that announces a terabyte
//! would fill the memory. The guard replaces such a frame by one that is one byte longer than allowed, which the codec refuses
//! in its turn, and drops everything after it. It buffers only part of a header, less than 14 bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;

/// Marks a masked frame, in the second byte.
const MASKED: u8 = 0x80;

/// What a peer sends, with no frame longer than allowed.
pub(super) struct FrameGuard<S> {
    stream: S,
    scanner: Scanner,
}

impl<S> FrameGuard<S> {
    pub(super) fn new(stream: S, payload_bytes_max: usize) -> Self {
        Self {
            stream,
            scanner: Scanner {
                payload_bytes_max,
                ..Scanner::default()
            },
        }
    }
}

impl<S: Stream<Item = Result<Bytes, E>> + Unpin, E> Stream for FrameGuard<S> {
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                // Read on, so that the end of the stream is noticed.
                Some(Ok(_)) if self.scanner.is_over => {}
                Some(Ok(chunk)) => return Poll::Ready(Some(Ok(self.scanner.pass(chunk)))),
                other => return Poll::Ready(other),
            }
        }
    }
}

/// Follows the frames in a stream of bytes.
#[derive(Default)]
struct Scanner {
    payload_bytes_max: usize,
    /// The beginning of a header whose rest has not arrived.
    header: Vec<u8>,
    /// The missing bytes of the current payload.
    payload_bytes: u64,
    is_over: bool,
}

impl Scanner {
    /// The chunk without an incomplete header at its end. A frame that is too long is replaced and ends the stream.
    fn pass(&mut self, chunk: Bytes) -> Bytes {
        let bytes = if self.header.is_empty() {
            chunk
        } else {
            [&self.header, &chunk[..]].concat().into()
        };
        self.header.clear();
        let mut at = 0;
        while at < bytes.len() {
            if self.payload_bytes > 0 {
                let here = usize::try_from(self.payload_bytes)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - at);
                self.payload_bytes -= here as u64;
                at += here;
                continue;
            }
            let Some((header_bytes, payload_bytes)) = read_header(&bytes[at..]) else {
                self.header.extend_from_slice(&bytes[at..]);
                return bytes.slice(..at);
            };
            if payload_bytes > self.payload_bytes_max as u64 {
                self.is_over = true;
                return [&bytes[..at], &self.cut_down(bytes[at], bytes[at + 1])]
                    .concat()
                    .into();
            }
            self.payload_bytes = payload_bytes;
            at += header_bytes;
        }
        bytes
    }

    /// A frame of zeros, one byte longer than allowed.
    fn cut_down(&self, first: u8, second: u8) -> Vec<u8> {
        let length = self.payload_bytes_max + 1;
        let mut frame = vec![first, (second & MASKED) | 127];
        frame.extend((length as u64).to_be_bytes());
        frame.resize(frame.len() + mask_bytes(second) + length, 0);
        frame
    }
}

fn mask_bytes(second: u8) -> usize {
    if second & MASKED == 0 { 0 } else { 4 }
}

/// The lengths of a header and of its payload; `None` when the header is incomplete.
fn read_header(bytes: &[u8]) -> Option<(usize, u64)> {
    let [_, second, rest @ ..] = bytes else {
        return None;
    };
    let (length_bytes, length) = match second & !MASKED {
        126 => (2, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (0, u64::from(short)),
    };
    let header_bytes = 2 + length_bytes + mask_bytes(*second);
    (bytes.len() >= header_bytes).then_some((header_bytes, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 200;

    fn frame(payload: usize) -> Vec<u8> {
        let mut frame = if payload < 126 {
            vec![0x81, 0x80 | u8::try_from(payload).expect("short")]
        } else {
            [
                &[0x81, 0x80 | 126][..],
                &u16::try_from(payload).expect("short").to_be_bytes(),
            ]
            .concat()
        };
        frame.resize(frame.len() + 4 + payload, 7);
        frame
    }

    /// The output for an input in pieces of `size`.
    fn passed(bytes: &[u8], size: usize) -> (Vec<u8>, bool) {
        let mut scanner = Scanner {
            payload_bytes_max: MAX,
            ..Scanner::default()
        };
        let mut out = Vec::new();
        for chunk in bytes.chunks(size) {
            if !scanner.is_over {
                out.extend(scanner.pass(Bytes::copy_from_slice(chunk)));
            }
        }
        (out, scanner.is_over)
    }

    #[test]
    fn frames_within_the_limit_pass_unchanged_however_they_are_cut() {
        let stream = [frame(0), frame(1), frame(125), frame(126), frame(MAX)].concat();
        for size in 1..=stream.len() {
            assert_eq!(passed(&stream, size), (stream.clone(), false), "{size}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_replaced_and_ends_the_stream() {
        let before = [frame(3), frame(MAX)].concat();
        for length in [MAX as u64 + 1, 1 << 40, u64::MAX] {
            let header = [&[0x01, 0xff][..], &length.to_be_bytes(), &[9; 4]].concat();
            let stream = [&before[..], &header, &[1; 300], &frame(5)].concat();
            let mut expected =
                [&before[..], &[0x01, 0xff], &(MAX as u64 + 1).to_be_bytes()].concat();
            expected.resize(expected.len() + 4 + MAX + 1, 0);
            for size in 1..=stream.len() {
                assert_eq!(
                    passed(&stream, size),
                    (expected.clone(), true),
                    "{length} by {size}"
                );
            }
        }
    }

    #[test]
    fn frames_without_a_mask_are_measured_too() {
        assert_eq!(
            passed(&[0x81, 2, b'h', b'i'], 1),
            (vec![0x81, 2, b'h', b'i'], false)
        );
        let (out, is_over) = passed(&[0x81, 126, 1, 0, b'x'], 2);
        assert_eq!(
            (out[..2].to_vec(), out.len(), is_over),
            (vec![0x81, 127], 10 + MAX + 1, true)
        );
    }
}
