//! Session tokens: JWT, HS256, the user in `sub` or in the claim of `auth.session_user_claim`, `exp` required and without
//! leeway. Nothing else is trusted.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use serde_json::{Map, Value};

use crate::config::Secret;
use crate::credentials::claims::Claims;
pub use crate::credentials::claims::Session;
pub use crate::credentials::token_error::TokenError;
use crate::domain::UserId;

/// The keys that sign and verify: the first signs, any verifies.
#[derive(Clone)]
pub struct SessionKeys {
    signing: Option<EncodingKey>,
    verifying: Vec<DecodingKey>,
    /// The claim that names the user.
    user_claim: Arc<str>,
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys")
            .field("keys", &self.verifying.len())
            .finish()
    }
}

/// A new token.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The JWT.
    pub token: String,
    /// When it expires, Unix seconds.
    pub expires_at_s: i64,
}

impl SessionKeys {
    /// From the configured secrets (`auth.session_secrets`, at least one) and the claim that names the user
    /// (`auth.session_user_claim`).
    pub fn new(secrets: &[Secret], user_claim: &str) -> Self {
        let bytes = || secrets.iter().map(|secret| secret.expose().as_bytes());
        Self {
            signing: bytes().next().map(EncodingKey::from_secret),
            verifying: bytes().map(DecodingKey::from_secret).collect(),
            user_claim: user_claim.into(),
        }
    }

    /// Makes a token that is valid for `ttl_s` seconds from `now_s`.
    ///
    /// # Panics
    /// Without a key: `serve` and `token` refuse to start without one.
    pub fn issue(&self, user: UserId, ttl_s: u64, now_s: i64) -> IssuedToken {
        let expires_at_s = now_s.saturating_add_unsigned(ttl_s);
        let claims: Map<String, Value> = [
            (&*self.user_claim, user.to_string().into()),
            ("exp", expires_at_s.into()),
            ("iat", now_s.into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect();
        let key = self
            .signing
            .as_ref()
            .expect("a session secret is configured");
        let token = encode(&Header::new(Algorithm::HS256), &claims, key)
            .expect("plain claims always encode");
        IssuedToken {
            token,
            expires_at_s,
        }
    }

    /// The session of a token at `now_s`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now_s: i64) -> Result<Session, TokenError> {
        let mut rules = Validation::new(Algorithm::HS256);
        // `Claims` checks what it reads, times with our own clock and without leeway.
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims.clear();
        for key in &self.verifying {
            match decode::<Claims>(token, key, &rules) {
                Ok(decoded) if decoded.header.crit.is_some() => return Err(TokenError::Critical),
                Ok(decoded) => return decoded.claims.session(&self.user_claim, now_s),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(error) => return Err(cause(token, &error)),
            }
        }
        Err(TokenError::Secret)
    }
}

/// The cause of an error that decoding `token` gave.
fn cause(token: &str, error: &Error) -> TokenError {
    if token.split('.').count() != 3 {
        return TokenError::Parts;
    }
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Secret,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        _ if decode_header(token).is_err() => cause_in_header(token),
        ErrorKind::Json(_) => TokenError::Claims,
        _ => TokenError::Encoding,
    }
}

/// The cause that lies in a header that the library could not read: it does not know every algorithm.
fn cause_in_header(token: &str) -> TokenError {
    let header = token.split('.').next().unwrap_or_default();
    let header: Option<Value> = URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match header {
        Some(header) if header["alg"] != "HS256" => TokenError::Algorithm,
        _ => TokenError::Encoding,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OLD: &str = "old-old-old-old-old-old-old-old-old";
    const NEW: &str = "new-new-new-new-new-new-new-new-new";

    fn keys() -> SessionKeys {
        SessionKeys::new(&[Secret::new(NEW), Secret::new(OLD)], "sub")
    }

    fn forged(algorithm: Algorithm, key: &str, claims: &Value) -> String {
        encode(
            &Header::new(algorithm),
            claims,
            &EncodingKey::from_secret(key.as_bytes()),
        )
        .expect("encodes")
    }

    #[test]
    fn a_token_is_valid_until_the_second_at_which_it_expires() {
        let user = UserId::new(184).expect("valid");
        let issued = keys().issue(user, 60, 1000);
        assert_eq!(issued.expires_at_s, 1060);
        assert_eq!(
            keys().verify(&issued.token, 1059),
            Ok(Session {
                user_id: user,
                expires_at_s: 1060
            })
        );
        assert_eq!(keys().verify(&issued.token, 1060), Err(TokenError::Expired));
    }

    #[test]
    fn a_fraction_of_a_second_never_makes_a_token_good_for_longer() {
        for (exp, now_s, good) in [
            (json!(1060.0), 1059, true),
            (json!(1060.0), 1060, false),
            (json!(1060.999), 1059, true),
            (json!(1060.999), 1060, false),
            (json!(1060.001), 1059, true),
        ] {
            let token = forged(Algorithm::HS256, NEW, &json!({"sub": "184", "exp": exp}));
            assert_eq!(keys().verify(&token, now_s).is_ok(), good, "{exp} {now_s}");
        }
    }

    #[test]
    fn what_is_not_needed_is_not_read() {
        for claims in [
            json!({"sub": "184", "exp": 2000}),
            json!({"sub": "184", "exp": 2000, "aud": "x", "nbf": 1900}),
            json!({"sub": "184", "exp": 2000.5, "iat": 999.25, "nbf": 999.75}),
            json!({"sub": "184", "exp": 2000, "iat": null, "uid": 185}),
        ] {
            for key in [OLD, NEW] {
                let token = forged(Algorithm::HS256, key, &claims);
                assert!(keys().verify(&token, 1000).is_ok(), "{claims}");
            }
        }
    }

    #[test]
    fn another_claim_names_the_user_as_an_integer_or_in_digits() {
        let keys = SessionKeys::new(&[Secret::new(NEW)], "uid");
        let session = Session {
            user_id: UserId::new(184).expect("valid"),
            expires_at_s: 2000,
        };
        let found = |claims: Value| keys.verify(&forged(Algorithm::HS256, NEW, &claims), 1000);
        for claims in [
            json!({"uid": 184, "exp": 2000}),
            json!({"uid": "184", "exp": 2000}),
            json!({"uid": 184, "sub": "7", "exp": 2000}),
            json!({"uid": 184, "sub": 7, "exp": 2000}),
        ] {
            assert_eq!(found(claims.clone()), Ok(session), "{claims}");
        }
        for uid in [
            json!(0),
            json!(-184),
            json!(184.0),
            json!(1e2),
            json!(9_007_199_254_740_992_i64),
            json!(u64::MAX),
            json!("0184"),
            json!("184.0"),
            json!(""),
            json!(true),
            json!([184]),
            json!({"id": 184}),
        ] {
            let claims = json!({"uid": uid, "sub": "184", "exp": 2000});
            assert_eq!(found(claims.clone()), Err(TokenError::User), "{claims}");
        }
        let none = json!({"sub": "184", "exp": 2000});
        assert_eq!(found(none), Err(TokenError::NoUser));
        let issued = keys.issue(session.user_id, 1000, 1000);
        assert_eq!(keys.verify(&issued.token, 1000), Ok(session));
        assert_eq!(
            SessionKeys::new(&[Secret::new(NEW)], "sub").verify(&issued.token, 1000),
            Err(TokenError::NoUser)
        );
    }

    #[test]
    fn a_refusal_names_its_cause() {
        let good = json!({"sub": "184", "exp": 2000});
        let whole = forged(Algorithm::HS256, NEW, &good);
        let with = |claims: Value| forged(Algorithm::HS256, NEW, &claims);
        let critical = Header {
            crit: Some(vec!["b64".to_owned()]),
            ..Header::new(Algorithm::HS256)
        };
        let critical = encode(&critical, &good, &EncodingKey::from_secret(NEW.as_bytes()));
        // The headers are: no JSON, {"alg":"none"}, {"alg":"HS1"} and {}.
        let of_header = |header: &str| format!("{header}.eyJzdWIiOiIxODQiLCJleHAiOjIwMDB9.AAAA");
        for (token, cause) in [
            (String::new(), TokenError::Parts),
            ("nonsense".to_owned(), TokenError::Parts),
            (format!("{whole}.x"), TokenError::Parts),
            (whole.replace('.', ""), TokenError::Parts),
            (format!("{whole}\n"), TokenError::Encoding),
            (format!(" {whole}"), TokenError::Encoding),
            (format!("{whole}="), TokenError::Encoding),
            (format!("Bearer {whole}"), TokenError::Encoding),
            (of_header("bm9uc2Vuc2U"), TokenError::Encoding),
            (of_header("eyJhbGciOiJub25lIn0"), TokenError::Algorithm),
            (of_header("eyJhbGciOiJIUzEifQ"), TokenError::Algorithm),
            (of_header("e30"), TokenError::Algorithm),
            (forged(Algorithm::HS384, NEW, &good), TokenError::Algorithm),
            (
                forged(Algorithm::HS256, "another-another-another-another", &good),
                TokenError::Secret,
            ),
            (critical.expect("encodes"), TokenError::Critical),
            (with(json!("184")), TokenError::Claims),
            (with(json!([])), TokenError::Claims),
            (with(json!({"sub": [184], "exp": 2000})), TokenError::Claims),
            (with(json!({"sub": "184"})), TokenError::NoExpiry),
            (
                with(json!({"sub": "184", "exp": null})),
                TokenError::NoExpiry,
            ),
            (
                with(json!({"sub": "184", "exp": "2000"})),
                TokenError::Expiry,
            ),
            (
                with(json!({"sub": "184", "exp": 1e300})),
                TokenError::Expiry,
            ),
            (
                with(json!({"sub": "184", "exp": 2000, "iat": "x"})),
                TokenError::IssueTime,
            ),
            (with(json!({"exp": 2000})), TokenError::NoUser),
            (
                with(json!({"sub": 184, "exp": 2000})),
                TokenError::NumericSubject,
            ),
            (with(json!({"sub": "0", "exp": 2000})), TokenError::User),
            (with(json!({"sub": "0184", "exp": 2000})), TokenError::User),
            (with(json!({"sub": "ann", "exp": 2000})), TokenError::User),
            (
                with(json!({"sub": "184", "exp": 1000})),
                TokenError::Expired,
            ),
        ] {
            assert_eq!(keys().verify(&token, 1000), Err(cause), "{token}");
        }
    }
}
