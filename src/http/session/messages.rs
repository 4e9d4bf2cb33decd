//! The messages that a client may send on a WebSocket.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::http::extract::json::{JsonObject, string};
use crate::http::extract::sign_in::Credentials;

/// A well-formed message.
#[derive(Debug)]
pub(in crate::http) enum ClientMessage<'a> {
    /// Sign in, or stay signed in.
    Auth(Credentials<'a>),
    /// Ask for a balance from the ledger; the id comes back.
    Refresh { id: Option<Box<RawValue>> },
    /// Ask for a `pong`.
    Ping { id: Option<Box<RawValue>> },
    /// The page now shows this version.
    Displayed { version: i64 },
}

/// Every member that is read; others are ignored.
const NAMES: [&str; 5] = ["type", "id", "token", "init_data", "version"];

const NO_MESSAGE: &str = "not a JSON object with a type";

/// The id of a message, whatever else it says; `None` when it has none that could be returned.
pub(super) fn id_of(text: &str) -> Option<&RawValue> {
    let object = JsonObject::parse(text.as_bytes(), &NAMES).ok()?;
    object.check_repeated().ok()?;
    object.get("id").filter(|id| is_id(id))
}

/// Whether this is a string or a number.
fn is_id(id: &RawValue) -> bool {
    id.get()
        .starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
}

impl<'a> ClientMessage<'a> {
    /// Reads a text frame; the error says what is wrong with it.
    pub(in crate::http) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let object = JsonObject::parse(text.as_bytes(), &NAMES).map_err(|_| NO_MESSAGE)?;
        object.check_repeated().map_err(|_| NO_MESSAGE)?;
        // A member that is null counts as absent.
        let given = |name| object.get(name).filter(|value| value.get() != "null");
        let text = |name| given(name).map(|value| string(name, value)).transpose();
        let text = |name| text(name).map_err(|_| NO_MESSAGE);
        let version = given("version").map(|value| serde_json::from_str::<i64>(value.get()));
        let version = version.transpose().map_err(|_| NO_MESSAGE)?;
        let (message_type, token, init_data) = (text("type")?, text("token")?, text("init_data")?);
        let message_type = message_type.ok_or(NO_MESSAGE)?;
        let id = given("id").map(ToOwned::to_owned);
        if id.as_deref().is_some_and(|id| !is_id(id)) {
            return Err("id must be a string or a number");
        }
        match (&*message_type, token, init_data, version) {
            ("auth", Some(token), None, _) => Ok(Self::Auth(Credentials::Token(trimmed(token)))),
            ("auth", None, Some(init_data), _) => Ok(Self::Auth(Credentials::InitData(init_data))),
            ("auth", ..) => Err("auth needs either token or init_data"),
            ("refresh", ..) => Ok(Self::Refresh { id }),
            ("ping", ..) => Ok(Self::Ping { id }),
            ("displayed", _, _, Some(version)) if version >= 0 => Ok(Self::Displayed { version }),
            ("displayed", ..) => Err("displayed needs a version"),
            _ => Err("the type is not known"),
        }
    }
}

/// Without white space around it, which HTTP strips from a header, too: a token read from a file often ends with a line
/// feed.
fn trimmed(token: Cow<'_, str>) -> Cow<'_, str> {
    match token {
        Cow::Borrowed(token) => Cow::Borrowed(token.trim_ascii()),
        Cow::Owned(token) => Cow::Owned(token.trim_ascii().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_id_that_its_answer_would_carry() {
        for (text, id) in [
            (r#"{"type":"refresh","id":7}"#, Some("7")),
            (r#"{"id":"a","type":"unheard of"}"#, Some(r#""a""#)),
            (r#"{"type":"ping","id":null}"#, None),
            (r#"{"type":"ping","id":[1]}"#, None),
            (r#"{"id":1,"id":2}"#, None),
            (r#"{"type":"ping"}"#, None),
            ("nonsense", None),
        ] {
            assert_eq!(id_of(text).map(RawValue::get), id, "{text}");
        }
    }

    #[test]
    fn messages_are_read_or_refused() {
        for (text, expected) in [
            (r#"{"type":"auth","token":"t"}"#, "Auth(Token"),
            (r#"{"type":"auth","init_data":"a=b"}"#, "Auth(InitData)"),
            (
                r#"{"type":"auth","token":"t","init_data":"a"}"#,
                "auth needs",
            ),
            (r#"{"type":"auth","token":7}"#, "not a JSON object"),
            (r#"{"type":"refresh"}"#, "Refresh { id: None }"),
            (
                r#"{"type":"refresh","id":"x","later":1}"#,
                r#"Refresh { id: Some(RawValue("x")"#,
            ),
            (
                r#"{"id":-1.50,"type":"ping"}"#,
                "Ping { id: Some(RawValue(-1.50)",
            ),
            (r#"{"type":"ping","id":[1]}"#, "id must be"),
            (
                r#"{"type":"displayed","version":3}"#,
                "Displayed { version: 3 }",
            ),
            (r#"{"type":"displayed"}"#, "displayed needs"),
            (r#"{"type":"displayed","version":-1}"#, "displayed needs"),
            (r#"{"type":"subscribe"}"#, "the type"),
            (r#"{"id":1}"#, "not a JSON object"),
            ("[]", "not a JSON object"),
            (r#"["ping",1]"#, "not a JSON object"),
            (r#"["auth",null,"t",null,null]"#, "not a JSON object"),
            ("", "not a JSON object"),
        ] {
            let found = match ClientMessage::parse(text) {
                Ok(message) => format!("{message:?}"),
                Err(why) => why.to_owned(),
            };
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }
}
