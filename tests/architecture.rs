//! The rules of the house that a compiler does not check.

#[path = "support/sources.rs"]
mod sources;

use sources::{Source, sources};

/// Lines of one file, tests not counted.
const FILE_LINES_MAX: usize = 350;

/// The layer of a file: its first directory, or the file's own name.
fn layer(path: &str) -> &str {
    path.split('/').next().expect("a part").trim_end_matches(".rs")
}

/// The parts of this crate that a text names: `crate::part` and `crate::{part, …}`.
fn named_parts(code: &str) -> Vec<String> {
    let word = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut parts = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => parts.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => parts.push(word(&std::mem::take(&mut item))),
                        _ => {}
                    }
                    if depth == 0 && c != ',' {
                        item.push(c);
                    }
                }
                parts.push(word(&item));
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Files whose code holds one of `needles`, but those that may.
fn offenders(needles: &[&str], may: impl Fn(&str) -> bool) -> Vec<String> {
    let holds = |source: &Source| needles.iter().find(|needle| source.code.contains(**needle)).copied();
    let sources = sources();
    let found = sources.iter().filter(|source| !may(&source.path));
    found.filter_map(|source| holds(source).map(|needle| format!("{}: {needle}", source.path))).collect()
}

#[test]
fn imports_go_one_way() {
    let allowed: &[(&str, &[&str])] = &[
        ("allocator", &[]),
        ("background", &["clock"]),
        ("clock", &[]),
        ("limits", &[]),
        ("planted", &[]),
        ("telemetry", &["clock", "limits"]),
        ("domain", &["domain"]),
        ("config", &["config", "domain", "clock", "limits"]),
        ("ledger", &["ledger", "background", "domain", "clock", "config", "limits", "planted", "telemetry"]),
        ("coordinator", &["coordinator", "ledger", "domain", "clock", "config", "limits", "planted", "telemetry"]),
        ("client", &[]),
        ("diagnosis", &["diagnosis", "client", "domain", "clock", "config", "limits"]),
        ("canary", &["canary", "client", "http", "domain", "clock", "config", "limits", "telemetry"]),
        (
            "http",
            &[
                "http",
                "background",
                "client",
                "coordinator",
                "ledger",
                "domain",
                "clock",
                "config",
                "limits",
                "telemetry",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        let layer = layer(&source.path);
        let Some((_, parts)) = allowed.iter().find(|(name, _)| *name == layer) else {
            assert!(matches!(layer, "app" | "cli" | "main" | "lib"), "{}: a layer without a rule", source.path);
            continue;
        };
        let own = named_parts(&source.code).into_iter().filter(|part| !parts.contains(&part.as_str()) && part != layer);
        wrong.extend(own.map(|part| format!("{} uses crate::{part}", source.path)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_deprecated_websocket_crate_is_named_in_one_file() {
    let found = offenders(&["actix_web_actors"], |_| false);
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn only_the_ledger_speaks_sql() {
    let found = offenders(&["diesel", "SELECT ", "INSERT INTO", "UPDATE accounts"], |path| layer(path) == "ledger");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_domain_knows_no_actors_no_clock_and_no_database() {
    let foreign = ["actix", "diesel", "tokio", "std::time", "chrono", "log::"];
    let found = offenders(&foreign, |path| layer(path) != "domain");
    assert!(found.is_empty(), "{found:#?}");
    let found = offenders(&["actix", "HttpRequest"], |path| layer(path) != "ledger");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn time_is_read_in_one_place() {
    let found = offenders(&["Instant::now", "SystemTime", "Utc::now", "Local::now"], |path| path == "clock.rs");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_full_mailbox_is_an_answer() {
    let found = offenders(&["do_send("], |_| false);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nothing_is_unwrapped() {
    let found = offenders(&[".unwrap()"], |_| false);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn status_codes_are_known_in_one_place() {
    let codes = [
        "BadRequest(",
        "Unauthorized(",
        "Forbidden(",
        "NotFound(",
        "Conflict(",
        "PayloadTooLarge(",
        "UnsupportedMediaType(",
        "UnprocessableEntity(",
        "TooManyRequests(",
        "InternalServerError(",
        "ServiceUnavailable(",
    ];
    let constructors: Vec<String> = codes.iter().map(|code| format!("HttpResponse::{code}")).collect();
    let mut needles: Vec<&str> = constructors.iter().map(String::as_str).collect();
    needles.extend(["StatusCode::", "ErrorBadRequest", "ErrorInternalServerError"]);
    let found = offenders(&needles, |path| path == "http/problem.rs");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source.code.lines().count(), &source.path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}
