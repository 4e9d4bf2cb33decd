//! The loop over a bus that takes its time.

use std::sync::Mutex;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::*;
use crate::clock::Wall;
use crate::cluster::orders::{Orders, Reply};
use crate::cluster::publisher::Publisher;
use crate::cluster::tracker::Times;
use crate::cluster::wire::{Action, Boot, Origin};
use crate::coordinator::heard::HeardCommit;
use crate::domain::{Balances, UserId};

const PUBLISH: Duration = Duration::from_millis(10);
const COMMITS: usize = 200;
/// So many go out before the loop misses its own beats, which this bus does not bring back, and connects anew.
const SEEN: usize = 40;

/// What the loop did, in order.
#[derive(Debug, PartialEq)]
enum Did {
    Published,
    /// With what waits, in microseconds.
    Beat(u64),
    Heard,
}

struct SlowBus {
    arrivals: mpsc::Receiver<Arrival>,
    /// Where beats come back, if they do.
    echo: Option<mpsc::Sender<Arrival>>,
    did: mpsc::UnboundedSender<Did>,
}

impl Bus for SlowBus {
    async fn publish(&mut self, topic: Topic, payload: Vec<u8>) -> bool {
        sleep(PUBLISH).await;
        let did = match topic {
            Topic::Commits(_) => Did::Published,
            Topic::Beat => {
                let payload = Bytes::from(payload);
                let beat = decode_beat(&payload).expect("a beat");
                if let Some(echo) = &self.echo {
                    let echoed = Arrival::Message { topic, payload };
                    echo.send(echoed).await.expect("it listens");
                }
                Did::Beat(beat.backlog_us)
            }
            Topic::Order => return true,
        };
        let _ = self.did.send(did);
        true
    }

    async fn next(&mut self) -> Arrival {
        let Some(arrival) = self.arrivals.recv().await else {
            return std::future::pending().await;
        };
        let _ = self.did.send(Did::Heard);
        arrival
    }

    async fn reconnect(&mut self) {}

    async fn renew(&mut self) {}

    async fn flush(&mut self) {}
}

/// Takes note of until when it is covered, and of nothing else.
struct Deaf(Arc<Mutex<Mono>>);

impl Sink for Deaf {
    fn deliver(&mut self, _: Vec<HeardCommit>) -> bool {
        true
    }

    fn distrust(&mut self, _: Partitions, _: Mono) {}

    fn cover_until(&mut self, until: Mono) {
        *self.0.lock().expect("not poisoned") = until;
    }

    fn other_epoch(&mut self, _: &str) {}

    fn order(&mut self, _: &str, _: Action, _: UserId, _: Reply) {}
}

fn commit() -> HeardCommit {
    HeardCommit {
        user_id: UserId::new(1).expect("a user id"),
        version_from: 0,
        version_to: 1,
        balances: Balances::zero(2),
        entries: Vec::new(),
        committed_at: Wall::from_us(1),
        age_us: 0,
    }
}

/// A loop that runs, and its ends.
struct Rig {
    publisher: Publisher,
    clock: Clock,
    to_loop: mpsc::Sender<Arrival>,
    done: mpsc::UnboundedReceiver<Did>,
    running: tokio::task::JoinHandle<()>,
    table: watch::Sender<NodesTable>,
    covered_until: Arc<Mutex<Mono>>,
    _kept: (Orders, watch::Sender<bool>),
}

/// It has heard that it is connected.
async fn rig(brings_back: bool) -> Rig {
    let clock = Clock::system();
    let (publisher, outgoing) = Publisher::new(clock);
    let (to_loop, arrivals) = mpsc::channel(COMMITS);
    let (did, mut done) = mpsc::unbounded_channel();
    let (orders, desk) = Orders::new();
    let (table_sender, table) = watch::channel(NodesTable::default());
    let covered_until = Arc::new(Mutex::new(Mono::default()));
    let (stop_sender, stop) = watch::channel(false);
    let own = Origin {
        epoch: "e".into(),
        node: "a".into(),
        boot: Boot::parse("a1").expect("a word"),
    };
    let times = Times {
        beat_us: 250_000,
        silence_us: 1_000_000,
        lease_us: 6_000_000,
        table_us: 5_000_000,
    };
    let exchange = Exchange {
        bus: SlowBus {
            arrivals,
            echo: brings_back.then(|| to_loop.clone()),
            did,
        },
        sink: Deaf(covered_until.clone()),
        tracker: Tracker::new(own, times),
        currencies: Currencies::default(),
        clock,
        counters: Arc::default(),
        outgoing,
        desk,
        table,
        stop,
        view: watch::Sender::new(ClusterView::default()),
        beat: Duration::from_millis(250),
    };
    let running = tokio::spawn(exchange.run());
    to_loop.send(Arrival::Connected).await.expect("it listens");
    assert_eq!(done.recv().await, Some(Did::Heard));
    Rig {
        publisher,
        clock,
        to_loop,
        done,
        running,
        table: table_sender,
        covered_until,
        _kept: (orders, stop_sender),
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_come_is_heard_while_commits_wait_to_go_out() {
    let Rig {
        publisher,
        to_loop,
        done,
        running,
        ..
    } = &mut rig(false).await;
    // More than go out for seconds, and as many messages of others.
    for _ in 0..COMMITS {
        publisher.publish(vec![commit()]);
        let payload = Bytes::from_static(b"{}");
        let message = Arrival::Message {
            topic: Topic::Beat,
            payload,
        };
        to_loop
            .try_send(message)
            .expect("it listens, and there is room");
    }
    let (mut published, mut heard) = (0, 0);
    while published < SEEN {
        match done.recv().await.expect("it runs") {
            Did::Published => published += 1,
            Did::Heard => heard += 1,
            Did::Beat(_) => {}
        }
    }
    // One for each, but for those commits that a beat takes with it.
    assert!(
        2 * heard >= published,
        "{heard} heard, {published} published"
    );
    running.abort();
}

/// Others may see already what a COMMIT without an answer has committed.
#[tokio::test]
async fn a_beat_tells_how_long_a_commit_has_been_under_way() {
    let mut rig = rig(false).await;
    let mut beat = async || loop {
        if let Did::Beat(us) = rig.done.recv().await.expect("it runs") {
            return us;
        }
    };
    assert_eq!(beat().await, 0);
    let begun = rig.clock.mono();
    rig.publisher.begins(begun);
    // One may have been on its way.
    beat().await;
    let untold_us = beat().await;
    assert!((1..=rig.clock.mono().us_since(begun)).contains(&untold_us));
    rig.publisher.told(begun);
    beat().await;
    assert_eq!(beat().await, 0);
    rig.running.abort();
}

/// Its own memory does not have what it has committed, and another node may have answered it.
#[tokio::test(start_paused = true)]
async fn a_node_is_not_covered_while_its_own_commit_has_no_answer() {
    let rig = rig(true).await;
    let asked_at = Some(rig.clock.mono());
    rig.table.send_modify(|table| table.asked_at = asked_at);
    let is_covered = || rig.clock.mono() < *rig.covered_until.lock().expect("not poisoned");
    sleep(Duration::from_secs(1)).await;
    assert!(is_covered());
    let begun = rig.clock.mono();
    rig.publisher.begins(begun);
    sleep(Duration::from_millis(400)).await;
    assert!(is_covered(), "most are answered soon");
    sleep(Duration::from_millis(700)).await;
    assert!(!is_covered());
    sleep(Duration::from_secs(2)).await;
    assert!(!is_covered());
    rig.publisher.told(begun);
    sleep(Duration::from_millis(400)).await;
    assert!(is_covered());
    rig.running.abort();
}
