//! Development mode.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::config::dev::{DEV_FILE, ensure_dev_file};
use crate::config::tests::map;
use crate::config::{ConfigError, Settings, Sources};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("is there").permissions().mode() & 0o7777
}

#[test]
fn the_file_is_made_once_is_private_and_is_an_ordinary_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = ensure_dev_file(dir.path()).expect("made");
    assert_eq!(path, dir.path().join(DEV_FILE));
    assert_eq!(mode(&path), 0o600);
    let first = fs::read_to_string(&path).expect("readable");
    assert!(first.starts_with('#'), "{first}");

    let sources = Sources {
        file: Some(path.clone()),
        ..Sources::default()
    };
    let settings = Settings::load(&sources).expect("an ordinary configuration");
    settings.require_serve_secrets().expect("all are there");
    assert_eq!(settings.auth.webhook_secrets[0].as_bytes().len(), 32);

    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
    assert_eq!(ensure_dev_file(dir.path()).expect("kept"), path);
    assert_eq!(fs::read_to_string(&path).expect("readable"), first);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn two_files_have_different_secrets() {
    let texts = [(); 2].map(|()| {
        let dir = tempfile::tempdir().expect("a directory");
        fs::read_to_string(ensure_dev_file(dir.path()).expect("made")).expect("readable")
    });
    let lines = |text: &str| {
        text.lines()
            .filter(|l| l.contains('='))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (one, other) = (lines(&texts[0]), lines(&texts[1]));
    assert_eq!(one.len(), 3);
    assert!(one.iter().zip(&other).all(|(a, b)| a != b));
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, "").expect("written");
    std::os::unix::fs::symlink(&elsewhere, dir.path().join(DEV_FILE)).expect("linked");
    assert!(matches!(
        ensure_dev_file(dir.path()),
        Err(ConfigError::DevFile { .. })
    ));
    assert!(matches!(
        ensure_dev_file(&dir.path().join("no")),
        Err(ConfigError::DevFile { .. })
    ));
}

#[test]
fn development_stays_on_loopback() {
    let dir = tempfile::tempdir().expect("a directory");
    let dev_file = Some(ensure_dev_file(dir.path()).expect("made"));
    for (name, value, refused) in [
        (
            "BALANCE_SERVER__PUBLIC_ADDR",
            "0.0.0.0:8080",
            Some("server.public_addr"),
        ),
        (
            "BALANCE_SERVER__PUBLIC_ADDR",
            "[::]:8080",
            Some("server.public_addr"),
        ),
        (
            "BALANCE_SERVER__INTERNAL_ADDR",
            "10.0.0.1:8081",
            Some("server.internal_addr"),
        ),
        ("BALANCE_SERVER__INTERNAL_ADDR", "[::1]:8081", None),
        ("BALANCE_SERVER__PUBLIC_ADDR", "127.0.0.2:0", None),
    ] {
        let with_dev = Sources {
            dev_file: dev_file.clone(),
            file: None,
            environment: map(&[(name, value)]),
        };
        let error = Settings::load(&with_dev)
            .err()
            .map(|error| error.to_string());
        assert_eq!(
            error.is_some(),
            refused.is_some(),
            "{name}={value}: {error:?}"
        );
        assert!(
            error
                .unwrap_or_default()
                .contains(refused.unwrap_or_default())
        );
        let without = Sources {
            dev_file: None,
            ..with_dev
        };
        assert!(
            Settings::load(&without).is_ok(),
            "{name}={value} is fine outside development"
        );
    }
    let environment = BTreeMap::new();
    let both = Sources {
        file: dev_file.clone(),
        dev_file,
        environment,
    };
    assert!(Settings::load(&both).is_ok());
}
