//! Shared by the tests with forgeries: the seed, the requests, and sending many of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::StreamExt as _;
use hmac::{Hmac, Mac as _};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use reqwest::Method;
use reqwest::header::HeaderValue;
use sha2::Sha256;

use crate::support::{Answer, Dice, TestApp};

/// Forgeries of each kind of credential; `BALANCE_TEST_FORGERIES` is the number of a long run by hand.
const FORGERIES: usize = 10_000;

/// Connections that send at the same time.
const CONNECTIONS: usize = 64;

/// Wrong answers that are shown.
const SHOWN: usize = 10;

/// Random numbers, and how to repeat the run.
pub fn dice() -> Dice {
    Dice::new("cargo test --test integration doors -- --nocapture")
}

/// How many forgeries of each kind are sent.
pub fn forgeries() -> usize {
    std::env::var("BALANCE_TEST_FORGERIES")
        .ok()
        .map_or(FORGERIES, |count| count.parse().expect("a number"))
}

/// A request as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// A request that must be refused.
#[derive(Debug, Clone)]
pub struct Forged {
    /// The name of the forgery.
    pub what: &'static str,
    pub wire: Wire,
    /// The refusal's code.
    pub code: &'static str,
}

/// Sends one request.
pub async fn send(app: &TestApp, to: SocketAddr, wire: &Wire) -> Answer {
    let mut request = app
        .http
        .request(wire.method.clone(), format!("http://{to}{}", wire.path));
    for (name, value) in &wire.headers {
        request = request.header(
            *name,
            HeaderValue::from_bytes(value).unwrap_or_else(|_| panic!("{wire:?}")),
        );
    }
    let sent = request
        .body(wire.body.clone())
        .send()
        .await
        .unwrap_or_else(|error| panic!("{error:?}: {wire:?}"));
    Answer::read(sent).await.expect("a whole answer")
}

/// Sends all over kept connections; each must be refused with 401 and its code. Prints the count of
/// each.
pub async fn storm(app: &TestApp, to: SocketAddr, forged: Vec<Forged>) {
    let start = std::time::Instant::now();
    let all = forged.len();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    forged
        .iter()
        .for_each(|one| *kinds.entry(one.what).or_default() += 1);
    let sending = futures_util::stream::iter(forged).map(|one| async move {
        let answer = send(app, to, &one.wire).await;
        let refusal: serde_json::Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let is_refused =
            answer.status == 401 && refusal["code"] == one.code && refusal["status"] == 401;
        (!is_refused).then(|| format!("{one:?}\n  was answered {} {}", answer.status, answer.text))
    });
    let wrong: Vec<String> = sending
        .buffer_unordered(CONNECTIONS)
        .filter_map(|wrong| async { wrong })
        .collect()
        .await;
    let shown = wrong
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        wrong.is_empty(),
        "{} of {all} were not refused as they must be:\n{shown}",
        wrong.len()
    );
    println!(
        "{all} forgeries refused in {:?}: {kinds:?}",
        start.elapsed()
    );
}

/// HMAC-SHA256.
pub fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The bytes with one bit flipped.
pub fn flipped(rng: &mut StdRng, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let index = rng.random_range(0..bytes.len());
    bytes[index] ^= 1 << rng.random_range(0..8_u8);
    bytes
}

/// The text with one character replaced by another of `alphabet`.
pub fn respelled(rng: &mut StdRng, text: &str, alphabet: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let index = rng.random_range(0..chars.len());
    let others: Vec<char> = alphabet.chars().filter(|c| *c != chars[index]).collect();
    chars[index] = *others.choose(rng).expect("there are others");
    chars.into_iter().collect()
}

/// The last character of a base64 text (before its padding) with unused bits set: another text that
/// a lenient decoder reads as the same bytes.
pub fn with_stray_bits(rng: &mut StdRng, text: &str, alphabet: &str) -> String {
    let (bare, padding) = text.split_at(text.trim_end_matches('=').len());
    let unused = match bare.len() % 4 {
        2 => 4,
        3 => 2,
        _ => panic!("{text} has no unused bits"),
    };
    let last = bare.chars().last().expect("not empty");
    let value = alphabet.find(last).expect("of the alphabet");
    let stray = alphabet.as_bytes()[value | rng.random_range(1..1 << unused)];
    format!("{}{}{padding}", &bare[..bare.len() - 1], char::from(stray))
}
