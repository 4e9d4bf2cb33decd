//! How long it takes from a commit to the page that shows it: pushes that a session was sent, until its page tells.

use std::collections::VecDeque;

use actix::prelude::*;

use crate::coordinator::actor::BalanceActor;
use crate::coordinator::messages::ReportDisplayed;
use crate::coordinator::pacing::Mode;
use crate::limits::PUSHES_REMEMBERED_MAX;
use crate::telemetry::counters::seconds;

/// A push that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub version: i64,
    pub mode: Mode,
    /// Of its newest change.
    pub committed_at_us: i64,
}

/// The latest pushes to one session that its page has not shown yet. Empty ones take no memory of their own.
#[derive(Debug, Default)]
pub(super) struct Undisplayed(VecDeque<Sent>);

impl Undisplayed {
    /// Notes a push; versions only grow. The oldest is forgotten when a page does not tell.
    pub(super) fn sent(&mut self, push: Sent) {
        if self.0.len() == PUSHES_REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(push);
    }

    /// The page shows this version now. Gives the push that brought it, once; older ones were skipped and are forgotten.
    pub(super) fn displayed(&mut self, version: i64) -> Option<Sent> {
        let shown = self
            .0
            .iter()
            .take_while(|push| push.version <= version)
            .count();
        self.0
            .drain(..shown)
            .next_back()
            .filter(|push| push.version == version)
    }
}

impl Handler<ReportDisplayed> for BalanceActor {
    type Result = ();

    fn handle(&mut self, displayed: ReportDisplayed, ctx: &mut Self::Context) {
        self.dequeue(ctx);
        if let Some(session) = self
            .live
            .as_mut()
            .and_then(|live| live.session(displayed.session_id))
        {
            // A page can't show what it was never sent.
            session.displayed_version = session
                .displayed_version
                .max(displayed.version.min(session.last_version));
            if let Some(push) = session.undisplayed.displayed(displayed.version) {
                let age_us =
                    u64::try_from(self.shared.clock.now_us() - push.committed_at_us).unwrap_or(0);
                self.shared
                    .counters
                    .commit_to_displayed
                    .of(push.mode == Mode::Direct)
                    .observe(seconds(age_us));
                self.note_displayed(displayed.session_id, push, age_us);
            }
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
            committed_at_us: version * 10,
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
    fn a_page_that_never_tells_costs_little() {
        let mut pushes = Undisplayed::default();
        (1..=1000).for_each(|version| pushes.sent(sent(version)));
        assert_eq!(pushes.0.len(), PUSHES_REMEMBERED_MAX);
        assert_eq!(pushes.displayed(1000), Some(sent(1000)));
    }
}
