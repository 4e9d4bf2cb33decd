//! The connections of a ledger do not wait for each other.

use crossbeam_channel::bounded;

use super::*;
use crate::config::Schema;
use crate::domain::Rules;
use crate::ledger::Progress;

/// The longest wait for an answer, in milliseconds.
const TIMEOUT_MS: u64 = 20_000;

fn open(path: &std::path::Path) -> SqlLedger {
    let options = Options {
        url: DatabaseUrl::Sqlite(path.to_owned()),
        schema: Schema::default(),
        pool_size: 2,
        writers: 1,
        migrate_on_start: true,
        timeout_ms: TIMEOUT_MS,
        lock_timeout_ms: 1000,
        conflicts_max: 1000,
        currencies: Currencies::default(),
        rules: Rules { auto_create: true },
        clock: Clock::system(),
        counters: Arc::default(),
        feed: None,
    };
    let progress = Progress::start(options.clock);
    SqlLedger::open(options, &progress).expect("a new ledger").0
}

#[tokio::test]
async fn a_health_check_does_not_wait_for_reads() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = open(&dir.path().join("ledger.db"));
    let (begun, is_begun) = bounded(10);
    let (end, held) = bounded::<()>(0);
    let reads: Vec<_> = (0..10)
        .map(|_| {
            let (begun, held) = (begun.clone(), held.clone());
            ledger.readers.read(move |connection| {
                begun.send(()).expect("the test waits");
                // Until the other end is dropped.
                let _ = held.recv();
                reads::epoch(connection)
            })
        })
        .collect();
    for _ in 0..2 {
        is_begun
            .recv()
            .expect("each connection of the pool is held");
    }
    let answered = ledger.ping().await;
    drop(end);
    answered.expect("the ledger is there");
    for read in reads {
        read.await.expect("it was held");
    }
    ledger.finish();
    ledger.stop();
}
