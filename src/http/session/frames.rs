//! Frames that a session sends itself: `hello`, `pong`, errors, and close codes.

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::config::Settings;
use crate::coordinator::messages::CloseReason;
use crate::domain::{SessionId, UserId};
use crate::http::extract::sign_in::SignInError;

/// The subprotocol of this service.
pub(super) const PROTOCOL: &str = "balance.v1";

/// Close codes and reasons on the wire.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum End {
    GoingAway,
    Protocol,
    UnsupportedData,
    InvalidUtf8,
    TooBig,
    Overloaded,
    HeartbeatLost,
    TooFast,
    BadMessages,
    Unauthenticated,
    TokenExpired,
    TooManySessions,
    ClosedByAdministrator,
}

impl End {
    /// All of them.
    pub(super) const ALL: [Self; 13] = [
        Self::GoingAway,
        Self::Protocol,
        Self::UnsupportedData,
        Self::InvalidUtf8,
        Self::TooBig,
        Self::Overloaded,
        Self::HeartbeatLost,
        Self::TooFast,
        Self::BadMessages,
        Self::Unauthenticated,
        Self::TokenExpired,
        Self::TooManySessions,
        Self::ClosedByAdministrator,
    ];

    /// Code and reason.
    pub(in crate::http) const fn frame(self) -> (u16, &'static str) {
        match self {
            Self::GoingAway => (1001, "going_away"),
            Self::Protocol => (1002, "protocol_error"),
            Self::UnsupportedData => (1003, "unsupported_data"),
            Self::InvalidUtf8 => (1007, "invalid_utf8"),
            Self::TooBig => (1009, "message_too_big"),
            Self::Overloaded => (1013, "overloaded"),
            Self::HeartbeatLost => (4408, "heartbeat_lost"),
            Self::TooFast => (4429, "too_fast"),
            Self::BadMessages => (4500, "bad_messages"),
            Self::Unauthenticated => (4501, "unauthenticated"),
            Self::TokenExpired => (4501, "token_expired"),
            Self::TooManySessions => (4509, "too_many_sessions"),
            Self::ClosedByAdministrator => (4510, "closed_by_administrator"),
        }
    }
}

impl From<CloseReason> for End {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::GoingAway => Self::GoingAway,
            CloseReason::Overloaded => Self::Overloaded,
            CloseReason::TooManySessions => Self::TooManySessions,
            CloseReason::ClosedByAdministrator => Self::ClosedByAdministrator,
        }
    }
}

impl From<SignInError> for End {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Invalid | SignInError::Unknown => Self::Unauthenticated,
            SignInError::Expired => Self::TokenExpired,
            // The credentials may be valid, so the client should reconnect with them.
            SignInError::Ledger(_) => Self::Overloaded,
        }
    }
}

/// The `hello` frame.
pub(super) fn hello(
    settings: &Settings,
    epoch: &str,
    session_id: SessionId,
    user_id: UserId,
) -> String {
    let client_cache = &settings.client_cache;
    let frame = json!({
        "type": "hello",
        "session_id": session_id,
        "user_id": user_id,
        "epoch": epoch,
        "protocol": PROTOCOL,
        "heartbeat_ms": settings.limits.heartbeat_ms,
        "client_cache": {
            "ttl_ms": client_cache.ttl_s * 1000,
            "stale_while_revalidate_ms": client_cache.stale_while_revalidate_s * 1000,
            "min_age_ms": client_cache.min_age_s * 1000,
        },
        "pacing": {
            "debounce_ms": settings.pacing.debounce_ms,
            "min_interval_ms": settings.pacing.min_interval_ms,
        },
    });
    frame.to_string()
}

/// The `error` frame that answers a bad message.
pub(super) fn invalid_message(why: &str) -> String {
    json!({ "type": "error", "code": "invalid_message", "message": why }).to_string()
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "error")]
struct RateLimitedFrame<'a> {
    code: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    retry_after_ms: u64,
}

/// The `error` frame for a message beyond the rate, with the id that the message has.
pub(super) fn rate_limited(id: Option<&RawValue>, retry_after_ms: u64) -> String {
    let frame = RateLimitedFrame {
        code: "rate_limited",
        message: "too many messages; this one has no effect, and the next one too many closes the session",
        id,
        retry_after_ms,
    };
    serde_json::to_string(&frame).expect("a frame holds only strings, numbers and checked JSON")
}

/// The `pong` frame, with the id as the client sent it.
pub(super) fn pong(id: Option<&RawValue>) -> String {
    match id {
        Some(id) => format!(r#"{{"type":"pong","id":{}}}"#, id.get()),
        None => r#"{"type":"pong"}"#.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::ledger::LedgerError;

    use super::*;

    #[test]
    fn rate_limited_carries_the_id_as_it_was_sent() {
        for (id, expected) in [
            (Some("-1.50"), r#","id":-1.50,"#),
            (Some(r#""a""#), r#","id":"a","#),
            (None, r#"session","retry"#),
        ] {
            let id: Option<&RawValue> =
                id.map(|text| serde_json::from_str(text).expect("valid JSON"));
            let frame = rate_limited(id, 50);
            assert!(frame.contains(expected), "{frame}");
            let parsed: serde_json::Value = serde_json::from_str(&frame).expect("valid JSON");
            assert_eq!(parsed["retry_after_ms"], 50, "{frame}");
        }
    }

    #[test]
    fn every_close_code_has_its_reason() {
        for (end, code, reason) in [
            (End::from(CloseReason::GoingAway), 1001, "going_away"),
            (End::Protocol, 1002, "protocol_error"),
            (End::UnsupportedData, 1003, "unsupported_data"),
            (End::InvalidUtf8, 1007, "invalid_utf8"),
            (End::TooBig, 1009, "message_too_big"),
            (End::from(CloseReason::Overloaded), 1013, "overloaded"),
            (
                End::from(SignInError::Ledger(LedgerError::Overloaded)),
                1013,
                "overloaded",
            ),
            (End::from(SignInError::Unknown), 4501, "unauthenticated"),
            (End::HeartbeatLost, 4408, "heartbeat_lost"),
            (End::TooFast, 4429, "too_fast"),
            (End::BadMessages, 4500, "bad_messages"),
            (End::from(SignInError::Invalid), 4501, "unauthenticated"),
            (End::from(SignInError::Expired), 4501, "token_expired"),
            (
                End::from(CloseReason::TooManySessions),
                4509,
                "too_many_sessions",
            ),
            (
                End::from(CloseReason::ClosedByAdministrator),
                4510,
                "closed_by_administrator",
            ),
        ] {
            assert_eq!(end.frame(), (code, reason));
        }
    }
}
