//! A transaction hash in every spelling that senders use.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// 32 bytes made from a seed.
#[derive(Debug, Clone, Copy)]
pub struct TonHash([u8; 32]);

impl TonHash {
    /// One whose base64 has `+` or `/` in it, so that the alphabets differ.
    pub fn of(seed: &str) -> Self {
        (0..1000)
            .map(|round| Self(Sha256::digest(format!("{seed}/{round}")).into()))
            .find(|hash| STANDARD.encode(hash.0).contains(['+', '/']))
            .expect("most hashes have one")
    }

    /// Lower-case hex: the canonical form.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Hex, capital hex, base64, base64url, and base64url without padding.
    pub fn five_spellings(&self) -> [String; 5] {
        [
            self.hex(),
            self.hex().to_uppercase(),
            STANDARD.encode(self.0),
            URL_SAFE.encode(self.0),
            self.unpadded_url(),
        ]
    }

    /// Base64 without padding.
    pub fn unpadded(&self) -> String {
        STANDARD_NO_PAD.encode(self.0)
    }

    fn unpadded_url(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}
