//! The rules for the source that the compiler does not check.

#[path = "support/imports.rs"]
mod imports;
#[path = "support/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use imports::{circles, imports, named_paths};
use sources::{Source, sources};

/// Lines of one file, tests not counted.
const FILE_LINES_MAX: usize = 350;

/// The layer of a file: its first directory, or the file's own name.
fn layer(path: &str) -> &str {
    path.split('/')
        .next()
        .expect("a part")
        .trim_end_matches(".rs")
}

/// Files whose code contains one of `needles`, except allowed ones.
fn offenders(needles: &[&str], may: impl Fn(&str) -> bool) -> Vec<String> {
    let holds = |source: &Source| {
        needles
            .iter()
            .find(|needle| source.code.contains(**needle))
            .copied()
    };
    let sources = sources();
    let found = sources.iter().filter(|source| !may(&source.path));
    found
        .filter_map(|source| holds(source).map(|needle| format!("{}: {needle}", source.path)))
        .collect()
}

#[test]
fn imports_go_one_way() {
    let allowed: &[(&str, &[&str])] = &[
        ("clock", &[]),
        ("limits", &[]),
        ("planted", &[]),
        ("platform", &[]),
        ("telemetry", &["clock", "domain", "limits", "platform"]),
        ("domain", &["domain"]),
        ("config", &["config", "domain", "clock", "limits"]),
        ("credentials", &["config", "domain", "clock", "limits"]),
        (
            "ledger",
            &[
                "ledger",
                "domain",
                "clock",
                "config",
                "limits",
                "planted",
                "platform",
                "telemetry",
            ],
        ),
        (
            "coordinator",
            &[
                "coordinator",
                "ledger",
                "domain",
                "clock",
                "config",
                "limits",
                "planted",
                "telemetry",
            ],
        ),
        (
            "cluster",
            &[
                "coordinator",
                "ledger",
                "domain",
                "clock",
                "config",
                "limits",
                "planted",
                "telemetry",
            ],
        ),
        ("client", &[]),
        // Of the chain alone: neither the service nor the watcher.
        ("dev_chain", &["domain", "clock"]),
        (
            "diagnosis",
            &["diagnosis", "client", "domain", "clock", "config", "limits"],
        ),
        (
            "canary",
            &[
                "client",
                "credentials",
                "domain",
                "clock",
                "config",
                "limits",
                "platform",
                "telemetry",
            ],
        ),
        (
            "migration",
            &["client", "credentials", "domain", "clock", "config"],
        ),
        (
            "watcher",
            &[
                "client",
                "credentials",
                "domain",
                "clock",
                "config",
                "limits",
                "platform",
            ],
        ),
        (
            "http",
            &[
                "http",
                "canary",
                "client",
                "cluster",
                "coordinator",
                "credentials",
                // Its rules make the findings.
                "diagnosis",
                // The wallet of the demo page pays there.
                "dev_chain",
                "ledger",
                "domain",
                "clock",
                "config",
                "limits",
                "platform",
                "telemetry",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        let layer = layer(&source.path);
        let Some((_, parts)) = allowed.iter().find(|(name, _)| *name == layer) else {
            assert!(
                matches!(layer, "app" | "cli" | "main" | "lib"),
                "{}: a layer without a rule",
                source.path
            );
            continue;
        };
        let own = named_paths(&source)
            .into_iter()
            .filter_map(|path| path.into_iter().next())
            .filter(|part| !parts.contains(&part.as_str()) && part != layer);
        wrong.extend(own.map(|part| format!("{} uses crate::{part}", source.path)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_part_has_an_import_circle() {
    let sources = sources();
    let imports = imports(&sources);
    let parts: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| Some(source.path.split_once('/')?.0))
        .collect();
    let found: Vec<_> = parts
        .iter()
        .flat_map(|part| circles(&imports, &format!("{part}/")))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_import_circle_would_be_found() {
    let source = |path: &str, code: &str| Source {
        path: path.into(),
        code: code.into(),
    };
    let files = [
        source("a/mod.rs", "pub use b::B;"),
        source("a/b.rs", "use crate::a::{c::{self, C}, d as e};"),
        source("a/c.rs", "fn f() { super::d::g() }"),
        source("a/d.rs", "use crate::{a::b::B, x::Y};"),
    ];
    let found = circles(&imports(&files), "a/");
    assert_eq!(
        found.first().map(Vec::len),
        Some(2),
        "b and d name each other: {found:?}"
    );
    assert_eq!(found.len(), 3, "b, c and d are on circles: {found:?}");
}

/// The doors are the folders of endpoints. Code that they share is in `extract` or beside them.
#[test]
fn the_doors_do_not_import_each_other() {
    let doors = ["entries", "users", "session", "admin", "following"];
    let door = |file: &str| {
        doors
            .into_iter()
            .find(|door| file.starts_with(&format!("http/{door}/")))
    };
    let mut wrong = Vec::new();
    for (file, named) in imports(&sources()) {
        let Some(from) = door(&file) else { continue };
        let others = named.iter().filter_map(|other| Some((other, door(other)?)));
        let foreign = others.filter(|(_, to)| {
            *to != from && (from != "admin" || !matches!(*to, "users" | "following"))
        });
        wrong.extend(foreign.map(|(other, _)| format!("{file} imports {other}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_actor_does_not_know_the_registry() {
    let named = imports(&sources());
    let actor = named
        .iter()
        .filter(|(file, _)| file.starts_with("coordinator/actor/"));
    let wrong: Vec<_> = actor
        .filter(|(_, named)| named.contains("coordinator/registry/mod.rs"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Except `mod.rs`, which is identified by its folder.
#[test]
fn no_two_files_of_one_part_share_a_name() {
    let mut places: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for source in sources() {
        let name = source.path.rsplit('/').next().expect("a name").to_owned();
        if name != "mod.rs" {
            places
                .entry((layer(&source.path).to_owned(), name))
                .or_default()
                .push(source.path);
        }
    }
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn a_folder_holds_few_files() {
    const FOLDER_FILES_MAX: usize = 20;
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources() {
        let folder = source
            .path
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_owned();
        *folders.entry(folder).or_default() += 1;
    }
    folders.retain(|_, files| *files > FOLDER_FILES_MAX);
    assert!(folders.is_empty(), "{folders:#?}");
}

/// Names of files between backticks, in documents and in the comments of the source: `http/problem.rs`, `src/web/client`.
#[test]
fn documents_name_only_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<(String, String)> = Vec::new();
    for document in sources::documents(root) {
        let text = std::fs::read_to_string(root.join(&document)).expect("a text");
        texts.push((document, text));
    }
    let mut wrong = Vec::new();
    for (document, text) in &texts {
        let own = Path::new(document).parent().expect("a folder");
        for name in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| is_source_file(name))
        {
            let is_there = [Path::new(""), Path::new("src"), own, Path::new("tests")]
                .into_iter()
                .any(|base| root.join(base).join(name).exists());
            if !is_there {
                wrong.push(format!("{document} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A path with a folder, to a file of this repository's kinds.
fn is_source_file(name: &str) -> bool {
    let plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
    let kinds = [".rs", ".md", ".sql", ".js", ".ts", ".html", ".css", ".sh"];
    plain
        && name.contains('/')
        && !name.starts_with(['/', '.'])
        && kinds.iter().any(|kind| name.ends_with(kind))
}

#[test]
fn the_deprecated_websocket_crate_is_named_in_one_file() {
    let found = offenders(&["actix_web_actors"], |_| false);
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn the_client_of_the_bus_is_named_in_one_file() {
    // The log names it, to silence it.
    let may = |path: &str| matches!(path, "cluster/nats.rs" | "telemetry/log.rs");
    let found = offenders(&["async_nats"], may);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_ledger_and_the_watchers_state_speak_sql() {
    let found = offenders(
        &["diesel", "SELECT ", "INSERT INTO", "UPDATE accounts"],
        |path| layer(path) == "ledger" || path.starts_with("watcher/state/"),
    );
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
    let found = offenders(
        &["Instant::now", "SystemTime", "Utc::now", "Local::now"],
        |path| path == "clock.rs",
    );
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_full_mailbox_is_an_answer() {
    let found = offenders(&["do_send("], |_| false);
    assert!(found.is_empty(), "{found:#?}");
}

/// actix polls every future of a context at every message. So each place that puts one there is known, with its bound.
#[test]
fn the_futures_of_every_actor_are_bounded() {
    let known: &[(&str, &str, usize)] = &[
        // One timer, set again.
        ("coordinator/actor/pushing.rs", ".run_later(", 1),
        // Two postings for each lane.
        ("coordinator/actor/posting.rs", "ctx.spawn(", 1),
        // One read, and once more beside one that hangs: each ends in its time. And one that nothing asked for.
        ("coordinator/actor/reading.rs", "ctx.spawn(", 2),
        // A batch of parts holds up the mailbox until the actors had their turn.
        ("coordinator/registry/handlers.rs", "ctx.wait(", 1),
        // A probe, and once more beside one that hangs.
        ("coordinator/registry/recovery.rs", "ctx.spawn(", 1),
        // The sweep and the retries, which set their next time.
        ("coordinator/registry/mod.rs", ".run_later(", 2),
        ("coordinator/registry/recovery.rs", ".run_later(", 1),
        ("coordinator/registry/sweep.rs", ".run_later(", 1),
        // The check for missed commits: the next step is set when the last one is over.
        ("coordinator/registry/checking.rs", ".run_later(", 1),
        ("coordinator/registry/checking.rs", "ctx.spawn(", 2),
        // Commits whose actors died, answers to atomic batches, and epochs.
        ("coordinator/registry/mod.rs", ".add_stream(", 3),
        // Signing in, which holds up the session, and once more, in place of the one before.
        ("http/session/mod.rs", "ctx.wait(", 1),
        ("http/session/mod.rs", "ctx.spawn(", 1),
        // One alarm, set again.
        ("http/session/timers.rs", ".run_later(", 1),
    ];
    let ways = [
        "ctx.spawn(",
        "ctx.wait(",
        ".run_later(",
        ".run_interval(",
        ".notify_later(",
        ".add_stream(",
        ".add_message_stream(",
    ];
    let mut found = Vec::new();
    for source in sources() {
        for way in ways {
            let count = source.code.matches(way).count();
            let is_known =
                |(path, known, _): &&(&str, &str, usize)| *path == source.path && *known == way;
            let expected = known
                .iter()
                .find(is_known)
                .map_or(0, |(_, _, count)| *count);
            if count != expected {
                found.push(format!(
                    "{}: {count} of {way}, {expected} known",
                    source.path
                ));
            }
        }
    }
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
    let constructors: Vec<String> = codes
        .iter()
        .map(|code| format!("HttpResponse::{code}"))
        .collect();
    let mut needles: Vec<&str> = constructors.iter().map(String::as_str).collect();
    needles.extend([
        "StatusCode::",
        "ErrorBadRequest",
        "ErrorInternalServerError",
    ]);
    // The watcher's own listener has a page for its health.
    let may = |path: &str| matches!(path, "http/problem.rs" | "watcher/metrics.rs");
    let found = offenders(&needles, may);
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
