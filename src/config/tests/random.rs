//! Random configurations: none panics, what is accepted is within its bounds, and what is refused is named without a
//! secret.

use proptest::prelude::*;

use crate::config::bounds::ranges;
use crate::config::keys::{KEYS, Shape};
use crate::config::tests::{SESSION, WEBHOOK, load};
use crate::config::{ConfigError, Schema, Settings};
use crate::tests::{check_part, spoiled_text};

/// Reading files takes longer than parsing, so there are so many times fewer cases.
const FEWER: u32 = 4;

const LITERALS: &[&str] = &[
    "0",
    "1",
    "2",
    "64",
    "-1",
    "1_000",
    "0x10",
    "99999999999999999999",
    "1.5",
    "inf",
    "true",
    "false",
    "\"\"",
    "\"1\"",
    "\"127.0.0.1:9\"",
    "\"[::]:0\"",
    "\"localhost\"",
    "\"sqlite://x.db\"",
    "\"postgres://u:geheim@h/db\"",
    "\"postgres://u:geheim%zz@h/db\"",
    "\"mysql://u:geheim@h/db\"",
    "\"linked\"",
    "\"geheim\"",
    "'''geheimgeheimgeheimgeheimgeheimgeheim'''",
    "[]",
    "[\"deposit\", \"reward\"]",
    "[\"geheim\"]",
    "[\"geheimgeheimgeheimgeheimgeheimgeheim\"]",
    "[\"whsec_Z2VoZWltZ2VoZWltZ2VoZWlt\"]",
    "[\"*\"]",
    "[\"https://a.example\", \"geheim\"]",
    "[{ name = \"a\", token = \"geheim\" }]",
    "[{ token = \"geheim\" }]",
    "{ a = 1 }",
    "1979-05-27",
    "[[\"a\"]]",
    "[1]",
];

const OTHER_KEYS: &[&str] = &[
    "currencies.TON.decimals",
    "currencies.ton.decimals",
    "currencies.A.decimals",
    "currencies.A.name",
    "server.nope",
    "nope",
];

/// A value of a key that is often accepted.
fn right(key: &str, shape: Shape) -> &'static str {
    match (key, shape) {
        ("server.public_addr" | "server.internal_addr", _) => "\"127.0.0.1:0\"",
        ("database.schema", _) => "\"ledger\"",
        ("auth.session_user_claim", _) => "\"user\"",
        ("database.url", _) => "\"postgres://u:geheim@h/db\"",
        ("cluster.url", _) => "[\"nats://h\"]",
        ("cluster.name" | "cluster.node", _) => "\"n1\"",
        ("log.format", _) => "\"json\"",
        ("cluster.reads", _) => "\"memory\"",
        ("watcher.state_file", _) => "\"state.db\"",
        ("watcher.accounts", _) => "[\"EQAvDfWFG0oYX19jwNDNBBL1rKNT9XfaGP9HyTb5nb2Eml6y\"]",
        ("auth.telegram_identity", _) => "\"user_id\"",
        ("auth.webhook_secrets", _) => "[\"whsec_Z2VoZWltZ2VoZWltZ2VoZWlt\"]",
        ("auth.session_secrets", _) => "[\"geheimgeheimgeheimgeheimgeheimgeheim\"]",
        ("pacing.direct_kinds" | "server.allowed_origins" | "server.trusted_proxies", _) => "[]",
        (_, Shape::Integer) => "16",
        (_, Shape::Boolean) => "true",
        (_, Shape::Text) => "\"geheim\"",
        (_, Shape::Texts | Shape::Urls | Shape::Tokens | Shape::Accounts) => "[\"geheim\"]",
    }
}

fn without_secrets(literal: &str) -> String {
    literal.replace("geheim", "uid").replace("Z2VoZWlt", "uid")
}

/// Keys, each once, with right and any values.
fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let known = (
        prop::sample::select(KEYS),
        prop::sample::select(LITERALS),
        prop::bool::weighted(0.7),
    );
    let known = known.prop_map(|((key, shape), literal, is_right)| {
        (key, if is_right { right(key, shape) } else { literal })
    });
    let other = (
        prop::sample::select(OTHER_KEYS),
        prop::sample::select(LITERALS),
    );
    let pairs = prop::collection::vec(prop_oneof![12 => known, 1 => other], 0..6);
    pairs.prop_map(|mut pairs| {
        pairs.sort_unstable();
        pairs.dedup_by_key(|(key, _)| *key);
        pairs
            .into_iter()
            .map(|(key, literal)| match key {
                // Shown as they are, and no place for a secret.
                "auth.session_user_claim"
                | "database.schema"
                | "watcher.state_file"
                | "cluster.name"
                | "cluster.node"
                | "cluster.user"
                | "cluster.credentials_file"
                | "cluster.tls_ca_file"
                | "cluster.tls_cert_file"
                | "cluster.tls_key_file" => (key.to_owned(), without_secrets(literal)),
                // Of an address the user is a secret, the host is not.
                "watcher.api_url" | "watcher.internal_url" if !literal.contains("u:geheim") => {
                    (key.to_owned(), without_secrets(literal))
                }
                _ => (key.to_owned(), literal.to_owned()),
            })
            .collect()
    })
}

/// As a file, and as environment variables.
fn split(pairs: &[(String, String)], is_variable: u8) -> (String, Vec<(String, String)>) {
    let (mut file, mut variables) = (String::new(), Vec::new());
    for (index, (key, literal)) in pairs.iter().enumerate() {
        if is_variable >> (index % 8) & 1 == 0 {
            file.push_str(&format!("{key} = {literal}\n"));
        } else {
            let name = key
                .split('.')
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .join("__")
                .to_uppercase();
            variables.push((
                format!("BALANCE_{name}"),
                literal
                    .trim_matches(['[', ']', '"', '\''])
                    .replace("\", \"", ","),
            ));
        }
    }
    (file, variables)
}

fn loaded(file: &str, variables: &[(String, String)]) -> Result<Settings, ConfigError> {
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    load(file, &variables)
}

/// What must hold for accepted settings.
fn assert_sound(settings: &Settings) -> Result<(), TestCaseError> {
    for (key, value, range) in ranges(settings) {
        prop_assert!(range.contains(&value), "{} = {}", key, value);
    }
    let (server, auth, database) = (&settings.server, &settings.auth, &settings.database);
    prop_assert!(server.public_addr != server.internal_addr || server.public_addr.port() == 0);
    prop_assert!(!database.url.is_sqlite() || database.writers == 1);
    let cluster = &settings.cluster;
    prop_assert!(!(cluster.is_on() && database.url.is_sqlite()));
    prop_assert!(!cluster.is_on() || cluster.silence_ms >= 3 * cluster.beat_ms);
    prop_assert!(
        auth.session_secrets
            .iter()
            .all(|secret| secret.expose().len() >= 32)
    );
    prop_assert!(
        auth.webhook_secrets
            .iter()
            .all(|secret| secret.as_bytes().len() >= 16)
    );
    prop_assert!(
        auth.admin_tokens
            .iter()
            .all(|admin| !admin.name.is_empty() && !admin.token.expose().is_empty())
    );
    prop_assert!(auth.telegram_bot_token.is_none() || auth.telegram_identity.is_some());
    prop_assert!(
        settings
            .currencies
            .iter()
            .all(|(_, currency)| currency.decimals <= 18)
    );
    Ok(())
}

/// Checks that nothing printed of them has a secret.
fn assert_masked(settings: &Settings) -> Result<(), TestCaseError> {
    // The name of a schema is no secret.
    let mut settings = settings.clone();
    settings.database.schema = Schema::default();
    for shown in [settings.to_masked_toml(), format!("{settings:?}")] {
        prop_assert!(
            !shown.contains("geheim") && !shown.contains("Z2VoZWlt"),
            "a secret in {}",
            shown
        );
    }
    Ok(())
}

#[test]
fn a_random_configuration_is_sound_or_refused_by_a_key_that_was_set() {
    check_part(FEWER, (pairs(), any::<u8>()), |(pairs, is_variable)| {
        let (file, variables) = split(&pairs, is_variable);
        match loaded(&file, &variables) {
            Ok(settings) => {
                assert_sound(&settings)?;
                assert_masked(&settings)?;
            }
            Err(error) => {
                let text = format!("{error}\n{error:?}");
                prop_assert!(
                    !text.contains("geheim") && !text.contains("Z2VoZWlt"),
                    "a secret in {}",
                    text
                );
                let section =
                    |key: &str| key.split(['.', '[']).next().unwrap_or_default().to_owned();
                let key = match &error {
                    ConfigError::UnknownKey { key, .. }
                    | ConfigError::WrongType { key, .. }
                    | ConfigError::Invalid { key, .. } => key,
                    other => return Err(TestCaseError::fail(format!("{other}\n{file}"))),
                };
                let is_of_one = pairs.iter().any(|(set, _)| section(set) == section(key));
                prop_assert!(is_of_one, "{} is of none of {:?}", error, pairs);
            }
        }
        Ok(())
    });
}

#[test]
fn a_spoiled_configuration_file_is_sound_or_refused_with_a_reason() {
    let file = pairs().prop_map(|pairs| {
        let secrets = format!(
            "[auth]\nwebhook_secrets = [\"{WEBHOOK}\"]\nsession_secrets = [\"{SESSION}\"]\n"
        );
        let (mut file, _) = split(
            &pairs
                .into_iter()
                .filter(|(key, _)| !key.starts_with("auth."))
                .collect::<Vec<_>>(),
            0,
        );
        file.push_str(&secrets);
        file
    });
    let noise = "[\\[\\]a-z=.\"'#{}0-9,\n ]{0,80}";
    let deep =
        (1_usize..400).prop_map(|depth| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth)));
    check_part(
        FEWER,
        prop_oneof![6 => spoiled_text(file).boxed(), 2 => noise.boxed(), 1 => deep.boxed()],
        |file| match load(&file, &[]) {
            Ok(settings) => assert_sound(&settings),
            Err(error) => {
                prop_assert!(error.to_string().len() > 10, "{}", error);
                Ok(())
            }
        },
    );
}
