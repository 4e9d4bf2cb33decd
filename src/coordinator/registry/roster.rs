//! The resident actors in the order in which the sweep looks at them: round after round, a few at a time.
//!
//! Each has a seat. Those before the cursor were looked at in this round, those behind it are still to come; an actor that
//! leaves is replaced so that this stays true. So none is left out of a round, whatever comes and goes meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use crate::coordinator::registry::gauge::Gauge;
use crate::domain::UserId;

/// Shared by the registry and the seats.
#[derive(Debug, Default, Clone)]
pub(super) struct Roster(Rc<RefCell<Seats>>);

#[derive(Debug, Default)]
struct Seats {
    all: Vec<(UserId, Rc<Gauge>)>,
    /// The cursor.
    next: usize,
    /// The most actors there were since the round began.
    round: usize,
}

/// The place of one actor, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    roster: Roster,
    gauge: Rc<Gauge>,
}

impl Roster {
    /// How many actors this round has, with those that have left meanwhile: its pace stays the same.
    pub(super) fn round_len(&self) -> usize {
        self.0.borrow().round
    }

    /// A seat for a new actor.
    pub(super) fn take(&self, user_id: UserId, gauge: &Rc<Gauge>) -> Seat {
        let seats = &mut *self.0.borrow_mut();
        gauge.seat.set(seats.all.len());
        seats.all.push((user_id, gauge.clone()));
        seats.round = seats.round.max(seats.all.len());
        Seat {
            roster: self.clone(),
            gauge: gauge.clone(),
        }
    }

    /// The next one to be looked at; `None` ends a round.
    pub(super) fn next(&self) -> Option<(UserId, Rc<Gauge>)> {
        let seats = &mut *self.0.borrow_mut();
        let found = seats.all.get(seats.next).cloned();
        if found.is_some() {
            seats.next += 1;
        } else {
            (seats.next, seats.round) = (0, seats.all.len());
        }
        found
    }

    /// The last one could not be looked at: it is the next one again.
    pub(super) fn again(&self) {
        let seats = &mut *self.0.borrow_mut();
        seats.next = seats.next.saturating_sub(1);
    }
}

impl Seats {
    fn leave(&mut self, mut seat: usize) {
        if seat < self.next {
            // The last one that was looked at takes its place; the hole is then at the cursor.
            self.next -= 1;
            self.all.swap(seat, self.next);
            self.all[seat].1.seat.set(seat);
            seat = self.next;
        }
        self.all.swap_remove(seat);
        if let Some((_, moved)) = self.all.get(seat) {
            moved.seat.set(seat);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roster.0.borrow_mut().leave(self.gauge.seat.get());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn user(id: i64) -> UserId {
        UserId::new(id).expect("a user id")
    }

    fn seats(roster: &Roster, ids: std::ops::RangeInclusive<i64>) -> Vec<Option<Seat>> {
        ids.map(|id| Some(roster.take(user(id), &Rc::default())))
            .collect()
    }

    /// Whatever leaves meanwhile: all others are looked at once a round.
    #[test]
    fn each_actor_is_looked_at_once_a_round_whatever_leaves() {
        for (looked_at, leaves) in (0..=8).flat_map(|n| (0..8).map(move |leaves| (n, leaves))) {
            let roster = Roster::default();
            let mut seats = seats(&roster, 1..=8);
            let next = || {
                roster
                    .next()
                    .map(|(user_id, _)| user_id.get())
                    .expect("one")
            };
            let mut seen: Vec<i64> = (0..looked_at).map(|_| next()).collect();
            seats[leaves].take();
            let left = leaves as i64 + 1;
            let rest = 8 - looked_at - usize::from(leaves >= looked_at);
            seen.extend((0..rest).map(|_| next()));
            let mut once: BTreeSet<i64> = seen.iter().copied().collect();
            assert_eq!(once.len(), seen.len(), "none twice: {seen:?}");
            once.insert(left);
            assert_eq!(once.len(), 8, "none left out: {seen:?}");
            assert!(roster.next().is_none(), "the end of the round");
            let round: BTreeSet<i64> = (0..7).map(|_| next()).collect();
            assert_eq!((round.len(), round.contains(&left)), (7, false));
        }
    }

    #[test]
    fn one_that_could_not_be_looked_at_is_the_next_and_all_may_leave() {
        let roster = Roster::default();
        let all = seats(&roster, 1..=3);
        let next = || roster.next().map(|(user_id, _)| user_id.get());
        assert_eq!((next(), next()), (Some(1), Some(2)));
        roster.again();
        assert_eq!((next(), next(), next()), (Some(2), Some(3), None));
        assert_eq!(next(), Some(1));
        drop(all);
        assert_eq!((next(), roster.round_len()), (None, 0));
    }
}
