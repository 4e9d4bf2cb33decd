//! Looks for commits that this process was not told of: compares the versions of all users with sessions with the
//! ledger's, round after round, and brings the actors what they missed.
//!
//! Covered, the users of a partition are checked every `cluster.check_s`, as a net, and at once when something of it was
//! missed. Not covered, every second. Bounded: one statement at a time, of at most `limits::ACCOUNTS_AT_ONCE_MAX` users,
//! and at most `cluster.check_users_per_s`. A process that is alone, and one on SQLite, checks nothing.

use std::collections::VecDeque;
use std::time::Duration;

use actix::prelude::*;

use crate::clock::Mono;
use crate::coordinator::heard::{PARTITIONS, Partition, Partitions};
use crate::coordinator::messages::{Missed, ToActor};
use crate::coordinator::policy::Checks;
use crate::coordinator::registry::Registry;
use crate::domain::UserId;
use crate::ledger::MissedEntry;
use crate::limits::{ACCOUNTS_AT_ONCE_MAX, CHECK_ROUND_MS, GAP_WAIT_MS, MISSED_ENTRIES_MAX};
use crate::planted::{Plant, is_planted};
use crate::telemetry::counters::seconds;

/// How often a process that has nothing to compare looks whether it still has not, in milliseconds: one that is alone, or that
/// has no session.
const IDLE_MS: u64 = 250;

/// How often another one looks whether a round is due, or a gap, in milliseconds.
const LOOK_MS: u64 = 50;

/// When what the ledger did not answer is asked again, in milliseconds.
const RETRY_MS: u64 = 250;

/// The round that is under way, and what it found.
#[derive(Debug, Default)]
pub(super) struct Checking {
    /// Users that are still to be checked.
    left: Vec<UserId>,
    /// The partitions of this round.
    under_way: Partitions,
    /// When the last round of each partition began, and when the last one that is over did.
    began: [Mono; PARTITIONS],
    over: [Mono; PARTITIONS],
    /// Users with a version that was not known when it was read. It may be on its way.
    newer: Vec<(UserId, i64)>,
    /// Users that lack entries behind these versions.
    behind: VecDeque<(UserId, i64)>,
    /// Others use the ledger, or did when the last round of all partitions began.
    has_others: bool,
}

impl Checking {
    fn begin(&mut self, due: Partitions, now: Mono, left: Vec<UserId>) {
        self.under_way = due;
        self.left = left;
        due.iter().for_each(|one| self.began[one.index()] = now);
    }

    /// Every user of the round has been compared.
    fn end(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        for one in under_way.iter() {
            self.over[one.index()] = self.began[one.index()];
        }
    }
}

impl Registry {
    /// Does the next step, and sets the time of the one after it.
    pub(super) fn check(&mut self, checks: Checks, ctx: &mut Context<Self>) {
        let now = self.shared.clock.mono();
        let is_alone = self.shared.coverage.is_alone();
        self.find_behind();
        let is_idle = self.checking.left.is_empty() && self.checking.behind.is_empty();
        if is_alone && !self.checking.has_others && is_idle {
            return self.check_later(IDLE_MS, checks, ctx);
        }
        self.show_verified_age(now);
        while let Some(gap) = self.stale.take_gap(now.minus_us(GAP_WAIT_MS * 1000)) {
            self.checking.behind.push_back((gap.user_id, gap.from));
        }
        if !self.checking.behind.is_empty() {
            return self.look_for_missed(checks, ctx);
        }
        if self.checking.left.is_empty() {
            self.checking.end();
            let due = self.due(checks, now);
            // The last round, after the others have gone, finds what they left behind.
            self.checking.has_others = !is_alone || due.is_empty();
            let is_due = |user: &UserId| due.has(Partition::of(*user));
            let left = if due.is_empty() {
                Vec::new()
            } else {
                self.users_with_sessions()
                    .into_iter()
                    .filter(is_due)
                    .collect()
            };
            self.checking.begin(due, now, left);
        }
        let at = self
            .checking
            .left
            .len()
            .saturating_sub(ACCOUNTS_AT_ONCE_MAX);
        let users = self.checking.left.split_off(at);
        if users.is_empty() {
            let has_users = !self.with_sessions.is_empty();
            let wait_ms = if has_users { LOOK_MS } else { IDLE_MS };
            return self.check_later(wait_ms, checks, ctx);
        }
        let wait_ms = (users.len() as u64 * 1000).div_ceil(checks.users_per_s.max(1));
        let count = users.len() as u64;
        self.shared.counters.cluster.checked_users.inc_by(count);
        let answer = self.shared.ledger.versions(users.clone());
        let compared = answer.into_actor(self).map(move |result, registry, ctx| {
            let wait_ms = match result {
                Ok(versions) => {
                    registry.compare(versions, now);
                    let has_newer = !registry.checking.newer.is_empty();
                    wait_ms.max(if has_newer { GAP_WAIT_MS } else { 0 })
                }
                // They are still to be compared: the round is not over before.
                Err(_) => {
                    registry.checking.left.extend(users);
                    RETRY_MS
                }
            };
            registry.check_later(wait_ms, checks, ctx);
        });
        ctx.spawn(compared);
    }

    /// The partitions whose users are to be checked now.
    fn due(&self, checks: Checks, now: Mono) -> Partitions {
        let coverage = &self.shared.coverage;
        let is_covered = coverage.is_covered(now) || is_planted(Plant::UncoveredUnchecked);
        let every_ms = if is_covered && !coverage.is_alone() {
            checks.every_ms
        } else {
            CHECK_ROUND_MS
        };
        let is_due = |one: &Partition| {
            let began = self.checking.began[one.index()];
            let is_distrusted = coverage.distrusted_at(*one) > began;
            now.us_since(began) >= every_ms * 1000
                || is_distrusted && !is_planted(Plant::DistrustUnchecked)
        };
        Partition::all()
            .filter(is_due)
            .fold(Partitions::NONE, Partitions::with)
    }

    /// How old what is shown may be: since when every user with a session is known to lack nothing.
    fn show_verified_age(&self, now: Mono) {
        let oldest = self.checking.over.iter().min().copied().unwrap_or(now);
        let has_users = !self.with_sessions.is_empty() && !self.shared.coverage.is_alone();
        let age_us = if has_users { now.us_since(oldest) } else { 0 };
        self.shared
            .counters
            .cluster
            .verified_age_seconds
            .set(seconds(age_us));
    }

    fn check_later(&mut self, wait_ms: u64, checks: Checks, ctx: &mut Context<Self>) {
        ctx.run_later(Duration::from_millis(wait_ms), move |registry, ctx| {
            registry.check(checks, ctx);
        });
    }

    /// Finds the users of whom the ledger has a newer version than the actor knows.
    fn compare(&mut self, versions: Vec<(UserId, i64)>, began: Mono) {
        for (user_id, version) in versions {
            let Some(slot) = self.with_sessions.get(&user_id) else {
                continue;
            };
            let known = slot.gauge.version.get();
            if version > known {
                self.checking.newer.push((user_id, version));
            } else if version == known {
                slot.gauge.verified.update(|at| at.max(Some(began)));
            }
        }
    }

    /// Of whom the newer version has not come since.
    fn find_behind(&mut self) {
        for (user_id, version) in std::mem::take(&mut self.checking.newer) {
            let slot = self.with_sessions.get(&user_id);
            let known = slot.map(|slot| slot.gauge.version.get());
            if let Some(known) = known.filter(|known| *known < version) {
                self.checking.behind.push_back((user_id, known));
            }
        }
    }

    /// Asks for what is missing, for as many users as one statement takes.
    fn look_for_missed(&mut self, checks: Checks, ctx: &mut Context<Self>) {
        let behind = &mut self.checking.behind;
        let count = behind.len().min(ACCOUNTS_AT_ONCE_MAX);
        let known: Vec<(UserId, i64)> = behind.drain(..count).collect();
        let epoch = self.epoch_number();
        let answer = self.shared.ledger.missed_entries(known.clone());
        let told = answer.into_actor(self).map(move |result, registry, ctx| {
            match result {
                Ok(entries) => {
                    for entries in by_user(entries) {
                        let Some(last) = entries.last() else { continue };
                        let (user_id, version) = (last.user_id, last.version);
                        if entries.len() as i64 == MISSED_ENTRIES_MAX {
                            registry.checking.behind.push_back((user_id, version));
                        }
                        registry.tell_missed(user_id, Missed { entries, epoch });
                    }
                }
                Err(error) if error.is_transient() => {
                    registry.checking.behind.extend(known);
                    return registry.check_later(RETRY_MS, checks, ctx);
                }
                // One of them can't be read, which must not hold up the others: each reads its own.
                Err(_) => {
                    for (user_id, _) in known {
                        let entries = Vec::new();
                        registry.tell_missed(user_id, Missed { entries, epoch });
                    }
                }
            }
            registry.check(checks, ctx);
        });
        ctx.spawn(told);
    }

    fn tell_missed(&self, user_id: UserId, missed: Missed) {
        if let Some(slot) = self.resident(user_id) {
            // What does not fit is noted: the actor then reads the ledger.
            let _ = slot.send(ToActor::Missed(missed));
        }
    }
}

/// Apart, in their order.
fn by_user(entries: Vec<MissedEntry>) -> Vec<Vec<MissedEntry>> {
    let mut all: Vec<Vec<MissedEntry>> = Vec::new();
    for entry in entries {
        match all.last_mut() {
            Some(of_one) if of_one[0].user_id == entry.user_id => of_one.push(entry),
            _ => all.push(vec![entry]),
        }
    }
    all
}
