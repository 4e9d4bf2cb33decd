//! The latest that happened to any user, for administrators: a ring, written on the coordinator's thread as it happens.
//!
//! Holds [`RECENT_EVENTS_MAX`] of this process and nothing of other nodes; a write costs no more than a few words.

use std::cell::RefCell;
use std::collections::VecDeque;

use serde::Serialize;

use crate::clock;
use crate::coordinator::pacing::Mode;
use crate::domain::{Amount, Currencies, CurrencyId, Kind, SessionId, Source, UserId};
use crate::limits::RECENT_EVENTS_MAX;

/// What happened to a user.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub at_us: i64,
    pub user_id: UserId,
    pub version: i64,
    pub what: What,
}

/// What it was.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// An entry was committed.
    Entry {
        kind: Kind,
        currency: CurrencyId,
        amount: Amount,
        source: Source,
    },
    /// Sessions were told; so many entries since the push before, the first of them so long ago.
    Push {
        mode: Mode,
        entries: i64,
        sessions: usize,
        waited_us: u64,
    },
    /// A page shows a version that it was pushed, so long after its commit.
    Displayed {
        session_id: SessionId,
        mode: Mode,
        took_us: u64,
    },
}

/// The ring.
#[derive(Debug, Default)]
pub struct Recent(RefCell<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// How many there were ever.
    count: u64,
    latest: VecDeque<Happening>,
}

/// Which of them are wanted.
#[derive(Debug, Clone, Copy)]
pub struct RecentQuery {
    /// At most so many, the latest.
    pub limit: usize,
    /// Only those behind this number.
    pub after: u64,
    /// Only those of one user.
    pub user_id: Option<UserId>,
}

/// `GET /admin/v1/events`
#[derive(Debug, Serialize)]
pub struct RecentEvents {
    /// The number of the latest one, whether it is shown or not; 0 before the first.
    pub latest_seq: u64,
    /// Newest first.
    pub events: Vec<RecentEvent>,
}

/// One row of it.
#[derive(Debug, Serialize)]
pub struct RecentEvent {
    seq: u64,
    at: String,
    user_id: UserId,
    version: i64,
    #[serde(flatten)]
    what: Shown,
}

#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Shown {
    Entry {
        kind: Kind,
        currency: String,
        amount: String,
        source: Source,
    },
    Push {
        mode: Mode,
        entries: i64,
        sessions: usize,
        waited_ms: f64,
    },
    Displayed {
        session_id: SessionId,
        mode: Mode,
        took_ms: f64,
    },
}

impl Recent {
    pub(super) fn note(&self, happening: Happening) {
        let ring = &mut *self.0.borrow_mut();
        if ring.latest.len() == RECENT_EVENTS_MAX {
            ring.latest.pop_front();
        }
        ring.latest.push_back(happening);
        ring.count += 1;
    }

    pub(super) fn show(&self, query: &RecentQuery, currencies: &Currencies) -> RecentEvents {
        let ring = self.0.borrow();
        let numbered = (1..=ring.count).rev().zip(ring.latest.iter().rev());
        let events = numbered
            .take_while(|(seq, _)| *seq > query.after)
            .filter(|(_, happening)| {
                query
                    .user_id
                    .is_none_or(|user_id| happening.user_id == user_id)
            })
            .take(query.limit)
            .map(|(seq, happening)| happening.show(seq, currencies))
            .collect();
        RecentEvents {
            latest_seq: ring.count,
            events,
        }
    }
}

impl Happening {
    fn show(&self, seq: u64, currencies: &Currencies) -> RecentEvent {
        let Self {
            at_us,
            user_id,
            version,
            what,
        } = self;
        let ms = |us: u64| us as f64 / 1000.0;
        let what = match what {
            What::Entry {
                kind,
                currency,
                amount,
                source,
            } => {
                let currency = currencies.get(*currency);
                let (amount, code) = (
                    amount.display(currency.decimals).to_string(),
                    currency.code.clone(),
                );
                Shown::Entry {
                    kind: *kind,
                    currency: code,
                    amount,
                    source: source.clone(),
                }
            }
            What::Push {
                mode,
                entries,
                sessions,
                waited_us,
            } => Shown::Push {
                mode: *mode,
                entries: *entries,
                sessions: *sessions,
                waited_ms: ms(*waited_us),
            },
            What::Displayed {
                session_id,
                mode,
                took_us,
            } => Shown::Displayed {
                session_id: *session_id,
                mode: *mode,
                took_ms: ms(*took_us),
            },
        };
        RecentEvent {
            seq,
            at: clock::rfc3339(*at_us),
            user_id: *user_id,
            version: *version,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(user: i64, version: i64) -> Happening {
        let what = What::Push {
            mode: Mode::Direct,
            entries: 1,
            sessions: 1,
            waited_us: 1500,
        };
        Happening {
            at_us: 0,
            user_id: UserId::new(user).expect("user id"),
            version,
            what,
        }
    }

    fn versions(recent: &Recent, limit: usize, after: u64, user: Option<i64>) -> Vec<i64> {
        let user_id = user.map(|user| UserId::new(user).expect("user id"));
        let shown = recent.show(
            &RecentQuery {
                limit,
                after,
                user_id,
            },
            &Currencies::default(),
        );
        shown.events.iter().map(|event| event.version).collect()
    }

    #[test]
    fn the_ring_keeps_the_latest_and_tells_them_newest_first() {
        let recent = Recent::default();
        (1..=RECENT_EVENTS_MAX as i64 + 2)
            .for_each(|version| recent.note(push(1 + version % 2, version)));
        let last = RECENT_EVENTS_MAX as i64 + 2;
        assert_eq!(versions(&recent, 2, 0, None), [last, last - 1]);
        assert_eq!(
            versions(&recent, usize::MAX, 0, None).len(),
            RECENT_EVENTS_MAX,
            "the oldest two are gone"
        );
        assert_eq!(
            versions(&recent, 10, last as u64 - 1, None),
            [last],
            "behind a number"
        );
        assert_eq!(
            versions(&recent, 2, 0, Some(1)),
            [last, last - 2],
            "of one user"
        );
        assert_eq!(versions(&recent, 10, last as u64, None), [0_i64; 0]);
    }
}
