//! Refused entries that are kept for administrators: how they are grouped, counted, bounded and carried over.

use serde_json::{Value, json};

use crate::support::{Database, TestApp, TestDatabase, on_both_databases, on_postgres};
use crate::{assert_keys, assert_timestamp, entry, with};

on_both_databases![
    a_refused_body_is_kept_beside_the_first,
    retries_are_one_conflict_however_they_are_spelled,
    conflicts_of_one_batch_are_counted_by_their_content,
    conflicts_are_totalled_and_grouped_by_kind,
    the_number_of_conflicts_is_bounded_and_falls_in_steps,
    conflicts_of_an_older_ledger_are_carried_over,
];
on_postgres![conflicts_cost_the_same_statements_however_many_there_are];

async fn conflicts(app: &TestApp) -> Vec<Value> {
    let answer = app.admin("/admin/v1/conflicts?limit=1000").await.ok();
    answer["conflicts"].as_array().expect("a list").clone()
}

/// Posts what has to be refused.
async fn refused(app: &TestApp, event_id: &str, amount: &str, more: Value) {
    let body = with(&entry(event_id, 1, "TON", amount), more);
    app.post("deposits", body)
        .await
        .problem(409, "idempotency_conflict");
}

/// Items that take a known event id each.
fn items(event_ids: impl Iterator<Item = String>, amount: &str) -> Value {
    let item = |event_id: String| {
        with(
            &entry(&event_id, 1, "TON", amount),
            json!({"kind": "deposit"}),
        )
    };
    event_ids.map(item).collect()
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("e{n}"))
}

async fn a_refused_body_is_kept_beside_the_first(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "e", "1").await;
    refused(&app, "e", "2", json!({"source": "somebody"})).await;
    let conflicts = conflicts(&app).await;
    let [conflict] = &conflicts[..] else {
        panic!("one, not {conflicts:?}")
    };
    assert_keys(
        conflict,
        &[
            "event_id",
            "first",
            "second",
            "count",
            "first_seen_at",
            "seen_at",
        ],
    );
    assert_eq!(
        (&conflict["event_id"], &conflict["count"]),
        (&json!("e"), &json!(1))
    );
    assert_timestamp(&conflict["seen_at"]);
    assert_eq!(conflict["first_seen_at"], conflict["seen_at"]);
    assert_eq!(conflict["first"]["amount"], "1.000000000");
    assert_eq!(conflict["second"]["amount"], "2.000000000");
    assert_eq!(conflict["second"]["source"], "somebody");
}

async fn retries_are_one_conflict_however_they_are_spelled(database: Database) {
    let app = TestApp::start(database).await;
    app.accepted("deposits", 1, "e", "1").await;
    for n in 0..20 {
        let spelling = json!({"metadata": {"attempt": n}, "source": format!("s{n}")});
        refused(&app, "e", "2", spelling).await;
    }
    refused(&app, "e", "3", json!({})).await;
    let found = conflicts(&app).await;
    let shown = |conflict: &Value| {
        (
            conflict["second"]["amount"].clone(),
            conflict["count"].clone(),
        )
    };
    let [newest, oldest] = &found[..] else {
        panic!("two, not {found:?}")
    };
    assert_eq!(shown(newest), (json!("3.000000000"), json!(1)));
    assert_eq!(shown(oldest), (json!("2.000000000"), json!(20)));
    assert_eq!(
        oldest["second"]["metadata"]["attempt"], 0,
        "as it was sent first"
    );
    assert!(oldest["first_seen_at"].as_str() < oldest["seen_at"].as_str());

    refused(&app, "e", "2", json!({})).await;
    let again = conflicts(&app).await;
    assert_eq!(
        shown(&again[0]),
        (json!("2.000000000"), json!(21)),
        "the last refused first"
    );
    assert_eq!(again[0]["first_seen_at"], oldest["first_seen_at"]);

    // Each of the four makes another conflict.
    app.post("rewards", entry("e", 1, "TON", "1"))
        .await
        .problem(409, "idempotency_conflict");
    app.post("deposits", entry("e", 2, "TON", "1"))
        .await
        .problem(409, "idempotency_conflict");
    app.post("deposits", entry("e", 1, "UNI", "1"))
        .await
        .problem(409, "idempotency_conflict");
    assert_eq!(conflicts(&app).await.len(), 5);
}

async fn conflicts_of_one_batch_are_counted_by_their_content(database: Database) {
    let app = TestApp::start(database).await;
    let accepted = app.batch(items(numbered(3), "1")).await.ok();
    assert_eq!(accepted["accepted"], 3);
    for _ in 0..2 {
        let thrice = numbered(3).chain(numbered(3)).chain(numbered(2));
        let answer = app.batch(items(thrice, "2")).await.ok();
        assert_eq!(answer["rejected"], 8, "{answer}");
    }
    let mut counts: Vec<(String, u64)> = conflicts(&app)
        .await
        .iter()
        .map(|c| {
            (
                c["event_id"].as_str().expect("an id").to_owned(),
                c["count"].as_u64().expect("a number"),
            )
        })
        .collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [("e0".into(), 6), ("e1".into(), 6), ("e2".into(), 4)]
    );
}

async fn conflicts_are_totalled_and_grouped_by_kind(database: Database) {
    let app = TestApp::start(database).await;
    let answer = app.admin("/admin/v1/conflicts").await.ok();
    assert_eq!(answer, json!({"conflicts": [], "total": 0, "groups": []}));
    app.batch(items(numbered(200), "1")).await.ok();
    // All of a batch; three again; three of them in an atomic batch; one of another kind and user.
    app.batch(items(numbered(200), "2")).await.ok();
    app.batch(items(numbered(3), "2")).await.ok();
    let mut atomic = items(numbered(3), "2");
    let fresh = with(&entry("new", 1, "TON", "2"), json!({"kind": "reward"}));
    atomic.as_array_mut().expect("a list").push(fresh);
    app.post("batch?atomic=true", json!({"entries": atomic}))
        .await
        .problem(409, "idempotency_conflict");
    app.post("rewards", entry("e7", 2, "TON", "1"))
        .await
        .problem(409, "idempotency_conflict");
    let answer = app.admin("/admin/v1/conflicts?limit=5").await.ok();
    assert_eq!(answer["total"], 201);
    let newest = &answer["conflicts"][0];
    assert_eq!(newest["second"]["kind"], "reward");
    let [deposits, rewards] = &answer["groups"].as_array().expect("a list")[..] else {
        panic!("two kinds: {answer}");
    };
    let keys = [
        "kind",
        "code",
        "conflicts",
        "count",
        "users",
        "first_seen_at",
        "seen_at",
    ];
    for (group, kind, numbers) in [
        (deposits, "deposit", [200, 206, 1]),
        (rewards, "reward", [1, 1, 1]),
    ] {
        assert_keys(group, &keys);
        assert_eq!(
            (&group["kind"], &group["code"]),
            (&json!(kind), &json!("idempotency_conflict"))
        );
        let counted = ["conflicts", "count", "users"].map(|key| group[key].as_i64());
        assert_eq!(counted, numbers.map(Some), "{kind}");
        assert_timestamp(&group["first_seen_at"]);
    }
    assert_eq!(rewards["seen_at"], newest["seen_at"]);
    assert!(deposits["first_seen_at"].as_str() < deposits["seen_at"].as_str());
}

async fn the_number_of_conflicts_is_bounded_and_falls_in_steps(database: Database) {
    let mut app = TestApp::on(database)
        .set("database.conflicts_max", 200)
        .start()
        .await;
    let rows = |app: &TestApp| app.database.number("SELECT COUNT(*) FROM conflicts");
    app.batch(items(numbered(400), "1")).await.ok();
    for event_id in numbered(250) {
        let answer = app.batch(items([event_id].into_iter(), "2")).await.ok();
        assert_eq!(answer["rejected"], 1);
        assert!(rows(&app) <= 200);
    }
    // Retries take no place of others.
    for _ in 0..300 {
        app.batch(items(["e249".to_owned()].into_iter(), "2"))
            .await
            .ok();
    }
    assert_eq!(rows(&app), 200);
    let found = conflicts(&app).await;
    assert_eq!(
        (&found[0]["event_id"], &found[0]["count"]),
        (&json!("e249"), &json!(301))
    );
    assert_eq!(found[199]["event_id"], "e50", "those seen first are gone");

    assert!(app.stop().await.success());
    app.reconfigure("database.conflicts_max", 10);
    app.start_again().await;
    let mut left = Vec::new();
    for n in 300..306 {
        app.batch(items([format!("e{n}")].into_iter(), "2"))
            .await
            .ok();
        left.push(rows(&app));
    }
    assert_eq!(
        left,
        [137, 74, 11, 10, 10, 10],
        "no transaction deletes many"
    );
    // Many at once are kept within the bound, too.
    app.batch(items((306..400).map(|n| format!("e{n}")), "2"))
        .await
        .ok();
    refused(&app, "e0", "5", json!({})).await;
    assert_eq!(rows(&app), 10);
}

/// The ledger as it was before conflicts were counted: the last migration is taken back.
fn before_counts(database: &TestDatabase) {
    let down = match database {
        TestDatabase::Sqlite(_) => {
            include_str!("../../../migrations/sqlite/2026-11-28-120000_conflicts_by_event/down.sql")
        }
        TestDatabase::Postgres { .. } => {
            include_str!(
                "../../../migrations/postgres/2026-11-28-120000_conflicts_by_event/down.sql"
            )
        }
    };
    database.sql(down);
    database.sql("DELETE FROM __diesel_schema_migrations WHERE version = '20261128120000'");
}

/// A row as it was kept then.
fn old_row(database: &TestDatabase, n: usize, second: &str) -> String {
    let digest = match database {
        TestDatabase::Sqlite(_) => format!("x'{n:064}'"),
        TestDatabase::Postgres { .. } => format!("'\\x{n:064}'"),
    };
    format!(
        "INSERT INTO conflicts (event_id, first_user_id, first_version, second, second_digest, seen_at_us) \
         VALUES ('e', 1, 1, '{second}', {digest}, {});",
        1_000_000 * n
    )
}

async fn conflicts_of_an_older_ledger_are_carried_over(database: Database) {
    let mut app = TestApp::start(database).await;
    app.accepted("deposits", 1, "e", "1").await;
    refused(&app, "e", "9", json!({})).await;
    assert!(app.stop().await.success());
    before_counts(&app.database);
    assert_eq!(
        app.database.number("SELECT COUNT(*) FROM conflicts"),
        1,
        "kept on the way back"
    );
    app.database.sql("DELETE FROM conflicts");
    let body = |amount: &str, metadata: &str| {
        format!(
            r#"{{"event_id":"e","user_id":1,"kind":"deposit","currency":"TON","amount":"{amount}","source":"s","metadata":{metadata}}}"#
        )
    };
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(1500), "]".repeat(1500));
    let spelled = |n: usize| body("-2.500000000", &format!(r#"{{"n":{n}}}"#));
    let mut rows: String = (1..=200)
        .map(|n| old_row(&app.database, n, &spelled(n)))
        .collect();
    rows += &old_row(&app.database, 201, &body("3.000000000", "{}"));
    rows += &old_row(&app.database, 202, &body("4.000000000", &deep));
    app.database.sql(&rows);
    app.start_again().await;
    assert_eq!(app.database.number("SELECT COUNT(*) FROM conflicts"), 3);
    // This test's reader of JSON does not go as deep.
    app.database
        .sql("DELETE FROM conflicts WHERE seen_at_us = 202000000");
    let found = conflicts(&app).await;
    let shown: Vec<_> = found
        .iter()
        .map(|c| {
            (
                c["second"]["amount"].as_str(),
                c["count"].as_u64(),
                c["seen_at"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                Some("3.000000000"),
                Some(1),
                Some("1970-01-01T00:03:21.000000Z")
            ),
            (
                Some("-2.500000000"),
                Some(200),
                Some("1970-01-01T00:03:20.000000Z")
            ),
        ]
    );
    assert_eq!(found[1]["first_seen_at"], "1970-01-01T00:00:01.000000Z");
    assert_eq!(found[1]["second"]["metadata"]["n"], 1);
    assert_eq!(found[1]["first"]["event_id"], "e");
    // A retry counts up in the row that was carried over.
    refused(&app, "e", "3", json!({})).await;
    let again = conflicts(&app).await;
    assert_eq!((again.len(), &again[0]["count"]), (2, &json!(2)));
}

async fn conflicts_cost_the_same_statements_however_many_there_are(database: Database) {
    let app = TestApp::on(database)
        .set("database.writers", 1)
        .start()
        .await;
    app.database.sql(
        "CREATE TABLE statements (n BIGINT); \
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO statements VALUES (1); RETURN NULL; END $$; \
         CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON conflicts FOR EACH STATEMENT EXECUTE FUNCTION note()",
    );
    app.batch(items(numbered(200), "1")).await.ok();
    for (amount, retries) in [("2", false), ("2", true), ("3", false)] {
        app.database.sql("DELETE FROM statements");
        let answer = app.batch(items(numbered(200), amount)).await.ok();
        assert_eq!(answer["rejected"], 200);
        // One statement counts up, one inserts (what it counts up itself is another trigger), one prunes.
        let (statements, each_max) = (app.database.number("SELECT COUNT(*) FROM statements"), 4);
        assert!(
            statements >= 1 && statements <= each_max * 2,
            "{statements}, retries: {retries}"
        );
    }
    assert_eq!(conflicts(&app).await.len(), 400);
}
