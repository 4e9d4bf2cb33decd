//! Faults of the bus: each is noticed, nothing is taken for heard that was not, and all is well afterwards.

use std::sync::atomic::Ordering;

use crate::nodes::{Node, Table, covered, heard_by_all, settings, uncovered};
use crate::support::{Nats, Passes, Relay, eventually};

const USER: i64 = 184;

/// Two nodes; the second one behind a relay.
struct Pair {
    nats: Nats,
    relay: Relay,
    table: Table,
    a: Node,
    b: Node,
}

impl Pair {
    async fn start() -> Self {
        let nats = Nats::start();
        let relay = Relay::start(nats.addr()).await;
        let table = Table::default();
        let a = Node::start("a", &settings(nats.url()), &table);
        let b = Node::start("b", &settings(&format!("nats://{}", relay.addr)), &table);
        let pair = Self {
            nats,
            relay,
            table,
            a,
            b,
        };
        pair.is_well().await;
        pair
    }

    /// Both are covered and hear each other.
    async fn is_well(&self) {
        covered(&[&self.a, &self.b]).await;
        heard_by_all(&[&self.a, &self.b], USER).await;
        heard_by_all(&[&self.b, &self.a], USER).await;
        self.a.forget();
        self.b.forget();
    }

    /// A commit on each side is missed by the other: its partition is distrusted when they hear each other again.
    async fn misses(&self, fault: impl AsyncFnOnce(), cure: impl AsyncFnOnce()) {
        fault().await;
        uncovered(&[&self.a, &self.b]).await;
        let versions = [self.a.commit(USER), self.b.commit(USER)];
        cure().await;
        covered(&[&self.a, &self.b]).await;
        for (node, version) in [(&self.b, versions[0]), (&self.a, versions[1])] {
            eventually("what was missed is heard late or distrusted", async || {
                (node.has_heard(USER, version) || node.has_distrusted(USER)).then_some(())
            })
            .await;
        }
        self.is_well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_is_noticed_and_survived() {
    let pair = Pair::start().await;
    pair.misses(
        async || pair.nats.end("KILL"),
        async || pair.nats.start_again(),
    )
    .await;
    assert!(pair.a.is_connected() && pair.b.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_for_a_while_is_noticed() {
    let pair = Pair::start().await;
    pair.misses(
        async || pair.nats.signal("STOP"),
        async || pair.nats.signal("CONT"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_in_front_of_one_node_is_noticed_by_both() {
    let pair = Pair::start().await;
    pair.misses(
        async || pair.relay.set(Passes::NONE),
        async || pair.relay.set(Passes::ALL),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_in_one_direction_is_noticed_by_both() {
    let pair = Pair::start().await;
    for (to_server, to_client) in [(true, false), (false, true)] {
        pair.misses(
            async || {
                pair.relay.set(Passes {
                    to_server,
                    to_client,
                });
            },
            async || pair.relay.set(Passes::ALL),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_before_its_server_is_covered_once_it_is_there() {
    let nats = Nats::start();
    nats.end("TERM");
    let table = Table::default();
    let a = Node::start("a", &settings(nats.url()), &table);
    let version = a.commit(USER);
    eventually("it has tried", async || (!a.is_connected()).then_some(())).await;
    assert!(!a.is_covered());
    nats.start_again();
    covered(&[&a]).await;
    let b = Node::start("b", &settings(nats.url()), &table);
    covered(&[&a, &b]).await;
    assert!(!b.has_heard(USER, version));
    assert!(
        b.has_distrusted(USER),
        "a has numbered what it could not send"
    );
    a.stop(true).await;
    b.stop(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_without_room_is_a_gap() {
    let pair = Pair::start().await;
    pair.b.told.is_full.store(true, Ordering::Relaxed);
    let version = pair.a.commit(USER);
    eventually("it is distrusted", async || {
        pair.b.has_distrusted(USER).then_some(())
    })
    .await;
    assert!(!pair.b.has_heard(USER, version) && pair.b.is_covered());
    pair.b.told.is_full.store(false, Ordering::Relaxed);
    pair.is_well().await;
    let text = pair.b.counters.render();
    let line = "balance_cluster_gaps_total{reason=\"full\"} 1";
    assert!(text.lines().any(|found| found == line), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_is_not_missed_and_one_that_is_gone_is_forgotten() {
    let pair = Pair::start().await;
    let Pair {
        nats,
        relay,
        table,
        a,
        b,
    } = pair;
    b.stop(true).await;
    eventually("b has left", async || {
        a.running.view.borrow().nodes.is_empty().then_some(())
    })
    .await;
    assert!(!a.has_distrusted(USER), "b has said everything");
    table.remove("b");
    covered(&[&a]).await;

    let c = Node::start("c", &settings(nats.url()), &table);
    covered(&[&a, &c]).await;
    a.forget();
    c.stop(false).await;
    uncovered(&[&a]).await;
    table.remove("c");
    covered(&[&a]).await;
    assert!(a.has_distrusted(USER), "c may commit something more");

    let d = Node::start("d", &settings(&format!("nats://{}", relay.addr)), &table);
    covered(&[&a, &d]).await;
    a.forget();
    relay.set(Passes::NONE);
    uncovered(&[&a]).await;
    table.remove("d");
    covered(&[&a]).await;
    assert!(a.has_distrusted(USER), "d may have said something more");
    drop((nats, relay));
}
