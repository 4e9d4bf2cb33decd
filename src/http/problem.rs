//! Refusals as RFC 9457 problem details. Only this file knows status codes.

use std::borrow::Cow;
use std::fmt;

use actix::prelude::SendError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use crate::credentials::webhook::SignatureError;
use crate::ledger::{LedgerError, PostError};
use crate::telemetry::requests;

/// When a refused sender may try again, in seconds.
pub const RETRY_AFTER_S: u64 = 1;

/// The codes of the wire contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is its name on the wire")]
pub enum Code {
    InvalidJson,
    MissingSignature,
    InvalidSignature,
    TimestampOutOfRange,
    Unauthorized,
    OriginNotAllowed,
    UnknownUser,
    UnknownEntry,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    UpgradeRequired,
    IdempotencyConflict,
    VersionNotReached,
    AlreadyLinked,
    AnotherEpoch,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidField,
    UnknownField,
    UnknownCurrency,
    InvalidAmount,
    InvalidTxHash,
    InsufficientFunds,
    AmountOverflow,
    NotReversible,
    ExceedsOriginal,
    BatchTooLarge,
    RateLimited,
    Overloaded,
    LedgerUnavailable,
    ShuttingDown,
}

impl Code {
    /// Status, name on the wire, title.
    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidJson => (400, "invalid_json", "The body is not a JSON object"),
            Self::MissingSignature => (401, "missing_signature", "The request is not signed"),
            Self::InvalidSignature => (401, "invalid_signature", "The signature is not valid"),
            Self::TimestampOutOfRange => (
                401,
                "timestamp_out_of_range",
                "The timestamp is too far from now",
            ),
            Self::Unauthorized => (401, "unauthorized", "The credentials are not valid"),
            Self::OriginNotAllowed => (403, "origin_not_allowed", "This origin is not allowed"),
            Self::UnknownUser => (404, "unknown_user", "The user does not exist"),
            Self::UnknownEntry => (404, "unknown_entry", "The entry does not exist"),
            Self::NotFound => (404, "not_found", "Not found"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "The method is not allowed"),
            Self::RequestTimeout => (408, "request_timeout", "The request arrived too slowly"),
            Self::UpgradeRequired => (426, "upgrade_required", "A WebSocket handshake is required"),
            Self::IdempotencyConflict => (
                409,
                "idempotency_conflict",
                "The event id was used with other content",
            ),
            Self::VersionNotReached => {
                (409, "version_not_reached", "The version is not reached yet")
            }
            Self::AlreadyLinked => (
                409,
                "already_linked",
                "The Telegram id belongs to another user",
            ),
            Self::AnotherEpoch => (
                409,
                "another_epoch",
                "The cursor belongs to another state of the ledger",
            ),
            Self::BodyTooLarge => (413, "body_too_large", "The body is too large"),
            Self::UnsupportedMediaType => (
                415,
                "unsupported_media_type",
                "The body must be application/json",
            ),
            Self::InvalidField => (422, "invalid_field", "A field is missing or not valid"),
            Self::UnknownField => (422, "unknown_field", "A field is not known"),
            Self::UnknownCurrency => (422, "unknown_currency", "The currency does not exist"),
            Self::InvalidAmount => (422, "invalid_amount", "The amount is not valid"),
            Self::InvalidTxHash => (422, "invalid_tx_hash", "The transaction hash is not valid"),
            Self::InsufficientFunds => (422, "insufficient_funds", "The balance is too low"),
            Self::AmountOverflow => (
                422,
                "amount_overflow",
                "The amount or balance is out of range",
            ),
            Self::NotReversible => (422, "not_reversible", "The entry can't be taken back"),
            Self::ExceedsOriginal => (
                422,
                "exceeds_original",
                "Less than the amount is left of the entry",
            ),
            Self::BatchTooLarge => (422, "batch_too_large", "The batch has too many entries"),
            Self::RateLimited => (429, "rate_limited", "Too many requests"),
            Self::Overloaded => (503, "overloaded", "The service is overloaded"),
            Self::LedgerUnavailable => (503, "ledger_unavailable", "The ledger is unavailable"),
            Self::ShuttingDown => (503, "shutting_down", "The service is stopping"),
        }
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("the table holds only valid status codes")
    }

    /// Whether the same request can succeed later without a change.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Overloaded | Self::LedgerUnavailable | Self::ShuttingDown
        )
    }
}

/// What a handler returns.
pub(super) type Answer = Result<HttpResponse, Problem>;

/// A refusal.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    extra: Map<String, Value>,
}

impl Problem {
    /// A refusal, with a reason for people to read.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            extra: Map::new(),
        }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.field = Some(name.into());
        self
    }

    /// Adds a member beside the standard ones.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.extra.insert(name.to_owned(), value);
        self
    }

    /// The code on the wire.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The field at fault, if one is.
    pub fn field_name(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let (status, code, title) = self.code.row();
        let mut body = Map::new();
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), title.into());
        body.insert("status".into(), status.into());
        body.insert("detail".into(), json!(self.detail));
        body.insert("code".into(), code.into());
        if let Some(field) = &self.field {
            body.insert("field".into(), json!(field));
        }
        if let Some(id) = requests::current() {
            body.insert("request_id".into(), id.to_string().into());
        }
        body.extend(self.extra.clone());
        let mut response = HttpResponse::build(self.code.status());
        if self.code.is_transient() {
            response.insert_header((header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S)));
        }
        if self.code == Code::Unauthorized {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        if self.code == Code::UpgradeRequired {
            response.insert_header((header::UPGRADE, HeaderValue::from_static("websocket")));
            response.insert_header((
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            ));
        }
        let mut response = response
            .content_type("application/problem+json")
            .body(Value::Object(body).to_string());
        // Read by the middleware that counts refusals.
        response.extensions_mut().insert(self.code);
        response
    }
}

impl From<SignatureError> for Problem {
    fn from(error: SignatureError) -> Self {
        let code = match error {
            SignatureError::Invalid => Code::InvalidSignature,
            SignatureError::OutOfRange { .. } => Code::TimestampOutOfRange,
        };
        Self::new(code, error.to_string())
    }
}

/// The registry accepts no message: it is full, or the service is stopping.
impl<M> From<SendError<M>> for Problem {
    fn from(error: SendError<M>) -> Self {
        match error {
            SendError::Full(_) => PostError::Overloaded.into(),
            SendError::Closed(_) => PostError::ShuttingDown.into(),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(reason) => {
                log::debug!("a read failed: {reason}");
                Self::new(
                    Code::LedgerUnavailable,
                    "the ledger does not answer; try again",
                )
            }
            LedgerError::Overloaded => Self::new(
                Code::Overloaded,
                "too many requests are waiting for the ledger; try again",
            ),
            LedgerError::Unfit(reason) => {
                log::error!("the ledger can't be read: {reason}");
                Self::new(Code::LedgerUnavailable, "the ledger can't be read")
            }
        }
    }
}

impl From<PostError> for Problem {
    fn from(error: PostError) -> Self {
        let code = match error {
            PostError::Overloaded => Code::Overloaded,
            PostError::Refused => Code::InvalidField,
            PostError::Unavailable | PostError::Failing => Code::LedgerUnavailable,
            PostError::ShuttingDown => Code::ShuttingDown,
        };
        Self::new(code, error.to_string())
    }
}

/// The status for a client that already has the current content.
pub(super) const fn not_modified() -> StatusCode {
    StatusCode::NOT_MODIFIED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_code_field_and_when_to_try_again() {
        let problem = Problem::new(Code::InvalidField, "must be there")
            .field("user_id")
            .with("available", json!("1.0"));
        let response = problem.error_response();
        assert_eq!(response.status(), 422);
        assert!(response.headers().get(header::RETRY_AFTER).is_none());
        let response = Problem::from(PostError::Overloaded).error_response();
        assert_eq!(
            (
                response.status().as_u16(),
                response.headers().get(header::RETRY_AFTER).is_some()
            ),
            (503, true)
        );
    }
}
