//! Every path and method of the service, by listener (`HEAD` comes with every `GET`); a test over the source checks that the lists
//! are complete.

use std::path::Path;

/// On both listeners.
pub const BOTH: &[(&str, &str)] = &[("GET", "/healthz"), ("GET", "/readyz")];

/// On the public listener only.
pub const PUBLIC: &[(&str, &str)] = &[
    ("GET", "/api/v1/balance"),
    ("GET", "/api/v1/entries"),
    ("GET", "/ws"),
    ("GET", "/client/balance-client.js"),
    ("GET", "/client/source/balance-client.js"),
];

/// On the public listener only, with sign-in by Telegram.
pub const TELEGRAM: &[(&str, &str)] = &[("POST", "/api/v1/sessions")];

/// On the public listener only, with `--dev`.
pub const DEVELOPMENT: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/demo/demo.js"),
    ("GET", "/shared/text.js"),
    ("GET", "/dev/v1/token"),
    ("POST", "/dev/v1/token"),
    ("POST", "/dev/v1/entries"),
    ("GET", "/dev/v1/chain"),
    ("POST", "/dev/v1/chain"),
];

/// On the internal listener only. `7` stands for a user.
pub const INTERNAL: &[(&str, &str)] = &[
    ("POST", "/internal/v1/deposits"),
    ("POST", "/internal/v1/rewards"),
    ("POST", "/internal/v1/withdrawals"),
    ("POST", "/internal/v1/adjustments"),
    ("POST", "/internal/v1/reversals"),
    ("GET", "/internal/v1/entries"),
    ("GET", "/internal/v1/balances"),
    ("GET", "/internal/v1/feed"),
    ("GET", "/admin/v1/entries"),
    ("POST", "/internal/v1/batch"),
    ("POST", "/internal/v1/tokens"),
    ("PUT", "/internal/v1/users/7"),
    ("GET", "/internal/v1/users/7/balance"),
    ("GET", "/internal/v1/users/7/entries"),
    ("GET", "/admin/"),
    ("GET", "/admin/admin.js"),
    ("GET", "/admin/vendor/uplot.js"),
    ("GET", "/shared/text.js"),
    ("GET", "/admin/v1/live"),
    ("GET", "/admin/v1/history"),
    ("GET", "/admin/v1/findings"),
    ("GET", "/admin/v1/registry"),
    ("GET", "/admin/v1/actors"),
    ("GET", "/admin/v1/actors/7"),
    ("GET", "/admin/v1/actors/7/entries"),
    ("POST", "/admin/v1/actors/7/refresh"),
    ("POST", "/admin/v1/actors/7/push"),
    ("POST", "/admin/v1/actors/7/retire"),
    ("POST", "/admin/v1/actors/7/disconnect"),
    ("GET", "/admin/v1/sessions"),
    ("GET", "/admin/v1/events"),
    ("GET", "/admin/v1/audit"),
    ("GET", "/admin/v1/cluster"),
    ("GET", "/admin/v1/canary"),
    ("GET", "/admin/v1/log"),
    ("GET", "/admin/v1/conflicts"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
];

/// Every route in the source of the router: method and path.
fn written(code: &str) -> Vec<(String, String)> {
    let of = |rest: &str| {
        let (path, rest) = rest.split_once('"').expect("a literal path");
        let path = path
            .replace("{user_id}", "7")
            .replace("{file}", "balance-client.js")
            .replace("{name}", "demo.js");
        let path = path
            .replace("{asset}", "admin.js")
            .replace("{shared}", "text.js")
            .replace("{vendor}", "uplot.js");
        let method = |rest: &str| rest.split_once("()").expect("a method").0.to_uppercase();
        rest.split(".route(")
            .skip(1)
            .map(|rest| (method(rest), path.clone()))
            .collect::<Vec<_>>()
    };
    code.split("resource(\"").skip(1).flat_map(of).collect()
}

#[test]
fn no_route_of_the_service_is_missing_in_this_list() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/router.rs");
    let text = std::fs::read_to_string(file).expect("the router");
    let between = |from: &str, to: &str| {
        let (_, rest) = text
            .split_once(from)
            .unwrap_or_else(|| panic!("{from} in the router"));
        rest.split_once(to)
            .unwrap_or_else(|| panic!("{to} in the router"))
            .0
            .to_owned()
    };
    let public = between("pub fn public(", "\n}\n");
    let (public, rest) = public
        .split_once("if state.is_dev() {")
        .expect("development has a block");
    let (development, end) = rest.split_once("\n    }\n").expect("the block ends");
    assert!(
        !end.contains("resource("),
        "routes behind the block of development:\n{end}"
    );
    let internal = between("pub fn internal(", "\n}\n");
    let health = between("\nfn health(", "\n}\n");
    let telegram = between("\nfn telegram(", "\n}\n");

    for (what, code, list) in [
        ("public", public, PUBLIC),
        ("development", development, DEVELOPMENT),
        ("telegram", &telegram, TELEGRAM),
        ("internal", &internal, INTERNAL),
        ("health", &health, BOTH),
    ] {
        let found = written(code);
        assert_eq!(
            found.len(),
            code.matches(".route(").count(),
            "a route that is not read in {what}"
        );
        assert_eq!(found.len(), list.len(), "{what}: the router has {found:#?}");
        for (method, path) in found {
            let is_listed = list
                .iter()
                .any(|(known, whole)| *known == method && whole.ends_with(&path));
            assert!(
                is_listed,
                "{method} {path} of the {what} listener is not in this list"
            );
        }
    }
    let routes: usize = [PUBLIC, TELEGRAM, DEVELOPMENT, INTERNAL, BOTH]
        .iter()
        .map(|list| list.len())
        .sum();
    assert_eq!(
        text.matches(".route(").count(),
        routes,
        "a route outside these functions"
    );
}
