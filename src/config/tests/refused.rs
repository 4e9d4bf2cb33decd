//! What is refused: always by the full key, never with a secret.

use std::collections::BTreeMap;

use crate::config::bounds::ranges;
use crate::config::keys::{KEYS, Shape};
use crate::config::tests::{SESSION, load};
use crate::config::{ConfigError, Settings, Sources};

/// A text in the place of a secret: no error may show it.
const CANARY: &str = "geheimgeheim";

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    match load(text, variables) {
        Ok(_) => panic!("taken: {text} {variables:?}"),
        Err(error) => format!("{error}\n{error:?}"),
    }
}

#[test]
fn a_file_is_refused_by_the_key() {
    for (text, key) in [
        ("nope = 1", "nope"),
        ("[nope]\na = 1", "nope"),
        ("server = 1", "server"),
        ("[server]\nnope = 1", "server.nope"),
        ("[server.workers]\na = 1", "server.workers"),
        ("\"server.workers\" = 4", "server.workers"),
        ("[server]\nworkers = 99999999999999999999", "server.workers"),
        ("[server]\nworkers = -1", "server.workers"),
        ("[server]\nworkers = 1979-05-27", "server.workers"),
        (
            "[server]\npublic_addr = \"localhost\"",
            "server.public_addr",
        ),
        (
            "[server]\npublic_addr = \"127.0.0.1:8081\"",
            "server.internal_addr",
        ),
        (
            "[server]\nallowed_origins = \"https://a.example\"",
            "server.allowed_origins",
        ),
        ("[server]\nallowed_origins = [1]", "server.allowed_origins"),
        (
            "[server]\nallowed_origins = [\"*\", \"https://a.example/\"]",
            "server.allowed_origins[1]",
        ),
        (
            "[server]\nallowed_origins = [\"a.example\"]",
            "server.allowed_origins[0]",
        ),
        (
            "[server]\nallowed_origins = [\"https://*.example\"]",
            "server.allowed_origins[0]",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/33\"]",
            "server.trusted_proxies[1]",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.1\"]",
            "server.trusted_proxies[0]",
        ),
        ("[database]\nurl = \"mysql://h/db\"", "database.url"),
        (
            "[database]\nurl = \"sqlite://x.db?mode=ro\"",
            "database.url",
        ),
        ("[database]\nurl = \"sqlite://x.db\\n\"", "database.url"),
        (
            "[database]\nurl = \"postgres://h/db?pgbouncer=true\"",
            "database.url",
        ),
        (
            "[database]\nurl = \"postgres://h/db?options=-c%20search_path%3Dx\"",
            "database.url",
        ),
        ("[database]\nschema = \"\"", "database.schema"),
        ("[database]\nschema = \"a b\"", "database.schema"),
        ("[database]\nschema = \"pg_catalog\"", "database.schema"),
        ("[database]\nschema = \"$user\"", "database.schema"),
        ("[database]\nwriters = 2", "database.writers"),
        ("[database]\nwriters = 0", "database.writers"),
        (
            "[database]\nmigrate_on_start = 1",
            "database.migrate_on_start",
        ),
        (
            "[pacing]\ndirect_kinds = [\"deposit\", \"refund\"]",
            "pacing.direct_kinds[1]",
        ),
        (
            "[limits]\nws_messages_per_s = 4294967296",
            "limits.ws_messages_per_s",
        ),
        (
            "[auth]\ntelegram_identity = \"both\"",
            "auth.telegram_identity",
        ),
        (
            "[auth]\ntelegram_bot_token = \"1:a\"",
            "auth.telegram_identity",
        ),
        ("[auth]\ntelegram_bot_id = 1", "auth.telegram_identity"),
        (
            "[auth]\nsession_user_claim = \"\"",
            "auth.session_user_claim",
        ),
        (
            "[auth]\nsession_user_claim = \"exp\"",
            "auth.session_user_claim",
        ),
        (
            "[auth]\ntelegram_bot_id = 0\ntelegram_identity = \"linked\"",
            "auth.telegram_bot_id",
        ),
        (
            "[auth]\ntelegram_bot_id = 9007199254740992\ntelegram_identity = \"linked\"",
            "auth.telegram_bot_id",
        ),
        (
            "[auth]\ntelegram_bot_id = 2\ntelegram_bot_token = \"1:a\"\ntelegram_identity = \"linked\"",
            "auth.telegram_bot_id",
        ),
        ("[cluster]\nurl = \"nats://h\"", "cluster.url"),
        ("[cluster]\nurl = \"nats://u:p@h\"", "cluster.url[0]"),
        (
            "[cluster]\nurl = [\"nats://h\", \"https://h\"]",
            "cluster.url[1]",
        ),
        ("[cluster]\nname = \"a.b\"", "cluster.name"),
        ("[cluster]\nname = \"\"", "cluster.name"),
        ("[cluster]\nnode = \"a b\"", "cluster.node"),
        ("[cluster]\nreads = \"cache\"", "cluster.reads"),
        ("[currencies]", "currencies"),
        ("[currencies]\nTON = 9", "currencies.TON"),
        ("[currencies.TON]", "currencies.TON"),
        ("[currencies.TON]\ndecimal = 9", "currencies.TON.decimal"),
        ("[currencies.TON]\ndecimals = 19", "currencies.TON.decimals"),
        (
            "[currencies.TON]\ndecimals = 256",
            "currencies.TON.decimals",
        ),
        ("[currencies.ton]\ndecimals = 9", "currencies.ton"),
        ("[currencies.\"A.B\"]\ndecimals = 9", "currencies.A.B"),
    ] {
        let error = refused(text, &[]);
        assert!(error.contains(&format!("{key}:")), "{key} in: {error}");
    }
}

#[test]
fn each_key_of_a_file_takes_only_its_own_type() {
    for (key, shape) in KEYS {
        let (section, name) = key.split_once('.').expect("every key has a section");
        let right = [
            ("1", Shape::Integer),
            ("true", Shape::Boolean),
            ("\"text\"", Shape::Text),
            ("[\"text\"]", Shape::Texts),
            ("1.5", Shape::Integer),
            ("\"1\"", Shape::Integer),
            ("{ name = \"a\", token = \"b\" }", Shape::Texts),
            ("[[\"text\"]]", Shape::Texts),
            ("1979-05-27", Shape::Text),
        ];
        for (index, (literal, of)) in right.into_iter().enumerate() {
            let takes = match shape {
                Shape::Tokens | Shape::Accounts => of == Shape::Texts && index < 4,
                Shape::Text => of == Shape::Text && index < 4 || literal == "\"1\"",
                Shape::Urls => {
                    matches!(of, Shape::Text | Shape::Texts) && index < 4 || literal == "\"1\""
                }
                shape => *shape == of && index < 4,
            };
            let loaded = load(&format!("[{section}]\n{name} = {literal}"), &[]);
            let wrong_type =
                matches!(&loaded, Err(ConfigError::WrongType { key: named, .. }) if named == key);
            assert_eq!(wrong_type, !takes, "{key} = {literal}: {loaded:?}");
        }
    }
}

/// For every key that takes strings, in a file and in the environment, also in each item of a list.
#[test]
fn every_string_is_one_line_without_space_around_it() {
    for (key, shape) in KEYS {
        let is_list = match shape {
            Shape::Integer | Shape::Boolean => continue,
            Shape::Text => false,
            Shape::Texts | Shape::Urls | Shape::Tokens | Shape::Accounts => true,
        };
        let (section, name) = key.split_once('.').expect("every key has a section");
        let variable = format!("BALANCE_{section}__{name}").to_uppercase();
        for spoiled in [
            format!("{CANARY}\n"),
            format!("{CANARY}\r\n"),
            format!("\n{CANARY}"),
            format!(" {CANARY}"),
            format!("{CANARY} "),
            format!("{CANARY}\t"),
            format!("{CANARY}\u{a0}"),
            format!("\u{feff}{CANARY}"),
            format!("{CANARY}\n{CANARY}"),
            format!("{CANARY}\u{2028}{CANARY}"),
            format!("{CANARY}\0"),
            format!("{CANARY}\u{1b}[1m{CANARY}"),
            "\n".to_owned(),
            " ".to_owned(),
        ] {
            let literal = toml::Value::String(spoiled.clone()).to_string();
            let (value, place) = if is_list {
                (format!("[\"a\", {literal}]"), format!("{key}[1]"))
            } else {
                (literal.clone(), (*key).to_owned())
            };
            let wanted = |place: &str| format!("{place}: must be one line without white space");
            let of_file = refused(&format!("[{section}]\n{name} = {value}"), &[]);
            assert!(
                of_file.contains(&wanted(&place)) && !of_file.contains(CANARY),
                "{key} = {literal}: {of_file}"
            );
            let of_variable = refused("", &[(&variable, &spoiled)]);
            assert!(
                of_variable.contains(&wanted(key)) && !of_variable.contains(CANARY),
                "{variable}={literal}: {of_variable}"
            );
        }
        if is_list {
            let error = refused("", &[(&variable, "a,b\n,c")]);
            assert!(
                error.contains(&format!("{key}: must be one line")),
                "{error}"
            );
            let error = refused("", &[(&variable, "a,\u{a0}b,c")]);
            assert!(
                error.contains(&format!("{key}[1]: must be one line")),
                "{error}"
            );
        }
    }
    for field in ["name", "token"] {
        let other = if field == "name" { "token" } else { "name" };
        let text = format!("[auth]\nadmin_tokens = [{{ {field} = \"a\\n\", {other} = \"b\" }}]");
        let error = refused(&text, &[]);
        let key = format!("auth.admin_tokens[0].{field}: must be one line");
        assert!(error.contains(&key), "{error}");
    }
}

#[test]
fn numbers_outside_their_bounds_are_refused() {
    let defaults = Settings::load(&Sources::default()).expect("valid");
    for (key, _, range) in ranges(&defaults) {
        let (section, name) = key.split_once('.').expect("every key has a section");
        let beside = match key {
            "database.writers" => "url = \"postgres://h/db\"\n",
            "canary.every_s" => "user_id = 1\n",
            "auth.telegram_bot_id" => "telegram_identity = \"linked\"\n",
            _ => "",
        };
        let with = |value: i128| load(&format!("[{section}]\n{beside}{name} = {value}"), &[]);
        let (least, most) = (i128::from(*range.start()), i128::from(*range.end()));
        assert!(
            with(least).is_ok() && with(most).is_ok(),
            "{key}: {range:?} should be possible"
        );
        for beyond in [
            least - 1,
            most + 1,
            -1,
            i128::from(i64::MAX),
            i128::from(u64::MAX),
        ] {
            let error = with(beyond).expect_err("outside").to_string();
            assert!(
                error.contains(&format!("{key}: ")),
                "{key} = {beyond}: {error}"
            );
        }
    }
}

#[test]
fn a_variable_is_refused_by_the_key() {
    for (name, value, key) in [
        ("BALANCE_SERVER__NOPE", "1", "server.nope"),
        ("BALANCE_NOPE", "1", "nope"),
        ("BALANCE_", "1", ""),
        ("BALANCE_SERVER", "1", "server"),
        ("BALANCE_SERVER_WORKERS", "1", "server_workers"),
        ("BALANCE_SERVER__WORKERS__", "1", "server.workers."),
        ("BALANCE_server__workers", "1", "server__workers"),
        ("BALANCE_SERVER__WORKERS", "", "server.workers"),
        ("BALANCE_SERVER__WORKERS", "1.0", "server.workers"),
        ("BALANCE_SERVER__WORKERS", "true", "server.workers"),
        ("BALANCE_SERVER__WORKERS", "-1", "server.workers"),
        ("BALANCE_SERVER__WORKERS", "0", "server.workers"),
        (
            "BALANCE_SERVER__ALLOWED_ORIGINS",
            "*,",
            "server.allowed_origins[1]",
        ),
        (
            "BALANCE_SERVER__TRUSTED_PROXIES",
            "::1/128,localhost",
            "server.trusted_proxies[1]",
        ),
        (
            "BALANCE_DATABASE__MIGRATE_ON_START",
            "yes",
            "database.migrate_on_start",
        ),
        ("BALANCE_CURRENCIES__ton__DECIMALS", "9", "currencies.ton"),
        ("BALANCE_CURRENCIES__TON__NAME", "9", "currencies.ton.name"),
        (
            "BALANCE_CURRENCIES__TON__DECIMALS",
            "x",
            "currencies.TON.decimals",
        ),
        ("BALANCE_AUTH__METRICS_TOKEN", "", "auth.metrics_token"),
    ] {
        let error = refused("", &[(name, value)]);
        assert!(
            error.contains(&format!("{key}:")),
            "{name}={value}: {error}"
        );
    }
}

#[test]
fn a_wrong_value_is_refused_even_below_a_right_one() {
    let error = refused(
        "[server]\nworkers = \"4\"",
        &[("BALANCE_SERVER__WORKERS", "4")],
    );
    assert!(
        error.contains("server.workers: must be an integer, not negative"),
        "{error}"
    );
    assert!(
        refused("server = 4", &[("BALANCE_SERVER__WORKERS", "4")])
            .contains("server: must be a section")
    );
}

#[test]
fn a_refused_secret_is_named_and_not_shown() {
    let long = CANARY.repeat(200);
    for (line, key) in [
        (
            format!("session_secrets = [\"{SESSION}\", \"{CANARY}\"]"),
            "auth.session_secrets[1]",
        ),
        ("session_secrets = [\"\"]".into(), "auth.session_secrets[0]"),
        (
            format!("session_secrets = [\"{long}\"]"),
            "auth.session_secrets[0]",
        ),
        (
            format!("session_secrets = \"{CANARY}\""),
            "auth.session_secrets",
        ),
        (
            format!("webhook_secrets = [\"{CANARY}\"]"),
            "auth.webhook_secrets[0]",
        ),
        (
            format!("webhook_secrets = [\"whsec_{CANARY}\"]"),
            "auth.webhook_secrets[0]",
        ),
        (
            format!("webhook_secrets = [\"whsec_{CANARY}{CANARY}!\"]"),
            "auth.webhook_secrets[0]",
        ),
        (
            format!("webhook_secrets = [\"whsec_{long}\"]"),
            "auth.webhook_secrets[0]",
        ),
        ("webhook_secrets = [\"\"]".into(), "auth.webhook_secrets[0]"),
        (
            format!("webhook_secrets = {{ a = \"{CANARY}\" }}"),
            "auth.webhook_secrets",
        ),
        (format!("admin_tokens = \"{CANARY}\""), "auth.admin_tokens"),
        ("admin_tokens = [\"\"]".into(), "auth.admin_tokens[0]"),
        (
            format!("admin_tokens = [\"{CANARY} {CANARY}\"]"),
            "auth.admin_tokens[0]",
        ),
        (
            format!("admin_tokens = [\"{long}\"]"),
            "auth.admin_tokens[0]",
        ),
        (
            format!("admin_tokens = [{{ name = \"a\", tokn = \"{CANARY}\" }}]"),
            "auth.admin_tokens[0]",
        ),
        (
            format!("admin_tokens = [{{ token = \"{CANARY}\" }}]"),
            "auth.admin_tokens[0]",
        ),
        (
            "admin_tokens = [{ name = \"a\" }]".into(),
            "auth.admin_tokens[0]",
        ),
        (
            format!(
                "admin_tokens = [\"{CANARY}\", {{ name = \"admin-1\", token = \"{CANARY}\" }}]"
            ),
            "auth.admin_tokens[1]",
        ),
        (
            format!("metrics_token = \"{CANARY}é\""),
            "auth.metrics_token",
        ),
        (
            format!("telegram_identity = \"{CANARY}\""),
            "auth.telegram_identity",
        ),
        ("metrics_token = \"\"".into(), "auth.metrics_token"),
        (
            format!("metrics_token = [\"{CANARY}\"]"),
            "auth.metrics_token",
        ),
        (
            format!("telegram_bot_token = \"{CANARY}\\n\"\ntelegram_identity = \"linked\""),
            "auth.telegram_bot_token",
        ),
    ] {
        let error = refused(&format!("[auth]\n{line}"), &[]);
        assert!(error.contains(&format!("{key}: ")), "{key} in: {error}");
        assert!(!error.contains(CANARY), "a secret is shown: {error}");
    }
    let error = refused(
        "",
        &[(
            "BALANCE_DATABASE__URL",
            &format!("postgres://u:{CANARY}@{CANARY}@h/db"),
        )],
    );
    assert!(
        error.contains("database.url: ") && !error.contains(CANARY),
        "{error}"
    );
}

#[test]
fn too_many_of_anything_is_refused() {
    let many = |item: &str, count: usize| vec![item; count].join(",");
    for (name, value, key) in [
        (
            "BALANCE_AUTH__SESSION_SECRETS",
            many(SESSION, 17),
            "auth.session_secrets",
        ),
        (
            "BALANCE_AUTH__WEBHOOK_SECRETS",
            many(crate::config::tests::WEBHOOK, 17),
            "auth.webhook_secrets",
        ),
        (
            "BALANCE_AUTH__ADMIN_TOKENS",
            many("t", 65),
            "auth.admin_tokens",
        ),
        (
            "BALANCE_SERVER__ALLOWED_ORIGINS",
            many("*", 257),
            "server.allowed_origins",
        ),
        (
            "BALANCE_SERVER__TRUSTED_PROXIES",
            many("::1/128", 257),
            "server.trusted_proxies",
        ),
        ("BALANCE_CLUSTER__URL", many("nats://h", 17), "cluster.url"),
    ] {
        assert!(
            refused("", &[(name, &value)]).contains(&format!("{key}: must have at most")),
            "{key}"
        );
    }
}

#[test]
fn what_a_cluster_needs_is_named_by_the_key() {
    for (lines, key) in [
        ("silence_ms = 749", "cluster.silence_ms"),
        ("beat_ms = 334", "cluster.silence_ms"),
        ("user = \"\"", "cluster.user"),
        ("user = \"node\"", "cluster.password"),
        ("user = \"node\"\npassword = \"\"", "cluster.password"),
        ("password = \"geheimgeheim\"", "cluster.user"),
        (
            "user = \"node\"\npassword = \"geheimgeheim\"\ncredentials_file = \"node.creds\"",
            "cluster.credentials_file",
        ),
        ("tls_cert_file = \"node.pem\"", "cluster.tls_key_file"),
        ("tls_key_file = \"node.key\"", "cluster.tls_cert_file"),
    ] {
        let of =
            |url: &str| format!("[database]\nurl = \"postgres://h/db\"\n[cluster]\n{url}{lines}");
        let error = refused(&of("url = \"nats://h\"\n"), &[]);
        assert!(error.contains(&format!("{key}: ")), "{key} in: {error}");
        assert!(!error.contains(CANARY), "a secret is shown: {error}");
        load(&of(""), &[]).unwrap_or_else(|error| panic!("nothing needs it: {lines}: {error}"));
    }
}

#[test]
fn a_broken_file_is_named_without_its_text() {
    for (text, place) in [
        (format!("[auth]\nsession_secrets = [\"{CANARY}]"), "line 2"),
        (format!("[auth]\nmetrics_token = {CANARY}"), "line 2"),
        ("[server]\nworkers = 1\nworkers = 2".into(), "line 3"),
    ] {
        let error = refused(&text, &[]);
        assert!(error.contains(place), "{place} in: {error}");
        assert!(!error.contains(CANARY), "a secret is shown: {error}");
    }
    let missing = Sources {
        file: Some("/nonexistent/balance.toml".into()),
        ..Sources::default()
    };
    let error = Settings::load(&missing).expect_err("no such file");
    assert!(
        error.to_string().starts_with("/nonexistent/balance.toml: "),
        "{error}"
    );
    assert!(refused(&"#".repeat((1 << 20) + 1), &[]).contains("larger than"));
}

#[test]
fn all_missing_secrets_are_named_at_once() {
    let none = Settings::load(&Sources {
        environment: BTreeMap::new(),
        ..Sources::default()
    })
    .expect("valid");
    let error = none
        .require_serve_secrets()
        .expect_err("nothing is set")
        .to_string();
    for key in [
        "auth.webhook_secrets",
        "auth.session_secrets",
        "auth.admin_tokens",
        "BALANCE_AUTH__ADMIN_TOKENS",
    ] {
        assert!(error.contains(key), "{error}");
    }
    let some = load("", &[("BALANCE_AUTH__SESSION_SECRETS", SESSION)]).expect("valid");
    some.require_session_secret().expect("is set");
    let error = some
        .require_serve_secrets()
        .expect_err("two are missing")
        .to_string();
    assert!(!error.contains("session_secrets"), "{error}");
}
