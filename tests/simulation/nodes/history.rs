//! What happens to three nodes, by chance: entries, sessions, questions and faults, then calm.

use std::rc::Rc;
use std::time::Duration;

use balance_coordinator::coordinator::messages::{GetBalance, PostEntries, ToActor, ToUser};
use balance_coordinator::domain::{Kind, NewEntry, Outcome, UserId};
use balance_coordinator::ledger::batch::Group;
use balance_coordinator::ledger::{EntryOutcome, Lane};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::bus::{Hub, Weather};
use super::node::{RunningNode, Surroundings, TIMEOUT_MS, settings};
use super::oracle::{Fault, NodesOracle};
use super::session::Page;
use super::store::{Store, version_of};
use super::{NODES, STEPS};
use crate::oracle::Item;
use crate::random::Chance;
use crate::requests::{entry, item};

/// Users of a history, and sessions at once.
const USERS: i64 = 5;
const PAGES_MAX: usize = 10;

/// The nodes find each other first.
const BEGIN_S: u64 = 4;
/// A node that has gone is forgotten, and a reward is shown: `limits::NODE_GONE_MS`, the intervals.
const CALM_S: u64 = 14;

/// The nodes of a run, each a running one or none.
pub struct Nodes {
    around: Surroundings,
    running: std::cell::RefCell<[Option<Rc<RunningNode>>; NODES]>,
    runs: std::cell::Cell<u64>,
}

impl Nodes {
    fn start(&self, node: usize) {
        self.runs.set(self.runs.get() + 1);
        let started = RunningNode::start(&self.around, node, self.runs.get());
        self.running.borrow_mut()[node] = Some(Rc::new(started));
        self.around.oracle.well(node, true);
    }

    fn get(&self, node: usize) -> Option<Rc<RunningNode>> {
        self.running.borrow()[node].clone()
    }

    fn kill(&self, node: usize) {
        self.around.oracle.well(node, false);
        if let Some(killed) = self.running.borrow_mut()[node].take() {
            killed.kill();
        }
    }
}

/// Which faults a history has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    None,
    Lost,
    Any,
}

/// One run.
pub struct History {
    nodes: Rc<Nodes>,
    oracle: NodesOracle,
    chance: Chance,
    profile: Profile,
    pages: Vec<Page>,
    senders: Vec<tokio::task::JoinHandle<()>>,
    posted: u64,
    /// A fault that goes on, of the bus and of each node.
    is_stormy: Rc<std::cell::Cell<bool>>,
    is_hit: Rc<[std::cell::Cell<bool>; NODES]>,
}

impl History {
    pub fn new(oracle: NodesOracle, seed: u64) -> Self {
        let around = Surroundings {
            oracle: oracle.clone(),
            store: Store::new(seed, oracle.clone()),
            hub: Hub::start(seed),
            settings: settings(),
        };
        let nodes = Nodes {
            around,
            running: Default::default(),
            runs: Default::default(),
        };
        (0..NODES).for_each(|node| nodes.start(node));
        let profile = match seed % 8 {
            0 => Profile::None,
            1 | 2 => Profile::Lost,
            _ => Profile::Any,
        };
        Self {
            nodes: Rc::new(nodes),
            oracle,
            chance: Chance::new(seed, 20),
            profile,
            pages: Vec::new(),
            senders: Vec::new(),
            posted: 0,
            is_stormy: Rc::default(),
            is_hit: Rc::default(),
        }
    }

    pub async fn run(mut self) {
        sleep(Duration::from_secs(BEGIN_S)).await;
        if self.profile == Profile::Lost {
            self.oracle.weather(Some(Fault::Lost));
        }
        for _ in 0..STEPS {
            let gap_ms = self.chance.between(10, 250);
            sleep(Duration::from_millis(gap_ms)).await;
            self.step();
            self.oracle.check_bounds();
        }
        // What goes on ends by itself.
        self.profile = match self.profile {
            Profile::Any => Profile::None,
            other => other,
        };
        while self.is_stormy.get() || self.is_hit.iter().any(std::cell::Cell::get) {
            sleep(Duration::from_millis(100)).await;
            self.oracle.check_bounds();
        }
        (0..NODES).for_each(|node| self.nodes.around.hub.drop_commits(node, 0));
        self.oracle.weather(None);
        self.calm().await;
    }

    async fn calm(mut self) {
        self.oracle.note("calm");
        for step in 0..CALM_S * 10 {
            sleep(Duration::from_millis(100)).await;
            self.oracle.check_bounds();
            self.senders.retain(|sender| !sender.is_finished());
            if step == CALM_S {
                self.post();
            }
        }
        if !self.senders.is_empty() {
            self.oracle.violation("a sender never had a final answer");
        }
        let now = self.oracle.clock().mono();
        let mut healed = 0;
        for node in 0..NODES {
            let running = self.nodes.get(node).expect("all run after calm");
            healed += running.counters.cluster.healed.get();
            if !running.coverage.is_covered(now) {
                self.oracle
                    .violation(&format!("node {node} is not covered after calm"));
            }
        }
        if self.profile == Profile::None && self.runs_without_fault() && healed > 0 {
            self.oracle
                .violation(&format!("{healed} healed, though nothing was wrong"));
        }
        let store = self.nodes.around.store.clone();
        self.oracle.check_newest(|user| store.version(user));
    }

    /// No node began again, and nothing was lost.
    fn runs_without_fault(&self) -> bool {
        self.nodes.runs.get() == NODES as u64 && !self.oracle.has_had_faults()
    }

    fn step(&mut self) {
        self.pages.retain(|page| !page.is_over());
        self.senders.retain(|sender| !sender.is_finished());
        match self.chance.between(0, 99) {
            0..45 => self.post(),
            45..65 => self.open(),
            65..72 => self.ask(),
            72..76 => {
                if let Some(page) = self.chance.pick(&self.pages) {
                    page.refresh();
                }
            }
            76..80 => {
                if let Some(page) = self.chance.pick(&self.pages) {
                    page.close();
                }
            }
            80..84 => self.move_user(),
            _ => match self.profile {
                Profile::None => self.post(),
                Profile::Lost => {
                    let (node, count) = (self.node(), self.chance.between(1, 2) as u32);
                    self.nodes.around.hub.drop_commits(node, count);
                }
                Profile::Any => self.fault(),
            },
        }
    }

    fn node(&mut self) -> usize {
        self.chance.between(0, NODES as u64 - 1) as usize
    }

    fn user(&mut self) -> i64 {
        self.chance.between(1, USERS as u64) as i64
    }

    fn next_entry(&mut self) -> NewEntry {
        self.posted += 1;
        let drawn = item(&mut self.chance, USERS);
        let item = Item {
            minor: drawn.minor.abs(),
            kind: if drawn.kind == Kind::Deposit {
                Kind::Deposit
            } else {
                Kind::Reward
            },
            ..drawn
        };
        entry(&format!("e{}", self.posted), item, None)
    }

    fn post(&mut self) {
        let entry = self.next_entry();
        let chance = Chance::new(self.posted, self.chance.between(0, 1 << 32));
        let (nodes, oracle) = (self.nodes.clone(), self.oracle.clone());
        self.senders
            .push(actix_rt::spawn(send(nodes, oracle, entry, chance)));
    }

    fn open(&mut self) {
        let (node, user) = (self.node(), self.user());
        self.open_at(node, user);
    }

    fn open_at(&mut self, node: usize, user: i64) {
        if self.pages.len() < PAGES_MAX
            && let Some(running) = self.nodes.get(node)
        {
            self.pages
                .push(Page::open(&self.oracle, (node, &running), user));
        }
    }

    /// The load balancer takes a user to another node.
    fn move_user(&mut self) {
        let Some(page) = self.chance.pick(&self.pages) else {
            return;
        };
        let (node, user) = ((page.node + 1) % NODES, page.user);
        page.close();
        self.open_at(node, user);
    }

    fn ask(&mut self) {
        let (user, node) = (self.user(), self.node());
        let Some(running) = self.nodes.get(node) else {
            return;
        };
        let least = self.oracle.answered_version(user);
        let (reply, answer) = oneshot::channel();
        let message = ToActor::GetBalance(GetBalance {
            is_fresh: false,
            min_version: None,
            request: None,
            reply,
        });
        let user_id = UserId::new(user).expect("a user id");
        running.call(move |process| {
            let sent = process.registry.try_send(ToUser { user_id, message });
            sent.expect("room");
        });
        let oracle = self.oracle.clone();
        actix_rt::spawn(async move {
            // A node that was killed gives no answer, and one that stands still a late one.
            if let Ok(Ok(view)) = answer.await {
                let least = if view.is_stale { 0 } else { least };
                oracle.answer(user, view.account.version, least, &format!("node {node}"));
            }
        });
    }

    fn fault(&mut self) {
        match self.chance.between(0, 9) {
            0..4 => self.storm(),
            4 | 5 => self.kill(),
            6 | 7 => self.stand_still(),
            8 => self.part_from_store(),
            _ => {
                let by_hand = self.next_entry();
                let group = Group {
                    entries: std::slice::from_ref(&by_hand),
                    is_atomic: false,
                };
                self.nodes.around.store.commit(&[group], None);
            }
        }
    }

    /// Something is wrong with the bus for a while.
    fn storm(&mut self) {
        if self.is_stormy.replace(true) {
            return;
        }
        let (one, other) = (self.node(), self.node());
        let all = || 0..NODES;
        let chance = &mut self.chance;
        let weather = match chance.between(0, 5) {
            0 => Weather {
                lost: chance.between(5, 60) as u32,
                doubled: 20,
                ..Weather::default()
            },
            1 => Weather {
                held_ms: *chance.pick(&[5, 50, 500, 2500]).expect("several"),
                doubled: chance.between(0, 30) as u32,
                ..Weather::default()
            },
            2 => Weather {
                cuts: vec![(one, other)],
                ..Weather::default()
            },
            3 => Weather {
                cuts: all().map(|to| (one, to)).collect(),
                ..Weather::default()
            },
            4 => Weather {
                cuts: all().map(|from| (from, one)).collect(),
                ..Weather::default()
            },
            _ => Weather {
                is_down: true,
                ..Weather::default()
            },
        };
        self.oracle.note(&format!("{weather:?}"));
        self.oracle.weather(Some(Fault::Any));
        self.nodes.around.hub.set_weather(weather);
        let lasts = Duration::from_millis(self.chance.between(300, 6000));
        let (nodes, oracle, is_stormy) = (
            self.nodes.clone(),
            self.oracle.clone(),
            self.is_stormy.clone(),
        );
        actix_rt::spawn(async move {
            sleep(lasts).await;
            nodes.around.hub.set_weather(Weather::default());
            oracle.weather(None);
            is_stormy.set(false);
        });
    }

    /// Hits a node, unless something is wrong with it already, and lets it be well again after a while.
    fn hit(&mut self, longest_ms: u64, begin: fn(&Nodes, usize), end: fn(&Nodes, usize)) {
        let node = self.node();
        if self.is_hit[node].replace(true) {
            return;
        }
        self.oracle.well(node, false);
        begin(&self.nodes, node);
        let lasts = Duration::from_millis(self.chance.between(100, longest_ms));
        let (nodes, is_hit) = (self.nodes.clone(), self.is_hit.clone());
        actix_rt::spawn(async move {
            sleep(lasts).await;
            end(&nodes, node);
            nodes.around.oracle.well(node, true);
            is_hit[node].set(false);
        });
    }

    fn kill(&mut self) {
        self.hit(4000, Nodes::kill, Nodes::start);
    }

    fn stand_still(&mut self) {
        self.hit(
            8000,
            |nodes, node| stand_still(nodes, node, true),
            |nodes, node| stand_still(nodes, node, false),
        );
    }

    fn part_from_store(&mut self) {
        if self.chance.percent(50) {
            self.hit(
                5000,
                |nodes, node| nodes.around.store.trouble(node, |all| all.is_away = true),
                |nodes, node| nodes.around.store.trouble(node, |all| all.is_away = false),
            );
        } else {
            self.hit(
                3000,
                |nodes, node| {
                    nodes
                        .around
                        .store
                        .trouble(node, |all| all.loses_answers = true);
                },
                |nodes, node| {
                    nodes
                        .around
                        .store
                        .trouble(node, |all| all.loses_answers = false);
                },
            );
        }
    }
}

fn stand_still(nodes: &Nodes, node: usize, stands_still: bool) {
    if let Some(running) = nodes.get(node) {
        running.stand_still(stands_still);
    }
}

/// Sends an entry to one node after another until it has a final answer.
async fn send(nodes: Rc<Nodes>, oracle: NodesOracle, entry: NewEntry, mut chance: Chance) {
    let within = Duration::from_millis(TIMEOUT_MS);
    loop {
        let node = chance.between(0, NODES as u64 - 1) as usize;
        if let Some(running) = nodes.get(node) {
            let (reply, answer) = oneshot::channel();
            let (sent, deadline) = (entry.clone(), oracle.clock().deadline(within));
            let user_id = entry.user_id;
            running.call(move |process| {
                let permit = process.admission.try_acquire(Lane::Single, 1);
                let message = ToActor::PostEntries(PostEntries {
                    entries: vec![sent],
                    lane: Lane::Single,
                    deadline,
                    permit: permit.expect("room"),
                    reply,
                });
                let sent = process.registry.try_send(ToUser { user_id, message });
                sent.expect("room");
            });
            let answer = timeout(within, answer).await;
            if let Ok(Ok(posted)) = answer
                && let Some(outcome) = posted.outcomes.first()
            {
                if let Some(version) = version_of(outcome) {
                    let what = format!("answer to {}", entry.event_id.as_str());
                    oracle.answer(user_id.get(), version, 0, &what);
                }
                match outcome {
                    EntryOutcome::Decided { outcome, .. } => {
                        if !matches!(
                            outcome,
                            Outcome::Accepted { .. } | Outcome::Duplicate { .. }
                        ) {
                            oracle.violation(&format!("{entry:?}: {outcome:?}"));
                        }
                        return;
                    }
                    EntryOutcome::Failed(_) | EntryOutcome::NotApplied => {}
                }
            }
        }
        sleep(Duration::from_millis(chance.between(50, 500))).await;
    }
}
