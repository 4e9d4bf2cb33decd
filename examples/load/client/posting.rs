//! Entries on their way: in batches, and one by one.

use std::net::SocketAddr;

use super::entries::{Entry, batch_body};
use super::http::{self, Outcome, Pace};
use super::signing::Signer;
use crate::Result;

/// Where the counts of an answer are.
const HEAD_BYTES: usize = 96;

/// How requests are sent: over so many connections, at a pace.
pub type Way = (usize, Pace);

/// Sends entries in batches. Also how many were accepted.
pub fn batches(
    signer: &Signer,
    address: SocketAddr,
    kind: &str,
    entries: &[Entry],
    batch: usize,
    (in_flight, pace): Way,
) -> Result<(Outcome, u64)> {
    // Made before the first is sent; a signature is made as its batch goes out, since it has a time.
    let bodies: Vec<Vec<u8>> = entries.chunks(batch).map(|part| batch_body(kind, part)).collect();
    let requests = bodies.iter().map(|body| signer.request("POST", "/internal/v1/batch", "load", body));
    let mut accepted = 0;
    let outcome = http::run(address, in_flight, pace, requests, &mut |answer| accepted += accepted_in(answer.body))?;
    Ok((outcome, accepted))
}

/// Sends deposits one by one. `on_send` hears of each as it goes out.
pub fn singles<'a>(
    signer: &Signer,
    address: SocketAddr,
    entries: impl Iterator<Item = std::borrow::Cow<'a, Entry>>,
    (in_flight, pace): Way,
    on_send: &mut dyn FnMut(&Entry),
) -> Result<Outcome> {
    let requests = entries.map(|entry| {
        on_send(&entry);
        signer.request("POST", "/internal/v1/deposits", &entry.event_id, &entry.single_body())
    });
    http::run(address, in_flight, pace, requests, &mut |_| {})
}

/// Accepted entries in the answer to a batch, and those that an earlier attempt had posted already.
fn accepted_in(body: &[u8]) -> u64 {
    let head = &body[..body.len().min(HEAD_BYTES)];
    let number = |name: &[u8]| {
        let at = http::find(head, name)? + name.len();
        let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
        Some(digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    };
    number(br#""accepted":"#).unwrap_or(0) + number(br#""duplicates":"#).unwrap_or(0)
}
