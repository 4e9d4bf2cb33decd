//! Secrets that cannot be printed by accident.
//!
//! `Debug`, `Display` and `Serialize` of everything here show [`MASK`]; code that needs the text has to say so by
//! `expose`. The errors made here never contain the text either.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is shown in place of a secret.
pub(super) const MASK: &str = "***";

/// What a webhook secret starts with, by the Standard Webhooks convention.
pub(super) const WEBHOOK_PREFIX: &str = "whsec_";

/// The fewest bytes of a webhook secret, decoded; 24 to 64 is usual.
pub(super) const WEBHOOK_BYTES_MIN: usize = 16;

/// The most characters of any secret.
pub(super) const SECRET_CHARS_MAX: usize = 1024;

/// Standard base64, with or without the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A text that must not be shown. It has no `==`, because the time of a comparison would tell how much of a guess is
/// right.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text, unchecked.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The key that a sender signs webhooks with: `whsec_` and base64.
#[derive(Clone)]
pub struct WebhookSecret {
    text: Secret,
    bytes: Vec<u8>,
}

/// A text that is no webhook secret; the text itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and then the base64 of at least 16 bytes")]
pub struct WebhookSecretError;

impl WebhookSecret {
    /// Decodes `whsec_<base64>`, padded or not, of at least 16 bytes.
    ///
    /// # Errors
    /// [`WebhookSecretError`], without the text.
    pub fn parse(text: &str) -> Result<Self, WebhookSecretError> {
        let encoded = text
            .strip_prefix(WEBHOOK_PREFIX)
            .ok_or(WebhookSecretError)?;
        let bytes = BASE64.decode(encoded).map_err(|_| WebhookSecretError)?;
        if bytes.len() < WEBHOOK_BYTES_MIN || text.len() > SECRET_CHARS_MAX {
            return Err(WebhookSecretError);
        }
        Ok(Self {
            text: Secret::new(text),
            bytes,
        })
    }

    /// The decoded bytes: the key of the HMAC. Not for logs.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text, `whsec_…`. Not for logs.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }
}

/// A bearer token of an administrator, and the administrator's name.
#[derive(Debug, Clone, Serialize)]
pub struct AdminToken {
    /// The name, for logs: 1–64 printable ASCII characters, different from all others. Plain tokens are called
    /// `admin-1`, `admin-2`, … by their place in the list.
    pub name: String,
    /// The token.
    pub token: Secret,
}

macro_rules! masked {
    ($($secret:ty),*) => {$(
        impl fmt::Debug for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(MASK)
            }
        }

        impl fmt::Display for $secret {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(MASK)
            }
        }

        impl Serialize for $secret {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(MASK)
            }
        }
    )*};
}

masked!(Secret, WebhookSecret);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for WebhookSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for AdminToken {
    /// A plain string gets an empty name here; the caller, which knows its place in the list, replaces it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AdminTokenVisitor)
    }
}

struct AdminTokenVisitor;

impl<'de> Visitor<'de> for AdminTokenVisitor {
    type Value = AdminToken;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token or {name, token}")
    }

    fn visit_str<E: serde::de::Error>(self, token: &str) -> Result<AdminToken, E> {
        Ok(AdminToken {
            name: String::new(),
            token: Secret::new(token),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<AdminToken, A::Error> {
        let (mut name, mut token) = (None, None);
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "name" => name = Some(fields.next_value::<String>()?),
                "token" => token = Some(fields.next_value()?),
                _ => return Err(A::Error::custom("has a field other than name and token")),
            }
        }
        let name = name
            .filter(|name| !name.is_empty())
            .ok_or_else(|| A::Error::custom("needs a name"))?;
        let token = token.ok_or_else(|| A::Error::custom("needs a token"))?;
        Ok(AdminToken { name, token })
    }
}
