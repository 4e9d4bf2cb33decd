//! Signatures and session tokens, made from the standards' text and not from the code under test.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::SESSION_SECRET;

pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key will do");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The `webhook-signature` of Standard Webhooks.
pub fn sign(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").expect("a webhook secret"))
        .expect("base64");
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(hmac_sha256(&key, &message)))
}

/// Whole seconds since the Unix epoch.
pub fn now_s() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

/// The claims of a valid token, for tests that change them.
pub fn claims(user_id: u64, ttl_s: i64) -> Value {
    json!({"sub": user_id.to_string(), "iat": now_s(), "exp": now_s() + ttl_s})
}

/// A JWT of any header and claims, signed with HS256.
pub fn mint(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(secret.as_bytes(), signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A valid session token of a user.
pub fn token(user_id: u64) -> String {
    mint(
        &json!({"alg": "HS256", "typ": "JWT"}),
        &claims(user_id, 3600),
        SESSION_SECRET,
    )
}
