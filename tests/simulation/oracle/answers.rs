//! What senders and readers are answered.

use balance_coordinator::clock::Wall;
use balance_coordinator::coordinator::BalanceView;
use balance_coordinator::domain::{
    Account, Amount, Change, CurrencyId, Kind, NewEntry, Outcome, Recorded,
};
use balance_coordinator::ledger::EntryOutcome;

use super::{Oracle, SLACK_US, TIMEOUT_US, TTL_US};
use crate::world::WALL_START_US;

/// What an entry is; a second one with the same event id and another of these is a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    pub user: i64,
    pub kind: Kind,
    pub currency: CurrencyId,
    pub minor: i64,
}

impl Item {
    pub fn of(entry: &NewEntry) -> Self {
        let NewEntry {
            user_id,
            kind,
            change,
            ..
        } = entry;
        let (currency, amount) = match change {
            Change::Plain { currency, amount } => (*currency, *amount),
            Change::Reversal(reversal) => {
                let currency = reversal.currency.expect("it is always given");
                let text = reversal.amount.as_ref().expect("it is always given");
                (currency, Amount::parse(text, 9).expect("an amount"))
            }
        };
        Self {
            user: user_id.get(),
            kind: *kind,
            currency,
            minor: amount.minor(),
        }
    }

    fn of_record(first: &Recorded) -> Self {
        let Recorded {
            user_id,
            kind,
            currency,
            amount,
            ..
        } = first;
        Self {
            user: user_id.get(),
            kind: *kind,
            currency: *currency,
            // How much a reversal takes is sent without a sign.
            minor: match kind {
                Kind::Reversal => amount.minor().abs(),
                _ => amount.minor(),
            },
        }
    }

    /// What it does to the balance, unless it gives back what was taken.
    fn change(self) -> i64 {
        match self.kind {
            Kind::Reversal => -self.minor,
            _ => self.minor,
        }
    }
}

impl Oracle {
    /// An entry is being sent, the first time or again.
    pub fn sends(&mut self, entry: &NewEntry) {
        self.sent
            .entry(entry.event_id.as_str().to_owned())
            .or_insert_with(|| Item::of(entry));
    }

    /// Acknowledged events, with what they are.
    pub fn acknowledged(&self) -> Vec<(String, Item)> {
        let known = |event: &String| Some((event.clone(), *self.sent.get(event)?));
        self.accepted.iter().filter_map(known).collect()
    }

    /// A sender that asked at `asked_us` has its answer. Whether it is final comes back.
    pub fn answered(
        &mut self,
        entry: &NewEntry,
        outcome: &EntryOutcome,
        is_atomic: bool,
        asked_us: u64,
    ) -> Result<bool, String> {
        let event = entry.event_id.as_str();
        let EntryOutcome::Decided { outcome, .. } = outcome else {
            return Ok(false);
        };
        match outcome {
            Outcome::Accepted {
                version, balances, ..
            } => {
                let made = Some((entry.user_id.get(), *version));
                if self.books.find(event) != made && self.find_lost(event, asked_us) == made {
                    // The ledger went back before its sender was told.
                    return Ok(true);
                }
                if self.books.find(event) != made {
                    return Err(format!(
                        "{event} is acknowledged with version {version}, but it is not in the ledger"
                    ));
                }
                let account = Account {
                    exists: true,
                    version: *version,
                    balances: balances.clone(),
                };
                self.check_state(entry.user_id.get(), &account)?;
                if !self.accepted.insert(event.to_owned()) {
                    return Err(format!("{event} is accepted twice"));
                }
            }
            Outcome::Duplicate(first)
                if self.books.find(event).is_none()
                    && self.find_lost(event, asked_us)
                        == Some((first.user_id.get(), first.version)) => {}
            Outcome::Duplicate(first) => {
                if self.books.find(event) != Some((first.user_id.get(), first.version))
                    || Item::of_record(first) != Item::of(entry)
                {
                    return Err(format!("{event} is called a duplicate of {first:?}"));
                }
                self.accepted.insert(event.to_owned());
            }
            Outcome::Conflict(_)
            | Outcome::InsufficientFunds { .. }
            | Outcome::UnknownEntry
            | Outcome::ExceedsOriginal { .. }
                if self.asked_before_loss(asked_us) => {}
            Outcome::Conflict(first) => {
                if self.books.find(event).is_none() || Item::of_record(first) == Item::of(entry) {
                    return Err(format!("{event} is called a conflict with {first:?}"));
                }
            }
            // In an atomic batch it may be what the batch itself had left, which then was undone.
            Outcome::InsufficientFunds { .. } if is_atomic => {}
            Outcome::InsufficientFunds {
                available,
                currency,
            } => {
                let (user, now) = (entry.user_id.get(), self.books.version(entry.user_id.get()));
                let states = self.books.version_at(user, asked_us.saturating_sub(1))..=now;
                let existed = |version| {
                    let balances = self.books.balances_at(user, version);
                    balances.is_some_and(|balances| balances[currency.index()] == available.minor())
                };
                if available.minor() + Item::of(entry).change() >= 0
                    || !states.into_iter().any(existed)
                {
                    return Err(format!(
                        "{event} is refused for want of funds, with {available:?} there"
                    ));
                }
            }
            Outcome::UnknownEntry if self.books.left(entry).is_none() => {}
            Outcome::ExceedsOriginal { .. } if is_atomic => {}
            Outcome::ExceedsOriginal { left, .. } => {
                let least = self.books.left(entry);
                if left.minor() >= Item::of(entry).minor || least.is_none_or(|l| left.minor() < l) {
                    return Err(format!(
                        "{event} is said to exceed its entry, with {left:?} left; it is {least:?}"
                    ));
                }
            }
            _ => {
                return Err(format!("{event}: {outcome:?}"));
            }
        }
        Ok(true)
    }

    /// Nobody is left without an answer, unless the actor died or the process ended meanwhile.
    pub fn must_answer(
        &self,
        user: i64,
        is_answered: bool,
        asked_us: u64,
        now_us: u64,
    ) -> Result<(), String> {
        if is_answered || self.was_replaced(user, asked_us, now_us) {
            return Ok(());
        }
        Err(format!(
            "who asked the actor of user {user} at {asked_us} us is left without an answer"
        ))
    }

    /// A reader that asked a process at `asked_us` has its answer. It may not be the running process any more.
    pub fn read(
        &mut self,
        (process, user): (u64, i64),
        view: &BalanceView,
        is_fresh: bool,
        asked_us: u64,
        now_us: u64,
    ) -> Result<(), String> {
        if self.is_lost(&view.epoch) {
            let asked_us = (is_fresh && !view.is_stale).then_some(asked_us);
            return self.check_lost_state(&view.epoch, user, &view.account, asked_us);
        }
        self.check_state(user, &view.account)?;
        let as_of_us = view.verified.wall.us_since(Wall::from_us(WALL_START_US));
        if view.is_stale {
            return self.check_stale((process, user), as_of_us, asked_us, now_us);
        }
        // An earlier process knows of other answers.
        if process == self.process() && self.knows_of_outage(now_us) {
            return Err(format!(
                "a balance of user {user} is called fresh, though the ledger is known to be away"
            ));
        }
        let may_be_old = self.may_remember_old(user, asked_us);
        if now_us.saturating_sub(as_of_us) > TTL_US + TIMEOUT_US + SLACK_US && !may_be_old {
            return Err(format!(
                "a balance of user {user} that was last known at {as_of_us} us is called fresh"
            ));
        }
        let (books, before_us) = (&self.books, asked_us.saturating_sub(1));
        let least = if is_fresh {
            books.version_at(user, before_us)
        } else {
            books.heard_version(user, before_us)
        };
        let version = view.account.version;
        let is_just_begun = !is_fresh && self.is_just_begun(asked_us);
        if version < least && !may_be_old && !is_just_begun {
            return Err(format!(
                "user {user} is read at version {version}, asked at {asked_us} us, when {least} was there"
            ));
        }
        Ok(())
    }

    /// Version and balances belong together, and were the ledger's.
    fn check_state(&self, user: i64, account: &Account) -> Result<(), String> {
        let Account {
            version, balances, ..
        } = account;
        let currencies = balance_coordinator::domain::Currencies::default();
        let told: Vec<i64> = currencies
            .iter()
            .map(|(id, _)| balances.get(id).minor())
            .collect();
        match self.books.balances_at(user, *version) {
            Some(known) if known[..] == told[..] => Ok(()),
            known => Err(format!(
                "user {user} at version {version} is told as {told:?}, the ledger says {known:?}"
            )),
        }
    }

    /// A balance is called stale only when there is a reason, and its age is true.
    pub(super) fn check_stale(
        &self,
        (process, user): (u64, i64),
        as_of_us: u64,
        asked_us: u64,
        now_us: u64,
    ) -> Result<(), String> {
        if self.was_well(asked_us.saturating_sub(2 * TIMEOUT_US), now_us) {
            return Err(format!(
                "a balance of user {user} is called stale while the ledger is there"
            ));
        }
        let contact_us = self.contacts.get(&(process, user)).copied().unwrap_or(0);
        if as_of_us > contact_us {
            return Err(format!(
                "a stale balance of user {user} as of {as_of_us} us, last heard of at {contact_us} us"
            ));
        }
        Ok(())
    }
}
