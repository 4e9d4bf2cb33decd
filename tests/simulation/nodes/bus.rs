//! The bus between the nodes, in virtual time: it delays, loses, doubles and reorders, is cut in one direction, and its
//! boxes are bounded. It tells the oracle what each node takes out of its box.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use balance_coordinator::cluster::bus::{Arrival, Bus};
use balance_coordinator::cluster::wire::Topic;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::NODES;
use super::oracle::NodesOracle;
use crate::random::Chance;

/// Messages that wait for a node. The newest one that does not fit is lost, as with NATS.
const BOX_MAX: usize = 64;

/// From a node to a node when nothing is wrong, in milliseconds.
const DELAY_MS: u64 = 1;

/// A connection is made within it, in milliseconds.
pub const CONNECT_MS: u64 = 250;

/// What is wrong with the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// Of a hundred messages.
    pub lost: u32,
    pub doubled: u32,
    /// A message is held up by as much at most, each by another time.
    pub held_ms: u64,
    /// From the first to the second, every message takes so many milliseconds longer.
    pub slow: Option<(usize, usize, u64)>,
    /// A node needs so many milliseconds to hand over a message, and its next ones wait.
    pub stuck: Option<(usize, u64)>,
    /// From the first to the second of each pair, nothing passes.
    pub cuts: Vec<(usize, usize)>,
    /// It refuses connections.
    pub is_down: bool,
}

/// What a message says, for the oracle.
#[derive(Debug)]
pub struct Sent {
    /// The sender's run.
    pub boot: String,
    pub at_us: u64,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    /// Each user, with the versions before and after.
    Commits(Vec<(i64, i64, i64)>),
    Beat {
        is_leaving: bool,
    },
    Order,
}

/// Something that waits in a box. What is no message has no content.
type Boxed = (Arrival, Option<Rc<Sent>>);

/// What a node has of the bus.
#[derive(Default)]
struct Place {
    is_connected: bool,
    boot: String,
    /// Counts the runs of a node, and its connections.
    connection: u64,
    inbox: VecDeque<Boxed>,
    arrived: Rc<Notify>,
    /// So many messages with commits are lost on their way to it.
    drops: u32,
    dropped: u64,
}

/// A message to a node on one of its connections.
struct UnderWay {
    to: usize,
    connection: u64,
    message: Arrival,
    sent: Rc<Sent>,
}

struct Inner {
    weather: Weather,
    chance: Chance,
    places: [Place; NODES],
    /// By arrival, then by the order of sending.
    under_way: BTreeMap<(Instant, u64), UnderWay>,
    sent: u64,
}

/// The server.
#[derive(Clone)]
pub struct Hub {
    oracle: NodesOracle,
    inner: Rc<RefCell<Inner>>,
    changed: Rc<Notify>,
}

impl Hub {
    pub fn start(seed: u64, oracle: NodesOracle) -> Self {
        let inner = Inner {
            weather: Weather::default(),
            chance: Chance::new(seed, 21),
            places: Default::default(),
            under_way: BTreeMap::new(),
            sent: 0,
        };
        let hub = Self {
            oracle,
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

    /// How many of these were lost.
    pub fn dropped(&self) -> [u64; NODES] {
        self.inner
            .borrow()
            .places
            .each_ref()
            .map(|place| place.dropped)
    }

    /// A new run of a node begins.
    pub fn open(&self, node: usize, boot: &str) -> SimBus {
        {
            let place = &mut self.inner.borrow_mut().places[node];
            *place = Place {
                connection: place.connection + 1,
                boot: boot.to_owned(),
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
            place.inbox.push_back((Arrival::Disconnected, None));
            place.arrived.notify_one();
        }
    }

    fn connect_later(&self, node: usize) {
        let hub = self.clone();
        let (connection, takes_ms) = {
            let inner = &mut *self.inner.borrow_mut();
            (
                inner.places[node].connection,
                inner.chance.between(10, CONNECT_MS),
            )
        };
        // The server's part of it: a node that stands still is connected, too.
        actix_rt::spawn(async move {
            sleep(Duration::from_millis(takes_ms)).await;
            let inner = &mut *hub.inner.borrow_mut();
            let place = &mut inner.places[node];
            if place.connection == connection && !place.is_connected && !inner.weather.is_down {
                place.is_connected = true;
                place.inbox.push_back((Arrival::Connected, None));
                place.arrived.notify_one();
            }
        });
    }

    fn send(&self, from: usize, topic: Topic, payload: Vec<u8>) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        if !inner.places[from].is_connected {
            return false;
        }
        let sent = Rc::new(Sent {
            boot: inner.places[from].boot.clone(),
            at_us: self.oracle.now_us(),
            content: content(topic, &payload),
        });
        let payload = Bytes::from(payload);
        for to in 0..NODES {
            let is_cut = inner.weather.cuts.contains(&(from, to));
            let (place, chance) = (&mut inner.places[to], &mut inner.chance);
            let is_dropped = topic != Topic::Beat && from != to && place.drops > 0;
            place.drops -= u32::from(is_dropped);
            place.dropped += u64::from(is_dropped);
            let slow_ms = match inner.weather.slow {
                Some((one, other, ms)) if (one, other) == (from, to) => ms,
                _ => 0,
            };
            if is_cut || is_dropped || !place.is_connected || chance.percent(inner.weather.lost) {
                continue;
            }
            let copies = 1 + u32::from(chance.percent(inner.weather.doubled));
            for _ in 0..copies {
                let held_ms = chance.between(0, inner.weather.held_ms);
                let arrival = Instant::now() + Duration::from_millis(DELAY_MS + slow_ms + held_ms);
                inner.sent += 1;
                let under_way = UnderWay {
                    to,
                    connection: place.connection,
                    message: Arrival::Message {
                        topic,
                        payload: payload.clone(),
                    },
                    sent: sent.clone(),
                };
                inner.under_way.insert((arrival, inner.sent), under_way);
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
                    biased;
                    () = sleep_until(at) => {}
                    () = self.changed.notified() => {}
                }
                continue;
            }
            let inner = &mut *self.inner.borrow_mut();
            let Some((_, next)) = inner.under_way.pop_first() else {
                continue;
            };
            let place = &mut inner.places[next.to];
            if place.connection == next.connection && place.inbox.len() < BOX_MAX {
                place.inbox.push_back((next.message, Some(next.sent)));
                place.arrived.notify_one();
            }
        }
    }
}

fn content(topic: Topic, payload: &[u8]) -> Content {
    let field = |message: &Value, index: usize| message[index].as_i64().expect("a number");
    match topic {
        Topic::Commits(_) => {
            let message: Value = serde_json::from_slice(payload).expect("JSON");
            let users = message["users"].as_array().expect("users").iter();
            let users = users.map(|user| (field(user, 0), field(user, 1), field(user, 2)));
            Content::Commits(users.collect())
        }
        Topic::Beat => {
            let leaving = br#""leaving":true"#;
            let is_leaving = payload.windows(leaving.len()).any(|part| part == leaving);
            Content::Beat { is_leaving }
        }
        Topic::Order => Content::Order,
    }
}

/// A node's way to the bus.
pub struct SimBus {
    hub: Hub,
    node: usize,
}

impl Bus for SimBus {
    async fn publish(&mut self, topic: Topic, payload: Vec<u8>) -> bool {
        let stuck = self.hub.inner.borrow().weather.stuck;
        if let Some((_, ms)) = stuck.filter(|(node, _)| *node == self.node) {
            sleep(Duration::from_millis(ms)).await;
        }
        self.hub.send(self.node, topic, payload)
    }

    async fn next(&mut self) -> Arrival {
        loop {
            let arrived = {
                let place = &mut self.hub.inner.borrow_mut().places[self.node];
                match place.inbox.pop_front() {
                    Some((arrival, sent)) => {
                        if let Some(sent) = sent {
                            self.hub.oracle.heard(self.node, &sent);
                        }
                        return arrival;
                    }
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
