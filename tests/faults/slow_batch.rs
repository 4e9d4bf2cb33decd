//! An atomic batch that takes longer than a statement may: it fails alone, and what shares its transaction or comes
//! meanwhile is committed in time.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Database, Signed, TestApp, on_postgres};

on_postgres![a_batch_that_is_too_slow_fails_no_deposit];

const TIMEOUT_MS: i64 = 4000;
const ITEMS: u64 = 200;
/// The time that each of its entries takes, in seconds: all of them take far longer than the time-out.
const SLOW_S: f64 = 0.1;
const SENDERS: u64 = 12;

async fn a_batch_that_is_too_slow_fails_no_deposit(database: Database) {
    let app = TestApp::on(database)
        .log("info")
        .set("database.timeout_ms", TIMEOUT_MS)
        .set("database.writers", 1)
        .start()
        .await;
    app.database.sql(&format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.event_id LIKE 'slow%' THEN PERFORM pg_sleep({SLOW_S}); END IF; RETURN NEW; END $$; \
         CREATE TRIGGER slow BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION slow()"
    ));
    let item = |n: u64| json!({"kind": "reward", "event_id": format!("slow:{n}"), "user_id": 1 + n, "currency": "TON", "amount": "1"});
    let items: Vec<Value> = (0..ITEMS).map(item).collect();
    let is_over = AtomicBool::new(false);
    let slow = async {
        for _ in 0..2 {
            let batch = Signed::post("/internal/v1/batch?atomic=true", &json!({"entries": items}));
            app.send(batch).await.problem(503, "ledger_unavailable");
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (app, is_over) = (&app, &is_over);
    let deposits = (0..SENDERS).map(|sender| async move {
        let mut sent = 0_u64;
        while !is_over.load(Ordering::Relaxed) {
            // Users of the batch, too.
            let event = format!("{sender}:{sent}");
            let asked = std::time::Instant::now();
            let answer = app
                .post("deposits", crate::deposit(&event, 1 + sender))
                .await;
            let took = asked.elapsed();
            assert_eq!(answer.status, 200, "{event} after {took:?}: {answer:?}");
            sent += 1;
        }
        sent
    });
    let (sent, ()) = tokio::join!(futures_util::future::join_all(deposits), slow);
    println!("{} deposits beside it", sent.iter().sum::<u64>());
    assert!(sent.iter().all(|sent| *sent > 0));
    app.database.sql("DROP TRIGGER slow ON entries");
    let batch = Signed::post("/internal/v1/batch?atomic=true", &json!({"entries": items}));
    assert_eq!(app.sender().insist(batch).await["accepted"], ITEMS);
    app.assert_ledger_holds();
}
