//! The ledger of the simulation: tables in memory, decided by the real rule, written by tasks in virtual time that fail
//! as planned.
//!
//! It keeps what the real one promises (an answer after the commit, a user's order within a lane, single postings before
//! bulk ones, a broken commit settled before it is answered) and nothing more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use balance_coordinator::domain::Outcome;
use balance_coordinator::domain::{Account, TelegramId, UserId};
use balance_coordinator::ledger::batch::Group;
use balance_coordinator::ledger::memory::Tables;
use balance_coordinator::ledger::{
    EntryOutcome, Lane, Ledger, LedgerError, Loss, MissedEntry, Orphan, Pending, PostError, Posted,
    Posting, Standing,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::plants::LedgerPlant;
use super::random::Chance;
use super::world::{WALL_START_US, World, note};

/// Writers, as on PostgreSQL: a user always has the same one.
const WRITERS: usize = 2;

/// Postings in one transaction.
const POSTINGS_MAX: usize = 8;

/// Within this everything is answered, in milliseconds (`database.timeout_ms`), and how much earlier a read gives up.
pub const TIMEOUT_MS: u64 = 5000;
const MARGIN_MS: u64 = 100;

/// What is wrong with the database at the moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    pub is_away: bool,
    pub is_slow: bool,
    pub loses_answers: bool,
    pub serves_old: bool,
    pub refuses: bool,
}

/// The database, and the threads that the real ledger would have.
pub struct SimLedger {
    world: World,
    tables: Mutex<Tables>,
    weather: Mutex<Weather>,
    chance: Mutex<Chance>,
    lanes: Vec<mpsc::UnboundedSender<Sent>>,
    /// The process that is running, and its way to hear of what nobody waited for.
    running: Mutex<Running>,
    stored: Mutex<Stored>,
    plant: Option<LedgerPlant>,
}

/// The process that is running.
#[derive(Debug, Clone, Default)]
struct Running {
    process: u64,
    orphans: Option<mpsc::Sender<Orphan>>,
    standing: Arc<Standing>,
}

/// What is stored beside the tables, and a copy of the tables.
#[derive(Debug, Default)]
struct Stored {
    epochs: usize,
    kept: Option<Tables>,
}

impl Stored {
    fn epoch(&self) -> String {
        epoch(self.epochs)
    }
}

/// The epoch that is stored after so many changes.
pub fn epoch(changes: usize) -> String {
    format!("epoch {changes}")
}

/// A posting, and the process that sent it.
struct Sent {
    process: u64,
    posting: Posting,
}

/// One process's way to the ledger.
pub struct Door {
    ledger: Arc<SimLedger>,
    process: u64,
    standing: Arc<Standing>,
}

impl SimLedger {
    /// Starts the writers.
    pub fn start(world: World, seed: u64, plant: Option<LedgerPlant>) -> Arc<Self> {
        let (lanes, inboxes): (Vec<_>, Vec<_>) =
            (0..WRITERS).map(|_| mpsc::unbounded_channel()).unzip();
        let ledger = Arc::new(Self {
            world,
            tables: Mutex::default(),
            weather: Mutex::default(),
            chance: Mutex::new(Chance::new(seed, 1)),
            lanes,
            running: Mutex::default(),
            stored: Mutex::default(),
            plant,
        });
        for inbox in inboxes {
            actix_rt::spawn(ledger.clone().write(inbox));
        }
        ledger
    }

    /// A new process opens the ledger; what an older one left behind is not written any more.
    pub fn open(self: &Arc<Self>, orphans: mpsc::Sender<Orphan>) -> Door {
        let name = lock(&self.stored).epoch();
        let now_us = self.world.now_us();
        self.world.lock().oracle.epoch_began(&name, now_us);
        let mut running = lock(&self.running);
        *running = Running {
            process: running.process + 1,
            orphans: Some(orphans),
            standing: Arc::new(Standing::of(&name)),
        };
        Door {
            ledger: self.clone(),
            process: running.process,
            standing: running.standing.clone(),
        }
    }

    /// Changes what is wrong with it.
    pub fn set_weather(&self, change: impl FnOnce(&mut Weather)) -> Weather {
        let mut weather = lock(&self.weather);
        change(&mut weather);
        *weather
    }

    fn weather(&self) -> Weather {
        *lock(&self.weather)
    }

    /// Somebody else writes, and nobody is told.
    pub fn write_behind(&self, entry: balance_coordinator::domain::NewEntry) {
        self.carry_out(
            &[Group {
                entries: std::slice::from_ref(&entry),
                is_atomic: false,
            }],
            self.world.now_us(),
        );
    }

    /// Keeps a copy of the tables.
    pub fn keep(&self) {
        lock(&self.stored).kept = Some(lock(&self.tables).clone());
        note!(self.world, "the ledger is copied");
        self.world.lock().oracle.keep();
    }

    /// Goes back to the copy, in the same epoch.
    pub fn go_back(&self) {
        let Some(kept) = lock(&self.stored).kept.take() else {
            return;
        };
        *lock(&self.tables) = kept;
        note!(self.world, "the ledger goes back");
        let now_us = self.world.now_us();
        let found = self.world.lock().oracle.go_back(now_us);
        found.iter().for_each(|what| self.world.violation(what));
    }

    /// Stores a new epoch, as `migrate --new-epoch` does.
    pub fn begin_epoch(&self) {
        lock(&self.stored).epochs += 1;
        note!(self.world, "a new epoch is stored");
    }

    /// A process looks at the epoch that is stored.
    fn look(&self, process: u64, standing: &Standing) {
        let name = lock(&self.stored).epoch();
        let before = standing.epoch_number();
        standing.has_epoch(&name, "it is stored");
        if standing.epoch_number() != before && lock(&self.running).process == process {
            note!(self.world, "{name} begins");
            let now_us = self.world.now_us();
            self.world.lock().oracle.epoch_began(&name, now_us);
        }
    }

    fn milliseconds(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(lock(&self.chance).between(low, high))
    }

    fn happens(&self, percent: u32) -> bool {
        lock(&self.chance).percent(percent)
    }

    /// How long a step takes.
    fn step(&self) -> Duration {
        if self.weather().is_slow && self.happens(30) {
            self.milliseconds(50, 2500)
        } else {
            self.milliseconds(1, 6)
        }
    }

    async fn write(self: Arc<Self>, mut inbox: mpsc::UnboundedReceiver<Sent>) {
        let (mut single, mut bulk) = (VecDeque::new(), VecDeque::new());
        loop {
            if single.is_empty() && bulk.is_empty() {
                let Some(first) = inbox.recv().await else {
                    return;
                };
                sort(first, &mut single, &mut bulk);
            }
            while let Ok(next) = inbox.try_recv() {
                sort(next, &mut single, &mut bulk);
            }
            let singles = single.len().min(POSTINGS_MAX);
            let bulks = bulk
                .len()
                .min(POSTINGS_MAX - singles)
                .max(usize::from(singles == 0));
            let mut batch: Vec<Sent> = single.drain(..singles).collect();
            batch.extend(bulk.drain(..bulks.min(bulk.len())));
            self.transaction(batch).await;
        }
    }

    async fn transaction(&self, batch: Vec<Sent>) {
        let (late, mut batch): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|sent| sent.posting.deadline.has_passed());
        late.into_iter()
            .for_each(|sent| self.fail(sent, PostError::Unavailable));
        while self.weather().is_away {
            if batch.iter().all(|sent| sent.posting.deadline.has_passed()) {
                return batch
                    .into_iter()
                    .for_each(|sent| self.fail(sent, PostError::Unavailable));
            }
            sleep(Duration::from_millis(50)).await;
        }
        if self.weather().refuses && self.happens(30) && !batch.is_empty() {
            self.fail(batch.remove(0), PostError::Refused);
        }
        sleep(self.step()).await;
        let committed_us = self.world.now_us();
        sleep(self.step()).await;
        let running = lock(&self.running).process;
        batch.retain(|sent| sent.process == running);
        if self.plant == Some(LedgerPlant::AnsweredBeforeCommit) && self.happens(20) {
            return self.answer_only(batch, committed_us);
        }
        let groups: Vec<Group<'_>> = batch.iter().map(|sent| group(&sent.posting)).collect();
        let outcomes = self.carry_out(&groups, committed_us);
        sleep(self.step()).await;
        // A commit that broke is settled once the database is back.
        while self.weather().is_away {
            sleep(Duration::from_millis(50)).await;
        }
        for (sent, outcomes) in batch.into_iter().zip(outcomes) {
            self.answer(sent, outcomes);
        }
    }

    /// Decides, writes, and tells the oracle.
    fn carry_out(&self, groups: &[Group<'_>], committed_us: u64) -> Vec<Vec<EntryOutcome>> {
        let mut tables = lock(&self.tables);
        let plan = tables.decide(groups, wall(committed_us));
        for planned in &plan.entries {
            let (entry, version) = (planned.entry, planned.version);
            note!(
                self.world,
                "commit {} user {} version {version}",
                entry.event_id.as_str(),
                entry.user_id
            );
            self.world
                .check(|oracle, now_us| oracle.books.commit(entry, version, committed_us, now_us));
        }
        tables.write(&plan);
        plan.outcomes
    }

    /// The planted mistake: an answer, and no commit behind it.
    fn answer_only(&self, batch: Vec<Sent>, committed_us: u64) {
        for sent in batch {
            let groups = [group(&sent.posting)];
            let plan = lock(&self.tables).decide(&groups, wall(committed_us));
            let outcomes = plan.outcomes.into_iter().flatten().collect();
            self.answer(sent, outcomes);
        }
    }

    fn fail(&self, sent: Sent, error: PostError) {
        if error == PostError::Unavailable {
            self.posting_reached(sent.process, false);
        }
        let Posting { entries, reply, .. } = sent.posting;
        // Its actor may have died.
        let _ = reply.send(Posted::failed(entries, error));
    }

    /// A process has found the ledger there or away.
    fn reached(&self, process: u64, standing: &Standing, is_there: bool) {
        if is_there {
            standing.answered();
        } else {
            standing.unanswered();
        }
        if lock(&self.running).process == process {
            let now_us = self.world.now_us();
            self.world.lock().oracle.known_away(!is_there, now_us);
        }
    }

    /// The process that has sent a posting, if it is still running, has found the ledger there or away.
    fn posting_reached(&self, process: u64, is_there: bool) {
        let Running {
            process: running,
            standing,
            ..
        } = lock(&self.running).clone();
        if running == process {
            self.reached(process, &standing, is_there);
        }
    }

    fn answer(&self, Sent { process, posting }: Sent, outcomes: Vec<EntryOutcome>) {
        let Posting {
            entries,
            reply,
            permit,
            ..
        } = posting;
        drop(permit);
        if self.weather().loses_answers && self.happens(30) {
            return note!(
                self.world,
                "the answer to {} is lost",
                entries[0].event_id.as_str()
            );
        }
        let accepted = versions(&entries, &outcomes);
        self.posting_reached(process, true);
        let Running {
            process: running,
            orphans,
            ..
        } = lock(&self.running).clone();
        // The process that hears of it.
        let listener = match reply.send(Posted { entries, outcomes }) {
            Ok(()) => process,
            Err(unheard) => match orphans.map(|orphans| orphans.try_send(unheard)) {
                Some(Ok(())) => running,
                Some(Err(_)) | None => return,
            },
        };
        let now_us = self.world.now_us();
        let oracle = &mut self.world.lock().oracle;
        for (user, version, event) in accepted {
            oracle.contacted(listener, user, now_us);
            if process == running {
                oracle.books.heard(user, version, &event, now_us);
            }
        }
    }

    /// A user's state, now or a few versions ago.
    fn read(&self, user: UserId) -> Account {
        let is_old = self.weather().serves_old && self.happens(50);
        let versions_ago = if is_old {
            lock(&self.chance).between(1, 3) as usize
        } else {
            0
        };
        let tables = lock(&self.tables);
        if versions_ago > 0 && tables.account(user).exists {
            let now_us = self.world.now_us();
            self.world.lock().oracle.old_read(user.get(), now_us);
        }
        tables.account_before(user, versions_ago)
    }
}

impl Door {
    /// A read of several users.
    fn look_up<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Tables) -> T + Send + 'static,
    ) -> Pending<T> {
        let (ledger, process) = (self.ledger.clone(), self.process);
        let standing = self.standing.clone();
        let (before, after) = (ledger.step(), ledger.step());
        Box::pin(async move {
            sleep(before).await;
            let is_away = ledger.weather().is_away;
            let found = look(&lock(&ledger.tables));
            ledger.reached(process, &standing, !is_away);
            if is_away {
                return Err(LedgerError::Unavailable("planned".into()));
            }
            sleep(after).await;
            Ok(found)
        })
    }
}

impl Ledger for Door {
    fn post(&self, posting: Posting) {
        let writer = posting.entries[0].user_id.get() as usize % WRITERS;
        // The writers live as long as the run.
        let _ = self.ledger.lanes[writer].send(Sent {
            process: self.process,
            posting,
        });
    }

    fn account(&self, user: UserId) -> Pending<Account> {
        let (ledger, process) = (self.ledger.clone(), self.process);
        let standing = self.standing.clone();
        let (before, after) = (ledger.step(), ledger.step());
        note!(ledger.world, "read of user {user}");
        ledger.world.lock().oracle.reads += 1;
        Box::pin(async move {
            let limit = Duration::from_millis(TIMEOUT_MS - MARGIN_MS);
            let unavailable = || LedgerError::Unavailable("planned".into());
            let read = async {
                sleep(before).await;
                if ledger.weather().is_away {
                    if ledger.plant == Some(LedgerPlant::ZeroForUnknown) {
                        return Ok(Account::unknown(2));
                    }
                    let patience = if ledger.happens(50) {
                        Duration::from_millis(5)
                    } else {
                        limit
                    };
                    sleep(patience).await;
                    return Err(unavailable());
                }
                let account = ledger.read(user);
                sleep(after).await;
                Ok(account)
            };
            let result = tokio::time::timeout(limit, read)
                .await
                .unwrap_or_else(|_| Err(unavailable()));
            ledger.reached(process, &standing, result.is_ok());
            if result.is_ok() {
                let now_us = ledger.world.now_us();
                let oracle = &mut ledger.world.lock().oracle;
                oracle.contacted(process, user.get(), now_us);
            }
            result
        })
    }

    fn account_in_background(&self, user: UserId) -> Pending<Account> {
        self.account(user)
    }

    fn versions(&self, users: Vec<UserId>) -> Pending<Vec<(UserId, i64)>> {
        self.look_up(move |tables| {
            let version = |user: &UserId| (*user, tables.account(*user).version);
            users.iter().map(version).collect()
        })
    }

    fn missed_entries(&self, known: Vec<(UserId, i64)>) -> Pending<Vec<MissedEntry>> {
        self.look_up(move |tables| {
            let missed = |(user, version): &(UserId, i64)| tables.missed(*user, *version);
            known.iter().flat_map(missed).collect()
        })
    }

    /// Nobody is linked here: the sessions of a run have tokens.
    fn user_of_telegram(&self, _: TelegramId) -> Pending<Option<UserId>> {
        let (ledger, wait) = (self.ledger.clone(), self.ledger.step());
        Box::pin(async move {
            sleep(wait).await;
            if ledger.weather().is_away {
                Err(LedgerError::Unavailable("planned".into()))
            } else {
                Ok(None)
            }
        })
    }

    fn ping(&self) -> Pending<()> {
        let (ledger, process, wait) = (self.ledger.clone(), self.process, self.ledger.step());
        let standing = self.standing.clone();
        Box::pin(async move {
            sleep(wait).await;
            let is_away = ledger.weather().is_away;
            ledger.reached(process, &standing, !is_away);
            if is_away {
                return Err(LedgerError::Unavailable("planned".into()));
            }
            ledger.look(process, &standing);
            Ok(())
        })
    }

    fn went_back(&self, loss: Loss) -> Pending<()> {
        let (ledger, process, standing) =
            (self.ledger.clone(), self.process, self.standing.clone());
        let (before, after) = (ledger.step(), ledger.step());
        note!(ledger.world, "a loss? {loss:?}");
        Box::pin(async move {
            sleep(before).await;
            let is_away = ledger.weather().is_away;
            ledger.reached(process, &standing, !is_away);
            if is_away {
                return Err(LedgerError::Unavailable("planned".into()));
            }
            let version = lock(&ledger.tables).account(loss.user_id).version;
            {
                let mut stored = lock(&ledger.stored);
                let is_current = *stored.epoch() == *loss.epoch.name;
                if is_current && (loss.is_proven || version < loss.known) {
                    stored.epochs += 1;
                }
            }
            ledger.look(process, &standing);
            sleep(after).await;
            Ok(())
        })
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("one thread, no panic inside")
}

fn sort(sent: Sent, single: &mut VecDeque<Sent>, bulk: &mut VecDeque<Sent>) {
    if sent.posting.lane == Lane::Single {
        single.push_back(sent)
    } else {
        bulk.push_back(sent)
    }
}

fn group(posting: &Posting) -> Group<'_> {
    Group {
        entries: &posting.entries,
        is_atomic: posting.is_atomic,
    }
}

fn wall(us: u64) -> i64 {
    WALL_START_US.saturating_add_unsigned(us)
}

fn versions(
    entries: &[balance_coordinator::domain::NewEntry],
    outcomes: &[EntryOutcome],
) -> Vec<(i64, i64, String)> {
    let version = |outcome: &EntryOutcome| match outcome {
        EntryOutcome::Decided {
            outcome: Outcome::Accepted { version, .. },
            ..
        } => Some(*version),
        _ => None,
    };
    entries
        .iter()
        .zip(outcomes)
        .filter_map(|(entry, outcome)| {
            let event = entry.event_id.as_str().to_owned();
            Some((entry.user_id.get(), version(outcome)?, event))
        })
        .collect()
}
