//! What a handler's signature asks for: bodies, credentials, query parameters, rates.

use actix_web::HttpRequest;
use serde::Deserialize;

use crate::domain::UserId;
use crate::http::problem::{Code, Problem};

pub(crate) mod admin;
pub(crate) mod rate_limit;
pub(crate) mod sign_in;
pub(crate) mod signed;

/// Reads a query string; the refusal names the parameter.
pub(super) fn query<T: serde::de::DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(request.query_string().as_bytes());
    let deserializer = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let name = error.path().to_string();
        Problem::new(
            Code::InvalidField,
            format!("the parameter {name}: {}", error.into_inner()),
        )
        .field(name)
    })
}

/// The user id of the path.
pub(super) fn path_user(request: &HttpRequest) -> Result<UserId, Problem> {
    let text = request.match_info().get("user_id").unwrap_or_default();
    UserId::parse(text).map_err(|error| {
        Problem::new(Code::InvalidField, format!("user_id {error}")).field("user_id")
    })
}

/// A small body of known fields; serde's message names the field.
pub(super) fn parse_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // serde would take an array for the object's fields in their order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::new(Code::InvalidJson, "not a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let message = inner.to_string();
        let code = match inner.classify() {
            serde_json::error::Category::Data if message.starts_with("unknown field") => {
                Code::UnknownField
            }
            serde_json::error::Category::Data => Code::InvalidField,
            _ => Code::InvalidJson,
        };
        // The name of a missing or unknown field stands between backticks.
        let named = message
            .split('`')
            .nth(1)
            .filter(|_| path == ".")
            .map_or(path, str::to_owned);
        Problem::new(code, message).field(named)
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::new(Code::InvalidJson, format!("not a JSON object: {error}")))?;
    Ok(parsed)
}

/// A member that may be missing, but not null.
pub(super) fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
