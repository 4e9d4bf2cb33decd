//! What the body of a message says: a comment, or an arrival of jettons. Cells are read by `tycho-types`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellSlice};
use tycho_types::error::Error;

use crate::domain::TonAddress;

/// A text comment: 32 zero bits, then UTF-8.
const OP_COMMENT: u32 = 0;
/// A comment that only its receiver can read.
const OP_ENCRYPTED: u32 = 0x2167_da4b;
/// `internal_transfer` of TEP-74: jettons arrive at a jetton wallet.
const OP_INTERNAL_TRANSFER: u32 = 0x178d_4519;

/// The longest body that is read, in characters of base64. A message is shorter.
const BODY_CHARS_MAX: usize = 1 << 20;
/// The longest comment that is read, in bytes.
const COMMENT_BYTES_MAX: usize = 65_536;

/// The body of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// A text.
    Comment(String),
    /// A text that is not UTF-8, or too long.
    NotText,
    /// A text that only its receiver can read.
    Encrypted,
    /// Jettons for the owner of the wallet that receives this.
    Jettons(Box<Jettons>),
    /// Another operation.
    Operation(u32),
    /// No cells, or too few bits for an operation.
    Unreadable,
}

/// `internal_transfer` of TEP-74.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jettons {
    /// In the jetton's units.
    pub units: u128,
    /// The owner of the wallet that sends; none for a mint.
    pub from: Option<TonAddress>,
    /// What the sender writes.
    pub payload: Body,
}

impl Body {
    /// Reads a bag of cells in base64.
    pub fn parse(text: &str) -> Self {
        let cell = (text.len() <= BODY_CHARS_MAX)
            .then(|| STANDARD.decode(text).ok())
            .flatten()
            .and_then(|bytes| Boc::decode(bytes).ok());
        cell.map_or(Self::Unreadable, |cell| Self::of(&cell))
    }

    fn of(cell: &Cell) -> Self {
        match cell.as_slice() {
            Ok(slice) => read(slice, true).unwrap_or(Self::Unreadable),
            Err(_) => Self::Unreadable,
        }
    }
}

/// `may_be_jettons` is false for what is inside a transfer already.
fn read(mut body: CellSlice<'_>, may_be_jettons: bool) -> Result<Body, Error> {
    if body.size_bits() == 0 && body.size_refs() == 0 {
        return Ok(Body::Empty);
    }
    Ok(match body.load_u32()? {
        OP_COMMENT => comment(body)?.map_or(Body::NotText, Body::Comment),
        OP_ENCRYPTED => Body::Encrypted,
        OP_INTERNAL_TRANSFER if may_be_jettons => Body::Jettons(Box::new(jettons(body)?)),
        operation => Body::Operation(operation),
    })
}

/// The text of a comment, which goes on in the first reference of each cell; `None` when it is no text.
fn comment(mut part: CellSlice<'_>) -> Result<Option<String>, Error> {
    let mut bytes = Vec::new();
    loop {
        if !part.size_bits().is_multiple_of(8) || bytes.len() > COMMENT_BYTES_MAX {
            return Ok(None);
        }
        while part.size_bits() > 0 {
            bytes.push(part.load_u8()?);
        }
        if part.size_refs() == 0 {
            return Ok(String::from_utf8(bytes).ok());
        }
        part = part.load_reference_as_slice()?;
    }
}

fn jettons(mut body: CellSlice<'_>) -> Result<Jettons, Error> {
    let _query_id = body.load_u64()?;
    let units = coins(&mut body)?;
    let from = address(&mut body)?;
    let _response_to = address(&mut body)?;
    let _forwarded = coins(&mut body)?;
    // What the sender writes decides nothing of the amount, so nonsense there is no fault of the transfer.
    let payload = payload(body).unwrap_or(Body::Unreadable);
    Ok(Jettons {
        units,
        from,
        payload,
    })
}

/// `Either Cell ^Cell`.
fn payload(mut body: CellSlice<'_>) -> Result<Body, Error> {
    if body.load_bit()? {
        read(body.load_reference_as_slice()?, false)
    } else {
        read(body, false)
    }
}

/// `VarUInteger 16`: a number of up to 15 bytes, after its length.
fn coins(body: &mut CellSlice<'_>) -> Result<u128, Error> {
    let bytes = body.load_small_uint(4)?;
    (0..bytes).try_fold(0, |sum: u128, _| Ok(sum << 8 | u128::from(body.load_u8()?)))
}

/// `MsgAddress`, of which only "none" and a standard address without anycast occur here.
fn address(body: &mut CellSlice<'_>) -> Result<Option<TonAddress>, Error> {
    match body.load_small_uint(2)? {
        0b00 => Ok(None),
        0b10 if !body.load_bit()? => {
            let workchain = body.load_u8()?.cast_signed();
            let account = body.load_u256()?;
            let raw = format!("{workchain}:{}", hex::encode(account.0));
            TonAddress::parse(&raw)
                .map(Some)
                .map_err(|_| Error::InvalidData)
        }
        _ => Err(Error::InvalidData),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tycho_types::cell::{CellBuilder, HashBytes};

    use super::*;

    /// A bag of cells in base64.
    pub(in crate::watcher) fn boc(build: impl FnOnce(&mut CellBuilder)) -> String {
        let mut builder = CellBuilder::new();
        build(&mut builder);
        STANDARD.encode(Boc::encode(builder.build().expect("a cell")))
    }

    /// The body of a text comment, in cells of at most 127 bytes.
    pub(in crate::watcher) fn text(bytes: &[u8]) -> String {
        boc(|cell| {
            cell.store_u32(OP_COMMENT).expect("room");
            snake(cell, bytes, 123);
        })
    }

    fn snake(cell: &mut CellBuilder, bytes: &[u8], room: usize) {
        let (here, rest) = bytes.split_at(bytes.len().min(room));
        cell.store_raw(here, here.len() as u16 * 8).expect("room");
        if !rest.is_empty() {
            let mut next = CellBuilder::new();
            snake(&mut next, rest, 127);
            cell.store_reference(next.build().expect("a cell"))
                .expect("room");
        }
    }

    /// The body of an arrival of jettons with a comment, inside or in a reference.
    pub(in crate::watcher) fn transfer(
        units: u128,
        from: Option<u8>,
        comment: &[u8],
        apart: bool,
    ) -> String {
        boc(|cell| {
            cell.store_u32(OP_INTERNAL_TRANSFER).expect("room");
            cell.store_u64(7).expect("room");
            store_coins(cell, units);
            store_address(cell, from);
            store_address(cell, None);
            store_coins(cell, 1);
            cell.store_bit(apart).expect("room");
            let mut payload = CellBuilder::new();
            payload.store_u32(OP_COMMENT).expect("room");
            payload
                .store_raw(comment, comment.len() as u16 * 8)
                .expect("room");
            if apart {
                cell.store_reference(payload.build().expect("a cell"))
                    .expect("room");
            } else {
                cell.store_builder(&payload).expect("room");
            }
        })
    }

    fn store_coins(cell: &mut CellBuilder, value: u128) {
        let bytes = value.to_be_bytes();
        let skipped = value.leading_zeros() as usize / 8;
        cell.store_small_uint(16 - skipped as u8, 4).expect("room");
        cell.store_raw(&bytes[skipped..], (16 - skipped as u16) * 8)
            .expect("room");
    }

    fn store_address(cell: &mut CellBuilder, fill: Option<u8>) {
        let Some(fill) = fill else {
            cell.store_small_uint(0, 2).expect("room");
            return;
        };
        cell.store_small_uint(0b100, 3).expect("room");
        cell.store_u8(0).expect("room");
        cell.store_u256(&HashBytes([fill; 32])).expect("room");
    }

    #[test]
    fn bodies_are_read() {
        let long = "длинный ".repeat(60);
        let comment = |text: &str| Body::Comment(text.to_owned());
        for (body, expected) in [
            // The empty body as the API writes it.
            ("te6cckEBAQEAAgAAAEysuc0=".to_owned(), Body::Empty),
            (boc(|_| {}), Body::Empty),
            (text(b"184"), comment("184")),
            (text(b""), comment("")),
            (text(long.as_bytes()), comment(&long)),
            (text(b"\xff\xfe"), Body::NotText),
            (text(&vec![b'x'; 100_000]), Body::NotText),
            (
                boc(|cell| {
                    cell.store_u32(OP_COMMENT).expect("room");
                    cell.store_small_uint(1, 3).expect("room");
                }),
                Body::NotText,
            ),
            (
                boc(|cell| cell.store_u32(OP_ENCRYPTED).expect("room")),
                Body::Encrypted,
            ),
            (
                boc(|cell| cell.store_u32(0x7362_d09c).expect("room")),
                Body::Operation(0x7362_d09c),
            ),
            (
                boc(|cell| cell.store_u16(1).expect("room")),
                Body::Unreadable,
            ),
            (String::new(), Body::Unreadable),
            ("not base64".to_owned(), Body::Unreadable),
            ("AAAA".to_owned(), Body::Unreadable),
        ] {
            assert_eq!(Body::parse(&body), expected, "{body}");
        }
    }

    #[test]
    fn an_arrival_of_jettons_has_its_amount_sender_and_comment() {
        let sender = TonAddress::parse(&format!("0:{}", "07".repeat(32))).expect("raw");
        let largest = (1 << 120) - 1;
        for (units, from, apart) in [
            (1, Some(7), false),
            (0, Some(7), true),
            (largest, Some(7), true),
            (12_500_000_000, None, false),
        ] {
            let expected = Jettons {
                units,
                from: from.map(|_| sender),
                payload: Body::Comment("184".to_owned()),
            };
            let body = Body::parse(&transfer(units, from, b"184", apart));
            assert_eq!(body, Body::Jettons(Box::new(expected)));
        }
    }

    #[test]
    fn a_transfer_that_is_cut_is_no_transfer_and_one_without_a_payload_is() {
        let cut = boc(|cell| {
            cell.store_u32(OP_INTERNAL_TRANSFER).expect("room");
            cell.store_u64(7).expect("room");
        });
        assert_eq!(Body::parse(&cut), Body::Unreadable);
        let without = boc(|cell| {
            cell.store_u32(OP_INTERNAL_TRANSFER).expect("room");
            cell.store_u64(7).expect("room");
            store_coins(cell, 5);
            store_address(cell, Some(7));
            store_address(cell, Some(8));
            store_coins(cell, 0);
        });
        let Body::Jettons(jettons) = Body::parse(&without) else {
            panic!("no transfer");
        };
        assert_eq!((jettons.units, jettons.payload), (5, Body::Unreadable));
    }
}
