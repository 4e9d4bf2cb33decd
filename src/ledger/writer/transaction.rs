//! One transaction of a writer, from the first attempt to the answers.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{error, info, warn};

use crate::domain::NewEntry;
use crate::ledger::batch::{self, Group, Keys, Plan};
use crate::ledger::store::StoreError;
use crate::ledger::{EntryOutcome, PostError, Posted, Posting};
use crate::limits::{RACES_MAX, RETRY_MS};

use super::State;

/// A posting, or a part of one that is settled by itself.
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
    if let [Piece { index, posting, entries }] = pieces[..] {
        let (first, second) = entries.split_at(entries.len() / 2);
        let part = |entries| vec![Piece { index, posting, entries }];
        return (part(first), part(second));
    }
    let second = pieces.split_off(pieces.len() / 2);
    (pieces, second)
}

impl State {
    /// Answers every posting. What the database refuses is narrowed down by halves, to the posting and then to the entry
    /// at fault; the pieces stay in order.
    pub(super) fn settle(&mut self, postings: Vec<Posting>) {
        let mut outcomes: Vec<Vec<EntryOutcome>> = postings.iter().map(|_| Vec::new()).collect();
        let whole = (0..).zip(&postings).map(|(index, posting)| Piece { index, posting, entries: &posting.entries });
        let mut rest = VecDeque::from([whole.collect::<Vec<_>>()]);
        while let Some(pieces) = rest.pop_front() {
            match self.commit(&pieces) {
                Ok(decided) => {
                    for (piece, decided) in pieces.iter().zip(decided) {
                        outcomes[piece.index].extend(decided);
                    }
                }
                Err(PostError::Refused) if can_be_halved(&pieces) => {
                    let (first, second) = halve(pieces);
                    rest.push_front(second);
                    rest.push_front(first);
                }
                Err(error) => {
                    for piece in &pieces {
                        outcomes[piece.index].extend(piece.entries.iter().map(|_| EntryOutcome::Failed(error)));
                    }
                }
            }
        }
        for (posting, outcomes) in postings.into_iter().zip(outcomes) {
            self.answer(posting, outcomes);
        }
    }

    fn answer(&self, posting: Posting, outcomes: Vec<EntryOutcome>) {
        let Posting { entries, reply, permit, .. } = posting;
        drop(permit);
        if let Err(unheard) = reply.send(Posted { entries, outcomes })
            && self.options.orphans.try_send(unheard).is_err()
        {
            warn!("a commit that nobody waited for could not be told; it shows with the user's next change or read");
        }
    }

    /// Runs a batch until it is committed, refused or given up.
    fn commit(&mut self, pieces: &[Piece<'_>]) -> Result<Vec<Vec<EntryOutcome>>, PostError> {
        let groups: Vec<Group<'_>> =
            pieces.iter().map(|p| Group { entries: p.entries, is_atomic: p.posting.is_atomic }).collect();
        let keys = Keys::of(&groups);
        let mut unknown: Option<Plan<'_>> = None;
        let mut races = 0;
        let mut wait_ms = RETRY_MS.0;
        loop {
            let error = match self.attempt(&groups, &keys, &mut unknown) {
                Ok(plan) => {
                    if wait_ms > RETRY_MS.0 {
                        info!("the ledger takes writes again");
                    }
                    return Ok(plan.outcomes);
                }
                Err(error) => error,
            };
            match error {
                StoreError::Raced(_) if races < RACES_MAX => races += 1,
                StoreError::Refused(reason) | StoreError::Raced(reason) if unknown.is_none() => {
                    if !can_be_halved(pieces) {
                        error!("the database refuses an entry: {reason}");
                    }
                    return Err(PostError::Refused);
                }
                error => {
                    let first_time = wait_ms == RETRY_MS.0;
                    if first_time {
                        warn!("the ledger can't be written: {error}");
                    }
                    if self.is_aborting.load(Ordering::Relaxed)
                        || (unknown.is_none() && pieces.iter().all(|p| p.posting.deadline.has_passed()))
                    {
                        return Err(PostError::Unavailable);
                    }
                    self.wait(Duration::from_millis(wait_ms));
                    wait_ms = (wait_ms * 2).min(RETRY_MS.1);
                    // Still away: the next attempt finds out again.
                    let _ = self.store.reconnect();
                }
            }
        }
    }

    /// One transaction. `unknown` is the plan of an attempt whose COMMIT broke: it is settled here, or set here.
    fn attempt<'a>(
        &mut self,
        groups: &[Group<'a>],
        keys: &Keys<'a>,
        unknown: &mut Option<Plan<'a>>,
    ) -> Result<Plan<'a>, StoreError> {
        let loaded = self.store.begin(keys).inspect_err(|_| self.store.rollback())?;
        if let Some(earlier) = unknown.take_if(|earlier| earlier.is_committed(&loaded)) {
            self.store.rollback();
            return Ok(earlier);
        }
        let committed_at_us = self.options.clock.now_us().max(self.last_commit_us);
        let plan = batch::plan(groups, loaded, self.options.rules, committed_at_us);
        if plan.writes_nothing() {
            self.store.rollback();
            return Ok(plan);
        }
        self.store.write(&plan).inspect_err(|_| self.store.rollback())?;
        // The unique keys are ours now, so an earlier attempt was not carried out and never will be. (Rows that it would
        // have made could not be locked above: until here it may still be on its way.)
        *unknown = None;
        // The point of no return: from here on an error means "unknown".
        match self.store.commit() {
            Ok(()) => {
                self.last_commit_us = committed_at_us;
                Ok(plan)
            }
            Err(error) => {
                self.store.rollback();
                *unknown = Some(plan);
                Err(StoreError::Lost(error.to_string()))
            }
        }
    }
}
