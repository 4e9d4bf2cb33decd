//! Why a session token is refused: for operators. Clients are told no more than whether it has expired.

use std::fmt;

/// Why a token is refused. No variant holds a part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// No JWT: not three parts.
    Parts,
    /// A part is not base64url, or the header is not a JWT's.
    Encoding,
    /// The header names another algorithm, or none.
    Algorithm,
    /// No configured secret has signed it.
    Secret,
    /// `crit` lists extensions that a reader must understand or refuse (RFC 7515, 4.1.11). None is supported here.
    Critical,
    /// The claims are not an object, have a name twice, or a registered claim is not of its type.
    Claims,
    /// `exp` is missing.
    NoExpiry,
    /// `exp` is no time.
    Expiry,
    /// `iat` is no time.
    IssueTime,
    /// The claim of the user is missing.
    NoUser,
    /// `sub` names the user and is a number.
    NumericSubject,
    /// The claim of the user is no user id.
    User,
    /// It was valid before.
    Expired,
}

impl TokenError {
    /// The cause in words, after "the token is refused: ".
    pub const fn text(self) -> &'static str {
        match self {
            Self::Parts => "it does not have three parts separated by points, as a JWT has",
            Self::Encoding => "a part of it is not base64url, or its header is not that of a JWT",
            Self::Algorithm => "its header names another algorithm than HS256",
            Self::Secret => {
                "none of auth.session_secrets has signed it (the key is the string's bytes, not decoded from base64 or hex)"
            }
            Self::Critical => "its header has crit, which is not supported",
            Self::Claims => {
                "its claims are not a JSON object, have a name twice, or a registered claim is not of its type"
            }
            Self::NoExpiry => "it has no exp",
            Self::Expiry => "its exp is not a number of seconds since 1970",
            Self::IssueTime => "its iat is not a number of seconds since 1970",
            Self::NoUser => "it names no user: the claim of auth.session_user_claim is missing",
            Self::NumericSubject => "its sub is a number; it must be a string, as in \"184\"",
            Self::User => {
                "the claim of auth.session_user_claim is not a user id: digits without leading zeros, from 1 to 9007199254740991, as a string or, in another claim than sub, as an integer"
            }
            Self::Expired => "it has expired",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token is refused: {}", self.text())
    }
}

impl std::error::Error for TokenError {}
