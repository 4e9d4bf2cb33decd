//! Pushes after commits, and their times.

use serde_json::{Value, json};

use crate::support::{Builder, Database, TestApp, Witness, Ws, on_both_databases, on_sqlite};
use crate::{assert_keys, assert_timestamp, balances, entry, with};

on_both_databases![
    a_direct_change_is_pushed_with_all_that_changed,
    paced_changes_are_summed_up_in_one_push,
    a_direct_change_takes_the_waiting_paced_ones_along,
    a_change_that_a_refresh_has_shown_is_neither_pushed_nor_counted,
    every_session_hears_every_change_in_rising_versions,
];
on_sqlite![
    no_change_that_comes_too_soon_is_lost,
    paced_pushes_keep_their_distance,
    a_change_waits_for_the_debounce_and_is_never_left_unsent,
    a_session_that_attaches_starts_from_its_snapshot,
    duplicates_and_refusals_are_not_pushed,
    the_configuration_says_which_kinds_are_direct,
];

/// Pacing so long that paced pushes come after the test; direct ones come at once.
fn slow_pacing(database: Database) -> Builder {
    TestApp::on(database)
        .set("pacing.debounce_ms", 600_000)
        .set("pacing.min_interval_ms", 1_200_000)
        .set("pacing.direct_interval_ms", 0)
}

fn reward(event_id: &str, currency: &str, amount: &str, source: &str) -> Value {
    with(
        &entry(event_id, 1, currency, amount),
        json!({"kind": "reward", "source": source}),
    )
}

/// Microseconds of a timestamp.
fn us(value: &Value) -> i64 {
    assert_timestamp(value);
    chrono::DateTime::parse_from_rfc3339(value.as_str().expect("text"))
        .expect("RFC 3339")
        .timestamp_micros()
}

async fn a_direct_change_is_pushed_with_all_that_changed(database: Database) {
    let app = TestApp::start(database).await;
    app.post("rewards", entry("before", 1, "UNI", "2"))
        .await
        .ok();
    let (mut ws, snapshot) = app.session(1).await;
    let answer = app
        .post(
            "deposits",
            with(
                &entry("d", 1, "TON", "0.1"),
                json!({"source": "ton_watcher"}),
            ),
        )
        .await
        .ok();
    let update = ws.next_frame("balance_update").await;
    assert_keys(
        &update,
        &[
            "type",
            "user_id",
            "epoch",
            "version",
            "balances",
            "changes",
            "sources",
            "entries",
            "mode",
            "first_committed_at",
            "committed_at",
            "pushed_at",
        ],
    );
    assert_eq!(
        (&update["user_id"], &update["version"], &update["epoch"]),
        (&json!(1), &json!(2), &snapshot["epoch"])
    );
    assert_eq!(update["balances"], balances("0.100000000", "2.000000000"));
    assert_eq!(update["changes"], json!({"TON": "0.100000000"}));
    assert_eq!(
        (&update["sources"], &update["entries"], &update["mode"]),
        (&json!(["ton_watcher"]), &json!(1), &json!("direct"))
    );
    assert_eq!(update["committed_at"], answer["committed_at"]);
    assert_eq!(update["first_committed_at"], answer["committed_at"]);
    assert!(
        us(&update["pushed_at"]) >= us(&update["committed_at"]),
        "{update}"
    );
    app.accepted("withdrawals", 1, "w", "0.04").await;
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["changes"], &update["mode"]),
        (&json!({"TON": "-0.040000000"}), &json!("direct"))
    );
    assert_eq!(update["sources"], json!(["withdrawal"]));
}

async fn paced_changes_are_summed_up_in_one_push(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 200)
        .set("pacing.min_interval_ms", 600)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    let rewards = [
        reward("r1", "UNI", "1", "farming"),
        reward("r2", "TON", "0.5", "referral"),
        reward("r3", "UNI", "2", "farming"),
    ];
    app.batch(json!(rewards)).await.ok();
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["version"], &update["entries"], &update["mode"]),
        (&json!(3), &json!(3), &json!("paced"))
    );
    assert_eq!(
        update["changes"],
        json!({"TON": "0.500000000", "UNI": "3.000000000"})
    );
    let mut sources: Vec<&str> = update["sources"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    sources.sort_unstable();
    assert_eq!(sources, ["farming", "referral"]);
    assert!(us(&update["first_committed_at"]) <= us(&update["committed_at"]));
    ws.assert_quiet().await;
}

async fn a_direct_change_takes_the_waiting_paced_ones_along(database: Database) {
    let app = slow_pacing(database).start().await;
    let (mut ws, _) = app.session(1).await;
    let first = app.accepted("rewards", 1, "r1", "1").await;
    app.accepted("rewards", 1, "r2", "2").await;
    ws.assert_quiet().await;
    let last = app.accepted("deposits", 1, "d", "4").await;
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["version"], &update["entries"], &update["mode"]),
        (&json!(3), &json!(3), &json!("direct"))
    );
    assert_eq!(update["changes"], json!({"TON": "7.000000000"}));
    assert_eq!(
        (&update["first_committed_at"], &update["committed_at"]),
        (&first["committed_at"], &last["committed_at"])
    );
    // Nothing is left to be pushed.
    assert_eq!(
        app.admin("/admin/v1/actors/1").await.ok()["pending"],
        Value::Null
    );
}

async fn a_change_that_a_refresh_has_shown_is_neither_pushed_nor_counted(database: Database) {
    let app = slow_pacing(database).set("pacing.direct_interval_ms", 1_200_000);
    let app = app.start().await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d1", "1").await;
    assert_eq!(ws.next_frame("balance_update").await["version"], 1);
    // It waits for the interval of direct pushes; then it is shown.
    app.accepted("deposits", 1, "d2", "4").await;
    assert_eq!(ws.refresh(json!("a")).await["version"], 2);
    let answer = app.post("rewards", entry("r", 1, "UNI", "2")).await.ok();
    let done = app.admin_post("/admin/v1/actors/1/push").await.ok();
    assert_eq!(done["pushed"], true);
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["version"], &update["entries"], &update["mode"]),
        (&json!(3), &json!(1), &json!("paced"))
    );
    assert_eq!(update["changes"], json!({"UNI": "2.000000000"}));
    assert_eq!(update["sources"], json!(["reward"]));
    assert_eq!(update["first_committed_at"], answer["committed_at"]);
    let metrics = app.metrics().await;
    for mode in ["direct", "paced"] {
        let count = format!("balance_commit_to_push_seconds_count{{mode=\"{mode}\"}}");
        assert_eq!(metrics.value(&count), 1.0, "{mode}");
    }
}

async fn every_session_hears_every_change_in_rising_versions(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 20)
        .set("pacing.min_interval_ms", 60)
        .set("pacing.direct_interval_ms", 10)
        .start()
        .await;
    const ENTRIES: u64 = 120;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(app.session(1).await);
    }
    let posting = async {
        for n in 0..ENTRIES {
            let what = if n % 7 == 0 { "deposits" } else { "rewards" };
            app.accepted(what, 1, &format!("e{n}"), "0.25").await;
        }
    };
    let watching = sessions
        .into_iter()
        .enumerate()
        .map(|(index, (mut ws, snapshot))| async move {
            let mut witness = Witness::of(&snapshot);
            let mut frames = 0;
            while witness.version < ENTRIES {
                frames += 1;
                assert!(frames < 10_000, "frames without an end");
                if index % 2 == 0 && frames % 3 == 0 {
                    ws.send_json(json!({"type": "refresh", "id": frames})).await;
                }
                match ws.next().await {
                    crate::support::Event::Frame(frame) => witness.see(&frame),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(witness.balances["TON"], "30.000000000");
            witness
        });
    let (witnesses, ()) = tokio::join!(futures_util::future::join_all(watching), posting);
    for witness in witnesses.iter().skip(1).step_by(2) {
        assert_eq!(
            witness.entries, ENTRIES,
            "a session without refreshes receives every entry by pushes: {witness:?}"
        );
    }
    app.assert_ledger_holds();
}

/// Reads updates until this version and returns them.
async fn updates_until(ws: &mut Ws, version: u64) -> Vec<Value> {
    let mut updates = Vec::new();
    let mut witness = Witness::default();
    while witness.version < version {
        let update = ws.next_frame("balance_update").await;
        witness.see(&update);
        updates.push(update);
    }
    assert_eq!(
        (witness.version, witness.entries),
        (version, version),
        "{updates:?}"
    );
    updates
}

async fn no_change_that_comes_too_soon_is_lost(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.direct_interval_ms", 300)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    for n in 0..30 {
        app.accepted("deposits", 1, &format!("e{n}"), "1").await;
    }
    let updates = updates_until(&mut ws, 30).await;
    assert_eq!(
        updates.last().expect("one")["balances"]["TON"],
        "30.000000000"
    );
    for pair in updates.windows(2) {
        let gap_us = us(&pair[1]["pushed_at"]) - us(&pair[0]["pushed_at"]);
        // Pacing does not use the wall clock, so allow a difference.
        assert!(gap_us >= 250_000, "{gap_us} µs between {pair:?}");
    }
}

async fn paced_pushes_keep_their_distance(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 100)
        .set("pacing.min_interval_ms", 500)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    for n in 0..150 {
        app.accepted("rewards", 1, &format!("e{n}"), "1").await;
    }
    let updates = updates_until(&mut ws, 150).await;
    for pair in updates.windows(2) {
        assert_eq!(pair[1]["mode"], "paced");
        let gap_us = us(&pair[1]["pushed_at"]) - us(&pair[0]["pushed_at"]);
        assert!(gap_us >= 450_000, "{gap_us} µs between {pair:?}");
    }
}

async fn a_change_waits_for_the_debounce_and_is_never_left_unsent(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.debounce_ms", 300)
        .set("pacing.min_interval_ms", 5000)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("rewards", 1, "r", "1").await;
    let update = ws.next_frame("balance_update").await;
    let waited_us = us(&update["pushed_at"]) - us(&update["committed_at"]);
    assert!(waited_us >= 290_000, "{waited_us} µs");
    // The next change comes too soon for the interval: it waits, then is pushed.
    app.accepted("rewards", 1, "r2", "1").await;
    let second = ws.next_frame("balance_update").await;
    assert_eq!(
        (&second["version"], &second["entries"]),
        (&json!(2), &json!(1))
    );
    let gap_us = us(&second["pushed_at"]) - us(&update["pushed_at"]);
    assert!(gap_us >= 4_900_000, "{gap_us} µs");
}

async fn a_session_that_attaches_starts_from_its_snapshot(database: Database) {
    let app = slow_pacing(database).start().await;
    app.accepted("rewards", 1, "without a session, paced", "1")
        .await;
    app.accepted("deposits", 1, "without a session, direct", "1")
        .await;
    let (mut early, snapshot) = app.session(1).await;
    assert_eq!(snapshot["version"], 2);
    early.assert_quiet().await;
    app.accepted("rewards", 1, "r", "1").await;
    let (mut late, snapshot) = app.session(1).await;
    assert_eq!(snapshot["version"], 3);
    app.accepted("deposits", 1, "d", "1").await;
    let update = early.next_frame("balance_update").await;
    assert_eq!(
        (&update["version"], &update["entries"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(update["changes"], json!({"TON": "2.000000000"}));
    // All sessions of a user receive the same.
    assert_eq!(late.next_frame("balance_update").await, update);
}

async fn duplicates_and_refusals_are_not_pushed(database: Database) {
    let app = TestApp::on(database)
        .set("pacing.direct_interval_ms", 0)
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    assert_eq!(ws.next_frame("balance_update").await["version"], 1);
    app.post("deposits", entry("d", 1, "TON", "1")).await.ok();
    app.post("deposits", entry("d", 1, "TON", "2"))
        .await
        .problem(409, "idempotency_conflict");
    app.post("withdrawals", entry("w", 1, "TON", "2"))
        .await
        .problem(422, "insufficient_funds");
    app.accepted("deposits", 2, "another's", "1").await;
    ws.assert_quiet().await;
}

async fn the_configuration_says_which_kinds_are_direct(database: Database) {
    let app = slow_pacing(database)
        .set("pacing.direct_kinds", vec!["reward"])
        .start()
        .await;
    let (mut ws, _) = app.session(1).await;
    app.accepted("deposits", 1, "d", "1").await;
    ws.assert_quiet().await;
    app.accepted("rewards", 1, "r", "1").await;
    let update = ws.next_frame("balance_update").await;
    assert_eq!(
        (&update["entries"], &update["mode"]),
        (&json!(2), &json!("direct"))
    );
}
