//! Forgeries of webhook signatures; each is a function of a random generator and an original.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, Mac as _};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, RngCore as _};
use sha2::{Digest as _, Sha256, Sha512};

use super::forge::{Forged, Wire, flipped, mac, respelled, with_stray_bits};
use super::signatures::Original;
use crate::support::{SESSION_SECRET, WEBHOOK_SECRET, now_s};

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The code for a signature that does not match.
const WRONG: &str = "invalid_signature";
/// The code for a header that is missing.
const MISSING: &str = "missing_signature";
/// The code for a valid signature with a timestamp out of range.
const TIME: &str = "timestamp_out_of_range";

type Make = fn(&mut StdRng, &Original) -> (Wire, &'static str);

/// Every forgery, with its name.
const WAYS: [(&str, Make); 30] = [
    ("a bit of the MAC", |rng, o| {
        (o.wire(encoded(&flipped(rng, &right(o)))), WRONG)
    }),
    ("a character of the signature", |rng, o| {
        let bare = bare(o);
        (
            o.wire(format!("v1,{}", respelled(rng, &bare, ALPHABET))),
            WRONG,
        )
    }),
    ("stray bits behind the MAC", |rng, o| {
        (
            o.wire(format!("v1,{}", with_stray_bits(rng, &bare(o), ALPHABET))),
            WRONG,
        )
    }),
    ("a character of the id", |rng, o| {
        let changed = Original {
            id: respelled(rng, &o.id, "abcdefghijklmnopqrstuvwxyz0123456789._-:"),
            ..o.clone()
        };
        (changed.wire(o.signature()), WRONG)
    }),
    ("another second", |rng, o| {
        let at: i64 = o.timestamp.parse().expect("digits");
        let timestamp = (at - rng.random_range(1..200)).to_string();
        (
            Original {
                timestamp,
                ..o.clone()
            }
            .wire(o.signature()),
            WRONG,
        )
    }),
    ("a bit of the body", |rng, o| {
        (
            with_body(o, |body| {
                if body.is_empty() {
                    vec![b' ']
                } else {
                    flipped(rng, body)
                }
            }),
            WRONG,
        )
    }),
    ("a longer or shorter body", |rng, o| {
        let is_longer = o.body.is_empty() || rng.random_bool(0.5);
        let end = *[&b" "[..], b"\n", b"\0", b"}"].choose(rng).expect("some");
        (
            with_body(o, |body| {
                if is_longer {
                    [body, end].concat()
                } else {
                    body[..body.len() - 1].to_vec()
                }
            }),
            WRONG,
        )
    }),
    ("the parts in another order", reordered),
    ("a random secret", |rng, o| {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        (o.wire(encoded(&mac(&key, &o.signed()))), WRONG)
    }),
    ("the secret's text", |rng, o| {
        let text = WEBHOOK_SECRET.trim_start_matches("whsec_");
        let unpadded = text.trim_end_matches('=');
        let key = *[text, unpadded, WEBHOOK_SECRET, "whsec_", ""]
            .choose(rng)
            .expect("some");
        (o.wire(encoded(&mac(key.as_bytes(), &o.signed()))), WRONG)
    }),
    ("a part of the secret, or more than it", |rng, o| {
        let mut key = key();
        // Not a zero at the end: HMAC pads keys with zeros, so it would be the same key.
        if rng.random_bool(0.2) {
            key.push(rng.random_range(1..=255))
        } else {
            key.truncate(rng.random_range(0..key.len()))
        }
        (o.wire(encoded(&mac(&key, &o.signed()))), WRONG)
    }),
    ("another secret of ours", |_, o| {
        (
            o.wire(encoded(&mac(SESSION_SECRET.as_bytes(), &o.signed()))),
            WRONG,
        )
    }),
    ("another version", |rng, o| {
        let tags = [
            "v0,", "v1a,", "v2,", "V1,", "v01,", "v1:", "v1;", "v1=", "v1,,", "v1, ", "v1 ,", " ,",
            ",", "", "sha256=",
        ];
        (
            o.wire(format!("{}{}", tags.choose(rng).expect("some"), bare(o))),
            WRONG,
        )
    }),
    ("hex", |rng, o| {
        let hex = hex::encode(right(o));
        (
            o.wire(format!(
                "v1,{}",
                if rng.random_bool(0.5) {
                    hex.to_uppercase()
                } else {
                    hex
                }
            )),
            WRONG,
        )
    }),
    ("base64url", |rng, o| {
        let o = &with_id(rng, o, |bare| bare.contains(['+', '/']));
        (o.wire(format!("v1,{}", URL_SAFE.encode(right(o)))), WRONG)
    }),
    ("other padding", |rng, o| {
        let unpadded = bare(o).trim_end_matches('=').to_owned();
        let tail = *["", "==", "===", "=A", "A", "AA", "AAA", "=\u{7e}", "%3D"]
            .choose(rng)
            .expect("some");
        (o.wire(format!("v1,{unpadded}{tail}")), WRONG)
    }),
    ("a part of the MAC", |rng, o| {
        (o.wire(encoded(&right(o)[..rng.random_range(0..32)])), WRONG)
    }),
    ("more than the MAC", |rng, o| {
        let tail: Vec<u8> = (0..rng.random_range(1..40)).map(|_| rng.random()).collect();
        let right = right(o);
        let both = if rng.random_bool(0.5) {
            [right, tail].concat()
        } else {
            [tail, right].concat()
        };
        (o.wire(encoded(&both)), WRONG)
    }),
    ("the signature of something else", |rng, o| {
        let mut other = o.clone();
        match rng.random_range(0..3) {
            0 => other.id.push('x'),
            1 => other.timestamp = (now_s() + rng.random_range(1..100)).to_string(),
            _ => other.body.push_str("{}"),
        }
        (o.wire(other.signature()), WRONG)
    }),
    ("sixteen wrong ones", |rng, o| {
        (o.wire(wrong_ones(rng, 16).join(" ")), WRONG)
    }),
    ("the right one as the seventeenth", |rng, o| {
        let list = [wrong_ones(rng, 16), vec![o.signature()], wrong_ones(rng, 3)].concat();
        (o.wire(list.join(" ")), WRONG)
    }),
    ("a list that is none", |rng, o| {
        let between = *[",", ";", "\t", "|", ", ", " \t"]
            .choose(rng)
            .expect("some");
        let (wrong, right) = (wrong_ones(rng, 1).remove(0), o.signature());
        let spoiled = if between == ", " {
            format!("{wrong}{between}\"{right}\"")
        } else {
            format!("{wrong}{between}{right}")
        };
        (o.wire(spoiled), WRONG)
    }),
    ("another algorithm", |rng, o| {
        let message = o.signed();
        let digest = match rng.random_range(0..4) {
            0 => Sha256::digest([key(), message].concat()).to_vec(),
            1 => Sha256::digest([message, key()].concat()).to_vec(),
            2 => Sha256::digest(message).to_vec(),
            _ => {
                let mut mac = Hmac::<Sha512>::new_from_slice(&key()).expect("any key");
                mac.update(&message);
                mac.finalize().into_bytes()[..if rng.random_bool(0.5) { 32 } else { 64 }].to_vec()
            }
        };
        (o.wire(encoded(&digest)), WRONG)
    }),
    ("a very long header", |rng, o| {
        let long = "A".repeat(rng.random_range(8_000..32_000));
        (
            o.wire(if rng.random_bool(0.5) {
                format!("v1,{long}")
            } else {
                format!("v1,{long}{}", bare(o))
            }),
            WRONG,
        )
    }),
    ("a header twice", |rng, o| {
        let mut wire = o.wire(o.signature());
        let index = rng.random_range(0..3);
        let name = wire.headers[index].0;
        let value = if rng.random_bool(0.3) {
            wire.headers[index].1.clone()
        } else {
            b"v1,AAAA".to_vec()
        };
        wire.headers.insert(rng.random_range(0..=3), (name, value));
        (wire, WRONG)
    }),
    ("a header left out or empty", |rng, o| {
        let mut wire = o.wire(o.signature());
        let index = rng.random_range(0..3);
        if rng.random_bool(0.5) {
            wire.headers.remove(index);
            return (wire, MISSING);
        }
        wire.headers[index].1 = b" ".to_vec();
        (wire, WRONG)
    }),
    ("a header that is no text", |rng, o| {
        let mut wire = o.wire(o.signature());
        wire.headers[rng.random_range(0..3)]
            .1
            .push(rng.random_range(0x80..=0xff));
        (wire, WRONG)
    }),
    ("too old or too new", |rng, o| {
        let far = 10_i64.pow(rng.random_range(1..10)) + 400;
        let at = if rng.random_bool(0.5) {
            now_s() + far
        } else {
            (now_s() - far).max(1)
        };
        (signed_at(o, at.to_string()), TIME)
    }),
    ("no Unix seconds", |rng, o| {
        (signed_at(o, no_seconds(rng)), TIME)
    }),
    ("a dot that moved", moved_dot),
];

/// The number of forgeries.
pub const KINDS: usize = WAYS.len();

/// Forges an original with the given forgery.
pub fn forge(rng: &mut StdRng, kind: usize, original: &Original) -> Forged {
    let (what, make) = WAYS[kind];
    let (wire, code) = make(rng, original);
    Forged { what, wire, code }
}

fn key() -> Vec<u8> {
    STANDARD
        .decode(WEBHOOK_SECRET.trim_start_matches("whsec_"))
        .expect("base64")
}

fn right(original: &Original) -> Vec<u8> {
    mac(&key(), &original.signed())
}

fn bare(original: &Original) -> String {
    STANDARD.encode(right(original))
}

fn encoded(mac: &[u8]) -> String {
    format!("v1,{}", STANDARD.encode(mac))
}

fn wrong_ones(rng: &mut StdRng, count: usize) -> Vec<String> {
    (0..count)
        .map(|_| encoded(&rng.random::<[u8; 32]>()))
        .collect()
}

fn with_body(original: &Original, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Wire {
    let mut wire = original.wire(original.signature());
    wire.body = change(&wire.body);
    wire
}

/// The original under an id whose signature has the property that the forgery needs.
fn with_id(rng: &mut StdRng, original: &Original, fits: impl Fn(&str) -> bool) -> Original {
    let mut tries = (0..1000).map(|_| Original {
        id: format!("msg_{:x}", rng.random::<u64>()),
        ..original.clone()
    });
    tries.find(|one| fits(&bare(one))).expect("most have it")
}

fn reordered(rng: &mut StdRng, original: &Original) -> (Wire, &'static str) {
    let mut parts = [
        original.id.as_str(),
        original.timestamp.as_str(),
        original.body.as_str(),
    ];
    let is_shuffled = rng.random_bool(0.7);
    while is_shuffled && parts[0] == original.id && parts[1] == original.timestamp {
        parts.shuffle(rng);
    }
    let between = if is_shuffled {
        "."
    } else {
        *["", ":", "..", "\n", ","].choose(rng).expect("some")
    };
    (
        original.wire(encoded(&mac(&key(), parts.join(between).as_bytes()))),
        WRONG,
    )
}

fn signed_at(original: &Original, timestamp: String) -> Wire {
    let at = Original {
        timestamp,
        ..original.clone()
    };
    at.wire(at.signature())
}

fn no_seconds(rng: &mut StdRng) -> String {
    let now = now_s();
    let all = [
        format!("+{now}"),
        format!("0{now}"),
        format!("-{now}"),
        format!("{now}.0"),
        format!("{now}000"),
        format!("{now}e0"),
        format!("{now}s"),
        format!("{now},{now}"),
        format!("{} {}", now / 1000, now % 1000),
        format!("0x{now:x}"),
        format!("{now:x}"),
        format!("\"{now}\""),
        "now".to_owned(),
        "NaN".to_owned(),
        "-1".to_owned(),
        "0".to_owned(),
        i64::MAX.to_string(),
        i64::MIN.to_string(),
        u64::MAX.to_string(),
        i128::MAX.to_string(),
        "9".repeat(rng.random_range(20..200)),
    ];
    all.choose(rng).expect("some").clone()
}

/// The signed bytes are the same, split at other dots. Only the rule that the middle part is a
/// number makes the split unique.
fn moved_dot(_: &mut StdRng, original: &Original) -> (Wire, &'static str) {
    let longer_id = format!("{}.{}", original.id, original.timestamp);
    let Some((timestamp, body)) = original.body.split_once('.') else {
        // No such split: the middle part would be an empty header.
        let moved = Original {
            id: longer_id,
            timestamp: " ".to_owned(),
            body: String::new(),
            ..original.clone()
        };
        return (moved.wire(original.signature()), WRONG);
    };
    let (timestamp, body) = (timestamp.to_owned(), body.to_owned());
    let moved = Original {
        id: longer_id,
        timestamp,
        body,
        ..original.clone()
    };
    (moved.wire(original.signature()), TIME)
}
