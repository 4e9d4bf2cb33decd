//! What is done to the service, by chance: operations with faults first, then calm.

use std::rc::Rc;
use std::time::Duration;

use balance_coordinator::domain::{Kind, TxHash};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::OPERATIONS;
use super::client::{Client, Command};
use super::ledger::Weather;
use super::network::Network;
use super::oracle::{Item, SWEEP_US, TTL_US};
use super::random::Chance;
use super::requests::{Question, Shape, entry, item, read, send};
use super::world::note;

/// Clients at once.
const CLIENTS_MAX: usize = 24;

/// The longest that the end of all senders is waited for, in virtual seconds.
const CALM_S: u64 = 300;

/// Drives one run.
pub struct Driver {
    network: Rc<Network>,
    seed: u64,
    chance: Chance,
    users: i64,
    posted: u64,
    parts: u64,
    senders: Vec<JoinHandle<()>>,
    clients: Vec<(UnboundedSender<Command>, JoinHandle<()>)>,
}

impl Driver {
    pub fn new(network: Rc<Network>, seed: u64, mut chance: Chance) -> Self {
        let users = chance.between(2, 8) as i64;
        let (senders, clients) = (Vec::new(), Vec::new());
        Self {
            network,
            seed,
            chance,
            users,
            posted: 0,
            parts: 10,
            senders,
            clients,
        }
    }

    /// The safety phase: everything may go wrong.
    pub async fn trouble(&mut self) {
        // By chances of their own, so that the other operations stay as they are.
        let mut losses = Chance::new(self.seed, 3);
        let back_at = losses.percent(25).then(|| losses.between(50, 450) as usize);
        let kept_at = back_at.map(|at| at - losses.between(3, 40) as usize);
        let new_epoch_at = losses.percent(10).then(|| losses.between(50, 450) as usize);
        for index in 0..OPERATIONS {
            if Some(index) == kept_at {
                self.network.ledger.keep();
            }
            if Some(index) == back_at {
                self.network.ledger.go_back();
            }
            if Some(index) == new_epoch_at {
                self.network.ledger.begin_epoch();
            }
            let gap_ms = match self.chance.between(0, 99) {
                0..60 => self.chance.between(0, 50),
                60..90 => self.chance.between(50, 1500),
                90..99 => self.chance.between(1500, 8000),
                _ => self.chance.between(8000, 70_000),
            };
            sleep(Duration::from_millis(gap_ms)).await;
            self.operate().await;
            self.clients.retain(|(_, task)| !task.is_finished());
            self.senders.retain(|task| !task.is_finished());
            self.network
                .world
                .check(|oracle, now_us| oracle.check_recovery(now_us));
        }
    }

    /// The liveness phase: nothing goes wrong any more, and everything has to come right.
    pub async fn calm(mut self) {
        note!(self.network.world, "calm");
        self.weather(|weather| *weather = Weather::default());
        self.tell_all(|| Command::Calm);
        for _ in 0..CALM_S {
            self.senders.retain(|task| !task.is_finished());
            sleep(Duration::from_secs(1)).await;
        }
        if !self.senders.is_empty() {
            self.network.world.violation(&format!(
                "{} senders never had a final answer",
                self.senders.len()
            ));
        }
        self.check_quiet().await;
        let now_us = self.network.world.now_us();
        let found = self.network.world.lock().oracle.finish(now_us);
        found
            .iter()
            .for_each(|what| self.network.world.violation(what));
        self.check_empty().await;
    }

    /// With nothing under way, what the registry counts is what is there.
    async fn check_quiet(&mut self) {
        self.clients.retain(|(_, task)| !task.is_finished());
        let totals = self.network.totals().await;
        note!(self.network.world, "{totals:?}");
        let (open, stale) = (self.clients.len(), self.network.stale_actors());
        if totals.sessions != open as u64 || stale != 0 {
            self.network.world.violation(&format!(
                "{open} sessions are open, {stale} actors stale: {totals:?}"
            ));
        }
    }

    /// When all have left, nothing stays behind.
    async fn check_empty(&mut self) {
        self.tell_all(|| Command::Leave);
        sleep(Duration::from_micros(2 * (TTL_US + SWEEP_US))).await;
        let totals = self.network.totals().await;
        if totals.sessions != 0 || totals.actors != 0 {
            self.network
                .world
                .violation(&format!("all have left: {totals:?}"));
        }
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for (commands, _) in &self.clients {
            // A client that has left hears nothing.
            let _ = commands.send(command());
        }
    }

    fn chances(&mut self) -> Chance {
        self.parts += 1;
        Chance::new(self.seed, self.parts)
    }

    fn weather(&self, change: impl FnOnce(&mut Weather)) {
        let weather = self.network.ledger.set_weather(change);
        note!(self.network.world, "{weather:?}");
        let is_well = weather == Weather::default();
        self.network.world.check(|oracle, now_us| {
            oracle.weather(is_well, now_us);
            Ok(())
        });
    }

    /// Something is wrong with the ledger, for a while.
    fn storm(&mut self, begin: fn(&mut Weather), end: fn(&mut Weather), longest_ms: u64) {
        self.weather(begin);
        let wait = Duration::from_millis(self.chance.between(20, longest_ms));
        let (network, world) = (self.network.clone(), self.network.world.clone());
        actix_rt::spawn(async move {
            sleep(wait).await;
            let weather = network.ledger.set_weather(end);
            note!(world, "{weather:?}");
            world.check(|oracle, now_us| {
                oracle.weather(weather == Weather::default(), now_us);
                Ok(())
            });
        });
    }

    async fn operate(&mut self) {
        match self.chance.between(0, 999) {
            0..330 => self.post(Shape::Single, 1),
            330..390 => self.post_several(Shape::Batch),
            390..420 => self.post_several(Shape::Atomic),
            420..460 => self.post_again(),
            460..470 => self.post(Shape::Single, 30),
            470..480 => self.drip(),
            480..560 => self.command(Command::Refresh),
            560..580 => self.command(Command::Ping),
            580..600 => self.command(Command::Displayed),
            600..605 => self.command(Command::Authenticate),
            605..620 => self.command(Command::Garbage),
            620..720 => self.open(),
            720..740 => self.command(Command::Leave),
            740..760 => self.command(Command::Drop),
            760..800 => self.stall(),
            800..815 => self.slow(),
            815..825 => self.command(Command::Silent(true)),
            825..830 => self.tell_all(|| Command::Calm),
            830..900 => self.ask(),
            900..920 => self.storm(|w| w.is_away = true, |w| w.is_away = false, 12_000),
            920..940 => self.storm(|w| w.is_slow = true, |w| w.is_slow = false, 8000),
            940..950 => self.storm(
                |w| w.loses_answers = true,
                |w| w.loses_answers = false,
                3000,
            ),
            950..955 => self.storm(|w| w.serves_old = true, |w| w.serves_old = false, 3000),
            955..965 => self.storm(|w| w.refuses = true, |w| w.refuses = false, 3000),
            965..985 => self.crash(),
            985..992 => self.write_behind(),
            992..996 => self.restart().await,
            _ => self.replace_process(),
        }
    }

    fn next_item(&mut self) -> (String, Item, Option<TxHash>) {
        self.posted += 1;
        let item = item(&mut self.chance, self.users);
        let has_hash = item.kind == Kind::Deposit && self.chance.percent(50);
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&self.posted.to_be_bytes());
        (
            format!("e{}", self.posted),
            item,
            has_hash.then(|| TxHash::from_slice(&hash).expect("32 bytes")),
        )
    }

    fn spawn_sender(&mut self, entries: Vec<balance_coordinator::domain::NewEntry>, shape: Shape) {
        let chance = self.chances();
        self.senders.push(actix_rt::spawn(send(
            self.network.clone(),
            entries,
            shape,
            chance,
        )));
    }

    fn post(&mut self, shape: Shape, times: usize) {
        let user = self.chance.between(1, self.users as u64) as i64;
        for _ in 0..times {
            let (event, mut item, hash) = self.next_item();
            if times > 1 {
                item.user = user;
            }
            self.spawn_sender(vec![entry(&event, item, hash)], shape);
        }
    }

    fn post_several(&mut self, shape: Shape) {
        let count = self.chance.between(2, 12);
        let entries = (0..count)
            .map(|_| self.next_item())
            .map(|(event, item, hash)| entry(&event, item, hash))
            .collect();
        self.spawn_sender(entries, shape);
    }

    /// A part of an acknowledged entry, or more than it has.
    fn take_back(&mut self, event: &str, item: Item) {
        self.posted += 1;
        let size = item.minor.unsigned_abs();
        let part = self.chance.between(1, size + size / 4 + 1);
        let reversal = Item {
            kind: Kind::Reversal,
            minor: part as i64,
            ..item
        };
        let event = format!("back{}:{event}", self.posted);
        self.spawn_sender(vec![entry(&event, reversal, None)], Shape::Single);
    }

    /// An acknowledged entry once more, as it was or with another amount.
    fn post_again(&mut self) {
        let acknowledged = self.network.world.lock().oracle.acknowledged();
        let Some((event, mut item)) = self.chance.pick(&acknowledged).cloned() else {
            return;
        };
        if item.kind != Kind::Reversal && self.chance.percent(40) {
            return self.take_back(&event, item);
        }
        if self.chance.percent(40) {
            item.minor += item.minor.signum();
        }
        self.spawn_sender(vec![entry(&event, item, None)], Shape::Single);
    }

    /// Direct changes of one user, one after another.
    fn drip(&mut self) {
        let user = self.chance.between(1, self.users as u64) as i64;
        let items: Vec<_> = (0..30).map(|_| self.next_item()).collect();
        let (network, mut chance) = (self.network.clone(), self.chances());
        let (seed, part) = (self.seed, self.parts);
        self.senders.push(actix_rt::spawn(async move {
            for (event, item, hash) in items {
                sleep(Duration::from_millis(chance.between(50, 250))).await;
                let item = Item {
                    user,
                    minor: item.minor.abs(),
                    kind: Kind::Deposit,
                    ..item
                };
                let chance = Chance::new(seed, part ^ 0xD21B);
                send(
                    network.clone(),
                    vec![entry(&event, item, hash)],
                    Shape::Single,
                    chance,
                )
                .await;
            }
        }));
    }

    fn open(&mut self) {
        if self.clients.len() < CLIENTS_MAX {
            let user = self.chance.between(1, self.users as u64) as i64;
            let chance = self.chances();
            let (client, commands) = Client::new(self.network.clone(), user, chance);
            self.clients.push((commands, actix_rt::spawn(client.run())));
        }
    }

    fn command(&mut self, command: Command) {
        if let Some((commands, _)) = self.chance.pick(&self.clients) {
            // A client that has left hears nothing.
            let _ = commands.send(command);
        }
    }

    fn stall(&mut self) {
        let milliseconds = self.chance.between(100, 13_000);
        self.command(Command::Stall(milliseconds));
    }

    fn slow(&mut self) {
        let milliseconds = self.chance.between(20, 600);
        self.command(Command::Slow(milliseconds));
    }

    fn ask(&mut self) {
        let user = self.chance.between(1, self.users as u64) as i64;
        let version = self.network.world.lock().oracle.books.version(user);
        let ahead = self.chance.between(0, 2) as i64;
        let min_version = self.chance.percent(30).then_some(version + ahead);
        let question = Question {
            user,
            is_fresh: self.chance.percent(40),
            min_version,
        };
        actix_rt::spawn(read(self.network.clone(), question));
    }

    fn crash(&mut self) {
        let user = self.chance.between(1, self.users as u64) as i64;
        note!(self.network.world, "the actor of user {user} dies");
        self.network.world.check(|oracle, now_us| {
            oracle.died(user, now_us);
            Ok(())
        });
        self.network.crash(user);
    }

    fn write_behind(&mut self) {
        let (event, item, _) = self.next_item();
        let item = Item {
            minor: item.minor.abs(),
            kind: Kind::Reward,
            ..item
        };
        self.network.ledger.write_behind(entry(&event, item, None));
    }

    async fn restart(&mut self) {
        note!(self.network.world, "the service stops");
        self.network.begin_stopping();
        sleep(Duration::from_millis(self.chance.between(100, 2000))).await;
        self.replace_process();
    }

    fn replace_process(&self) {
        self.network.start_process();
        self.tell_all(|| Command::Orphaned);
    }
}
