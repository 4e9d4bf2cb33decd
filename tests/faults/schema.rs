//! The tables change, go away or can't be written beside the running service. Entries are told from ledgers: no entry is
//! refused for what the ledger can't do, and all goes on by itself when the ledger can.

use serde_json::{Value, json};

use crate::support::{
    Database, Signed, TestApp, eventually, on_both_databases, on_postgres, token,
};

on_both_databases![
    no_entry_is_refused_while_a_table_is_away,
    entries_at_which_the_database_fails_fail_alone_wherever_they_are,
];
on_postgres![
    columns_whose_types_change_stop_neither_writes_nor_reads,
    a_ledger_that_becomes_read_only_refuses_no_entry,
    what_a_constraint_forbids_is_refused_for_good_and_alone,
    connections_that_end_while_they_are_idle_are_no_errors,
];

fn item(event_id: &str, user_id: u64) -> Value {
    json!({"kind": "reward", "event_id": event_id, "user_id": user_id, "currency": "TON", "amount": "1"})
}

async fn start(database: Database, timeout_ms: i64) -> TestApp {
    TestApp::on(database)
        .log("info")
        .set("database.timeout_ms", timeout_ms)
        .set("database.writers", 1)
        .set("database.pool_size", 2)
        .start()
        .await
}

async fn readiness(app: &TestApp) -> u16 {
    app.plain_get(app.internal, "/readyz").await.status
}

async fn becomes_ready(app: &TestApp) {
    eventually("it is ready again", async || {
        (readiness(app).await == 200).then_some(())
    })
    .await;
}

async fn errors(app: &TestApp, kinds: &[&str]) -> f64 {
    let metrics = app.metrics().await;
    let of =
        |kind: &&str| metrics.value(&format!("balance_ledger_errors_total{{kind=\"{kind}\"}}"));
    kinds.iter().map(of).sum()
}

async fn no_entry_is_refused_while_a_table_is_away(database: Database) {
    let app = start(database, 2000).await;
    app.accepted("deposits", 1, "before", "1").await;
    app.database
        .sql("ALTER TABLE entries RENAME TO entries_away");
    let items: Vec<Value> = (0..4000)
        .map(|n| item(&format!("e{n}"), 1 + n % 3000))
        .collect();
    app.batch(json!(items))
        .await
        .problem(503, "ledger_unavailable");
    app.post("deposits", crate::deposit("alone", 1))
        .await
        .problem(503, "ledger_unavailable");
    assert_eq!(readiness(&app).await, 503);
    // Each is a transaction that was rolled back.
    let failed = errors(&app, &["lost", "busy", "refused", "raced", "timeout"]).await;
    assert!(failed < 100.0, "{failed} failed attempts");
    let log = app.log();
    let loud = log
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    assert!(loud.count() <= 10, "{log}");
    app.database
        .sql("ALTER TABLE entries_away RENAME TO entries");
    becomes_ready(&app).await;
    let batch = Signed::post("/internal/v1/batch", &json!({"entries": items}));
    let answer = app.sender().insist(batch).await;
    assert_eq!(answer["rejected"], 0, "{}", answer["rejected"]);
    app.post("deposits", crate::deposit("alone", 1)).await.ok();
    app.assert_ledger_holds();
}

/// Fails for events that begin with `poison`, in words that no program expects.
fn poison(database: Database) -> &'static str {
    match database {
        Database::Sqlite => {
            "CREATE TRIGGER poison BEFORE INSERT ON entries WHEN NEW.event_id LIKE 'poison%' \
             BEGIN SELECT RAISE(ABORT, 'Gift: der Datenträger ist voll'); END"
        }
        Database::Postgres => {
            "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.event_id LIKE 'poison%' THEN RAISE EXCEPTION 'Gift' USING ERRCODE = 'data_exception'; END IF; \
             RETURN NEW; END $$; \
             CREATE TRIGGER poison BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION poison()"
        }
    }
}

async fn entries_at_which_the_database_fails_fail_alone_wherever_they_are(database: Database) {
    const COUNT: u64 = 60;
    let app = start(database, 10_000).await;
    app.database.sql(poison(database));
    for (round, poisoned) in [&[0][..], &[59], &[7, 8, 9], &[0, 30, 59], &[5, 35]]
        .into_iter()
        .enumerate()
    {
        let items: Vec<Value> = (0..COUNT)
            .map(|n| {
                let name = if poisoned.contains(&n) { "poison" } else { "e" };
                item(&format!("{name}:{round}:{n}"), 1 + n % 17)
            })
            .collect();
        let answer = app.batch(json!(items)).await.ok();
        for (n, result) in (0..COUNT).zip(answer["results"].as_array().expect("results")) {
            if poisoned.contains(&n) {
                let told = (&result["status"], &result["code"]);
                assert_eq!(told, (&json!("rejected"), &json!("ledger_unavailable")));
            } else {
                assert_eq!(result["status"], "accepted", "{poisoned:?}: {result}");
            }
        }
    }
    let metrics = app.metrics().await;
    let refused = "balance_entry_refusals_total{code=\"ledger_unavailable\",kind=\"reward\"}";
    assert_eq!(metrics.value(refused), 10.0, "each was answered as refused");
    // Alone it is not known to be at fault, and delays no other.
    let alone = app.post("deposits", crate::deposit("poison:alone", 1));
    let others = async {
        for n in 0..20 {
            app.accepted("deposits", 2, &format!("beside:{n}"), "1")
                .await;
        }
    };
    let (alone, ()) = tokio::join!(alone, others);
    alone.problem(503, "ledger_unavailable");
    becomes_ready(&app).await;
    app.assert_ledger_holds();
}

async fn columns_whose_types_change_stop_neither_writes_nor_reads(database: Database) {
    let app = start(database, 5000).await;
    let look = async |known: &str, version: u64| {
        let again = app.post("deposits", crate::deposit(known, 1)).await.ok();
        assert_eq!(again["duplicate"], true, "{again}");
        let balance = app
            .browser("/api/v1/balance?fresh=true", &token(1), &[])
            .await
            .ok();
        assert_eq!(
            (&balance["version"], &balance["stale"]),
            (&json!(version), &json!(false)),
            "{balance}"
        );
        assert_eq!(app.entries(1).await.len() as u64, version);
    };
    app.post("deposits", crate::deposit("first", 1)).await.ok();
    // Every statement is prepared, on every connection.
    for _ in 0..8 {
        look("first", 1).await;
    }
    for (round, change) in [
        "ALTER TABLE entries ALTER kind TYPE varchar(32)",
        "ALTER TABLE balances ALTER currency TYPE varchar(16)",
        "ALTER TABLE entries ALTER currency TYPE varchar(16), ALTER event_id TYPE varchar(200)",
        "ALTER TABLE entries ADD COLUMN note TEXT",
        "ALTER TABLE entries ALTER other_balances TYPE varchar(2000)",
        "ALTER TABLE entries ALTER kind TYPE text",
    ]
    .into_iter()
    .enumerate()
    {
        app.database.sql(change);
        let name = format!("after:{round}");
        app.post("deposits", crate::deposit(&name, 1)).await.ok();
        for _ in 0..4 {
            look(&name, round as u64 + 2).await;
        }
    }
    assert_eq!(readiness(&app).await, 200);
    app.assert_ledger_holds();
}

async fn a_ledger_that_becomes_read_only_refuses_no_entry(database: Database) {
    let app = start(database, 1500).await;
    app.accepted("deposits", 1, "before", "1").await;
    let name = app.database.name();
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    app.database.sql(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on"
    ));
    app.database.sql(all);
    let items: Vec<Value> = (0..50).map(|n| item(&format!("e{n}"), 1 + n)).collect();
    app.batch(json!(items))
        .await
        .problem(503, "ledger_unavailable");
    assert_eq!(readiness(&app).await, 503);
    app.database.sql(&format!(
        "BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT"
    ));
    becomes_ready(&app).await;
    assert_eq!(app.batch(json!(items)).await.ok()["accepted"], 50);
    app.assert_ledger_holds();
}

async fn what_a_constraint_forbids_is_refused_for_good_and_alone(database: Database) {
    let app = start(database, 5000).await;
    app.database
        .sql("ALTER TABLE entries ADD CHECK (event_id NOT LIKE 'forbidden%')");
    let alone = app.post("deposits", crate::deposit("forbidden", 1)).await;
    alone.problem(422, "invalid_field");
    let items: Vec<Value> = (0..40)
        .map(|n| match n {
            20 => item("forbidden:20", 1),
            n => item(&format!("e{n}"), 1 + n % 9),
        })
        .collect();
    let answer = app.batch(json!(items)).await.ok();
    assert_eq!(
        (&answer["accepted"], &answer["rejected"]),
        (&json!(39), &json!(1))
    );
    assert_eq!(answer["results"][20]["code"], "invalid_field", "{answer}");
    assert_eq!(readiness(&app).await, 200);
    app.assert_ledger_holds();
}

async fn connections_that_end_while_they_are_idle_are_no_errors(database: Database) {
    let app = start(database, 5000).await;
    let before = errors(&app, &["replaced"]).await;
    for n in 0..3 {
        app.accepted("deposits", 1, &format!("e{n}"), "1").await;
        app.backend("/internal/v1/users/1/balance?fresh=true")
            .await
            .ok();
        app.database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
    app.accepted("deposits", 1, "last", "1").await;
    app.backend("/internal/v1/users/1/balance?fresh=true")
        .await
        .ok();
    assert_eq!(
        errors(&app, &["lost", "busy", "timeout", "unfit"]).await,
        0.0
    );
    assert!(errors(&app, &["replaced"]).await > before);
    assert!(!app.log().contains("can't be written"), "{}", app.log());
}
