//! Finding the entries at fault in a batch that the database does not take, so that their neighbours are committed.
//!
//! A batch that fails, also on a fresh connection, is first told from a ledger that takes nothing: two entries of
//! different users are tried alone. When both fail alike, it is the ledger. When one is committed, the rest is halved
//! until the entries at fault are alone.

use std::collections::{HashSet, VecDeque};

use crate::domain::{EventId, NewEntry, UserId};
use crate::ledger::{EntryOutcome, Lane, PostError, Posting};

use super::aside::{Wait, owner};

/// A posting, or a part of one that is settled separately.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    /// Which posting of the batch.
    index: usize,
    pub(super) posting: &'a Posting,
    /// Where in the posting it begins.
    start: usize,
    pub(super) entries: &'a [NewEntry],
}

impl<'a> Piece<'a> {
    fn is_whole(&self) -> bool {
        self.entries.len() == self.posting.entries.len()
    }

    fn can_be_divided(&self) -> bool {
        self.entries.len() > 1 && !self.posting.is_atomic
    }

    /// Its first `count` entries, and the rest.
    fn divided(self, count: usize) -> (Self, Self) {
        let (first, second) = self.entries.split_at(count);
        let part = |start, entries| Self {
            start,
            entries,
            ..self
        };
        (part(self.start, first), part(self.start + count, second))
    }

    /// Its first entry, or all of it when it can't be divided, and what is left.
    fn first(self) -> (Self, Option<Self>) {
        if self.can_be_divided() {
            let (first, rest) = self.divided(1);
            (first, Some(rest))
        } else {
            (self, None)
        }
    }
}

/// The pieces of a transaction, in order.
pub(super) type Pieces<'a> = Vec<Piece<'a>>;

/// Every posting as one piece.
pub(super) fn whole(postings: &[Posting]) -> Pieces<'_> {
    postings
        .iter()
        .enumerate()
        .map(|(index, posting)| Piece {
            index,
            posting,
            start: 0,
            entries: &posting.entries,
        })
        .collect()
}

pub(super) fn can_be_halved(pieces: &[Piece<'_>]) -> bool {
    match pieces {
        [one] => one.can_be_divided(),
        several => several.len() > 1,
    }
}

/// Both halves.
pub(super) fn halves(mut pieces: Pieces<'_>) -> Vec<Pieces<'_>> {
    if let [one] = pieces[..] {
        let (first, second) = one.divided(one.entries.len() / 2);
        return vec![vec![first], vec![second]];
    }
    let second = pieces.split_off(pieces.len() / 2);
    vec![pieces, second]
}

/// Two entries to be tried alone, of different users where there are several, and the rest. Each round takes others. No
/// entry is tried before an earlier one of its user that was not.
pub(super) fn samples(pieces: Pieces<'_>, round: usize) -> Vec<Pieces<'_>> {
    let mut seen = HashSet::new();
    let mut heads = Vec::new();
    for (place, piece) in pieces.iter().enumerate() {
        if owner(piece.posting).is_none_or(|user| seen.insert(user)) {
            heads.push(place);
        }
    }
    let picked = [2 * round, 2 * round + 1].map(|number| heads.get(number % heads.len().max(1)));
    let (mut alone, mut rest) = (Vec::new(), VecDeque::new());
    for (place, piece) in pieces.into_iter().enumerate() {
        if picked.contains(&Some(&place)) {
            let (first, left) = piece.first();
            alone.push(vec![first]);
            rest.extend(left);
        } else {
            rest.push_back(piece);
        }
    }
    if heads.len() == 1
        && let Some(next) = rest.pop_front()
    {
        let (first, left) = next.first();
        alone.push(vec![first]);
        left.into_iter().for_each(|left| rest.push_front(left));
    }
    alone.push(rest.into());
    alone.retain(|pieces| !pieces.is_empty());
    alone
}

/// What failed alone since anything was committed, and what it is to be answered if it is at fault.
pub(super) type Doubtful<'a> = Vec<(Piece<'a>, PostError)>;

/// What became of the postings of a batch so far.
#[derive(Debug)]
pub(super) struct Settled {
    /// Per posting and entry.
    outcomes: Vec<Vec<Option<EntryOutcome>>>,
    /// Per posting.
    waits: Vec<Option<Wait>>,
    /// Users that another session holds locked.
    pub(super) held: HashSet<UserId>,
    /// How many entries were found to be at fault.
    pub(super) at_fault: usize,
    /// The event id of one of them.
    pub(super) sample: Option<EventId>,
    /// What the database said last.
    pub(super) reason: String,
}

/// What is to be done with each posting of a batch.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) answers: Vec<(Posting, Vec<EntryOutcome>)>,
    pub(super) aside: Vec<(Posting, Wait)>,
    /// Nothing is known of them.
    pub(super) unsettled: Vec<Posting>,
}

impl Settled {
    pub(super) fn new(postings: &[Posting]) -> Self {
        let none = |posting: &Posting| vec![None; posting.entries.len()];
        Self {
            outcomes: postings.iter().map(none).collect(),
            waits: vec![None; postings.len()],
            held: HashSet::new(),
            at_fault: 0,
            sample: None,
            reason: String::new(),
        }
    }

    fn set(&mut self, piece: &Piece<'_>, outcomes: impl IntoIterator<Item = EntryOutcome>) {
        let slots = &mut self.outcomes[piece.index][piece.start..];
        for (slot, outcome) in slots.iter_mut().zip(outcomes) {
            *slot = Some(outcome);
        }
    }

    pub(super) fn decided(&mut self, pieces: &[Piece<'_>], decided: Vec<Vec<EntryOutcome>>) {
        for (piece, outcomes) in pieces.iter().zip(decided) {
            self.set(piece, outcomes);
        }
    }

    pub(super) fn fail(&mut self, pieces: &[Piece<'_>], error: PostError) {
        for piece in pieces {
            let failed = piece.entries.iter().map(|_| EntryOutcome::Failed(error));
            self.set(piece, failed);
        }
    }

    /// These are at fault.
    pub(super) fn convict(&mut self, doubtful: &mut Doubtful<'_>) {
        for (piece, error) in doubtful.drain(..) {
            self.at_fault += piece.entries.len();
            let event = || piece.entries[0].event_id.clone();
            self.sample.get_or_insert_with(event);
            self.fail(&[piece], error);
        }
    }

    /// Sets postings aside. Of a posting of which a part was settled, the rest is given up.
    pub(super) fn hold(&mut self, pieces: &[Piece<'_>], wait: Wait) {
        for piece in pieces {
            if !piece.is_whole() {
                self.fail(std::slice::from_ref(piece), PostError::Unavailable);
                continue;
            }
            self.waits[piece.index] = Some(wait);
            if wait == Wait::Locked {
                self.held.extend(owner(piece.posting));
            }
        }
    }

    /// Takes out the pieces of locked users.
    pub(super) fn without_held<'a>(&mut self, pieces: Pieces<'a>) -> Pieces<'a> {
        if self.held.is_empty() {
            return pieces;
        }
        let needs_held = |piece: &Piece<'_>| {
            let mut users = piece.entries.iter().map(|entry| &entry.user_id);
            users.any(|user| self.held.contains(user))
        };
        let (held, free): (Vec<_>, Vec<_>) = pieces.into_iter().partition(needs_held);
        self.hold(&held, Wait::Locked);
        free
    }

    /// Single postings are to be tried without the others, which go aside, each to be tried alone. Answers what is to be
    /// tried now.
    pub(super) fn without_slow<'a>(&mut self, pieces: Pieces<'a>) -> Vec<Pieces<'a>> {
        let is_single = |piece: &Piece<'_>| piece.posting.lane == Lane::Single;
        let (singles, others): (Vec<_>, Vec<_>) = pieces.into_iter().partition(is_single);
        match (singles.is_empty(), others.is_empty()) {
            (false, true) if singles.len() > 1 => halves(singles),
            (true, false) if others.len() > 1 => {
                self.hold(&others, Wait::Slow);
                Vec::new()
            }
            (false, false) => {
                self.hold(&others, Wait::Slow);
                vec![singles]
            }
            _ => {
                self.fail(&[singles, others].concat(), PostError::Unavailable);
                Vec::new()
            }
        }
    }

    /// What is to be done with each posting.
    pub(super) fn sort(self, postings: Vec<Posting>) -> Sorted {
        let mut sorted = Sorted::default();
        let known = self.outcomes.into_iter().zip(self.waits);
        for (posting, (outcomes, wait)) in postings.into_iter().zip(known) {
            if let Some(wait) = wait {
                sorted.aside.push((posting, wait));
            } else if outcomes.iter().all(Option::is_none) {
                sorted.unsettled.push(posting);
            } else {
                let unknown = || EntryOutcome::Failed(PostError::Unavailable);
                let outcomes = outcomes
                    .into_iter()
                    .map(|known| known.unwrap_or_else(unknown));
                sorted.answers.push((posting, outcomes.collect()));
            }
        }
        sorted
    }
}
