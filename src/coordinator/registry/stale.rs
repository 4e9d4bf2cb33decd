//! The users whose sessions are owed a fresh balance, and when the ledger is asked for each of them again.
//!
//! Actors enter and leave; the registry asks, so that only users in here cost anything. A user waits longer after every
//! attempt. *Away*: the ledger did not answer, and whether it does is asked first. *Unfit*: it answers, but not with a
//! balance that this program can have written; that is not mended by waiting, so it is tried rarely.
//!
//! Beside them, the users of whom an actor knows a later entry and not the one before it: see [`Gap`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::clock::Mono;
use crate::coordinator::registry::gauge::Gauge;
use crate::domain::UserId;
use crate::limits::GAPS_MAX;

/// Why a balance could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The ledger did not answer.
    Away,
    /// It holds what can't be read.
    Unfit,
}

impl Cause {
    /// The first and the longest wait between two attempts, in microseconds.
    const fn waits_us(self) -> (u64, u64) {
        match self {
            Self::Away => (250_000, 1_000_000),
            Self::Unfit => (1_000_000, 60_000_000),
        }
    }
}

/// Shared by the registry and its actors.
#[derive(Debug, Default)]
pub(crate) struct StaleUsers(RefCell<Waiting>);

/// Another process committed entries, and later ones were heard of before them. The state is known; what the entries were
/// is not, and a deposit among them has to be pushed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Whose.
    pub user_id: UserId,
    /// The last version before it.
    pub from: i64,
    /// When it was seen: what is missing may be on its way.
    pub seen: Mono,
}

#[derive(Debug, Default)]
struct Waiting {
    users: BTreeMap<UserId, Owed>,
    due: BTreeSet<(Cause, Mono, UserId)>,
    gaps: VecDeque<Gap>,
}

#[derive(Debug)]
struct Owed {
    /// Tells the user's actors apart: a new one may be there before the last one is gone.
    actor: Rc<Gauge>,
    cause: Cause,
    at: Mono,
    wait_us: u64,
}

impl StaleUsers {
    /// A gap was seen. Beyond `limits::GAPS_MAX` the state alone is shown.
    pub(crate) fn note_gap(&self, gap: Gap) {
        let gaps = &mut self.0.borrow_mut().gaps;
        if gaps.len() < GAPS_MAX {
            gaps.push_back(gap);
        }
    }

    /// The oldest gap, when it was seen by then.
    pub(crate) fn take_gap(&self, seen_by: Mono) -> Option<Gap> {
        self.0
            .borrow_mut()
            .gaps
            .pop_front_if(|gap| gap.seen <= seen_by)
    }

    /// A user is owed a balance. One that waits for the same cause goes on waiting.
    pub(crate) fn enter(&self, user_id: UserId, actor: &Rc<Gauge>, cause: Cause, now: Mono) {
        let waiting = &mut *self.0.borrow_mut();
        if let Some(owed) = waiting.users.get_mut(&user_id)
            && owed.cause == cause
        {
            owed.actor = actor.clone();
            return;
        }
        waiting.remove(user_id);
        let (wait_us, _) = cause.waits_us();
        waiting.put(user_id, actor.clone(), cause, now, wait_us);
    }

    /// Its actor owes it nothing any more.
    pub(crate) fn leave(&self, user_id: UserId, actor: &Rc<Gauge>) {
        let waiting = &mut *self.0.borrow_mut();
        if waiting
            .users
            .get(&user_id)
            .is_some_and(|owed| Rc::ptr_eq(&owed.actor, actor))
        {
            waiting.remove(user_id);
        }
    }

    /// Whether any user waits for this cause.
    pub(super) fn has(&self, cause: Cause) -> bool {
        self.first(cause).is_some()
    }

    /// Whether one of them is to be tried.
    pub(super) fn is_due(&self, cause: Cause, now: Mono) -> bool {
        self.first(cause).is_some_and(|(at, _)| at <= now)
    }

    /// The next user that is to be tried, which then waits twice as long as before.
    pub(super) fn take_due(&self, cause: Cause, now: Mono) -> Option<UserId> {
        let (_, user_id) = self.first(cause).filter(|(at, _)| *at <= now)?;
        let waiting = &mut *self.0.borrow_mut();
        let Owed { actor, wait_us, .. } = waiting.remove(user_id)?;
        let (_, longest_us) = cause.waits_us();
        waiting.put(user_id, actor, cause, now, (2 * wait_us).min(longest_us));
        Some(user_id)
    }

    fn first(&self, cause: Cause) -> Option<(Mono, UserId)> {
        let waiting = self.0.borrow();
        let of_cause = waiting.due.iter().find(|(of, ..)| *of >= cause)?;
        (of_cause.0 == cause).then_some((of_cause.1, of_cause.2))
    }
}

impl Waiting {
    fn put(&mut self, user_id: UserId, actor: Rc<Gauge>, cause: Cause, now: Mono, wait_us: u64) {
        let at = now.plus_us(wait_us);
        self.due.insert((cause, at, user_id));
        let owed = Owed {
            actor,
            cause,
            at,
            wait_us,
        };
        self.users.insert(user_id, owed);
    }

    fn remove(&mut self, user_id: UserId) -> Option<Owed> {
        let owed = self.users.remove(&user_id)?;
        self.due.remove(&(owed.cause, owed.at, user_id));
        Some(owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn user(id: i64) -> UserId {
        UserId::new(id).expect("a user id")
    }

    /// When one user is tried within so many milliseconds.
    fn attempts_ms(cause: Cause, until_ms: u64) -> Vec<u64> {
        let (stale, actor) = (StaleUsers::default(), Rc::default());
        stale.enter(user(1), &actor, cause, Mono::from_us(0));
        let tried = |at_ms: &u64| {
            let now = Mono::from_us(at_ms * MS);
            let is_tried = stale.take_due(cause, now) == Some(user(1));
            // It fails again, which changes nothing.
            stale.enter(user(1), &actor, cause, now);
            is_tried
        };
        (0..until_ms).step_by(50).filter(tried).collect()
    }

    #[test]
    fn each_user_waits_longer_after_every_attempt() {
        assert_eq!(attempts_ms(Cause::Away, 4000), [250, 750, 1750, 2750, 3750]);
        assert_eq!(
            attempts_ms(Cause::Unfit, 60_000),
            [1000, 3000, 7000, 15_000, 31_000]
        );
    }

    #[test]
    fn the_causes_are_apart_and_only_the_actor_that_owes_can_leave() {
        let (stale, actor, next) = (StaleUsers::default(), Rc::default(), Rc::default());
        let late = Mono::from_us(3_600_000 * MS);
        stale.enter(user(1), &actor, Cause::Unfit, Mono::from_us(0));
        stale.enter(user(2), &actor, Cause::Away, Mono::from_us(0));
        assert_eq!(stale.take_due(Cause::Away, late), Some(user(2)));
        assert!(!stale.is_due(Cause::Away, late) && stale.has(Cause::Away));
        assert_eq!(stale.take_due(Cause::Unfit, late), Some(user(1)));
        stale.enter(user(1), &actor, Cause::Away, late);
        assert!(!stale.has(Cause::Unfit), "it has another cause now");
        stale.leave(user(1), &next);
        stale.leave(user(2), &actor);
        assert!(stale.has(Cause::Away));
        stale.leave(user(1), &actor);
        assert!(!stale.has(Cause::Away));
        stale.enter(user(1), &actor, Cause::Away, late);
        stale.enter(user(1), &next, Cause::Away, late);
        stale.leave(user(1), &actor);
        assert!(stale.has(Cause::Away), "the next actor owes it, too");
    }
}
