//! The thread of the cluster: a runtime of its own, so that what the bus brings delays no request and no actor.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, Deadline};
use crate::cluster::bus::Sink;
use crate::cluster::exchange::Exchange;
use crate::cluster::nats::{NatsBus, NatsOptions};
use crate::cluster::orders::Orders;
use crate::cluster::publisher::Outgoing;
use crate::cluster::tracker::{Times, Tracker};
use crate::cluster::view::{ClusterView, NodesTable};
use crate::cluster::wire::Origin;
use crate::config::Cluster;
use crate::domain::Currencies;
use crate::limits::{NODE_GONE_MS, NODES_OLD_MS};
use crate::telemetry::counters::Counters;

/// The times of the tracker.
pub const fn times(settings: &Cluster) -> Times {
    Times {
        beat_us: settings.beat_ms * 1_000,
        silence_us: settings.silence_ms * 1_000,
        lease_us: NODE_GONE_MS * 1_000,
        table_us: NODES_OLD_MS * 1_000,
    }
}

/// What a running cluster needs.
pub struct Parts<S> {
    /// This node.
    pub own: Origin,
    /// The currencies.
    pub currencies: Currencies,
    /// The clock of all parts: the times that go to `sink` are its.
    pub clock: Clock,
    /// Where it is counted.
    pub counters: Arc<Counters>,
    /// What this node commits.
    pub outgoing: Outgoing,
    /// Where it goes what is heard.
    pub sink: S,
}

/// A cluster that is running; its thread ends when this is dropped, or better by [`Running::stop`].
#[derive(Debug)]
pub struct Running {
    /// Takes the table of nodes, each time that it was read.
    pub table: watch::Sender<NodesTable>,
    /// What is known of other nodes.
    pub view: watch::Receiver<ClusterView>,
    /// Takes orders to the other nodes.
    pub orders: Orders,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Running {
    /// Starts the thread. It connects in its own time; until then this node is not covered.
    ///
    /// # Errors
    /// When the system refuses a thread or what a runtime needs.
    pub fn start<S: Sink + Send + 'static>(
        settings: &Cluster,
        options: NatsOptions,
        parts: Parts<S>,
    ) -> std::io::Result<Self> {
        let (table, table_receiver) = watch::channel(NodesTable::default());
        let (view_sender, view) = watch::channel(ClusterView::default());
        let (stop, stop_receiver) = watch::channel(false);
        let (ending, ended) = oneshot::channel();
        let (orders, desk) = Orders::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (name, times) = (settings.name.clone(), times(settings));
        let beat = Duration::from_millis(settings.beat_ms);
        let work = move || {
            runtime.block_on(async {
                let exchange = Exchange {
                    bus: NatsBus::start(options, &name).await,
                    sink: parts.sink,
                    tracker: Tracker::new(parts.own, times),
                    currencies: parts.currencies,
                    clock: parts.clock,
                    counters: parts.counters,
                    outgoing: parts.outgoing,
                    desk,
                    table: table_receiver,
                    stop: stop_receiver,
                    view: view_sender,
                    beat,
                };
                exchange.run().await;
            });
            // A lookup of a name may still be under way.
            runtime.shutdown_background();
            // Nothing may wait for it any more.
            let _ = ending.send(());
        };
        thread::Builder::new()
            .name("cluster".to_owned())
            .spawn(work)?;
        Ok(Self {
            table,
            view,
            orders,
            stop,
            ended,
        })
    }

    /// Sends what is queued, tells the others that nothing follows if that is so, and ends the thread; to be called after
    /// the last commit. Waits no longer than until the deadline.
    pub async fn stop(self, nothing_follows: bool, deadline: Deadline) {
        self.stop.send_replace(nothing_follows);
        if tokio::time::timeout_at(deadline.instant(), self.ended)
            .await
            .is_err()
        {
            log::warn!("cluster: the thread does not end in time");
        }
    }
}
