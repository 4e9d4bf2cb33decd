//! One transaction of a writer, from the first attempt to the answers.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{error, info, warn};

use crate::clock::Mono;
use crate::domain::{NewEntry, UserId};
use crate::ledger::batch::{self, Group, Keys, Plan};
use crate::ledger::errors::StoreError;
use crate::ledger::store::{Basis, Patience};
use crate::ledger::{EntryOutcome, PostError, Posted, Posting};
use crate::limits::{LOCK_ATTEMPTS_MAX, RACES_MAX, READS_AFTER_SURPRISE, RETRY_MS};

use super::State;
use super::aside::owner;

/// Why a batch was not committed.
enum Failure {
    /// The database refuses an entry of it.
    Refused,
    /// Another session holds these users locked; empty when it is not known which.
    Locked(Vec<UserId>),
    /// It was given up.
    Unavailable,
}

/// How many users one line of the log names.
const LOGGED_USERS_MAX: usize = 4;

/// A posting, or a part of one that is settled separately.
struct Piece<'a> {
    index: usize,
    posting: &'a Posting,
    entries: &'a [NewEntry],
}

fn can_be_halved(pieces: &[Piece<'_>]) -> bool {
    match pieces {
        [one] => one.entries.len() > 1 && !one.posting.is_atomic,
        several => several.len() > 1,
    }
}

fn halve(mut pieces: Vec<Piece<'_>>) -> (Vec<Piece<'_>>, Vec<Piece<'_>>) {
    if let [
        Piece {
            index,
            posting,
            entries,
        },
    ] = pieces[..]
    {
        let (first, second) = entries.split_at(entries.len() / 2);
        let part = |entries| {
            vec![Piece {
                index,
                posting,
                entries,
            }]
        };
        return (part(first), part(second));
    }
    let second = pieces.split_off(pieces.len() / 2);
    (pieces, second)
}

/// What became of the postings of a batch so far.
struct Settled {
    outcomes: Vec<Vec<EntryOutcome>>,
    is_held: Vec<bool>,
    /// Users that another session holds locked.
    held: HashSet<UserId>,
}

impl Settled {
    fn new(count: usize) -> Self {
        Self {
            outcomes: vec![Vec::new(); count],
            is_held: vec![false; count],
            held: HashSet::new(),
        }
    }

    fn fail(&mut self, pieces: &[Piece<'_>], error: PostError) {
        for piece in pieces {
            self.outcomes[piece.index]
                .extend(piece.entries.iter().map(|_| EntryOutcome::Failed(error)));
        }
    }

    /// A posting with locked users is set aside as a whole; of a posting that was halved already, the rest is given up.
    fn hold(&mut self, pieces: &[Piece<'_>]) {
        for piece in pieces {
            if piece.entries.len() == piece.posting.entries.len() {
                self.is_held[piece.index] = true;
                self.held.extend(owner(piece.posting));
            } else {
                self.fail(std::slice::from_ref(piece), PostError::Unavailable);
            }
        }
    }

    /// Takes out the pieces of locked users.
    fn without_held<'a>(&mut self, pieces: Vec<Piece<'a>>) -> Vec<Piece<'a>> {
        if self.held.is_empty() {
            return pieces;
        }
        let needs_held = |piece: &Piece<'_>| {
            piece
                .entries
                .iter()
                .any(|entry| self.held.contains(&entry.user_id))
        };
        let (held, free): (Vec<_>, Vec<_>) = pieces.into_iter().partition(needs_held);
        self.hold(&held);
        free
    }
}

impl State {
    /// Answers every posting, or sets it aside. A batch that the database refuses is halved, down to the posting and then to
    /// the entry at fault; the pieces stay in order. Users that another session has locked are left out; while it is not
    /// known which those are, the batch is halved as well.
    pub(super) fn settle(&mut self, postings: Vec<Posting>, patience: Patience) {
        let mut settled = Settled::new(postings.len());
        let whole = (0..).zip(&postings).map(|(index, posting)| Piece {
            index,
            posting,
            entries: &posting.entries,
        });
        let mut rest = VecDeque::from([whole.collect::<Vec<_>>()]);
        let mut locks = 0;
        self.store.set_patience(patience);
        while let Some(pieces) = rest.pop_front() {
            let pieces = settled.without_held(pieces);
            if pieces.is_empty() {
                continue;
            }
            match self.commit(&pieces) {
                Ok(decided) => {
                    for (piece, decided) in pieces.iter().zip(decided) {
                        settled.outcomes[piece.index].extend(decided);
                    }
                }
                Err(Failure::Refused) if can_be_halved(&pieces) => {
                    let (first, second) = halve(pieces);
                    rest.push_front(second);
                    rest.push_front(first);
                }
                Err(Failure::Locked(users)) => {
                    self.store.set_patience(Patience::Brief);
                    locks += 1;
                    if locks > LOCK_ATTEMPTS_MAX || (users.is_empty() && pieces.len() == 1) {
                        settled.hold(&pieces);
                    } else if users.is_empty() {
                        let (first, second) = halve(pieces);
                        rest.push_front(second);
                        rest.push_front(first);
                    } else {
                        settled.held.extend(users);
                        rest.push_front(pieces);
                    }
                }
                Err(Failure::Refused) => settled.fail(&pieces, PostError::Refused),
                Err(Failure::Unavailable) => settled.fail(&pieces, PostError::Unavailable),
            }
        }
        self.conclude(postings, settled);
    }

    fn conclude(&mut self, postings: Vec<Posting>, settled: Settled) {
        let Settled {
            outcomes,
            is_held,
            held,
        } = settled;
        let (mut aside, mut answers) = (Vec::new(), Vec::new());
        for ((posting, outcomes), is_held) in postings.into_iter().zip(outcomes).zip(is_held) {
            if is_held {
                aside.push(posting);
                continue;
            }
            let Posting {
                entries,
                reply,
                permit,
                ..
            } = posting;
            answers.push((Posted { entries, outcomes }, reply, permit));
        }
        let decided = answers
            .iter()
            .flat_map(|(posted, ..)| posted.entries.iter().zip(&posted.outcomes));
        self.options.counts.decided(decided);
        for (posted, reply, permit) in answers {
            drop(permit);
            if let Err(unheard) = reply.send(posted)
                && self.options.orphans.try_send(unheard).is_err()
            {
                warn!(
                    "sessions could not be told of a commit whose receiver was gone; it shows with the user's next change or read"
                );
            }
        }
        if aside.iter().any(|posting| !self.aside.takes(posting)) {
            let sample: Vec<i64> = held
                .iter()
                .map(|user| user.get())
                .take(LOGGED_USERS_MAX)
                .collect();
            warn!(
                "another session holds {} users locked, such as {sample:?}: their entries wait",
                held.len()
            );
        }
        self.set_aside(aside);
    }

    /// Runs a batch until it is committed, refused or given up.
    fn commit(&mut self, pieces: &[Piece<'_>]) -> Result<Vec<Vec<EntryOutcome>>, Failure> {
        let groups: Vec<Group<'_>> = pieces
            .iter()
            .map(|p| Group {
                entries: p.entries,
                is_atomic: p.posting.is_atomic,
            })
            .collect();
        let keys = Keys::of(&groups);
        let mut unknown: Option<Plan<'_>> = None;
        let mut races = 0;
        let mut wait_ms = RETRY_MS.0;
        let mut is_doubtful = false;
        loop {
            let begun = self.options.clock.mono();
            let must_read = self.surprised > 0 || is_doubtful || unknown.is_some();
            let basis = if must_read {
                Basis::Read
            } else {
                Basis::Expected
            };
            let error = match self.attempt(&groups, &keys, basis, &mut unknown) {
                Ok(plan) => {
                    self.committed(&plan, begun, wait_ms > RETRY_MS.0);
                    return Ok(plan.outcomes);
                }
                Err(StoreError::Raced(_)) if basis == Basis::Expected => {
                    self.surprised = READS_AFTER_SURPRISE;
                    continue;
                }
                // It may be a duplicate: a database can refuse a row before it looks at its keys.
                Err(StoreError::Refused(_))
                    if basis == Basis::Expected && !can_be_halved(pieces) =>
                {
                    is_doubtful = true;
                    continue;
                }
                Err(error) => error,
            };
            self.options.counts.failed(&error);
            match error {
                StoreError::Raced(_) if races < RACES_MAX => races += 1,
                StoreError::Refused(reason) | StoreError::Raced(reason) if unknown.is_none() => {
                    if !can_be_halved(pieces) {
                        error!("the database refuses an entry: {reason}");
                    }
                    return Err(Failure::Refused);
                }
                StoreError::Locked { users, .. } if unknown.is_none() => {
                    return Err(Failure::Locked(users));
                }
                error => {
                    if wait_ms == RETRY_MS.0 {
                        warn!("the ledger can't be written: {error}");
                    }
                    let are_late = pieces.iter().all(|p| p.posting.deadline.has_passed());
                    let is_aborting = self.is_aborting.load(Ordering::Relaxed);
                    if is_aborting || (unknown.is_none() && are_late) {
                        if matches!(error, StoreError::Lost(_)) {
                            self.options.standing.unanswered();
                        }
                        return Err(Failure::Unavailable);
                    }
                    self.wait(Duration::from_millis(wait_ms));
                    wait_ms = (wait_ms * 2).min(RETRY_MS.1);
                    // The next attempt reports what is wrong.
                    if self.store.reconnect().is_err() {
                        self.options.standing.unanswered();
                    }
                }
            }
        }
    }

    /// A transaction has been committed, or had nothing to write.
    fn committed(&mut self, plan: &Plan<'_>, begun: Mono, was_away: bool) {
        self.surprised = self.surprised.saturating_sub(1);
        self.options.standing.answered();
        if !plan.writes_nothing() {
            let took_us = self.options.clock.mono().us_since(begun);
            self.options.counts.committed(plan.entries.len(), took_us);
        }
        if was_away {
            info!("the ledger takes writes again");
        }
    }

    /// One transaction. On [`Basis::Expected`] it also fails with [`StoreError::Raced`] when an outcome may depend on something
    /// that was not read. `unknown` is the plan of an attempt whose COMMIT broke: it is settled or set here.
    fn attempt<'a>(
        &mut self,
        groups: &[Group<'a>],
        keys: &Keys<'a>,
        basis: Basis,
        unknown: &mut Option<Plan<'a>>,
    ) -> Result<Plan<'a>, StoreError> {
        let loaded = self
            .store
            .begin(keys, basis)
            .inspect_err(|_| self.store.rollback())?;
        if let Some(earlier) = unknown.take_if(|earlier| earlier.is_committed(&loaded)) {
            self.store.rollback();
            return Ok(earlier);
        }
        let committed_at = self.commit_times.next(self.options.clock.now());
        let plan = batch::plan(groups, keys, loaded, self.options.rules, committed_at.us());
        if basis == Basis::Expected && !plan.accepts_all() {
            self.store.rollback();
            return Err(StoreError::Raced(
                "a refused entry may be a duplicate, or its account may have changed".into(),
            ));
        }
        if plan.writes_nothing() {
            self.store.rollback();
            return Ok(plan);
        }
        self.store
            .write(&plan)
            .inspect_err(|_| self.store.rollback())?;
        // This transaction holds the unique keys now, so the earlier attempt was not carried out and never will be. (Rows that
        // did not exist could not be locked above, so until here the earlier attempt may still have been under way.)
        *unknown = None;
        // The point of no return: from here on an error means "unknown".
        match self.store.commit() {
            Ok(()) => Ok(plan),
            Err(error) => {
                self.store.rollback();
                *unknown = Some(plan);
                Err(StoreError::Lost(error.to_string()))
            }
        }
    }
}
