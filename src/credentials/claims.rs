//! What a session token says: its claims, each name once.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::SUBJECT;
use crate::credentials::token_error::TokenError;
use crate::domain::UserId;

/// The user of a valid token, and when it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The user.
    pub user_id: UserId,
    /// The first Unix second at which it is expired.
    pub expires_at_s: i64,
}

/// The claims of a token that one of our keys has signed. A claim is parsed when it is asked for.
pub(super) struct Claims(BTreeMap<String, Box<RawValue>>);

impl Claims {
    /// The session at `now_s` of the user whom `user_claim` names.
    ///
    /// # Errors
    /// The [`TokenError`] of the claim that is wrong.
    pub(super) fn session(&self, user_claim: &str, now_s: i64) -> Result<Session, TokenError> {
        let expires_at_s = self
            .seconds("exp", TokenError::Expiry)?
            .ok_or(TokenError::NoExpiry)?;
        // Only its form is checked.
        self.seconds("iat", TokenError::IssueTime)?;
        let user_id = self.user(user_claim)?;
        if expires_at_s <= now_s {
            return Err(TokenError::Expired);
        }
        Ok(Session {
            user_id,
            expires_at_s,
        })
    }

    fn user(&self, user_claim: &str) -> Result<UserId, TokenError> {
        match self.value(user_claim, TokenError::User)? {
            Value::Null => Err(TokenError::NoUser),
            Value::String(text) => UserId::parse(&text).map_err(|_| TokenError::User),
            Value::Number(_) if user_claim == SUBJECT => Err(TokenError::NumericSubject),
            Value::Number(number) => {
                let user_id = number.as_i64().and_then(|id| UserId::new(id).ok());
                user_id.ok_or(TokenError::User)
            }
            _ => Err(TokenError::User),
        }
    }

    /// A NumericDate (RFC 7519, section 2): seconds, which may have a fraction. Its whole second counts, so that a token is
    /// never good for longer than it says. `None` when it is missing.
    fn seconds(&self, name: &str, wrong: TokenError) -> Result<Option<i64>, TokenError> {
        let value = self.value(name, wrong)?;
        let fractional = || {
            let seconds = value.as_f64()?;
            (seconds.abs() < i64::MAX as f64).then(|| seconds.floor() as i64)
        };
        match value.as_i64().or_else(fractional) {
            None if !value.is_null() => Err(wrong),
            seconds => Ok(seconds),
        }
    }

    /// A claim; null when it is missing.
    fn value(&self, name: &str, wrong: TokenError) -> Result<Value, TokenError> {
        let raw = self.0.get(name).map_or("null", |raw| raw.get());
        // Signed JSON may still have numbers and escapes that no type holds.
        serde_json::from_str(raw).map_err(|_| wrong)
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// Two readers of a repeated name could read two users.
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = members.next_entry()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is repeated"));
            }
        }
        Ok(Claims(claims))
    }
}
