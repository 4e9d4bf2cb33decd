//! The administration's views of registry and actors.

mod actions;
mod audit;
mod conflicts;
mod dashboard;
mod events;
mod history;
mod sessions;
mod sign_ins;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Database, TestApp, on_both_databases, on_sqlite, token};
use crate::{assert_timestamp, balances};

on_both_databases![the_registry_tells_its_totals];
on_sqlite![
    nothing_is_shown_without_an_administrators_token,
    an_actor_is_shown_from_inside,
    an_actor_that_is_not_resident_is_not_found_until_activated,
    the_rule_that_a_push_waits_for_is_named,
    changes_that_every_session_knows_are_not_pending,
    failed_sign_ins_are_limited,
    actors_beyond_the_cap_are_retired_and_lose_nothing,
];

const REGISTRY_KEYS: [&str; 14] = [
    "actors",
    "actors_with_sessions",
    "actors_idle",
    "sessions",
    "cache_hits",
    "cache_misses",
    "cache_evictions",
    "cache_hit_ratio",
    "queue_single",
    "queue_bulk",
    "pushes_direct",
    "pushes_paced",
    "uptime_s",
    "epoch",
];

async fn nothing_is_shown_without_an_administrators_token(database: Database) {
    let app = TestApp::start(database).await;
    for path in ["/admin/v1/registry", "/admin/v1/actors/1"] {
        app.plain_get(app.internal, path)
            .await
            .problem(401, "unauthorized");
        for bad in ["", "wrong", &token(1)] {
            let request = app
                .http
                .request(Method::GET, format!("http://{}{path}", app.internal))
                .bearer_auth(bad);
            let answer = Answer::read(request.send().await.expect("an answer"))
                .await
                .expect("whole");
            assert!(matches!(answer.status, 401 | 429), "{answer:?}");
        }
    }
}

async fn the_registry_tells_its_totals(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 50)
        .set("pacing.min_interval_ms", 100)
        .start()
        .await;
    let (mut ws, snapshot) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.next_frame("balance_update").await;
    app.accepted("rewards", 1, "r", "1").await;
    ws.next_frame("balance_update").await;
    app.accepted("rewards", 2, "r2", "1").await;
    for _ in 0..3 {
        app.browser("/api/v1/balance", &token(1), &[]).await.ok();
    }
    let registry = app.admin("/admin/v1/registry").await.ok();
    for key in REGISTRY_KEYS {
        let value = &registry[key];
        assert!(
            if key == "epoch" {
                value.is_string()
            } else {
                value.is_number()
            },
            "{key} in {registry}"
        );
    }
    assert_eq!(
        (
            &registry["actors"],
            &registry["actors_with_sessions"],
            &registry["actors_idle"]
        ),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(
        (&registry["sessions"], &registry["epoch"]),
        (&json!(1), &snapshot["epoch"])
    );
    assert_eq!(
        (&registry["pushes_direct"], &registry["pushes_paced"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&registry["queue_single"], &registry["queue_bulk"]),
        (&json!(0), &json!(0))
    );
    assert!(
        registry["cache_hits"].as_u64() >= Some(3) && registry["cache_misses"].as_u64() >= Some(1),
        "{registry}"
    );
}

async fn an_actor_is_shown_from_inside(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 600_000)
        .set("pacing.min_interval_ms", 900_000)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.next_frame("balance_update").await;
    app.accepted("rewards", 1, "r", "2").await;
    let actor = app.admin("/admin/v1/actors/1").await.ok();
    assert_eq!(
        (&actor["user_id"], &actor["version"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        (&actor["stale"], &actor["sessions_attached"]),
        (&json!(false), &json!(1))
    );
    assert_timestamp(&actor["observed_at"]);
    assert_eq!(actor["balances"], balances("3.000000000", "0.000000000"));
    assert_timestamp(&actor["verified_at"]);
    assert_timestamp(&actor["last_push_at"]);
    assert!(
        actor["age_ms"].is_u64() && actor["in_flight"].is_u64(),
        "{actor}"
    );
    let pending = &actor["pending"];
    assert_timestamp(&pending["first"]);
    assert_timestamp(&pending["last"]);
    assert_eq!(pending["entries"], 1);
    assert!(
        pending["next_push_in_ms"]
            .as_u64()
            .is_some_and(|ms| ms > 100_000),
        "{pending}"
    );
    assert_timestamp(&pending["next_push_at"]);
    assert_eq!(pending["held_by"], Value::Null);
    let session = &actor["sessions"][0];
    assert_timestamp(&session["connected_at"]);
    assert_eq!(
        (&session["last_version"], &session["address"]),
        (&json!(1), &json!("127.0.0.1"))
    );
    assert_ne!(session["id"], Value::Null);
    for key in ["mailbox", "counters"] {
        assert!(actor[key].is_object(), "{key} in {actor}");
    }
    assert!(!actor["events"].as_array().expect("a list").is_empty());
}

async fn an_actor_that_is_not_resident_is_not_found_until_activated(database: Database) {
    let app = TestApp::start(database).await;
    app.admin("/admin/v1/actors/5")
        .await
        .problem(404, "not_found");
    let made = app.admin("/admin/v1/actors/5?activate=true").await.ok();
    assert_eq!(
        (&made["user_id"], &made["version"], &made["stale"]),
        (&json!(5), &json!(0), &json!(false))
    );
    assert_eq!(
        made["balances"],
        balances("0.000000000", "0.000000000"),
        "it has been read"
    );
    app.admin("/admin/v1/actors/5").await.ok();
    assert_eq!(app.admin("/admin/v1/actors/nobody").await.status / 100, 4);
}

async fn the_rule_that_a_push_waits_for_is_named(database: Database) {
    let hour = 3_600_000;
    for (debounce_ms, min_interval_ms, direct_interval_ms, posts, rule) in [
        (1_000_000, 2_000_000, 0, &["rewards"][..], "debounce"),
        (
            1_000_000,
            2_000_000,
            0,
            &["deposits", "rewards"],
            "min_interval",
        ),
        (hour, 1_000_000, 0, &["rewards"], "max_wait"),
        (
            1_000,
            1_000,
            hour,
            &["deposits", "deposits"],
            "direct_interval",
        ),
    ] {
        let app = TestApp::on(database)
            .set("pacing.debounce_ms", debounce_ms)
            .set("pacing.min_interval_ms", min_interval_ms)
            .set("pacing.direct_interval_ms", direct_interval_ms)
            .start()
            .await;
        let (_ws, _) = app.session(1).await;
        for (n, what) in posts.iter().enumerate() {
            app.accepted(what, 1, &format!("e{n}"), "1").await;
        }
        let actor = app.admin("/admin/v1/actors/1").await.ok();
        assert_eq!(actor["pending"]["waits_for"], rule, "{actor}");
    }
}

async fn changes_that_every_session_knows_are_not_pending(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 600_000)
        .set("pacing.min_interval_ms", 900_000);
    let app = app.start().await;
    let (mut one, _) = app.session(1).await;
    let (mut other, _) = app.session(1).await;
    app.accepted("rewards", 1, "r", "2").await;
    let pending = async || app.admin("/admin/v1/actors/1").await.ok()["pending"].clone();
    one.refresh(json!(1)).await;
    assert_eq!(pending().await["entries"], 1, "the other one lacks it");
    other.refresh(json!(1)).await;
    assert_eq!(pending().await, Value::Null);
}

async fn failed_sign_ins_are_limited(database: Database) {
    let app = TestApp::start(database).await;
    for attempt in 0..1000 {
        let request = app
            .http
            .get(format!("http://{}/admin/v1/registry", app.internal))
            .bearer_auth("guess");
        let answer = Answer::read(request.send().await.expect("an answer"))
            .await
            .expect("whole");
        if answer.status == 429 {
            assert!(attempt > 0, "the first one is told that it was wrong");
            answer.problem(429, "rate_limited");
            return;
        }
        answer.problem(401, "unauthorized");
    }
    panic!("never limited");
}

async fn actors_beyond_the_cap_are_retired_and_lose_nothing(database: Database) {
    let app = TestApp::on(database)
        .set("cache.max_entries", 5)
        .set("cache.sweep_s", 1)
        .start()
        .await;
    for round in 1..=3 {
        let posting = (1..=40).map(|user_id| {
            let app = &app;
            async move {
                app.accepted("deposits", user_id, &format!("{user_id}.{round}"), "1")
                    .await
            }
        });
        for answer in futures_util::future::join_all(posting).await {
            assert_eq!(answer["version"], round);
        }
    }
    crate::support::eventually("no more than the cap are resident", async || {
        let registry = app.admin("/admin/v1/registry").await.ok();
        (registry["actors"].as_u64() <= Some(5) && registry["cache_evictions"].as_u64() >= Some(35))
            .then_some(())
    })
    .await;
    for user_id in 1..=40 {
        let balance = app
            .backend(&format!("/internal/v1/users/{user_id}/balance"))
            .await
            .ok();
        assert_eq!(
            (&balance["version"], &balance["balances"]["TON"]),
            (&json!(3), &json!("3.000000000"))
        );
    }
    app.assert_ledger_holds();
}
