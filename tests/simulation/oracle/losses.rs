//! What has to be true when the ledger goes back, or is given a new epoch.
//!
//! A session lives in one epoch. Until the service has noticed, a session of the epoch that was lost may be shown what was
//! in memory, but a question to the ledger that was asked after the loss is never answered by it as if it were fresh. Then
//! these sessions are closed, and the others see nothing of what was lost.

use balance_coordinator::domain::Account;

use super::{Oracle, TIMEOUT_US};
use crate::books::{Books, Minor};
use crate::ledger::epoch;

/// What was lost, and the epochs.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// A copy of the books, for when the ledger goes back to it.
    kept: Option<Books>,
    /// The books that were lost, when, and in which epoch.
    lost: Option<(Books, u64, String)>,
    /// The changes of the running process's epoch.
    began: Vec<(String, u64)>,
}

impl Losses {
    fn current(&self) -> String {
        let last = self.began.last();
        last.map_or_else(|| epoch(0), |(name, _)| name.clone())
    }

    /// The books that were lost, when something of that epoch, or of one before it, is looked at: a session that reads late
    /// reads what it was sent in its own epoch.
    fn lost_of(&self, name: &str) -> Option<(&Books, u64)> {
        let (books, lost_us, of) = self.lost.as_ref()?;
        let began_us = |name: &str| {
            let mut began = self.began.iter();
            began
                .find(|(known, _)| known == name)
                .map_or(0, |(_, at_us)| *at_us)
        };
        (began_us(name) <= began_us(of)).then_some((books, *lost_us))
    }

    /// Whether between two times the service had to find out that the ledger has gone back.
    pub(super) fn is_unsettled(&self, from_us: u64, to_us: u64) -> bool {
        self.lost.as_ref().is_some_and(|(_, lost_us, of)| {
            let over = self
                .began
                .iter()
                .find(|(name, at_us)| name != of && at_us >= lost_us);
            *lost_us <= to_us && over.is_none_or(|(_, at_us)| at_us + 2 * TIMEOUT_US >= from_us)
        })
    }
}

impl Oracle {
    /// The ledger is copied.
    pub fn keep(&mut self) {
        self.losses.kept = Some(self.books.clone());
    }

    /// The ledger goes back to its copy. All that was owed until now is judged now.
    pub fn go_back(&mut self, now_us: u64) -> Vec<String> {
        let mut found = self.check_obligations(now_us);
        found.extend(self.check_pushes());
        self.pushes.clear();
        let kept = self.losses.kept.take().unwrap_or_default();
        let lost = std::mem::replace(&mut self.books, kept);
        self.accepted
            .retain(|event| self.books.find(event).is_some());
        self.losses.lost = Some((lost, now_us, self.losses.current()));
        found
    }

    /// The running process has this epoch from now on. Another than before: as if all actors were made again.
    pub fn epoch_began(&mut self, name: &str, now_us: u64) {
        if self.losses.current() == name {
            return;
        }
        self.losses.began.push((name.to_owned(), now_us));
        self.restarts.push(now_us);
    }

    /// A session is greeted in an epoch.
    pub(super) fn greets(&mut self, index: usize, name: &str) -> bool {
        self.sessions[index].epoch = name.to_owned();
        let is_known = self.losses.began.iter().any(|(known, _)| known == name);
        is_known || name == epoch(0)
    }

    /// Whether a session has to come back, since another epoch has begun after it opened.
    pub fn is_of_the_past(&self, index: usize) -> bool {
        let session = &self.sessions[index];
        let began = self.losses.began.last();
        began.is_some_and(|(_, at_us)| *at_us >= session.opened_us)
    }

    /// Whether a session was greeted in the epoch that was lost, and the loss has happened.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        self.losses.lost_of(name).is_some()
    }

    /// Whether an epoch has begun shortly before: what was sent to the ledger before may be heard of late.
    pub(super) fn is_just_begun(&self, at_us: u64) -> bool {
        let mut began = self.losses.began.iter();
        began.any(|(_, began_us)| (*began_us..=began_us + 3 * TIMEOUT_US).contains(&at_us))
    }

    /// A user's balances at a version, as something of that epoch may show them. With the time of a question to the ledger,
    /// what was lost by then is no answer.
    pub(super) fn balances_in(
        &self,
        name: &str,
        user: i64,
        version: i64,
        asked_us: Option<u64>,
    ) -> Vec<Minor> {
        let mut all: Vec<Minor> = self.books.balances_at(user, version).into_iter().collect();
        if let Some((lost, lost_us)) = self.losses.lost_of(name)
            && asked_us.is_none_or(|asked_us| asked_us <= lost_us)
        {
            all.extend(lost.balances_at(user, version));
        }
        all
    }

    /// Whose an event was and which version it made, before the ledger went back. `asked_us`: when its sender asked.
    pub(super) fn find_lost(&self, event: &str, asked_us: u64) -> Option<(i64, i64)> {
        let (lost, lost_us, _) = self.losses.lost.as_ref()?;
        lost.find(event).filter(|_| asked_us <= *lost_us)
    }

    /// Whether a sender asked before the ledger went back.
    pub(super) fn asked_before_loss(&self, asked_us: u64) -> bool {
        let lost = self.losses.lost.as_ref();
        lost.is_some_and(|(_, lost_us, _)| asked_us <= *lost_us)
    }

    /// A reader is told a state of an epoch that was lost. `asked_us`: when it asked the ledger, not memory.
    pub(super) fn check_lost_state(
        &self,
        name: &str,
        user: i64,
        account: &Account,
        asked_us: Option<u64>,
    ) -> Result<(), String> {
        let currencies = balance_coordinator::domain::Currencies::default();
        let told: Vec<i64> = currencies
            .iter()
            .map(|(id, _)| account.balances.get(id).minor())
            .collect();
        let known = self.balances_in(name, user, account.version, asked_us);
        if known.iter().any(|known| known[..] == told[..]) {
            return Ok(());
        }
        let version = account.version;
        Err(format!(
            "user {user} is told {told:?} at version {version} in {name}, asked at {asked_us:?}; known: {known:?}"
        ))
    }

    /// At the end every open session is in the epoch of its process.
    pub(super) fn check_epochs(&self) -> Vec<String> {
        let current = self.losses.current();
        let open = self.sessions.iter().filter(|session| session.is_open());
        let strays = open.filter(|session| session.epoch != current);
        strays
            .map(|session| {
                let (user, epoch) = (session.user, &session.epoch);
                format!("a session of user {user} is still in {epoch}, and it is {current}")
            })
            .collect()
    }
}
