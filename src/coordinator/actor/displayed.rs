//! How long it takes from a commit to the page that shows it: keeps each push of a session until its page reports it.

use std::collections::VecDeque;

use crate::clock::Wall;
use crate::coordinator::actor::BalanceActor;
use crate::coordinator::journal::{Happening, What};
use crate::coordinator::pacing::Mode;
use crate::domain::SessionId;
use crate::limits::PUSHES_REMEMBERED_MAX;
use crate::telemetry::counters::seconds;

/// A push that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub version: i64,
    pub mode: Mode,
    /// Of its newest change.
    pub committed_at: Wall,
}

/// The latest pushes to one session that its page has not shown yet. Allocates nothing while it is empty.
#[derive(Debug, Default)]
pub(super) struct Undisplayed(VecDeque<Sent>);

impl Undisplayed {
    /// Notes a push; versions only grow. The oldest is forgotten when a page reports nothing.
    pub(super) fn sent(&mut self, push: Sent) {
        if self.0.len() == PUSHES_REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(push);
    }

    /// The page shows this version. Gives the push that brought it, once; older ones were skipped and are forgotten.
    pub(super) fn displayed(&mut self, version: i64) -> Option<Sent> {
        let is_shown = |push: &&Sent| push.version <= version;
        let shown = self.0.iter().take_while(is_shown).count();
        let newest = self.0.drain(..shown).next_back();
        newest.filter(|push| push.version == version)
    }
}

impl BalanceActor {
    /// A session's page shows this version.
    pub(super) fn displayed(&mut self, session_id: SessionId, version: i64) {
        let live = self.live.as_mut();
        let Some(session) = live.and_then(|live| live.session(session_id)) else {
            return;
        };
        // A page can't show what it was never sent.
        let shown = version.min(session.last_version);
        session.displayed_version = session.displayed_version.max(shown);
        if let Some(push) = session.undisplayed.displayed(version) {
            let at = self.shared.clock.wall();
            let took_us = at.us_since(push.committed_at);
            let waits = &self.shared.counters.commit_to_displayed;
            waits
                .of(push.mode == Mode::Direct)
                .observe(seconds(took_us));
            let what = What::Displayed {
                session_id,
                mode: push.mode,
                took_us,
            };
            self.shared.recent.note(Happening {
                at,
                user_id: self.user_id,
                version,
                what,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(version: i64) -> Sent {
        Sent {
            version,
            mode: Mode::Direct,
            committed_at: Wall::from_us(version * 10),
        }
    }

    #[test]
    fn a_push_is_given_once_and_only_by_its_own_version() {
        let mut pushes = Undisplayed::default();
        [3, 5, 8]
            .into_iter()
            .for_each(|version| pushes.sent(sent(version)));
        assert_eq!(pushes.displayed(2), None, "it came by a snapshot");
        assert_eq!(pushes.displayed(5), Some(sent(5)));
        assert_eq!(pushes.displayed(5), None, "once");
        assert_eq!(pushes.displayed(3), None, "it was skipped");
        assert_eq!(pushes.displayed(9), None, "never pushed");
        assert_eq!(pushes.displayed(8), None, "skipped, too");
    }

    #[test]
    fn a_page_that_reports_nothing_costs_little() {
        let mut pushes = Undisplayed::default();
        (1..=1000).for_each(|version| pushes.sent(sent(version)));
        assert_eq!(pushes.0.len(), PUSHES_REMEMBERED_MAX);
        assert_eq!(pushes.displayed(1000), Some(sent(1000)));
    }
}
