//! TON account addresses, read in raw or user-friendly form and kept in raw form.
//!
//! User-friendly form: 36 bytes of base64 or base64url: a tag, the workchain, 32 bytes of account id and a
//! CRC-16/XMODEM of the first 34 (TEP-2).

use std::fmt;

use base64::Engine as _;
use crc::{CRC_16_XMODEM, Crc};

use super::tx_hash::{BASE64, BASE64_URL};

const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The text is no TON address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a TON address, raw (0:<64 hex digits>) or user-friendly")]
pub struct TonAddressError;

/// A TON account: workchain and account id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TonAddress {
    workchain: i32,
    account: [u8; 32],
}

impl TonAddress {
    /// Reads `<workchain>:<64 hex digits>` or the 48 characters of the user-friendly form.
    ///
    /// # Errors
    /// [`TonAddressError`] for another form, an unknown tag or a wrong checksum.
    pub fn parse(text: &str) -> Result<Self, TonAddressError> {
        match text.split_once(':') {
            Some((workchain, account)) => Self::parse_raw(workchain, account),
            None => Self::parse_user_friendly(text),
        }
        .ok_or(TonAddressError)
    }

    fn parse_raw(workchain: &str, account: &str) -> Option<Self> {
        let digits = workchain.strip_prefix('-').unwrap_or(workchain);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || account.len() != 64 {
            return None;
        }
        let account = hex::decode(account).ok()?.try_into().ok()?;
        Some(Self {
            workchain: workchain.parse().ok()?,
            account,
        })
    }

    fn parse_user_friendly(text: &str) -> Option<Self> {
        if text.len() != 48 {
            return None;
        }
        let bytes = BASE64
            .decode(text)
            .or_else(|_| BASE64_URL.decode(text))
            .ok()?;
        let (payload, checksum) = bytes.split_at_checked(34)?;
        let tag_is_known = matches!(payload[0] & !0x80, 0x11 | 0x51);
        if !tag_is_known || CRC.checksum(payload).to_be_bytes() != checksum {
            return None;
        }
        let workchain = i8::from_be_bytes([payload[1]]);
        Some(Self {
            workchain: workchain.into(),
            account: payload[2..].try_into().ok()?,
        })
    }
}

impl fmt::Display for TonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.workchain, hex::encode(self.account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of TEP-2, in both of its forms.
    const RAW: &str = "-1:3333333333333333333333333333333333333333333333333333333333333333";
    const FRIENDLY: &str = "Ef8zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM0vF";

    #[test]
    fn both_forms_are_shown_raw() {
        for text in [RAW, FRIENDLY] {
            assert_eq!(TonAddress::parse(text).expect(text).to_string(), RAW);
        }
        let mixed_case = "0:ABCDEFabcdef0000000000000000000000000000000000000000000000000000";
        assert_eq!(
            TonAddress::parse(mixed_case).expect("raw").to_string(),
            mixed_case.to_lowercase()
        );
    }

    #[test]
    fn a_typo_is_found_by_the_checksum() {
        let typo = FRIENDLY.replacen('z', "y", 1);
        for bad in [
            &typo,
            "",
            "0:",
            ":00",
            "0:12",
            "+0:33",
            "EQ",
            &RAW[1..40],
            &format!("99999999999{RAW}"),
        ] {
            assert_eq!(TonAddress::parse(bad), Err(TonAddressError), "{bad:?}");
        }
    }
}
