//! The continuous audit: one user after another, for ever. It checks the ledger's invariants, and what is in memory against
//! the ledger.
//!
//! It only reads and never mends; violations are counted, logged and kept on a board for administrators. It asks an actor
//! what it holds *before* it looks into the ledger, and an actor learns of a commit only after it: so the ledger's
//! snapshot is never older than memory, and entries that are written meanwhile are no violation. Bounded by its pace: one
//! check at a time, over a connection of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::clock::{Clock, Mono, Wall};
use crate::coordinator::coverage::Coverage;
use crate::coordinator::messages::{ToActor, ToUser};
use crate::coordinator::registry::Registry;
use crate::domain::{Account, UserId};
use crate::ledger::{LedgerError, SqlLedger};
use crate::limits::{AUDIT_ATTEMPTS_MAX, AUDIT_REST_MS, AUDIT_VIOLATIONS_MAX, INSPECTION_MS};
use crate::telemetry::counters::Counters;

/// Entries that cost as much as a user.
const ENTRIES_PER_USER: u64 = 1000;

/// How far the pace may fall behind before it is given up to catch up, in microseconds.
const BEHIND_MAX_US: u64 = 1_000_000;

/// What the audit has done, for administrators.
#[derive(Debug)]
pub struct AuditBoard {
    users_per_s: u64,
    clock: Clock,
    counters: Arc<Counters>,
    state: Mutex<AuditState>,
}

/// `GET /admin/v1/audit`
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuditState {
    /// `audit.users_per_s`; 0: it is off.
    pub users_per_s: u64,
    /// Which round it is, from 1; a round is every user once.
    pub round: u64,
    round_started_at: Option<Wall>,
    round_users: u64,
    round_violations: u64,
    /// The user that was checked last.
    last_user_id: Option<i64>,
    users_total: u64,
    violations_total: u64,
    last_round: Option<FinishedRound>,
    last_error: Option<Failure>,
    /// The latest, newest first.
    violations: VecDeque<Violation>,
}

#[derive(Debug, Clone, Serialize)]
struct FinishedRound {
    started_at: Option<Wall>,
    ended_at: Wall,
    users: u64,
    violations: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Failure {
    at: Wall,
    reason: String,
}

#[derive(Debug, Clone, Serialize)]
struct Violation {
    at: Wall,
    /// None: it is about the ledger as a whole.
    user_id: Option<i64>,
    violation: String,
}

impl AuditState {
    /// Leaves out all but the latest violations.
    pub fn keep_violations(&mut self, count: usize) {
        self.violations.truncate(count);
    }
}

impl AuditBoard {
    /// An empty one.
    pub fn new(users_per_s: u64, clock: Clock, counters: Arc<Counters>) -> Self {
        let state = Mutex::new(AuditState {
            users_per_s,
            ..AuditState::default()
        });
        Self {
            users_per_s,
            clock,
            counters,
            state,
        }
    }

    /// As it stands.
    pub fn show(&self) -> AuditState {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, AuditState> {
        // A panic while it was held leaves at worst a number that is off by one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_round(&self) {
        let now = self.clock.wall();
        let state = &mut *self.lock();
        state.round += 1;
        state.round_started_at = Some(now);
        (state.round_users, state.round_violations) = (0, 0);
    }

    fn end_round(&self) {
        let ended_at = self.clock.wall();
        let state = &mut *self.lock();
        state.last_round = Some(FinishedRound {
            started_at: state.round_started_at,
            ended_at,
            users: state.round_users,
            violations: state.round_violations,
        });
    }

    fn checked(&self, user_id: i64) {
        self.counters.audited_users.inc();
        let state = &mut *self.lock();
        state.last_user_id = Some(user_id);
        state.round_users += 1;
        state.users_total += 1;
    }

    /// `count` violations, of which `lines` describe some.
    fn found(&self, user_id: Option<i64>, count: u64, lines: Vec<String>) {
        self.counters.drift.inc_by(count);
        let at = self.clock.wall();
        let state = &mut *self.lock();
        state.round_violations += count;
        state.violations_total += count;
        for violation in lines {
            log::error!("audit: {violation}");
            state.violations.push_front(Violation {
                at,
                user_id,
                violation,
            });
        }
        state.violations.truncate(AUDIT_VIOLATIONS_MAX);
    }

    fn failed(&self, error: &LedgerError) {
        log::debug!("audit: {error}");
        let failure = Failure {
            at: self.clock.wall(),
            reason: error.to_string(),
        };
        self.lock().last_error = Some(failure);
    }
}

/// Audits until it is dropped.
pub async fn run(
    ledger: Arc<SqlLedger>,
    registry: Addr<Registry>,
    board: Arc<AuditBoard>,
    coverage: Arc<Coverage>,
) {
    let rest = Duration::from_millis(AUDIT_REST_MS);
    let mut due = board.clock.mono();
    if board.users_per_s == 0 {
        return;
    }
    loop {
        board.begin_round();
        if let Err(error) = audit_indexes(&ledger, &board).await {
            board.failed(&error);
        }
        let (mut last, mut failures) = (i64::MIN, 0);
        loop {
            while !coverage.is_first() {
                // Another process audits; this one goes on where it was when its turn comes again.
                sleep(rest).await;
            }
            let user_id = match ledger.next_user(last).await {
                Ok(Some(user_id)) => user_id,
                Ok(None) => break,
                Err(error) => {
                    board.failed(&error);
                    sleep(rest).await;
                    continue;
                }
            };
            match audit_user(&ledger, &registry, &board, user_id).await {
                Ok(entries) => {
                    (last, failures) = (user_id, 0);
                    due = pace(&board, due, entries).await;
                }
                // The same user again, later. But a user whose check keeps failing must not hold up the others.
                Err(error) => {
                    board.failed(&error);
                    failures += 1;
                    if failures >= AUDIT_ATTEMPTS_MAX {
                        log::warn!(
                            "audit: user {user_id} could not be checked, and is left for the next round: {error}"
                        );
                        (last, failures) = (user_id, 0);
                    }
                    sleep(rest).await;
                }
            }
        }
        board.end_round();
        if board.lock().round_users == 0 {
            sleep(rest).await;
        }
    }
}

/// Waits as long as a check of so many entries costs; returns when the next one is due.
async fn pace(board: &AuditBoard, due: Mono, entries: u64) -> Mono {
    let cost_us = (1 + entries / ENTRIES_PER_USER).saturating_mul(1_000_000) / board.users_per_s;
    let now = board.clock.mono();
    let due = due.max(now.minus_us(BEHIND_MAX_US)).plus_us(cost_us);
    sleep(Duration::from_micros(due.us_since(now))).await;
    due
}

async fn audit_indexes(ledger: &SqlLedger, board: &AuditBoard) -> Result<(), LedgerError> {
    let missing = ledger.missing_indexes().await?;
    let lines: Vec<String> = missing
        .iter()
        .map(|index| format!("the unique index {index} is missing: what it keeps may repeat"))
        .collect();
    if !lines.is_empty() {
        board.found(None, lines.len() as u64, lines);
    }
    Ok(())
}

/// Checks one user; returns how many entries it has.
async fn audit_user(
    ledger: &SqlLedger,
    registry: &Addr<Registry>,
    board: &AuditBoard,
    user_id: i64,
) -> Result<u64, LedgerError> {
    let cached = in_memory(registry, user_id).await;
    let found = ledger.audit_user(user_id, cached).await?;
    board.checked(user_id);
    if found.violations > 0 {
        board.found(Some(user_id), found.violations, found.lines);
    }
    Ok(found.entries)
}

/// What the user's actor holds, if there is one and it answers.
async fn in_memory(registry: &Addr<Registry>, user_id: i64) -> Option<Account> {
    let patience = Duration::from_millis(INSPECTION_MS);
    let user_id = UserId::new(user_id).ok()?;
    let (reply, answer) = oneshot::channel();
    let message = ToActor::PeekBalance { reply };
    let asked = registry.send(ToUser { user_id, message });
    asked.timeout(patience).await.ok()?;
    tokio::time::timeout(patience, answer).await.ok()?.ok()?
}
