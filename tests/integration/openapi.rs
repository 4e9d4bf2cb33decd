//! The OpenAPI document: it has exactly the service's endpoints, and real answers match it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::doors::routes::{BOTH, INTERNAL, PUBLIC, TELEGRAM};
use crate::entry;
use crate::support::{Answer, Database, TestApp, on_sqlite, token};

on_sqlite![
    the_document_is_on_the_internal_listener_only,
    answers_match_the_document
];

fn document() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(file).expect("the document")).expect("JSON")
}

/// Why a value does not match a schema; supports the part of JSON Schema that the document uses.
fn misfit(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.trim_start_matches('#');
        return misfit(
            document,
            document
                .pointer(pointer)
                .unwrap_or_else(|| panic!("there is no {name}")),
            value,
        );
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let all: Vec<String> = any
            .iter()
            .map_while(|one| misfit(document, one, value))
            .collect();
        return (all.len() == any.len()).then(|| all.join(" and "));
    }
    if let Some(known) = schema["enum"].as_array() {
        return (!known.contains(value)).then(|| format!("{value} is none of {known:?}"));
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let is = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => panic!("{schema}: a type that this test does not know"),
    };
    if !kinds.iter().any(is) {
        return Some(format!("{value} is no {kinds:?}"));
    }
    if let Some(items) = value.as_array() {
        return items
            .iter()
            .find_map(|item| misfit(document, &schema["items"], item));
    }
    let members = value.as_object()?;
    let missing = schema["required"].as_array().into_iter().flatten();
    if let Some(name) = missing
        .filter_map(Value::as_str)
        .find(|name| !members.contains_key(*name))
    {
        return Some(format!("{name} is missing in {value}"));
    }
    members.iter().find_map(|(name, member)| {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => {
                Some(format!("{name} is not in the schema: {value}"))
            }
            (Value::Null, Value::Null) => None,
            (Value::Null, others) => misfit(document, others, member),
            (known, _) => misfit(document, known, member).map(|why| format!("{name}: {why}")),
        }
    })
}

#[test]
fn it_has_every_route_and_no_other() {
    let mut described = BTreeSet::new();
    for (path, methods) in document()["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let path = path
                .replace("{user_id}", "7")
                .replace("{file}", "balance-client.js");
            let path = path
                .replace("{asset}", "admin.js")
                .replace("{shared}", "text.js")
                .replace("{vendor}", "uplot.js");
            described.insert((method.to_uppercase(), path));
        }
    }
    let routes = [BOTH, PUBLIC, TELEGRAM, INTERNAL].into_iter().flatten();
    let routes: BTreeSet<_> = routes
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(described, routes);
}

async fn the_document_is_on_the_internal_listener_only(database: Database) {
    let app = TestApp::start(database).await;
    assert_eq!(
        app.plain_get(app.internal, "/openapi.json").await.ok(),
        document()
    );
    app.plain_get(app.public, "/openapi.json")
        .await
        .problem(404, "not_found");
}

/// Asserts that an answer is described, with its status, type and body.
#[track_caller]
fn assert_described(document: &Value, method: &str, path: &str, answer: &Answer) {
    let described = &document["paths"][path][method]["responses"][answer.status.to_string()];
    assert!(
        described.is_object(),
        "{method} {path} may not answer {}",
        answer.status
    );
    let name = described["$ref"]
        .as_str()
        .map(|name| name.trim_start_matches('#').to_owned());
    let response = name.map_or(described, |name| {
        document.pointer(&name).expect("it is there")
    });
    let Some(content) = response["content"].as_object() else {
        return assert_eq!(answer.text, "");
    };
    let kind = answer
        .header("content-type")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let schema = content
        .get(&kind)
        .unwrap_or_else(|| panic!("{method} {path} may not answer with {kind}"));
    if kind.ends_with("json") {
        let why = misfit(document, &schema["schema"], &answer.json());
        assert_eq!(why, None, "{method} {path} {}", answer.status);
    }
}

async fn answers_match_the_document(database: Database) {
    let app = TestApp::on(database)
        .set("audit.users_per_s", 100_000)
        .set("canary.every_s", 1)
        .set("canary.user_id", 900)
        .set("canary.watch_s", 0)
        .set("pacing.debounce_ms", 600_000)
        .set("pacing.min_interval_ms", 900_000)
        .start()
        .await;
    let document = document();
    let check = |method: &str, path: &str, answer: &Answer| {
        assert_described(&document, method, path, answer)
    };
    let (_ws, _) = app.session(1).await;
    for (what, body) in [
        ("deposits", entry("d", 1, "TON", "5")),
        ("deposits", entry("d", 1, "TON", "6")),
        ("deposits", entry("z", 1, "TON", "0")),
        ("rewards", entry("r", 1, "UNI", "5")),
        ("withdrawals", entry("w", 1, "TON", "1")),
        ("withdrawals", entry("v", 1, "TON", "100")),
        (
            "adjustments",
            crate::with(
                &entry("a", 1, "TON", "1"),
                json!({"reason": "r", "metadata": {"a": 1}}),
            ),
        ),
        (
            "reversals",
            json!({"event_id": "back", "user_id": 1, "reverses": "r"}),
        ),
        (
            "reversals",
            json!({"event_id": "none", "user_id": 1, "reverses": "x"}),
        ),
        ("tokens", json!({"user_id": 1})),
        (
            "batch",
            json!({"entries": [crate::with(&entry("b", 1, "TON", "1"), json!({"kind": "deposit"})), 5]}),
        ),
    ] {
        check(
            "post",
            &format!("/internal/v1/{what}"),
            &app.post(what, body).await,
        );
    }
    for what in ["balance", "entries", "entries?limit=0"] {
        let path = format!(
            "/internal/v1/users/{{user_id}}/{}",
            what.split('?').next().expect("a part")
        );
        check(
            "get",
            &path,
            &app.backend(&format!("/internal/v1/users/1/{what}")).await,
        );
    }
    for query in [
        "entries?event_id=d",
        "entries?event_id=nowhere",
        "entries",
        "balances?limit=2",
        "balances?limit=0",
        "feed",
        "feed?after=latest",
        "feed?after=0123456789abcdef.1",
    ] {
        let path = query.split('?').next().expect("a part");
        let answer = app.backend(&format!("/internal/v1/{query}")).await;
        check("get", &format!("/internal/v1/{path}"), &answer);
    }
    for query in ["event_id=d", "event_id=nowhere", "user_id=1", "user_id=0"] {
        let answer = app.admin(&format!("/admin/v1/entries?{query}")).await;
        check("get", "/admin/v1/entries", &answer);
    }
    crate::support::eventually("the canary has run", async || {
        let runs = app.admin("/admin/v1/canary").await.ok()["runs"].clone();
        runs.as_array()
            .is_some_and(|runs| !runs.is_empty())
            .then_some(())
    })
    .await;
    for path in [
        "registry",
        "actors",
        "sessions",
        "events",
        "audit",
        "canary",
        "log",
        "conflicts",
    ] {
        check(
            "get",
            &format!("/admin/v1/{path}"),
            &app.admin(&format!("/admin/v1/{path}")).await,
        );
        check(
            "get",
            &format!("/admin/v1/{path}"),
            &app.plain_get(app.internal, &format!("/admin/v1/{path}"))
                .await,
        );
    }
    for user_id in [1, 5, 0] {
        let entries = app
            .admin(&format!("/admin/v1/actors/{user_id}/entries"))
            .await;
        check("get", "/admin/v1/actors/{user_id}/entries", &entries);
        check(
            "get",
            "/admin/v1/actors/{user_id}",
            &app.admin(&format!("/admin/v1/actors/{user_id}")).await,
        );
    }
    for action in ["refresh", "push", "retire", "disconnect"] {
        let answer = app
            .admin_post(&format!("/admin/v1/actors/1/{action}"))
            .await;
        check(
            "post",
            &format!("/admin/v1/actors/{{user_id}}/{action}"),
            &answer,
        );
    }
    check("get", "/admin/v1/log", &app.admin("/admin/v1/log").await);
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        check("get", path, &app.plain_get(app.internal, path).await);
    }
    for (path, token) in [
        ("/api/v1/balance", token(1)),
        ("/api/v1/entries", token(1)),
        ("/api/v1/balance", "x".into()),
    ] {
        check("get", path, &app.browser(path, &token, &[]).await);
    }
}
