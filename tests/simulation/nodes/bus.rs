//! The bus between the nodes, in virtual time: it delays, loses, doubles and reorders, is cut in one direction, and its
//! boxes are bounded.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use balance_coordinator::cluster::bus::{Arrival, Bus};
use balance_coordinator::cluster::wire::Topic;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::NODES;
use crate::random::Chance;

/// Messages that wait for a node. The newest one that does not fit is lost, as with NATS.
const BOX_MAX: usize = 64;

/// From a node to a node when nothing is wrong, in milliseconds.
const DELAY_MS: u64 = 1;

/// A connection is made within it, in milliseconds.
const CONNECT_MS: u64 = 50;

/// What is wrong with the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// Of a hundred messages.
    pub lost: u32,
    pub doubled: u32,
    /// A message is held up by as much.
    pub held_ms: u64,
    /// From the first to the second of each pair, nothing passes.
    pub cuts: Vec<(usize, usize)>,
    /// It refuses connections.
    pub is_down: bool,
}

/// What a node has of the bus.
#[derive(Default)]
struct Place {
    is_connected: bool,
    /// Counts the runs of a node, and its connections.
    connection: u64,
    inbox: VecDeque<Arrival>,
    arrived: Rc<Notify>,
    /// So many messages with commits are lost on their way to it.
    drops: u32,
}

struct Inner {
    weather: Weather,
    chance: Chance,
    places: [Place; NODES],
    /// By arrival, then by the order of sending: the receiver, its connection, and what comes.
    under_way: BTreeMap<(Instant, u64), (usize, u64, Topic, Bytes)>,
    sent: u64,
}

/// The server.
#[derive(Clone)]
pub struct Hub {
    inner: Rc<RefCell<Inner>>,
    changed: Rc<Notify>,
}

impl Hub {
    pub fn start(seed: u64) -> Self {
        let inner = Inner {
            weather: Weather::default(),
            chance: Chance::new(seed, 21),
            places: Default::default(),
            under_way: BTreeMap::new(),
            sent: 0,
        };
        let hub = Self {
            inner: Rc::new(RefCell::new(inner)),
            changed: Rc::default(),
        };
        actix_rt::spawn(hub.clone().carry());
        hub
    }

    /// Another weather. A server that goes down ends all connections, and one that comes back takes new ones.
    pub fn set_weather(&self, weather: Weather) {
        let was_down = std::mem::replace(&mut self.inner.borrow_mut().weather, weather).is_down;
        let is_down = self.inner.borrow().weather.is_down;
        for node in 0..NODES {
            if is_down && !was_down {
                self.disconnect(node);
            } else if was_down && !is_down {
                self.connect_later(node);
            }
        }
    }

    /// The next messages with commits to a node are lost, and no beat.
    pub fn drop_commits(&self, node: usize, count: u32) {
        self.inner.borrow_mut().places[node].drops = count;
    }

    /// A new run of a node begins.
    pub fn open(&self, node: usize) -> SimBus {
        {
            let place = &mut self.inner.borrow_mut().places[node];
            *place = Place {
                connection: place.connection + 1,
                ..Place::default()
            };
        }
        self.connect_later(node);
        SimBus {
            hub: self.clone(),
            node,
        }
    }

    fn disconnect(&self, node: usize) {
        let place = &mut self.inner.borrow_mut().places[node];
        if std::mem::take(&mut place.is_connected) {
            place.connection += 1;
            place.inbox.push_back(Arrival::Disconnected);
            place.arrived.notify_one();
        }
    }

    fn connect_later(&self, node: usize) {
        let hub = self.clone();
        let connection = self.inner.borrow().places[node].connection;
        // The server's part of it: a node that stands still is connected, too.
        actix_rt::spawn(async move {
            sleep(Duration::from_millis(CONNECT_MS)).await;
            let inner = &mut *hub.inner.borrow_mut();
            let place = &mut inner.places[node];
            if place.connection == connection && !place.is_connected && !inner.weather.is_down {
                place.is_connected = true;
                place.inbox.push_back(Arrival::Connected);
                place.arrived.notify_one();
            }
        });
    }

    fn send(&self, from: usize, topic: Topic, payload: Vec<u8>) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        if !inner.places[from].is_connected {
            return false;
        }
        let payload = Bytes::from(payload);
        for to in 0..NODES {
            let is_cut = inner.weather.cuts.contains(&(from, to));
            let (place, chance) = (&mut inner.places[to], &mut inner.chance);
            let is_dropped = topic != Topic::Beat && from != to && place.drops > 0;
            place.drops -= u32::from(is_dropped);
            if is_cut || is_dropped || !place.is_connected || chance.percent(inner.weather.lost) {
                continue;
            }
            let copies = 1 + u32::from(chance.percent(inner.weather.doubled));
            for _ in 0..copies {
                let held_ms = chance.between(0, inner.weather.held_ms);
                let arrival = Instant::now() + Duration::from_millis(DELAY_MS + held_ms);
                inner.sent += 1;
                let carried = (to, place.connection, topic, payload.clone());
                inner.under_way.insert((arrival, inner.sent), carried);
            }
        }
        self.changed.notify_one();
        true
    }

    async fn carry(self) {
        loop {
            let next = self
                .inner
                .borrow()
                .under_way
                .keys()
                .next()
                .map(|(at, _)| *at);
            let Some(at) = next else {
                self.changed.notified().await;
                continue;
            };
            if at > Instant::now() {
                tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.changed.notified() => {}
                }
                continue;
            }
            let inner = &mut *self.inner.borrow_mut();
            let Some((_, (to, connection, topic, payload))) = inner.under_way.pop_first() else {
                continue;
            };
            let place = &mut inner.places[to];
            if place.connection == connection && place.inbox.len() < BOX_MAX {
                place.inbox.push_back(Arrival::Message { topic, payload });
                place.arrived.notify_one();
            }
        }
    }
}

/// A node's way to the bus.
pub struct SimBus {
    hub: Hub,
    node: usize,
}

impl Bus for SimBus {
    async fn publish(&mut self, topic: Topic, payload: Vec<u8>) -> bool {
        self.hub.send(self.node, topic, payload)
    }

    async fn next(&mut self) -> Arrival {
        loop {
            let arrived = {
                let place = &mut self.hub.inner.borrow_mut().places[self.node];
                match place.inbox.pop_front() {
                    Some(arrival) => return arrival,
                    None => place.arrived.clone(),
                }
            };
            arrived.notified().await;
        }
    }

    async fn reconnect(&mut self) {
        self.hub.disconnect(self.node);
        self.hub.connect_later(self.node);
    }

    async fn renew(&mut self) {
        self.reconnect().await;
    }

    async fn flush(&mut self) {}
}
