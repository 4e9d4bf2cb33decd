//! Messages of WebSocket clients, compared with a model over plain JSON.

use proptest::prelude::*;

use crate::http::extract::sign_in::Credentials;
use crate::http::session::messages::ClientMessage;
use crate::tests::{Members, check, spoiled_text};

const NAMES: &[&str] = &[
    "type",
    "id",
    "token",
    "init_data",
    "version",
    "user_id",
    "Type",
    "\\u0074ype",
];
const VALUES: &[&str] = &[
    r#""auth""#,
    r#""refresh""#,
    r#""ping""#,
    r#""displayed""#,
    r#""pong""#,
    r#""\u0070ing""#,
    r#""t""#,
    r#""""#,
    "7",
    "-1",
    "0",
    "1.5",
    "3.0",
    "1e2",
    "1e999",
    "9223372036854775807",
    "9223372036854775808",
    "null",
    "true",
    "[1]",
    "{}",
    r#""\ud800""#,
];
const KNOWN: [&str; 5] = ["type", "id", "token", "init_data", "version"];

fn message() -> impl Strategy<Value = String> {
    let good = prop::sample::select(
        &[
            r#"{"type":"auth","token":"a.b.c"}"#,
            r#"{"type":"auth","init_data":"user=1"}"#,
            r#"{"type":"refresh","id":7}"#,
            r#"{"type":"ping","id":"a"}"#,
            r#"{"type":"displayed","version":44}"#,
            r#"["ping",1,null,null,null]"#,
        ][..],
    );
    let member = (prop::sample::select(NAMES), prop::sample::select(VALUES));
    let made = prop::collection::vec(member, 0..5).prop_map(|members| {
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    });
    prop_oneof![2 => made.clone(), 2 => spoiled_text(made), 3 => spoiled_text(good.prop_map(str::to_owned)), 1 => "\\PC{0,60}"]
}

/// The meaning of a message; `None` when it is not valid.
fn model(text: &str) -> Option<String> {
    let members = Members::read(text.as_bytes())?;
    // `null` counts as absent.
    let given = |name: &str| members.raw(name).filter(|raw| *raw != "null");
    let value = |name: &str| given(name).and_then(|_| members.value(name));
    let is_text =
        |name: &str| given(name).is_none() || value(name).is_some_and(|value| value.is_string());
    let is_id = |raw: &str| raw.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    let version = value("version").and_then(|version| version.as_i64());
    let fits = !members.has_repeated(|name| KNOWN.contains(&name))
        && given("id").is_none_or(is_id)
        && is_text("token")
        && is_text("init_data")
        && (given("version").is_none() || version.is_some());
    let message_type = value("type")
        .and_then(|value| value.as_str().map(str::to_owned))
        .filter(|_| fits)?;
    let id = || given("id").unwrap_or_default().to_owned();
    match message_type.as_str() {
        "auth" if given("token").is_some() && given("init_data").is_none() => {
            // White space round a token is none of it.
            Some(format!("token {}", value("token")?.as_str()?.trim_ascii()))
        }
        "auth" if given("token").is_none() && given("init_data").is_some() => {
            Some(format!("init_data {}", value("init_data")?.as_str()?))
        }
        "refresh" => Some(format!("refresh {}", id())),
        "ping" => Some(format!("ping {}", id())),
        "displayed" => version
            .filter(|version| *version >= 0)
            .map(|version| format!("displayed {version}")),
        _ => None,
    }
}

#[test]
fn a_message_is_read_as_the_model_reads_it_or_refused() {
    check(message(), |text| {
        let shown = |id: Option<Box<serde_json::value::RawValue>>| {
            id.map(|id| id.get().to_owned()).unwrap_or_default()
        };
        let found = match ClientMessage::parse(&text) {
            Ok(ClientMessage::Auth(Credentials::Token(token))) => Some(format!("token {token}")),
            Ok(ClientMessage::Auth(Credentials::InitData(init_data))) => {
                Some(format!("init_data {init_data}"))
            }
            Ok(ClientMessage::Refresh { id }) => Some(format!("refresh {}", shown(id))),
            Ok(ClientMessage::Ping { id }) => Some(format!("ping {}", shown(id))),
            Ok(ClientMessage::Displayed { version }) => Some(format!("displayed {version}")),
            Err(why) => {
                prop_assert!(!why.is_empty());
                None
            }
        };
        prop_assert_eq!(found, model(&text), "{}", text);
        Ok(())
    });
}
