//! The journal: the latest events of all users, for administrators. A ring, written on the coordinator's thread.
//!
//! Holds [`RECENT_EVENTS_MAX`] events of this process and none of other nodes. Noting one copies a few words; text is made
//! only when it is asked for.

use std::cell::RefCell;
use std::collections::VecDeque;

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::Wall;
use crate::coordinator::pacing::Mode;
use crate::domain::{Amount, Currencies, CurrencyId, EventId, Kind, SessionId, Source, UserId};
use crate::limits::RECENT_EVENTS_MAX;

/// Something that happened to a user.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub at: Wall,
    pub user_id: UserId,
    pub version: i64,
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// An entry was committed.
    Entry {
        event_id: EventId,
        kind: Kind,
        currency: CurrencyId,
        amount: Amount,
        source: Source,
    },
    /// Sessions were sent a push. `waited_us` counts from the commit that it was due for.
    Push {
        mode: Mode,
        entries: i64,
        sessions: usize,
        waited_us: u64,
    },
    /// A page shows the version of a push, so long after its commit.
    Displayed {
        session_id: SessionId,
        mode: Mode,
        took_us: u64,
    },
}

/// What an event is, for those who ask for some only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// An entry of a kind.
    Entry(Kind),
    /// A push.
    Push,
    /// A page's report.
    Displayed,
}

impl EventKind {
    /// Every name.
    pub fn names() -> Vec<&'static str> {
        let of_entries = Kind::ALL.map(Kind::as_str);
        of_entries
            .into_iter()
            .chain(["push", "displayed"])
            .collect()
    }

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "push" => Some(Self::Push),
            "displayed" => Some(Self::Displayed),
            name => Kind::parse(name).map(Self::Entry),
        }
    }
}

impl What {
    const fn kind(&self) -> EventKind {
        match self {
            Self::Entry { kind, .. } => EventKind::Entry(*kind),
            Self::Push { .. } => EventKind::Push,
            Self::Displayed { .. } => EventKind::Displayed,
        }
    }
}

/// The ring: how many events there were ever, and the latest of them.
#[derive(Debug, Default)]
pub struct Recent(RefCell<(u64, VecDeque<Happening>)>);

/// `GET /admin/v1/events`
#[derive(Debug, Serialize)]
pub struct RecentEvents {
    /// The number of the latest one, whether it is shown or not; 0 before the first.
    pub latest_seq: u64,
    /// Newest first.
    pub events: Vec<Value>,
}

impl Recent {
    pub(super) fn note(&self, happening: Happening) {
        let (count, latest) = &mut *self.0.borrow_mut();
        if latest.len() == RECENT_EVENTS_MAX {
            latest.pop_front();
        }
        latest.push_back(happening);
        *count += 1;
    }

    /// At most `limit` events behind the number `after`, of those that are wanted.
    pub(super) fn show(
        &self,
        limit: usize,
        after: u64,
        is_wanted: impl Fn(UserId, EventKind) -> bool,
        currencies: &Currencies,
    ) -> RecentEvents {
        let (count, latest) = &*self.0.borrow();
        let events = (1..=*count)
            .rev()
            .zip(latest.iter().rev())
            .take_while(|(seq, _)| *seq > after)
            .filter(|(_, happening)| is_wanted(happening.user_id, happening.what.kind()))
            .take(limit)
            .map(|(seq, happening)| happening.show(seq, currencies))
            .collect();
        RecentEvents {
            latest_seq: *count,
            events,
        }
    }

    /// One user's latest entries and pushes in a few words, oldest first.
    pub(super) fn of_user(&self, user_id: UserId, limit: usize) -> Vec<Value> {
        let (_, latest) = &*self.0.borrow();
        let own = latest.iter().rev().filter(|one| one.user_id == user_id);
        let brief = |one: &Happening| {
            let what = match one.what {
                What::Entry { kind, .. } => kind.as_str(),
                What::Push {
                    mode: Mode::Direct, ..
                } => "push_direct",
                What::Push { .. } => "push_paced",
                What::Displayed { .. } => return None,
            };
            Some(json!({ "at": one.at, "what": what, "version": one.version }))
        };
        let mut events: Vec<Value> = own.filter_map(brief).take(limit).collect();
        events.reverse();
        events
    }
}

impl Happening {
    fn show(&self, seq: u64, currencies: &Currencies) -> Value {
        let ms = |us: u64| us as f64 / 1000.0;
        let mut shown = match &self.what {
            What::Entry {
                event_id,
                kind,
                currency,
                amount,
                source,
            } => {
                let currency = currencies.get(*currency);
                let amount = amount.display(currency.decimals).to_string();
                json!({
                    "what": "entry", "event_id": event_id, "kind": kind, "currency": currency.code, "amount": amount,
                    "source": source,
                })
            }
            What::Push {
                mode,
                entries,
                sessions,
                waited_us,
            } => {
                json!({ "what": "push", "mode": mode, "entries": entries, "sessions": sessions, "waited_ms": ms(*waited_us) })
            }
            What::Displayed {
                session_id,
                mode,
                took_us,
            } => {
                json!({ "what": "displayed", "session_id": session_id, "mode": mode, "took_ms": ms(*took_us) })
            }
        };
        shown["seq"] = json!(seq);
        shown["at"] = json!(self.at);
        shown["user_id"] = json!(self.user_id);
        shown["version"] = json!(self.version);
        shown
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
            at: Wall::default(),
            user_id: UserId::new(user).expect("user id"),
            version,
            what,
        }
    }

    fn versions(recent: &Recent, limit: usize, after: u64, user: Option<i64>) -> Vec<i64> {
        let is_wanted = |id: UserId, _| user.is_none_or(|user| id.get() == user);
        let shown = recent.show(limit, after, is_wanted, &Currencies::default());
        let version = |event: &Value| event["version"].as_i64().expect("a version");
        shown.events.iter().map(version).collect()
    }

    #[test]
    fn the_ring_keeps_the_latest_events_and_shows_them_newest_first() {
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

    #[test]
    fn every_event_has_a_kind_of_a_known_name() {
        let names = EventKind::names();
        for (index, name) in names.iter().enumerate() {
            let kind = EventKind::parse(name).expect("a known name");
            let others = names
                .iter()
                .filter(|other| EventKind::parse(other) == Some(kind));
            assert_eq!(others.count(), 1, "{name}");
            assert_eq!(index < Kind::ALL.len(), matches!(kind, EventKind::Entry(_)));
        }
        assert_eq!(push(1, 1).what.kind(), EventKind::Push);
        for unknown in ["", "entry", "Deposit", "deposit "] {
            assert_eq!(EventKind::parse(unknown), None, "{unknown}");
        }
    }
}
