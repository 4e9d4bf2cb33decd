//! What happens to three nodes, by chance: entries, sessions, questions and faults, then calm.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use balance_coordinator::coordinator::messages::{GetBalance, PostEntries, ToActor, ToUser};
use balance_coordinator::domain::{Kind, NewEntry, Outcome, UserId};
use balance_coordinator::ledger::batch::Group;
use balance_coordinator::ledger::{EntryOutcome, Lane};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::bus::{CONNECT_MS, Hub};
use super::faults::UnderWay;
use super::node::{RunningNode, Surroundings, TIMEOUT_MS, settings};
use super::oracle::{Fault, NodesOracle};
use super::plan::{Plan, Theme};
use super::session::Page;
use super::store::{Store, version_of};
use super::{NODES, STEPS};
use crate::oracle::Item;
use crate::random::Chance;
use crate::requests::{entry, item};

/// Sessions at once.
const PAGES_MAX: usize = 10;

/// The nodes find each other first, in milliseconds.
const BEGIN_MS: u64 = 4_000;
/// A node that has gone is forgotten, and a reward is shown, in milliseconds: `limits::NODE_GONE_MS`, the intervals.
const CALM_MS: u64 = 20_000;

/// Everything is looked at so often, in milliseconds.
const LOOK_MS: u64 = 100;

/// The nodes of a run, each a running one or none.
pub struct Nodes {
    pub around: Surroundings,
    running: RefCell<[Option<Rc<RunningNode>>; NODES]>,
    runs: Cell<u64>,
}

impl Nodes {
    pub fn start(&self, node: usize) {
        self.runs.set(self.runs.get() + 1);
        let started = RunningNode::start(&self.around, node, self.runs.get());
        self.running.borrow_mut()[node] = Some(Rc::new(started));
        self.around.oracle.well(node, true);
        // What it commits before it is connected is missing at the others.
        self.around
            .oracle
            .passes(Fault::Lost, 2 * CONNECT_MS * 1000);
    }

    fn get(&self, node: usize) -> Option<Rc<RunningNode>> {
        self.running.borrow()[node].clone()
    }

    /// Nothing is sent to it from now on.
    pub fn take(&self, node: usize) -> Option<Rc<RunningNode>> {
        self.around.oracle.well(node, false);
        self.running.borrow_mut()[node].take()
    }

    pub fn kill(&self, node: usize) {
        if let Some(killed) = self.take(node) {
            killed.kill();
        }
    }

    pub fn stand_still(&self, node: usize, stands_still: bool) {
        if let Some(running) = self.get(node) {
            running.stand_still(stands_still);
        }
    }
}

/// One run.
pub struct History {
    pub nodes: Rc<Nodes>,
    pub oracle: NodesOracle,
    pub chance: Chance,
    pub under_way: Rc<UnderWay>,
    pages: Vec<Page>,
    senders: Vec<JoinHandle<()>>,
    posted: u64,
}

impl History {
    pub fn new(oracle: NodesOracle, seed: u64, plan: Plan) -> Self {
        let around = Surroundings {
            oracle: oracle.clone(),
            store: Store::new(seed, oracle.clone()),
            hub: Hub::start(seed, oracle.clone()),
            settings: settings(),
            plan,
        };
        let nodes = Nodes {
            around,
            running: Default::default(),
            runs: Default::default(),
        };
        (0..NODES).for_each(|node| nodes.start(node));
        Self {
            nodes: Rc::new(nodes),
            oracle,
            chance: Chance::new(seed, 20),
            under_way: Rc::default(),
            pages: Vec::new(),
            senders: Vec::new(),
            posted: 0,
        }
    }

    pub async fn run(mut self) {
        self.oracle.note(&format!("{:?}", self.nodes.around.plan));
        self.rest(BEGIN_MS).await;
        let is_lossy = self.nodes.around.plan.theme == Theme::Lost;
        let lossy = is_lossy.then(|| self.oracle.begins(Fault::Lost));
        for _ in 0..STEPS {
            let gap_ms = self.chance.between(10, 250);
            self.rest(gap_ms).await;
            self.step();
        }
        // What goes on ends by itself.
        while self.under_way.is_any() {
            self.rest(100).await;
        }
        (0..NODES).for_each(|node| self.nodes.around.hub.drop_commits(node, 0));
        lossy
            .into_iter()
            .for_each(|period| self.oracle.ends(period));
        self.calm().await;
    }

    async fn calm(mut self) {
        self.oracle.note("calm");
        self.rest(CALM_MS / 2).await;
        // What was lost last shows by the next number at the latest.
        self.post();
        self.rest(CALM_MS / 2).await;
        self.senders.retain(|sender| !sender.is_finished());
        if !self.senders.is_empty() {
            self.oracle.violation("a sender never had a final answer");
        }
        let now = self.oracle.clock().mono();
        for node in 0..NODES {
            let running = self.nodes.get(node).expect("all run after calm");
            if !running.seen.coverage.is_covered(now) {
                self.oracle
                    .violation(&format!("node {node} is not covered after calm"));
            }
        }
        let store = self.nodes.around.store.clone();
        self.oracle.check_newest(|user| store.version(user));
        self.oracle.check_counts(self.nodes.around.hub.dropped());
    }

    /// Time passes, and everything is looked at.
    async fn rest(&self, ms: u64) {
        for begun_ms in (0..ms).step_by(LOOK_MS as usize) {
            sleep(Duration::from_millis(LOOK_MS.min(ms - begun_ms))).await;
            self.oracle.check_screens();
            self.oracle.check_coverage(&self.nodes.around.store.rows());
        }
    }

    fn step(&mut self) {
        self.pages.retain(|page| !page.is_over());
        self.senders.retain(|sender| !sender.is_finished());
        match self.chance.between(0, 99) {
            0..40 => self.post(),
            40..60 => self.open(),
            60..72 => self.ask(),
            72..75 => {
                if let Some(page) = self.chance.pick(&self.pages) {
                    self.oracle.asks(page.node);
                    page.refresh();
                }
            }
            75..79 => {
                if let Some(page) = self.chance.pick(&self.pages) {
                    page.close();
                }
            }
            79..83 => self.move_user(),
            _ => self.fault(),
        }
    }

    pub fn node(&mut self) -> usize {
        self.chance.between(0, NODES as u64 - 1) as usize
    }

    fn user(&mut self) -> i64 {
        let users = &self.nodes.around.plan.users;
        *self.chance.pick(users).expect("several")
    }

    fn next_entry(&mut self) -> NewEntry {
        self.posted += 1;
        let users = &self.nodes.around.plan.users;
        let drawn = item(&mut self.chance, users.len() as i64);
        let item = Item {
            user: users[drawn.user as usize - 1],
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

    pub fn post(&mut self) {
        let entry = self.next_entry();
        let chance = Chance::new(self.posted, self.chance.between(0, 1 << 32));
        let (nodes, oracle) = (self.nodes.clone(), self.oracle.clone());
        self.senders
            .push(actix_rt::spawn(send(nodes, oracle, entry, chance)));
    }

    pub fn commit_by_hand(&mut self) {
        let entry = self.next_entry();
        let group = Group {
            entries: std::slice::from_ref(&entry),
            is_atomic: false,
        };
        self.nodes.around.store.commit(&[group], None);
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
        let least = self.oracle.least(user, node);
        self.oracle.asks(node);
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
                oracle.answer(user, node, (view.account.version, least), "a read");
            }
        });
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
                    oracle.answer(user_id.get(), node, (version, 0), &what);
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
