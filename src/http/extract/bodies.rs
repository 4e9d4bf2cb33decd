//! Bodies of requests, on their way from the connection to a parser.
//!
//! All bodies of both listeners share one room, byte by byte: what finds no room is refused with 503, so that unfinished
//! bodies never take more memory than that. Public requests and long batches leave a part of the room to short webhooks.
//! A body gives its room back when it is dropped, however its request ends. Start reading at [`read`].

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use futures_util::StreamExt as _;

use crate::http::problem::{Code, Problem};
use crate::limits::{BATCH_SHORT_BYTES, BODIES_BYTES, BODIES_LONGEST, REQUEST_BODY_MS};

/// The room that bodies share.
#[derive(Debug)]
pub(in crate::http) struct Bodies {
    bytes_max: usize,
    bytes: AtomicUsize,
}

/// Which part of the room a body may use.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum Share {
    /// A request on the public listener: the first quarter.
    Public,
    /// A batch: three quarters, and for its first `limits::BATCH_SHORT_BYTES` all of it.
    Batch,
    /// Any other signed request: all of it.
    Signed,
}

impl Bodies {
    /// For bodies of at most `longest_bytes` each.
    pub(in crate::http) fn new(longest_bytes: usize) -> Self {
        Self {
            bytes_max: BODIES_BYTES.max(BODIES_LONGEST.saturating_mul(longest_bytes)),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Room for a body that will be read.
    pub(in crate::http) fn room(self: &Arc<Self>, share: Share) -> Room {
        Room {
            bodies: self.clone(),
            share,
            bytes: 0,
        }
    }
}

/// The room that one body takes.
#[derive(Debug)]
pub(in crate::http) struct Room {
    bodies: Arc<Bodies>,
    share: Share,
    bytes: usize,
}

impl Room {
    /// Takes room for so many more bytes, or refuses them; refused bytes must not be kept.
    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        let after = self.bytes.saturating_add(bytes);
        let quarter = self.bodies.bytes_max / 4;
        let ceiling = match self.share {
            Share::Public => quarter,
            Share::Batch if after > BATCH_SHORT_BYTES => quarter * 3,
            Share::Batch | Share::Signed => self.bodies.bytes_max,
        };
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= ceiling);
        let taken = self
            .bodies
            .bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        taken.map_err(|_| {
            Problem::new(
                Code::Overloaded,
                "too many bodies are being read; send the request again",
            )
        })?;
        self.bytes = after;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bodies.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A body, with the room that it takes.
#[derive(Debug)]
pub(in crate::http) struct Body {
    bytes: Vec<u8>,
    room: Room,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body {
    /// Adds a piece. The room is taken for the capacity, which grows by doubling.
    fn add(&mut self, piece: &[u8], bytes_max: usize) -> Result<(), Problem> {
        let length = self.bytes.len().saturating_add(piece.len());
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        if length > self.room.bytes {
            let capacity = self
                .room
                .bytes
                .saturating_mul(2)
                .clamp(length, bytes_max.max(length));
            self.room.take(capacity - self.room.bytes)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// Reads a body within `limits::REQUEST_BODY_MS`. More than `bytes_max` is refused before it is read where the headers say the
/// length, else as soon as it arrives.
pub(super) async fn read(
    headers: &HeaderMap,
    payload: Payload,
    bytes_max: usize,
    room: Room,
) -> Result<Body, Problem> {
    if declared(headers).is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let too_slow = |_| {
        Problem::new(
            Code::RequestTimeout,
            format!("the body did not arrive within {REQUEST_BODY_MS} ms"),
        )
    };
    tokio::time::timeout(
        Duration::from_millis(REQUEST_BODY_MS),
        collect(payload, bytes_max, room),
    )
    .await
    .map_err(too_slow)?
}

async fn collect(mut payload: Payload, bytes_max: usize, room: Room) -> Result<Body, Problem> {
    let mut body = Body {
        bytes: Vec::new(),
        room,
    };
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| {
            Problem::new(Code::InvalidJson, format!("the body broke off: {error}"))
        })?;
        body.add(&piece, bytes_max)?;
    }
    Ok(body)
}

/// The length that the headers say.
fn declared(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("the body may have {bytes_max} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use actix_http::error::PayloadError;
    use actix_http::h1;
    use actix_web::http::header::HeaderValue;
    use bytes::Bytes;

    use super::*;

    fn bodies(bytes_max: usize) -> Arc<Bodies> {
        Arc::new(Bodies {
            bytes_max,
            bytes: AtomicUsize::new(0),
        })
    }

    fn used(bodies: &Bodies) -> usize {
        bodies.bytes.load(Ordering::Acquire)
    }

    fn refused(room: &mut Room, bytes: usize) -> Option<Code> {
        room.take(bytes).err().map(|problem| problem.code())
    }

    #[test]
    fn bodies_share_one_room_and_give_it_back() {
        let bodies = bodies(1000);
        let (mut first, mut second) = (bodies.room(Share::Signed), bodies.room(Share::Signed));
        assert_eq!(
            (refused(&mut first, 600), refused(&mut first, 300)),
            (None, None)
        );
        assert_eq!(refused(&mut second, 101), Some(Code::Overloaded));
        assert_eq!(refused(&mut second, usize::MAX), Some(Code::Overloaded));
        assert_eq!(refused(&mut second, 100), None, "refused bytes took none");
        drop(first);
        assert_eq!(used(&bodies), 100);
        assert_eq!(
            (refused(&mut second, 900), refused(&mut second, 1)),
            (None, Some(Code::Overloaded))
        );
        drop(second);
        assert_eq!(used(&bodies), 0);
    }

    #[test]
    fn public_bodies_and_long_batches_leave_room_to_webhooks() {
        let bodies = bodies(4 * BATCH_SHORT_BYTES);
        let mut browser = bodies.room(Share::Public);
        assert_eq!(
            (
                refused(&mut browser, BATCH_SHORT_BYTES),
                refused(&mut browser, 1)
            ),
            (None, Some(Code::Overloaded))
        );
        let mut batch = bodies.room(Share::Batch);
        assert_eq!(
            (
                refused(&mut batch, 2 * BATCH_SHORT_BYTES),
                refused(&mut batch, 1)
            ),
            (None, Some(Code::Overloaded))
        );
        let mut short = bodies.room(Share::Batch);
        let mut webhook = bodies.room(Share::Signed);
        assert_eq!(
            (
                refused(&mut short, BATCH_SHORT_BYTES / 2),
                refused(&mut webhook, BATCH_SHORT_BYTES / 2),
                refused(&mut webhook, 1)
            ),
            (None, None, Some(Code::Overloaded))
        );
    }

    #[test]
    fn the_room_of_the_longest_bodies_and_no_less_than_the_least_is_there() {
        assert_eq!(Bodies::new(16 << 20).bytes_max, 128 << 20);
        assert_eq!(Bodies::new(1).bytes_max, BODIES_BYTES);
    }

    #[actix_web::test]
    async fn a_body_takes_the_room_of_its_capacity_until_it_is_dropped() {
        let bodies = bodies(10_000);
        let (mut sender, payload) = h1::Payload::create(true);
        for _ in 0..3 {
            sender.feed_data(Bytes::from_static(&[b' '; 100]));
        }
        sender.feed_eof();
        let room = bodies.room(Share::Signed);
        let body = read(&HeaderMap::new(), payload.into(), 350, room)
            .await
            .expect("it fits");
        assert_eq!((body.len(), used(&bodies)), (300, 350));
        assert!(body.bytes.capacity() <= 350);
        drop(body);
        assert_eq!(used(&bodies), 0);
    }

    #[actix_web::test]
    async fn a_body_that_breaks_off_or_is_refused_gives_its_room_back() {
        let bodies = bodies(1000);
        // Its client vanishes midway.
        let (mut sender, payload) = h1::Payload::create(false);
        let room = bodies.room(Share::Signed);
        let reading = actix_web::rt::spawn(async move {
            let read = read(&HeaderMap::new(), payload.into(), 500, room).await;
            read.err().map(|problem| problem.code())
        });
        sender.feed_data(Bytes::from_static(&[b' '; 400]));
        while used(&bodies) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(used(&bodies), 400);
        sender.set_error(PayloadError::Incomplete(None));
        assert_eq!(reading.await.expect("no panic"), Some(Code::InvalidJson));
        assert_eq!(used(&bodies), 0);
        // Its request is dropped while it is read.
        let (mut sender, payload) = h1::Payload::create(false);
        sender.feed_data(Bytes::from_static(&[b' '; 400]));
        let room = bodies.room(Share::Signed);
        let mut reading = Box::pin(collect(payload.into(), 500, room));
        let waited = tokio::time::timeout(Duration::ZERO, reading.as_mut()).await;
        assert!(waited.is_err(), "the rest is still to come");
        assert_eq!(used(&bodies), 400);
        drop(reading);
        assert_eq!(used(&bodies), 0);
        // There is no room for its second half.
        let _held = {
            let mut held = bodies.room(Share::Signed);
            held.take(700).expect("it fits");
            held
        };
        let (mut sender, payload) = h1::Payload::create(false);
        for _ in 0..2 {
            sender.feed_data(Bytes::from_static(&[b' '; 200]));
        }
        let room = bodies.room(Share::Signed);
        let read = collect(payload.into(), 500, room).await;
        assert_eq!(
            read.err().map(|problem| problem.code()),
            Some(Code::Overloaded)
        );
        assert_eq!(used(&bodies), 700);
    }

    #[actix_web::test]
    async fn a_body_that_is_declared_too_large_is_not_read() {
        let bodies = bodies(1000);
        let (_sender, payload) = h1::Payload::create(false);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("501"));
        let room = bodies.room(Share::Signed);
        let read = read(&headers, payload.into(), 500, room).await;
        assert_eq!(
            read.err().map(|problem| problem.code()),
            Some(Code::BodyTooLarge)
        );
    }
}
