//! What no request can show: that secrets are compared in constant time, by reading the source.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the bytes of a secret may be had, and why.
const MAY_EXPOSE: [(&str, &str); 7] = [
    ("config/secret.rs", "defines it"),
    ("config/check.rs", "checks length and characters at start"),
    ("http/signature.rs", "makes the key of an HMAC"),
    ("http/session_token.rs", "makes the keys of an HMAC"),
    ("http/admin.rs", "compares in constant time"),
    ("cli/serve.rs", "prints the banner of development"),
    ("cli/sign.rs", "makes the key of an HMAC"),
];

/// The code of every source file by its path below `src`, without comments, unit tests and files of tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut sources = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).expect("a text");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        if !path.split('/').any(|part| matches!(part, "tests" | "tests.rs")) {
            sources.push((path, lines.join("\n")));
        }
    }
    assert!(sources.len() > 50, "the sources are found");
    sources
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn the_bytes_of_a_secret_leave_it_in_few_places_and_are_never_compared_there() {
    let mut used = Vec::new();
    for (path, code) in sources() {
        let exposing: Vec<&str> =
            code.lines().filter(|line| line.contains("expose()") || line.contains("secret.as_bytes()")).collect();
        if exposing.is_empty() {
            continue;
        }
        assert!(MAY_EXPOSE.iter().any(|(may, _)| *may == path), "{path} has the bytes of a secret: {exposing:#?}");
        used.push(path.clone());
        for line in exposing {
            // How long a secret is, is looked at once, at start.
            let line = line.replace(".contains(&secret.expose().len())", "");
            let compares = ["==", "!=", ".eq(", ".ne(", ".cmp(", "matches!", "starts_with", "ends_with", "contains("];
            let found: Vec<&&str> = compares.iter().filter(|way| line.contains(**way)).collect();
            assert!(found.is_empty(), "{path} compares a secret by {found:?}: {line}");
        }
    }
    for (path, why) in MAY_EXPOSE {
        assert!(path == "config/secret.rs" || used.iter().any(|used| used == path), "{path} no longer {why}");
    }
}

#[test]
fn a_secret_has_no_comparison_of_its_own() {
    let all = sources();
    let code = |path: &str| &all.iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("{path}")).1;
    let secrets = code("config/secret.rs");
    for name in ["pub struct Secret(", "pub struct WebhookSecret {", "pub struct AdminToken {"] {
        let (before, _) = secrets.split_once(name).unwrap_or_else(|| panic!("{name} in config/secret.rs"));
        let derived = before.rsplit("#[derive(").next().expect("it derives something");
        assert!(!derived.contains("PartialEq") && !derived.contains("Hash"), "{name}: {derived}");
    }
    assert!(!secrets.contains("PartialEq for") && !secrets.contains("Deref for"), "secrets have no ==");
}

#[test]
fn each_door_compares_in_constant_time() {
    let all = sources();
    let code = |path: &str| &all.iter().find(|(known, _)| known == path).unwrap_or_else(|| panic!("{path}")).1;
    let signature = code("http/signature.rs");
    // `finalize` gives bytes away, and only `sign`, which makes signatures, may have them.
    assert_eq!((signature.matches("verify_slice(").count(), signature.matches("finalize()").count()), (1, 1));
    let admin = code("http/admin.rs");
    assert_eq!((admin.matches("ct_eq(").count(), admin.matches("expose()").count()), (1, 1));
    // Every token is looked at, whichever fits.
    assert!(admin.contains(".fold(false,"), "the first token that fits must not end the search");
    // The library's own verification, which is `verify_slice` again; nothing else looks at a token's signature.
    let tokens = code("http/session_token.rs");
    assert_eq!(tokens.matches("decode::<Claims>(").count(), 1);
    let with_mac = |needle: &str| {
        all.iter().filter(|(_, code)| code.contains(needle)).map(|(path, _)| path.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(with_mac("Hmac"), ["http/signature.rs"], "no other MAC is compared anywhere");
    assert_eq!(with_mac("jsonwebtoken"), ["http/session_token.rs"], "no other token is read anywhere");
}
