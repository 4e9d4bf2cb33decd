//! One node's way to the store: the ledger that its actors and its registry ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use balance_coordinator::domain::{Account, TelegramId, UserId};
use balance_coordinator::ledger::memory::Tables;
use balance_coordinator::ledger::{
    Ledger, LedgerError, Loss, MissedEntry, Pending, Posting, Standing,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Store;

/// Statements that were answered, of one run of a node.
#[derive(Debug, Default)]
pub struct Statements {
    pub versions: AtomicU64,
    pub missed: AtomicU64,
    pub accounts: AtomicU64,
}

/// One node's way to it.
pub struct Door {
    pub(super) store: Arc<Store>,
    pub(super) node: usize,
    pub(super) statements: Arc<Statements>,
    pub(super) standing: Arc<Standing>,
    pub(super) postings: mpsc::UnboundedSender<Posting>,
}

impl Door {
    fn ask<T: Send + 'static>(
        &self,
        counted: fn(&Statements) -> Option<&AtomicU64>,
        look: impl FnOnce(&Tables) -> T + Send + 'static,
    ) -> Pending<T> {
        let (store, node, standing) = (self.store.clone(), self.node, self.standing.clone());
        let (before, after) = (store.step(), store.step());
        let statements = self.statements.clone();
        Box::pin(async move {
            sleep(before).await;
            if store.trouble_of(node).is_away {
                standing.unanswered();
                return Err(LedgerError::Unavailable("planned".into()));
            }
            let found = look(&store.lock().tables);
            standing.answered();
            if let Some(count) = counted(&statements) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            sleep(after).await;
            Ok(found)
        })
    }
}

impl Ledger for Door {
    fn post(&self, posting: Posting) {
        // The writer lives as long as the node.
        let _ = self.postings.send(posting);
    }

    fn account(&self, user: UserId) -> Pending<Account> {
        self.ask(
            |all| Some(&all.accounts),
            move |tables| tables.account(user),
        )
    }

    fn account_in_background(&self, user: UserId) -> Pending<Account> {
        self.account(user)
    }

    fn versions(&self, users: Vec<UserId>) -> Pending<Vec<(UserId, i64)>> {
        let look = move |tables: &Tables| {
            let version = |user: &UserId| (*user, tables.account(*user).version);
            users.iter().map(version).collect()
        };
        self.ask(|all| Some(&all.versions), look)
    }

    fn missed_entries(&self, known: Vec<(UserId, i64)>) -> Pending<Vec<MissedEntry>> {
        let look = move |tables: &Tables| {
            let missed = |(user, version): &(UserId, i64)| tables.missed(*user, *version);
            known.iter().flat_map(missed).collect()
        };
        self.ask(|all| Some(&all.missed), look)
    }

    fn user_of_telegram(&self, _: TelegramId) -> Pending<Option<UserId>> {
        self.ask(|_| None, |_| None)
    }

    fn ping(&self) -> Pending<()> {
        self.ask(|_| None, |_| ())
    }

    /// It never does here: every state is of one PostgreSQL.
    fn went_back(&self, loss: Loss) -> Pending<()> {
        self.store
            .oracle
            .violation(&format!("a loss was seen: {loss:?}"));
        self.ask(|_| None, |_| ())
    }

    fn standing(&self) -> &Standing {
        &self.standing
    }
}
