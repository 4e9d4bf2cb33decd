//! Two configurations are compared key by key.

use crate::config::keys::{KEYS, Shape};
use crate::config::tests::{SESSION, WEBHOOK, map};
use crate::config::{Changes, Settings, Sources, Values, reloaded_keys, variable};

/// Each key with two good values, which only it needs to have.
fn two_values(key: &str, shape: Shape) -> [&'static str; 2] {
    match (key, shape) {
        ("server.public_addr" | "server.internal_addr", _) => ["127.0.0.1:9000", "127.0.0.1:9001"],
        ("database.url", _) => ["postgres://u:one@h/db", "postgres://u:two@h/db"],
        ("pacing.direct_kinds", _) => ["deposit", "deposit, reward"],
        ("server.allowed_origins", _) => ["https://a.example", "https://b.example:8443"],
        ("server.trusted_proxies", _) => ["10.0.0.0/8", "::1/128"],
        ("auth.webhook_secrets", _) => [WEBHOOK, "whsec_YW5vdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMuLi4h"],
        ("auth.session_secrets", _) => [SESSION, "another-session-secret-of-at-least-32-bytes"],
        ("auth.telegram_identity", _) => ["linked", "user_id"],
        ("log.format", _) => ["text", "json"],
        ("canary.currency", _) => ["UNI", "TON"],
        ("canary.amount", _) => ["0.5", "0.25"],
        ("cluster.url", _) => ["nats://h", "nats://h, nats://i"],
        ("cluster.reads", _) => ["memory", "ledger"],
        ("watcher.api_url", _) => ["https://api.example/v3", "https://api.example/v4"],
        ("watcher.internal_url", _) => ["http://service.example:8081", "http://service.example"],
        ("watcher.metrics_addr", _) => ["127.0.0.1:9100", "127.0.0.1:9101"],
        ("watcher.user_pattern", _) => ["id=([0-9]+)", "id ([0-9]+)"],
        ("watcher.min_amount", _) => ["0.5", "0.25"],
        ("watcher.start", _) => ["46000000000001", "0"],
        ("watcher.accounts", _) => [
            "EQAvDfWFG0oYX19jwNDNBBL1rKNT9XfaGP9HyTb5nb2Eml6y",
            "0:2f0df5851b4a185f5f63c0d0cd0412f5aca353f577da18ff47c936f99dbd849b",
        ],
        ("limits.ws_message_bytes", _) => ["64", "65"],
        (_, Shape::Integer) => ["63", "64"],
        (_, Shape::Boolean) => ["true", "false"],
        _ => ["token", "other"],
    }
}

fn values(variables: &[(&str, &str)]) -> Values {
    let base = [
        ("BALANCE_DATABASE__URL", "postgres://base/db"),
        // Its default depends on another key.
        ("BALANCE_DATABASE__LOCK_TIMEOUT_MS", "20"),
        ("BALANCE_AUTH__TELEGRAM_IDENTITY", "user_id"),
        ("BALANCE_CANARY__USER_ID", "7"),
    ];
    let sources = Sources {
        environment: map(&[&base[..], variables].concat()),
        ..Sources::default()
    };
    let (_, values) = Settings::load_with_values(&sources).expect("good values");
    values
}

#[test]
fn a_key_that_changes_is_named_alone_whatever_it_holds() {
    for (key, shape) in KEYS {
        let name = variable(key);
        let [one, other] = two_values(key, *shape).map(|text| values(&[(&name, text)]));
        assert_eq!(one.changes(&one), Changes::default(), "{key}");
        let expected = if reloaded_keys().any(|reloaded| reloaded == *key) {
            Changes {
                reloaded: vec![(*key).to_owned()],
                ..Changes::default()
            }
        } else {
            Changes {
                for_restart: vec![(*key).to_owned()],
                ..Changes::default()
            }
        };
        assert_eq!(one.changes(&other), expected);
        assert_eq!(other.changes(&one), expected);
    }
}

#[test]
fn what_is_in_effect_is_compared_and_not_how_it_is_written() {
    for (key, one, other) in [
        ("limits.sessions", "", "100000"),
        ("auth.webhook_secrets", "", ""),
        (
            "server.allowed_origins",
            "https://a.example",
            "HTTPS://A.example:443",
        ),
        ("server.trusted_proxies", "10.0.0.0/8", "10.1.2.3/8"),
        ("auth.admin_tokens", "one,two", "one , two"),
        ("currencies.TON.decimals", "", "9"),
    ] {
        let name = variable(key);
        let of = |text: &str| match text {
            "" => values(&[]),
            text => values(&[(&name, text)]),
        };
        assert_eq!(of(one).changes(&of(other)), Changes::default(), "{key}");
    }
    let [one, two, swapped] =
        ["one", "one,two", "two,one"].map(|text| values(&[("BALANCE_AUTH__ADMIN_TOKENS", text)]));
    assert_ne!(one.changes(&two), Changes::default());
    assert_ne!(
        two.changes(&swapped),
        Changes::default(),
        "the order counts"
    );
    let stars = values(&[("BALANCE_CURRENCIES__STARS__DECIMALS", "0")]);
    let changed = values(&[]).changes(&stars).for_restart;
    assert_eq!(changed, ["currencies.STARS.decimals"]);
}

#[test]
fn what_was_reloaded_is_no_difference_any_more() {
    let variables = [
        ("BALANCE_AUTH__ADMIN_TOKENS", "one"),
        ("BALANCE_LIMITS__SESSIONS", "7"),
    ];
    let (mut running, new) = (values(&[]), values(&variables));
    running.reload(&new);
    let changes = running.changes(&new);
    assert_eq!(changes.for_restart, ["limits.sessions"]);
    assert_eq!(changes.reloaded, Vec::<String>::new());
    running.reload(&values(&[]));
    assert_eq!(running.changes(&values(&[])), Changes::default());
}
