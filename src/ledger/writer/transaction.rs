//! One transaction of a writer: it is run until it is committed, or until it has failed on a fresh connection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::clock::Mono;
use crate::domain::UserId;
use crate::ledger::batch::{self, Group, Keys, Plan};
use crate::ledger::errors::StoreError;
use crate::ledger::store::Basis;
use crate::ledger::{EntryOutcome, PostError};
use crate::limits::{RACES_MAX, READS_AFTER_SURPRISE, RETRY_MS};

use super::State;
use super::narrowing::{Piece, can_be_halved};

/// Why a batch was not committed.
pub(super) enum Failure {
    /// An entry of it is at fault, or the ledger is; what the entry is answered in the first case.
    Fault(PostError, String),
    /// Another session holds these users locked; empty when it is not known which.
    Locked(Vec<UserId>),
    /// A statement took as long as it may.
    TimedOut,
    /// Nothing can be written, whatever it is.
    Away(String),
    /// It is past its deadline, or the service gives up.
    GivenUp,
}

/// A step that failed.
struct Stopped {
    error: StoreError,
    /// In its first step, which needs no more than that the connection works.
    is_first_step: bool,
    is_commit: bool,
}

/// A batch on its way.
#[derive(Default)]
struct Run<'a> {
    /// The plan of an attempt whose COMMIT broke.
    unknown: Option<Plan<'a>>,
    /// How many did.
    broken_commits: u32,
    /// Why the last one did.
    reason: String,
    /// Only to find out whether `unknown` was carried out; nothing is committed any more.
    is_resolving: bool,
    races: u32,
    wait_ms: u64,
    must_read: bool,
}

fn are_late(pieces: &[Piece<'_>]) -> bool {
    pieces.iter().all(|p| p.posting.deadline.has_passed())
}

impl State {
    /// Runs a batch until it is committed or given up, or has failed on a connection that was made for it.
    pub(super) fn commit(
        &mut self,
        pieces: &[Piece<'_>],
    ) -> Result<Vec<Vec<EntryOutcome>>, Failure> {
        let groups: Vec<Group<'_>> = pieces
            .iter()
            .map(|p| Group {
                entries: p.entries,
                is_atomic: p.posting.is_atomic,
            })
            .collect();
        let keys = Keys::of(&groups);
        let mut run = Run {
            wait_ms: RETRY_MS.0,
            must_read: self.outage.is_some() && !can_be_halved(pieces),
            ..Run::default()
        };
        loop {
            if run.unknown.is_none() && are_late(pieces) {
                return Err(Failure::GivenUp);
            }
            let begun = self.options.clock.mono();
            let must_read = self.surprised > 0 || run.must_read || run.unknown.is_some();
            let basis = if must_read {
                Basis::Read
            } else {
                Basis::Expected
            };
            let stopped = match self.attempt(&groups, &keys, basis, &mut run) {
                Ok(plan) => {
                    self.committed(&plan, begun);
                    return Ok(plan.outcomes);
                }
                Err(stopped) => stopped,
            };
            if matches!(stopped.error, StoreError::Raced(_)) && basis == Basis::Expected {
                self.surprised = READS_AFTER_SURPRISE;
                continue;
            }
            self.count_failure(&stopped.error, stopped.is_first_step);
            // It may be a duplicate: a database can refuse a row before it looks at its keys.
            let may_be_known = basis == Basis::Expected && !can_be_halved(pieces);
            run.must_read |= may_be_known;
            if stopped.is_commit || run.unknown.is_some() {
                self.resolve(&stopped, &mut run, are_late(pieces))?;
            } else {
                self.start_over(stopped, &mut run, may_be_known)?;
            }
        }
    }

    /// After an error before COMMIT: whether, and how, the batch is run again.
    fn start_over(
        &mut self,
        stopped: Stopped,
        run: &mut Run<'_>,
        may_be_known: bool,
    ) -> Result<(), Failure> {
        match stopped.error {
            StoreError::Raced(_) if run.races < RACES_MAX => {
                run.races += 1;
                Ok(())
            }
            StoreError::Refused(_) if may_be_known => Ok(()),
            StoreError::Refused(reason) | StoreError::Raced(reason) => {
                Err(Failure::Fault(PostError::Refused, reason))
            }
            StoreError::Locked { users, .. } => Err(Failure::Locked(users)),
            StoreError::TimedOut(_) => Err(Failure::TimedOut),
            _ if self.is_aborting.load(Ordering::Relaxed) => Err(Failure::GivenUp),
            error if self.is_proven || matches!(error, StoreError::Lost(_)) => {
                // Also a connection that was made for this batch may break by what is in it.
                let is_first_try = self.is_proven || may_be_known;
                match self.reconnect() {
                    Err(_) => Err(Failure::Away(error.to_string())),
                    Ok(()) if is_first_try => Ok(()),
                    Ok(()) if stopped.is_first_step => Err(Failure::Away(error.to_string())),
                    Ok(()) => Err(Failure::Fault(PostError::Failing, error.to_string())),
                }
            }
            StoreError::Away(reason) => Err(Failure::Away(reason)),
            StoreError::Failed(_) if may_be_known => Ok(()),
            error => Err(Failure::Fault(PostError::Failing, error.to_string())),
        }
    }

    /// After a COMMIT that broke: tries again until it is known whether it was carried out.
    fn resolve(
        &mut self,
        stopped: &Stopped,
        run: &mut Run<'_>,
        is_late: bool,
    ) -> Result<(), Failure> {
        if matches!(stopped.error, StoreError::Raced(_)) && run.races < RACES_MAX {
            run.races += 1;
            return Ok(());
        }
        if self.is_aborting.load(Ordering::Relaxed) {
            return Err(Failure::GivenUp);
        }
        if stopped.is_commit {
            run.broken_commits += 1;
            run.reason = format!("COMMIT: {}", stopped.error);
        }
        run.is_resolving = is_late || run.broken_commits > 1;
        self.wait(Duration::from_millis(run.wait_ms));
        run.wait_ms = (run.wait_ms * 2).min(RETRY_MS.1);
        // The next attempt reports what is wrong.
        let _ = self.reconnect();
        Ok(())
    }

    /// A transaction has been committed, or had nothing to write.
    fn committed(&mut self, plan: &Plan<'_>, begun: Mono) {
        self.surprised = self.surprised.saturating_sub(1);
        self.is_proven = true;
        self.options.standing.answered();
        if !plan.writes_nothing() {
            self.commits += 1;
            self.options.standing.committed();
            self.succeeded();
            let took_us = self.options.clock.mono().us_since(begun);
            self.options.counts.committed(plan.entries.len(), took_us);
        }
    }

    /// Its answer may be long in coming, or never come, and others may see meanwhile what it has committed.
    fn begin_untold(&mut self) {
        if let (Some(feed), None) = (&self.options.feed, self.untold_since) {
            let now = self.options.clock.mono();
            self.untold_since = Some(now);
            feed.begins(now);
        }
    }

    /// One transaction. On [`Basis::Expected`] it also fails with [`StoreError::Raced`] when an outcome may depend on something
    /// that was not read. `run.unknown` is settled or set here.
    fn attempt<'a>(
        &mut self,
        groups: &[Group<'a>],
        keys: &Keys<'a>,
        basis: Basis,
        run: &mut Run<'a>,
    ) -> Result<Plan<'a>, Stopped> {
        let stopped = |error, is_first_step| Stopped {
            error,
            is_first_step,
            is_commit: false,
        };
        let begun = self.store.begin(keys, basis);
        let loaded = begun.map_err(|error| {
            self.store.rollback();
            stopped(error, true)
        })?;
        if let Some(earlier) = run.unknown.take_if(|earlier| earlier.is_committed(&loaded)) {
            self.store.rollback();
            return Ok(earlier);
        }
        let committed_at = self.commit_times.next(self.options.clock.now());
        let plan = batch::plan(groups, keys, loaded, self.options.rules, committed_at.us());
        if basis == Basis::Expected && !plan.accepts_all() {
            self.store.rollback();
            let reason = "a refused entry may be a duplicate, or its account may have changed";
            return Err(stopped(StoreError::Raced(reason.into()), false));
        }
        if plan.writes_nothing() {
            self.store.rollback();
            return Ok(plan);
        }
        self.store.write(&plan).map_err(|error| {
            self.store.rollback();
            stopped(error, false)
        })?;
        // This transaction holds the unique keys now, so the earlier attempt was not carried out and never will be. (Rows that
        // did not exist could not be locked above, so until here the earlier attempt may still have been under way.)
        run.unknown = None;
        if run.is_resolving {
            self.store.rollback();
            let reason = std::mem::take(&mut run.reason);
            return Err(stopped(StoreError::Failed(reason), false));
        }
        self.begin_untold();
        // The point of no return: from here on an error means "unknown".
        match self.store.commit() {
            Ok(()) => Ok(plan),
            Err(error) => {
                self.store.rollback();
                run.unknown = Some(plan);
                Err(Stopped {
                    error,
                    is_first_step: false,
                    is_commit: true,
                })
            }
        }
    }
}
