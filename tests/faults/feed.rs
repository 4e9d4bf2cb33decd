//! The feed while transactions are open, several services commit at once, and anybody is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::Load;
use crate::several_services::beside;
use crate::support::{
    Database, HeldLock, Signed, TestApp, TestDatabase, fresh_seed, on_both_databases, on_postgres,
};

on_postgres![
    an_entry_of_an_open_transaction_is_waited_for_and_never_stepped_over,
    an_id_that_was_rolled_back_is_given_up,
    transactions_that_write_no_entries_are_not_waited_for,
    followers_of_two_services_read_every_entry_once,
    a_follower_hears_of_the_other_service_s_entries,
];
on_both_databases![the_follower_of_the_documentation_survives_being_killed_at_any_point];

struct Page {
    entries: Vec<Value>,
    next: String,
}

impl Page {
    fn events(&self) -> Vec<&str> {
        self.entries
            .iter()
            .map(|entry| entry["event_id"].as_str().expect("a text"))
            .collect()
    }
}

async fn page(app: &TestApp, after: Option<&str>, wait_ms: u64) -> Page {
    let after = after.map_or(String::new(), |after| format!("&after={after}"));
    let path = format!("/internal/v1/feed?limit=1000&wait_ms={wait_ms}{after}");
    let answer = app.backend(&path).await.ok();
    Page {
        entries: answer["entries"].as_array().expect("a list").clone(),
        next: answer["next"].as_str().expect("a cursor").to_owned(),
    }
}

/// An entry of a user of its own, in a transaction that stays open.
fn open_entry(app: &TestApp) -> HeldLock {
    app.database.hold(
        "INSERT INTO entries (user_id, version, kind, source, currency, amount, balance_after, event_id, committed_at_us) \
         VALUES (500, 1, 'reward', 's', 'TON', 1, 1, 'held', 1); \
         INSERT INTO accounts (user_id, version, created_at_us, updated_at_us) VALUES (500, 1, 1, 1); \
         INSERT INTO balances (user_id, currency, amount) VALUES (500, 'TON', 1)",
    )
}

async fn an_entry_of_an_open_transaction_is_waited_for_and_never_stepped_over(database: Database) {
    let mut app = TestApp::on(database).log("info").start().await;
    app.accepted("rewards", 1, "before", "1").await;
    let held = open_entry(&app);
    for n in 0..5 {
        app.accepted("rewards", 1 + n, &format!("after{n}"), "1")
            .await;
    }
    let first = page(&app, None, 0).await;
    assert_eq!(first.events(), ["before"]);
    for wait_ms in [0, 300] {
        let nothing = page(&app, Some(&first.next), wait_ms).await;
        assert_eq!((nothing.events().len(), &nothing.next), (0, &first.next));
    }
    // A cursor of now can't be behind it either.
    app.backend("/internal/v1/feed?after=latest")
        .await
        .problem(503, "overloaded");
    app.kill();
    app.wait().await;
    app.start_again().await;
    let nothing = page(&app, Some(&first.next), 300).await;
    assert!(nothing.events().is_empty(), "not after a restart");
    let commit = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        held.commit();
    };
    let (waited, ()) = tokio::join!(page(&app, Some(&first.next), 30_000), commit);
    let mut events = waited
        .events()
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    if events.len() < 6 {
        let rest = page(&app, Some(&waited.next), 1000).await;
        events.extend(rest.events().into_iter().map(str::to_owned));
    }
    assert_eq!(
        events,
        ["held", "after0", "after1", "after2", "after3", "after4"]
    );
    app.assert_ledger_holds();
}

async fn an_id_that_was_rolled_back_is_given_up(database: Database) {
    let app = TestApp::on(database).log("info").start().await;
    let held = open_entry(&app);
    app.accepted("rewards", 1, "after", "1").await;
    assert!(page(&app, None, 0).await.events().is_empty());
    drop(held);
    assert_eq!(page(&app, None, 30_000).await.events(), ["after"]);
    app.accepted("rewards", 1, "later", "1").await;
    assert_eq!(page(&app, None, 0).await.events(), ["after", "later"]);
}

async fn transactions_that_write_no_entries_are_not_waited_for(database: Database) {
    let app = TestApp::on(database).log("info").start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let other = Database::Postgres.create(dir.path());
    let _elsewhere = other.hold("CREATE TABLE entries (id BIGINT); INSERT INTO entries VALUES (1)");
    let _here = app
        .database
        .hold("CREATE TABLE unrelated (id BIGINT); SELECT COUNT(*) FROM entries");
    let _reader = app
        .database
        .hold("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT COUNT(*) FROM entries");
    // An id that is never used.
    drop(open_entry(&app));
    for n in 0..3 {
        app.accepted("rewards", 1, &format!("e{n}"), "1").await;
        let began = Instant::now();
        while page(&app, None, 0).await.events().len() < n + 1 {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "it is not waited for"
            );
        }
    }
    let latest = app.backend("/internal/v1/feed?after=latest").await.ok();
    let now = latest["next"].as_str().expect("a cursor");
    assert!(page(&app, Some(now), 0).await.events().is_empty());
}

/// Follows until an entry with this event id has come.
async fn follow_to(app: &TestApp, last: &str) -> Vec<Value> {
    let (mut entries, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = page(app, after.as_deref(), 10_000).await;
        let is_last = page.events().contains(&last);
        entries.extend(page.entries);
        after = Some(page.next);
        if is_last {
            return entries;
        }
    }
}

/// Each entry of the ledger once, a user's in the order of their versions.
fn assert_whole(database: &TestDatabase, entries: &[Value]) {
    let events: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry["event_id"].as_str().expect("a text"))
        .collect();
    assert_eq!(events.len(), entries.len(), "none comes twice");
    let stored = database.entries(None);
    assert_eq!(entries.len(), stored.len(), "none is skipped");
    let mut versions: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in entries {
        let version = versions
            .entry(entry["user_id"].as_u64().expect("a user"))
            .or_default();
        *version += 1;
        assert_eq!(entry["version"], *version, "{entry}");
    }
}

async fn followers_of_two_services_read_every_entry_once(database: Database) {
    let first = TestApp::on(database).log("info").start().await;
    let second = beside(&first).await;
    let seed = fresh_seed();
    println!("again: BALANCE_TEST_SEED={seed} cargo test --test faults feed::");
    let load = Load::over(&[&first, &second]);
    let posting = async {
        load.go_on(600).await;
        load.finish().await;
        first.accepted("rewards", 900_001, "the last", "1").await;
    };
    let (one, other, ()) = tokio::join!(
        follow_to(&first, "the last"),
        follow_to(&second, "the last"),
        posting
    );
    assert_whole(&first.database, &one);
    assert_whole(&first.database, &other);
}

async fn a_follower_hears_of_the_other_service_s_entries(database: Database) {
    let first = TestApp::on(database).log("info").start().await;
    let second = beside(&first).await;
    let latest = first.backend("/internal/v1/feed?after=latest").await.ok();
    let mut after = latest["next"].as_str().expect("a cursor").to_owned();
    for n in 0..3 {
        let event = format!("e{n}");
        let posted = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            second.accepted("rewards", 1, &event, "1").await
        };
        let (page, _) = tokio::join!(page(&first, Some(&after), 30_000), posted);
        assert_eq!(page.events(), [event.as_str()]);
        after = page.next;
    }
}

/// The program in the documentation.
fn documented_follower() -> String {
    let text = include_str!("../../docs/protocol.md");
    let (_, from) = text
        .split_once("```python\n# follower.py")
        .expect("the program");
    let (program, _) = from.split_once("```").expect("its end");
    format!("# follower.py{program}")
}

fn start_follower(program: &std::path::Path, url: &str, file: &std::path::Path) -> Child {
    Command::new("python3")
        .arg(program)
        .args([url, crate::support::WEBHOOK_SECRET])
        .arg(file)
        .stderr(Stdio::inherit())
        .spawn()
        .expect("python3 starts")
}

async fn the_follower_of_the_documentation_survives_being_killed_at_any_point(database: Database) {
    let app = TestApp::on(database).log("info").start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let (program, file) = (
        dir.path().join("follower.py"),
        dir.path().join("follower.db"),
    );
    let mut script = std::fs::File::create(&program).expect("a file");
    script
        .write_all(documented_follower().as_bytes())
        .expect("written");
    drop(script);
    let url = format!("http://{}", app.internal);
    let copied = TestDatabase::Sqlite(file.clone());
    let mut total = 0;
    for round in 0..8_u64 {
        let mut follower = start_follower(&program, &url, &file);
        let items: Value = (0..300)
            .map(|n| {
                json!({"kind": "reward", "event_id": format!("{round}.{n}"), "user_id": 1 + n % 7, "currency": "TON",
                       "amount": "0.5"})
            })
            .collect();
        let body = json!({"entries": items});
        app.send(Signed::post("/internal/v1/batch", &body))
            .await
            .ok();
        total += 300;
        // At another point each time.
        tokio::time::sleep(Duration::from_millis(60 + 35 * round)).await;
        follower.kill().expect("killed");
        follower.wait().expect("over");
    }
    let mut follower = start_follower(&program, &url, &file);
    crate::support::eventually("the follower has every entry", async || {
        let is_made = file.exists()
            && copied.number("SELECT COUNT(*) FROM sqlite_master WHERE name = 'copied'") == 1;
        (is_made && copied.number("SELECT COUNT(*) FROM copied") == total).then_some(())
    })
    .await;
    assert!(
        follower.try_wait().expect("asked").is_none(),
        "it still runs"
    );
    follower.kill().expect("killed");
    follower.wait().expect("over");
    for (query, expected) in [
        ("SELECT COUNT(DISTINCT event_id) FROM copied", total),
        (
            "SELECT MAX(version) FROM copied WHERE user_id = 1",
            app.entries(1).await.len() as i64,
        ),
    ] {
        assert_eq!(copied.number(query), expected, "{query}");
    }
}
