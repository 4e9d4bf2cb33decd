use std::sync::mpsc;

use tempfile::TempDir;

use super::*;
use crate::config::{DatabaseUrl, Schema};
use crate::ledger::connection::identity::Identity;
use crate::ledger::connection::{Access, Source};
use crate::ledger::{Progress, migrate};

/// What was read, in order. Each read waits for its gate.
type Log = Arc<Mutex<Vec<String>>>;

struct Pool {
    readers: Readers,
    log: Log,
    _dir: TempDir,
}

impl Pool {
    fn of(size: u32) -> Self {
        let dir = TempDir::new().expect("a directory");
        let url = DatabaseUrl::Sqlite(dir.path().join("reads.db"));
        let progress = Progress::start(Clock::system());
        migrate(&url, &Schema::default(), false, &progress).expect("migrated");
        let source = Source::new(&url, &Schema::default());
        let mut connected = source.connect(60_000, "", Access::Write).expect("it opens");
        let standing = Arc::new(Standing::default());
        let identity = Identity::first(standing.clone(), &mut connected.connection);
        let manager = Manager {
            identity: Arc::new(identity),
            source,
            timeout_ms: 60_000,
            file: None,
        };
        let clock = Clock::system();
        let readers = Readers::start("test", manager, size, clock, Arc::default(), standing);
        Self {
            readers: readers.expect("threads"),
            log: Log::default(),
            _dir: dir,
        }
    }

    fn job(
        &self,
        name: String,
    ) -> impl Fn(&mut AnyConnection) -> Result<(), ReadError> + Send + 'static {
        let log = self.log.clone();
        move |_| {
            log.lock().expect("no panic holds it").push(name.clone());
            Ok(())
        }
    }

    /// A read that has begun, and goes on until the gate is dropped.
    fn occupy(&self, is_asked: bool) -> (Pending<()>, mpsc::Sender<()>) {
        let (gate, closed) = mpsc::channel::<()>();
        let (begins, begun) = mpsc::channel();
        let job = move |_: &mut AnyConnection| {
            begins.send(()).expect("the test waits");
            let _ = closed.recv();
            Ok(())
        };
        let pending = if is_asked {
            self.readers.read(job)
        } else {
            self.readers.read_in_background(job)
        };
        begun.recv().expect("it begins");
        (pending, gate)
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic holds it").clone()
    }
}

#[tokio::test]
async fn reads_that_were_asked_for_overtake_those_that_were_not() {
    let pool = Pool::of(1);
    let (busy, gate) = pool.occupy(true);
    let unasked: Vec<_> = (0..5)
        .map(|n| {
            pool.readers
                .read_in_background(pool.job(format!("unasked {n}")))
        })
        .collect();
    let asked: Vec<_> = (0..3)
        .map(|n| pool.readers.read(pool.job(format!("asked {n}"))))
        .collect();
    drop(gate);
    busy.await.expect("read");
    for read in asked.into_iter().chain(unasked) {
        read.await.expect("read");
    }
    let expected = [
        "asked 0",
        "asked 1",
        "asked 2",
        "unasked 0",
        "unasked 1",
        "unasked 2",
        "unasked 3",
        "unasked 4",
    ];
    assert_eq!(pool.log(), expected);
}

#[tokio::test]
async fn half_of_the_connections_are_kept_for_reads_that_were_asked_for() {
    let pool = Pool::of(4);
    let busy = [pool.occupy(false), pool.occupy(false)];
    let waits = pool.readers.read_in_background(pool.job("unasked".into()));
    for n in 0..10 {
        pool.readers
            .read(pool.job(format!("asked {n}")))
            .await
            .expect("read");
    }
    assert_eq!(pool.log().len(), 10, "no third one of the background runs");
    for (pending, gate) in busy {
        drop(gate);
        pending.await.expect("read");
    }
    waits.await.expect("read");
}

#[tokio::test]
async fn a_read_of_the_background_has_its_turn_however_many_are_asked_for() {
    let pool = Pool::of(1);
    let (busy, gate) = pool.occupy(true);
    let unasked = pool.readers.read_in_background(pool.job("unasked".into()));
    let asked: Vec<_> = (0..3 * ASKED_READS_IN_A_ROW_MAX)
        .map(|_| pool.readers.read(pool.job("asked".into())))
        .collect();
    drop(gate);
    busy.await.expect("read");
    for read in asked {
        read.await.expect("read");
    }
    unasked.await.expect("read");
    let place = pool.log().iter().position(|name| name == "unasked");
    assert!(
        place.is_some_and(|place| place <= ASKED_READS_IN_A_ROW_MAX),
        "{place:?}"
    );
}
