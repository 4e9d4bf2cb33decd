//! Session tokens: JWT, HS256, `sub` = user id as a string, `exp` required and without leeway. Nothing else is trusted.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::domain::UserId;

/// The keys that sign and verify: the first signs, any verifies.
#[derive(Clone)]
pub struct SessionKeys {
    signing: Option<EncodingKey>,
    verifying: Vec<DecodingKey>,
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

/// The user of a valid token, and when it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The user.
    pub user_id: UserId,
    /// The first Unix second at which it is expired.
    pub expires_at_s: i64,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token that our keys have signed.
    #[error("the token is not valid")]
    Invalid,
    /// A token that was valid before.
    #[error("the token has expired")]
    Expired,
}

/// What a token made here says.
#[derive(Debug, Serialize)]
struct Issued {
    sub: String,
    exp: i64,
    iat: i64,
}

/// What is read of any token.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: NumericDate,
    /// Only its form is checked.
    iat: Option<NumericDate>,
}

/// Seconds, which may have a fraction (RFC 7519, section 2).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NumericDate {
    Whole(i64),
    Fractional(f64),
}

impl NumericDate {
    /// The second that it falls into, so that a token is never good for longer than it says. `None` outside the range.
    fn second(&self) -> Option<i64> {
        match self {
            Self::Whole(seconds) => Some(*seconds),
            Self::Fractional(seconds) if seconds.abs() < i64::MAX as f64 => {
                Some(seconds.floor() as i64)
            }
            Self::Fractional(_) => None,
        }
    }
}

impl SessionKeys {
    /// From the configured secrets (`auth.session_secrets`, at least one).
    pub fn new(secrets: &[Secret]) -> Self {
        let bytes = || secrets.iter().map(|secret| secret.expose().as_bytes());
        Self {
            signing: bytes().next().map(EncodingKey::from_secret),
            verifying: bytes().map(DecodingKey::from_secret).collect(),
        }
    }

    /// Makes a token that is valid for `ttl_s` seconds from `now_s`.
    ///
    /// # Panics
    /// Without a key: `serve` and `token` refuse to start without one.
    pub fn issue(&self, user: UserId, ttl_s: u64, now_s: i64) -> IssuedToken {
        let expires_at_s = now_s.saturating_add_unsigned(ttl_s);
        let claims = Issued {
            sub: user.to_string(),
            exp: expires_at_s,
            iat: now_s,
        };
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
        // Times are compared below, with our own clock and without leeway.
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.required_spec_claims = ["exp", "sub"].map(String::from).into();
        let decoded = self
            .verifying
            .iter()
            .find_map(|key| decode::<Claims>(token, key, &rules).ok());
        // `crit` lists extensions that a reader must understand or refuse (RFC 7515, 4.1.11). None is supported here.
        let claims = decoded
            .filter(|token| token.header.crit.is_none())
            .ok_or(TokenError::Invalid)?
            .claims;
        let user_id = UserId::parse(&claims.sub).map_err(|_| TokenError::Invalid)?;
        let times = (
            claims.exp.second(),
            claims.iat.map_or(Some(0), |iat| iat.second()),
        );
        let (Some(expires_at_s), Some(_)) = times else {
            return Err(TokenError::Invalid);
        };
        if expires_at_s <= now_s {
            return Err(TokenError::Expired);
        }
        Ok(Session {
            user_id,
            expires_at_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OLD: &str = "old-old-old-old-old-old-old-old-old";
    const NEW: &str = "new-new-new-new-new-new-new-new-new";

    fn keys() -> SessionKeys {
        SessionKeys::new(&[Secret::new(NEW), Secret::new(OLD)])
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
    fn only_tokens_signed_by_our_keys_with_all_claims_are_valid() {
        let good = json!({"sub": "184", "exp": 2000});
        for (token, valid) in [
            (forged(Algorithm::HS256, OLD, &good), true),
            (
                forged(
                    Algorithm::HS256,
                    NEW,
                    &json!({"sub": "184", "exp": 2000, "aud": "x", "nbf": 1900}),
                ),
                true,
            ),
            (
                forged(
                    Algorithm::HS256,
                    NEW,
                    &json!({"sub": "184", "exp": 2000.5, "iat": 999.25, "nbf": 999.75}),
                ),
                true,
            ),
            (
                forged(
                    Algorithm::HS256,
                    NEW,
                    &json!({"sub": "184", "exp": 2000, "iat": "x"}),
                ),
                false,
            ),
            (
                forged(Algorithm::HS256, NEW, &json!({"sub": "184", "exp": 1e300})),
                false,
            ),
            (
                forged(Algorithm::HS256, NEW, &json!({"sub": "184", "exp": null})),
                false,
            ),
            (
                forged(Algorithm::HS256, "another-another-another-another", &good),
                false,
            ),
            (forged(Algorithm::HS384, NEW, &good), false),
            (forged(Algorithm::HS256, NEW, &json!({"sub": "184"})), false),
            (forged(Algorithm::HS256, NEW, &json!({"exp": 2000})), false),
            (
                forged(Algorithm::HS256, NEW, &json!({"sub": 184, "exp": 2000})),
                false,
            ),
            (
                forged(Algorithm::HS256, NEW, &json!({"sub": "0", "exp": 2000})),
                false,
            ),
            (
                forged(Algorithm::HS256, NEW, &json!({"sub": "184", "exp": "2000"})),
                false,
            ),
            (
                "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxODQiLCJleHAiOjIwMDB9.".to_owned(),
                false,
            ),
            (String::new(), false),
        ] {
            assert_eq!(keys().verify(&token, 1000).is_ok(), valid, "{token}");
        }
    }
}
