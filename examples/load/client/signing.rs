//! Signed requests as bytes, and session tokens, made by the crate's own functions; tests check
//! those independently.

use balance_coordinator::config::Secret;
use balance_coordinator::credentials::session_token::SessionKeys;
use balance_coordinator::credentials::webhook;
use balance_coordinator::domain::UserId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Result;
use crate::client::clock::now_us;

/// Lifetime of a token of the bench, in seconds.
const TOKEN_TTL_S: u64 = 24 * 3600;

/// The secrets of the service under load.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// `whsec_…`
    pub webhook: String,
    /// The key of session tokens.
    pub session: String,
    /// The administrator's token.
    pub admin: String,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            webhook: format!("whsec_{}", STANDARD.encode([7; 32])),
            session: "the-session-secret-of-the-load-bench".into(),
            admin: "the-administrator-of-the-load-bench".into(),
        }
    }
}

/// Makes signed requests.
#[derive(Debug, Clone)]
pub struct Signer {
    key: Vec<u8>,
}

impl Signer {
    /// From the `whsec_…` secret.
    pub fn new(secrets: &Secrets) -> Result<Self> {
        let text = secrets
            .webhook
            .strip_prefix("whsec_")
            .ok_or("a webhook secret starts with whsec_")?;
        Ok(Self {
            key: STANDARD.decode(text)?,
        })
    }

    /// A whole request, ready to be written.
    pub fn request(&self, method: &str, path: &str, id: &str, body: &[u8]) -> Vec<u8> {
        let timestamp = (now_us() / 1_000_000).to_string();
        let signature = webhook::sign(&self.key, id, &timestamp, body);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: load\r\ncontent-type: application/json\r\nwebhook-id: {id}\r\n\
             webhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

/// Makes session tokens.
pub struct Tokens(SessionKeys);

impl Tokens {
    /// From the session secret.
    pub fn new(secrets: &Secrets) -> Self {
        Self(SessionKeys::new(&[Secret::new(&secrets.session)], "sub"))
    }

    /// A valid token of a user.
    pub fn of(&self, user: i64) -> Result<String> {
        Ok(self
            .0
            .issue(UserId::new(user)?, TOKEN_TTL_S, now_us() / 1_000_000)
            .token)
    }
}
