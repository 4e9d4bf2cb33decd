//! What goes wrong in a history.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::NODES;
use super::bus::Weather;
use super::history::{History, Nodes};
use super::node::TIMEOUT_MS;
use super::oracle::Fault;
use super::plan::Theme;

/// What goes on and ends by itself: of the bus, and of each node.
#[derive(Default)]
pub struct UnderWay {
    is_stormy: Cell<bool>,
    is_hit: [Cell<bool>; NODES],
}

impl UnderWay {
    pub fn is_any(&self) -> bool {
        self.is_stormy.get() || self.is_hit.iter().any(Cell::get)
    }
}

/// What a node is hit by, and is well again after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    Killed,
    Stopped,
    StoreAway,
    LosesAnswers,
    Leaves,
}

impl Hit {
    const fn longest_ms(self) -> u64 {
        match self {
            Self::Killed => 12_000,
            Self::Stopped => 8_000,
            Self::StoreAway => 5_000,
            Self::LosesAnswers => 3_000,
            Self::Leaves => 2_000,
        }
    }

    const fn fault(self) -> Option<Fault> {
        match self {
            Self::Killed | Self::Stopped => Some(Fault::Silent),
            Self::LosesAnswers => Some(Fault::Lost),
            Self::StoreAway | Self::Leaves => None,
        }
    }

    async fn begin(self, nodes: &Nodes, node: usize) {
        let around = &nodes.around;
        match self {
            Self::Killed => nodes.kill(node),
            Self::Stopped => {
                around.oracle.well(node, false);
                nodes.stand_still(node, true);
            }
            Self::StoreAway => {
                around.oracle.reaches_store(node, false);
                around.store.trouble(node, |all| all.is_away = true);
            }
            Self::LosesAnswers => around.store.trouble(node, |all| all.loses_answers = true),
            Self::Leaves => {
                if around.plan.theme.loses_nothing() {
                    // A row that a younger node leaves keeps new nodes from being covered.
                    sleep(around.store.young_for(node)).await;
                }
                if let Some(leaving) = nodes.take(node) {
                    // What it was sent has an answer by then.
                    sleep(Duration::from_millis(TIMEOUT_MS + 100)).await;
                    leaving.leave();
                    sleep(Duration::from_millis(20)).await;
                    leaving.kill();
                    around.oracle.is_over(node);
                    around.store.leave(&leaving.seen.boot);
                }
            }
        }
    }

    fn end(self, nodes: &Nodes, node: usize) {
        let around = &nodes.around;
        match self {
            Self::Killed | Self::Leaves => nodes.start(node),
            Self::Stopped => {
                nodes.stand_still(node, false);
                around.oracle.well(node, true);
            }
            Self::StoreAway => {
                around.store.trouble(node, |all| all.is_away = false);
                around.oracle.reaches_store(node, true);
            }
            Self::LosesAnswers => around.store.trouble(node, |all| all.loses_answers = false),
        }
    }
}

impl History {
    /// Something goes wrong, if this history has faults.
    pub fn fault(&mut self) {
        let theme = match self.nodes.around.plan.theme {
            Theme::Any => {
                let several = [
                    Theme::Doubt,
                    Theme::Cut,
                    Theme::Cut,
                    Theme::Away,
                    Theme::Late,
                    Theme::Late,
                    Theme::Killed,
                    Theme::Killed,
                    Theme::Stopped,
                    Theme::Stopped,
                    Theme::StoreAway,
                    Theme::ByHand,
                    Theme::Leaves,
                ];
                *self.chance.pick(&several).expect("several")
            }
            other => other,
        };
        match theme {
            Theme::None | Theme::Any => self.post(),
            Theme::Lost => {
                let (node, count) = (self.node(), self.chance.between(1, 2) as u32);
                self.nodes.around.hub.drop_commits(node, count);
            }
            Theme::Doubt => self.hit(Hit::LosesAnswers),
            Theme::Cut => self.cut(),
            Theme::Away => self.storm(
                Fault::Silent,
                Weather {
                    is_down: true,
                    ..Weather::default()
                },
            ),
            Theme::Late => self.hold_up(),
            Theme::Killed => self.hit(Hit::Killed),
            Theme::Stopped => self.hit(Hit::Stopped),
            Theme::StoreAway => self.hit(Hit::StoreAway),
            Theme::ByHand if self.nodes.around.plan.has_rounds() => self.commit_by_hand(),
            Theme::ByHand => self.post(),
            // One after another.
            Theme::Leaves if self.under_way.is_any() => self.post(),
            Theme::Leaves => self.hit(Hit::Leaves),
        }
    }

    fn cut(&mut self) {
        let (one, other) = (self.node(), self.node());
        let others = || (0..NODES).filter(move |node| *node != one);
        let weather = match self.chance.between(0, 4) {
            0 => Weather {
                lost: self.chance.between(5, 60) as u32,
                doubled: 20,
                ..Weather::default()
            },
            1 => Weather {
                cuts: vec![(one, other)],
                ..Weather::default()
            },
            // The servers of the bus do not hear each other.
            2 => Weather {
                cuts: others()
                    .flat_map(|other| [(one, other), (other, one)])
                    .collect(),
                ..Weather::default()
            },
            3 => Weather {
                cuts: (0..NODES).map(|to| (one, to)).collect(),
                ..Weather::default()
            },
            _ => Weather {
                cuts: (0..NODES).map(|from| (from, one)).collect(),
                ..Weather::default()
            },
        };
        self.storm(Fault::Silent, weather);
    }

    fn hold_up(&mut self) {
        let (one, other) = (self.node(), self.node());
        let all = [5, 50, 500, 2500, 5000];
        let ms = *self.chance.pick(&all).expect("several");
        let weather = match self.chance.between(0, 4) {
            0 | 1 => Weather {
                slow: Some((one, other, ms)),
                ..Weather::default()
            },
            2 | 3 => Weather {
                held_ms: ms,
                doubled: self.chance.between(0, 30) as u32,
                ..Weather::default()
            },
            _ => {
                let stuck = Weather {
                    stuck: Some((one, self.chance.between(10, 700))),
                    ..Weather::default()
                };
                // What waits is as late as can be.
                return self.storm(Fault::Late { us: u64::MAX }, stuck);
            }
        };
        self.storm(Fault::Late { us: ms * 1000 }, weather);
    }

    /// Something is wrong with the bus for a while.
    fn storm(&mut self, fault: Fault, weather: Weather) {
        if self.under_way.is_stormy.replace(true) {
            return;
        }
        self.oracle.note(&format!("{weather:?}"));
        let period = self.oracle.begins(fault);
        self.nodes.around.hub.set_weather(weather);
        let lasts = Duration::from_millis(self.chance.between(300, 9000));
        let (nodes, under_way) = (self.nodes.clone(), self.under_way.clone());
        actix_rt::spawn(async move {
            sleep(lasts).await;
            nodes.around.hub.set_weather(Weather::default());
            nodes.around.oracle.ends(period);
            under_way.is_stormy.set(false);
        });
    }

    /// Hits a node, unless something is wrong with it already, and lets it be well again after a while. Sometimes between
    /// a commit and telling of it.
    fn hit(&mut self, hit: Hit) {
        let node = self.node();
        if self.under_way.is_hit[node].replace(true) {
            return;
        }
        let lasts = Duration::from_millis(self.chance.between(100, hit.longest_ms()));
        let waits_ms = if self.chance.percent(60) { 1500 } else { 0 };
        let (nodes, under_way) = (self.nodes.clone(), self.under_way.clone());
        actix_rt::spawn(hit_node((nodes, under_way), (hit, node), lasts, waits_ms));
    }
}

async fn hit_node(
    (nodes, under_way): (Rc<Nodes>, Rc<UnderWay>),
    (hit, node): (Hit, usize),
    lasts: Duration,
    waits_ms: u64,
) {
    let (oracle, store) = (&nodes.around.oracle, &nodes.around.store);
    let between = store.has_committed[node].notified();
    // Not every node commits within it.
    let _ = timeout(Duration::from_millis(waits_ms), between).await;
    oracle.note(&format!("{hit:?} hits node {node}"));
    let period = hit.fault().map(|fault| oracle.begins(fault));
    hit.begin(&nodes, node).await;
    sleep(lasts).await;
    hit.end(&nodes, node);
    if let Some(period) = period {
        oracle.ends(period);
    }
    under_way.is_hit[node].set(false);
}
