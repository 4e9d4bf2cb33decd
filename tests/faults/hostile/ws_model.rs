//! The required answers of a WebSocket session, by the contract only: the building blocks of
//! generated exchanges.

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::support::frame;

/// Bad messages of one session; the last closes it.
const BAD_MESSAGES_MAX: u8 = 5;

/// The largest message that a session may send in these tests: the default.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// An expected event, in order.
#[derive(Debug, Clone)]
pub enum Expected {
    /// `error invalid_message`
    Invalid,
    /// `pong` with the id exactly as it was sent, as JSON text.
    Pong(Option<String>),
    /// `balance` with the reason `refresh` and the id.
    Refreshed(Option<String>),
    /// `hello` and the snapshot.
    Greeting,
    /// A pong frame with this payload.
    PongFrame(Vec<u8>),
    /// A close frame with one of these codes and reasons, and the end.
    Closed(Vec<(u16, &'static str)>),
    /// The end of the connection, with anything before it.
    End,
}

/// What the peer does after sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Listens,
    SendsNoMore,
    Resets,
}

/// One exchange: the pieces to write, and the expected events.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub name: &'static str,
    pub writes: Vec<Vec<u8>>,
    pub expected: Vec<Expected>,
    pub after: After,
}

impl Exchange {
    pub fn new(name: &'static str, writes: Vec<Vec<u8>>, expected: Vec<Expected>) -> Self {
        Self {
            name,
            writes,
            expected,
            after: After::Listens,
        }
    }

    /// Ended by 1002.
    pub fn broken(name: &'static str, writes: Vec<Vec<u8>>) -> Self {
        Self::closed(name, writes, 1002, "protocol_error")
    }

    pub fn closed(
        name: &'static str,
        writes: Vec<Vec<u8>>,
        code: u16,
        reason: &'static str,
    ) -> Self {
        Self::new(name, writes, vec![Expected::Closed(vec![(code, reason)])])
    }

    pub fn then(self, after: After) -> Self {
        Self { after, ..self }
    }

    /// Whether the session is over after it.
    pub fn is_last(&self) -> bool {
        self.after != After::Listens
            || matches!(
                self.expected.last(),
                Some(Expected::Closed(_) | Expected::End)
            )
    }
}

/// The state of a session, by the contract.
#[derive(Debug, Clone)]
pub struct Session {
    pub user_id: u64,
    pub is_signed_in: bool,
    bad_messages: u8,
}

impl Session {
    pub fn new(user_id: u64, is_signed_in: bool) -> Self {
        Self {
            user_id,
            is_signed_in,
            bad_messages: 0,
        }
    }

    /// The answer to a bad message.
    pub fn invalid(&mut self) -> Vec<Expected> {
        self.bad_messages += 1;
        match self.bad_messages {
            BAD_MESSAGES_MAX => vec![
                Expected::Invalid,
                Expected::Closed(vec![(4500, "bad_messages")]),
            ],
            _ => vec![Expected::Invalid],
        }
    }

    /// The answer to a good message, which only a signed-in session may send.
    pub fn answered(&mut self, answer: Vec<Expected>) -> Vec<Expected> {
        if self.is_signed_in {
            answer
        } else {
            self.invalid()
        }
    }
}

/// A frame with a random mask.
pub fn masked(rng: &mut StdRng, first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, rng.random())
}

pub fn text(rng: &mut StdRng, text: &str) -> Vec<u8> {
    masked(rng, 0x81, text.as_bytes())
}

/// One of several.
pub fn pick<'a, T: ?Sized>(rng: &mut StdRng, of: &[&'a T]) -> &'a T {
    of[rng.random_range(0..of.len())]
}

pub fn bytes(rng: &mut StdRng, count: usize) -> Vec<u8> {
    (0..count).map(|_| rng.random()).collect()
}

pub fn letters(rng: &mut StdRng, count: usize) -> String {
    (0..count)
        .map(|_| char::from(rng.random_range(b'a'..=b'z')))
        .collect()
}

/// Cuts a payload into `parts` fragments of any sizes, as frames: text (or binary), continuations, the last with FIN.
pub fn fragments(rng: &mut StdRng, opcode: u8, payload: &[u8], parts: usize) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = (1..parts)
        .map(|_| rng.random_range(0..=payload.len()))
        .collect();
    cuts.extend([0, payload.len()]);
    cuts.sort_unstable();
    let count = cuts.len() - 1;
    (0..count)
        .map(|n| {
            let first = if n == 0 { opcode } else { 0 } | if n + 1 == count { 0x80 } else { 0 };
            masked(rng, first, &payload[cuts[n]..cuts[n + 1]])
        })
        .collect()
}
