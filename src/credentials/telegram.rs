//! The init data of a Telegram Mini App: which Telegram user opened it, and when.
//!
//! Pure: it uses no clock, no ledger and no session. It refuses everything that Telegram did not make for this bot, by one of
//! Telegram's two proofs (<https://core.telegram.org/bots/webapps#validating-data-received-via-the-mini-app>).
//! Bounded by `limits::INIT_DATA_BYTES_MAX`. Start reading at [`Telegram::verify`].

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{PUBLIC_KEY_LENGTH, SIGNATURE_LENGTH, Signature, VerifyingKey};
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::config::Auth;
use crate::domain::TelegramId;
use crate::limits::{INIT_DATA_BYTES_MAX, INIT_DATA_FIELDS_MAX, TELEGRAM_SKEW_S};

/// The key from which the HMAC's key is derived.
const KEY_OF_KEYS: &[u8] = b"WebAppData";

/// Telegram's public key for bots in production.
const TELEGRAM_KEY: &str = "e7bf03a2fa4602af4580703d88dda5bb59f32ed8b02a56c187fe7d34caed242d";

/// Why init data is refused: for operators. Clients are told no more than whether it is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InitDataError {
    /// It is not a list of fields, or could be read in two ways.
    Form,
    /// Telegram did not make it for this bot.
    Proof,
    /// It has no time or names no user.
    Content,
    /// It is from the future.
    Future,
    /// It was valid before.
    TooOld,
}

impl InitDataError {
    /// The cause in words, after "init data is refused: ".
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Form => {
                "it is not the unchanged text of Telegram.WebApp.initData: name=value pairs, each name once"
            }
            Self::Proof => {
                "its hash or signature is not of the bot that auth.telegram_bot_token or auth.telegram_bot_id names"
            }
            Self::Content => "it has no auth_date or no user with an id",
            Self::Future => "its auth_date is in the future; check this machine's clock",
            Self::TooOld => "its auth_date is older than auth.telegram_max_age_s",
        }
    }
}

/// Verifies init data.
pub(crate) struct Telegram {
    proof: Proof,
    max_age_s: u64,
}

/// How Telegram proves that it has made the data.
enum Proof {
    /// `hash`: an HMAC with a key derived from the bot's token.
    Hash(Hmac<Sha256>),
    /// `signature`: Telegram's own signature, for this bot.
    Signature { bot_id: u64, key: VerifyingKey },
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telegram")
            .field("max_age_s", &self.max_age_s)
            .finish_non_exhaustive()
    }
}

impl Telegram {
    /// As configured; `None` when sign-in by Telegram is off. With both a token and a bot id, the token is used.
    pub(crate) fn configured(auth: &Auth) -> Option<Self> {
        let proof = match (&auth.telegram_bot_token, auth.telegram_bot_id) {
            (Some(token), _) => Proof::of_token(token.expose()),
            (None, Some(bot_id)) => Proof::Signature {
                bot_id,
                key: telegram_key(),
            },
            (None, None) => return None,
        };
        Some(Self {
            proof,
            max_age_s: auth.telegram_max_age_s,
        })
    }

    /// The Telegram user of init data, at `now_s`.
    ///
    /// # Errors
    /// [`InitDataError`]; `TooOld` only for data that is valid otherwise.
    pub(crate) fn verify(&self, init_data: &str, now_s: i64) -> Result<TelegramId, InitDataError> {
        let fields = Fields::parse(init_data).ok_or(InitDataError::Form)?;
        if !self.proof.holds(&fields) {
            return Err(InitDataError::Proof);
        }
        // From here on the fields are known to come from Telegram.
        let made_at_s = fields
            .get("auth_date")
            .and_then(unix_seconds)
            .ok_or(InitDataError::Content)?;
        let user = fields
            .get("user")
            .and_then(user)
            .ok_or(InitDataError::Content)?;
        let age_s = now_s.saturating_sub(made_at_s);
        match u64::try_from(age_s) {
            Ok(age_s) if age_s > self.max_age_s => Err(InitDataError::TooOld),
            Err(_) if age_s.unsigned_abs() > TELEGRAM_SKEW_S => Err(InitDataError::Future),
            _ => Ok(user),
        }
    }
}

impl Proof {
    fn of_token(bot_token: &str) -> Self {
        let key = hmac(KEY_OF_KEYS)
            .chain_update(bot_token)
            .finalize()
            .into_bytes();
        Self::Hash(hmac(&key))
    }

    fn holds(&self, fields: &Fields) -> bool {
        match self {
            Self::Hash(mac) => {
                let Some(hash) = fields.get("hash").and_then(lower_hex) else {
                    return false;
                };
                // Hmac::verify_slice compares in constant time.
                mac.clone()
                    .chain_update(fields.check_string(&["hash"]))
                    .verify_slice(&hash)
                    .is_ok()
            }
            Self::Signature { bot_id, key } => {
                let Some(signature) = fields.get("signature").and_then(signature) else {
                    return false;
                };
                let message = format!(
                    "{bot_id}:WebAppData\n{}",
                    fields.check_string(&["hash", "signature"])
                );
                key.verify_strict(message.as_bytes(), &signature).is_ok()
            }
        }
    }
}

/// The decoded fields by name, each there once.
struct Fields(BTreeMap<String, String>);

impl Fields {
    /// `None` for text that is not init data, or that could be read in two ways.
    fn parse(init_data: &str) -> Option<Self> {
        if init_data.len() > INIT_DATA_BYTES_MAX {
            return None;
        }
        let mut fields = BTreeMap::new();
        for pair in init_data.split('&') {
            let (name, value) = pair.split_once('=')?;
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            if name.is_empty()
                || !name.bytes().all(is_plain)
                || fields.len() == INIT_DATA_FIELDS_MAX
            {
                return None;
            }
            if fields.insert(name.to_owned(), decoded(value)?).is_some() {
                return None;
            }
        }
        Some(Self(fields))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The text that the proofs cover: a line for each field except `without`, ordered by name.
    fn check_string(&self, without: &[&str]) -> String {
        let lines = self
            .0
            .iter()
            .filter(|(name, _)| !without.contains(&name.as_str()));
        lines
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Decodes a value of a query string. Refuses broken escapes, text that is not UTF-8, and control characters: a line break
/// would make two lines of the check string.
fn decoded(text: &str) -> Option<String> {
    let nibble = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => (nibble(rest.next()?)? << 4) | nibble(rest.next()?)?,
            plain => plain,
        };
        if byte.is_ascii_control() {
            return None;
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

/// Digits only, without a leading zero.
fn unix_seconds(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Lower-case hex, the only spelling that Telegram uses.
fn lower_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let is_lower = text.bytes().all(|b| !b.is_ascii_uppercase());
    (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

fn signature(text: &str) -> Option<Signature> {
    let bytes: [u8; SIGNATURE_LENGTH] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    Some(Signature::from_bytes(&bytes))
}

/// The id of `user`, a JSON object.
fn user(text: &str) -> Option<TelegramId> {
    #[derive(Deserialize)]
    struct User {
        id: i64,
    }
    // serde would also accept an array of the fields in their order.
    let user: User = text
        .starts_with('{')
        .then(|| serde_json::from_str(text).ok())
        .flatten()?;
    TelegramId::new(user.id).ok()
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn telegram_key() -> VerifyingKey {
    let mut bytes = [0; PUBLIC_KEY_LENGTH];
    hex::decode_to_slice(TELEGRAM_KEY, &mut bytes).expect("the constant is 32 bytes in hex");
    VerifyingKey::from_bytes(&bytes).expect("the constant is a public key")
}

#[cfg(test)]
mod tests;
