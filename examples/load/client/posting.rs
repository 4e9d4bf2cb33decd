//! Posts entries, in batches and one by one.

use std::net::SocketAddr;

use super::entries::{Entry, batch_body};
use super::http::{self, Outcome, Pace};
use super::signing::Signer;
use crate::Result;

/// Position of the counts in an answer.
const HEAD_BYTES: usize = 96;

/// How requests are sent: the number of connections, and the rate.
pub type Way = (usize, Pace);

/// Requests with entries in batches. Creating and signing one of 10,000 takes milliseconds of a
/// processor shared with the service, so it is done before the measurement. They are valid as long
/// as their signature is.
pub fn batch_requests(
    signer: &Signer,
    kind: &str,
    entries: &[Entry],
    batch: usize,
) -> Vec<Vec<u8>> {
    entries
        .chunks(batch)
        .map(|part| batch_request(signer, kind, part))
        .collect()
}

fn batch_request(signer: &Signer, kind: &str, entries: &[Entry]) -> Vec<u8> {
    signer.request(
        "POST",
        "/internal/v1/batch",
        "load",
        &batch_body(kind, entries),
    )
}

/// Sends entries in batches. Also returns how many were accepted.
pub fn batches(
    signer: &Signer,
    address: SocketAddr,
    kind: &str,
    entries: &[Entry],
    batch: usize,
    way: Way,
) -> Result<(Outcome, u64)> {
    match way.1 {
        Pace::AsAnswered => send_batches(
            address,
            batch_requests(signer, kind, entries, batch).into_iter(),
            way,
        ),
        // Signed when sent: a run may outlast a signature.
        Pace::PerSecond(_) => send_batches(
            address,
            entries
                .chunks(batch)
                .map(|part| batch_request(signer, kind, part)),
            way,
        ),
    }
}

/// Sends prepared batches. Also returns how many of their entries were accepted.
pub fn send_batches(
    address: SocketAddr,
    requests: impl Iterator<Item = Vec<u8>>,
    (in_flight, pace): Way,
) -> Result<(Outcome, u64)> {
    let mut accepted = 0;
    let outcome = http::run(address, in_flight, pace, requests, &mut |answer| {
        accepted += accepted_in(answer.body)
    })?;
    Ok((outcome, accepted))
}

/// Sends deposits one by one. Calls `on_send` as each goes out.
pub fn singles<'a>(
    signer: &Signer,
    address: SocketAddr,
    entries: impl Iterator<Item = std::borrow::Cow<'a, Entry>>,
    (in_flight, pace): Way,
    on_send: &mut dyn FnMut(&Entry),
) -> Result<Outcome> {
    let requests = entries.map(|entry| {
        on_send(&entry);
        signer.request(
            "POST",
            "/internal/v1/deposits",
            &entry.event_id,
            &entry.single_body(),
        )
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
