//! TON transaction hashes: one canonical form for every spelling.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const UNPADDED_OR_PADDED: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// Base64 in the standard alphabet, with or without padding; bits left over must be zero.
pub(super) const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, UNPADDED_OR_PADDED);
/// Base64 in the URL alphabet, likewise.
pub(super) const BASE64_URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, UNPADDED_OR_PADDED);

/// The text does not decode to 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 bytes as 64 hex digits, base64 or base64url")]
pub struct TxHashError;

/// The 32 bytes of a transaction hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxHash([u8; 32]);

impl TxHash {
    /// What the event id of a deposit known only by its hash starts with.
    const EVENT_PREFIX: &'static str = "ton:";

    /// Reads 64 hex digits, base64 or base64url, padded or not. All spellings of one hash are equal.
    ///
    /// # Errors
    /// [`TxHashError`] for anything that is not exactly 32 bytes (a BoC, say).
    pub fn parse(text: &str) -> Result<Self, TxHashError> {
        let bytes = match text.len() {
            64 => hex::decode(text).map_err(|_| TxHashError)?,
            43 | 44 => BASE64
                .decode(text)
                .or_else(|_| BASE64_URL.decode(text))
                .map_err(|_| TxHashError)?,
            _ => return Err(TxHashError),
        };
        Self::from_slice(&bytes).ok_or(TxHashError)
    }

    /// From exactly 32 bytes, as the ledger keeps them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The event id of a deposit that is known only by this hash: `ton:<64 lower-case hex digits>`.
    pub fn event_id(&self) -> super::EventId {
        super::EventId::parse(&format!("{}{self}", Self::EVENT_PREFIX))
            .expect("68 ASCII characters are an event id")
    }

    /// The hash that an event id of the form [`TxHash::event_id`] makes names, if it has that form.
    pub fn of_event_id(event_id: &super::EventId) -> Option<Self> {
        let digits = event_id.as_str().strip_prefix(Self::EVENT_PREFIX)?;
        let lower_hex = digits.len() == 64
            && digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        lower_hex.then(|| Self::parse(digits).ok()).flatten()
    }
}

impl fmt::Display for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TxHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "fbff3e0a1b2c3d4e5f60718293a4b5c6d7e8f90011223344556677889900aabb";

    #[test]
    fn every_spelling_is_one_hash() {
        let bytes = hex::decode(HEX).expect("hex");
        let standard = BASE64.encode(&bytes);
        let url = BASE64_URL.encode(&bytes);
        let upper = HEX.to_uppercase();
        assert!(
            standard.contains('+') && url.contains('-'),
            "the sample must tell the alphabets apart"
        );
        let hash = TxHash::parse(HEX).expect("hex");
        for spelling in [
            &upper,
            &standard,
            &url,
            &standard.replace('=', ""),
            &url.replace('=', ""),
        ] {
            assert_eq!(TxHash::parse(spelling), Ok(hash), "{spelling}");
        }
        assert_eq!(hash.to_string(), HEX);
        assert_eq!(hash.event_id().as_str(), format!("ton:{HEX}"));
        assert_eq!(TxHash::of_event_id(&hash.event_id()), Some(hash));
    }

    #[test]
    fn what_is_not_32_bytes_is_no_hash() {
        let boc = "te6cckEBAQEAAgAAAEysuc0=";
        let with_stray_bits = format!("{}B", "A".repeat(42));
        let mixed = format!("+_{}", "A".repeat(41));
        for bad in [
            "",
            "0x12",
            boc,
            &HEX[1..],
            &format!("{HEX}00"),
            &with_stray_bits,
            &mixed,
            &"z".repeat(64),
        ] {
            assert_eq!(TxHash::parse(bad), Err(TxHashError), "{bad:?}");
        }
    }

    #[test]
    fn only_the_canonical_form_of_an_event_id_names_a_hash() {
        let named = |text: &str| {
            TxHash::of_event_id(&super::super::EventId::parse(text).expect("printable"))
        };
        assert!(named(&format!("ton:{HEX}")).is_some());
        assert!(named(&format!("ton:{}", HEX.to_uppercase())).is_none());
        assert!(named("ton:12").is_none());
        assert!(named(HEX).is_none());
    }
}
