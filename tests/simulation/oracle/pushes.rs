//! What pushes owe to time: the rule of the next push, worked out from the commits.

use balance_coordinator::domain::Kind;
use serde_json::Value;

use super::frames::moment;
use crate::books::Commit;

use super::{DEBOUNCE_US, DIRECT_INTERVAL_US, MIN_INTERVAL_US, Oracle, SLACK_US};

/// One push, as any session heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    pub pushed_us: u64,
    base: i64,
    version: i64,
    is_direct: bool,
    sources: Vec<String>,
    first_committed_us: u64,
    committed_us: u64,
}

impl Push {
    pub fn read(frame: &Value, base: i64, version: i64) -> Result<Self, String> {
        let sources = frame["sources"].as_array().ok_or("no sources")?;
        Ok(Self {
            pushed_us: moment(frame, "pushed_at")?,
            base,
            version,
            is_direct: match frame["mode"].as_str() {
                Some("direct") => true,
                Some("paced") => false,
                _ => return Err("no mode".into()),
            },
            sources: sources
                .iter()
                .map(|source| source.as_str().unwrap_or_default().to_owned())
                .collect(),
            first_committed_us: moment(frame, "first_committed_at")?,
            committed_us: moment(frame, "committed_at")?,
        })
    }
}

/// Kinds that are pushed at once.
pub fn is_direct(kind: Kind) -> bool {
    kind != Kind::Reward
}

impl Oracle {
    /// Gaps, order and content of all pushes.
    pub(super) fn check_pushes(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut last: Option<(i64, &Push)> = None;
        for ((user, _), push) in &self.pushes {
            let before = last
                .filter(|(last_user, _)| last_user == user)
                .map(|(_, push)| push);
            let result = self
                .check_content(*user, push)
                .and_then(|()| self.check_mode(*user, push))
                .and_then(|()| self.check_base(*user, push))
                .and_then(|()| self.check_gap(*user, before, push));
            found.extend(
                result
                    .err()
                    .map(|what| format!("user {user}: {what}: {push:?}")),
            );
            last = Some((*user, push));
        }
        found
    }

    fn check_content(&self, user: i64, push: &Push) -> Result<(), String> {
        let commits = &self.books.of(user)[push.base as usize..push.version as usize];
        if push.is_direct && !commits.iter().any(|commit| is_direct(commit.kind)) {
            return Err("a direct push without a direct change".into());
        }
        if push
            .sources
            .iter()
            .any(|source| !commits.iter().any(|commit| commit.source == *source))
        {
            return Err("a source that did not change anything".into());
        }
        if !(push.first_committed_us <= push.committed_us && push.committed_us <= push.pushed_us) {
            return Err("committed after it was pushed".into());
        }
        // Two writers may commit a user's entries at once: the later version can have the earlier time.
        let times = || commits.iter().map(|commit| commit.committed_us);
        let (Some(first_us), Some(last_us)) = (times().min(), times().max()) else {
            return Err("an empty push".into());
        };
        let was_told = |commit: &Commit| {
            let heard_us = commit
                .heard_us
                .filter(|heard_us| *heard_us <= push.pushed_us);
            heard_us.is_some_and(|heard_us| !self.was_replaced(user, heard_us, push.pushed_us))
        };
        // What was shown before is no part of it. (A change that was found by a read has no commit time.)
        if commits.iter().all(was_told)
            && !push.sources.is_empty()
            && push.first_committed_us < first_us
        {
            return Err(format!("its first change was committed at {first_us} us"));
        }
        let settled_us = (last_us + DEBOUNCE_US).min(first_us + MIN_INTERVAL_US);
        // What was found by a read does not tell when it was committed, nor its source; nor what an actor before has heard.
        let is_told = !push.sources.is_empty() && commits.iter().all(was_told);
        if is_told && !push.is_direct && push.pushed_us + SLACK_US < settled_us {
            return Err(format!("paced, but sent before {settled_us} us"));
        }
        Ok(())
    }

    /// A direct change among the pending ones makes a push direct.
    fn check_mode(&self, user: i64, push: &Push) -> Result<(), String> {
        // A session that began with an old state is pushed what a read finds, and that tells no kinds.
        if self.may_remember_old(user, push.pushed_us) {
            return Ok(());
        }
        let commits = &self.books.of(user)[push.base as usize..push.version as usize];
        let was_known = |commit: &Commit| {
            commit.heard_us.is_some_and(|heard_us| {
                heard_us < push.pushed_us
                    && !self.is_just_begun(heard_us)
                    && !self.was_replaced(user, heard_us, push.pushed_us)
            })
        };
        let mut direct = commits.iter().filter(|commit| is_direct(commit.kind));
        match direct.find(|commit| was_known(commit)) {
            Some(commit) if !push.is_direct => {
                Err(format!("paced, with the direct change {}", commit.event))
            }
            _ => Ok(()),
        }
    }

    /// What every open session had been sent is not counted again. (That a session is sent all that it lacks is checked
    /// with each frame.)
    fn check_base(&self, user: i64, push: &Push) -> Result<(), String> {
        if self.may_remember_old(user, push.pushed_us) {
            return Ok(());
        }
        let of_user = self.sessions.iter().filter(|session| session.user == user);
        let of_user = of_user.filter(|session| !self.is_lost(&session.epoch));
        let sent = of_user.filter_map(|session| session.was_sent_before(push.pushed_us));
        let sent: Vec<(i64, bool)> = sent.collect();
        let least = sent.iter().map(|(version, _)| *version).min();
        let is_certain = sent.iter().any(|(_, is_certain)| *is_certain);
        match least {
            Some(least) if is_certain && push.base < least => {
                Err(format!("every session had been sent version {least}"))
            }
            _ => Ok(()),
        }
    }

    fn check_gap(&self, user: i64, before: Option<&Push>, push: &Push) -> Result<(), String> {
        let Some(before) = before else { return Ok(()) };
        if self.was_replaced(
            user,
            before.pushed_us.saturating_sub(SLACK_US),
            push.pushed_us,
        ) {
            return Ok(());
        }
        let gap_us = push.pushed_us - before.pushed_us;
        let least_us = if push.is_direct {
            DIRECT_INTERVAL_US
        } else {
            MIN_INTERVAL_US
        };
        if gap_us < least_us {
            return Err(format!("{gap_us} us after the last push"));
        }
        if push.base < before.version && !self.may_remember_old(user, before.pushed_us) {
            return Err(format!(
                "it counts again what the push of version {} has counted",
                before.version
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Item;
    use crate::requests::entry;

    const S: u64 = 1_000_000;

    /// User 1 with rewards whose commits have these times, all heard of at once.
    fn oracle(committed_us: &[u64]) -> Oracle {
        let mut oracle = Oracle::default();
        let currency = balance_coordinator::domain::Currencies::default()
            .find("TON")
            .expect("a default");
        for (version, committed_us) in (1..).zip(committed_us) {
            let item = Item {
                user: 1,
                kind: Kind::Reward,
                currency,
                minor: 1,
            };
            oracle
                .books
                .commit(
                    &entry(&format!("e{version}"), item, None),
                    version,
                    *committed_us,
                    20 * S,
                )
                .expect("good");
            oracle
                .books
                .heard(1, version, &format!("e{version}"), 19 * S);
        }
        oracle
    }

    fn paced(pushed_us: u64, version: i64, (first_committed_us, committed_us): (u64, u64)) -> Push {
        let sources = vec!["reward".into()];
        Push {
            pushed_us,
            base: 0,
            version,
            is_direct: false,
            sources,
            first_committed_us,
            committed_us,
        }
    }

    #[test]
    fn the_earliest_commit_counts_though_a_later_version_has_it() {
        let oracle = oracle(&[19 * S, 15 * S, 18 * S]);
        assert!(
            oracle
                .check_content(1, &paced(20 * S, 3, (15 * S, 19 * S)))
                .is_ok(),
            "5 s after the second entry"
        );
        assert!(
            oracle
                .check_content(1, &paced(19_900_000, 3, (15 * S, 19 * S)))
                .is_err()
        );
        assert!(
            oracle
                .check_content(1, &paced(20 * S, 1, (19 * S, 19 * S)))
                .is_err(),
            "the second entry is not in it"
        );
    }
}
