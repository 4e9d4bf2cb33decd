//! Reads the source for what no request can show: that secrets are compared in constant time.

use crate::support::{Source, sources};

/// Where the bytes of a secret may be had, and why.
const MAY_EXPOSE: [(&str, &str); 12] = [
    ("config/secret.rs", "defines it"),
    ("config/check.rs", "checks length and characters at start"),
    ("credentials/webhook.rs", "makes the key of an HMAC"),
    ("credentials/session_token.rs", "makes the keys of an HMAC"),
    ("credentials/telegram.rs", "makes the key of an HMAC"),
    ("http/extract/admin.rs", "compares in constant time"),
    (
        "diagnosis/service.rs",
        "asks the service with the operator's own tokens",
    ),
    ("cli/serve.rs", "prints the banner of development"),
    ("cli/sign.rs", "makes the key of an HMAC"),
    ("watcher/api.rs", "sends the key of the chain's API"),
    ("config/cluster.rs", "checks length and characters at start"),
    ("cluster/nats.rs", "signs in at the bus"),
];

fn code_of<'a>(all: &'a [Source], path: &str) -> &'a str {
    &all.iter()
        .find(|source| source.path == path)
        .unwrap_or_else(|| panic!("{path}"))
        .code
}

#[test]
fn secret_bytes_are_read_in_few_places_and_never_compared_there() {
    let mut used = Vec::new();
    for Source { path, code } in sources() {
        let exposing: Vec<&str> = code
            .lines()
            .filter(|line| line.contains("expose()") || line.contains("secret.as_bytes()"))
            .collect();
        if exposing.is_empty() {
            continue;
        }
        assert!(
            MAY_EXPOSE.iter().any(|(may, _)| *may == path),
            "{path} has the bytes of a secret: {exposing:#?}"
        );
        used.push(path.clone());
        for line in exposing {
            // The length of a secret is checked once, at start.
            let line = line.replace(".contains(&secret.expose().len())", "");
            let compares = [
                "==",
                "!=",
                ".eq(",
                ".ne(",
                ".cmp(",
                "matches!",
                "starts_with",
                "ends_with",
                "contains(",
            ];
            let found: Vec<&&str> = compares.iter().filter(|way| line.contains(**way)).collect();
            assert!(
                found.is_empty(),
                "{path} compares a secret by {found:?}: {line}"
            );
        }
    }
    for (path, why) in MAY_EXPOSE {
        assert!(
            path == "config/secret.rs" || used.iter().any(|used| used == path),
            "{path} no longer {why}"
        );
    }
}

#[test]
fn a_secret_has_no_comparison_of_its_own() {
    let all = sources();
    let code = |path| code_of(&all, path);
    let secrets = code("config/secret.rs");
    for name in [
        "pub struct Secret(",
        "pub struct WebhookSecret {",
        "pub struct AdminToken {",
    ] {
        let (before, _) = secrets
            .split_once(name)
            .unwrap_or_else(|| panic!("{name} in config/secret.rs"));
        let derived = before
            .rsplit("#[derive(")
            .next()
            .expect("it derives something");
        assert!(
            !derived.contains("PartialEq") && !derived.contains("Hash"),
            "{name}: {derived}"
        );
    }
    assert!(
        !secrets.contains("PartialEq for") && !secrets.contains("Deref for"),
        "secrets have no =="
    );
}

#[test]
fn every_secret_is_compared_in_constant_time() {
    let all = sources();
    let code = |path| code_of(&all, path);
    let signature = code("credentials/webhook.rs");
    // `finalize` gives bytes away, and only `sign`, which makes signatures, may have them.
    assert_eq!(
        (
            signature.matches("verify_slice(").count(),
            signature.matches("finalize()").count()
        ),
        (1, 1)
    );
    // The metrics' token is compared by the same function.
    let admin = code("http/extract/admin.rs");
    assert_eq!(
        (
            admin.matches("ct_eq(").count(),
            admin.matches("expose()").count()
        ),
        (1, 1)
    );
    // Every token is compared, whichever matches.
    assert!(
        admin.contains(".fold(None,"),
        "the first token that fits must not end the search"
    );
    // The library's own verification, which is `verify_slice` again; nothing else looks at a token's signature.
    let tokens = code("credentials/session_token.rs");
    assert_eq!(tokens.matches("decode::<Claims>(").count(), 1);
    let with_mac = |needle: &str| {
        let found = all.iter().filter(|source| source.code.contains(needle));
        found.map(|source| source.path.as_str()).collect::<Vec<_>>()
    };
    // Init data's: `finalize` makes the key, and nothing that is compared.
    let telegram = code("credentials/telegram.rs");
    assert_eq!(
        (
            telegram.matches("verify_slice(").count(),
            telegram.matches("finalize()").count()
        ),
        (1, 1)
    );
    let mut with_macs = with_mac("Hmac");
    with_macs.sort_unstable();
    assert_eq!(
        with_macs,
        ["credentials/telegram.rs", "credentials/webhook.rs"],
        "no other MAC is compared anywhere"
    );
    assert_eq!(
        with_mac("jsonwebtoken"),
        ["credentials/session_token.rs"],
        "no other token is read anywhere"
    );
}
