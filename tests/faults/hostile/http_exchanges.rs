//! Hostile HTTP: malformed, contradictory, truncated or refused requests.

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::support::{WEBHOOK_SECRET, now_s, sign, token, upgrade_request};

use super::entries::bad_entry;
use super::ws_model::{After, bytes, letters, pick};

/// The largest body of an entry in these tests.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The expected result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A problem document with this status and code.
    Problem(u16, &'static str),
    /// 4xx, or the connection ends without an answer; it is not reused.
    Refused,
    /// One answer of 200 to a harmless read, then as above.
    OneReadThenRefused,
    /// One answer of 200 to a harmless read.
    Read,
}

/// One exchange.
#[derive(Debug, Clone)]
pub struct Request {
    pub name: &'static str,
    pub is_internal: bool,
    pub writes: Vec<Vec<u8>>,
    pub fate: Fate,
    pub after: After,
}

impl Request {
    fn new(name: &'static str, is_internal: bool, bytes: impl Into<Vec<u8>>, fate: Fate) -> Self {
        Self {
            name,
            is_internal,
            writes: vec![bytes.into()],
            fate,
            after: After::Listens,
        }
    }
}

/// One exchange with either listener.
pub fn request(rng: &mut StdRng) -> Request {
    match rng.random_range(0..14) {
        0 => no_request(rng),
        1 => bad_head(rng),
        2 => contradiction(rng),
        3 => oversized(rng),
        4 => bad_chunks(rng),
        5 => short_body(rng),
        6 => pipelined(rng),
        7 => bad_upgrade(rng),
        8 => bad_query(rng),
        9 => bad_signature(rng),
        _ => signed_but_wrong(rng),
    }
}

fn no_request(rng: &mut StdRng) -> Request {
    let length = rng.random_range(1..3000);
    let mut text = match rng.random_range(0..5) {
        0 => bytes(rng, length),
        1 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        2 => [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            &bytes(rng, 200)[..],
        ]
        .concat(),
        3 => format!("{} / HTTP/9.9\r\nHost: x\r\n\r\n", letters(rng, 5)).into_bytes(),
        _ => pick(
            rng,
            &[
                "GET\r\n\r\n",
                "GET / \r\n\r\n",
                "GET /healthz HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
                "G\u{0}T / HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /\u{1}\u{2} HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
                "HTTP/1.1 200 OK\r\n\r\n",
                ": : :\r\n\r\n",
            ],
        )
        .as_bytes()
        .to_vec(),
    };
    // With any random part, the request is invalid.
    text.extend(b"\r\n\x00\r\n\r\n");
    ended(
        Request::new("no request", rng.random_bool(0.5), text, Fate::Refused),
        rng,
    )
}

fn bad_head(rng: &mut StdRng) -> Request {
    let line = pick(
        rng,
        &[
            "Host: a\r\nHost: b",
            "X-No-Host: x",
            "Host: a\r\nBad Name: x",
            "Host: a\r\n: no name",
            "Host: a\r\nX-Nul: a\u{0}b",
            "Host: a\r\nX-Folded: a\r\n b",
            " Host: a",
            "Host: a\r\nno colon",
            "Host: a\r\nX-Bell: \u{7}",
            "Host : a",
            "Host: a\r\nX-Bare: a\rb",
        ],
    );
    let text = format!("GET /healthz HTTP/1.1\r\n{line}\r\n\r\n");
    ended(
        Request::new("a bad head", rng.random_bool(0.5), text, Fate::Refused),
        rng,
    )
}

/// Contradictory lengths: a request that a proxy might parse differently must never be accepted.
fn contradiction(rng: &mut StdRng) -> Request {
    let headers = pick(
        rng,
        &[
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
            "Content-Length: -1",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length: 99999999999999999999999",
            "Content-Length: five",
            "Content-Length:",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\u{b}chunked",
        ],
    );
    let body = "5\r\nhello\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let text = format!(
        "{}{headers}\r\n\r\n{body}",
        signed_head("deposits", b"hello", "")
    );
    ended(
        Request::new("contradictory lengths", true, text, Fate::Refused),
        rng,
    )
}

fn oversized(rng: &mut StdRng) -> Request {
    let is_internal = rng.random_bool(0.5);
    match rng.random_range(0..5) {
        0 => {
            let url = letters(rng, 70_000);
            let text = format!("GET /healthz?{url} HTTP/1.1\r\nHost: x\r\n\r\n");
            Request::new("a huge URL", is_internal, text, Fate::Refused)
        }
        1 => {
            let value = letters(rng, 140_000);
            let text = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Huge: {value}");
            Request::new(
                "a huge header without an end",
                is_internal,
                text,
                Fate::Refused,
            )
        }
        2 => {
            let lines = "X-Many: x\r\n".repeat(rng.random_range(97..1000));
            let text = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
            Request::new("too many headers", is_internal, text, Fate::Refused)
        }
        3 => {
            let body = letters(rng, BODY_BYTES_MAX + 1);
            let head = signed_head("rewards", body.as_bytes(), "");
            let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            Request::new(
                "a body over the limit",
                true,
                text,
                Fate::Problem(413, "body_too_large"),
            )
        }
        _ => {
            let length = rng.random_range(BODY_BYTES_MAX as u64 + 1..u64::MAX / 2);
            let text = format!(
                "{}Content-Length: {length}\r\n\r\nhello",
                signed_head("rewards", b"hello", "")
            );
            let request = Request::new("a length over the limit", true, text, Fate::Refused);
            Request {
                after: After::SendsNoMore,
                ..request
            }
        }
    }
}

fn bad_chunks(rng: &mut StdRng) -> Request {
    let chunks = pick(
        rng,
        &[
            "zz\r\nhello\r\n0\r\n\r\n",
            "-5\r\nhello\r\n0\r\n\r\n",
            "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            "5\r\nhelloworld\r\n0\r\n\r\n",
            "5hello0\r\n\r\n",
            "5\nhello\n0\n\n",
            "\r\n\r\n",
            "5;a\u{0}b\r\nhello\r\n",
            "5\r\nhel",
            "7fffffffffffffff\r\nhello",
        ],
    );
    let head = signed_head("rewards", b"hello", "Transfer-Encoding: chunked\r\n");
    let request = Request::new(
        "bad chunks",
        true,
        format!("{head}\r\n{chunks}"),
        Fate::Refused,
    );
    Request {
        after: After::SendsNoMore,
        ..request
    }
}

fn short_body(rng: &mut StdRng) -> Request {
    let body = br#"{"event_id":"short","user_id":77,"currency":"TON","amount":"1"}"#;
    let sent = &body[..rng.random_range(0..body.len())];
    let head = signed_head("deposits", sent, "");
    let text = [
        format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
        sent,
    ]
    .concat();
    let after = if rng.random_bool(0.5) {
        After::Resets
    } else {
        After::SendsNoMore
    };
    Request {
        after,
        ..Request::new("a body that breaks off", true, text, Fate::Refused)
    }
}

fn pipelined(rng: &mut StdRng) -> Request {
    let is_internal = rng.random_bool(0.5);
    let read = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    if rng.random_bool(0.3) {
        return Request::new("a harmless read", is_internal, read, Fate::Read);
    }
    let junk = [b"\x00\x01 ", &bytes(rng, 100)[..], b"\r\n\r\n"].concat();
    let text = [read.as_bytes(), &junk].concat();
    Request::new(
        "junk behind a request",
        is_internal,
        text,
        Fate::OneReadThenRefused,
    )
}

fn bad_upgrade(rng: &mut StdRng) -> Request {
    let good = upgrade_request(&format!("Authorization: Bearer {}\r\n", token(1)));
    let (text, fate) = match rng.random_range(0..8) {
        0 => (
            good.replace("GET", "POST"),
            Fate::Problem(405, "method_not_allowed"),
        ),
        1 => (
            good.replace("Version: 13", "Version: 12"),
            Fate::Problem(426, "upgrade_required"),
        ),
        2 => (
            good.replace("Sec-WebSocket-Version: 13\r\n", ""),
            Fate::Problem(426, "upgrade_required"),
        ),
        3 => (
            good.replace("Sec-WebSocket-Key", "X-Key"),
            Fate::Problem(426, "upgrade_required"),
        ),
        4 => (
            good.replace("Connection: Upgrade", "Connection: close"),
            Fate::Problem(426, "upgrade_required"),
        ),
        5 => (
            good.replace("Upgrade: websocket", "Upgrade: h2c"),
            Fate::Problem(426, "upgrade_required"),
        ),
        6 => (
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", &letters(rng, 24)),
            Fate::Problem(426, "upgrade_required"),
        ),
        _ => {
            let foreign = "Origin: https://evil.example\r\nHost: localhost";
            (
                good.replace("Host: localhost", foreign),
                Fate::Problem(403, "origin_not_allowed"),
            )
        }
    };
    Request::new("a bad upgrade", false, text, fate)
}

fn bad_query(rng: &mut StdRng) -> Request {
    let good = token(1);
    let (target, bearer, fate) = match rng.random_range(0..8) {
        0 => (
            "/api/v1/balance?min_version=x",
            &*good,
            Fate::Problem(422, "invalid_field"),
        ),
        1 => (
            "/api/v1/balance?fresh=%ff",
            &*good,
            Fate::Problem(422, "invalid_field"),
        ),
        2 => (
            "/api/v1/entries?limit=0",
            &*good,
            Fate::Problem(422, "invalid_field"),
        ),
        3 => (
            "/api/v1/entries?limit=99999999999999999999",
            &*good,
            Fate::Problem(422, "invalid_field"),
        ),
        4 => (
            "/api/v1/entries?user_id=77",
            &*good,
            Fate::Problem(422, "invalid_field"),
        ),
        5 => (
            "/api/v1/balance",
            "x.y.z",
            Fate::Problem(401, "unauthorized"),
        ),
        6 => (
            "/internal/v1/users/77/balance",
            &*good,
            Fate::Problem(404, "not_found"),
        ),
        _ => (
            "/api/v1/%ff%zz/../../etc/passwd",
            &*good,
            Fate::Problem(404, "not_found"),
        ),
    };
    let text =
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n\r\n");
    Request::new("a bad target", false, text, fate)
}

fn bad_signature(rng: &mut StdRng) -> Request {
    let body = br#"{"event_id":"unsigned","user_id":77,"currency":"TON","amount":"1"}"#;
    let (id, now) = (letters(rng, 8), now_s());
    let good = sign(WEBHOOK_SECRET, &id, &now.to_string(), body);
    let old = (now - 10_000).to_string();
    let stale = sign(WEBHOOK_SECRET, &id, &old, body);
    let (id, timestamp, signature, code) = match rng.random_range(0..6) {
        0 => ("other", now.to_string(), good, "invalid_signature"),
        1 => (&*id, (now + 1).to_string(), good, "invalid_signature"),
        2 => (&*id, now.to_string(), "v1,".to_owned(), "invalid_signature"),
        3 => (
            &*id,
            now.to_string(),
            letters(rng, 4000),
            "invalid_signature",
        ),
        4 => (&*id, old, stale, "timestamp_out_of_range"),
        _ => ("", now.to_string(), good, "invalid_signature"),
    };
    let text = format!(
        "POST /internal/v1/deposits HTTP/1.1\r\nHost: x\r\nwebhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\n\
         webhook-signature: {signature}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let bytes = [text.as_bytes(), body].concat();
    Request::new("a bad signature", true, bytes, Fate::Problem(401, code))
}

fn signed_but_wrong(rng: &mut StdRng) -> Request {
    let bad = bad_entry(rng);
    let path = format!("{}s", bad.kind);
    if rng.random_bool(0.05) {
        let head = signed_head(&path, &bad.body, "Content-Type: text/plain\r\n");
        let text = [
            format!("{head}Content-Length: {}\r\n\r\n", bad.body.len()).as_bytes(),
            &bad.body,
        ]
        .concat();
        return Request::new(
            "another type",
            true,
            text,
            Fate::Problem(415, "unsupported_media_type"),
        );
    }
    let head = signed_head(&path, &bad.body, "Content-Type: application/json\r\n");
    let mut text = format!("{head}Content-Length: {}\r\n\r\n", bad.body.len()).into_bytes();
    text.extend(&bad.body);
    let mut request = Request::new(
        "a bad entry",
        true,
        text,
        Fate::Problem(bad.status, bad.code),
    );
    if rng.random_bool(0.1) {
        // In pieces, as a slow sender would.
        request.writes = request.writes[0]
            .chunks(1 + request.writes[0].len() / 9)
            .map(<[u8]>::to_vec)
            .collect();
    }
    request
}

/// A POST with a valid signature for `body`, up to the headers that follow.
fn signed_head(path: &str, body: &[u8], more: &str) -> String {
    let now = now_s().to_string();
    let signature = sign(WEBHOOK_SECRET, "hostile", &now, body);
    format!(
        "POST /internal/v1/{path} HTTP/1.1\r\nHost: x\r\nwebhook-id: hostile\r\nwebhook-timestamp: {now}\r\n\
         webhook-signature: {signature}\r\n{more}"
    )
}

/// An invalid request may be incomplete: its sender ends its side, or disconnects.
fn ended(request: Request, rng: &mut StdRng) -> Request {
    let after = if rng.random_bool(0.2) {
        After::Resets
    } else {
        After::SendsNoMore
    };
    Request { after, ..request }
}
