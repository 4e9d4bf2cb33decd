//! Hostile WebSocket frames: violations of RFC 6455, and unusual but valid frames.

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::support::frame;

use super::ws_model::{
    After, Exchange, Expected, MESSAGE_BYTES_MAX, Session, bytes, fragments, letters, masked, pick,
    text,
};

const INVALID_UTF8: [&[u8]; 6] = [
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"\xf0\x9f\x98",
];

/// Close codes that may not be on the wire.
const BAD_CLOSE_CODES: [u16; 11] = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000];

/// One exchange.
pub fn exchange(rng: &mut StdRng, session: &mut Session) -> Exchange {
    match rng.random_range(0..16) {
        0 => interleaved(rng, session),
        1 => split_character(rng, session),
        2 => pings(rng),
        3 => empty_fragments(rng, session),
        4 => binary(rng),
        5 => out_of_turn(rng),
        6 => bad_control(rng),
        7 => reserved(rng),
        8 => unmasked(rng),
        9 => not_utf8(rng),
        10 => too_large(rng),
        11 => says_too_large(rng),
        12 => says_impossible(rng),
        13 => closes(rng),
        14 => closes_badly(rng),
        _ => breaks_off(rng),
    }
}

/// Control frames may come between the fragments of a message.
fn interleaved(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let id = rng.random::<u32>().to_string();
    let message = format!(r#"{{"type":"ping","id":{id}}}"#);
    let parts = rng.random_range(2..8);
    let mut writes = Vec::new();
    let mut expected = Vec::new();
    for fragment in fragments(rng, 1, message.as_bytes(), parts) {
        if !writes.is_empty() {
            let payload = bytes(rng, 125);
            writes.push(masked(rng, 0x89, &payload));
            writes.push(masked(rng, 0x8a, &payload));
            expected.push(Expected::PongFrame(payload));
        }
        writes.push(fragment);
    }
    expected.extend(session.answered(vec![Expected::Pong(Some(id))]));
    Exchange::new("control frames between fragments", writes, expected)
}

/// A character may be cut in two by fragments.
fn split_character(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let message = r#"{"type":"ping","id":"😀"}"#.as_bytes();
    let cut = message
        .iter()
        .position(|byte| !byte.is_ascii())
        .expect("not ASCII")
        + rng.random_range(1..4);
    let writes = vec![
        masked(rng, 0x01, &message[..cut]),
        masked(rng, 0x80, &message[cut..]),
    ];
    let expected = session.answered(vec![Expected::Pong(Some("\"😀\"".to_owned()))]);
    Exchange::new("a character in two fragments", writes, expected)
}

fn pings(rng: &mut StdRng) -> Exchange {
    let payloads: Vec<Vec<u8>> = (0..rng.random_range(1..10))
        .map(|_| {
            let length = rng.random_range(0..=125);
            bytes(rng, length)
        })
        .collect();
    let writes = payloads
        .iter()
        .map(|payload| masked(rng, 0x89, payload))
        .collect();
    Exchange::new(
        "pings",
        writes,
        payloads.into_iter().map(Expected::PongFrame).collect(),
    )
}

fn empty_fragments(rng: &mut StdRng, session: &mut Session) -> Exchange {
    let id = rng.random::<u32>().to_string();
    let message = format!(r#"{{"type":"ping","id":{id}}}"#);
    let count = rng.random_range(1..500);
    let mut all = masked(rng, 0x01, message.as_bytes());
    (0..count).for_each(|_| all.extend(masked(rng, 0x00, b"")));
    all.extend(masked(rng, 0x80, b""));
    Exchange::new(
        "fragments of nothing",
        vec![all],
        session.answered(vec![Expected::Pong(Some(id))]),
    )
}

fn binary(rng: &mut StdRng) -> Exchange {
    let payload = bytes(rng, 50);
    let writes = if rng.random_bool(0.5) {
        vec![masked(rng, 0x82, &payload)]
    } else {
        fragments(rng, 2, &payload, 3)
    };
    Exchange::closed("binary", writes, 1003, "unsupported_data")
}

fn out_of_turn(rng: &mut StdRng) -> Exchange {
    let payload = bytes(rng, 20);
    let writes = match rng.random_range(0..4) {
        0 => vec![masked(rng, 0x80, &payload)],
        1 => vec![masked(rng, 0x00, &payload)],
        2 => vec![masked(rng, 0x01, b"{"), masked(rng, 0x81, b"}")],
        _ => vec![masked(rng, 0x01, b"{"), masked(rng, 0x01, b"}")],
    };
    Exchange::broken("fragments out of turn", writes)
}

fn bad_control(rng: &mut StdRng) -> Exchange {
    let opcode = pick(rng, &[&8, &9, &10]);
    let length = rng.random_range(126..2000);
    let long = bytes(rng, length);
    let write = if rng.random_bool(0.5) {
        masked(rng, 0x80 | opcode, &long)
    } else {
        masked(rng, *opcode, b"")
    };
    Exchange::broken("a control frame that is long or a fragment", vec![write])
}

fn reserved(rng: &mut StdRng) -> Exchange {
    let payload = bytes(rng, 30);
    let first = if rng.random_bool(0.5) {
        0x81 | (rng.random_range(1..8_u8) << 4)
    } else {
        0x80 | pick(rng, &[&3, &4, &5, &6, &7, &11, &12, &13, &14, &15])
    };
    Exchange::broken(
        "reserved bits or opcodes",
        vec![masked(rng, first, &payload)],
    )
}

fn unmasked(rng: &mut StdRng) -> Exchange {
    let payload = letters(rng, 30);
    let frame = [
        &[pick(rng, &[&0x81, &0x82, &0x88, &0x89]).to_owned(), 30],
        payload.as_bytes(),
    ]
    .concat();
    Exchange::broken("not masked", vec![frame])
}

fn not_utf8(rng: &mut StdRng) -> Exchange {
    let bad = pick(rng, &INVALID_UTF8);
    let message = [br#"{"type":"ping","id":""#, bad, br#""}"#].concat();
    let writes = if rng.random_bool(0.5) {
        vec![masked(rng, 0x81, &message)]
    } else {
        let parts = rng.random_range(2..6);
        fragments(rng, 1, &message, parts)
    };
    Exchange::closed("not UTF-8", writes, 1007, "invalid_utf8")
}

fn too_large(rng: &mut StdRng) -> Exchange {
    let length = MESSAGE_BYTES_MAX + rng.random_range(1..2000);
    let payload = letters(rng, length);
    let parts = rng.random_range(1..12);
    Exchange::closed(
        "too large",
        fragments(rng, 1, payload.as_bytes(), parts),
        1009,
        "message_too_big",
    )
}

/// The header suffices: the service neither waits for the payload nor stores it.
fn says_too_large(rng: &mut StdRng) -> Exchange {
    let length = rng.random_range(MESSAGE_BYTES_MAX as u64 + 1..1 << 62);
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    let payload = rng.random_range(0..200);
    frame.extend(bytes(rng, payload));
    Exchange::closed(
        "says that it is too large",
        vec![frame],
        1009,
        "message_too_big",
    )
}

/// A length with the highest bit set is invalid.
fn says_impossible(rng: &mut StdRng) -> Exchange {
    let mut frame = vec![0x81, 0x80 | 127, 0xff];
    frame.extend(bytes(rng, 11));
    let closed = Expected::Closed(vec![(1009, "message_too_big"), (1002, "protocol_error")]);
    Exchange::new("an impossible length", vec![frame], vec![closed])
}

fn closes(rng: &mut StdRng) -> Exchange {
    let code = *pick(rng, &[&1000_u16, &1001, &1008, &3000, &4000, &4999]);
    let payload = [&code.to_be_bytes()[..], b"bye"].concat();
    let mut writes = vec![masked(rng, 0x88, &payload)];
    if rng.random_bool(0.5) {
        writes.push(text(rng, r#"{"type":"ping"}"#));
    }
    Exchange::new("closes and goes on talking", writes, vec![Expected::End])
}

fn closes_badly(rng: &mut StdRng) -> Exchange {
    let bad_code = BAD_CLOSE_CODES[rng.random_range(0..BAD_CLOSE_CODES.len())];
    let payload = match rng.random_range(0..3) {
        0 => bad_code.to_be_bytes().to_vec(),
        1 => vec![3],
        _ => [&1000_u16.to_be_bytes()[..], pick(rng, &INVALID_UTF8)].concat(),
    };
    let closed = Expected::Closed(vec![(1002, "protocol_error"), (1007, "invalid_utf8")]);
    Exchange::new(
        "closes with a bad frame",
        vec![masked(rng, 0x88, &payload)],
        vec![closed],
    )
}

/// Ends in the middle of a frame or of a message.
fn breaks_off(rng: &mut StdRng) -> Exchange {
    let payload = letters(rng, 300);
    let mut whole = frame(
        pick(rng, &[&0x81, &0x01, &0x89, &0x82]).to_owned(),
        payload.as_bytes(),
        rng.random(),
    );
    whole.truncate(rng.random_range(1..whole.len()));
    let after = if rng.random_bool(0.5) {
        After::Resets
    } else {
        After::SendsNoMore
    };
    let expected = if after == After::Resets {
        Vec::new()
    } else {
        vec![Expected::End]
    };
    Exchange::new("breaks off", vec![whole], expected).then(after)
}
