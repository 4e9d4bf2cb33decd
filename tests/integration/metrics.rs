//! `/metrics`: counts, names, labels, and access.

use std::collections::BTreeMap;

use serde_json::json;

use crate::entry;
use crate::support::{
    Database, Scrape, Signed, TestApp, Ws, eventually, on_both_databases, on_sqlite, token,
};

on_both_databases![
    entries_and_commits_are_counted_once_and_by_outcome,
    every_refused_entry_is_counted_once_by_kind_and_code,
    pushes_are_measured_from_the_commit_to_the_frame_and_to_the_page,
    the_log_of_sqlite_is_measured,
];

on_sqlite![
    every_metric_is_there_with_its_type_and_labels,
    sessions_are_counted_by_how_they_end,
    refusals_are_counted_by_their_code,
    unknown_paths_make_one_series,
    the_administration_shows_the_same_numbers,
    only_the_internal_listener_has_metrics_and_a_token_guards_them,
];

/// Every metric with its type and, where it has any, its labels.
const METRICS: [(&str, &str, &[&str]); 48] = [
    ("balance_entries_total", "counter", &["kind", "outcome"]),
    ("balance_entry_refusals_total", "counter", &["code", "kind"]),
    ("balance_commit_seconds", "histogram", &[]),
    ("balance_commit_batch_entries", "histogram", &[]),
    ("balance_ledger_queue_entries", "gauge", &["lane"]),
    ("balance_ledger_step_seconds", "gauge", &["step"]),
    ("balance_sqlite_wal_bytes", "gauge", &[]),
    ("balance_pushes_total", "counter", &["mode"]),
    ("balance_commit_to_push_seconds", "histogram", &["mode"]),
    (
        "balance_commit_to_displayed_seconds",
        "histogram",
        &["mode"],
    ),
    ("balance_sessions", "gauge", &[]),
    ("balance_sessions_limit", "gauge", &[]),
    ("balance_sessions_opened_total", "counter", &[]),
    ("balance_sessions_closed_total", "counter", &["code"]),
    ("balance_actors", "gauge", &["state"]),
    ("balance_actors_stale", "gauge", &[]),
    ("balance_actors_rebuilt_total", "counter", &[]),
    ("balance_cache_hits_total", "counter", &[]),
    ("balance_cache_misses_total", "counter", &[]),
    ("balance_cache_evictions_total", "counter", &[]),
    ("balance_cache_entries", "gauge", &[]),
    ("balance_last_entry_timestamp_seconds", "gauge", &["kind"]),
    ("balance_webhook_rejected_total", "counter", &["code"]),
    ("balance_ws_rejected_total", "counter", &["code"]),
    ("balance_ledger_errors_total", "counter", &["kind"]),
    ("balance_ledger_went_back_total", "counter", &[]),
    ("balance_drift_total", "counter", &[]),
    ("balance_audit_users_total", "counter", &[]),
    ("balance_canary_runs_total", "counter", &["outcome"]),
    ("balance_canary_seconds", "gauge", &["step"]),
    ("balance_cluster_covered", "gauge", &[]),
    ("balance_cluster_connected", "gauge", &[]),
    ("balance_cluster_nodes", "gauge", &[]),
    ("balance_cluster_messages_total", "counter", &["direction"]),
    ("balance_cluster_gaps_total", "counter", &["reason"]),
    ("balance_cluster_bus_seconds", "histogram", &[]),
    ("balance_cluster_commit_to_heard_seconds", "histogram", &[]),
    ("balance_cluster_checked_users_total", "counter", &[]),
    ("balance_cluster_healed_total", "counter", &[]),
    ("balance_cluster_verified_age_seconds", "gauge", &[]),
    ("balance_cluster_clock_skew_seconds", "gauge", &[]),
    (
        "http_requests_total",
        "counter",
        &["listener", "route", "status"],
    ),
    ("http_request_seconds", "histogram", &["listener", "route"]),
    ("log_lines_dropped_total", "counter", &[]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
];

fn entries(scrape: &Scrape, kind: &str) -> [f64; 3] {
    ["accepted", "duplicate", "rejected"].map(|outcome| {
        scrape.value(&format!(
            "balance_entries_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}"
        ))
    })
}

/// The refusals that were counted, by kind and code.
fn refusals(scrape: &Scrape) -> BTreeMap<(String, String), f64> {
    let label = |series: &str, name: &str| {
        let (_, rest) = series.split_once(&format!("{name}=\"")).expect("a label");
        rest.split('"').next().expect("a value").to_owned()
    };
    let all = scrape.series("balance_entry_refusals_total");
    all.map(|series| {
        let key = (label(series, "kind"), label(series, "code"));
        (key, scrape.value(series))
    })
    .filter(|(_, count)| *count > 0.0)
    .collect()
}

#[track_caller]
fn assert_refusals(scrape: &Scrape, expected: &[(&str, &str, f64)]) {
    let own = |(kind, code, count): &(&str, &str, f64)| {
        (((*kind).to_owned(), (*code).to_owned()), *count)
    };
    let counted = refusals(scrape);
    assert_eq!(counted, expected.iter().map(own).collect());
    for kind in ["deposit", "reward", "withdrawal", "adjustment", "unknown"] {
        let of_kind = counted.iter().filter(|((of, _), _)| of == kind);
        let sum: f64 = of_kind.map(|(_, count)| count).sum();
        assert_eq!(sum, entries(scrape, kind)[2], "{kind}: each has one code");
    }
}

async fn every_metric_is_there_with_its_type_and_labels(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let scrape = app.metrics().await;
    for (name, kind, labels) in METRICS {
        assert_eq!(
            scrape.types.get(name).map(String::as_str),
            Some(kind),
            "{name}"
        );
        let series: Vec<&str> = scrape.series(name).collect();
        assert!(!series.is_empty(), "{name}");
        for one in series {
            let named = one
                .split_once('{')
                .map_or("", |(_, rest)| rest.trim_end_matches('}'));
            let named = named
                .split(',')
                .filter_map(|pair| pair.split_once('='))
                .map(|(label, _)| label);
            let named: Vec<&str> = named.filter(|label| *label != "le").collect();
            assert_eq!(named, labels, "{one}");
        }
    }
    let known: Vec<&str> = METRICS.iter().map(|(name, ..)| *name).collect();
    let is_known = |name: &str| known.contains(&name) || name.starts_with("process_");
    assert!(
        scrape.types.keys().all(|name| is_known(name)),
        "{:?}",
        scrape.types.keys()
    );
    assert_eq!(
        scrape.labels("balance_last_entry_timestamp_seconds", "kind"),
        ["deposit".to_owned()].into()
    );
    assert_eq!(
        scrape.labels("balance_actors", "state"),
        ["idle", "with_sessions"].map(str::to_owned).into()
    );
    for (name, value) in [("covered", 1.0), ("nodes", 1.0), ("connected", 0.0)] {
        let name = format!("balance_cluster_{name}");
        assert_eq!(scrape.value(&name), value, "{name} of a process alone");
    }
    assert_eq!(
        scrape.labels("balance_ledger_queue_entries", "lane"),
        ["bulk", "single"].map(str::to_owned).into()
    );
    assert_eq!(
        scrape.labels("balance_pushes_total", "mode"),
        ["direct", "paced"].map(str::to_owned).into()
    );
}

async fn entries_and_commits_are_counted_once_and_by_outcome(database: Database) {
    let app = TestApp::start(database).await;
    let first = app.accepted("deposits", 1, "d1", "1").await;
    app.post("deposits", entry("d1", 1, "TON", "1")).await.ok();
    app.post("deposits", entry("d1", 1, "TON", "2"))
        .await
        .problem(409, "idempotency_conflict");
    app.post("deposits", entry("d2", 1, "TON", "0"))
        .await
        .problem(422, "invalid_amount");
    app.post("withdrawals", entry("w1", 1, "TON", "5"))
        .await
        .problem(422, "insufficient_funds");
    app.post("withdrawals", entry("w2", 1, "TON", "1"))
        .await
        .ok();
    let item = |kind: &str, id: &str, currency: &str| json!({"kind": kind, "event_id": id, "user_id": 2, "currency": currency, "amount": "1"});
    let batch = json!([
        item("reward", "r1", "UNI"),
        item("reward", "r2", "UNI"),
        item("reward", "r1", "UNI"),
        item("reward", "r3", "NOPE"),
        item("nope", "r4", "UNI"),
    ]);
    let answer = app.batch(batch).await.ok();
    assert_eq!(
        (
            &answer["accepted"],
            &answer["duplicates"],
            &answer["rejected"]
        ),
        (&json!(2), &json!(1), &json!(2))
    );
    let atomic = json!({"entries": [item("reward", "r5", "UNI"), item("withdrawal", "w3", "TON")]});
    app.post("batch?atomic=true", atomic)
        .await
        .problem(422, "insufficient_funds");

    let scrape = app.metrics().await;
    assert_eq!(entries(&scrape, "deposit"), [1.0, 1.0, 2.0]);
    assert_eq!(entries(&scrape, "withdrawal"), [1.0, 0.0, 2.0]);
    assert_eq!(
        entries(&scrape, "reward"),
        [2.0, 1.0, 1.0],
        "what was not applied is not counted"
    );
    assert_eq!(entries(&scrape, "adjustment"), [0.0; 3]);
    let expected = [
        ("deposit", "idempotency_conflict", 1.0),
        ("deposit", "invalid_amount", 1.0),
        ("reward", "unknown_currency", 1.0),
        ("unknown", "invalid_field", 1.0),
        ("withdrawal", "insufficient_funds", 2.0),
    ];
    assert_refusals(&scrape, &expected);
    assert_eq!(entries(&scrape, "unknown"), [0.0, 0.0, 1.0]);
    assert_eq!(
        scrape.value("balance_commit_batch_entries_sum"),
        4.0,
        "every accepted entry in one transaction"
    );
    let commits = scrape.value("balance_commit_seconds_count");
    assert_eq!(commits, scrape.value("balance_commit_batch_entries_count"));
    // Two deposits and withdrawals, the batch of one user in one or two transactions, and the
    // stored conflict.
    assert!((4.0..=5.0).contains(&commits), "{commits}");
    assert_eq!(
        scrape.value("balance_ledger_queue_entries{lane=\"single\"}"),
        0.0
    );
    assert_eq!(
        scrape.value("balance_ledger_queue_entries{lane=\"bulk\"}"),
        0.0
    );
    let latest = scrape.value("balance_last_entry_timestamp_seconds{kind=\"deposit\"}");
    let committed_at =
        chrono::DateTime::parse_from_rfc3339(first["committed_at"].as_str().expect("a time"));
    let committed_at = committed_at.expect("RFC 3339").timestamp_micros() as f64 / 1e6;
    assert!(
        (latest - committed_at).abs() < 1e-3,
        "{latest} {committed_at}"
    );
    assert!(scrape.value("balance_last_entry_timestamp_seconds{kind=\"withdrawal\"}") >= latest);
}

fn count(scrape: &Scrape, name: &str, mode: &str) -> f64 {
    scrape.value(&format!("{name}_count{{mode=\"{mode}\"}}"))
}

async fn display(ws: &mut Ws, version: i64) {
    ws.send_json(json!({"type": "displayed", "version": version}))
        .await;
    ws.send_json(json!({"type": "ping"})).await;
    ws.next_frame("pong").await;
}

async fn every_refused_entry_is_counted_once_by_kind_and_code(database: Database) {
    let app = TestApp::on(database)
        .set("limits.queue_entries", 300)
        .start()
        .await;
    assert_refusals(&app.metrics().await, &[]);
    let broken = Signed::post("/internal/v1/withdrawals", &json!({})).body("{");
    app.send(broken).await.problem(400, "invalid_json");
    let item = |n: u64, amount: &str| json!({"kind": "reward", "event_id": format!("r{n}"), "user_id": 1 + n % 3, "currency": "UNI", "amount": amount});
    let batch = |amount: &str| (0..200).map(|n| item(n, amount)).collect::<Vec<_>>();
    assert_eq!(app.batch(json!(batch("1"))).await.ok()["accepted"], 200);
    assert_eq!(app.batch(json!(batch("1"))).await.ok()["duplicates"], 200);
    assert_eq!(app.batch(json!(batch("2"))).await.ok()["rejected"], 200);
    let unreadable = json!([7, {"kind": "adjustment"}, item(200, "1")]);
    assert_eq!(app.batch(unreadable).await.ok()["rejected"], 2);
    let mut counted = vec![
        ("reward", "idempotency_conflict", 200.0),
        ("withdrawal", "invalid_json", 1.0),
        ("unknown", "invalid_json", 1.0),
        ("adjustment", "invalid_field", 1.0),
    ];
    assert_refusals(&app.metrics().await, &counted);

    // Of atomic batches, those at fault: by the ledger, and before it.
    let atomic = |items: serde_json::Value| {
        let body = json!({"entries": items});
        app.post("batch?atomic=true", body)
    };
    atomic(json!([item(0, "3"), item(201, "1"), item(1, "3")]))
        .await
        .problem(409, "idempotency_conflict");
    counted[0].2 += 2.0;
    assert_refusals(&app.metrics().await, &counted);
    atomic(json!([item(0, "3"), item(201, "1"), item(202, "0")]))
        .await
        .problem(422, "invalid_amount");
    counted.push(("reward", "invalid_amount", 1.0));
    assert_refusals(&app.metrics().await, &counted);

    // A batch that is refused as a whole, or is to be sent again, has no refused entry yet.
    app.batch(json!([])).await.problem(422, "invalid_field");
    let many: Vec<_> = (300..602)
        .map(|n| item(n, if n == 300 { "0" } else { "1" }))
        .collect();
    app.batch(json!(many)).await.problem(503, "overloaded");
    assert_refusals(&app.metrics().await, &counted);
}

async fn pushes_are_measured_from_the_commit_to_the_frame_and_to_the_page(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.direct_interval_ms", 0)
        .set("pacing.debounce_ms", 1)
        .set("pacing.min_interval_ms", 1)
        .start()
        .await;
    let (mut one, _) = app.session(1).await;
    let (mut two, _) = app.session(1).await;
    for (what, event) in [("deposits", "d1"), ("deposits", "d2"), ("rewards", "r1")] {
        app.accepted(what, 1, event, "1").await;
        one.next_frame("balance_update").await;
        two.next_frame("balance_update").await;
    }
    let (mut late, snapshot) = app.session(1).await;
    assert_eq!(snapshot["version"], 3);
    // Reports that do not count: a repeated version, a skipped one, one never sent, and version 3
    // of a page that had it from its snapshot.
    for version in [2, 2, 1, 3, 99] {
        display(&mut one, version).await;
    }
    display(&mut two, 3).await;
    display(&mut late, 3).await;
    let displayed =
        |scrape: &Scrape, mode| count(scrape, "balance_commit_to_displayed_seconds", mode);
    let scrape = eventually("three pages tell", async || {
        let scrape = app.metrics().await;
        (displayed(&scrape, "direct") + displayed(&scrape, "paced") >= 3.0).then_some(scrape)
    })
    .await;
    assert_eq!(
        (displayed(&scrape, "direct"), displayed(&scrape, "paced")),
        (1.0, 2.0),
        "once a session and version"
    );
    for (mode, pushes) in [("direct", 2.0), ("paced", 1.0)] {
        assert_eq!(
            scrape.value(&format!("balance_pushes_total{{mode=\"{mode}\"}}")),
            pushes,
            "per user"
        );
        assert_eq!(
            count(&scrape, "balance_commit_to_push_seconds", mode),
            pushes
        );
        let sum = |name| scrape.value(&format!("{name}_sum{{mode=\"{mode}\"}}"));
        assert!(sum("balance_commit_to_push_seconds") > 0.0);
        assert!(sum("balance_commit_to_displayed_seconds") > 0.0);
    }
}

fn closed(scrape: &Scrape, code: u16) -> f64 {
    scrape.value(&format!("balance_sessions_closed_total{{code=\"{code}\"}}"))
}

async fn sessions_are_counted_by_how_they_end(database: Database) {
    let app = TestApp::on(database)
        .set("limits.sessions_per_user", 2)
        .start()
        .await;
    let (stays, _) = app.session(1).await;
    let (goodbye, _) = app.session(2).await;
    goodbye.close().await;
    let (broken, _) = app.session(3).await;
    drop(broken);
    let (mut oldest, _) = app.session(4).await;
    let _both = (app.session(4).await, app.session(4).await);
    oldest.assert_closed(4509, "too_many_sessions").await;
    let (mut ended, _) = app.session(5).await;
    app.admin_post("/admin/v1/actors/5/disconnect").await;
    ended.assert_closed(4510, "closed_by_administrator").await;
    let mut stranger = app.ws(&[("authorization", "Bearer nonsense")]).await;
    stranger.assert_closed(4501, "unauthenticated").await;

    let scrape = eventually("five sessions have ended", async || {
        let scrape = app.metrics().await;
        (scrape.value("balance_sessions") == 3.0).then_some(scrape)
    })
    .await;
    for (code, sessions) in [
        (1000, 1.0),
        (1006, 1.0),
        (4509, 1.0),
        (4510, 1.0),
        (4501, 1.0),
        (1001, 0.0),
    ] {
        assert_eq!(closed(&scrape, code), sessions, "{code}");
    }
    assert_eq!(scrape.value("balance_sessions_opened_total"), 8.0);
    let all: f64 = scrape
        .series("balance_sessions_closed_total")
        .map(|series| scrape.value(series))
        .sum();
    assert_eq!(all, 5.0, "opened and not closed is open");
    assert_eq!(
        scrape.value("balance_ws_rejected_total{code=\"unauthenticated\"}"),
        1.0
    );
    let actors = |state: &str| scrape.value(&format!("balance_actors{{state=\"{state}\"}}"));
    assert_eq!(
        scrape.value("balance_cache_entries"),
        actors("with_sessions") + actors("idle")
    );
    assert_eq!(actors("with_sessions") + actors("idle"), 5.0);
    drop(stays);
}

async fn refusals_are_counted_by_their_code(database: Database) {
    let app = TestApp::on(database)
        .set("limits.sessions", 1)
        .start()
        .await;
    let signed = Signed::post("/internal/v1/deposits", &entry("d", 1, "TON", "1"));
    app.send(signed.clone().signature("v1,bm9uZQ=="))
        .await
        .problem(401, "invalid_signature");
    app.send(signed.clone().without("webhook-signature"))
        .await
        .problem(401, "missing_signature");
    app.send(signed.body("nonsense"))
        .await
        .problem(400, "invalid_json");
    app.post("rewards", entry("r", 1, "NOPE", "1"))
        .await
        .problem(422, "unknown_currency");
    app.post("tokens", json!({"user_id": 0}))
        .await
        .problem(422, "invalid_field");
    app.browser("/ws", &token(1), &[])
        .await
        .problem(426, "upgrade_required");
    app.browser("/ws", &token(1), &[("origin", "https://evil.example")])
        .await
        .problem(403, "origin_not_allowed");
    let (_only, _) = app.session(1).await;
    app.try_ws(&[])
        .await
        .err()
        .expect("refused")
        .problem(503, "overloaded");
    let scrape = app.metrics().await;
    let sum = |name: &str| {
        scrape
            .series(name)
            .map(|series| scrape.value(series))
            .sum::<f64>()
    };
    for code in [
        "invalid_signature",
        "missing_signature",
        "invalid_json",
        "unknown_currency",
    ] {
        assert_eq!(
            scrape.value(&format!(
                "balance_webhook_rejected_total{{code=\"{code}\"}}"
            )),
            1.0,
            "{code}"
        );
    }
    assert_eq!(
        sum("balance_webhook_rejected_total"),
        4.0,
        "a refused request for a token is no webhook"
    );
    for code in ["upgrade_required", "origin_not_allowed", "overloaded"] {
        assert_eq!(
            scrape.value(&format!("balance_ws_rejected_total{{code=\"{code}\"}}")),
            1.0,
            "{code}"
        );
    }
    assert_eq!(sum("balance_ws_rejected_total"), 3.0);
    assert_eq!(scrape.value("balance_sessions_limit"), 1.0);
    for (status, requests) in [("101", 1.0), ("403", 1.0), ("426", 1.0), ("503", 1.0)] {
        let series =
            format!("http_requests_total{{listener=\"public\",route=\"/ws\",status=\"{status}\"}}");
        assert_eq!(scrape.value(&series), requests, "{status}");
    }
}

async fn unknown_paths_make_one_series(database: Database) {
    let app = TestApp::start(database).await;
    for n in 0..1000 {
        let path = [
            format!("/nothing/{n}"),
            format!("/api/v1/{n}"),
            format!("/internal/v1/users/{n}/nothing"),
        ];
        let listener = if n % 2 == 0 { app.public } else { app.internal };
        app.plain_get(listener, &path[n % 3])
            .await
            .problem(404, "not_found");
    }
    for user in 1..=50 {
        app.backend(&format!("/internal/v1/users/{user}/balance"))
            .await
            .ok();
    }
    let scrape = app.metrics().await;
    for listener in ["public", "internal"] {
        let series = format!(
            "http_requests_total{{listener=\"{listener}\",route=\"other\",status=\"404\"}}"
        );
        assert_eq!(scrape.value(&series), 500.0);
    }
    let balance = "/internal/v1/users/{user_id}/balance";
    assert_eq!(
        scrape.value(&format!(
            "http_requests_total{{listener=\"internal\",route=\"{balance}\",status=\"200\"}}"
        )),
        50.0
    );
    assert_eq!(
        scrape.value(&format!(
            "http_request_seconds_count{{listener=\"internal\",route=\"{balance}\"}}"
        )),
        50.0
    );
    let routes = scrape.labels("http_requests_total", "route");
    assert_eq!(routes, [balance, "other"].map(str::to_owned).into());
}

async fn the_administration_shows_the_same_numbers(database: Database) {
    let app = TestApp::start(database).await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.next_frame("balance_update").await;
    for user in [1, 2, 2, 3] {
        app.backend(&format!("/internal/v1/users/{user}/balance"))
            .await
            .ok();
    }
    let registry = app.admin("/admin/v1/registry").await.ok();
    let scrape = app.metrics().await;
    for (field, series) in [
        (
            "actors_with_sessions",
            "balance_actors{state=\"with_sessions\"}",
        ),
        ("actors_idle", "balance_actors{state=\"idle\"}"),
        ("actors", "balance_cache_entries"),
        ("actors_rebuilt", "balance_actors_rebuilt_total"),
        ("sessions", "balance_sessions"),
        ("cache_hits", "balance_cache_hits_total"),
        ("cache_misses", "balance_cache_misses_total"),
        ("cache_evictions", "balance_cache_evictions_total"),
        ("pushes_direct", "balance_pushes_total{mode=\"direct\"}"),
        ("pushes_paced", "balance_pushes_total{mode=\"paced\"}"),
    ] {
        assert_eq!(
            registry[field].as_f64(),
            Some(scrape.value(series)),
            "{field}"
        );
    }
    assert_eq!(
        (
            scrape.value("balance_cache_hits_total"),
            scrape.value("balance_cache_misses_total")
        ),
        (2.0, 3.0)
    );
}

async fn only_the_internal_listener_has_metrics_and_a_token_guards_them(database: Database) {
    let app = TestApp::on(database)
        .set("auth.metrics_token", "for-prometheus")
        .start()
        .await;
    app.plain_get(app.public, "/metrics")
        .await
        .problem(404, "not_found");
    app.metrics_answer(None).await.problem(401, "unauthorized");
    for wrong in [
        "for-prometheu",
        "for-prometheus-",
        "FOR-PROMETHEUS",
        "test-admin-token",
    ] {
        app.metrics_answer(Some(wrong))
            .await
            .problem(401, "unauthorized");
    }
    let answer = app.metrics_answer(Some("for-prometheus")).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "text/plain; version=0.0.4")
    );
    Scrape::parse(&answer.text);
    assert!(!app.log().contains("for-prometheus"));
}

async fn the_log_of_sqlite_is_measured(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "d", "1").await;
    let name = "balance_sqlite_wal_bytes";
    if database == Database::Postgres {
        assert_eq!(app.metrics().await.series(name).count(), 0);
        return;
    }
    eventually("the deposit is in the log", async || {
        (app.metrics().await.value(name) > 0.0).then_some(())
    })
    .await;
}
