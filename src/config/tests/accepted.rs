//! What is accepted: defaults, layers, lists, currencies; and how settings are shown.

use crate::config::bounds::ranges;
use crate::config::keys::{KEYS, Shape};
use crate::config::tests::{SESSION, WEBHOOK, load, map};
use crate::config::{DatabaseUrl, Settings, Sources, TelegramIdentity};
use crate::domain::{Currencies, Kind};

#[test]
fn nothing_set_means_the_defaults() {
    let settings = Settings::load(&Sources::default()).expect("defaults are valid");
    let shown = settings.to_masked_toml();
    let cores = format!(
        "workers = {}",
        std::thread::available_parallelism().expect("known")
    );
    for line in [
        "public_addr = \"127.0.0.1:8080\"",
        "internal_addr = \"127.0.0.1:8081\"",
        cores.as_str(),
        "shutdown_timeout_s = 10",
        "allowed_origins = []",
        "trusted_proxies = []",
        "url = \"sqlite://balance.db\"",
        "schema = \"public\"",
        "pool_size = 4",
        "writers = 1",
        "migrate_on_start = true",
        "timeout_ms = 5000",
        "debounce_ms = 1500",
        "min_interval_ms = 5000",
        "direct_interval_ms = 100",
        "direct_kinds = [\"deposit\", \"withdrawal\", \"adjustment\", \"reversal\"]",
        "ttl_s = 300",
        "max_entries = 10000",
        "sweep_s = 60",
        "ttl_s = 60",
        "stale_while_revalidate_s = 30",
        "min_age_s = 3",
        "telegram_max_age_s = 3600",
        "session_ttl_s = 3600",
        "webhook_tolerance_s = 300",
        "sessions_per_user = 16",
        "sessions = 100000",
        "ws_message_bytes = 4096",
        "ws_messages_per_s = 20",
        "ws_messages_burst = 40",
        "auth_timeout_ms = 5000",
        "heartbeat_ms = 25000",
        "idle_timeout_ms = 60000",
        "write_timeout_ms = 10000",
        "keep_alive_s = 75",
        "session_user_claim = \"sub\"",
        "api_requests_per_s = 100",
        "api_requests_burst = 1000",
        "body_bytes = 65536",
        "batch_body_bytes = 16777216",
        "batch_entries = 10000",
        "queue_entries = 65536",
        "[currencies.TON]",
        "[currencies.UNI]",
        "decimals = 9",
        "auto_create = true",
        "format = \"text\"",
        "users_per_s = 10",
        "every_s = 0",
        "url = []",
        "name = \"balance\"",
        "beat_ms = 250",
        "silence_ms = 1000",
        "check_s = 30",
        "check_users_per_s = 20000",
        "reads = \"ledger\"",
        "watch_s = 10",
    ] {
        assert!(
            shown.lines().any(|shown| shown == line),
            "{line} in\n{shown}"
        );
    }
    assert_eq!(settings.warnings(), Vec::<&str>::new());
}

#[test]
fn every_number_has_bounds_and_every_key_is_documented() {
    let settings = Settings::load(&Sources::default()).expect("defaults are valid");
    let bounded = ranges(&settings);
    let page = include_str!("../../../docs/configuration.md");
    for (key, shape) in KEYS {
        assert!(
            page.contains(&format!("| `{key}` |")),
            "{key} is missing in docs/configuration.md"
        );
        assert_eq!(
            bounded.iter().any(|(bound, ..)| bound == key),
            *shape == Shape::Integer,
            "{key}"
        );
    }
    for (key, _, range) in bounded {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")))
            .expect("documented");
        let bounds = format!("| {} – {} |", range.start(), range.end());
        assert!(
            row.contains(&bounds),
            "{key}: the page should say {bounds}: {row}"
        );
    }
}

#[test]
fn later_layers_win() {
    let dir = tempfile::tempdir().expect("a directory");
    let (dev, file) = (dir.path().join("dev.toml"), dir.path().join("file.toml"));
    std::fs::write(
        &dev,
        "[cache]\nttl_s = 1\nsweep_s = 1\nmax_entries = 1\n[currencies.AAA]\ndecimals = 1",
    )
    .expect("");
    std::fs::write(
        &file,
        "[cache]\nsweep_s = 2\nmax_entries = 2\n[currencies.BBB]\ndecimals = 2",
    )
    .expect("written");
    let environment = map(&[("BALANCE_CACHE__MAX_ENTRIES", "3"), ("PATH", "/bin")]);
    let settings = Settings::load(&Sources {
        dev_file: Some(dev),
        file: Some(file),
        environment,
    })
    .expect("valid");
    let cache = &settings.cache;
    assert_eq!((cache.ttl_s, cache.sweep_s, cache.max_entries), (1, 2, 3));
    assert_eq!(
        settings.currencies,
        Currencies::new([("BBB".into(), 2)]).expect("valid")
    );
    assert_eq!(settings.limits.sessions, 100_000);
}

#[test]
fn every_key_can_be_set_in_the_environment() {
    let base = [
        ("BALANCE_DATABASE__URL", "postgres://base/db"),
        ("BALANCE_AUTH__TELEGRAM_IDENTITY", "user_id"),
        ("BALANCE_CANARY__USER_ID", "7"),
    ];
    let before = load("", &base).expect("valid").to_masked_toml();
    for (key, shape) in KEYS {
        let text = match (*key, shape) {
            ("server.public_addr" | "server.internal_addr", _) => "127.0.0.1:9000",
            ("database.url", _) => "postgres://h/db",
            ("pacing.direct_kinds", _) => "deposit, reward",
            ("server.allowed_origins", _) => "https://a.example, https://b.example:8443",
            ("server.trusted_proxies", _) => "10.0.0.0/8, ::1/128",
            ("auth.webhook_secrets", _) => WEBHOOK,
            ("auth.session_secrets", _) => SESSION,
            ("auth.telegram_identity", _) => "linked",
            ("log.format", _) => "json",
            ("canary.currency", _) => "UNI",
            ("canary.amount", _) => "0.5",
            ("cluster.url", _) => "nats://h",
            ("cluster.reads", _) => "memory",
            ("watcher.api_url", _) => "https://api.example/v3",
            ("watcher.internal_url", _) => "http://service.example:8081",
            ("watcher.metrics_addr", _) => "127.0.0.1:9100",
            ("watcher.user_pattern", _) => "id=([0-9]+)",
            ("watcher.min_amount", _) => "0.5",
            ("watcher.start", _) => "46000000000001",
            ("watcher.accounts", _) => "EQAvDfWFG0oYX19jwNDNBBL1rKNT9XfaGP9HyTb5nb2Eml6y",
            (_, Shape::Integer) => "64",
            (_, Shape::Boolean) => "false",
            _ => "token",
        };
        let name = format!("BALANCE_{}", key.to_uppercase().replace('.', "__"));
        let variables = [&base[..], &[(name.as_str(), text)]].concat();
        let after = load("", &variables)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .to_masked_toml();
        assert_ne!(before, after, "{name} changes nothing");
    }
}

#[test]
fn lists_in_the_environment_are_separated_by_commas() {
    let settings = load(
        "[auth]\nadmin_tokens = [\"of-the-file\"]",
        &[
            ("BALANCE_AUTH__ADMIN_TOKENS", "one, two"),
            ("BALANCE_PACING__DIRECT_KINDS", "deposit,reward"),
            ("BALANCE_SERVER__ALLOWED_ORIGINS", ""),
        ],
    )
    .expect("valid");
    let admins: Vec<_> = settings
        .auth
        .admin_tokens
        .iter()
        .map(|a| (a.name.as_str(), a.token.expose()))
        .collect();
    assert_eq!(admins, [("admin-1", "one"), ("admin-2", "two")]);
    assert_eq!(settings.pacing.direct_kinds, [Kind::Deposit, Kind::Reward]);
    assert!(settings.server.allowed_origins.is_empty());
    assert!(
        load("", &[("BALANCE_PACING__DIRECT_KINDS", "")])
            .expect("valid")
            .pacing
            .direct_kinds
            .is_empty()
    );
}

#[test]
fn origins_are_kept_in_the_form_of_browsers() {
    let text = "[server]\nallowed_origins = [\"https://App.example.org:443\", \"*\"]";
    let origins = load(text, &[]).expect("valid").server.allowed_origins;
    assert_eq!(origins, ["https://app.example.org", "*"]);
}

#[test]
fn admins_may_have_names() {
    let text = "[auth]\nadmin_tokens = [{ name = \"ops\", token = \"t1\" }, \"t2\"]";
    let admins = load(text, &[]).expect("valid").auth.admin_tokens;
    let admins: Vec<_> = admins
        .iter()
        .map(|admin| (admin.name.as_str(), admin.token.expose()))
        .collect();
    assert_eq!(admins, [("ops", "t1"), ("admin-2", "t2")]);
}

#[test]
fn currencies_are_replaced_by_a_file_and_changed_by_the_environment() {
    let section = "[currencies]\nSTARS = { decimals = 0 }";
    for (text, variables, expected) in [
        ("", &[][..], &[("TON", 9), ("UNI", 9)][..]),
        (section, &[], &[("STARS", 0)]),
        (
            "",
            &[("BALANCE_CURRENCIES__TON__DECIMALS", "6")],
            &[("TON", 6), ("UNI", 9)],
        ),
        (
            "",
            &[("BALANCE_CURRENCIES__STARS__DECIMALS", "0")],
            &[("STARS", 0), ("TON", 9), ("UNI", 9)],
        ),
        (
            section,
            &[("BALANCE_CURRENCIES__A__B__DECIMALS", "2")],
            &[("A__B", 2), ("STARS", 0)],
        ),
    ] {
        let settings = load(text, variables).expect("valid");
        let codes: Vec<_> = settings
            .currencies
            .iter()
            .map(|(_, c)| (c.code.as_str(), c.decimals))
            .collect();
        assert_eq!(codes, expected, "{text} {variables:?}");
    }
}

#[test]
fn writers_depend_on_the_database() {
    for (variables, writers) in [
        (&[][..], 1),
        (&[("BALANCE_DATABASE__URL", "postgres://h/db")], 2),
        (
            &[
                ("BALANCE_DATABASE__URL", "postgres://h/db"),
                ("BALANCE_DATABASE__WRITERS", "8"),
            ],
            8,
        ),
    ] {
        assert_eq!(
            load("", variables).expect("valid").database.writers,
            writers,
            "{variables:?}"
        );
    }
    let url = load("[database]\nurl = \"sqlite:///tmp/b.db\"", &[])
        .expect("valid")
        .database
        .url;
    assert_eq!(url, DatabaseUrl::Sqlite("/tmp/b.db".into()));
}

#[test]
fn telegram_takes_a_token_or_an_id_and_what_an_id_means() {
    let variables = [
        ("BALANCE_AUTH__TELEGRAM_BOT_TOKEN", "1:a"),
        ("BALANCE_AUTH__TELEGRAM_IDENTITY", "user_id"),
    ];
    let auth = load("", &variables).expect("valid").auth;
    assert_eq!(auth.telegram_identity, Some(TelegramIdentity::UserId));
    assert!(load("", &variables[1..]).is_ok());
    let by_id = [("BALANCE_AUTH__TELEGRAM_BOT_ID", "1"), variables[1]];
    assert_eq!(
        load("", &by_id).expect("valid").auth.telegram_bot_id,
        Some(1)
    );
    assert!(
        load("", &[variables[0], variables[1], by_id[0]]).is_ok(),
        "the id of the token's bot"
    );
}

#[test]
fn variables_that_kubernetes_sets_for_services_are_ignored() {
    let variables = [
        ("BALANCE_COORDINATOR_SERVICE_HOST", "10.0.0.1"),
        ("BALANCE_COORDINATOR_SERVICE_PORT", "80"),
        ("BALANCE_COORDINATOR_SERVICE_PORT_HTTP", "80"),
        ("BALANCE_COORDINATOR_PORT", "tcp://10.0.0.1:80"),
        ("BALANCE_COORDINATOR_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("BALANCE_COORDINATOR_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(load("", &variables).is_ok());
}

#[test]
fn nothing_that_is_printed_holds_a_secret() {
    let text = format!(
        "[database]\nurl = \"postgres://u:geheim1@h/db?sslpassword=geheim2\"\n[auth]\nmetrics_token = \"geheim3\"\n\
         webhook_secrets = [\"{WEBHOOK}\"]\nsession_secrets = [\"{SESSION}\"]\ntelegram_bot_token = \"geheim4\"\n\
         telegram_identity = \"linked\"\nadmin_tokens = [\"geheim5\", {{ name = \"ops\", token = \"geheim6\" }}]\n\
         [cluster]\nurl = \"nats://h\"\nuser = \"node\"\npassword = \"geheim7\""
    );
    let settings = load(&text, &[]).expect("valid");
    for shown in [
        settings.to_masked_toml(),
        format!("{settings:?}"),
        format!("{settings:#?}"),
    ] {
        for secret in ["geheim", SESSION, &WEBHOOK[6..]] {
            assert!(!shown.contains(secret), "{secret} in\n{shown}");
        }
        assert!(
            shown.contains("ops") && shown.contains("postgres://u:***@h/db?sslpassword=***"),
            "{shown}"
        );
    }
    let Some(secret) = settings.auth.session_secrets.first() else {
        panic!("one was set")
    };
    assert_eq!(
        (secret.to_string().as_str(), secret.expose()),
        ("***", SESSION)
    );
    assert_eq!(settings.auth.webhook_secrets[0].expose(), WEBHOOK);
    assert_eq!(settings.auth.webhook_secrets[0].as_bytes().len(), 24);
}

#[test]
fn a_cluster_has_one_server_or_several() {
    let postgres = "[database]\nurl = \"postgres://h/db\"\n[cluster]\n";
    let of = |line: &str, variables: &[(&str, &str)]| {
        let cluster = load(&format!("{postgres}{line}"), variables)
            .expect("valid")
            .cluster;
        let urls = cluster.url.iter().map(|url| url.as_str().to_owned());
        (cluster.is_on(), urls.collect::<Vec<_>>().join(" "))
    };
    let (one, both) = ("nats://a:4222", "nats://a:4222 tls://b:4443");
    for (line, variables, expected) in [
        ("", &[][..], ""),
        ("url = \"nats://a:4222\"", &[], one),
        ("url = [\"nats://a:4222\", \"tls://b:4443\"]", &[], both),
        ("url = []", &[], ""),
        (
            "",
            &[("BALANCE_CLUSTER__URL", "nats://a:4222, tls://b:4443")],
            both,
        ),
        (
            "url = \"tls://c\"",
            &[("BALANCE_CLUSTER__URL", "nats://a:4222")],
            one,
        ),
        ("url = \"tls://c\"", &[("BALANCE_CLUSTER__URL", "")], ""),
    ] {
        let is_on = !expected.is_empty();
        assert_eq!(of(line, variables), (is_on, expected.to_owned()), "{line}");
    }
}

#[test]
fn probable_mistakes_are_accepted_with_a_warning() {
    let variables = [
        ("BALANCE_LIMITS__IDLE_TIMEOUT_MS", "25000"),
        ("BALANCE_LIMITS__QUEUE_ENTRIES", "9999"),
        ("BALANCE_PACING__DEBOUNCE_MS", "5001"),
        ("BALANCE_SERVER__ALLOWED_ORIGINS", "*"),
    ];
    assert_eq!(load("", &variables).expect("valid").warnings().len(), 4);
}
