//! Another PostgreSQL session locks rows of one user. That user waits; the other users of the
//! writer are delayed by at most one `database.lock_timeout_ms`, not by one per transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Database, Signed, TestApp, eventually, on_postgres};

use super::{ANSWER_MARGIN, TIMEOUT, settings};

on_postgres![
    a_locked_account_delays_only_its_own_user,
    locked_rows_of_any_kind_delay_only_their_own_user,
    a_batch_with_a_locked_user_stores_the_rest,
    a_locked_user_is_linked_later_after_a_brief_wait,
];

const LOCK_TIMEOUT: Duration = Duration::from_millis(600);
const LOCKED: u64 = 2;
const NEIGHBOURS: std::ops::RangeInclusive<u64> = 11..=18;
/// How long the lock is held after the locked user's first entry: several times each time-out.
const HELD: Duration = Duration::from_millis(5000);

/// All users share one writer.
async fn start(database: Database) -> TestApp {
    let builder = settings(TestApp::on(database)).set("database.writers", 1);
    let lock_timeout_ms = i64::try_from(LOCK_TIMEOUT.as_millis()).expect("short");
    let app = builder
        .set("database.lock_timeout_ms", lock_timeout_ms)
        .start()
        .await;
    for user_id in NEIGHBOURS.chain([LOCKED]) {
        app.accepted("deposits", user_id, &format!("first:{user_id}"), "1")
            .await;
    }
    app
}

async fn a_locked_account_delays_only_its_own_user(database: Database) {
    let lock = format!("SELECT * FROM accounts WHERE user_id = {LOCKED} FOR UPDATE");
    hold_and_look(&start(database).await, LOCKED, &lock).await;
}

async fn locked_rows_of_any_kind_delay_only_their_own_user(database: Database) {
    let app = start(database).await;
    hold_and_look(
        &app,
        LOCKED,
        &format!("UPDATE balances SET amount = amount WHERE user_id = {LOCKED}"),
    )
    .await;
    let new =
        "INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES (3, 0, 0, 0)";
    hold_and_look(&app, 3, new).await;
}

/// Holds a lock while all users send.
async fn hold_and_look(app: &TestApp, locked: u64, lock: &str) {
    let held = app.database.hold(lock);
    let is_over = AtomicBool::new(false);
    let path = "/internal/v1/deposits";
    let entry = |event_id: String, user_id: u64| {
        Signed::post(
            path,
            &json!({"event_id": event_id, "user_id": user_id, "currency": "TON", "amount": "1"}),
        )
    };
    let own = (0..3).map(|n| {
        let request = entry(format!("{lock}:{n}"), locked);
        async move {
            // The lock is held for longer than a request may take.
            let asked = Instant::now();
            let answer = app.send(request.clone()).await;
            assert!(
                asked.elapsed() < TIMEOUT + ANSWER_MARGIN,
                "{:?}",
                asked.elapsed()
            );
            answer.problem(503, "ledger_unavailable");
            let answer = app.sender().insist(request).await;
            (
                answer["version"].as_u64().expect("a version"),
                Instant::now(),
            )
        }
    });
    let is_over = &is_over;
    let neighbours = NEIGHBOURS.map(|user_id| async move {
        let (mut longest, mut count) = (Duration::ZERO, 0_u32);
        while !is_over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            app.send(entry(format!("{lock}:{user_id}:{count}"), user_id))
                .await
                .ok();
            longest = longest.max(asked.elapsed());
            count += 1;
        }
        (longest, count)
    });
    let release = async {
        tokio::time::sleep(HELD).await;
        is_over.store(true, Ordering::Relaxed);
        drop(held);
        Instant::now()
    };
    let own = futures_util::future::join_all(own);
    let neighbours = futures_util::future::join_all(neighbours);
    let (own, neighbours, released) = tokio::join!(own, neighbours, release);
    let longest = neighbours
        .iter()
        .map(|(longest, _)| *longest)
        .max()
        .expect("some");
    let count: u32 = neighbours.iter().map(|(_, count)| count).sum();
    let freed = own
        .iter()
        .map(|(_, at)| at.saturating_duration_since(released))
        .max()
        .expect("some");
    println!(
        "{lock}: {count} of the neighbours in {HELD:?}, the longest {longest:?}; its own {freed:?} after the lock"
    );
    assert!(
        longest < LOCK_TIMEOUT + ANSWER_MARGIN,
        "a neighbour waited {longest:?}"
    );
    // The delay occurs once, not per transaction.
    assert!(count > 100, "the neighbours have {count} entries");
    let mut versions: Vec<u64> = own.iter().map(|(version, _)| *version).collect();
    versions.sort_unstable();
    let first = versions[0];
    assert_eq!(versions, [first, first + 1, first + 2]);
    app.assert_ledger_holds();
}

async fn a_batch_with_a_locked_user_stores_the_rest(database: Database) {
    let app = start(database).await;
    let held = app.database.hold(&format!(
        "SELECT * FROM accounts WHERE user_id = {LOCKED} FOR UPDATE"
    ));
    let item = |user_id: u64| json!({"kind": "reward", "event_id": format!("b:{user_id}"), "user_id": user_id, "currency": "TON", "amount": "1"});
    let items: Vec<_> = NEIGHBOURS.chain([LOCKED]).map(item).collect();
    // The batch is answered 503 as a whole: part of it may be stored.
    let asked = Instant::now();
    let answer = app.batch(json!(items)).await;
    assert!(asked.elapsed() < TIMEOUT + ANSWER_MARGIN);
    answer.problem(503, "ledger_unavailable");
    let atomic = Signed::post(
        "/internal/v1/batch?atomic=true",
        &json!({"entries": [item(31), item(LOCKED), item(32)]}),
    );
    app.send(atomic.clone())
        .await
        .problem(503, "ledger_unavailable");
    // An atomic batch delays only itself.
    app.accepted("deposits", 31, "alone", "1").await;
    for user_id in NEIGHBOURS {
        assert_eq!(app.entries(user_id).await.len(), 2);
    }
    assert_eq!(app.entries(LOCKED).await.len(), 1);
    drop(held);
    let answer = eventually("the batch is taken", async || {
        let answer = app.batch(json!(items)).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.ok()["rejected"], 0);
    let answer = app.sender().insist(atomic).await;
    assert_eq!(
        (&answer["rejected"], &answer["results"][2]["version"]),
        (&json!(0), &json!(1)),
        "{answer}"
    );
    assert_eq!(app.entries(LOCKED).await.len(), 2);
    app.assert_ledger_holds();
}

async fn a_locked_user_is_linked_later_after_a_brief_wait(database: Database) {
    const ATTEMPTS: u32 = 20;
    let app = start(database).await;
    let held = app.database.hold(&format!(
        "SELECT * FROM accounts WHERE user_id = {LOCKED} FOR UPDATE"
    ));
    let link = || {
        Signed::new(
            reqwest::Method::PUT,
            &format!("/internal/v1/users/{LOCKED}"),
        )
        .body(r#"{"telegram_id":777}"#)
    };
    let asked = Instant::now();
    for _ in 0..ATTEMPTS {
        app.send(link()).await.problem(503, "ledger_unavailable");
    }
    // Other users' entries wait behind each order, so none may take as long as an entry's lock
    // time-out.
    assert!(
        asked.elapsed() < ATTEMPTS * LOCK_TIMEOUT,
        "{:?}",
        asked.elapsed()
    );
    app.accepted("deposits", 11, "beside", "1").await;
    drop(held);
    let linked = eventually("it is linked", async || {
        let answer = app.send(link()).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(linked.ok()["telegram_id"], 777);
    app.assert_ledger_holds();
}
