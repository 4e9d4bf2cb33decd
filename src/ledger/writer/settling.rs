//! What becomes of a batch: committed as a whole, or narrowed down; then every posting is answered, set aside or put back.

use std::collections::VecDeque;

use log::{error, warn};

use crate::ledger::store::Patience;
use crate::ledger::{PostError, Posted, Posting};
use crate::limits::{ALIKE_MAX, CAREFUL_TURNS, FAILURES_MAX, LOCK_ATTEMPTS_MAX};

use super::aside::Wait;
use super::narrowing::{Doubtful, Pieces, Settled, Sorted, can_be_halved, halves, samples, whole};
use super::transaction::Failure;
use super::{State, feed};

/// How many users one line of the log names.
const LOGGED_USERS_MAX: usize = 4;

/// A batch that is being settled.
struct Settling<'a> {
    settled: Settled,
    /// To be tried, in this order.
    rest: VecDeque<Pieces<'a>>,
    doubtful: Doubtful<'a>,
    /// The ledger is known to take other entries, so what fails alone is at fault itself.
    has_evidence: bool,
    /// In which round of an outage; other entries are tried alone in each.
    round: usize,
    locks: u32,
    failures: u32,
    /// Why nothing more is tried.
    stopped: Option<String>,
}

impl<'a> Settling<'a> {
    fn first(&mut self, parts: Vec<Pieces<'a>>) {
        parts
            .into_iter()
            .rev()
            .for_each(|part| self.rest.push_front(part));
    }

    /// Takes in that these were not committed.
    fn failed(&mut self, pieces: Pieces<'a>, failure: Failure) {
        match failure {
            Failure::Fault(answer, reason) => self.fault(pieces, answer, reason),
            Failure::Locked(users) if users.is_empty() && pieces.len() > 1 => {
                self.locks += 1;
                if self.locks > LOCK_ATTEMPTS_MAX {
                    self.settled.hold(&pieces, Wait::Locked);
                } else {
                    self.first(halves(pieces));
                }
            }
            Failure::Locked(users) => {
                self.locks += 1;
                if users.is_empty() || self.locks > LOCK_ATTEMPTS_MAX {
                    self.settled.hold(&pieces, Wait::Locked);
                } else {
                    self.settled.held.extend(users);
                    self.rest.push_front(pieces);
                }
            }
            Failure::TimedOut => {
                let count: usize = pieces.iter().map(|piece| piece.entries.len()).sum();
                warn!("a statement for {count} entries takes too long");
                let parts = self.settled.without_slow(pieces);
                self.first(parts);
            }
            Failure::Away(reason) => self.stopped = Some(reason),
            Failure::GivenUp => self.settled.fail(&pieces, PostError::Unavailable),
        }
    }

    fn fault(&mut self, pieces: Pieces<'a>, answer: PostError, reason: String) {
        self.failures += 1;
        self.settled.reason = reason;
        if can_be_halved(&pieces) {
            let parts = if self.has_evidence {
                halves(pieces)
            } else {
                samples(pieces, self.round)
            };
            return self.first(parts);
        }
        self.doubtful
            .extend(pieces.into_iter().map(|piece| (piece, answer)));
    }

    fn is_over(&self) -> bool {
        // After many failures others get their turn first.
        self.stopped.is_some() || self.failures >= FAILURES_MAX
    }

    /// What is doubtful is at fault.
    fn convict(&mut self) {
        self.settled.convict(&mut self.doubtful);
    }
}

impl State {
    /// Answers every posting, sets it aside, or puts it back. `has_evidence`: the ledger is known to take other entries.
    pub(super) fn settle(
        &mut self,
        postings: Vec<Posting>,
        patience: Patience,
        has_evidence: bool,
    ) {
        self.store.set_patience(patience);
        let mut settling = Settling {
            settled: Settled::new(&postings),
            rest: VecDeque::new(),
            doubtful: Doubtful::new(),
            has_evidence,
            round: self.outage.as_ref().map_or(0, |outage| outage.round),
            locks: 0,
            failures: 0,
            stopped: None,
        };
        if self.outage.is_some() {
            // Not all at once: it may be one entry that keeps the others from being committed.
            settling.first(samples(whole(&postings), settling.round));
            // The next attempt meets the same error.
            let _ = self.reconnect();
        } else {
            settling.rest.push_back(whole(&postings));
        }
        while !settling.is_over()
            && let Some(pieces) = settling.rest.pop_front()
        {
            let pieces = settling.settled.without_held(pieces);
            if !pieces.is_empty() {
                self.try_pieces(&mut settling, pieces);
            }
        }
        let settled = self.judge(settling);
        self.conclude(postings, settled);
    }

    fn try_pieces<'a>(&mut self, settling: &mut Settling<'a>, pieces: Pieces<'a>) {
        let commits = self.commits;
        match self.commit(&pieces) {
            Ok(decided) => {
                settling.settled.decided(&pieces, decided);
                if self.commits > commits {
                    settling.has_evidence = true;
                    settling.convict();
                }
            }
            Err(failure) => {
                match failure {
                    Failure::Locked(_) => self.store.set_patience(Patience::Brief),
                    Failure::TimedOut => self.careful = CAREFUL_TURNS,
                    _ => {}
                }
                settling.failed(pieces, failure);
                self.compare(settling);
            }
        }
    }

    /// When several fail alike, one after another: the ledger is at fault, unless it has taken others and still could.
    fn compare(&mut self, settling: &mut Settling<'_>) {
        let (before, after) = ALIKE_MAX;
        let alike_max = if settling.has_evidence { after } else { before };
        if settling.doubtful.len() < alike_max {
            return;
        }
        if settling.has_evidence && self.store.try_out(true).is_ok() {
            settling.convict();
        } else {
            settling.stopped = Some(settling.settled.reason.clone());
        }
    }

    /// Whether what is left is at fault, or the ledger is.
    fn judge(&mut self, mut settling: Settling<'_>) -> Settled {
        match (&settling.stopped, &settling.doubtful[..]) {
            (Some(reason), _) => self.suspend(reason),
            (None, []) => {}
            (None, _) if settling.failures >= FAILURES_MAX => {}
            (None, _) if settling.has_evidence => settling.convict(),
            // Nothing was there to compare it with, but the database itself says that it is the entry.
            (None, [(_, PostError::Refused)]) => settling.convict(),
            (None, _) => match self.store.try_out(true) {
                Ok(()) => {
                    self.succeeded();
                    for (piece, _) in &settling.doubtful {
                        settling.settled.hold(&[*piece], Wait::Failing);
                    }
                }
                Err(_) => self.suspend(&settling.settled.reason),
            },
        }
        settling.settled
    }

    fn conclude(&mut self, postings: Vec<Posting>, settled: Settled) {
        self.log(&settled);
        let Sorted {
            answers,
            aside,
            unsettled,
        } = settled.sort(postings);
        let decided = || {
            answers
                .iter()
                .flat_map(|(posting, outcomes)| posting.entries.iter().zip(outcomes))
        };
        self.options.counts.decided(decided());
        if let Some(feed) = &self.options.feed {
            feed::tell(&**feed, decided());
            if let Some(since) = self.untold_since.take() {
                feed.told(since);
            }
        }
        for (posting, outcomes) in answers {
            let Posting {
                entries,
                reply,
                permit,
                ..
            } = posting;
            drop(permit);
            if let Err(unheard) = reply.send(Posted { entries, outcomes })
                && self.options.orphans.try_send(unheard).is_err()
            {
                warn!(
                    "sessions could not be told of a commit whose receiver was gone; it shows with the user's next change or read"
                );
            }
        }
        self.set_aside(aside);
        self.put_back(unsettled);
    }

    fn log(&self, settled: &Settled) {
        if let Some(sample) = &settled.sample {
            error!(
                "the database refuses {} entries, such as {sample}: {}",
                settled.at_fault, settled.reason
            );
        }
        if settled.held.iter().any(|user| !self.aside.knows(*user)) {
            let users = settled.held.iter().map(|user| user.get());
            let sample: Vec<i64> = users.take(LOGGED_USERS_MAX).collect();
            warn!(
                "another session holds {} users locked, such as {sample:?}: their entries wait",
                settled.held.len()
            );
        }
    }
}
