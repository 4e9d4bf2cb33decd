//! Webhook signatures by the Standard Webhooks convention (<https://www.standardwebhooks.com>): `v1,` and the base64 of
//! HMAC-SHA256 over `{id}.{timestamp}.{raw body}` with the decoded secret. Compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::WebhookSecret;
use crate::limits::SIGNATURES_MAX;

const VERSION: &str = "v1,";

/// Bytes of HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;

fn mac(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

/// The `webhook-signature` value of a body; `secret` is the decoded one.
pub fn sign(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    format!(
        "{VERSION}{}",
        STANDARD.encode(mac(secret, id, timestamp, body).finalize().into_bytes())
    )
}

/// The headers that sign a body as a new message of `sender`, a word for the reader of a log.
pub fn headers(
    secret: &WebhookSecret,
    sender: &str,
    now_s: i64,
    body: &[u8],
) -> [(&'static str, String); 3] {
    let id = format!("{sender}_{:016x}", rand::random::<u64>());
    let timestamp = now_s.to_string();
    let signature = sign(secret.as_bytes(), &id, &timestamp, body);
    [
        ("webhook-id", id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", signature),
    ]
}

/// Why a signed request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature matches.
    #[error("no v1 signature matches the id, the timestamp and the body")]
    Invalid,
    /// The signature is valid, but its timestamp is too old or in the future.
    #[error("webhook-timestamp must be within {tolerance_s} s of now, in Unix seconds")]
    OutOfRange {
        /// `auth.webhook_tolerance_s`
        tolerance_s: u64,
    },
}

/// The three headers of a signed request.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`, Unix seconds
    pub timestamp: &'a str,
    /// `webhook-signature`, a space-separated list
    pub signature: &'a str,
}

impl Signed<'_> {
    /// Refuses headers that no body could make valid: without a signature of the right length. The timestamp is judged
    /// after the signature alone.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`].
    pub fn check_form(&self) -> Result<(), SignatureError> {
        let first = self.signatures().next();
        first.map(drop).ok_or(SignatureError::Invalid)
    }

    /// The signatures that could match.
    fn signatures(&self) -> impl Iterator<Item = [u8; SIGNATURE_BYTES]> {
        let all = self.signature.split(' ').take(SIGNATURES_MAX);
        all.filter_map(|one| {
            let bytes = STANDARD.decode(one.strip_prefix(VERSION)?).ok()?;
            bytes.try_into().ok()
        })
    }

    /// Accepts a body when any signature matches any secret and the timestamp is within the tolerance: whole seconds are
    /// compared, and exactly the tolerance is inside.
    ///
    /// # Errors
    /// [`SignatureError::Invalid`] first, then [`SignatureError::OutOfRange`].
    pub fn verify(
        &self,
        secrets: &[WebhookSecret],
        body: &[u8],
        now_s: i64,
        tolerance_s: u64,
    ) -> Result<(), SignatureError> {
        let given: Vec<_> = self.signatures().collect();
        let fits = secrets.iter().any(|secret| {
            let mac = mac(secret.as_bytes(), self.id, self.timestamp, body);
            // Hmac::verify_slice compares in constant time.
            given
                .iter()
                .any(|signature| mac.clone().verify_slice(signature).is_ok())
        });
        if !fits {
            return Err(SignatureError::Invalid);
        }
        let is_near =
            unix_seconds(self.timestamp).is_some_and(|at| at.abs_diff(now_s) <= tolerance_s);
        if is_near {
            Ok(())
        } else {
            Err(SignatureError::OutOfRange { tolerance_s })
        }
    }
}

/// Digits only: `parse` would also accept a sign, and leading zeros would be a second spelling.
fn unix_seconds(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(fill: u8) -> WebhookSecret {
        WebhookSecret::parse(&format!("whsec_{}", STANDARD.encode([fill; 32]))).expect("valid")
    }

    #[test]
    fn any_signature_by_any_secret_within_the_tolerance() {
        let (old, new, stranger) = (secret(1), secret(2), secret(3));
        let by = |key: &WebhookSecret, at: &str| sign(key.as_bytes(), "id", at, b"{}");
        let both = format!("v2,zzz {} {}", by(&stranger, "1000"), by(&old, "1000"));
        let out_of_range = Some(SignatureError::OutOfRange { tolerance_s: 300 });
        for (signature, timestamp, expected) in [
            (by(&old, "1000"), "1000", None),
            (by(&new, "1000"), "1000", None),
            (both, "1000", None),
            (by(&stranger, "1000"), "1000", Some(SignatureError::Invalid)),
            (by(&old, "999"), "1000", Some(SignatureError::Invalid)),
            (
                by(&old, "1000").replace("v1,", "v1a,"),
                "1000",
                Some(SignatureError::Invalid),
            ),
            (String::new(), "1000", Some(SignatureError::Invalid)),
            (by(&old, "700"), "700", None),
            (by(&old, "699"), "699", out_of_range),
            (by(&old, "1300"), "1300", None),
            (by(&old, "1301"), "1301", out_of_range),
            (by(&old, "now"), "now", out_of_range),
            (by(&old, "+1000"), "+1000", out_of_range),
            (by(&old, "01000"), "01000", out_of_range),
            // The signature is checked first.
            (by(&stranger, "1"), "1", Some(SignatureError::Invalid)),
        ] {
            let signed = Signed {
                id: "id",
                timestamp,
                signature: &signature,
            };
            let result = signed.verify(&[old.clone(), new.clone()], b"{}", 1000, 300);
            assert_eq!(result.err(), expected, "{signature} {timestamp}");
        }
    }

    #[test]
    fn headers_that_no_body_makes_valid_are_refused_by_themselves() {
        let right = sign(&[1; 32], "id", "1000", b"{}");
        let invalid = Some(SignatureError::Invalid);
        for (signature, timestamp, expected) in [
            (right.clone(), "1000", None),
            (format!("v2,x v1,AAAA {right}"), "1", None),
            (right.replace("v1,", "v2,"), "1000", invalid),
            ("v1,AAAA".to_owned(), "1000", invalid),
            ("v1,x".to_owned(), "1000", invalid),
            (right.trim_end_matches('=').to_owned(), "1000", invalid),
            (
                vec!["v1,AAAA"; 16].join(" ") + " " + &right,
                "1000",
                invalid,
            ),
            ("v1,AAAA".to_owned(), "now", invalid),
            (right, "now", None),
        ] {
            let signed = Signed {
                id: "id",
                timestamp,
                signature: &signature,
            };
            let refused = signed.check_form().err();
            assert_eq!(refused, expected, "{signature} {timestamp}");
        }
    }
}
