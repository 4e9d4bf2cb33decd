//! What is owed to each session over time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::pushes::is_direct;
use super::{DIRECT_INTERVAL_US, MIN_INTERVAL_US, Oracle, SLACK_US, TIMEOUT_US};

/// How often a full outbox is tried again.
const LAGGING_RETRY_US: u64 = 100_000;

/// How often a session makes sure that it is attached (`limits.heartbeat_ms`).
const HEARTBEAT_US: u64 = 25_000_000;

/// Within so much of the ledger's return a session that is owed a balance has it: a probe, its answer, a read.
const RECOVERY_US: u64 = 1_600_000;

/// One connection of one client.
#[derive(Debug, Default)]
pub struct SessionRecord {
    pub user: i64,
    /// The epoch that it was greeted in.
    pub epoch: String,
    pub opened_us: u64,
    pub is_greeted: bool,
    /// The largest version it was sent.
    pub version: i64,
    pub first_balance_us: Option<u64>,
    /// Pings not answered yet, and messages that deserve an error.
    pub pings: BTreeSet<u64>,
    pub bad_messages: u32,
    pub garbage: u32,
    /// Since when it knows only a stale balance or none.
    pub is_owed_since_us: Option<u64>,
    closed_us: Option<u64>,
    /// Its first `balance` or error.
    first_answer_us: Option<u64>,
    /// When it saw which version.
    seen: Vec<(u64, i64)>,
    /// When it reads what it is sent.
    prompt: Vec<(u64, Option<u64>)>,
    refreshes: BTreeMap<u64, Refresh>,
}

#[derive(Debug)]
struct Refresh {
    asked_us: u64,
    answered_us: Option<u64>,
}

impl SessionRecord {
    pub fn open(user: i64, now_us: u64) -> Self {
        Self {
            user,
            opened_us: now_us,
            prompt: vec![(now_us, None)],
            ..Self::default()
        }
    }

    /// The connection is gone.
    pub fn close(&mut self, now_us: u64) {
        self.set_prompt(false, now_us);
        self.closed_us.get_or_insert(now_us);
    }

    /// Whether it was open at some time since then.
    pub fn was_open_since(&self, since_us: u64) -> bool {
        self.closed_us.is_none_or(|closed_us| closed_us >= since_us)
    }

    pub fn is_open(&self) -> bool {
        self.closed_us.is_none()
    }

    /// From now on it does (not) read what it is sent as it comes.
    pub fn set_prompt(&mut self, is_prompt: bool, now_us: u64) {
        match (self.prompt.last_mut(), is_prompt) {
            (Some((_, end @ None)), false) => *end = Some(now_us),
            (Some((_, Some(_))) | None, true) if self.closed_us.is_none() => {
                self.prompt.push((now_us, None))
            }
            _ => {}
        }
    }

    /// Whether what it reads now was said now: it is prompt, and has read what was left from before it was.
    pub(super) fn reads_what_is_said_now(&self, now_us: u64) -> bool {
        let is_new = |begin_us: u64| begin_us == self.opened_us;
        self.prompt.last().is_some_and(|(begin, end)| {
            end.is_none() && (is_new(*begin) || begin + SLACK_US <= now_us)
        })
    }

    /// Whether it has been reading what it is sent for so long.
    pub fn has_been_prompt_for(&self, how_long_us: u64, now_us: u64) -> bool {
        self.prompt
            .last()
            .is_some_and(|(begin, end)| end.is_none() && begin + how_long_us <= now_us)
    }

    /// It asks for a balance.
    pub fn asks(&mut self, id: u64, now_us: u64) {
        self.refreshes.insert(
            id,
            Refresh {
                asked_us: now_us,
                answered_us: None,
            },
        );
    }

    pub(super) fn asked_us(&self, frame: &Value) -> Option<u64> {
        let refresh = self.refreshes.get(&frame["id"].as_u64()?)?;
        Some(refresh.asked_us)
    }

    pub(super) fn answered(&mut self, frame: &Value, now_us: u64) -> Result<(), String> {
        self.first_answer_us.get_or_insert(now_us);
        let Some(id) = frame.get("id") else {
            return Ok(());
        };
        let refresh = id
            .as_u64()
            .and_then(|id| self.refreshes.get_mut(&id))
            .ok_or("an answer to nobody")?;
        match refresh.answered_us.replace(now_us) {
            None => Ok(()),
            Some(_) => Err("a second answer to the same refresh".into()),
        }
    }

    pub(super) fn saw(&mut self, version: i64, is_balance: bool, now_us: u64) {
        if is_balance {
            self.first_balance_us.get_or_insert(now_us);
        }
        self.version = self.version.max(version);
        self.seen.push((now_us, version));
    }

    fn was_prompt(&self, from_us: u64, to_us: u64) -> bool {
        self.closed_us.is_none_or(|closed_us| closed_us > to_us)
            && self
                .prompt
                .iter()
                .any(|(begin, end)| *begin <= from_us && end.is_none_or(|end| end > to_us))
    }

    fn version_by(&self, at_us: u64) -> i64 {
        self.seen
            .iter()
            .filter(|(seen_us, _)| *seen_us <= at_us)
            .map(|(_, version)| *version)
            .max()
            .unwrap_or(0)
    }

    /// The newest version that it was sent before a time, and whether that is certain: what is read late may have been sent
    /// before. `None` when it was not open, or had been sent nothing.
    pub(super) fn was_sent_before(&self, at_us: u64) -> Option<(i64, bool)> {
        let is_over = |closed_us: u64| closed_us + SLACK_US < at_us;
        if self.opened_us >= at_us || self.closed_us.is_some_and(is_over) {
            return None;
        }
        let before = self.seen.iter().filter(|(seen_us, _)| *seen_us < at_us);
        if let Some(version) = before.map(|(_, version)| *version).max() {
            return Some((version, true));
        }
        match self.seen.first() {
            Some((seen_us, version)) if *seen_us == at_us => Some((*version, false)),
            _ if self.was_prompt(self.opened_us, at_us) => None,
            later => Some((later.map_or(0, |(_, version)| *version), false)),
        }
    }

    /// Whether it was attached at a time to its user's actor, which was made again at each of `deaths_us`: it heard of all
    /// of them, or has been reading for so long that it has attached again by its heartbeat. Attaching at the moment of a
    /// death may be lost; and one that missed a death was not attached at the next.
    fn was_attached(&self, mut deaths_us: impl Iterator<Item = u64>, at_us: u64) -> bool {
        let heard_of = |death_us| {
            self.opened_us > death_us
                || self.opened_us < death_us
                    && self.was_prompt(death_us, (death_us + SLACK_US).min(at_us))
        };
        deaths_us.all(heard_of)
            || self.was_prompt(at_us.saturating_sub(HEARTBEAT_US + SLACK_US), at_us)
    }
}

impl Oracle {
    /// Every promise with a time in it.
    pub(super) fn check_obligations(&self, now_us: u64) -> Vec<String> {
        let mut found = Vec::new();
        let is_judged = |(_, session): &(usize, &SessionRecord)| !self.is_lost(&session.epoch);
        for (index, session) in self.sessions.iter().enumerate().filter(is_judged) {
            let results = [
                self.check_greeting(session, now_us),
                self.check_refreshes(session, now_us),
                self.check_changes(session, now_us),
                self.check_catching_up(session, now_us),
            ];
            let name = |what| format!("session {index} of user {}: {what}", session.user);
            found.extend(results.into_iter().filter_map(Result::err).map(name));
        }
        found
    }

    /// The first balance, or the news that there is none, comes unasked.
    fn check_greeting(&self, session: &SessionRecord, now_us: u64) -> Result<(), String> {
        let by_us = session.opened_us + TIMEOUT_US + SLACK_US;
        let is_due = by_us < now_us
            && session.was_prompt(session.opened_us, by_us)
            && !self.was_replaced(session.user, session.opened_us, by_us);
        if is_due && session.first_answer_us.is_none_or(|at_us| at_us > by_us) {
            return Err(format!(
                "opened at {} us, first answer at {:?}",
                session.opened_us, session.first_answer_us
            ));
        }
        Ok(())
    }

    /// Every refresh is answered, in time.
    fn check_refreshes(&self, session: &SessionRecord, now_us: u64) -> Result<(), String> {
        for (id, refresh) in &session.refreshes {
            let by_us = refresh.asked_us + TIMEOUT_US + SLACK_US;
            let is_due = by_us < now_us
                && session.was_prompt(refresh.asked_us, by_us)
                && !self.was_replaced(session.user, refresh.asked_us, by_us);
            if is_due && refresh.answered_us.is_none_or(|at_us| at_us > by_us) {
                return Err(format!(
                    "refresh {id} of {} us answered at {:?}",
                    refresh.asked_us, refresh.answered_us
                ));
            }
        }
        Ok(())
    }

    /// Every change that the coordinator heard of is on the session within the bound of its kind.
    fn check_changes(&self, session: &SessionRecord, now_us: u64) -> Result<(), String> {
        for (version, commit) in (1..).zip(self.books.of(session.user)) {
            let Some(heard_us) = commit
                .heard_us
                .filter(|heard_us| *heard_us > session.opened_us)
            else {
                continue;
            };
            let bound_us = if is_direct(commit.kind) {
                DIRECT_INTERVAL_US
            } else {
                MIN_INTERVAL_US
            };
            let by_us = heard_us + bound_us + SLACK_US;
            // What was committed before its actor was made is no first balance: that comes with a read.
            let is_hearsay = commit.committed_us < session.opened_us
                || self.was_replaced(session.user, commit.committed_us, heard_us);
            let is_due = by_us < now_us
                && !(is_hearsay && session.version_by(heard_us) == 0)
                && session.was_prompt(heard_us, by_us)
                && session.was_attached(self.deaths(session.user, heard_us), heard_us)
                && !self.is_just_begun(heard_us)
                && !self.was_replaced(session.user, heard_us.saturating_sub(SLACK_US), by_us);
            if is_due && session.version_by(by_us) < version {
                let event = &commit.event;
                return Err(format!(
                    "{event} (version {version}) heard at {heard_us} us is not there by {by_us} us"
                ));
            }
        }
        Ok(())
    }

    /// A session that reads again after a pause has what its actor has heard of soon.
    fn check_catching_up(&self, session: &SessionRecord, now_us: u64) -> Result<(), String> {
        for (resumed_us, _) in session.prompt.iter().skip(1) {
            let by_us = resumed_us + LAGGING_RETRY_US + 2 * SLACK_US;
            let heard_us = resumed_us.saturating_sub(MIN_INTERVAL_US + SLACK_US);
            let deaths_us = || self.deaths(session.user, by_us);
            // Before its first answer it was not attached.
            let attached_us = session.first_answer_us.unwrap_or(u64::MAX);
            let is_due = by_us < now_us
                && session.was_prompt(*resumed_us, by_us)
                && session.was_attached(deaths_us(), heard_us)
                && !self.is_just_begun(by_us)
                && !self.was_replaced(session.user, heard_us, by_us);
            let since_us = deaths_us().max().unwrap_or(0).max(attached_us);
            let least = self.books.heard_between(session.user, since_us, heard_us);
            let may_be_old = self.may_remember_old(session.user, heard_us);
            if is_due && !may_be_old && session.version_by(by_us) < least {
                return Err(format!(
                    "it reads again since {resumed_us} us and lacks version {least}"
                ));
            }
        }
        Ok(())
    }

    /// At a time when the ledger has been well for long enough: who still waits for a fresh balance?
    pub fn check_recovery(&self, now_us: u64) -> Result<(), String> {
        for (index, session) in self
            .sessions
            .iter()
            .enumerate()
            .filter(|(_, session)| session.is_open())
        {
            let Some(since_us) = session.is_owed_since_us else {
                continue;
            };
            let from_us = now_us.saturating_sub(RECOVERY_US);
            let is_due = since_us < from_us
                && self.was_well(from_us, now_us)
                && session.was_prompt(from_us, now_us)
                && !self.was_replaced(session.user, from_us, now_us);
            if is_due {
                let user = session.user;
                return Err(format!(
                    "session {index} of user {user} is owed a fresh balance since {since_us} us"
                ));
            }
        }
        Ok(())
    }

    /// When all is quiet: every session shows what the ledger says, and everything acknowledged is there.
    pub(super) fn check_convergence(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (index, session) in self
            .sessions
            .iter()
            .enumerate()
            .filter(|(_, session)| session.is_open())
        {
            let version = self.books.version(session.user);
            if session.version != version {
                let (user, shown) = (session.user, session.version);
                found.push(format!(
                    "session {index} of user {user} ends with version {shown} of {version}"
                ));
            }
            if let Some(since_us) = session.is_owed_since_us {
                found.push(format!(
                    "session {index} still shows a stale balance, since {since_us} us"
                ));
            }
        }
        for (event, item) in self.acknowledged() {
            if self
                .books
                .find(&event)
                .is_none_or(|(user, _)| user != item.user)
            {
                found.push(format!("{event} was acknowledged and is not in the ledger"));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_late_is_judged_by_the_time_at_which_it_was_said() {
        let error =
            json!({ "type": "error", "code": "ledger_unavailable", "retry_after_ms": 1000 });
        let greeting = json!({ "type": "hello", "user_id": 1, "epoch": "epoch 0" });
        let mut oracle = Oracle::default();
        oracle.sessions.push(SessionRecord::open(1, 0));
        oracle.frame(0, &greeting, 0).expect("a greeting");
        // It stops reading, and begins again long after the ledger is back.
        oracle.sessions[0].set_prompt(false, 1_000_000);
        let resumed_us = 10 * TIMEOUT_US;
        oracle.sessions[0].set_prompt(true, resumed_us);
        assert_eq!(
            oracle.frame(0, &error, resumed_us),
            Ok(()),
            "it was said before"
        );
        assert!(
            oracle.frame(0, &error, resumed_us + SLACK_US).is_err(),
            "the ledger is there"
        );
    }
}
