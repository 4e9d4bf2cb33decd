//! One account, followed from its place on: read a page, judge what comes next, send the deposits, keep the new place.
//!
//! It may end at any point. The place moves only after the service has answered, and what is sent again is a duplicate
//! there.

use std::rc::Rc;

use crate::clock::Mono;
use crate::config::WatchStart;
use crate::domain::TonAddress;
use crate::watcher::api::PAGE_TRANSACTIONS;
use crate::watcher::metrics::Counted;
use crate::watcher::order::{Place, Range, Rest, take};
use crate::watcher::pace::BackOff;
use crate::watcher::service::{Deposit, Sent};
use crate::watcher::shared::{Shared, Trouble, blocking};
use crate::watcher::state::{StateError, Unmatched};
use crate::watcher::transaction::Transaction;
use crate::watcher::verdict::Verdict;
use crate::watcher::watched::Watched;

/// How often it is kept that an account is up to date, in microseconds: a restart knows the lag as well as that.
const KEEP_EVERY_US: u64 = 30_000_000;

/// Follows one account.
pub struct Follower {
    shared: Rc<Shared>,
    account: Watched,
    back_off: BackOff,
    /// When it was last kept that the account is up to date.
    kept: Option<Mono>,
}

/// A transaction whose deposit was sent, or that needs none.
enum Handled {
    Counted(Counted),
    Unmatched(Box<Unmatched>),
}

impl Follower {
    /// For one account.
    pub fn new(shared: Rc<Shared>, account: Watched) -> Self {
        Self {
            shared,
            account,
            back_off: BackOff::default(),
            kept: None,
        }
    }

    /// Follows it for ever, or once to its end.
    ///
    /// # Errors
    /// [`StateError`]: nothing else ends it.
    pub async fn run(mut self) -> Result<(), StateError> {
        let known = self.stored_place().await?;
        let Some(address) = self.address(known).await? else {
            return Ok(());
        };
        let mut place = match self.stored_place().await? {
            Some(place) => place,
            None => self.begin(address).await?,
        };
        log::info!("{}: {}", self.account.name, describe(place));
        // The end of a hole that is read by itself.
        let mut hole_end_lt = None;
        loop {
            let range = Range {
                start_lt: place.next_lt(),
                end_lt: hole_end_lt.take(),
            };
            let page = match self.shared.api.transactions(address, range).await {
                Ok(page) => page,
                Err(error) => {
                    self.wait(error).await;
                    continue;
                }
            };
            let is_full = page.len() >= PAGE_TRANSACTIONS;
            let taken = take(place, address, page);
            let is_new = !taken.transactions.is_empty();
            if is_new {
                place = self.handle(place, &taken.transactions).await?;
                self.back_off.reset();
            }
            match taken.rest {
                Rest::Gap(end_lt) => {
                    self.shared.metrics.gap();
                    let missing = format!("transactions before logical time {end_lt} are missing");
                    if !is_new {
                        self.wait(missing).await;
                    }
                    hole_end_lt = Some(end_lt);
                }
                Rest::Contradiction(lt) => {
                    self.shared.metrics.gap();
                    let what = format!(
                        "the transaction of logical time {lt} does not follow on the last one that was handled"
                    );
                    self.wait(what).await;
                }
                Rest::Nothing if is_new => {}
                Rest::Nothing if is_full => {
                    self.wait("a full page has nothing of this account").await;
                }
                Rest::Nothing if range.end_lt.is_some() => {
                    self.wait("what is missing is not there yet").await;
                }
                Rest::Nothing => {
                    self.up_to_date().await?;
                    if self.shared.is_once {
                        return Ok(());
                    }
                    tokio::time::sleep(self.shared.poll).await;
                }
            }
        }
    }

    /// The address whose transactions are followed. A jetton wallet is made by the first transfer to it; a run that is to
    /// end does not wait for that.
    async fn address(&mut self, known: Option<Place>) -> Result<Option<TonAddress>, StateError> {
        let Some(master) = self.account.jetton_master else {
            return Ok(Some(self.account.owner));
        };
        let mut is_begun = known.is_some();
        loop {
            match self
                .shared
                .api
                .jetton_wallet(self.account.owner, master)
                .await
            {
                Ok(Some(wallet)) => return Ok(Some(wallet)),
                Ok(None) => {
                    if !is_begun && self.shared.start == WatchStart::Now {
                        // All that will ever happen in it comes after now.
                        self.keep(Place::From(0), Vec::new()).await?;
                        log::info!(
                            "{}: the jetton wallet does not exist yet",
                            self.account.name
                        );
                    }
                    is_begun = true;
                    self.up_to_date().await?;
                    if self.shared.is_once {
                        return Ok(None);
                    }
                    tokio::time::sleep(self.shared.poll).await;
                }
                Err(error) => self.wait(error).await,
            }
        }
    }

    /// Where a new account begins; kept before anything is read.
    async fn begin(&mut self, address: TonAddress) -> Result<Place, StateError> {
        let place = match self.shared.start {
            WatchStart::From(lt) => Place::From(lt),
            WatchStart::Now => loop {
                match self.shared.api.newest(address).await {
                    Ok(newest) => {
                        break newest.map_or(Place::From(0), |newest| Place::After(newest.id));
                    }
                    Err(error) => self.wait(error).await,
                }
            },
        };
        self.keep(place, Vec::new()).await?;
        Ok(place)
    }

    /// Sends what is a deposit, and keeps the place behind. Answers the new place.
    async fn handle(
        &mut self,
        mut place: Place,
        transactions: &[Transaction],
    ) -> Result<Place, StateError> {
        for some in transactions.chunks(self.shared.batch_entries.max(1)) {
            let verdicts: Vec<Verdict> = some
                .iter()
                .map(|transaction| self.account.rules.judge(transaction))
                .collect();
            let sent = self.send(some, &verdicts).await;
            let mut sent = sent.into_iter();
            let handled: Vec<Handled> = some
                .iter()
                .zip(verdicts)
                .map(|(transaction, verdict)| self.handled(transaction, verdict, &mut sent))
                .collect();
            if let Some(last) = some.last() {
                place = Place::After(last.id);
                self.shared.progress.reach(&self.account.name, last.at_s);
            }
            self.finish(place, handled).await?;
        }
        Ok(place)
    }

    /// Sends the deposits among the verdicts until the service has answered for all of them.
    async fn send(&mut self, transactions: &[Transaction], verdicts: &[Verdict]) -> Vec<Sent> {
        let deposits: Vec<Deposit> = transactions
            .iter()
            .zip(verdicts)
            .filter_map(|(transaction, verdict)| match verdict {
                Verdict::Deposit {
                    user_id,
                    amount,
                    arrival,
                } => Some(
                    self.account
                        .deposit(transaction, user_id.get(), *amount, arrival),
                ),
                _ => None,
            })
            .collect();
        loop {
            match self.shared.service.send(&deposits).await {
                Ok(sent) => {
                    self.back_off.reset();
                    return sent;
                }
                Err(error) => self.wait(error).await,
            }
        }
    }

    fn handled(
        &self,
        transaction: &Transaction,
        verdict: Verdict,
        sent: &mut impl Iterator<Item = Sent>,
    ) -> Handled {
        let seen_at_s = self.shared.clock.now_s();
        let unmatched = |reason: String, arrival| {
            let one = self
                .account
                .unmatched(transaction, reason, arrival, seen_at_s);
            Handled::Unmatched(Box::new(one))
        };
        match verdict {
            Verdict::Ignored(why) => {
                log::debug!(
                    "{}: {} is ignored: {why:?}",
                    self.account.name,
                    transaction.id.hash
                );
                Handled::Counted(Counted::Ignored)
            }
            Verdict::Unmatched { reason, arrival } => unmatched(reason.to_string(), arrival),
            Verdict::Deposit { arrival, .. } => match sent.next() {
                Some(Sent::Accepted) => Handled::Counted(Counted::Sent),
                Some(Sent::Duplicate) => Handled::Counted(Counted::Duplicate),
                Some(Sent::Refused(code)) => unmatched(code, arrival),
                None => unmatched("no_answer".into(), arrival),
            },
        }
    }

    /// Keeps the place, and counts.
    async fn finish(&self, place: Place, handled: Vec<Handled>) -> Result<(), StateError> {
        let mut found = Vec::new();
        let mut counts = Vec::with_capacity(handled.len());
        for one in handled {
            match one {
                Handled::Counted(outcome) => counts.push(outcome),
                Handled::Unmatched(one) => {
                    log::warn!(
                        "{}: nobody is credited for {} ({}): see `watch unmatched`",
                        self.account.name,
                        one.id.hash,
                        one.reason
                    );
                    counts.push(Counted::Unmatched);
                    found.push(*one);
                }
            }
        }
        self.keep(place, found).await?;
        let sent = counts.iter().filter(|one| **one == Counted::Sent).count();
        log::info!(
            "{}: {} transactions, {sent} deposits accepted; {}",
            self.account.name,
            counts.len(),
            describe(place)
        );
        for outcome in counts {
            self.shared.metrics.transaction(&self.account.name, outcome);
        }
        Ok(())
    }

    async fn keep(&self, place: Place, found: Vec<Unmatched>) -> Result<(), StateError> {
        let (state, name) = (self.shared.state.clone(), self.account.name.clone());
        blocking(move || state.advance(&name, place, &found)).await
    }

    async fn stored_place(&self) -> Result<Option<Place>, StateError> {
        let (state, name) = (self.shared.state.clone(), self.account.name.clone());
        blocking(move || state.place(&name)).await
    }

    /// Nothing is left to do for the account, as far as the API knows.
    async fn up_to_date(&mut self) -> Result<(), StateError> {
        let shared = self.shared.clone();
        let name = &self.account.name;
        self.back_off.reset();
        shared.metrics.up_to_date(name);
        if shared.is_once {
            shared.progress.finish(name);
        }
        let now = shared.clock.mono();
        let is_kept = |kept| now.us_since(kept) < KEEP_EVERY_US;
        if self.kept.is_some_and(is_kept) {
            return Ok(());
        }
        self.kept = Some(now);
        let (state, name, now_s) = (shared.state.clone(), name.clone(), shared.clock.now_s());
        blocking(move || state.keep_up_to_date(&name, now_s)).await
    }

    async fn wait(&mut self, trouble: impl Into<Trouble>) {
        let Trouble {
            what,
            level,
            retry_after,
        } = trouble.into();
        let wait = self.back_off.wait(retry_after);
        let ms = wait.as_millis();
        log::log!(
            level,
            "{}: {what}; tried again in {ms} ms (failure {} in a row)",
            self.account.name,
            self.back_off.failures()
        );
        tokio::time::sleep(wait).await;
    }
}

fn describe(place: Place) -> String {
    match place {
        Place::From(0) => "from the first transaction on".into(),
        Place::From(lt) => format!("from logical time {lt} on"),
        Place::After(last) => format!("handled up to logical time {} ({})", last.lt, last.hash),
    }
}
